"""Logs in a relational database, through SQLAlchemy. SQLite for now.

Three tables: ``studies(id, uuid, name, created)``, ``records(study, position, events)`` with the events as JSON text,
and ``meta(key, value)`` with the name and version of the format. A position is given out by the very statement that
inserts the record; SQLite has one writer at a time, so it serialises the appends of all processes.

Measured on 2 cores and ext4 with records of 350 bytes: an append takes 26 us on the driver's connection and 48 through
SQLAlchemy's, a read that finds nothing 4 and 22. Two appends and a read are what every trial costs, so these two calls
go to the driver, and all else through SQLAlchemy. ``records`` has a rowid because the same table WITHOUT ROWID is no
faster at 350 bytes, and at 1500 bytes half again as slow and more than twice as large.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from tunesmith._forks import watch_forks
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    MissingDependencyError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.storages._base import BaseStorage, Record, StudyRecord
from tunesmith.storages._common import (
    Durability,
    check_after,
    check_durability,
    check_name,
    decode,
    duplicated,
    encode,
    is_closed,
    no_folder,
    not_found,
    sync_folder,
)
from tunesmith.storages._tables import (
    is_locked,
    is_not_text,
    prepare,
    records_table,
    studies_table,
    transaction,
    translate,
)

_LARGEST = (1 << 63) - 1  # integer in SQLite
_TIMEOUT = 60.0  # seconds to wait for another process's lock
_APPEND = (
    "INSERT INTO records (study, position, events) SELECT id, "
    "coalesce((SELECT max(position) FROM records WHERE study = studies.id), 0) + 1, ? "
    "FROM studies WHERE uuid = ? RETURNING position"
)
# One row with NULLs when there is nothing new, none at all when there is no such study.
_READ = (
    "SELECT records.position, records.events FROM studies LEFT JOIN records "
    "ON records.study = studies.id AND records.position > ? WHERE studies.uuid = ? ORDER BY records.position"
)
_READ_BYTES = (
    "SELECT records.position, CAST(records.events AS BLOB) FROM studies JOIN records ON records.study = studies.id "
    "WHERE studies.uuid = ? ORDER BY records.position"
)

# Connections inherited through fork: SQLite forbids a child even to close them.
_orphans: list[Any] = []

# Closing a file drops all locks that the process has on it (POSIX), SQLite's too, so the descriptor that made a file
# must be closed before any other handle of this process opens it.
_creating = threading.Lock()


class RDBStorage(BaseStorage):
    """Several studies in one database: ``RDBStorage("sqlite:///studies.db")``.

    A handle keeps one connection open, which its threads share; so they wait for each other in the order of a lock
    rather than in SQLite's busy loop, which sleeps.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, or SQLAlchemy's object for it; ``sqlite://`` is a
            database in memory, of this handle alone. The file is made, with the permissions of the umask, if there is
            none; its folder must exist.
        engine_kwargs: Passed to :func:`sqlalchemy.create_engine`. Default: nothing; locks of other processes are
            waited for up to 60 s (``{"connect_args": {"timeout": seconds}}``).
        skip_compatibility_check, heartbeat_interval, grace_period, skip_table_creation: Optuna's; not needed here, and
            ignored with a warning. Dead processes are noticed without heartbeats.
        heartbeat_stale_trial_callback, failed_trial_callback: Optuna's (new and old name); refused, because interrupted
            trials are attempted again without it.
        durability: ``"process"`` (default): an acknowledged record survives the death of the process (WAL,
            synchronous NORMAL). ``"power"``: it is on the disk (synchronous FULL).

    Raises:
        InvalidValueError: A URL of another kind of database, the folder does not exist, or a callback is given.
        NotALogError: The file is no SQLite database, or somebody else's. It is left as it is.
        NewerFormatError: The database was written by a newer tunesmith.
        StorageInternalError: The database cannot be opened, is locked, or the disk is full.
    """

    persistent: ClassVar[bool] = True
    understands: ClassVar[str] = "a sqlite:/// URL (a database)"

    def __init__(
        self,
        url: str | sa.URL,
        engine_kwargs: Mapping[str, Any] | None = None,
        skip_compatibility_check: bool = False,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: Any = None,
        failed_trial_callback: Any = None,
        skip_table_creation: bool = False,
        durability: Durability = "process",
    ) -> None:
        check_durability(durability)
        _not_needed(
            heartbeat_stale_trial_callback or failed_trial_callback,
            skip_compatibility_check=skip_compatibility_check or None, heartbeat_interval=heartbeat_interval,
            grace_period=grace_period, skip_table_creation=skip_table_creation or None,
        )  # fmt: skip
        self.url, self.durability = url, durability
        self._engine_kwargs = dict(engine_kwargs or {})
        parsed = _parse_url(url)
        in_memory = parsed.database in (None, "", ":memory:")
        self._path = None if in_memory else os.path.abspath(str(parsed.database))
        self._lock = threading.Lock()
        self._closed = False
        self._identity: tuple[int, int] | None = None
        self._connection: sa.Connection | None = None
        kwargs = {"isolation_level": "AUTOCOMMIT"} | self._engine_kwargs
        connect_args = {"timeout": _TIMEOUT} | dict(self._engine_kwargs.get("connect_args", {}))
        self._timeout = float(connect_args["timeout"])
        kwargs["connect_args"] = connect_args | {"check_same_thread": False}
        try:
            self._engine = sa.create_engine(parsed.set(database=self._path), **kwargs)
        except (TypeError, ArgumentError) as error:
            raise InvalidValueError(f"SQLAlchemy refused engine_kwargs={engine_kwargs!r}: {error}") from error
        watch_forks(self)
        try:
            with _creating:
                self._create_file()
            self._open()
        except BaseException:
            self._release()
            raise

    @property
    def file(self) -> str | None:
        """See :attr:`BaseStorage.file`; None for a database in memory."""
        return self._path

    @classmethod
    def from_string(cls, storage: str) -> RDBStorage | None:
        """A ``sqlite:`` URL."""
        return cls(storage) if storage.startswith(("sqlite:", "sqlite+")) else None

    @classmethod
    def for_testing(cls, directory: Path, **options: Any) -> RDBStorage:
        """The SQLite database ``log.db`` in the folder."""
        return cls(sa.URL.create("sqlite", database=str(directory / "log.db")), **options)

    def studies(self) -> list[StudyRecord]:
        """See :meth:`BaseStorage.studies`."""
        query = sa.select(studies_table.c.uuid, studies_table.c.name).order_by(studies_table.c.id)
        with self._lock, self._using() as connection:
            rows = connection.execute(query).all()
        return [StudyRecord(study, name) for study, name in rows]

    def create(self, name: str) -> str:
        """See :meth:`BaseStorage.create`."""
        check_name(name)
        study = uuid.uuid4().hex
        with self._lock, self._using() as connection:
            try:
                connection.execute(studies_table.insert().values(uuid=study, name=name, created=time.time_ns() // 1000))
            except IntegrityError:
                raise duplicated(name) from None
        return study

    def delete(self, study: str) -> None:
        """See :meth:`BaseStorage.delete`."""
        with self._lock, self._using() as connection, transaction(connection):
            number = connection.scalar(sa.select(studies_table.c.id).where(studies_table.c.uuid == study))
            if number is None:
                raise not_found(study)
            connection.execute(records_table.delete().where(records_table.c.study == number))
            connection.execute(studies_table.delete().where(studies_table.c.id == number))

    def read(self, study: str, after: int = 0) -> list[Record]:
        """See :meth:`BaseStorage.read`."""
        check_after(after)
        with self._lock:
            try:
                self._ready()
                rows = self._raw.execute(_READ, (min(after, _LARGEST), study)).fetchall()
            except sqlite3.Error as error:
                if is_not_text(error):
                    raise self._damaged(study, self._find_bytes(study)) from error
                raise translate(error, self._place) from error
        if not rows:
            raise not_found(study)
        if rows[0][0] is None:
            return []
        if rows[0][0] != after + 1 or rows[-1][0] != after + len(rows):
            raise self._damaged(study, f"a position is missing between {after} and {rows[-1][0]}")
        records = decode([events for _, events in rows])
        if isinstance(records, int):
            raise self._damaged(study, f"the record at position {after + 1 + records} is not a JSON list")
        return records

    def append(self, study: str, events: Record) -> int:
        """See :meth:`BaseStorage.append`."""
        text = encode(events)
        with self._lock:
            try:
                self._ready()
                rows = self._raw.execute(_APPEND, (text, study)).fetchall()  # runs to the end: that commits
            except sqlite3.Error as error:
                raise translate(error, self._place) from error
        if not rows:
            raise not_found(study)
        return rows[0][0]

    def close(self) -> None:
        """See :meth:`BaseStorage.close`. A database in memory is gone then."""
        with self._lock:
            self._closed = True
            self._release()

    @property
    def _place(self) -> str:
        return "The database " + (repr(self._path) if self._path else "in memory")

    def _create_file(self) -> None:
        """Make the file, if there is none, as the umask says; SQLite would never let a group write to it."""
        if self._path is None:
            return
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
            if self.durability == "power" and hasattr(os, "O_DIRECTORY"):
                sync_folder(self._path)
        except FileExistsError:
            if not os.path.isfile(self._path):
                raise NotALogError(f"{self._path!r} is not a regular file. Give another path.") from None
        except FileNotFoundError as error:
            raise no_folder(self._path) from error
        except OSError as error:
            raise StorageInternalError(f"Cannot create the database {self._path!r}: {error.strerror}.") from error
        status = os.stat(self._path)
        if 0 < status.st_size < 100:  # less than SQLite's header; SQLite would take a file of one byte for an empty one
            raise NotALogError(f"{self._path!r} is not an SQLite database. Give another path.")
        self._identity = (status.st_dev, status.st_ino)

    def _open(self) -> None:
        """Connect, check that the database is ours, and make the tables if it is empty."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._connection = self._engine.connect()
                prepare(self._connection, self._place, self._path is not None)
                mode = "FULL" if self.durability == "power" else "NORMAL"
                self._connection.exec_driver_sql(f"PRAGMA synchronous = {mode}")
                self._raw: sqlite3.Connection = self._connection.connection.driver_connection  # type: ignore[assignment]
                return
            except DBAPIError as error:
                self._release()
                # Several processes that start on an empty database: SQLite refuses to wait when it changes to WAL.
                if not (is_locked(error.orig) and time.monotonic() < deadline):
                    raise translate(error.orig, self._place) from error
            time.sleep(0.01)

    def _ready(self) -> sa.Connection:
        """The open connection, after a look whether its file is still the one at the path."""
        if self._closed:
            raise is_closed(self._place)
        if self._path is not None:
            self._check_place(self._path)
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
            f"{self._place} was removed or replaced while it was open. Put it back, or open the storage again to use "
            "what is there now."
        )

    @contextmanager
    def _using(self) -> Iterator[sa.Connection]:
        """SQLAlchemy's connection, its errors translated."""
        connection = self._ready()
        try:
            yield connection
        except DBAPIError as error:
            raise translate(error.orig, self._place) from error

    def _find_bytes(self, study: str) -> str:
        """Which record of a study is not text; the lock must be held."""
        with suppress(sqlite3.Error):
            for position, events in self._raw.execute(_READ_BYTES, (study,)):
                try:
                    (events or b"").decode()
                except UnicodeDecodeError as error:
                    return f"the record at position {position} is not UTF-8 text ({error.reason} at byte {error.start})"
        return "a record is not UTF-8 text"

    def _damaged(self, study: str, reason: str) -> LogDamagedError:
        return LogDamagedError(
            f"{self._place} is damaged in study {study!r}: {reason}. Nothing was changed. Restore it from a copy."
        )

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._engine.dispose()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._path is not None and self._connection is not None:
            _orphans.append((self._connection, self._raw))
            self._connection = None
            self._engine.dispose(close=False)

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self._release()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            raise InvalidTypeError(
                f"A database in memory ({str(self.url)!r}) lives in one process and cannot be copied or sent to "
                "another. Use a path, sqlite:///studies.db, or save the studies first: copy_study(from_study_name=..., "
                "from_storage=storage, to_storage='sqlite:///studies.db')."
            )
        return _reopen, (sa.make_url(self.url).set(database=self._path), self._engine_kwargs, self.durability)


def _reopen(url: sa.URL, engine_kwargs: dict[str, Any], durability: Durability) -> RDBStorage:
    return RDBStorage(url, engine_kwargs, durability=durability)


#: Optuna's options -> why they are not needed.
_REASONS = {
    "skip_compatibility_check": "the format is always checked",
    "heartbeat_interval": "dead processes of this machine are noticed without heartbeats",
    "grace_period": "dead processes of this machine are noticed without heartbeats",
    "skip_table_creation": "tables are made only where there are none",
}


def _not_needed(stale_trial_callback: Any, **options: Any) -> None:
    """Say what becomes of Optuna's options: a script that gives them runs."""
    if stale_trial_callback is not None:
        raise InvalidValueError(
            f"The callback for stale trials, {stale_trial_callback!r}, would never be called: a trial whose process "
            "died is attempted again by itself, three times at most. Leave it out."
        )
    if given := [name for name, value in options.items() if value is not None]:
        reasons = "; ".join(dict.fromkeys(_REASONS[name] for name in given))
        names = ", ".join(f"`{name}`" for name in given)
        warnings.warn(f"RDBStorage needs no {names}: {reasons}. Leave it out.", stacklevel=3)


def _parse_url(url: str | sa.URL) -> sa.URL:
    """Refuse all but SQLite."""
    if not isinstance(url, (str, sa.URL)):
        raise InvalidTypeError(f"The URL of a database must be a str, not {url!r} ({type(url).__name__}).")
    remedy = "Now supported: sqlite:///relative.db, sqlite:////absolute.db and sqlite:// (in memory)."
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidValueError(f"{url!r} is not the URL of a database. {remedy}") from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidValueError(f"Databases of the kind {parsed.drivername!r} are not supported. {remedy}")
    if parsed.host or (parsed.database or "").startswith("file:"):
        raise InvalidValueError(f"{url!r} is not the URL of a database file. {remedy}")
    if sqlite3.sqlite_version_info < (3, 35):  # RETURNING
        raise MissingDependencyError(f"SQLite 3.35 or newer is needed; this Python has {sqlite3.sqlite_version}.")
    return parsed
