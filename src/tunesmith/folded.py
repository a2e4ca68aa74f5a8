"""What the events of a study have led to: its state, and the snapshots that everybody looks at."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tunesmith._table import DELETED, Table
from tunesmith.distributions import BaseDistribution
from tunesmith.events import Event
from tunesmith.history import History, Memos, OpenRow, Shape
from tunesmith.open_trials import KEPT, OpenTrial, Part
from tunesmith.space import Space
from tunesmith.trial._state import TrialState

#: Attributes that are plain values.
_PLAIN = ("meta", "due", "config", "configs", "user_attrs", "system_attrs", "metric_names", "workers", "version")


class Folded:
    """The state of a study after the events applied so far; :class:`~tunesmith.fold.Fold` applies them.

    Attributes:
        meta: the fields of the ``study`` event, empty before it.
        due: the number of records that the log must have to count as a study (see the ``import`` event).
        config: sampler and pruner specifications, the last ones.
        configs: worker id -> the same of that worker.
        spaces: space id -> space, of those in the log.
        registered: space id -> the caller's own space, in the log or not.
        open: number -> :class:`OpenTrial`.
        workers: worker id -> fields of its event.
        version: number of events applied; a key for caches.
        table: the columns of finished trials. Rows of deleted ones may still be there, until the next snapshot.
    """

    def __init__(self) -> None:
        self.meta: Event = {}
        self.due = 0
        self.config: dict[str, Any] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.directions: tuple[int, ...] = (1,)
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.metric_names: list[str] | None = None
        self.spaces: dict[str, Space] = {}
        self.registered: dict[str, Space] = {}
        self.workers: dict[str, Event] = {}
        self.open: dict[int, OpenTrial] = {}
        self.version = 0
        self.table = Table()
        self._waiting: list[int] = []  # heaps of numbers; some of them do not wait any more
        self._released: list[int] = []
        self._shared = False  # whether a snapshot looks at the table's arrays
        self._memos = Memos()
        self._history: History | None = None
        self._shape: Shape | None = None
        self._shape_key: tuple[Any, ...] = ()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> its latest distribution."""
        return self.table.distributions

    @property
    def where(self) -> list[int]:
        """The row of each trial number, ``OPEN`` or ``DELETED``."""
        return self.table.where

    @property
    def n_trials(self) -> int:
        """Number of all trials, deleted ones too; also the number the next new trial gets."""
        return len(self.where)

    def is_deleted(self, number: int) -> bool:
        """Whether there was such a trial."""
        return 0 <= number < len(self.where) and self.where[number] == DELETED

    def next_waiting(self, *, released: bool = False) -> int | None:
        """The smallest number that waits to be claimed; with ``released``, of those that were attempted before."""
        heap = self._released if released else self._waiting
        while heap:
            trial = self.open.get(heap[0])
            if trial is not None and trial.state == TrialState.WAITING:
                return heap[0]
            heapq.heappop(heap)
        return None

    def waiting(self, n: int, *, released: bool = False) -> list[int]:
        """Up to ``n`` numbers that wait to be claimed, ascending; see :meth:`next_waiting`."""
        first = self.next_waiting(released=released)
        if first is None or n == 1:
            return [] if first is None else [first]
        heap = self._released if released else self._waiting
        known = (number for number in sorted(set(heap)) if number in self.open)
        return [number for number in known if self.open[number].state == TrialState.WAITING][:n]

    def register(self, space: Space) -> None:
        """Let ``space`` (which may hold the caller's own objects as choices) be the meaning of its id, once that is
        in the log; until then the log does not know it."""
        self.registered[space.id] = space

    def holder(self, trial: OpenTrial) -> Event | None:
        """The worker that holds an open trial, or held it when it was paused."""
        return None if trial.token is None else self.workers.get(trial.token.partition(".")[0])

    def params(self, parts: list[Part]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Values and distributions of a trial's parts; later parts override earlier ones."""
        values: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for space_id, raw in parts:
            space = self.spaces[space_id]
            known = zip(space.distributions.items(), space.from_event(raw), raw, strict=True)
            for (name, distribution), value, written in known:
                if written is not None:
                    values[name], distributions[name] = value, distribution
        return values, distributions

    def reports(self, trial: OpenTrial) -> tuple[dict[int, float], dict[str, dict[int, float]]]:
        """Step -> objective, and metric -> step -> value, of an open trial."""
        main: dict[int, float] = {}
        others: dict[str, dict[int, float]] = {}
        for step, value, *which in trial.reports:
            name = which[0] if which else 0
            if isinstance(name, int) and name:
                name = self.table.metrics[name]
            target = others.setdefault(name, {}) if name else main
            target.setdefault(step, float(value))
        return main, others

    # -- snapshots ----------------------------------------------------------------------------------------------

    def history(self) -> History:
        """A snapshot, made once per version."""
        if self._history is None:
            self._history = self._snapshot()
        return self._history

    def _snapshot(self) -> History:
        if self.table.deleted:
            self._drop_rows()
        table = self.table
        key = (table.shape, len(table.metrics), bool(self.meta))
        if self._shape is None or self._shape_key != key:
            self._shape = Shape(
                names=tuple(table.names),
                distributions=dict(table.distributions),
                categories={k: tuple(v) for k, v in table.categories.items()},
                directions=self.directions,
                seed=self.meta.get("seed", 0),
                budget=self.meta.get("budget"),
                metrics=tuple(table.metrics),
                spaces=self.spaces,
                combinations=table.spaces,
                memos=self._memos,
            )
            self._shape_key = key  # last: an interrupt in between must not make an old shape pass for this one
        open_rows = tuple([t.row or self._open_row(t) for t in self.open.values()]) if self.open else ()
        self._shared = True
        return History(self._shape, len(self.where), open_rows, table)

    def _open_row(self, trial: OpenTrial) -> OpenRow:
        params, _ = self.params(trial.parts)
        reports, metrics = self.reports(trial)
        given = {**trial.fixed, **params}
        saved = None if trial.saved is None else trial.saved.step
        trial.row = OpenRow(trial.number, trial.state, given, reports, metrics, trial.tags, trial.start, saved)
        return trial.row

    # -- as arrays and plain values, and back -------------------------------------------------------------------

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All of the state, as plain values and as arrays (which are shared with it)."""
        table, arrays = self.table.dump()
        fields = {name: getattr(self, name) for name in _PLAIN}
        fields["spaces"] = [(space_id, space.to_dict()) for space_id, space in self.spaces.items()]
        fields["open"] = [[getattr(trial, name) for name in KEPT] for trial in self.open.values()]
        return {**fields, "table": table}, arrays

    def load(self, fields: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`dump`, for a state to which no event was applied; takes over what it is given."""
        for name in _PLAIN:
            setattr(self, name, fields[name])
        self.directions = tuple(self.meta.get("directions", self.directions))
        for space_id, described in fields["spaces"]:
            space = self.registered.get(space_id)
            if space is None:
                space = Space.from_dict(described)
                space.__dict__["id"] = space_id
            self.spaces[space_id] = space
        self.open = {trial.number: trial for trial in map(OpenTrial.of, fields["open"])}
        waiting = [trial for trial in self.open.values() if trial.state == TrialState.WAITING]
        self._waiting = sorted(trial.number for trial in waiting)
        self._released = sorted(trial.number for trial in waiting if trial.attempt)
        self.table = Table.load(fields["table"], arrays)

    # -- rows that change all the same --------------------------------------------------------------------------

    def _rewrite(self) -> None:
        """Before finished rows change: snapshots keep the arrays that they have, and what was computed from those rows
        does not hold any more."""
        if self._shared:
            self.table.copy_results()
            self._shared = False
        self._forget()

    def _forget(self) -> None:
        self._memos = Memos()
        self._shape = None

    def _drop_rows(self) -> None:
        """Take deleted trials out of the columns, all at once: it costs a copy of them."""
        self._forget()
        self.table = self.table.without_deleted()
        self._shared = False
