"""What :class:`tunesmith.storages.RDBStorage` asks of a kind of database: rows, and texts that are events."""

from __future__ import annotations

import abc

from tunesmith.storages._base import StudyRecord

Rows = list[tuple[int, str]]

#: Larger positions do not fit in a column, and there are none.
LARGEST = (1 << 63) - 1


def last_of(after: int, limit: int | None) -> int:
    """The last position of a range."""
    return LARGEST if limit is None else min(after + limit, LARGEST)


class Database(abc.ABC):
    """One database of one kind. Arguments were checked, and studies are named by their ids.

    Errors are those of :class:`tunesmith.storages.BaseStorage`.
    """

    place: str
    """What messages call it; without a password."""

    path: str | None = None
    """The absolute path of its file, if it is one."""

    @abc.abstractmethod
    def studies(self) -> list[StudyRecord]:
        """In the order of their creation."""

    @abc.abstractmethod
    def create(self, study: str, name: str) -> None:
        """Note a study under a new id."""

    @abc.abstractmethod
    def delete(self, study: str) -> None:
        """Remove all rows of a study."""

    @abc.abstractmethod
    def read(self, study: str, after: int, last: int) -> Rows:
        """Positions and texts, as they are stored, in order, of the positions from ``after + 1`` to ``last``."""

    @abc.abstractmethod
    def append(self, study: str, text: str) -> int:
        """Store a text; its position."""

    @abc.abstractmethod
    def beat(self, study: str, worker: str) -> None:
        """Set a worker's heartbeat to the database's time."""

    @abc.abstractmethod
    def ages(self, study: str) -> dict[str, float]:
        """Seconds since the heartbeats, by the database's time."""

    @abc.abstractmethod
    def end_beat(self, study: str, worker: str) -> None:
        """Remove a heartbeat, if it is there."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release all connections, for good. May be called twice."""
