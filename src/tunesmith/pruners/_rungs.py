"""Who has reached which rung with what loss, as arrays; and who of them are best.

A *rung* is a level of the resource (so many epochs) at which trials are compared. A trial is on a rung from its first
report with at least that much; its loss there is that report's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.curves import STEP
from tunesmith.history import History, OpenRow
from tunesmith.numerics.dominance import crowding_distance, nondomination_ranks
from tunesmith.space import FloatArray
from tunesmith.trial._state import TrialState

#: Rungs beyond this are not made where no largest resource is known.
_MOST = 2.0**63


@lru_cache(64)
def geometric(lowest: float, factor: int, below: float = _MOST) -> tuple[float, ...]:
    """``lowest``, ``lowest * factor``, ``lowest * factor**2``, ... as long as they are smaller than ``below``."""
    levels: list[float] = []
    while (level := lowest * factor ** len(levels)) < below:
        levels.append(float(level))
    return tuple(levels)


@dataclass(frozen=True)
class Arrivals:
    """All trials, the finished ones in the order of their rows, then the open ones.

    Attributes:
        number: (m,) trial numbers.
        state: (m,) :class:`~tunesmith.trial.TrialState` numbers.
        bracket: (m,) the tag; NaN where a trial has none.
        loss: (m, rungs, objectives) with the sign that makes smaller better; infinite for NaN reports, NaN where the
            trial has not come to the rung. There are as many rungs as the farthest trial has reached.
        fresh: (m,) whether only the last report is on the highest rung that the trial has reached.
    """

    number: NDArray[np.int64]
    state: NDArray[np.int64]
    bracket: FloatArray
    loss: FloatArray
    fresh: NDArray[np.bool_]

    @cached_property
    def reached(self) -> NDArray[np.int64]:
        """(m,) how many rungs each trial has reached."""
        return (~np.isnan(self.loss[:, :, 0])).sum(1)

    def stopped(self, among: NDArray[Any]) -> bool:
        """Whether who should pause is stopped instead, as functions are: some have ended on a rung, none is paused.

        Those that have diverged do not tell: they are stopped in any case.
        """
        state = self.state[among]
        diverged = (self.loss[among] == np.inf).any((1, 2))
        ended = (state == TrialState.PRUNED) & self.fresh[among] & ~diverged
        return bool(ended.any() and not (state == TrialState.PAUSED).any())


def arrivals(
    history: History, levels: tuple[float, ...], resource: str = STEP, tag: str = "", trial: OpenRow | None = None
) -> Arrivals:
    """What is known at the rungs ``levels`` (ascending).

    Args:
        history: the study.
        levels, resource: of the rungs.
        tag: name of the column of brackets.
        trial: stands for the open row of its number, and is added if there is none.
    """
    with history.memo(("rungs", levels, resource, tag), lambda: _Reached(levels, resource, tag)) as memo:
        return memo.table(history, trial)


def new_rung(trial: OpenRow, levels: Sequence[float], resource: str) -> int:
    """The highest rung that the trial has reached, if exactly one report has; else -1: it was judged there before."""
    reports = trial.reports
    if resource == STEP:
        used: list[float] = [float(step) for step in reports]
    else:
        known = trial.metrics.get(resource, {})
        used = [known[step] for step in reports if step in known and known[step] == known[step]]
    rung = bisect_right(levels, max(used)) - 1 if used else -1
    return rung if rung >= 0 and sum(x >= levels[rung] for x in used) == 1 else -1


def best(loss: FloatArray, number: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices of the ``size`` best of (n, objectives) losses, the best first; of equals those with smaller numbers.

    With several objectives by fronts, and within a front the lonelier ones first (Schmucker, R. et al. 2021:
    Multi-objective asynchronous successive halving. arXiv:2106.12639; crowding as in NSGA-II). A trial with an
    infinite loss is never among them, so there may be fewer.
    """
    left = np.flatnonzero((loss < np.inf).all(1))
    size = min(size, len(left))
    if size <= 0:
        return np.empty(0, np.int64)
    if loss.shape[1] == 1:
        mine = loss[left, 0]
        left = left[mine <= np.partition(mine, size - 1)[size - 1]]
        return left[np.lexsort((number[left], loss[left, 0]))[:size]]
    ranks = nondomination_ranks(loss[left])
    found: list[NDArray[np.int64]] = []
    for rank in range(int(ranks.max()) + 1):
        group = left[ranks == rank]
        group = group[np.lexsort((number[group], -crowding_distance(loss[group])))[:size]]
        found.append(group)
        size -= len(group)
        if size == 0:
            break
    return np.concatenate(found)


def _curve(
    reports: Mapping[int, float], metrics: Mapping[str, Mapping[int, float]], resource: str, signs: Sequence[int]
) -> tuple[FloatArray, FloatArray]:
    """(k,) resources, ascending, and (k, objectives) losses of those reports that have both."""
    columns = [reports, *(metrics.get(f"values_{i}", {}) for i in range(1, len(signs)))]
    steps = sorted(reports) if len(columns) == 1 else sorted(set(reports).intersection(*columns[1:]))
    if resource != STEP:
        used = metrics.get(resource, {})
        steps = [step for step in steps if used.get(step, np.nan) == used.get(step, np.nan)]
        steps.sort(key=used.__getitem__)
        x = np.array([used[step] for step in steps], float)
    else:
        x = np.array(steps, float)
    y = np.array([[column[step] for column in columns] for step in steps], float).reshape(len(x), len(signs))
    return x, np.where(np.isnan(y), np.inf, y * np.array(signs, float))


class _Rows:
    """Growable rows of losses at the rungs."""

    def __init__(self, objectives: int) -> None:
        self.loss = np.full((16, 0, objectives), np.nan)
        self.fresh = np.zeros(16, bool)

    def put(self, i: int, x: FloatArray, y: FloatArray, levels: FloatArray) -> None:
        """Row ``i`` is that of a curve. Rows that were handed out stay as they are: growing makes a new array."""
        reached = int(np.searchsorted(levels, x[-1], side="right")) if len(x) else 0
        rows, rungs, objectives = self.loss.shape
        if i >= rows or reached > rungs:
            grown = np.full((max(rows, 2 * i if i >= rows else 0), max(rungs, reached), objectives), np.nan)
            grown[:rows, :rungs] = self.loss
            self.loss, self.fresh = grown, np.append(self.fresh, np.zeros(len(grown) - rows, bool))
        at = np.searchsorted(x, levels[:reached])
        self.loss[i] = np.nan
        self.loss[i, :reached] = y[at]
        self.fresh[i] = reached and at[-1] == len(x) - 1


class _Reached:
    """Memo: the finished trials at the rungs; and a cache of the open ones, whose rows are shared until they change."""

    def __init__(self, levels: tuple[float, ...], resource: str, tag: str) -> None:
        self.n, self._reports = 0, 0
        self._levels, self._resource, self._tag = np.array(levels), resource, tag
        self._rows: _Rows | None = None
        self._open: dict[int, tuple[OpenRow, int]] = {}  # number -> the row that was seen last, and its place below
        self._at: dict[int, int] = {}  # id of such a row -> its place
        self._places: _Rows | None = None
        self._facts = np.empty((16, 3))  # number, state, bracket of a place

    def extend(self, history: History) -> None:
        columns = (column[self._reports :] for column in history.reports[:4])
        found: dict[int, dict[int, dict[int, float]]] = {}
        for row, step, metric, value in zip(*(column.tolist() for column in columns), strict=True):
            found.setdefault(row, {}).setdefault(metric, {})[step] = value
        names = history.metrics
        self._rows = self._rows or _Rows(len(history.directions))
        for row in range(self.n, history.n):
            mine = found.get(row, {})
            named = {names[metric]: values for metric, values in mine.items() if metric}
            curve = _curve(mine.get(0, {}), named, self._resource, history.directions)
            self._rows.put(row, *curve, self._levels)
        self.n, self._reports = history.n, len(history.reports.row)

    def table(self, history: History, trial: OpenRow | None) -> Arrivals:
        """Of all trials in the snapshot, and of ``trial`` as it is now."""
        self._rows = self._rows or _Rows(len(history.directions))
        if self._places is None or len(self._open) > 2 * len(history.open) + 64:  # most are gone
            self._open, self._at, self._places = {}, {}, _Rows(len(history.directions))
        at = list(map(self._at.get, map(id, history.open)))
        for i in [i for i, place in enumerate(at) if place is None]:
            at[i] = self._place(history.open[i], history.directions, self._places)
        if trial is not None:
            place = self._place(trial, history.directions, self._places)  # that of its row in the snapshot, if any
            at += [] if place in at else [place]
        where = np.array(at, np.int64)
        done, going = self._rows.loss[: history.n], self._places.loss[where]
        loss = np.full((len(done) + len(going), max(done.shape[1], going.shape[1]), done.shape[2]), np.nan)
        loss[: len(done), : done.shape[1]] = done
        loss[len(done) :, : going.shape[1]] = going
        number, state, bracket = self._facts[where].T
        return Arrivals(
            np.concatenate([history.number, number.astype(np.int64)]),
            np.concatenate([history.state, state.astype(np.int64)]),
            np.concatenate([history.tag(self._tag), bracket]),
            loss,
            np.concatenate([self._rows.fresh[: history.n], self._places.fresh[where]]),
        )

    def _place(self, trial: OpenRow, directions: Sequence[int], places: _Rows) -> int:
        """Where a row is that was not seen before; it takes the place of the trial's earlier one."""
        place = len(self._open)
        if trial.number in self._open:
            old, place = self._open[trial.number]
            self._at.pop(id(old), None)
        self._open[trial.number] = trial, place
        self._at[id(trial)] = place
        places.put(place, *_curve(trial.reports, trial.metrics, self._resource, directions), self._levels)
        if place >= len(self._facts):
            self._facts = np.concatenate([self._facts, np.empty_like(self._facts)])
        self._facts[place] = trial.number, trial.state, trial.tags.get(self._tag, np.nan)
        return place


@dataclass(frozen=True)
class Lengths:
    """How much the COMPLETE trials have used.

    Attributes:
        first: the smallest and the largest resource that the first of them has reported; ``None`` before there is one.
        longest: the largest of all; infinite before there is one.
    """

    first: tuple[float, float] | None
    longest: float


def lengths(history: History, resource: str = STEP) -> Lengths:
    """What COMPLETE trials say of the resource of a whole training."""
    with history.memo(("lengths", resource), lambda: _Complete(resource)) as memo:
        return Lengths(memo.first, memo.longest)


class _Complete:
    """Memo of :func:`lengths`."""

    def __init__(self, resource: str) -> None:
        self.n, self._reports, self._resource = 0, 0, resource
        self.first: tuple[float, float] | None = None
        self.longest = np.inf

    def extend(self, history: History) -> None:
        row, step, metric, value = (column[self._reports :] for column in history.reports[:4])
        self.n, self._reports = history.n, len(history.reports.row)
        if self._resource == STEP:
            mine, x = metric == 0, step.astype(float)
        else:
            names = history.metrics
            mine = metric == (names.index(self._resource) if self._resource in names else -1)
            x = value
        mine = mine & ~np.isnan(x) & history.is_complete[row]
        if not mine.any():
            return
        row, x = row[mine], x[mine]
        if self.first is None:
            own = x[row == row.min()]
            self.first, self.longest = (float(own.min()), float(own.max())), float(x.max())
        self.longest = max(self.longest, float(x.max()))
