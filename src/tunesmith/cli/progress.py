"""Progress of a comparison: bars on a terminal, a plain line now and then elsewhere. Both on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from tunesmith.cli import output
from tunesmith.cli.guard import say

if TYPE_CHECKING:
    from tunesmith.compare import Progress

#: Seconds between plain lines.
PLAIN_SECONDS = 10.0
_BAR_WIDTH = 20
_LABEL_WIDTH = 24


class Tally:
    """Counts what the events of a comparison say; knows nothing of terminals.

    Args:
        epochs: of each trial.
        trials: of each study.
        now: a clock in seconds.

    Attributes:
        unit: what is counted: ``"trials"``; where methods have stopping rules, ``"epochs"`` or ``"steps"``.
    """

    def __init__(self, epochs: int, trials: int, now: Any = time.monotonic) -> None:
        self.epochs, self.trials = epochs, trials
        self._now = now
        self._begin: float | None = None
        self._first = 0  # trials (or steps) that were there already
        self._missing = 0  # trials that methods will not need (a grid that is done)
        self._last_number: dict[tuple[str, int], int] = {}
        self.done = self.total = self.iterations = self.failed = 0
        self.unit = "trials"
        self.running: dict[tuple[str, int], str] = {}
        self.steps: dict[tuple[str, int], int] = {}

    def take(self, event: Progress) -> None:
        """Take one event into account."""
        if event.event == "skip":
            return
        if self._begin is None:
            self._begin, self._first = self._now(), event.done
        self.unit = event.unit
        self.done, self.total = event.done, event.total - self._missing
        key = (event.method, event.repeat)
        if event.event == "trial" and event.trial is not None:
            self._last_number[key] = event.trial
            self.steps[key] = 0
            self.running[key] = f"trial {event.trial}"
        elif event.event == "epoch" and event.step is not None:
            self.iterations += 1
            self.steps[key] = event.step
            self.running[key] = f"trial {event.trial}, epoch {event.step}/{self.epochs}"
        elif event.event == "told":
            self.failed += event.value is None
            self.steps.pop(key, None)
        elif event.event == "test":
            self.running[key] = "test of the best"
        elif event.event == "done":
            self._finish(key)

    def _finish(self, key: tuple[str, int]) -> None:
        self.running.pop(key, None)
        self.steps.pop(key, None)
        number = self._last_number.pop(key, None)
        if number is not None and self.unit == "trials":
            self._missing += max(0, self.trials - number - 1)
            self.total -= max(0, self.trials - number - 1)

    @property
    def seconds(self) -> float:
        """Since the first event."""
        return 0.0 if self._begin is None else self._now() - self._begin

    @property
    def fraction_done(self) -> float:
        """Trials done, the running ones counted by their epochs; or steps, which are counted one by one."""
        if self.unit != "trials":
            return self.done
        return self.done + sum(min(1.0, step / self.epochs) for step in self.steps.values())

    @property
    def rate(self) -> str:
        """Iterations (epochs) a second."""
        return f"{self.iterations / self.seconds:.1f} it/s" if self.iterations and self.seconds > 0 else ""

    @property
    def left(self) -> str:
        """Time to finish, as far as the trials of this session tell."""
        gained = self.fraction_done - self._first
        if gained < (0.5 if self.unit == "trials" else 1) or self.done >= self.total:
            return ""
        return f"{output.clock(self.seconds / gained * (self.total - self.fraction_done))} left"

    def summary(self) -> str:
        """``52/108 trials  3.4 it/s  2:13 left``."""
        failed = f"{self.failed} failed" if self.failed else ""
        return "  ".join(p for p in (f"{self.done}/{self.total} {self.unit}", failed, self.rate, self.left) if p)


class Silent:
    """Shows nothing but what a user must know.

    Attributes:
        tally: the counts.
        plan: a sentence said when the comparison begins, that is when its arguments have turned out to be possible.
    """

    def __init__(self, tally: Tally, plan: str = "") -> None:
        self.tally, self.plan = tally, plan
        self._begun = False

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: Progress) -> None:
        self.tally.take(event)
        if event.event == "skip":
            say(f"warning: {event.method} takes no part: {event.message}")
            return
        if not self._begun:
            self._begun = True
            self.begin()
        self.show(event)

    def begin(self) -> None:
        """Say what is about to happen."""
        if self.plan:
            say(self.plan)
            if self.tally.done >= self.tally.total:
                say(f"All {self.tally.total} {self.tally.unit} were done before.")
            elif self.tally.done:
                say(f"{self.tally.done} of {self.tally.total} {self.tally.unit} were done before; going on.")

    def show(self, event: Progress) -> None:
        """After each event."""


class Plain(Silent):
    """A line every ten seconds."""

    def __init__(self, tally: Tally, plan: str = "", seconds: float = PLAIN_SECONDS) -> None:
        super().__init__(tally, plan)
        self._seconds = seconds
        self._last = time.monotonic()

    def show(self, event: Progress) -> None:
        """A line, if the last one is old enough."""
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            where = self.tally.running.get((event.method, event.repeat), "")
            say(f"{self.tally.summary()}  {name_of(event.method, event.repeat)}{': ' + where if where else ''}")


class Bars(Silent):
    """One bar for the comparison, one for each study that runs."""

    def __init__(self, tally: Tally, plan: str = "") -> None:
        super().__init__(tally, plan)
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=_BAR_WIDTH), TextColumn("{task.fields[note]}"),
            console=output.console(error=True), transient=True,
        )  # fmt: skip
        self._all = self._bars.add_task("all trials", total=None, note="")
        self._tasks: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, event: Progress) -> None:
        """Redraw what changed."""
        tally = self.tally
        self._bars.update(
            self._all, description=f"all {tally.unit}", total=tally.total, completed=tally.fraction_done,
            note=tally.summary(),
        )  # fmt: skip
        key = (event.method, event.repeat)
        if key in tally.running:
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(name_of(*key), total=tally.epochs, note="")
            steps = tally.steps.get(key, tally.epochs)
            self._bars.update(self._tasks[key], completed=steps, note=tally.running[key])
        elif key in self._tasks:
            self._bars.remove_task(self._tasks.pop(key))


def name_of(method: str, repeat: int) -> str:
    """A study in a line, short enough for a narrow terminal."""
    tail = f", repeat {repeat}"
    room = _LABEL_WIDTH - len(tail)
    return (method if len(method) <= room else method[: room - 3] + "...") + tail


def choose(tally: Tally, quiet: bool, plan: str) -> Silent:
    """Bars on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent(tally)
    dumb = os.environ.get("TERM") == "dumb"
    return Bars(tally, plan) if sys.stderr.isatty() and not dumb else Plain(tally, plan)
