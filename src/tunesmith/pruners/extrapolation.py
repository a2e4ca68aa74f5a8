"""Extrapolation of learning curves: is there a chance that this trial ends as the best one?

Domhan, T., Springenberg, J. T. and Hutter, F. (2015): Speeding up automatic hyperparameter optimization of deep neural
networks by extrapolation of learning curves. IJCAI, section 4. The probability there is that of a parametric model
alone, which is too sure of itself; here it is corrected by how wrong the same forecast was for the finished trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.pruners._forecast import forecast
from tunesmith.pruners._intervals import due
from tunesmith.space import FloatArray
from tunesmith.trial._state import TrialState

#: The errors of so many finished trials, the newest, are known; older ones would cost time and say little more.
REMEMBERED = 100

#: The model's own distribution of errors, Cauchy's, counts as much as so many finished trials.
MODEL_WEIGHT = 4.0

#: And so many as a surprise that nobody has seen yet (Krichevsky and Trofimov's estimator of a probability).
UNSEEN = 0.5


@dataclass(frozen=True)
class ExtrapolationPruner(BasePruner):
    """Stop a trial that will hardly end better than the best complete one.

    Its curve is extrapolated to the step at which complete trials end. How far the end may be from the forecast is
    learnt from the complete trials, whose beginnings are extrapolated in the same way: where curves fall suddenly after
    a plateau, little is stopped. A trial that is better than all complete ones were at the same step is not stopped.

    Args:
        p_threshold: stop when the probability to end as the best is below this.
        n_startup_trials: no stopping before this many trials are COMPLETE.
        n_warmup_steps: no stopping at steps below this.
        interval_steps: distance between the steps at which the rule is applied, counted from the warm-up.
        n_min_reports: no stopping before so many (finite) reports, at least 4: the fits have three parameters. A trial
            whose newest reports, so many of them, are all NaN or infinitely poor is stopped.
    """

    aliases: ClassVar = {"learning-curve": {}}
    invariant: ClassVar[bool] = True
    p_threshold: float = 0.05
    n_startup_trials: int = 10
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_reports: int = 4

    def __post_init__(self) -> None:
        number("p_threshold", self.p_threshold, 0.0, 1.0)
        for name, low in (("n_startup_trials", 1), ("n_warmup_steps", 0), ("interval_steps", 1), ("n_min_reports", 4)):
            whole(name, getattr(self, name), low)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if len(trial.reports) < self.n_min_reports or not due(trial.reports, self.n_warmup_steps, self.interval_steps):
            return Verdict.GO
        steps, losses = _sorted(trial.reports, history.directions[0])
        with history.memo(("extrapolation", self.n_min_reports), lambda: _Errors(self.n_min_reports)) as errors:
            if len(errors.curves) < self.n_startup_trials or history.best_row is None:
                return Verdict.GO
            if not np.isfinite(losses[-self.n_min_reports :]).any():
                return Verdict.STOP if losses[-1] > 0 else Verdict.GO
            best = float(history.loss[history.best_row, 0])
            if errors.leads(int(steps[-1]), float(losses[-1])):
                return Verdict.GO
            chance = errors.probability(steps, losses, best)
        return Verdict.STOP if chance < self.p_threshold else Verdict.GO


class _Curve(NamedTuple):
    steps: FloatArray
    losses: FloatArray
    told: float


class _Errors:
    """Memo: the curves of complete trials, and by how much forecasts of their ends were wrong.

    Attributes:
        curves: of the complete trials with reports and a finite result, in finishing order.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self.n, self._reports = 0, 0
        self.curves: list[_Curve] = []
        self._lowest: dict[int, float] = {}
        self._known: dict[int, dict[int, float]] = {}

    def extend(self, history: History) -> None:
        reports, begin = history.reports, self._reports
        self.n, self._reports = history.n, len(reports.row)
        sign, done = history.directions[0], history.state == TrialState.COMPLETE
        mine = begin + np.flatnonzero((reports.metric[begin:] == 0) & done[reports.row[begin:]])
        mine = mine[np.lexsort((reports.step[mine], reports.row[mine]))]
        all_steps, all_losses = reports.step[mine], _losses(reports.value[mine], sign)
        steps, which = np.unique(all_steps, return_inverse=True)
        lowest = np.full(len(steps), np.inf)
        np.minimum.at(lowest, which, all_losses)
        for step, loss in zip(steps.tolist(), lowest.tolist(), strict=True):
            self._lowest[step] = min(self._lowest.get(step, np.inf), loss)
        rows, at, count = np.unique(reports.row[mine], return_index=True, return_counts=True)
        told = history.Y[rows, 0] * sign
        for first, k, value in zip(at.tolist(), count.tolist(), told.tolist(), strict=True):
            if math.isfinite(value):
                piece = slice(first, first + k)
                self.curves.append(_Curve(all_steps[piece].astype(float), all_losses[piece], value))

    def leads(self, step: int, loss: float) -> bool:
        """Whether nobody complete was better at this step."""
        return loss <= self._lowest.get(step, np.inf)

    def probability(self, steps: FloatArray, losses: FloatArray, best: float) -> float:
        """That the curve ends below ``best``; 1 where there is nothing left to forecast."""
        recent = self.curves[-REMEMBERED:]
        end = float(np.median([curve.steps[-1] for curve in recent]))
        needed = _error(steps, losses, best, end, self._least)
        if np.isnan(needed):
            return 1.0
        errors = self._of(int(steps[-1]))
        below = sum(error <= needed for error in errors)
        model = 0.5 + math.atan(needed) / math.pi
        return (below + UNSEEN + MODEL_WEIGHT * model) / (len(errors) + UNSEEN + MODEL_WEIGHT)

    def _of(self, step: int) -> list[float]:
        """Errors of the forecasts made at a step, of the newest complete trials that have one, in their own units."""
        first = max(0, len(self.curves) - REMEMBERED)
        before = self._known.get(step, {})
        known = {place: before.get(place) for place in range(first, len(self.curves))}
        errors = {place: self._made_at(step, place) if error is None else error for place, error in known.items()}
        self._known[step] = errors
        return [error for error in errors.values() if not math.isnan(error)]

    def _made_at(self, step: int, place: int) -> float:
        """The error of one forecast."""
        curve = self.curves[place]
        seen = int(np.searchsorted(curve.steps, step, side="right"))
        return _error(curve.steps[:seen], curve.losses[:seen], curve.told, float(curve.steps[-1]), self._least)


def _error(steps: FloatArray, losses: FloatArray, loss: float, end: float, least: int) -> float:
    """How far ``loss`` is from the forecast for ``end``, in standard deviations of the forecast.

    NaN where there is no forecast: too few finite reports, or none of ``end``'s future left.
    """
    finite = np.isfinite(losses)
    if finite.sum() < least or not len(steps) or steps[-1] >= end:
        return np.nan
    steps, losses = steps[finite], losses[finite]
    large = max(float(np.abs(losses).max()), abs(loss))
    if large == 0.0:
        return 0.0
    losses, loss = losses / large, loss / large
    spread = max(float(np.ptp(losses)), abs(loss - float(losses[-1])), 1e-300)
    middle = float(losses[-1])
    mean, deviation = forecast(steps, (losses - middle) / spread, end)
    return ((loss - middle) / spread - mean) / max(deviation, 1e-3)


def _sorted(reports: Mapping[int, float], sign: int) -> tuple[FloatArray, FloatArray]:
    """Steps and losses by step."""
    pairs = sorted(reports.items())
    return np.array([step for step, _ in pairs], float), _losses(np.array([value for _, value in pairs]), sign)


def _losses(values: FloatArray, sign: int) -> FloatArray:
    return np.where(np.isnan(values), np.inf, values * sign)
