"""The finished trials of a study as TPE sees them: best first, and counted."""

from __future__ import annotations

import bisect
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.history import History
from tunesmith.numerics.pareto import best_subset
from tunesmith.numerics.parzen import CELLS, Axes, Kernels, neighbour_bandwidths
from tunesmith.numerics.parzen_shared import CellCounts
from tunesmith.space import Columns, FloatArray, Space
from tunesmith.trial import TrialState


class Split(NamedTuple):
    """What a model is made of.

    Attributes:
        below: (k,) rows of the best trials, in the order in which they finished.
        above: (m,) rows that stand for the others.
        weight: how many others each of them stands for.
    """

    below: NDArray[np.int64]
    above: NDArray[np.int64]
    weight: float


#: (sort of result, by what it is judged there, by what then, row); smaller is better.
Place = tuple[int, float, float, int]


def axes_of(space: Space) -> Axes:
    """The columns of a space's unit cube. A parameter with a single value is a choice of one."""
    columns = space.columns
    choices, edges = np.zeros(len(space), np.int64), []
    for j, distribution in enumerate(space.values()):
        if distribution.single():
            choices[j] = 1
        elif columns.categorical[j]:
            choices[j] = columns.levels[j]
        edges.append(None if choices[j] else _edges(columns, j))
    return Axes(choices, edges)


def _edges(columns: Columns, j: int) -> FloatArray | None:
    """Edges of the cells of a countable number; None for a continuum, and for values so dense that they pass for one.

    Of an integer on a logarithmic scale small values have a cell each, and large ones share cells.
    """
    m = int(columns.levels[j])
    if not (columns.log[j] and columns.integer[j]):
        return np.linspace(0.0, 1.0, m + 1) if 0 < m <= CELLS else None
    low, high = columns.low[j] - 0.5, columns.high[j] + 0.5
    at = np.exp(np.log(low) + (np.log(high) - np.log(low)) * np.linspace(0.0, 1.0, CELLS + 1)[1:-1])
    ends = np.clip(np.ceil(at - 0.5) + 0.5, low, high)  # the end of the value's cell that the point is in
    unit = np.log(np.concatenate([[low], ends, [high]]) / low) / np.log(high / low)
    unit[-1] = 1.0
    return unit[np.append(True, np.diff(unit) > 1e-12)]


class Standing:
    """Memo: the finished trials in order, and how often each value was tried.

    Order (Optuna's): feasible complete ones by value; feasible pruned ones by how far they got, then by the value
    there; infeasible ones by their violation, then by value. Failed ones come last: that it fails is something to know
    of a configuration, and worse than any value. With several objectives feasible complete trials have no order of
    their own; they are chosen by :func:`tunesmith.numerics.pareto.best_subset`.

    Args:
        space: whose unit cube the rows are in.
        objectives: how many there are.

    Attributes:
        n: rows seen.
        order: the places, best first (several objectives: of all but the feasible complete trials).
        judged: number of rows that did not fail.
        unit: (n, d) the rows in the unit cube.
        counts: of all rows.
    """

    def __init__(self, space: Space, objectives: int) -> None:
        self.space, self.n, self.judged = space, 0, 0
        self.axes, self.unit = axes_of(space), np.empty((0, len(space)))
        self.order: list[Place] = []
        self._good: tuple[Any, Kernels, CellCounts] | None = None
        self.counts = CellCounts(self.axes)
        self._complete: list[int] | None = [] if objectives > 1 else None
        self._losses = np.empty((0, objectives))

    def extend(self, history: History) -> None:
        """See :class:`tunesmith.history.Memo`."""
        first = self.n
        states = history.state[first:].tolist()
        reached = self._last_reports(history, states)
        sign = np.array(history.directions, float)
        losses, violations = (history.Y[first:] * sign)[:, 0].tolist(), history.violation[first:].tolist()
        places = [
            _place(first + i, state, loss, violation, reached.get(first + i))
            for i, (state, loss, violation) in enumerate(zip(states, losses, violations, strict=True))
        ]
        if self._complete is not None:
            better = [place[3] for place in places if place[0] == 0]
            places = [place for place in places if place[0] > 0]
            self._complete += better
            self._losses = np.concatenate([self._losses, history.Y[better] * sign])
        if len(places) == 1:
            bisect.insort(self.order, places[0])
        else:
            self.order = sorted(self.order + places)
        self.judged += sum(state != TrialState.FAIL for state in states)
        self.unit = history.encode(self.space)
        self.counts.add(self.unit[first:])
        self.n = history.n

    def _last_reports(self, history: History, states: list[int]) -> dict[int, tuple[int, float]]:
        """Row -> (last step, loss there) of the new rows, if one of them was pruned."""
        if TrialState.PRUNED not in states:
            return {}
        reports = history.reports  # in the order of their rows
        new = slice(int(np.searchsorted(reports.row, self.n)), None)
        columns = (column[new].tolist() for column in (reports.row, reports.step, reports.metric, reports.value))
        last: dict[int, tuple[int, float]] = {}
        for row, step, metric, value in zip(*columns, strict=True):
            if metric == 0 and (row not in last or step > last[row][0]):
                last[row] = (step, value * history.directions[0])
        return last

    def split(self, n_below: int, most: int) -> Split:
        """The best ``n_below`` rows, and at most ``most`` for the others.

        If these are more, they are cut into ``most`` strata of equal size (but for 1) by their order, of each of which
        the best one stands for all.
        """
        if self._complete is not None:
            return self._split_pareto(n_below, most)
        below = np.array(sorted([place[3] for place in self.order[:n_below]]), np.int64)
        rest = len(self.order) - n_below
        above = [self.order[n_below + rank][3] for rank in _strata(rest, most)]
        return Split(below, np.array(above, np.int64), rest / max(1, len(above)))

    def good(
        self, below: NDArray[np.int64], weights: FloatArray, prior: float, endpoints: bool, clip: bool
    ) -> tuple[Kernels, CellCounts]:
        """The density of some rows, and their counts. Kept until something else is asked for: the best trials are
        mostly those that they were a trial ago."""
        key = (below.tobytes(), weights.tobytes(), prior, endpoints, clip)
        if self._good is None or self._good[0] != key:
            rows = self.unit[below]
            bandwidths = partial(neighbour_bandwidths, endpoints=endpoints, clip=clip)
            counts = CellCounts(self.axes)
            counts.add(rows)
            self._good = key, Kernels(self.axes, rows, weights, prior, bandwidths), counts
        return self._good[1:]

    def _split_pareto(self, n_below: int, most: int) -> Split:
        """As :meth:`split`, with strata in the order in which trials finished."""
        assert self._complete is not None
        complete = np.array(self._complete, np.int64)
        chosen = complete[best_subset(self._losses[: len(complete)], min(n_below, len(complete)))]
        others = [place[3] for place in self.order[: n_below - len(chosen)]]
        below = np.array(sorted([*chosen.tolist(), *others]), np.int64)
        rest = np.setdiff1d(np.arange(self.n), below, assume_unique=True)
        above = rest[_strata(len(rest), most)]
        return Split(below, above, len(rest) / max(1, len(above)))


def _strata(n: int, most: int) -> list[int]:
    """The first of each of ``min(n, most)`` strata of ``n`` places."""
    k = min(n, most)
    return [i * n // k for i in range(k)]


def _place(row: int, state: int, loss: float, violation: float, reached: tuple[int, float] | None) -> Place:
    loss = np.inf if loss != loss else loss
    if state == TrialState.FAIL:
        return 3, 0.0, 0.0, row
    if violation > 0:
        return 2, violation, loss, row
    if state == TrialState.COMPLETE:
        return 0, loss, 0.0, row
    if reached is None:
        return 1, np.inf, 0.0, row
    return 1, -float(reached[0]), np.inf if reached[1] != reached[1] else reached[1], row
