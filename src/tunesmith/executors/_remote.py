"""The study's side of an evaluation that happens elsewhere. Only this side writes to the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    TrialMemoryError,
    TrialTimeoutError,
    WorkerDiedError,
)
from tunesmith.executors._base import Host, Work
from tunesmith.executors._evaluate import pause
from tunesmith.executors._limits import Limits, in_words
from tunesmith.executors._messages import (
    Answer,
    Begin,
    Call,
    Channel,
    Close,
    Closed,
    Decided,
    Disconnected,
    End,
    Method,
    Opened,
    Raised,
    Ready,
    Resume,
    Returned,
    pack,
    raised,
    unpack,
)
from tunesmith.pruners import Verdict
from tunesmith.trial import Trial

#: How often the study looks after a worker that says nothing, in seconds: has it died, is the loop to stop?
LOOK_SECONDS = 0.1
#: How often it measures the memory of a worker, in seconds.
MEASURE_SECONDS = 0.3
#: When a loop stops, evaluations have so many seconds to come to a yield or to their end. SIGTERM leaves ten in all.
GRACE_SECONDS = 3.0

#: What is to be said to the host about a trial, when its worker is free again.
Outcome = Callable[[], None]


class _Stopped(Exception):
    """The loop stops, and the evaluation did not come to an end in time."""


@dataclass(eq=False)
class RemoteGenerator:
    """What is kept of a paused trial: its generator is with a worker.

    Attributes:
        worker: which.
        trial: whose.
        computed: seconds that the worker has worked on it.
        give_up: tells whoever has the worker that the generator is not needed any more.
    """

    worker: RemoteWorker
    trial: Trial
    computed: float
    give_up: Callable[[RemoteGenerator], None]

    @property
    def alive(self) -> bool:
        """Whether the trial can go on with it."""
        return self.worker.paused.get(self.trial.number) is self.trial and self.worker.channel.alive()

    def close(self) -> None:
        """The trial will not go on with it."""
        if self.alive:
            self.give_up(self)


class _Watch:
    """Looks after a worker while an evaluation computes.

    Args:
        host: may want to stop.
        channel: to the worker.
        limits: of a trial.
        trial: which.
        computed: seconds that it has computed before.
    """

    def __init__(self, host: Host, channel: Channel, limits: Limits, trial: Trial, computed: float) -> None:
        self._host, self._channel, self._limits, self._trial = host, channel, limits, trial
        self.computed = computed
        self._stop_at: float | None = None
        self._look_at = self._measure_at = 0.0

    def receive(self) -> Any:
        """The worker's next message.

        Raises:
            Disconnected: the worker is gone. TrialKilledError: the trial is over a limit. _Stopped: the loop stops.
        """
        while True:
            begun = time.monotonic()
            data = self._channel.receive(LOOK_SECONDS)
            now = time.monotonic()
            self.computed += now - begun
            if data is None or now >= self._look_at:
                self._look(now)
            if data is not None:
                return unpack(data)

    def _look(self, now: float) -> None:
        self._look_at = now + LOOK_SECONDS
        seconds, memory = self._limits.seconds, self._limits.memory
        if seconds is not None and self.computed > seconds:
            raise TrialTimeoutError(
                f"Trial {self._trial.number} was ended after it had computed for {self.computed:.1f} s "
                f"(trial_timeout={seconds:g})."
            )
        if memory is not None and now >= self._measure_at:
            self._measure_at = now + MEASURE_SECONDS
            taken = self._channel.memory() or 0
            if taken > memory:
                raise TrialMemoryError(
                    f"Trial {self._trial.number} was ended when its process took {in_words(taken)} of memory "
                    f"(trial_memory={in_words(memory)})."
                )
        if self._host.stopping:
            self._stop_at = self._stop_at or now + GRACE_SECONDS
            if now > self._stop_at:
                raise _Stopped


class RemoteWorker:
    """A worker at the other end of a channel.

    Attributes:
        channel: to it.
        paused: number -> trial, of the generators that it keeps.
        unwanted: numbers of those that are to be closed before it does anything else.
    """

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.channel = channel
        self._limits = limits
        self.paused: dict[int, Trial] = {}
        self.unwanted: list[int] = []

    def get_ready(self, stopping: Callable[[], bool]) -> None:
        """Wait until it has loaded the objective, or the loop is to stop.

        Raises:
            InvalidTypeError: it cannot load the objective. WorkerDiedError: it has died.
            InvalidValueError: it takes more memory than a trial may.
        """
        try:
            while (data := self.channel.receive(LOOK_SECONDS)) is None:
                if stopping():
                    self.channel.kill()
                    return
        except Disconnected:
            raise self._died("before it was ready") from None
        message = unpack(data)
        if isinstance(message, Raised):
            cause = message.exception("a worker process")
            self.channel.kill()
            raise InvalidTypeError(
                f"A worker process cannot load the objective ({message.text}). It finds modules by the same sys.path; "
                "what the script itself or a notebook defines is sent along, and so is a module that is named by "
                "cloudpickle.register_pickle_by_value(module)."
            ) from cause
        assert isinstance(message, Ready)
        taken, memory = self.channel.memory(), self._limits.memory
        if memory is not None and taken is not None and taken > memory:
            self.channel.kill()
            raise InvalidValueError(
                f"trial_memory={in_words(memory)} is too little: a worker process takes {in_words(taken)} before its "
                "first trial."
            )

    # -- evaluate -------------------------------------------------------------------------------------------------

    def evaluate(self, host: Host, work: Work, give_up: Callable[[RemoteGenerator], None]) -> Outcome:
        """Let it begin a trial, or go on with it, until that pauses or ends.

        Returns:
            What the host is to hear; say it when the worker may be used by others, who may get the trial at once.
        """
        trial, kept = work.trial, work.kept
        watch = _Watch(host, self.channel, self._limits, trial, kept.computed if kept is not None else 0.0)
        try:
            for number in self.unwanted[:]:
                self.close(number)
            if kept is None:
                self.channel.send(pack(Begin(trial.number, trial.attempt)))
            else:
                self.paused.pop(trial.number)
                self.channel.send(pack(Resume(trial.number)))
            return self._converse(host, watch, trial, give_up)
        except Disconnected:
            died = None if host.stopping else self._died(f"while it evaluated trial {trial.number}")
            return partial(host.released, trial, died)
        except _Stopped:
            self.channel.kill()
            return partial(host.released, trial)
        except Exception as error:  # a limit, or a message that cannot be read
            self.channel.kill()
            return partial(host.ended, trial, error=error)

    def _converse(self, host: Host, watch: _Watch, trial: Trial, give_up: Callable[[RemoteGenerator], None]) -> Outcome:
        while True:
            message = watch.receive()
            if isinstance(message, Call):
                self.channel.send(_answer(trial, message))
            elif isinstance(message, Opened):
                trial._yields = True
            elif isinstance(message, Returned):
                return partial(host.ended, trial, message.result)
            elif isinstance(message, Raised):
                return _failed(host, trial, message)
            else:
                verdict, outcome = _judged(host, trial, message.item)
                self.channel.send(pack(Decided(verdict)))
                if verdict is Verdict.PAUSE:
                    self.paused[trial.number] = trial
                    return partial(pause, host, trial, RemoteGenerator(self, trial, watch.computed, give_up))
                if verdict is Verdict.STOP:
                    self._until_closed(trial)
                    return outcome

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self, number: int) -> None:
        """Let it close the generator of a paused trial; one that does not come to an end is killed."""
        trial = self.paused.pop(number)
        with contextlib.suppress(ValueError):
            self.unwanted.remove(number)
        with contextlib.suppress(Disconnected):
            self.channel.send(pack(Close(number)))
            self._until_closed(trial)

    def _until_closed(self, trial: Trial) -> None:
        """Answer what the generator asks for while it is closed."""
        end = time.monotonic() + GRACE_SECONDS
        with contextlib.suppress(Disconnected):  # whoever uses it next will see
            while time.monotonic() < end:
                data = self.channel.receive(LOOK_SECONDS)
                message = None if data is None else unpack(data)
                if isinstance(message, Closed):
                    return
                if isinstance(message, Call):
                    self.channel.send(_answer(trial, message))
            self.channel.kill()

    def end(self) -> None:
        """Let it close what it keeps, and end; it does so by itself from here on."""
        for number in list(self.paused):
            self.close(number)
        with contextlib.suppress(Disconnected):
            self.channel.send(pack(End()))

    def _died(self, when: str) -> WorkerDiedError:
        return WorkerDiedError(f"A worker process {self.channel.epitaph()} {when}.")


def _judged(host: Host, trial: Trial, item: Any) -> tuple[Verdict, Outcome]:
    """The verdict on what was yielded, as the worker hears it, and what the host hears if that is STOP."""
    try:
        verdict = host.reported(trial, item)
    except Exception as error:
        return Verdict.STOP, partial(host.ended, trial, error=error)
    if host.stopping:
        return Verdict.STOP, partial(host.released, trial)
    return verdict, partial(host.pruned, trial)


def _failed(host: Host, trial: Trial, message: Raised) -> Outcome:
    error = message.exception("a worker process")
    if isinstance(error, Exception):
        return partial(host.ended, trial, error=error)
    host.stop()  # first, or another thread may claim the trial at once

    def outcome() -> NoReturn:
        host.released(trial, error)
        raise error

    return outcome


def _answer(trial: Trial, call: Call) -> bytes:
    try:
        found = getattr(trial.study if call.of_study else trial, call.name)
        if call.arguments is not None:
            positional, named = call.arguments
            found = found(*positional, **named)
        elif callable(found):
            return pack(Method())
        return pack(Answer(found))
    except Exception as error:
        return pack(raised(error))
