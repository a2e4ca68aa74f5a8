"""What a storage is: a shelf of append-only logs, one per study.

The unit of a log is the *record*, the list of events that one :meth:`BaseStorage.append` brought. Positions count a
study's records from 1 without a gap. That is all a backend knows: what an event means, and who wins when two workers
claim the same trial, is decided by the fold that reads the log (``tunesmith.events``).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

Event = dict[str, Any]
Record = list[Event]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study of a storage.

    Attributes:
        id: 32 hexadecimal digits of a random UUID; never given out twice, not even after a deletion.
        name: What the user calls the study; unique among the studies that exist now.
    """

    id: str
    name: str


class BaseStorage(abc.ABC):
    """The contract of a backend. ``tunesmith.testing.storages`` tests every sentence of it.

    **Adding a backend** is adding one module to ``tunesmith.storages`` that defines one subclass; it is found there by
    name, no list has to be edited. An instance of a class that lives elsewhere can be passed wherever a storage is
    taken.

    **Atomic.** A record is in the log completely or not at all, also when the process is killed in the middle of
    :meth:`append`, the disk is full, or an exception is raised. If :meth:`append` returned, the record is there.

    **Ordered.** The appends to one study are serialised, across threads, handles and processes. A position must become
    visible only when all lower ones are: a reader that has seen position *n* never has to look at *n* or below again.
    A number taken from a counter outside of that lock does not satisfy this, because a later number may commit first.

    **Fresh.** What was appended before :meth:`read` began, through whatever handle, is in its answer.

    **Events** are dicts that JSON can hold: string keys; ``None``, booleans, integers of any size, finite floats,
    strings, lists and dicts as values. The study guarantees this; a backend that finds something else may raise
    InvalidTypeError or InvalidValueError, having appended nothing. Callers never mutate events after they appended
    or read them, so a backend may share them.

    **Durable.** By default an acknowledged record survives the death of the process. ``durability="power"``, where
    a backend has it, makes it survive the loss of power as well.

    **Heartbeats** are a small mutable side record, no events: when each worker of a study was last heard of. They take
    no position, slow down no append, survive reopening, are seen by every handle, and go with their study. Ages are
    told by the store's own clock, since the clocks of the machines that share it differ.

    **Shared.** All methods may be called from many threads at once. A handle inherited through ``os.fork`` goes on
    working in the child and in the parent. A handle of a persistent backend can be pickled; the copy is another handle
    on the same place.

    **Errors.** StudyNotFoundError and DuplicatedStudyError as stated below; InvalidValueError and InvalidTypeError for
    arguments; NotALogError, NewerFormatError (nothing is changed in either case) and LogDamagedError for what lies at
    the place; StorageInternalError when the store fails (what was acknowledged is intact, and the handle may be used
    again). Messages show the value and the remedy.
    """

    persistent: bool
    """Whether the records outlive the handle, so that others may open the same place. The class says so, and a handle
    where it is an exception (a database in memory)."""

    understands: ClassVar[str] = ""
    """The storage strings that :meth:`from_string` understands, for the message of those that nobody does."""

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Options of :meth:`for_testing` under each of which the conformance kit is to be passed."""

    stale_trial_callback: Callable[[Any, Any], None] | None = None
    """What to call as ``callback(study, trial)`` for a trial whose worker is gone, instead of attempting it again."""

    @property
    def file(self) -> str | None:
        """The absolute path of the one file that holds everything; None if there is none.

        What belongs to studies and is no record (states of trials) is kept beside it.
        """
        return None

    @classmethod
    def from_string(cls, storage: str) -> BaseStorage | None:
        """The store that the user's string means, or None if it is not for this backend.

        Called by :func:`tunesmith.storages.get_storage`, backend after backend, until one answers.
        """
        return None

    @classmethod
    @abc.abstractmethod
    def for_testing(cls, directory: Path, **options: Any) -> BaseStorage:
        """Open the store that belongs to ``directory``, creating it if there is none.

        The conformance kit knows no other constructor. Called twice with the same directory it must give two
        independent handles on one store (in another process, too), unless the class is not ``persistent``. Raise
        MissingDependencyError if a server or a package is missing.

        Args:
            directory: An existing, private folder.
            options: Keyword arguments of the constructor, such as ``durability="power"``; or others, named in
                :attr:`variants`.
        """

    @abc.abstractmethod
    def studies(self) -> list[StudyRecord]:
        """The studies that exist now, in the order of their creation."""

    @abc.abstractmethod
    def create(self, name: str) -> str:
        """Create an empty study.

        Args:
            name: Any text that UTF-8 can encode, without NUL characters. The name of a deleted study is free again.

        Returns:
            The new study's id.

        Raises:
            DuplicatedStudyError: A study of that name exists.
        """

    @abc.abstractmethod
    def delete(self, study: str) -> None:
        """Delete a study with all its records. An append that comes later gets StudyNotFoundError.

        Raises:
            StudyNotFoundError: No study has that id, or not any more.
        """

    @abc.abstractmethod
    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """The records at positions ``after + 1``, ``after + 2``, ..., all of them or the first ``limit``.

        Called before every trial, mostly with nothing new to find: that case should cost microseconds.

        Args:
            study: The study's id.
            after: How many records the caller has already, >= 0. More than there are gives ``[]``.
            limit: How many to give at most, >= 1: a long log does not have to be in memory at once.

        Raises:
            StudyNotFoundError: No study has that id, or not any more.
        """

    @abc.abstractmethod
    def append(self, study: str, events: Record) -> int:
        """Append one record, atomically.

        Args:
            study: The study's id.
            events: The record's events, in order. An empty list is a record, too.

        Returns:
            The position that the record got.

        Raises:
            StudyNotFoundError: No study has that id, or not any more.
        """

    @abc.abstractmethod
    def heartbeat(self, study: str, worker: str) -> None:
        """Note that a worker of a study is alive now.

        Args:
            study: The study's id.
            worker: 1 to 64 characters of ``0123456789abcdef`` that nobody else uses.

        Raises:
            StudyNotFoundError: No study has that id, or not any more.
        """

    @abc.abstractmethod
    def heartbeats(self, study: str) -> dict[str, float]:
        """Seconds since the last heartbeat of each worker of a study, >= 0.

        Raises:
            StudyNotFoundError: No study has that id, or not any more.
        """

    @abc.abstractmethod
    def end_heartbeat(self, study: str, worker: str) -> None:
        """Forget a worker, which has ended; one that is unknown, or whose study is, is fine."""

    def close(self) -> None:
        """Release files and connections. May be called twice; other calls then raise StorageInternalError.

        A backend that holds nothing (memory) does nothing, and stays usable.
        """
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
