"""The fold: events in, state out. Pure bookkeeping; it reads no clock and writes nothing.

``Fold.apply`` takes one event and says whether it was valid. The first claim of a number wins; an event whose token is
not the one that holds the trial is void; everything else follows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from tunesmith._table import Table
from tunesmith.distributions import BaseDistribution, choice_from_json
from tunesmith.events import VERSION, Event, attr_from_json
from tunesmith.exceptions import LogDamagedError, NewerFormatError
from tunesmith.history import History, Memos, OpenRow, Shape
from tunesmith.open_trials import OpenTrial, Part, Saved, first_of_each_step, rewind
from tunesmith.space import Space
from tunesmith.trial._state import TrialState


class Fold:
    """The state of a study after the events applied so far.

    Attributes:
        meta: the fields of the ``study`` event, empty before it.
        config: sampler and pruner specifications, the last ones.
        configs: worker id -> the same of that worker.
        spaces: space id -> space, of those in the log.
        registered: space id -> the caller's own space, in the log or not.
        open: number -> :class:`OpenTrial`.
        where: row of each trial number, -1 while it is open.
        workers: worker id -> fields of its event.
        version: number of events applied; a key for caches.
        table: the columns of finished trials.
    """

    def __init__(self) -> None:
        self.meta: Event = {}
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
        self.where: list[int] = []
        self.version = 0
        self.table = Table()
        self._waiting: list[int] = []  # heaps of numbers; some of them do not wait any more
        self._released: list[int] = []
        self._memos = Memos()
        self._history: History | None = None
        self._shape: Shape | None = None
        self._shape_key: tuple[Any, ...] = ()
        self._handlers: dict[str, Callable[[Event], bool]] = {
            "study": self._study, "config": self._config, "attr": self._attr, "metrics": self._metric_names,
            "space": self._space, "worker": self._worker, "wait": self._wait, "ask": self._ask, "up": self._update,
            "tell": self._tell, "pause": self._pause, "resume": self._resume, "release": self._release,
            "add": self._add,
        }  # fmt: skip

    # -- public -------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> bool:
        """Take one event; return whether it was valid (a void one changes nothing).

        Raises:
            NewerFormatError: the event is of an unknown type, or needs a newer version. LogDamagedError: its fields
                contradict each other.
        """
        try:
            if "ver" in event and event["ver"] > VERSION:
                raise _newer(event["ver"])
            handler = self._handlers.get(event["e"])
            if handler is None:
                raise NewerFormatError(
                    f"The log holds an event of type {event['e']!r}, unknown to this version; update tunesmith."
                )
            self.version += 1
            self._history = None
            return handler(event)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, (NewerFormatError, LogDamagedError)):
                raise
            raise LogDamagedError(f"The event {str(event)[:200]!r} cannot be understood: {error!r}.") from error

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> its latest distribution."""
        return self.table.distributions

    @property
    def n_trials(self) -> int:
        """Number of all trials; also the number the next new trial gets."""
        return len(self.where)

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

    def history(self) -> History:
        """A snapshot, made once per version."""
        if self._history is None:
            self._history = self._snapshot()
        return self._history

    def register(self, space: Space) -> None:
        """Let ``space`` (which may hold the caller's own objects as choices) be the meaning of its id, once that is
        in the log; until then the log does not know it."""
        self.registered[space.id] = space

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

    # -- the study ----------------------------------------------------------------------------------------------

    def _study(self, event: Event) -> bool:
        if self.meta:
            return False  # another creator was first
        if event["v"] > VERSION:
            raise _newer(event["v"])
        self.meta = event
        self.directions = tuple(event["directions"])
        self.table.set_objectives(len(self.directions))
        return True

    def _config(self, event: Event) -> bool:
        found: dict[str, Any] = {k: event[k] for k in ("sampler", "pruner") if k in event}
        self.config.update(found)
        if "w" in event:
            self.configs.setdefault(event["w"], {}).update(found)
        return True

    def _attr(self, event: Event) -> bool:
        (self.system_attrs if event.get("system") else self.user_attrs)[event["k"]] = attr_from_json(event["v"])
        return True

    def _metric_names(self, event: Event) -> bool:
        self.metric_names = list(event["names"])
        return True

    def _space(self, event: Event) -> bool:
        if event["id"] not in self.spaces:
            space = self.registered.get(event["id"])
            if space is None:
                space = Space.from_dict(event["d"])
                space.__dict__["id"] = event["id"]  # it counts under this name, whatever this version would call it
            self.spaces[event["id"]] = space
        return True

    def _part(self, space_id: str, row: list[Any]) -> Part:
        """A row of values that fits its space, whose names have columns from now on."""
        layout = self.table.layout(self.spaces[space_id])
        if len(row) != len(layout.columns):
            raise ValueError(f"{len(row)} values for {len(layout.columns)} parameters")
        for j, possible in layout.choices:
            if row[j] is not None and row[j] not in possible:
                raise ValueError(f"there is no choice {row[j]!r}")
        return space_id, row

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
        heapq.heappush(self._waiting, trial.number)
        trial.enqueued = {k: choice_from_json(v) for k, v in event["p"].items()}
        trial.fixed = dict(trial.enqueued)
        self._merge(trial, event)
        return True

    def _ask(self, event: Event) -> bool:
        number = event["n"]
        trial = self.open.get(number)
        if trial is None:
            trial = self._new(number, TrialState.RUNNING)
            if trial is None:
                return False
        elif trial.state != TrialState.WAITING or event.get("a", trial.attempt + 1) != trial.attempt + 1:
            return False  # taken by another worker, or answered with a proposal for another attempt
        trial.state = TrialState.RUNNING
        trial.token = event["k"]
        trial.row = None
        trial.by_ask = bool(event.get("o"))
        if trial.attempt:
            rewind(trial, event)
        else:
            trial.start = event["t"]
        if "src" in event:
            trial.source = Saved(*event["src"])
        trial.attempt += 1
        if "s" in event:
            trial.parts = [self._part(event["s"], event["p"])]
            trial.at = event.get("at")
        if "f" in event:
            trial.fixed.update({k: choice_from_json(v) for k, v in event["f"].items()})
        if "g" in event:
            trial.tags = event["g"]
        return True

    def holder(self, trial: OpenTrial) -> Event | None:
        """The worker that holds an open trial, or held it when it was paused."""
        return None if trial.token is None else self.workers.get(trial.token.partition(".")[0])

    def _held(self, event: Event) -> OpenTrial | None:
        trial = self.open.get(event["n"])
        if trial is None or trial.token != event["k"] or trial.state not in (TrialState.RUNNING, TrialState.PAUSED):
            return None
        return trial

    def _merge(self, trial: OpenTrial, event: Event) -> None:
        """Take over what an event adds to an open trial."""
        trial.row = None
        if "l" in event:
            trial.parts = [*trial.parts, self._part(*event["l"])]
        if "r" in event:
            trial.reports.extend(event["r"])
            trial.times.extend([event.get("t", 0)] * len(event["r"]))
        if "ua" in event:
            trial.user_attrs.update({k: attr_from_json(v) for k, v in event["ua"].items()})
        if "c" in event:
            trial.constraints.update({k: float(v) for k, v in event["c"].items()})
        if "sv" in event and trial.token is not None:
            trial.saved = Saved(trial.number, trial.attempt, int(event["sv"]), trial.token)

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
        if "from" in event and (trial.state_of is None or trial.state_of.step != event["from"]):
            return False  # it has gone on, and has paused once more
        trial.state = TrialState.RUNNING
        trial.token = event["k"]
        trial.row = None
        if event.get("again"):
            trial.attempt += 1
            trial.spared += 1 if "from" in event else 0
            rewind(trial, event)
        return True

    def _release(self, event: Event) -> bool:
        trial = self._held(event)
        if trial is None:
            return False
        self._merge(trial, event)
        trial.state = TrialState.WAITING
        trial.token = None
        trial.spared += 1 if event.get("free") else 0
        heapq.heappush(self._waiting, trial.number)
        heapq.heappush(self._released, trial.number)
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
            self.table.system_attrs.setdefault(row, {})["fail_reason"] = event["why"]
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
            trial.parts = [self._part(fields["s"], fields["p"])]
        if "f" in fields:
            trial.enqueued = {k: choice_from_json(v) for k, v in fields["f"].items()}
        self._merge(trial, fields)
        trial.tags = fields.get("g", {})
        trial.attempt = fields.get("a", 1)
        if state.is_finished():
            row = self._finish(trial, fields)
            if "sa" in fields:
                attrs = {k: attr_from_json(v) for k, v in fields["sa"].items()}
                self.table.system_attrs.setdefault(row, {}).update(attrs)
            return
        self.open[number] = trial
        if state == TrialState.WAITING:
            heapq.heappush(self._waiting, number)
            trial.fixed = {**(trial.enqueued or {}), **self.params(trial.parts)[0]}
            trial.enqueued = dict(trial.fixed)
            trial.parts, trial.attempt = [], 0
        else:
            trial.token, trial.by_ask = f"add.{number}", True

    def _finish(self, trial: OpenTrial, event: Event) -> int:
        table = self.table
        parts = [(self.spaces[space_id], raw) for space_id, raw in trial.parts]
        row = table.new_row(trial.number, event["st"], trial.start, event["t"], event.get("y"), parts)
        self.where[trial.number] = row
        if "x" in event:
            for space, _ in parts:
                table.blank(row, space, set(event["x"]))
        if trial.reports:
            kept = first_of_each_step(trial.reports)
            table.write_reports(row, [trial.reports[i] for i in kept], [trial.times[i] for i in kept])
        if trial.tags:
            table.write_tags(row, trial.tags)
        if trial.user_attrs:
            table.user_attrs[row] = trial.user_attrs
        if trial.constraints:
            table.write_constraints(row, trial.constraints)
        if trial.enqueued is not None:
            table.system_attrs[row] = {"fixed_params": trial.enqueued}
        if trial.attempt > 1:
            table.system_attrs.setdefault(row, {})["attempt"] = trial.attempt
        return row

    def _snapshot(self) -> History:
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
        return History(self._shape, len(self.where), open_rows, table)

    def _open_row(self, trial: OpenTrial) -> OpenRow:
        params, _ = self.params(trial.parts)
        reports, metrics = self.reports(trial)
        given = {**trial.fixed, **params}
        saved = None if trial.saved is None else trial.saved.step
        trial.row = OpenRow(trial.number, trial.state, given, reports, metrics, trial.tags, trial.start, saved)
        return trial.row

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


def _newer(version: Any) -> NewerFormatError:
    return NewerFormatError(f"The log has format {version}, this version reads up to {VERSION}; update tunesmith.")
