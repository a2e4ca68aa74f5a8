"""What the fold keeps of a trial that is not finished."""

from __future__ import annotations

from typing import Any, NamedTuple

from tunesmith.events import Event
from tunesmith.history import OpenRow
from tunesmith.trial._state import TrialState

Part = tuple[str, list[Any]]  # (space id, values as they stand in the event)


class Saved(NamedTuple):
    """A state that was saved: of which trial, in which attempt, after which step, and under which token."""

    number: int
    attempt: int
    step: int
    token: str


class OpenTrial:
    """A trial that is not finished.

    ``enqueued`` is what a user asked for (``None`` for others), ``fixed`` that and what the sampler gave under names
    that are not known yet. ``times`` are those of the reports. ``row`` is what a history shows of it, until it changes.
    ``spared`` is the number of attempts that ended through no fault of the trial. ``saved`` is the last state that the
    trial has saved, ``source`` the one of another trial that it began with. ``system_attrs`` are what a trial brought
    along that was added.
    """

    __slots__ = (
        "at",
        "attempt",
        "by_ask",
        "constraints",
        "enqueued",
        "fixed",
        "number",
        "parts",
        "reports",
        "row",
        "saved",
        "source",
        "spared",
        "start",
        "state",
        "system_attrs",
        "tags",
        "times",
        "token",
        "user_attrs",
    )  # fmt: skip

    def __init__(self, number: int, state: TrialState) -> None:
        self.number = number
        self.state = state
        self.token: str | None = None
        self.attempt = 0
        self.spared = 0
        self.parts: list[Part] = []
        self.enqueued: dict[str, Any] | None = None
        self.fixed: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.start = 0
        self.reports: list[list[Any]] = []
        self.times: list[int] = []
        self.row: OpenRow | None = None
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.constraints: dict[str, float] = {}
        self.by_ask = False
        self.at: int | None = None
        self.saved: Saved | None = None
        self.source: Saved | None = None

    @classmethod
    def of(cls, values: list[Any]) -> OpenTrial:
        """A trial with these values of the attributes in ``KEPT``."""
        given = dict(zip(KEPT, values, strict=True))
        trial = cls(given["number"], TrialState(given["state"]))
        for name, value in given.items():
            setattr(trial, name, Saved(*value) if name in ("saved", "source") and value is not None else value)
        trial.state = TrialState(trial.state)
        return trial

    @property
    def state_of(self) -> Saved | None:
        """The state that another attempt goes on from."""
        return self.saved or self.source


#: Attributes of an open trial that are not derived from the others.
KEPT = tuple(name for name in OpenTrial.__slots__ if name != "row")


def rewind(trial: OpenTrial, event: Event) -> None:
    """Another attempt keeps the reports up to the step ``from``; without it there is no state any more."""
    last = event.get("from")
    if last is None:
        trial.saved = trial.source = None
    kept = [i for i, r in enumerate(trial.reports) if last is not None and r[0] <= last]
    trial.reports, trial.times = [trial.reports[i] for i in kept], [trial.times[i] for i in kept]


def first_of_each_step(reports: list[list[Any]]) -> list[int]:
    """A step of a metric counts once; it may stand twice in a log when a writer did not learn that it came through."""
    if len(reports) < 2:
        return list(range(len(reports)))
    first: dict[tuple[Any, ...], int] = {}
    for i, r in enumerate(reports):
        first.setdefault((r[0], *r[2:]), i)
    return list(first.values())
