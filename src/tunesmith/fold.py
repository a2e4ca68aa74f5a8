"""The fold: events in, state out. Pure bookkeeping; it reads no clock and writes nothing.

``Fold.apply`` takes one event and says whether it was valid. The first claim of a number wins; an event whose token is
not the one that holds the trial is void; everything else follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tunesmith._columns import Column
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, choice_from_json, choice_key
from tunesmith.events import VERSION, Event, attr_from_json
from tunesmith.exceptions import LogDamagedError, NewerFormatError
from tunesmith.history import EncodeCache, History, OpenRow
from tunesmith.space import EXACT, Space
from tunesmith.trial._state import TrialState

Part = tuple[str, list[Any]]  # (space id, values as they stand in the event)


class OpenTrial:
    """A trial that is not finished."""

    __slots__ = (
        "number", "state", "token", "attempt", "parts", "fixed", "tags", "start", "reports", "user_attrs",
        "constraints", "by_ask", "at",
    )  # fmt: skip

    def __init__(self, number: int, state: TrialState) -> None:
        self.number = number
        self.state = state
        self.token: str | None = None
        self.attempt = 0
        self.parts: list[Part] = []
        self.fixed: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.start = 0
        self.reports: list[list[Any]] = []
        self.user_attrs: dict[str, Any] = {}
        self.constraints: dict[str, float] = {}
        self.by_ask = False
        self.at: int | None = None


class Layout:
    """Where the values of a space go: column indices, and maps from choice index to code."""

    __slots__ = ("columns", "maps", "maybe_big", "leading")

    def __init__(self, columns: list[int], maps: list[tuple[int, list[int]]], maybe_big: bool) -> None:
        self.columns = np.array(columns, np.intp)
        self.maps = maps
        self.maybe_big = maybe_big
        self.leading = len(columns) if columns == list(range(len(columns))) else -1


class Fold:
    """The state of a study after the events applied so far.

    Attributes:
        meta: the fields of the ``study`` event, empty before it.
        config: sampler and pruner specifications.
        spaces: space id -> space.
        open: number -> :class:`OpenTrial`.
        where: row of each trial number, -1 while it is open.
        workers: worker id -> fields of its event.
        version: number of events applied; a key for caches.
        shape: changes whenever ``distributions`` does.
    """

    def __init__(self) -> None:
        self.meta: Event = {}
        self.config: dict[str, Any] = {}
        self.directions: tuple[int, ...] = (1,)
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.metric_names: list[str] | None = None
        self.spaces: dict[str, Space] = {}
        self.workers: dict[str, Event] = {}
        self.open: dict[int, OpenTrial] = {}
        self.where: list[int] = []
        self.version = 0
        self.shape = 0
        self.names: list[str] = []
        self.distributions: dict[str, BaseDistribution] = {}
        self.categories: dict[str, list[Any]] = {}
        self.metrics: list[str] = [""]
        self.merged: list[tuple[str, ...]] = [()]
        self.row_user_attrs: dict[int, dict[str, Any]] = {}
        self.row_system_attrs: dict[int, dict[str, Any]] = {}
        self.row_constraints: dict[int, dict[str, float]] = {}
        self.big: dict[tuple[int, int], int] = {}
        self._codes: dict[str, dict[tuple[Any, ...], int]] = {}
        self._layouts: dict[str, Layout] = {}
        self._merged_index: dict[tuple[str, ...], int] = {(): 0}
        self._cache = EncodeCache()
        self._history: History | None = None
        self._latest: str | None = None
        self._make_columns()
        self._handlers: dict[str, Callable[[Event], bool]] = {
            "study": self._study, "config": self._config, "attr": self._attr, "metrics": self._metric_names,
            "space": self._space, "worker": self._worker, "wait": self._wait, "ask": self._ask, "up": self._update,
            "tell": self._tell, "pause": self._pause, "resume": self._resume, "release": self._release,
            "add": self._add,
        }  # fmt: skip

    def _make_columns(self) -> None:
        self.X = Column(np.float64, 4, np.nan)
        self.Y = Column(np.float64, 1, np.nan)
        self.state = Column(np.int8)
        self.number = Column(np.int32)
        self.start = Column(np.int64)
        self.complete = Column(np.int64)
        self.row_spaces = Column(np.int32)
        self.reports = (Column(np.int32), Column(np.int64), Column(np.int32), Column(np.float64))
        self.tags: dict[str, Column] = {}

    # -- public -------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> bool:
        """Take one event; return whether it was valid (a void one changes nothing).

        Raises:
            NewerFormatError: the event's type is unknown. LogDamagedError: its fields contradict each other.
        """
        handler = self._handlers.get(event.get("e", ""))
        if handler is None:
            raise NewerFormatError(
                f"The log holds an event of type {event.get('e')!r}, which this version does not know; update tunesmith."
            )
        self.version += 1
        self._history = None
        try:
            return handler(event)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, (NewerFormatError, LogDamagedError)):
                raise
            raise LogDamagedError(f"The event {str(event)[:200]!r} cannot be understood: {error!r}.") from error

    @property
    def n_trials(self) -> int:
        return len(self.where)

    def next_waiting(self) -> int | None:
        """The smallest number that waits to be claimed."""
        return min((t.number for t in self.open.values() if t.state == TrialState.WAITING), default=None)

    def history(self) -> History:
        """A snapshot, made once per version."""
        if self._history is None:
            self._history = self._snapshot()
        return self._history

    def register(self, space: Space) -> None:
        """Make ``space`` (which may hold the caller's own objects as choices) the meaning of its id."""
        self.spaces.setdefault(space.id, space)

    def params(self, parts: list[Part]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Values and distributions of a trial's parts; later parts override earlier ones."""
        values: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for space_id, raw in parts:
            space = self.spaces[space_id]
            values.update(zip(space.names, space.from_event(raw), strict=True))
            distributions.update(space.distributions)
        return values, distributions

    # -- the study ----------------------------------------------------------------------------------------------

    def _study(self, event: Event) -> bool:
        if self.meta:
            return False  # another creator was first
        if event["v"] > VERSION:
            raise NewerFormatError(f"The log has format {event['v']}, this version reads up to {VERSION}; update tunesmith.")
        self.meta = event
        self.directions = tuple(event["directions"])
        self.Y = Column(np.float64, len(self.directions), np.nan)
        return True

    def _config(self, event: Event) -> bool:
        self.config.update({k: event[k] for k in ("sampler", "pruner") if k in event})
        return True

    def _attr(self, event: Event) -> bool:
        (self.system_attrs if event.get("system") else self.user_attrs)[event["k"]] = attr_from_json(event["v"])
        return True

    def _metric_names(self, event: Event) -> bool:
        self.metric_names = list(event["names"])
        return True

    def _space(self, event: Event) -> bool:
        if event["id"] not in self.spaces:
            self.spaces[event["id"]] = Space.from_dict(event["d"])
        return True

    def _worker(self, event: Event) -> bool:
        self.workers[event["w"]] = event
        return True

    # -- open trials --------------------------------------------------------------------------------------------

    def _new(self, number: int, state: TrialState) -> OpenTrial | None:
        if number != len(self.where):
            return None
        self.where.append(-1)
        trial = self.open[number] = OpenTrial(number, state)
        return trial

    def _wait(self, event: Event) -> bool:
        trial = self._new(event["n"], TrialState.WAITING)
        if trial is None:
            return False
        trial.fixed = {k: choice_from_json(v) for k, v in event["p"].items()}
        self._merge(trial, event)
        return True

    def _ask(self, event: Event) -> bool:
        number = event["n"]
        trial = self.open.get(number)
        if trial is None:
            trial = self._new(number, TrialState.RUNNING)
            if trial is None:
                return False
        elif trial.state != TrialState.WAITING:
            return False
        trial.state = TrialState.RUNNING
        trial.token = event["k"]
        trial.attempt += 1
        trial.start = event["t"]
        trial.by_ask = bool(event.get("o"))
        if trial.attempt > 1:
            trial.reports = []
        if "s" in event:
            trial.parts = [(event["s"], event["p"])]
            self.layout(event["s"])
            trial.at = event.get("at")
        if "f" in event:
            trial.fixed.update({k: choice_from_json(v) for k, v in event["f"].items()})
        if "g" in event:
            trial.tags = event["g"]
        return True

    def _held(self, event: Event) -> OpenTrial | None:
        trial = self.open.get(event["n"])
        if trial is None or trial.token != event["k"] or trial.state not in (TrialState.RUNNING, TrialState.PAUSED):
            return None
        return trial

    def _merge(self, trial: OpenTrial, event: Event) -> None:
        """Take over what an event adds to an open trial."""
        if "l" in event:
            self.layout(event["l"][0])
            trial.parts = [*trial.parts, (event["l"][0], event["l"][1])]
        if "r" in event:
            trial.reports.extend(event["r"])
        if "ua" in event:
            trial.user_attrs.update({k: attr_from_json(v) for k, v in event["ua"].items()})
        if "c" in event:
            trial.constraints.update({k: float(v) for k, v in event["c"].items()})

    def _update(self, event: Event) -> bool:
        trial = self._held(event)
        if trial is None:
            return False
        self._merge(trial, event)
        return True

    def _pause(self, event: Event) -> bool:
        trial = self._held(event)
        if trial is None or trial.state != TrialState.RUNNING:
            return False
        self._merge(trial, event)
        trial.state = TrialState.PAUSED
        return True

    def _resume(self, event: Event) -> bool:
        trial = self.open.get(event["n"])
        if trial is None or trial.state != TrialState.PAUSED:
            return False
        trial.state = TrialState.RUNNING
        trial.token = event["k"]
        if event.get("again"):
            trial.attempt += 1
            trial.reports = []
        return True

    def _release(self, event: Event) -> bool:
        trial = self._held(event)
        if trial is None:
            return False
        self._merge(trial, event)
        trial.state = TrialState.WAITING
        trial.token = None
        return True

    # -- finished trials ----------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> bool:
        trial = self._held(event)
        if trial is None:
            return False
        self._merge(trial, event)
        del self.open[event["n"]]
        row = self._finish(trial, event)
        if "why" in event:
            self.row_system_attrs.setdefault(row, {})["fail_reason"] = event["why"]
        return True

    def _add(self, event: Event) -> bool:
        if event["n"] != len(self.where):
            return False
        for fields in event["trials"]:
            self._add_one(len(self.where), fields)
        return True

    def _add_one(self, number: int, fields: dict[str, Any]) -> None:
        state = TrialState(fields["st"])
        self.where.append(-1)
        trial = OpenTrial(number, state)
        trial.start = fields.get("t0", 0)
        if "s" in fields:
            self.layout(fields["s"])
            trial.parts = [(fields["s"], fields["p"])]
        self._merge(trial, fields)
        attrs = {k: attr_from_json(v) for k, v in fields.get("sa", {}).items()}
        trial.tags = attrs.pop("tags", {})
        trial.attempt = attrs.pop("attempt", 1)
        if state.is_finished():
            row = self._finish(trial, fields)
            if attrs:
                self.row_system_attrs.setdefault(row, {}).update(attrs)
            return
        self.open[number] = trial
        if state == TrialState.WAITING:
            trial.fixed = {**attrs.get("fixed_params", {}), **self.params(trial.parts)[0]}
            trial.parts, trial.attempt = [], 0
        else:
            trial.token, trial.by_ask = f"add.{number}", True

    def _finish(self, trial: OpenTrial, event: Event) -> int:
        row = self.state.new_row()
        self.state.data[row] = event["st"]
        self.number.append(trial.number)
        self.start.append(trial.start)
        self.complete.append(event["t"])
        self.where[trial.number] = row
        self.Y.new_row()
        if (y := event.get("y")) is not None:
            self.Y.data[row] = [float(v) for v in y]
        self.X.new_row()
        for space_id, raw in trial.parts:
            self._write(row, self._layouts[space_id], raw)
        if "x" in event:
            self._blank(row, trial.parts, set(event["x"]))
        self.row_spaces.append(self._merged(tuple(p[0] for p in trial.parts)))
        if trial.reports:
            self._write_reports(row, trial.reports)
        if trial.tags:
            self._write_tags(row, trial.tags)
        if trial.user_attrs:
            self.row_user_attrs[row] = trial.user_attrs
        if trial.constraints:
            self.row_constraints[row] = trial.constraints
        if trial.attempt > 1:
            self.row_system_attrs.setdefault(row, {})["attempt"] = trial.attempt
        return row

    def _write(self, row: int, layout: Layout, raw: list[Any]) -> None:
        if layout.maps:
            raw = list(raw)
            for j, codes in layout.maps:
                raw[j] = codes[raw[j]]
        if layout.leading >= 0:
            self.X.data[row, : layout.leading] = raw
        else:
            self.X.data[row, layout.columns] = raw
        if layout.maybe_big:
            for column, value in zip(layout.columns.tolist(), raw, strict=True):
                if isinstance(value, int) and abs(value) > EXACT:
                    self.big[row, column] = value

    def _blank(self, row: int, parts: list[Part], unused: set[str]) -> None:
        for space_id, _ in parts:
            for name, column in zip(self.spaces[space_id], self._layouts[space_id].columns.tolist(), strict=True):
                if name in unused:
                    self.X.data[row, column] = np.nan

    def _write_reports(self, row: int, reports: list[list[Any]]) -> None:
        rows, steps, metrics, values = self.reports
        rows.extend([row] * len(reports))
        steps.extend([r[0] for r in reports])
        values.extend([float(r[1]) for r in reports])
        metrics.extend([self._metric(r[2]) if len(r) > 2 else 0 for r in reports])

    def _metric(self, name: str) -> int:
        if name not in self.metrics:
            self.metrics.append(name)
        return self.metrics.index(name)

    def _write_tags(self, row: int, tags: dict[str, Any]) -> None:
        for name, value in tags.items():
            values = value if isinstance(value, list) else [value]
            column = self.tags.get(name)
            if column is None:
                column = self.tags[name] = Column(np.float64, len(values), np.nan)
            column.widen(len(values))
            while column.n <= row:
                column.new_row()
            column.data[row, : len(values)] = [np.nan if v is None else float(v) for v in values]

    # -- columns ------------------------------------------------------------------------------------------------

    def layout(self, space_id: str) -> Layout:
        """Give every name of the space a column; remember its distribution as the latest."""
        space = self.spaces[space_id]
        layout = self._layouts.get(space_id)
        if layout is None:
            columns, maps, big = [], [], False
            for i, (name, dist) in enumerate(space.distributions.items()):
                column = self._column(name, isinstance(dist, CategoricalDistribution))
                columns.append(column)
                if isinstance(dist, CategoricalDistribution):
                    codes = [self._code(self.names[column], choice) for choice in dist.choices]
                    if codes != list(range(len(codes))):
                        maps.append((i, codes))
                elif dist.kind == "int" and max(abs(dist.low), abs(dist.high)) > EXACT:  # type: ignore[attr-defined]
                    big = True
            layout = self._layouts[space_id] = Layout(columns, maps, big)
        if space_id != self._latest:
            self._latest = space_id
            self.shape += 1
            self.distributions.update(space.distributions)
        return layout

    def _column(self, name: str, categorical: bool) -> int:
        if name in self.names and (name in self.categories) != categorical:
            name += " (categorical)" if categorical else " (number)"  # two workers disagreed; neither may be lost
        if name not in self.names:
            self.names.append(name)
            if categorical:
                self.categories[name] = []
            if len(self.names) > self.X.data.shape[1]:
                self.X.widen(max(len(self.names), self.X.data.shape[1] + self.X.data.shape[1] // 2))
        return self.names.index(name)

    def _code(self, name: str, choice: Any) -> int:
        codes = self._codes.setdefault(name, {})
        table = self.categories[name]
        key = choice_key(choice)
        if key not in codes:
            codes[key] = len(table)
            table.append(choice)
        return codes[key]

    def _merged(self, ids: tuple[str, ...]) -> int:
        if ids not in self._merged_index:
            self._merged_index[ids] = len(self.merged)
            self.merged.append(ids)
        return self._merged_index[ids]

    def _snapshot(self) -> History:
        return History(
            n=self.state.n,
            n_trials=len(self.where),
            names=tuple(self.names),
            distributions=dict(self.distributions),
            categories={k: tuple(v) for k, v in self.categories.items()},
            directions=self.directions,
            seed=self.meta.get("seed", 0),
            budget=self.meta.get("budget"),
            open=tuple(self._open_row(t) for t in self.open.values()),
            metrics=tuple(self.metrics),
            _data={
                "X": self.X.data, "Y": self.Y.data, "state": self.state.data, "number": self.number.data,
                "start": self.start.data, "complete": self.complete.data,
            },
            _reports=tuple(c.data for c in self.reports),
            _n_reports=self.reports[0].n,
            _tags={name: (c.data, c.n) for name, c in self.tags.items()},
            _constraints=self.row_constraints,
            _cache=self._cache,
        )  # fmt: skip

    def _open_row(self, trial: OpenTrial) -> OpenRow:
        params, _ = self.params(trial.parts)
        reports = {r[0]: float(r[1]) for r in trial.reports if len(r) == 2}
        return OpenRow(trial.number, trial.state, {**trial.fixed, **params}, reports, trial.tags, trial.start)
