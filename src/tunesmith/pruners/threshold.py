"""The threshold rule: values that no sound training reaches.

Argument names, defaults and the cases are those of Optuna's class of the same name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tunesmith._arguments import number, whole
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.pruners._intervals import due


@dataclass(frozen=True)
class ThresholdPruner(BasePruner):
    """Stop a trial whose newest report is NaN, below ``lower`` or above ``upper``; the study's direction plays no part.

    Args:
        lower: the least value that is let pass; ``None`` for no such bound.
        upper: the largest value that is let pass; ``None`` for no such bound. One of the two is needed.
        n_warmup_steps: no stopping at steps below this.
        interval_steps: distance between the steps at which the rule is applied, counted from the warm-up.

    Raises:
        InvalidTypeError: neither bound is given, or one is no number.
        InvalidValueError: ``lower`` is above ``upper``, or an argument is out of its range.
    """

    absolute: ClassVar[bool] = True
    may_stop_best: ClassVar[bool] = True
    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: int = 0
    interval_steps: int = 1

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise InvalidTypeError("Give ThresholdPruner a `lower` or an `upper` bound, or both.")
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if bound is not None:
                number(name, bound, finite=False)
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise InvalidValueError(f"`lower` must not be above `upper`, but {self.lower} is above {self.upper}.")
        whole("n_warmup_steps", self.n_warmup_steps, 0)
        whole("interval_steps", self.interval_steps, 1)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if not due(trial.reports, self.n_warmup_steps, self.interval_steps):
            return Verdict.GO
        newest = trial.reports[max(trial.reports)]
        low = -math.inf if self.lower is None else self.lower
        high = math.inf if self.upper is None else self.upper
        return Verdict.GO if low <= newest <= high else Verdict.STOP
