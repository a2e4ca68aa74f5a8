"""What is said between the process of a study and one that evaluates its trials, however the bytes travel.

A conversation is about one stretch of a trial, from its beginning (or continuation) to its pause or its end::

    study:   Begin | Resume                    here is a trial
    worker:    Call                            the objective asks its trial (or the study) for something
    study:     Answer | Method | Raised
    worker:    Opened                          the objective is a generator
    worker:    Yielded                         ... and has yielded
    study:     Decided                         go on; stay as you are (PAUSE); or close the generator (STOP), then
    worker:      Closed
    worker:  Returned | Raised                 the evaluation has ended

Between conversations the study may say ``Close`` (of a generator that stayed; answered by ``Closed``) and ``End``.
Before the first one the worker gets a ``Setup``, and says ``Ready`` or what is wrong.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cloudpickle

from tunesmith.exceptions import InvalidTypeError, TunesmithError
from tunesmith.pruners import Verdict

#: Types of which pickle, without the cloud, makes something that any process can read.
_PLAIN = {type(None), bool, int, float, str, bytes, Verdict}


class Disconnected(BaseException):  # no error of the objective: its `except Exception` must not keep it
    """The other side is gone."""


class Channel(Protocol):
    """How bytes travel to a worker and back."""

    def send(self, data: bytes) -> None:
        """Raises :class:`Disconnected`."""

    def receive(self, timeout: float) -> bytes | bytearray | None:
        """What the worker said next; None if that was nothing for ``timeout`` seconds. Raises :class:`Disconnected`."""

    def alive(self) -> bool:
        """Whether the worker is there."""

    def memory(self) -> int | None:
        """Bytes that it takes; None if that cannot be found out."""

    def kill(self) -> None:
        """End the worker at once, whatever it does, and all that it has started; may be called from any thread."""

    def epitaph(self) -> str:
        """How it ended, once it is gone."""

    def close(self, patience: float = 0.0) -> None:
        """Wait until it has ended, but not for more than ``patience`` seconds; then it is killed."""


class WorkerChannel(Protocol):
    """The same, seen from the worker."""

    def send(self, data: bytes) -> None:
        """Raises :class:`Disconnected`."""

    def receive(self) -> bytes | bytearray:
        """Waits. Raises :class:`Disconnected`."""


class Setup(NamedTuple):
    """What a worker needs before its first trial.

    Attributes:
        objective: pickled.
        verbosity: of the library's log.
        collect: whether to collect garbage after each trial.
        arguments: ``sys.argv`` of the study's process.
    """

    objective: bytes
    verbosity: int
    collect: bool
    arguments: list[str]


class Ready(NamedTuple):
    """The objective is there."""


class Begin(NamedTuple):
    """Evaluate a trial."""

    number: int
    attempt: int


class Resume(NamedTuple):
    """Go on with the generator of a paused trial."""

    number: int


class Close(NamedTuple):
    """A paused trial will not go on here."""

    number: int


class End(NamedTuple):
    """There is no more to do."""


class Call(NamedTuple):
    """A method of the trial, or of its study, or (without arguments) an attribute."""

    name: str
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None
    of_study: bool = False


class Answer(NamedTuple):
    """What a call gave."""

    value: Any


class Method(NamedTuple):
    """The attribute is a method; call it."""


class Opened(NamedTuple):
    """The objective has returned a generator."""


class Yielded(NamedTuple):
    """What it has yielded."""

    item: Any


class Decided(NamedTuple):
    """The stopping rule's verdict on a yield; STOP means: close the generator, whatever the reason."""

    verdict: Verdict


class Closed(NamedTuple):
    """A generator was closed."""


class Returned(NamedTuple):
    """The objective, or its generator, has returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception on its way.

    Attributes:
        made: function and arguments, pickled, that make it; None if it cannot be pickled at all.
        text: type and message.
        trace: the traceback, as text.
    """

    made: bytes | None
    text: str
    trace: str

    def exception(self, where: str = "") -> BaseException:
        """The exception, of its own type if that is possible; its traceback is added as a note.

        Args:
            where: in what process it was raised; without it there is no note.
        """
        error: BaseException
        try:
            if self.made is None:
                raise pickle.UnpicklingError
            make, arguments = pickle.loads(self.made)
            error = make(*arguments)
        except Exception:
            error = TunesmithError(self.text)
        if where:
            error.add_note(f"Raised in {where}:\n{self.trace}")
        return error


def raised(error: BaseException) -> Raised:
    """An exception as a message: pickled if it survives that, else made anew from its type and its arguments."""
    try:
        message = str(error)
    except Exception:
        message = "(which cannot be shown as text)"
    text = f"{type(error).__name__}: {message}"
    trace = "".join(traceback.format_exception(error)).rstrip()
    candidates: list[tuple[Callable[..., BaseException], tuple[Any, ...]]] = [
        (_itself, (error,)),
        (_without_init, (type(error), error.args)),
        (_without_init, (type(error), (message,))),
    ]
    for make, arguments in candidates:
        try:
            made = cloudpickle.dumps((make, arguments))
            function, back = pickle.loads(made)
            again = function(*back)
            if type(again) is type(error) and str(again) == message:
                return Raised(made, text, trace)
        except Exception:  # whatever its own methods may raise
            continue
    return Raised(None, text, trace)


def _itself(error: BaseException) -> BaseException:
    return error


def _without_init(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """An exception whose own ``__init__`` wants something else."""
    error = kind.__new__(kind)
    BaseException.__init__(error, *arguments)
    return error


def pack(message: Any) -> bytes:
    """A message as bytes; functions and classes of ``__main__`` go along by value."""
    if isinstance(message, tuple) and all(map(_is_plain, message)):  # most are, and cloudpickle takes longer
        return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    data: bytes = cloudpickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return data


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return kind in _PLAIN


def unpack(data: bytes | bytearray) -> Any:
    """Inverse of :func:`pack`."""
    return pickle.loads(data)


def pack_objective(objective: Any) -> bytes:
    """The objective as bytes.

    Raises:
        InvalidTypeError: it cannot be pickled.
    """
    try:
        return pack(objective)
    except Exception as error:
        raise InvalidTypeError(
            f"The objective {objective!r} cannot be sent to other processes ({type(error).__name__}: {error}). Open "
            "locks, files and connections inside of it, or leave out `backend` (threads share everything)."
        ) from error
