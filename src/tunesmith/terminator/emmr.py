"""How much the last result has changed what is expected of the best one.

Ishibashi, H., Karasuyama, M., Takeuchi, I. and Hino, H. (2023): A stopping criterion for Bayesian optimization by the
gap of expected minimum simple regrets. AISTATS (theorem 1, eq. 4 and algorithm 1).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseImprovementEvaluator, Rows, results
from tunesmith.terminator._model import MOST, Model, Observed, confidence, fitted, generator


@dataclass(frozen=True)
class EMMREvaluator(BaseImprovementEvaluator):
    """The expected minimum model regret: a bound on how much the expected minimum simple regret has changed with the
    last COMPLETE trial, in standard deviations of the results. It tends to zero as the search finds the optimum.

    Both models have the hyperparameters that fit all results best: the Kullback-Leibler divergence is between two
    posteriors of one prior (sec. 4.4). With more than 400 results, the last ones and the best count.

    It has no natural threshold, so :class:`MedianErrorEvaluator` belongs to it.

    Args:
        deterministic_objective: whether the objective has no noise.
        delta: the confidence bounds hold with a probability of 1 - delta.
        min_n_trials: with fewer COMPLETE trials the value is infinite.
        seed: of the search for the lowest bound; by default that of the study.

    Raises:
        InvalidValueError: an argument that is out of its range.
    """

    deterministic_objective: bool = False
    delta: float = 0.1
    min_n_trials: int = 2
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.min_n_trials < math.inf:
            raise InvalidValueError(f"`min_n_trials` must be at least 2 and finite, but is {self.min_n_trials!r}.")
        if not 0.0 < self.delta < 1.0:
            raise InvalidValueError(f"`delta` must be between 0 and 1, but is {self.delta!r}.")

    def evaluate(self, history: History, rows: Rows | None = None) -> float:
        rows = results(history, rows)
        n = len(rows)
        if n < self.min_n_trials:
            return math.inf
        if n > MOST:
            last = rows[-(MOST // 2) :]
            best = rows[np.argsort(history.loss[rows, 0], kind="stable")]
            rows = rows[np.isin(rows, np.union1d(last, best[~np.isin(best, last)][: MOST // 2]))]
        observed = Observed(history, rows)
        if observed.n_parameters == 0:
            warnings.warn("The COMPLETE trials have no parameter that varies, so EMMREvaluator never ends the study.")
            return math.inf
        y, _ = observed.standardised()
        theta = fitted(observed, y, self.deterministic_objective)
        before, now = Model(observed, theta, y[:-1]), Model(observed, theta, y)
        beta = confidence(observed.n_parameters, n - 1, self.delta)
        kappa = before.regret_bound(beta, generator(history, self.seed, n))
        return _change_of_best(observed, y, before, now) + kappa * math.sqrt(0.5 * _divergence(observed, y, before))


def _change_of_best(observed: Observed, y: np.ndarray, before: Model, now: Model) -> float:
    """The terms of theorem 1 for the best trial a now and b before the last result: the change of the best mean, and
    what is expected of f(a) - min(f(a), f(b)), here for minimisation."""
    a, b = int(np.argmin(y)), int(np.argmin(y[:-1]))
    pair = observed.unit[[a, b]]
    mean = now.predict(pair)[0]
    change = abs(float(before.predict(pair[1:])[0][0] - mean[0]))
    sd = math.sqrt(now.variance_of_difference(pair)) if a != b else 0.0
    gap = float(mean[0] - mean[1])
    if sd == 0.0:
        return change + max(gap, 0.0)
    g = gap / sd
    from scipy.special import ndtr  # slow to import, so only when it is needed

    return change + sd * math.exp(-0.5 * g * g) / math.sqrt(2.0 * math.pi) + gap * float(ndtr(g))


def _divergence(observed: Observed, y: np.ndarray, before: Model) -> float:
    """Kullback-Leibler divergence of the posterior after the last result from the one before it (eq. 4)."""
    mean, variance = (float(v[0]) for v in before.predict(observed.unit[-1:]))
    total = variance + before.noise
    surprise = variance * (float(y[-1]) - mean) ** 2 / total**2
    return 0.5 * (math.log(total / before.noise) - variance / total + surprise)
