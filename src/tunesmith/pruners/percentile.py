"""The percentile rule, and the median rule as its most used case.

Golovin, D. et al. (2017): Google Vizier, section 3.2.2 (median stopping rule), in the variant Optuna made customary:
the best value so far against the percentile of the finished trials' values at the same step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.space import FloatArray
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

    percentile: float = 25.0
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.percentile <= 100.0:
            raise InvalidValueError(f"`percentile` must be between 0 and 100, but is {self.percentile}.")
        for name, low in (("n_startup_trials", 0), ("n_warmup_steps", 0), ("interval_steps", 1), ("n_min_trials", 1)):
            if getattr(self, name) < low:
                raise InvalidValueError(f"`{name}` must be at least {low}, but is {getattr(self, name)}.")

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if not trial.reports or int(history.is_complete.sum()) < max(self.n_startup_trials, 1):
            return Verdict.GO
        step = max(trial.reports)
        if step < self.n_warmup_steps or not self._first_in_interval(step, trial):
            return Verdict.GO
        sign = history.directions[0]
        own = np.array([v for v in trial.reports.values() if v == v]) * sign
        if len(own) == 0:
            return Verdict.STOP  # nothing but NaN so far
        reports = history.reports
        at = (reports.metric == 0) & (reports.step == step)
        at[at] = (history.state == TrialState.COMPLETE)[reports.row[at]]
        others = reports.value[at] * sign
        if len(others) < self.n_min_trials or np.isnan(others).all():
            return Verdict.GO
        others = others[~np.isnan(others)]
        return Verdict.STOP if own.min() > _percentile(others, self.percentile) else Verdict.GO

    def _first_in_interval(self, step: int, trial: OpenRow) -> bool:
        """Whether no earlier report of the trial fell into the interval that ``step`` belongs to."""
        begin = (step - self.n_warmup_steps) // self.interval_steps * self.interval_steps + self.n_warmup_steps
        return not any(begin <= s < step for s in trial.reports)


def _percentile(values: FloatArray, percentile: float) -> float:
    """``np.percentile`` that infinite values do not turn into NaN: 50 % of 1, 2, inf is 2, of 1, inf is inf.

    It interpolates only between two neighbours that differ. What lies between an infinity and another value is the
    larger of the two, so that the rule stops nobody there.
    """
    place = (len(values) - 1) * (percentile / 100.0)
    below = math.floor(place)
    ordered = np.sort(values)
    low, high = float(ordered[below]), float(ordered[math.ceil(place)])
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
