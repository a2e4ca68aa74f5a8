"""A threshold that the user knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseErrorEvaluator


@dataclass(frozen=True)
class StaticErrorEvaluator(BaseErrorEvaluator):
    """The same error always: a smaller improvement than this is not worth the search.

    Args:
        constant: in the units of the improvement evaluator; those of the objective for :class:`RegretBoundEvaluator`.

    Raises:
        InvalidValueError: it is NaN.
    """

    constant: float

    def __post_init__(self) -> None:
        if math.isnan(self.constant):
            raise InvalidValueError("`constant` is NaN, which no improvement is smaller than; give a number.")

    def evaluate(self, history: History) -> float:
        return self.constant
