"""A threshold that a study sets for itself: a small part of what could be gained at its beginning.

Ishibashi, H. et al. (2023): A stopping criterion for Bayesian optimization by the gap of expected minimum simple
regrets. AISTATS (section 5.1: the median of the first values of the criterion).
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseErrorEvaluator, BaseImprovementEvaluator, results

#: While there is no threshold: no improvement is smaller.
_NEVER = -sys.float_info.min


@dataclass(frozen=True)
class MedianErrorEvaluator(BaseErrorEvaluator):
    """A part of the median of what the improvement evaluator says of the first results.

    The first results are the first COMPLETE trials to finish, without those of the warm-up, and the evaluator is asked
    after each of them. The threshold is the same from then on.

    Args:
        paired_improvement_evaluator: the one that the terminator has.
        warm_up_trials: so many of the first COMPLETE trials do not count; samplers draw the first ten at random.
        n_initial_trials: the median is over so many trials after them.
        threshold_ratio: which part of the median.

    Raises:
        InvalidValueError: an argument that is out of its range.
    """

    paired_improvement_evaluator: BaseImprovementEvaluator
    warm_up_trials: int = 10
    n_initial_trials: int = 20
    threshold_ratio: float = 0.01

    def __post_init__(self) -> None:
        if self.warm_up_trials < 0:
            raise InvalidValueError(f"`warm_up_trials` must not be negative, but is {self.warm_up_trials!r}.")
        if self.n_initial_trials < 1:
            raise InvalidValueError(f"`n_initial_trials` must be at least 1, but is {self.n_initial_trials!r}.")
        if not 0.0 < self.threshold_ratio < math.inf:
            raise InvalidValueError(f"`threshold_ratio` must be positive, but is {self.threshold_ratio!r}.")

    def evaluate(self, history: History) -> float:
        key = ("terminator.threshold", self, history.seed, tuple(history.distributions.items()))
        with history.memo(key, lambda: _Threshold(self)) as found:
            return found.value


class _Threshold:
    """Memo: the threshold, as soon as the first results are there."""

    def __init__(self, rule: MedianErrorEvaluator) -> None:
        self._rule = rule
        self.n, self.value = 0, _NEVER

    def extend(self, history: History) -> None:
        rule, before = self._rule, self.n
        self.n = history.n
        needed = rule.warm_up_trials + rule.n_initial_trials
        first = np.sort(results(history))[:needed]  # in the order in which they finished
        if len(first) < needed or first[-1] < before:  # too early, or done
            return
        first = first[rule.warm_up_trials :]
        improvement = rule.paired_improvement_evaluator
        said = sorted(improvement.evaluate(history, first[: k + 1]) for k in range(len(first)))
        median = said[len(said) // 2]
        if math.isfinite(median):
            self.value = min(sys.float_info.max, median * rule.threshold_ratio)
