"""SQLite under a :class:`tunesmith.storages.RDBStorage`: one file, or a database in memory.

A position is given out by the very statement that inserts the record; SQLite has one writer at a time, so it serialises
the appends of all processes.

Measured on 2 cores and ext4 with records of 350 bytes: an append took 26 us on the driver's connection and 48 through
SQLAlchemy's, a read that finds nothing 4 and 22 (the checksum and the count below have added 14 us to an append since).
Two appends and a read are what every trial costs, so these two calls go to the driver, and all else through SQLAlchemy.
``records`` has a rowid because the same table WITHOUT ROWID is no faster at 350 bytes, and at 1500 bytes half again as
slow and more than twice as large.

Those two calls wait for another process's lock here rather than in SQLite, whose waiters sleep longer the longer they
have waited (up to 100 ms), and so are overtaken. Measured with 32 processes that append as fast as they can on 2 cores:
with equal sleeps of 5 ms the slowest process gets 2/5 of what the fastest gets instead of 1/50, and the longest wait is
0.6 s instead of 3.5 s, for a quarter fewer records in all; with 0.2 ms of work between two appends there are more in
all, too. A queue of ``flock`` in front of the file did no better.

SQLite's pages have no checksums, so records and studies have: CRC-32s, to which a record's study and position are
added, so that one record is not taken for another. Damage in an index can hide records; that the last ones are there is
told by their number, which a trigger keeps with the study.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from tunesmith._forks import watch_forks
from tunesmith.exceptions import (
    InvalidValueError,
    MissingDependencyError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.storages._base import StudyRecord
from tunesmith.storages._common import Durability, damaged, duplicated, is_closed, no_folder, not_found, sync_folder
from tunesmith.storages._database import LARGEST, Database, Rows
from tunesmith.storages._sqlite_tables import (
    heartbeats_table,
    is_locked,
    is_not_text,
    prepare,
    records_table,
    studies_table,
    transaction,
    translate,
)
from tunesmith.storages._urls import without_passwords

#: Seconds to wait for another process's lock, by default.
PATIENCE = 60.0
_PAUSE = 0.005  # seconds between two looks whether it is free, on average

_APPEND = (
    "INSERT INTO records (study, position, events, crc) "
    "SELECT id, last + 1, :text, (:crc + (last + 1) * 40503 + id * 1000003) & 4294967295 "
    "FROM studies WHERE uuid = :study RETURNING position"
)
# One row with NULLs when there is nothing new, none at all when there is no such study.
_READ = (
    "SELECT records.position, records.events, records.crc, studies.id, studies.last FROM studies LEFT JOIN records "
    "ON records.study = studies.id AND records.position > ? AND records.position <= ? WHERE studies.uuid = ? "
    "ORDER BY records.position"
)
_READ_VERSION_1 = _READ.replace("records.crc", "NULL").replace("studies.last", "NULL")
_READ_BYTES = (
    "SELECT records.position, CAST(records.events AS BLOB) FROM studies JOIN records ON records.study = studies.id "
    "WHERE studies.uuid = ? ORDER BY records.position"
)
_BEAT = (
    "INSERT INTO heartbeats (study, worker, beat) SELECT id, ?, ? FROM studies WHERE uuid = ? "
    "ON CONFLICT (study, worker) DO UPDATE SET beat = excluded.beat"
)
_BEATS = (
    "SELECT heartbeats.worker, heartbeats.beat FROM studies LEFT JOIN heartbeats "
    "ON heartbeats.study = studies.id WHERE studies.uuid = ?"
)
_NO_BEATS = "SELECT NULL, NULL FROM studies WHERE uuid = ?"  # a database of version 1 that may only be read
_END_BEAT = "DELETE FROM heartbeats WHERE worker = ? AND study = (SELECT id FROM studies WHERE uuid = ?)"


def _checksum(text: str, position: int, number: int) -> int:
    """As ``_APPEND`` computes it."""
    return (zlib.crc32(text.encode()) + position * 40503 + number * 1000003) & 0xFFFFFFFF


def _checksum_of_study(study: str, name: str) -> int:
    return zlib.crc32(f"{study} {name}".encode())


# Connections inherited through fork: SQLite forbids a child even to close them.
_orphans: list[Any] = []

# Closing a file drops all locks that the process has on it (POSIX), SQLite's too, so the descriptor that made a file
# must be closed before any other handle of this process opens it.
_creating = threading.Lock()


class SQLite(Database):
    """An SQLite database, with one connection that the threads share; so they wait for each other in the order of a
    lock rather than in SQLite's busy loop, which sleeps.

    Args:
        url: of the driver ``sqlite+pysqlite``.
        engine_kwargs: for :func:`sqlalchemy.create_engine`.
        durability: synchronous NORMAL or FULL.
        patience: seconds to wait for another process's lock; ``connect_args["timeout"]`` has precedence.
    """

    def __init__(
        self, url: sa.URL, engine_kwargs: Mapping[str, Any], durability: Durability, patience: float | None
    ) -> None:
        if sqlite3.sqlite_version_info < (3, 35):  # RETURNING
            raise MissingDependencyError(f"SQLite 3.35 or newer is needed; this Python has {sqlite3.sqlite_version}.")
        in_memory = url.database in (None, "", ":memory:")
        self.path = None if in_memory else os.path.abspath(str(url.database))
        self.place = "The database " + (repr(self.path) if self.path else "in memory")
        self._durability = durability
        self._lock = threading.Lock()
        self._closed = False
        self._identity: tuple[int, int] | None = None
        self._connection: sa.Connection | None = None
        kwargs = {"isolation_level": "AUTOCOMMIT"} | dict(engine_kwargs)
        timeout = PATIENCE if patience is None else patience
        connect_args = {"timeout": timeout} | dict(engine_kwargs.get("connect_args", {}))
        self._timeout = float(connect_args["timeout"])
        kwargs["connect_args"] = connect_args | {"check_same_thread": False}
        try:
            self._engine = sa.create_engine(url.set(database=self.path), **kwargs)
        except (TypeError, ArgumentError) as error:
            raise InvalidValueError(
                f"SQLAlchemy refused engine_kwargs={without_passwords(engine_kwargs)}: {error}"
            ) from error
        watch_forks(self)
        try:
            with _creating:
                self._create_file()
            self._open()
        except BaseException:
            self._release()
            raise

    def studies(self) -> list[StudyRecord]:
        """See :class:`Database`."""
        columns = studies_table.c
        with self._lock, self._using() as connection:
            crc = sa.null() if self._version == 1 else columns.crc
            rows = connection.execute(sa.select(columns.uuid, columns.name, crc).order_by(columns.id)).all()
        for study, name, expected in rows:
            right = expected is None or expected == _checksum_of_study(study, name)
            if not right or type(study) is not str or type(name) is not str:
                raise damaged(self.place, study, f"its id or its name, {name!r}, is not what was written")
        return [StudyRecord(study, name) for study, name, _ in rows]

    def create(self, study: str, name: str) -> None:
        """See :class:`Database`."""
        values = {
            "uuid": study,
            "name": name,
            "created": time.time_ns() // 1000,
            "crc": _checksum_of_study(study, name),
        }
        with self._lock, self._using() as connection:
            try:
                connection.execute(studies_table.insert().values(values))
            except IntegrityError:
                raise duplicated(name) from None

    def delete(self, study: str) -> None:
        """See :class:`Database`."""
        with self._lock, self._using() as connection, transaction(connection):
            number = connection.scalar(sa.select(studies_table.c.id).where(studies_table.c.uuid == study))
            if number is None:
                raise not_found(study)
            for table in (heartbeats_table, records_table):
                connection.execute(table.delete().where(table.c.study == number))
            connection.execute(studies_table.delete().where(studies_table.c.id == number))

    def read(self, study: str, after: int, last: int) -> Rows:
        """See :class:`Database`."""
        with self._lock:
            try:
                self._ready()
                statement = _READ_VERSION_1 if self._version == 1 else _READ
                rows, _ = self._run(statement, (min(after, LARGEST), last, study))
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if is_not_text(error):
                    raise damaged(self.place, study, self._find_bytes(study)) from error
                raise translate(error, self.place) from error
        if not rows:
            raise not_found(study)
        position, text, _, _, appended = rows[-1]
        nothing = position is None and text is None
        if appended is not None and (
            type(appended) is not int or (appended > after if nothing else min(appended, last) != position)
        ):
            raise damaged(self.place, study, f"it has {appended!r} records, of which the last ones are missing")
        if nothing:
            return []
        checked = []
        for position, text, crc, number, _ in rows:
            if type(position) is not int or type(number) is not int:
                raise damaged(self.place, study, f"a record is at the position {position!r}")
            if crc is not None and type(text) is str and crc != _checksum(text, position, number):
                raise damaged(self.place, study, f"the record at position {position} has a wrong checksum")
            checked.append((position, text))
        return checked

    def append(self, study: str, text: str) -> int:
        """See :class:`Database`."""
        rows, _ = self._execute(_APPEND, {"text": text, "crc": zlib.crc32(text.encode()), "study": study})
        if not rows:
            raise not_found(study)
        return rows[0][0]

    def beat(self, study: str, worker: str) -> None:
        """See :class:`Database`."""
        _, found = self._execute(_BEAT, (worker, time.time_ns() // 1000, study))
        if not found:
            raise not_found(study)

    def ages(self, study: str) -> dict[str, float]:
        """See :class:`Database`. The time is this machine's: SQLite's lock works on one machine only."""
        rows, _ = self._execute(_NO_BEATS if self._version == 1 else _BEATS, (study,))
        if not rows:
            raise not_found(study)
        now = time.time_ns() // 1000
        if any(type(beat) is not int for worker, beat in rows if worker is not None):
            raise damaged(self.place, study, "the time of a heartbeat is no number")
        return {worker: max(0.0, (now - beat) / 1e6) for worker, beat in rows if worker is not None}

    def end_beat(self, study: str, worker: str) -> None:
        """See :class:`Database`."""
        self._execute(_END_BEAT, (worker, study))

    def close(self) -> None:
        """See :class:`Database`. A database in memory is gone then."""
        with self._lock:
            self._closed = True
            self._release()

    def _execute(self, statement: str, values: tuple[Any, ...] | dict[str, Any]) -> tuple[list[Any], int]:
        """Run a statement on the driver's connection; its rows, and how many it changed."""
        with self._lock:
            try:
                return self._run(statement, values)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise translate(error, self.place) from error

    def _run(self, statement: str, values: tuple[Any, ...] | dict[str, Any]) -> tuple[list[Any], int]:
        """The same with SQLite's errors; the lock must be held."""
        self._ready()
        deadline = 0.0
        while True:
            try:
                cursor = self._raw.execute(statement, values)
                return cursor.fetchall(), cursor.rowcount  # runs to the end: that commits
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if now >= deadline or not is_locked(error):
                    raise
            time.sleep(random.uniform(0.5, 1.5) * _PAUSE)

    def _create_file(self) -> None:
        """Make the file, if there is none, for its owner alone; SQLite gives the files beside it the same mode."""
        if self.path is None:
            return
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            if self._durability == "power" and hasattr(os, "O_DIRECTORY"):
                sync_folder(self.path)
        except FileExistsError:
            if not os.path.isfile(self.path):
                raise NotALogError(f"{self.path!r} is not a regular file. Give another path.") from None
        except FileNotFoundError as error:
            raise no_folder(self.path) from error
        except OSError as error:
            raise StorageInternalError(f"Cannot create the database {self.path!r}: {error.strerror}.") from error
        status = os.stat(self.path)
        if 0 < status.st_size < 100:  # less than SQLite's header; SQLite would take a file of one byte for an empty one
            raise NotALogError(f"{self.path!r} is not an SQLite database. Give another path.")
        self._identity = (status.st_dev, status.st_ino)

    def _open(self) -> None:
        """Connect, check that the database is ours, and make the tables if it is empty."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._connection = self._engine.connect()
                self._version = prepare(self._connection, self.place, self.path is not None)
                mode = "FULL" if self._durability == "power" else "NORMAL"
                self._connection.exec_driver_sql(f"PRAGMA synchronous = {mode}")
                self._raw: sqlite3.Connection = self._connection.connection.driver_connection  # type: ignore[assignment]
                self._wait_in_sqlite(0.0)
                return
            except DBAPIError as error:
                self._release()
                # Several processes that start on an empty database: SQLite refuses to wait when it changes to WAL.
                if not (is_locked(error.orig) and time.monotonic() < deadline):
                    raise translate(error.orig, self.place) from error
            except UnicodeDecodeError as error:
                self._release()
                raise translate(error, self.place) from error
            time.sleep(0.01)

    def _ready(self) -> sa.Connection:
        """The open connection, after a look whether its file is still the one at the path."""
        if self._closed:
            raise is_closed(self.place)
        if self.path is not None:
            self._check_place(self.path)
        if self._connection is None:  # just forked
            self._open()
        return self._connection  # type: ignore[return-value]

    def _check_place(self, path: str) -> None:
        """SQLite would go on writing to a file that has no name any more."""
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) == self._identity:
                return
        except OSError:
            pass
        raise StorageInternalError(
            f"{self.place} was removed or replaced while it was open. Put it back, or open the storage again to use "
            "what is there now."
        )

    @contextmanager
    def _using(self) -> Iterator[sa.Connection]:
        """SQLAlchemy's connection, its errors translated."""
        connection = self._ready()
        self._wait_in_sqlite(self._timeout)
        try:
            yield connection
        except (DBAPIError, UnicodeDecodeError) as error:
            raise translate(getattr(error, "orig", error), self.place) from error
        finally:
            self._wait_in_sqlite(0.0)

    def _wait_in_sqlite(self, seconds: float) -> None:
        self._raw.execute(f"PRAGMA busy_timeout = {round(1000 * min(seconds, 1e6))}")

    def _find_bytes(self, study: str) -> str:
        """Which record of a study is not text; the lock must be held."""
        with suppress(sqlite3.Error, UnicodeDecodeError):
            for position, events in self._raw.execute(_READ_BYTES, (study,)):
                try:
                    (events or b"").decode()
                except UnicodeDecodeError as error:
                    return f"the record at position {position} is not UTF-8 text ({error.reason} at byte {error.start})"
        return "a record is not UTF-8 text"

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._engine.dispose()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self.path is not None and self._connection is not None:
            _orphans.append((self._connection, self._raw))
            self._connection = None
            self._engine.dispose(close=False)

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self._release()
