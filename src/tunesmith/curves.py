"""Learning curves as arrays: what the reports of all trials, finished or not, say at which resource.

A *resource* is what a budget is counted in: the step (epoch) itself, or a metric that objectives report with it, such
as the samples seen so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tunesmith._columns import Column
from tunesmith.history import History, OpenRow
from tunesmith.space import FloatArray

#: The resource that every report has, and the one that the loop can report.
STEP, SECONDS = "step", "seconds"


@dataclass(frozen=True)
class Curves:
    """The curves of those trials that have reported: the finished ones in the order of their rows, then the open ones.

    Attributes:
        number: (m,) trial numbers.
        row: (m,) rows of the history; -1 for open trials.
        state: (m,) :class:`~tunesmith.trial.TrialState` numbers.
        first: (m + 1,) where each curve begins in the two arrays below; none is empty.
        resource: (k,) ascending within a curve.
        loss: (k,) the reported objective, with the sign that makes smaller better; infinite for a NaN.
        n_finished: how many of the m are finished.
    """

    number: NDArray[np.int64]
    row: NDArray[np.int64]
    state: NDArray[np.int64]
    first: NDArray[np.int64]
    resource: FloatArray
    loss: FloatArray
    n_finished: int

    def __len__(self) -> int:
        return len(self.number)

    @cached_property
    def last(self) -> FloatArray:
        """(m,) the resource that each trial has used."""
        return self.resource[self.first[1:] - 1]

    def at(self, level: float) -> FloatArray:
        """(m,) the loss at the first report with at least this resource; NaN where there is none."""
        if not len(self):
            return np.empty(0)
        k = len(self.resource)
        place = np.where(self.resource >= level, np.arange(k), k)
        place = np.minimum.reduceat(place, self.first[:-1])
        return np.append(self.loss, np.nan)[place]

    def upto(self, level: float) -> FloatArray:
        """(m,) the least loss among the reports with at most this resource; NaN where there is none."""
        if not len(self):
            return np.empty(0)
        inside = self.resource <= level
        least = np.minimum.reduceat(np.where(inside, self.loss, np.inf), self.first[:-1])
        return np.where(np.logical_or.reduceat(inside, self.first[:-1]), least, np.nan)

    def of(self, number: int) -> tuple[FloatArray, FloatArray]:
        """Resources and losses of one trial; empty if it has not reported."""
        for i in np.flatnonzero(self.number == number)[-1:]:
            piece = slice(self.first[i], self.first[i + 1])
            return self.resource[piece], self.loss[piece]
        return np.empty(0), np.empty(0)


def curves(history: History, resource: str = STEP, objective: int = 0) -> Curves:
    """The learning curves of one objective.

    Args:
        history: the study.
        resource: ``"step"``, or the name of a reported metric: a report without it (or with NaN) does not count then.
        objective: which, from 0.
    """
    sign = history.directions[objective]
    with history.memo(("curves", resource, objective), lambda: _Finished(resource, objective)) as done:
        rows, ends, xs, ys = done.rows.data[: done.rows.n], done.ends.data[: done.ends.n], done.x, done.y
        count = int(np.searchsorted(rows, history.n))
        k = int(ends[count - 1]) if count else 0
        x, y = [xs.data[:k]], [ys.data[:k]]
        lengths = [np.diff(ends[:count], prepend=0)]
        rows = rows[:count]
    numbers, states = [history.number[rows]], [history.state[rows]]
    for trial in history.open:
        found = _of_open(trial, resource, objective, sign)
        if found is not None:
            x.append(found[0])
            y.append(found[1])
            lengths.append(np.array([len(found[0])]))
            numbers.append(np.array([trial.number]))
            states.append(np.array([int(trial.state)]))
    m_open = len(lengths) - 1
    return Curves(
        np.concatenate(numbers), np.concatenate([rows, np.full(m_open, -1)]), np.concatenate(states),
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        np.concatenate(x), np.concatenate(y), len(rows),
    )  # fmt: skip


def _of_open(trial: OpenRow, resource: str, objective: int, sign: int) -> tuple[FloatArray, FloatArray] | None:
    reports: Mapping[int, float] = trial.metrics.get(f"values_{objective}", {}) if objective else trial.reports
    if not reports:
        return None
    used: Mapping[int, float] | None = None if resource == STEP else trial.metrics.get(resource, {})
    steps = sorted(s for s in reports if used is None or used.get(s, np.nan) == used.get(s, np.nan))
    if not steps:
        return None
    x = np.array(steps if used is None else [used[s] for s in steps], float)
    return _ordered(x, _losses(np.array([reports[s] for s in steps], float), sign))


def _losses(values: FloatArray, sign: int) -> FloatArray:
    return np.where(np.isnan(values), np.inf, values * sign)


def _ordered(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """By resource; a metric need not grow with the step."""
    if (np.diff(x) >= 0).all():
        return x, y
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


class _Finished:
    """Memo: the curves of the finished trials that have one."""

    def __init__(self, resource: str, objective: int) -> None:
        self._resource, self._objective = resource, objective
        self.n, self._reports = 0, 0
        self.rows, self.ends = Column(np.int64), Column(np.int64)
        self.x, self.y = Column(np.float64), Column(np.float64)

    def extend(self, history: History) -> None:
        reports, begin = history.reports, self._reports
        self.n, self._reports = history.n, len(reports.row)
        row, step, metric = reports.row[begin:], reports.step[begin:], reports.metric[begin:]
        value = reports.value[begin:]
        mine = np.flatnonzero(metric == self._objective)
        mine = mine[np.lexsort((step[mine], row[mine]))]
        x = step[mine].astype(float)
        if self._resource != STEP:
            known = history.metrics.index(self._resource) if self._resource in history.metrics else -1
            theirs = metric == known
            at = zip(row[theirs].tolist(), step[theirs].tolist(), strict=True)
            used = dict(zip(at, value[theirs].tolist(), strict=True))
            pairs = zip(row[mine].tolist(), step[mine].tolist(), strict=True)
            x = np.array([used.get(pair, np.nan) for pair in pairs], float)
            mine, x = mine[~np.isnan(x)], x[~np.isnan(x)]
            order = np.lexsort((x, row[mine]))
            mine, x = mine[order], x[order]
        rows, counts = np.unique(row[mine], return_counts=True)
        self.rows.extend(rows)
        self.ends.extend(self.x.n + np.cumsum(counts))
        self.x.extend(x)
        self.y.extend(_losses(value[mine], history.directions[self._objective]))
