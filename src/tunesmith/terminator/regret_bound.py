"""A bound on the regret of the best configuration, from a Gaussian process.

Makarova, A. et al. (2022): Automatic termination for hyperparameter optimization. AutoML conference (eq. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseImprovementEvaluator, Rows, some_results
from tunesmith.terminator._model import MOST, Model, Observed, check_parameters, confidence, fitted, generator

#: The bound holds with a probability of 0.9.
DELTA = 0.1


@dataclass(frozen=True)
class RegretBoundEvaluator(BaseImprovementEvaluator):
    """By how much the best trial may be worse than the optimum, in the units of the objective.

    The model is made of the best COMPLETE trials only, because a model of all is too wide where it matters; of the best
    400 at most, because of the time a fit takes.

    Args:
        top_trials_ratio: which part of the COMPLETE trials, the best ones.
        min_n_trials: so many trials at least, if there are.
        seed: of the search for the lowest bound; by default that of the study.

    Raises:
        InvalidValueError: an argument that is out of its range; in ``evaluate``: no trial is COMPLETE, or they have no
            parameter that varies.
    """

    top_trials_ratio: float = 0.5
    min_n_trials: int = 20
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.top_trials_ratio <= 1.0:
            raise InvalidValueError(f"`top_trials_ratio` must be in (0, 1], but is {self.top_trials_ratio!r}.")
        if self.min_n_trials < 1:
            raise InvalidValueError(f"`min_n_trials` must be at least 1, but is {self.min_n_trials!r}.")

    def evaluate(self, history: History, rows: Rows | None = None) -> float:
        rows = some_results(history, rows)
        losses = history.loss[rows, 0]
        order = np.argsort(losses, kind="stable")
        n = min(max(int(len(rows) * self.top_trials_ratio), self.min_n_trials), len(rows))
        equals = int((losses <= losses[order[n - 1]]).sum())  # they are not torn apart
        top = np.sort(order[: min(equals, MOST)])
        observed = Observed(history, rows[top])
        check_parameters(observed, self)
        y, sd = observed.standardised()
        model = Model(observed, fitted(observed, y), y)
        beta = confidence(observed.n_parameters, len(top), DELTA)
        return model.regret_bound(beta, generator(history, self.seed, len(rows))) * sd
