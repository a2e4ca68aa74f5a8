"""A study's log in words: what happened, when, and who did it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.events import Event
from tunesmith.fold import MALFORMED, Fold, not_understood
from tunesmith.records import frozen_trial, local_time
from tunesmith.trial import TrialState

_LONGEST = 120  # characters of a value that is shown


@dataclass(frozen=True)
class LogEntry:
    """One event of a study's log.

    Attributes:
        position: of its record, from 1; events of one record became visible together.
        time: naive local time by the clock of who wrote it; None where the event has none.
        kind: the event's name in the log, such as ``"tell"``.
        trial: the number of the trial it is about; of several, the first one; None if it is about the study.
        who: the worker, as ``"host (process 123)"``, or by its id in a log without hosts; "" where it does not say.
        text: what happened.
        valid: false for an event that has changed nothing, because another worker was faster, say.
    """

    position: int
    time: datetime.datetime | None
    kind: str
    trial: int | None
    who: str
    text: str
    valid: bool = True

    def __str__(self) -> str:
        when = "" if self.time is None else self.time.strftime("%Y-%m-%d %H:%M:%S  ")
        return f"{self.position}  {when}{self.text}{f'  [{self.who}]' if self.who else ''}"


def entries(records: Iterable[list[Event]]) -> list[LogEntry]:
    """The entries of a log, from its first record on."""
    fold = Fold()
    found = []
    for position, record in enumerate(records, 1):
        for event in record:
            try:
                before = _result(fold, event) if event.get("e") == "edit" else ""
                valid = fold.apply(event)
                text, who = _TEXTS[event["e"]](event), _who(fold, event)
            except MALFORMED as error:
                raise not_understood(event, error) from error
            text += f" (before: {before})" if before and "st" in event else ""
            found.append(
                LogEntry(
                    position, local_time(event.get("t", 0)), event["e"], event.get("n"), who,
                    text if valid else f"{text} (void)", valid,
                )
            )  # fmt: skip
    return found


def _who(fold: Fold, event: Event) -> str:
    worker = event.get("w") or str(event.get("k") if event["e"] != "attr" else "").partition(".")[0]
    known = fold.workers.get(worker)
    if known is None:
        return f"worker {worker}" if worker else ""
    host = str(known.get("host", "")).partition("/")[0]
    return f"{host or 'a machine'} (process {known['pid']})" if known.get("pid") else f"worker {worker}"


def _result(fold: Fold, event: Event) -> str:
    """State and values of a trial that is about to be edited."""
    try:
        trial = frozen_trial(fold, event["n"])
    except (LookupError, ValueError):
        return ""
    return _outcome({"st": int(trial.state), "y": trial.values})


def _outcome(event: Mapping[str, Any]) -> str:
    values = event.get("y") or ()
    return ", ".join([TrialState(event["st"]).name, *(_short(v) for v in values)])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _because(event: Event) -> str:
    return f": {event['why']}" if event.get("why") else ""


def _changes(event: Event) -> str:
    """What an event adds to a trial; begins with a semicolon."""
    parts = [f"reported {r[1]} at step {r[0]}" for r in event.get("r", ())[-1:]]
    more = len(event.get("r", ())) - 1
    if more > 0:
        parts[0] += f" ({more} report{'s' * (more > 1)} before)"
    parts += [f"set {_short(k)} to {_short(v)}" for k, v in event.get("ua", {}).items()]
    parts += [f"constraint {_short(k)} is {v}" for k, v in event.get("c", {}).items()]
    if "sv" in event:
        parts.append(f"saved its state at step {event['sv']}")
    return "".join(f"; {part}" for part in parts)


def _of_study(event: Event) -> str:
    goals = ", ".join("minimize" if sign > 0 else "maximize" for sign in event["directions"])
    return f"the study was made: {goals}, seed {event['seed']}"


def _of_config(event: Event) -> str:
    return ", ".join(f"{what} {event[what]['name']}" for what in ("sampler", "pruner") if what in event)


def _of_ask(event: Event) -> str:
    again = f" (attempt {event['a']})" if event.get("a", 0) > 1 else ""
    state = f" with the state of trial {event['src'][0]}" if "src" in event else ""
    step = f" at step {event['from']}" if "from" in event else ""
    return f"trial {event['n']} began{again}{state}{step}"


def _of_tell(event: Event) -> str:
    successor = "; a new trial takes its place" if "next" in event else ""
    return f"trial {event['n']} ended: {_outcome(event)}{_changes(event)}{_because(event)}{successor}"


def _of_resume(event: Event) -> str:
    how = f" with its state of step {event['from']}" if "from" in event else " from its start" * ("again" in event)
    return f"trial {event['n']} goes on{how}"


def _of_add(event: Event) -> str:
    last = event["n"] + len(event["trials"]) - 1
    return f"trial {last} was added" if last == event["n"] else f"trials {event['n']} to {last} were added"


def _of_edit(event: Event) -> str:
    result = f" to {_outcome(event)}" if "st" in event else ""
    return f"trial {event['n']} was edited{result}{_changes(event)}{_because(event)}"


_TEXTS: dict[str, Callable[[Event], str]] = {
    "study": _of_study,
    "config": _of_config,
    "attr": lambda event: f"the study's {_short(event['k'])} was set to {_short(event['v'])}",
    "metrics": lambda event: f"the objectives were named {', '.join(map(_short, event['names']))}",
    "space": lambda event: f"parameters: {_short(', '.join(event['d'].get('parameters', event['d'])))}",
    "worker": lambda event: "a worker joined",
    "wait": lambda event: f"trial {event['n']} was enqueued: {_short(event['p'])}",
    "ask": _of_ask,
    "up": lambda event: f"trial {event['n']}{_changes(event) or '; was given a parameter'}",
    "tell": _of_tell,
    "pause": lambda event: f"trial {event['n']} was paused{_changes(event)}",
    "resume": _of_resume,
    "release": lambda event: f"trial {event['n']} was given back, for another attempt{_changes(event)}",
    "add": _of_add,
    "edit": _of_edit,
    "delete": lambda event: f"trial {event['n']} was deleted{_because(event)}",
    "import": lambda event: f"copied from elsewhere, {event['records']} records",
}
