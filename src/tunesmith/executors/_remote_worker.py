"""The worker's side of an evaluation: calls the objective, keeps paused generators, says what becomes of trials."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from tunesmith.executors._evaluate import close
from tunesmith.executors._forked import OwnProcess
from tunesmith.executors._messages import (
    Begin,
    Close,
    Closed,
    Decided,
    Disconnected,
    End,
    Opened,
    Raised,
    Resume,
    Returned,
    WorkerChannel,
    Yielded,
    pack,
    raised,
)
from tunesmith.executors._remote_trial import Line, RemoteTrial, numbers
from tunesmith.pruners import Verdict


@dataclass(frozen=True)
class _Held:
    """A trial whose objective is a generator."""

    trial: RemoteTrial
    generator: Generator[Any, Any, Any]

    def heard(self, decided: Decided) -> None:
        """Nobody listens while a trial is paused, and the objective's other threads are to know it at once."""
        self.trial._heard = decided.verdict is not Verdict.PAUSE

    def close(self) -> None:
        close(self.generator, self.trial)


class Unsendable:
    """In the place of a result that cannot be pickled: it looks like it, and is no number either."""

    def __init__(self, text: str, kind: str) -> None:
        self._text, self._kind = text, kind

    def __float__(self) -> float:
        raise TypeError(f"a {self._kind}, which cannot be pickled")

    def __repr__(self) -> str:
        return self._text


class Evaluator:
    """Evaluates what the study's side says, until that says ``End``.

    Args:
        channel: to it.
        objective: what the user wants evaluated.
        collect: collect garbage after each trial.
    """

    def __init__(self, channel: WorkerChannel, objective: Callable[[Any], Any], collect: bool = False) -> None:
        self._line = Line(channel)
        self._objective = objective
        self._collect = collect
        self._paused: dict[int, _Held] = {}

    def run(self) -> None:
        """Raises :class:`Disconnected` when the study is gone."""
        while not isinstance(order := self._line.wait(), End):
            if isinstance(order, Begin):
                trial = RemoteTrial(self._line, order.number, order.attempt)
                self._settle(trial, self._begin(trial))
            elif isinstance(order, Resume):
                held = self._paused.pop(order.number)
                held.trial._heard = True
                self._settle(held.trial, self._drive(held))
            elif isinstance(order, Close):
                held = self._paused.pop(order.number)
                held.trial._heard = True
                held.close()
                self._settle(held.trial, Closed())

    def _settle(self, trial: RemoteTrial, last: Any) -> None:
        """The conversation about a trial is over; say the last word of it, if there is one."""
        trial._heard = False
        if self._collect:
            gc.collect()
        if last is None:
            return
        try:
            self._line.tell(last)
        except Exception:
            self._line.tell(Returned(_stand_in(last.result)))

    def _begin(self, trial: RemoteTrial) -> Closed | Returned | Raised | None:
        try:
            with OwnProcess():
                result = self._objective(trial)
            if not inspect.isgenerator(result):
                return Returned(numbers(result))  # may raise, too: what the device has failed at shows when it is read
        except BaseException as error:
            return raised(error)
        self._line.tell(Opened())
        return self._drive(_Held(trial, result))

    def _drive(self, held: _Held) -> Closed | Returned | Raised | None:
        """Resume the generator until it returns or raises, or is to be closed, or (None) is to stay as it is."""
        while True:
            try:
                said = _next(held.generator)
                if isinstance(said, Returned):
                    return said
                decided: Decided = self._line.ask(said, then=held.heard)
            except Disconnected:
                raise
            except BaseException as error:
                held.close()
                return raised(error)
            if decided.verdict is Verdict.PAUSE:
                self._paused[held.trial.number] = held
                return None
            if decided.verdict is Verdict.STOP:
                held.close()
                return Closed()


def _next(generator: Generator[Any, Any, Any]) -> Yielded | Returned:
    """What the generator yields, or has returned."""
    try:
        with OwnProcess():
            item = next(generator)
        return Yielded(numbers(item))
    except StopIteration as end:
        return Returned(numbers(end.value))


def _stand_in(result: Any) -> Any:
    """What can be sent of a result: the entries that can be pickled, and the looks of those that cannot."""
    if type(result) in (list, tuple):
        return type(result)(_stand_in(entry) for entry in result)
    try:
        pack(result)
    except Exception:
        return Unsendable(repr(result), type(result).__name__)
    return result
