"""What PostgreSQL and MySQL do differently, as far as a :class:`tunesmith.storages._server.Server` has to know."""

from __future__ import annotations

import abc
import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tunesmith.storages._common import Durability


class Failure(enum.Enum):
    """What an error of a driver means."""

    LOST = "the connection, or the server for now; whether the statement took effect is not known"
    AGAIN = "it gave way to another transaction, and had no effect"
    TAKEN = "a value that must be unique is there already"
    MISSING = "there is no such table"
    OTHER = "it will not get better by waiting"


class Session:
    """A connection for as long as it is out of the pool, in the driver's autocommit mode.

    Statements go to the driver itself, of which SQLAlchemy makes the connections. Through ``Connection.execute`` an
    append took 515 us of processor time instead of 338 (466 through ``exec_driver_sql``), a look for new records 151
    instead of 102, and a worker does both for every trial (medians of 7 x 300; PostgreSQL 15, psycopg 3, SQLAlchemy 2).
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.broken = False  # whether a transaction could not be ended

    def change(self, statement: str, values: Mapping[str, Any] | None = None) -> tuple[int, int]:
        """Run a statement; how many rows it found or made, and MySQL's LAST_INSERT_ID."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, values)
            return cursor.rowcount, getattr(cursor, "lastrowid", 0)
        finally:
            cursor.close()

    def query(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """All rows that a statement returns."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, values)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.change("BEGIN")
        try:
            yield
            self.change("COMMIT")
        except BaseException:
            try:
                self.change("ROLLBACK")
            except Exception:
                self.broken = True
            raise


class Dialect(abc.ABC):
    """One kind of server. Statements have named parameters, ``%(name)s``, in either driver."""

    name: str
    package: str
    """The driver's package."""
    extra: str
    """The extra of tunesmith that brings it."""
    now: str
    """An expression: the server's time, in microseconds since 1970, UTC."""
    upsert: str
    """How an INSERT of a heartbeat ends that overwrites the one before."""

    @abc.abstractmethod
    def engine_options(self, patience: float) -> dict[str, Any]:
        """Arguments of :func:`sqlalchemy.create_engine`."""

    @abc.abstractmethod
    def begin(self, session: Session, durability: Durability, place: str) -> None:
        """What a new connection needs.

        Raises:
            StorageInternalError: The server cannot keep a promise.
        """

    @abc.abstractmethod
    def make(self, session: Session, dialect: sa.Dialect) -> None:
        """Make the tables, whoever else does so at the same time, and say in the last one whose they are."""

    @abc.abstractmethod
    def append(self, session: Session, values: Mapping[str, Any]) -> int | None:
        """Insert a record under the lock of its study's row.

        Args:
            session: A connection.
            values: ``study``, ``mark`` and ``text``.

        Returns:
            Its position; None if there is no such study.
        """

    @abc.abstractmethod
    def position_of(self, session: Session, mark: str) -> int | None:
        """Where the record with a mark is; None if nowhere."""

    @abc.abstractmethod
    def failure(self, error: BaseException, opening: bool) -> Failure:
        """What an error of the driver means; ``opening``: there has been no connection yet."""

    @abc.abstractmethod
    def descriptor(self, connection: Any) -> int:
        """The descriptor of the socket of a driver's connection."""

    def remedy(self, error: BaseException) -> str:
        """What a user may do about one that waiting does not help against."""
        return "Check the server, the permissions and its disk, then go on"

    def check_size(self, text: str, place: str) -> None:
        """Refuse a text that the server would not take.

        Raises:
            StorageInternalError: It is too long; the message says what to change.
        """
        return
