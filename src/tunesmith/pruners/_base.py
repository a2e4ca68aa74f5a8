"""The contract of a stopping rule: two pure functions of the history."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tunesmith._plugins import component_spec
from tunesmith.curves import STEP
from tunesmith.history import History, OpenRow


class Verdict(enum.Enum):
    """What happens to a trial after a report."""

    GO = "go"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new configuration.

    Attributes:
        tags: travel with it (a bracket, a parent).
        params: the configuration, or a part of it that the sampler completes; ``None`` leaves it to the sampler.
            Configurations that a user has enqueued come first.
        state: ``(number, step)`` of an open trial that has saved its state there last: ``trial.load()`` gives it to the
            new trial, whose reports go on after that step. Only together with ``params``.
    """

    tags: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    state: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on with the paused trial ``number``."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the paused trial ``number``: it becomes PRUNED with its last value."""

    number: int


class Idle(enum.Enum):
    """WAIT: nothing to do until a running trial reports or ends. DONE: nothing to do any more."""

    WAIT = "wait"
    DONE = "done"


Wish = Start | Continue | Stop | Idle
Schedule = Wish | Iterable[Wish]


class BasePruner(ABC):
    """A stopping rule. Like a sampler it is a frozen dataclass whose fields the log keeps; it holds no state.

    Attributes:
        aliases: short names for ``create_study(pruner="...")``, with the arguments they stand for.
        several_objectives: whether the rule can judge a trial by several objectives. One that cannot lets generators of
            such a study run to their end, and ``should_prune`` raises.
        resource: what the rule's budgets are counted in: ``"step"``, or a metric that the objective reports. Where it
            is ``"seconds"`` and objectives do not report it, the loop does: what a trial has computed for so far.
        needs_states: whether objectives must save their states (``trial.save``).
    """

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    several_objectives: ClassVar[bool] = False
    resource: str = STEP
    needs_states: ClassVar[bool] = False

    @abstractmethod
    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        """GO, PAUSE or STOP, asked after a report of ``trial`` (whose ``reports`` include the newest one)."""

    def schedule(self, history: History) -> Schedule:
        """What a free worker does next; the default starts a new configuration.

        One wish, or several in order of preference: the first that can be fulfilled is. ``Start`` cannot when the
        loop's ``n_trials`` are used up; ``Continue`` cannot when another live worker keeps the trial and it has not
        saved its state; ``Stop`` always can, and then the rule is asked again. A worker with no wish left is done (or
        waits, if another worker kept one it was to continue). Interrupted trials are attempted again before the rule
        is asked; when another worker's claim came first, the rule is asked anew.
        """
        return Start()

    def spec(self) -> dict[str, Any]:
        """What the log keeps: ``{"name": class name, "args": fields or None when they are not JSON-able}``."""
        return component_spec(self)
