"""The percentile rule, and the median rule as its most used case.

Golovin, D. et al. (2017): Google Vizier, section 3.2.2 (median stopping rule), in the variant Optuna made customary:
the best value so far against the percentile of the finished trials' values at the same step.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.pruners._intervals import due
from tunesmith.trial._state import TrialState


@dataclass(frozen=True)
class PercentilePruner(BasePruner):
    """Stop a trial whose best report so far is worse than a percentile of the others at the same step.

    Args:
        percentile: the share (0 to 100) of the best trials that would be kept at a step.
        n_startup_trials: no stopping before this many trials are COMPLETE.
        n_warmup_steps: no stopping at steps below this.
        interval_steps: distance between the steps at which the rule is applied, counted from the warm-up.
        n_min_trials: no stopping at a step that fewer finished trials have reported.
    """

    invariant: ClassVar[bool] = True
    percentile: float = 25.0
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1

    def __post_init__(self) -> None:
        number("percentile", self.percentile, 0.0, 100.0)
        for name, low in (("n_startup_trials", 0), ("n_warmup_steps", 0), ("interval_steps", 1), ("n_min_trials", 1)):
            whole(name, getattr(self, name), low)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if not due(trial.reports, self.n_warmup_steps, self.interval_steps):
            return Verdict.GO
        with history.memo(("percentile",), _Others) as others:
            if others.complete < max(self.n_startup_trials, 1):
                return Verdict.GO
            sign = history.directions[0]
            own = [v * sign for v in trial.reports.values() if v == v]
            if not own:
                return Verdict.STOP  # nothing but NaN so far
            reported, ordered = others.at(max(trial.reports))
            if reported < self.n_min_trials or not ordered:
                return Verdict.GO
            return Verdict.STOP if min(own) > _percentile(ordered, self.percentile) else Verdict.GO


class _Others:
    """Memo: the losses of the COMPLETE trials at each step.

    They are sorted when a step is asked for, and stay so: a few new ones are inserted.
    """

    #: Inserting so many costs less than sorting a list that is sorted but for its end.
    FEW = 8

    def __init__(self) -> None:
        self.n, self.complete, self._reports = 0, 0, 0
        self._ordered: dict[int, list[float]] = {}
        self._fresh: dict[int, list[float]] = {}
        self._nan: dict[int, int] = {}

    def extend(self, history: History) -> None:
        reports, begin, first = history.reports, self._reports, self.n
        done = history.state == TrialState.COMPLETE
        self.n, self._reports = history.n, len(reports.row)
        self.complete += int(np.count_nonzero(done[first:]))
        mine = begin + np.flatnonzero((reports.metric[begin:] == 0) & done[reports.row[begin:]])
        losses = reports.value[mine] * history.directions[0]
        for step, loss in zip(reports.step[mine].tolist(), losses.tolist(), strict=True):
            if loss == loss:
                self._fresh.setdefault(step, []).append(loss)
            else:
                self._nan[step] = self._nan.get(step, 0) + 1

    def at(self, step: int) -> tuple[int, list[float]]:
        """How many have reported this step, and what (ascending, without NaN)."""
        ordered = self._ordered.setdefault(step, [])
        fresh = self._fresh.pop(step, [])
        if len(fresh) <= self.FEW:
            for loss in fresh:
                bisect.insort(ordered, loss)
        else:
            ordered += fresh
            ordered.sort()
        return len(ordered) + self._nan.get(step, 0), ordered


def _percentile(ordered: Sequence[float], percentile: float) -> float:
    """``np.percentile`` that infinite values do not turn into NaN: 50 % of 1, 2, inf is 2, of 1, inf is inf.

    It interpolates only between two neighbours that differ. What lies between an infinity and another value is the
    larger of the two, so that the rule stops nobody there.

    Args:
        ordered: values in ascending order, none of them NaN.
        percentile: from 0 to 100.
    """
    place = (len(ordered) - 1) * (percentile / 100.0)
    below = math.floor(place)
    low, high = ordered[below], ordered[math.ceil(place)]
    if place == below or low == high:
        return low
    if math.isinf(low) or math.isinf(high):
        return high
    part = place - below
    if math.isinf(high - low):  # more than floats can hold
        return low * (1.0 - part) + high * part
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1.0 - part)  # as NumPy rounds


@dataclass(frozen=True)
class MedianPruner(BasePruner):
    """Stop a trial whose best report so far is worse than the median of the others at the same step.

    The arguments are those of :class:`PercentilePruner`.
    """

    invariant: ClassVar[bool] = True
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1

    def __post_init__(self) -> None:
        self._rule()  # checks the arguments

    def _rule(self) -> PercentilePruner:
        return PercentilePruner(
            50.0, self.n_startup_trials, self.n_warmup_steps, self.interval_steps, self.n_min_trials
        )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return self._rule().verdict(history, trial)
