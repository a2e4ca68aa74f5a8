"""The fold: events in, state out. Pure bookkeeping; it reads no clock and writes nothing.

``Fold.apply`` takes one event and says whether it was valid. The first claim of a number wins; an event whose token is
not the one that holds the trial is void; everything else follows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith._table import DELETED, OPEN
from tunesmith.distributions import choice_from_json
from tunesmith.events import FORMS, LATEST, VERSION, Event, attr_from_json, check_component
from tunesmith.exceptions import LogDamagedError, NewerFormatError
from tunesmith.folded import Folded
from tunesmith.open_trials import OpenTrial, Part, Saved, first_of_each_step, rewind
from tunesmith.space import Space
from tunesmith.trial._state import TrialState

#: What an event raises whose fields are not what they should be.
MALFORMED = (KeyError, TypeError, IndexError, ValueError, AttributeError, OverflowError)

_NONE: Mapping[str, tuple[type, ...]] = {}


class Fold(Folded):
    """Applies events, one after the other; the state that they lead to are the attributes of :class:`Folded`."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[str, Callable[[Event], bool]] = {
            "study": self._study, "config": self._config, "attr": self._attr, "metrics": self._metric_names,
            "space": self._space, "worker": self._worker, "wait": self._wait, "ask": self._ask, "up": self._update,
            "tell": self._tell, "pause": self._pause, "resume": self._resume, "release": self._release,
            "add": self._add, "edit": self._edit, "delete": self._delete, "import": self._import,
        }  # fmt: skip

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
            for name, types in FORMS.get(event["e"], _NONE).items():
                if type(event[name]) not in types:
                    raise TypeError(f"{name} is {event[name]!r}")
            _check_time(event.get("t", 0))
            self.version += 1
            self._history = None
            return handler(event)
        except MALFORMED as error:
            raise not_understood(event, error) from error

    # -- the study ----------------------------------------------------------------------------------------------

    def _study(self, event: Event) -> bool:
        if self.meta:
            return False  # another creator was first
        if event["v"] > VERSION:
            raise _newer(event["v"])
        if event["seed"] < 0 or not event["directions"] or set(event["directions"]) - {1, -1}:
            raise ValueError("the seed or the directions are impossible")
        Space.from_dict(event.get("space") or {"parameters": {}})
        self.meta = event
        self.directions = tuple(event["directions"])
        self.table.set_objectives(len(self.directions))
        return True

    def _import(self, event: Event) -> bool:
        if self.meta:
            return False
        self.due = int(event["records"])
        return True

    def _config(self, event: Event) -> bool:
        found: dict[str, Any] = {k: event[k] for k in ("sampler", "pruner") if k in event}
        for spec in found.values():
            check_component(spec)
        self.config.update(found)
        if "w" in event:
            self.configs.setdefault(event["w"], {}).update(found)
        return True

    def _attr(self, event: Event) -> bool:
        (self.system_attrs if event.get("system") else self.user_attrs)[event["k"]] = attr_from_json(event["v"])
        return True

    def _metric_names(self, event: Event) -> bool:
        if len(event["names"]) != len(self.directions) or not all(isinstance(name, str) for name in event["names"]):
            raise ValueError(f"these are no names of {len(self.directions)} objectives")
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
        layout = self.table.take_up(self.spaces[space_id])
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
        self.where.append(OPEN)
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
            trial.spared += 1  # it was paused: nothing that it did has ended the last one
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
        if "next" in event:
            self._add_one(len(self.where), event["next"])
        return True

    def _add(self, event: Event) -> bool:
        if event["n"] != len(self.where):
            return False
        for fields in event["trials"]:
            self._add_one(len(self.where), fields)
        return True

    def _add_one(self, number: int, fields: dict[str, Any]) -> None:
        state = TrialState(fields["st"])
        self.where.append(OPEN)
        trial = OpenTrial(number, state)
        trial.start = fields.get("t0", 0)
        _check_time(trial.start)
        _check_time(fields.get("t", 0))
        if "s" in fields:
            trial.parts = [self._part(fields["s"], fields["p"])]
        if "f" in fields:
            trial.enqueued = {k: choice_from_json(v) for k, v in fields["f"].items()}
        self._merge(trial, fields)
        trial.tags = fields.get("g", {})
        trial.attempt = fields.get("a", 1)
        if "sa" in fields:
            trial.system_attrs = {k: attr_from_json(v) for k, v in fields["sa"].items()}
        if state.is_finished():
            self._finish(trial, fields)
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
        if trial.system_attrs:
            table.system_attrs.setdefault(row, {}).update(trial.system_attrs)
        return row

    # -- edits --------------------------------------------------------------------------------------------------

    def _row(self, number: int) -> int:
        """The row of a trial, ``OPEN``, or ``DELETED`` also where there never was one."""
        return self.where[number] if 0 <= number < len(self.where) else DELETED

    def _delete(self, event: Event) -> bool:
        number = event["n"]
        row = self._row(number)
        if row == DELETED:
            return False
        if row == OPEN:
            del self.open[number]
        else:
            self.table.deleted.append(row)
        self.where[number] = DELETED
        return True

    def _edit(self, event: Event) -> bool:
        row = self._row(event["n"])
        if row == DELETED:
            return False
        if row == OPEN:
            if "st" in event or "c" in event:
                return False  # what its worker says of it
            self._merge(self.open[event["n"]], event)
            return True
        table = self.table
        if "ua" in event:
            given = {k: attr_from_json(v) for k, v in event["ua"].items()}
            table.user_attrs[row] = {**table.user_attrs.get(row, {}), **given}
        if "c" in event or "st" in event:
            self._rewrite()
            self._edit_result(row, event)
        return True

    def _edit_result(self, row: int, event: Event) -> None:
        table = self.table
        system = table.system_attrs[row] = dict(table.system_attrs.get(row, {}))
        system["edited"] = system.get("edited", 0) + 1
        if "c" in event:
            given = {k: float(v) for k, v in event["c"].items()}
            table.write_constraints(row, {**table.constraints.get(row, {}), **given})
        if "st" in event:
            table.write_result(row, int(TrialState(event["st"])), event.get("y"))
            system.pop("fail_reason", None)
            if event["st"] == TrialState.FAIL and "why" in event:
                system["fail_reason"] = event["why"]


def not_understood(event: Event, error: Exception) -> LogDamagedError:
    """What is raised for an event that makes no sense."""
    return LogDamagedError(f"The event {str(event)[:200]!r} cannot be understood: {error!r}.")


def _check_time(microseconds: int) -> None:
    if type(microseconds) is not int or not 0 <= microseconds <= LATEST:
        raise ValueError(f"there is no time {microseconds!r}")


def _newer(version: Any) -> NewerFormatError:
    return NewerFormatError(f"The log has format {version}, this version reads up to {VERSION}; update tunesmith.")
