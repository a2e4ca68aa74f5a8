"""Many trials at a time in one program: the lanes of a problem that offers them.

The stepping is in one thread and its order does not depend on the clock, so a study in lanes makes the same proposals
every time, as with one worker.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from tunesmith.exceptions import InvalidValueError
from tunesmith.executors._base import BaseExecutor, Host
from tunesmith.executors._evaluate import pause
from tunesmith.pruners import Verdict
from tunesmith.trial import Trial

#: The user attribute of a trial for the time it took: each epoch of a stack, divided by the lanes that were in use.
SECONDS = "lane_seconds"


@dataclass(frozen=True)
class LaneEvent:
    """What happened in a lane.

    Attributes:
        key: of the lane, as given to ``start``.
        item: a report, as a generator objective would yield it; None if the evaluation has ended.
        value: at the end, the value; None stands for the last report.
        error: at the end, the exception that a function objective would have raised.
        attributes: what to keep with the trial (a reason for a failure).
        seconds: at the end, the lane's share of the time.
    """

    key: Any
    item: Any = None
    value: Any = None
    error: Exception | None = None
    attributes: tuple[tuple[str, Any], ...] = ()
    seconds: float = 0.0


class Parked:
    """What is kept of a lane while its trial is paused; runners make their own."""

    def close(self) -> None:
        """The trial will not go on."""


class LaneRunner(Protocol):
    """Evaluates many trials side by side."""

    def room(self) -> int:
        """How many more trials it would take now."""

    def start(self, key: Hashable, evaluation: Any) -> None:
        """Take in what ``begin`` of the problem gave."""

    def resume(self, key: Hashable, kept: Parked) -> None:
        """Take in again what :meth:`park` gave."""

    def step(self) -> Iterable[LaneEvent]:
        """Work until something happened; each lane's events come in their order."""

    def drop(self, key: Hashable) -> None:
        """Forget a lane."""

    def park(self, key: Hashable) -> Parked:
        """Take a lane out, to be resumed later."""

    def stop(self) -> None:
        """Cut short what is being computed; may be called from any thread."""

    def close(self) -> None:
        """End; what is still in work is lost."""


@runtime_checkable
class LaneObjective(Protocol):
    """An objective whose trials can be evaluated in lanes; ``tunesmith.train.Problem`` is one."""

    def open_lanes(self, lanes: int | str, workers: int | None = None) -> LaneRunner:
        """A runner.

        Args:
            lanes: how many trials at a time, or "auto".
            workers: threads that compute; None for one a core.
        """

    def begin(self, trial: Any) -> Any:
        """Suggest the parameters and return what the runner's ``start`` takes."""


def check_lanes(lanes: Any) -> int | str:
    """A number of lanes as an integer, or "auto".

    Raises:
        InvalidValueError: neither of them.
    """
    if isinstance(lanes, str) and lanes == "auto":
        return lanes
    whole = isinstance(lanes, Real) and not isinstance(lanes, bool) and float(lanes).is_integer()
    if not whole or lanes < 1:
        raise InvalidValueError(f"`lanes` must be a positive integer or 'auto', but is {lanes!r}.")
    return int(lanes)


class LaneExecutor(BaseExecutor):
    """Evaluates up to ``lanes`` trials side by side.

    Args:
        problem: the objective.
        lanes, workers: see :meth:`LaneObjective.open_lanes`.
    """

    def __init__(self, problem: LaneObjective, lanes: int | str, workers: int | None) -> None:
        self.problem, self.lanes, self.workers = problem, lanes, workers

    def resumes(self, kept: Any) -> bool:
        """With what a runner's ``park`` gave."""
        return isinstance(kept, Parked)

    def stops(self, trial: Trial) -> bool:
        """Between two steps of the runner."""
        return True

    def run(self, host: Host) -> None:
        runner = self.problem.open_lanes(self.lanes, self.workers)
        held: dict[int, Trial] = {}
        try:
            with host.worker():
                while self._fill(host, runner, held) and not host.stopping:
                    for event in runner.step():
                        if event.key in held:  # or it was stopped a moment ago
                            self._heard(host, runner, held, event)
        except BaseException:
            host.stop()
            raise
        finally:
            try:
                for trial in list(held.values()):
                    host.released(trial)
            finally:
                runner.close()

    def _fill(self, host: Host, runner: LaneRunner, held: dict[int, Trial]) -> bool:
        """Take in as many trials as there is room for; whether any are in work."""
        while (room := runner.room()) > 0:
            works = host.take(room, wait=not held)
            held.update((work.trial.number, work.trial) for work in works)
            for work in works:
                number = work.trial.number
                try:
                    if work.kept is None:
                        runner.start(number, self.problem.begin(work.trial))
                    else:
                        runner.resume(number, work.kept)
                except Exception as error:
                    host.ended(held.pop(number), error=error)
            if not works:
                break
        return bool(held)

    def _heard(self, host: Host, runner: LaneRunner, held: dict[int, Trial], event: LaneEvent) -> None:
        trial = held[event.key]
        if event.item is None:
            del held[event.key]
            try:
                _annotate(trial, event)
            except Exception as error:  # it is no longer ours
                return host.ended(trial, error=error)
            return host.ended(trial, event.value, event.error)
        try:
            verdict = host.reported(trial, event.item)
        except Exception as error:
            runner.drop(event.key)
            return host.ended(held.pop(event.key), error=error)
        if verdict is Verdict.GO:
            return None
        del held[event.key]
        if verdict is Verdict.PAUSE:
            return pause(host, trial, runner.park(event.key))
        runner.drop(event.key)
        return host.pruned(trial)


def _annotate(trial: Trial, event: LaneEvent) -> None:
    for name, value in event.attributes:
        trial.set_user_attr(name, value)
    trial.set_user_attr(SECONDS, event.seconds)
