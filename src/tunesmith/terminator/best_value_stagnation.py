"""For how many more trials without an improvement a search may go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseImprovementEvaluator, Rows, some_results


@dataclass(frozen=True)
class BestValueStagnationEvaluator(BaseImprovementEvaluator):
    """The trials that are left until ``max_stagnation_trials`` have brought nothing better; negative beyond that.

    With the error evaluator it belongs to, a :class:`StaticErrorEvaluator` of 0, the search ends with the first trial
    after so many. :class:`tunesmith.study.NoImprovementCallback` is the same as a callback, with time and tolerance.

    Args:
        max_stagnation_trials: COMPLETE trials, by their numbers.

    Raises:
        InvalidValueError: it is negative; in ``evaluate``: no trial is COMPLETE.
    """

    max_stagnation_trials: int = 30

    def __post_init__(self) -> None:
        if self.max_stagnation_trials < 0:
            raise InvalidValueError(
                f"`max_stagnation_trials` must not be negative, but is {self.max_stagnation_trials!r}."
            )

    def evaluate(self, history: History, rows: Rows | None = None) -> float:
        losses = history.loss[some_results(history, rows), 0]
        return float(self.max_stagnation_trials - (len(losses) - 1 - int(np.argmin(losses))))
