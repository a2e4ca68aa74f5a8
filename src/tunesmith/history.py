"""A study's trials as read-only columns: what samplers, stopping rules, importances and plots look at."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tunesmith._columns import frozen
from tunesmith._forks import watch_forks
from tunesmith._table import Table
from tunesmith.distributions import BaseDistribution, CategoricalDistribution
from tunesmith.space import FloatArray, Space
from tunesmith.trial._state import TrialState


class Reports(NamedTuple):
    """Ragged reports of the finished trials, in the order they were written; all arrays have the same length.

    Attributes:
        row: index into the finished rows.
        step: the step (epoch).
        metric: an index into ``History.metrics``: 0 for the (first) objective, then the others, then named metrics.
        value: what was reported.
        time: when it was written, microseconds since 1970 (UTC); 0 when unknown.
    """

    row: NDArray[np.int64]
    step: NDArray[np.int64]
    metric: NDArray[np.int64]
    value: FloatArray
    time: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A trial that is not finished: running, paused or waiting.

    Attributes:
        number: its number.
        state: RUNNING, PAUSED or WAITING.
        params: the configuration it was given (of a waiting one: what is known).
        reports: step -> reported objective (the first one).
        metrics: name -> step -> value of what else was reported; further objectives are ``"values_1"`` and so on.
        tags: the sampler's and scheduler's bookkeeping.
        start: microseconds since 1970 (UTC) of the first claim, 0 before it.
        saved: the step that the trial has saved its state at last; None if it has not.
    """

    number: int
    state: TrialState
    params: Mapping[str, Any]
    reports: Mapping[int, float] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    start: int = 0
    saved: int | None = None


class Memo(Protocol):
    """Something that was computed from the first ``n`` finished trials and can be brought up to date.

    Attributes:
        n: how many it has seen; at most ``history.n``.
    """

    n: int

    def extend(self, history: History) -> None:
        """Take in the rows from ``n`` on. The outcome must be that of a new memo that sees all rows at once."""


M = TypeVar("M", bound=Memo)


class Memos:
    """What was computed from a study before, by key; dropping it changes no result, only time.

    The oldest go when there are more than ``MOST``.
    """

    MOST = 16

    def __init__(self) -> None:
        self._after_fork()
        watch_forks(self)
        self._found: dict[Hashable, Memo] = {}

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def at(self, key: Hashable, history: History, make: Callable[[], M]) -> Iterator[M]:
        """See :meth:`History.memo`."""
        with self._lock:
            memo: Any = self._found.pop(key, None)
            old = memo is not None and memo.n > history.n  # of a later snapshot: leave it to that one
            mine: M = make() if memo is None or old else memo
            if mine.n < history.n:
                mine.extend(history)
            self._found[key] = memo if old else mine
            if len(self._found) > self.MOST:
                del self._found[next(iter(self._found))]
            yield mine


class _Encoded:
    """Memo: the rows in the unit cube of a space."""

    def __init__(self, space: Space) -> None:
        self.space, self.n = space, 0
        self.rows: FloatArray = np.empty((16, len(space)))

    def extend(self, history: History) -> None:
        if history.n > len(self.rows):  # twice the room, so that a row a trial costs no copy of all
            room = np.empty((max(history.n, 2 * len(self.rows)) - self.n, len(self.space)))
            self.rows = np.concatenate([self.rows[: self.n], room])
        self.rows[self.n : history.n] = self.space.encode(history.raw(self.space, self.n))
        self.n = history.n


@dataclass(frozen=True)
class Shape:
    """What rarely changes between two snapshots; shared by all that have it in common.

    The attributes are those of :class:`History` of the same names. ``spaces`` by id, and the ``combinations`` of ids
    that trials' values were written with, only grow.
    """

    names: tuple[str, ...]
    distributions: Mapping[str, BaseDistribution]
    categories: Mapping[str, tuple[Any, ...]]
    directions: tuple[int, ...]
    seed: int
    budget: int | None
    metrics: tuple[str, ...]
    spaces: Mapping[str, Space]
    combinations: Sequence[tuple[str, ...]]
    memos: Memos


class History:
    """An immutable snapshot of a study. ``n`` finished trials in finishing order are the rows of all columns.

    Made by the fold only.

    Attributes:
        n: number of finished trials (COMPLETE, PRUNED, FAIL).
        n_trials: number of all trials; also the number the next new trial gets.
        open: running, paused and waiting trials by number.
    """

    def __init__(
        self,
        shape: Shape,
        n_trials: int,
        open_rows: tuple[OpenRow, ...],
        table: Table,
    ) -> None:
        self.n = table.n
        self.n_trials = n_trials
        self.open = open_rows
        self._shape = shape
        # rows below n never change in these arrays
        self._x, self._y, self._ints = table.X.data, table.Y.data, table.ints.data
        self._reports = tuple([c.data for c in table.reports])
        self._n_reports = table.reports[0].n
        self._tags = {name: (c.data, c.n) for name, c in table.tags.items()} if table.tags else {}
        self._violation = table.violation.data
        self._vectors = table.vectors

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names in the order of the columns of ``X``."""
        return self._shape.names

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Name -> its latest distribution."""
        return self._shape.distributions

    @property
    def categories(self) -> Mapping[str, tuple[Any, ...]]:
        """Name -> the values a code in ``X`` stands for (categorical columns only)."""
        return self._shape.categories

    @property
    def directions(self) -> tuple[int, ...]:
        """+1 (minimise) or -1 (maximise), one an objective."""
        return self._shape.directions

    @property
    def seed(self) -> int:
        """The study's seed (with the trial number it seeds a trial's generator)."""
        return self._shape.seed

    @property
    def budget(self) -> int | None:
        """Planned number of trials as stated at ``create_study``, or ``None``."""
        return self._shape.budget

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of reported metrics, the objectives first (the first one is "", the second "values_1")."""
        return self._shape.metrics

    # -- columns ------------------------------------------------------------------------------------------------

    @property
    def X(self) -> FloatArray:
        """(n, d) raw values (a choice as its code into ``categories``); NaN where the parameter was not active."""
        return frozen(self._x, self.n)[:, : len(self.names)]

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n, d) whether the parameter was part of the trial's configuration."""
        return ~np.isnan(self.X)

    @property
    def Y(self) -> FloatArray:
        """(n, objectives) values as told; NaN where there is none (FAIL, PRUNED without a report)."""
        return frozen(self._y, self.n)

    @property
    def state(self) -> NDArray[np.int64]:
        """(n,) :class:`~tunesmith.trial.TrialState` numbers."""
        return frozen(self._ints, self.n)[:, 1]

    @property
    def number(self) -> NDArray[np.int64]:
        """(n,) trial numbers."""
        return frozen(self._ints, self.n)[:, 0]

    @property
    def start(self) -> NDArray[np.int64]:
        """(n,) microseconds since 1970 (UTC) of the claim; 0 when unknown."""
        return frozen(self._ints, self.n)[:, 2]

    @property
    def complete(self) -> NDArray[np.int64]:
        """(n,) microseconds since 1970 (UTC) of the end."""
        return frozen(self._ints, self.n)[:, 3]

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(n,) whether the state is COMPLETE."""
        return self.state == TrialState.COMPLETE

    @property
    def loss(self) -> FloatArray:
        """(n, objectives) values with the sign that makes smaller better."""
        return self.Y * np.array(self.directions, float)

    @cached_property
    def reports(self) -> Reports:
        """Reports of the finished trials."""
        return Reports(*(frozen(a, self._n_reports) for a in self._reports))

    @property
    def violation(self) -> FloatArray:
        """(n,) sum of the positive constraint values; 0 is feasible (also when a trial has no constraints)."""
        return frozen(self._violation, self.n)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the bookkeeping columns."""
        return tuple(self._tags)

    def tag(self, name: str) -> FloatArray:
        """A bookkeeping column: (n,) for numbers, (n, k) for lists of up to k; NaN where a trial has no such tag."""
        if name not in self._tags:
            return np.full(self.n, np.nan)
        data, k = self._tags[name]
        width = data.shape[1]
        column = np.full((self.n, width), np.nan)
        have = min(k, self.n)
        column[:have] = data[:have]
        return column if name in self._vectors else column[:, 0]

    def value(self, name: str) -> NDArray[Any]:
        """(n,) the user's values of one parameter as an object array; ``None`` where it was not active."""
        j = self.names.index(name)
        column, table = self.X[:, j], self.categories.get(name)
        dist = self.distributions[name]
        out = np.empty(self.n, object)
        for i, v in enumerate(column.tolist()):
            if v == v:
                out[i] = table[int(v)] if table is not None else dist.to_external_repr(v)
        return out

    def asked(self, row: int) -> dict[str, BaseDistribution]:
        """Name -> distribution of what the finished trial was asked for, as it was then."""
        known: dict[str, BaseDistribution] = {}
        for space_id in self._shape.combinations[int(self._ints[row, 4])]:
            known.update(self._shape.spaces[space_id].distributions)
        here = ~np.isnan(self.X[row])
        return {n: known.get(n, self.distributions[n]) for n, active in zip(self.names, here, strict=True) if active}

    def expecting(self, rows: Sequence[OpenRow]) -> History:
        """This snapshot with more open trials: those that are about to be made."""
        other = copy.copy(self)
        other.open = (*self.open, *rows)
        return other

    def showing(self, rows: Mapping[int, OpenRow]) -> History:
        """This snapshot with other rows for some open trials (those that have told this process more than the log)."""
        other = copy.copy(self)
        other.open = tuple([rows.get(row.number, row) for row in self.open])
        return other

    def remade(self, open_rows: tuple[OpenRow, ...], table: Table) -> History:
        """A snapshot of the same study in which other trials are finished, or the same ones otherwise.

        Nothing that was computed from this one holds for it."""
        return History(replace(self._shape, memos=Memos()), self.n_trials, open_rows, table)

    # -- derived ------------------------------------------------------------------------------------------------

    @property
    def running(self) -> tuple[OpenRow, ...]:
        """Open trials that a worker holds or that are paused: their configurations are pending."""
        return tuple(t for t in self.open if t.state != TrialState.WAITING)

    def encode(self, space: Space) -> FloatArray:
        """(n, len(space)) the finished rows in the unit cube of ``space``; NaN where inactive or unknown there.

        Values outside a range that has shrunk since are clipped; choices that are gone become NaN.
        """
        with self.memo(("encoded", space.id), lambda: _Encoded(space)) as encoded:
            return frozen(encoded.rows, self.n)

    @contextlib.contextmanager
    def memo(self, key: Hashable, make: Callable[[], M]) -> Iterator[M]:
        """What an incremental method keeps of the finished trials, brought up to date with this snapshot.

        It is a cache: it may be gone at the next call, and one that is made anew from all rows must be equal to one
        that has grown with them. No other thread changes it inside of the ``with`` block.

        Args:
            key: what it is: the method's name and all that it depends on but the rows (as a rule ``space.id``).
            make: a new one that has seen no row.
        """
        with self._shape.memos.at(key, self, make) as memo:
            yield memo

    def raw(self, space: Space, first: int = 0) -> FloatArray:
        """(n - first, len(space)) the finished rows from ``first`` on under the names of ``space``, as they were: maybe
        outside of its ranges; a choice as its index in it; NaN where inactive or unknown there."""
        raw = np.full((self.n - first, len(space)), np.nan)
        known, values = {name: j for j, name in enumerate(self.names)}, self.X[first:]
        for j, (name, dist) in enumerate(space.distributions.items()):
            if name not in known:
                continue
            column = values[:, known[name]]
            table = self.categories.get(name)
            if isinstance(dist, CategoricalDistribution):
                if table is not None:
                    found = (dist._find(value) for value in table)
                    lookup = np.array([np.nan if f is None else f for f in found] + [np.nan])
                    raw[:, j] = lookup[np.where(np.isnan(column), -1, column).astype(np.int64)]
            elif table is None:
                raw[:, j] = column
        return raw

    def encode_open(self, space: Space) -> FloatArray:
        """(len(running), len(space)) the pending configurations in the unit cube of ``space``."""
        rows = np.full((len(self.running), len(space)), np.nan)
        for i, trial in enumerate(self.running):
            known = {n: v for n, v in trial.params.items() if n in space and space[n].contains(v)}
            rows[i] = space.from_params(known)
        return space.encode(rows)

    @cached_property
    def best_row(self) -> int | None:
        """Row of the best feasible COMPLETE trial (single objective), the earliest among equals."""
        if self.n == 0:
            return None
        good = np.flatnonzero(self.is_complete & (self.violation <= 0))
        if len(good) == 0:
            return None
        return int(good[np.argmin(self.loss[good, 0])])

    @cached_property
    def pareto_rows(self) -> NDArray[np.int64]:
        """Rows of the feasible COMPLETE trials that no other one dominates (several objectives)."""
        good = np.flatnonzero(self.is_complete & (self.violation <= 0))
        loss = self.loss[good]
        keep = np.ones(len(good), bool)
        for i in range(len(good)):
            if keep[i]:
                dominated = np.all(loss[i] <= loss, axis=1) & np.any(loss[i] < loss, axis=1)
                keep &= ~dominated
        return good[keep]
