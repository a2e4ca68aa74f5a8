"""Logs in a relational database, through SQLAlchemy: an SQLite file, PostgreSQL, or MySQL and MariaDB.

Three tables: ``studies`` with ids and names, ``records(study, position, events)`` with the events as JSON text, and
``heartbeats``; and ``meta`` with the name and version of the format. On a server their names begin with ``tunesmith_``.
What differs between the databases is in ``_sqlite.py``, and in ``_server.py`` with its dialects.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from tunesmith.exceptions import InvalidTypeError
from tunesmith.storages._base import BaseStorage, Record, StudyRecord
from tunesmith.storages._common import (
    Durability,
    check_durability,
    check_name,
    check_patience,
    check_range,
    check_worker,
    damaged,
    decode,
    encode,
)
from tunesmith.storages._database import Database, last_of
from tunesmith.storages._sqlite import SQLite
from tunesmith.storages._urls import is_url, parse_url


class RDBStorage(BaseStorage):
    """Several studies in one database: ``RDBStorage("sqlite:///studies.db")``,
    ``RDBStorage("postgresql://user:password@host/database")``.

    On SQLite the threads of a handle share one connection; on a server each takes one from a pool while it calls. A
    server may be away for a while: calls wait for it, connect again and go on, and an append whose acknowledgement was
    lost is in the log once.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; ``sqlite://`` is a database in memory, of this
            handle alone; ``postgresql://user:password@host:port/database`` (package psycopg, extra ``postgresql``),
            ``mysql://...`` or ``mariadb://...`` (package PyMySQL, extra ``mysql``). Or SQLAlchemy's object for one. A
            file is made if there is none, readable by its owner alone (to share it, ``chmod`` it while nobody has it
            open); its folder must exist. A server's database must exist, but may hold other tables, too.
        engine_kwargs: Passed to :func:`sqlalchemy.create_engine`, such as ``{"connect_args": {"sslmode":
            "verify-full"}}`` or ``{"pool_size": 20}``. Default: nothing.
        skip_compatibility_check, heartbeat_interval, grace_period, skip_table_creation: Optuna's; not needed here, and
            ignored with a warning. Heartbeats are a matter of the workers: ``study.optimize(lease=60)``.
        heartbeat_stale_trial_callback, failed_trial_callback: Optuna's (new and old name): called as ``callback(study,
            trial)`` for a trial whose worker is gone, which becomes FAIL then. Default: it is attempted again under its
            own number, three times at most (``study.optimize(attempts=3)``).
        durability: ``"process"`` (default): an acknowledged record survives the death of the process (SQLite: WAL,
            synchronous NORMAL; servers: as they are configured, which is to be on the disk). ``"power"``: it is on the
            disk (SQLite: synchronous FULL; PostgreSQL: synchronous_commit is turned on where it is off; a server that
            is configured to lose commits is refused).
        patience: Seconds to wait for a server that does not answer (default 120: longer than a restart or a failover
            takes), or for another process's lock on an SQLite file (default 60).

    Raises:
        InvalidValueError: A URL of another kind of database, or the folder does not exist.
        NotALogError: The file is no SQLite database, or the tables are somebody else's. They are left as they are.
        NewerFormatError: The database was written by a newer tunesmith.
        MissingDependencyError: The driver's package is not installed.
        StorageInternalError: The database cannot be opened, is locked, or the disk is full.
    """

    persistent = True
    understands: ClassVar[str] = "a sqlite:///, postgresql:// or mysql:// URL (a database)"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {}, {"durability": "power"}, {"database": "postgresql"}, {"database": "mysql"},
    )  # fmt: skip

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
        patience: float | None = None,
    ) -> None:
        check_durability(durability)
        check_patience(patience)
        self.stale_trial_callback = heartbeat_stale_trial_callback or failed_trial_callback
        if self.stale_trial_callback is not None and not callable(self.stale_trial_callback):
            raise InvalidTypeError(f"The callback for stale trials must be callable: {self.stale_trial_callback!r}.")
        _not_needed(
            skip_compatibility_check=skip_compatibility_check or None, heartbeat_interval=heartbeat_interval,
            grace_period=grace_period, skip_table_creation=skip_table_creation or None,
        )  # fmt: skip
        kind, self.url = parse_url(url)
        self.durability, self.patience = durability, patience
        self._engine_kwargs = dict(engine_kwargs or {})
        if kind == "sqlite":
            self._database: Database = SQLite(self.url, self._engine_kwargs, durability, patience)
            self.persistent = self.file is not None
        else:
            from tunesmith.storages._server import Server  # not loaded by those who use SQLite

            self._database = Server(kind, self.url, self._engine_kwargs, durability, patience)

    @property
    def file(self) -> str | None:
        """See :attr:`BaseStorage.file`; None for a server, and for a database in memory."""
        return self._database.path

    @classmethod
    def from_string(cls, storage: str) -> RDBStorage | None:
        """A URL of a database."""
        return cls(storage) if is_url(storage) else None

    @classmethod
    def for_testing(cls, directory: Path, database: str = "sqlite", **options: Any) -> RDBStorage:
        """The SQLite database ``log.db`` in the folder; or a schema of its own on a test server.

        Args:
            directory: The folder.
            database: ``"sqlite"``, ``"postgresql"`` or ``"mysql"``; the address of a server is the environment variable
                ``TUNESMITH_TEST_POSTGRESQL`` or ``TUNESMITH_TEST_MYSQL``, a URL whose user may make schemas.
            options: of the constructor.
        """
        if database == "sqlite":
            return cls(sa.URL.create("sqlite", database=str(directory / "log.db")), **options)
        from tunesmith.storages._test_servers import server_for_testing

        return cls(server_for_testing(database, directory), **options)

    def studies(self) -> list[StudyRecord]:
        """See :meth:`BaseStorage.studies`."""
        return self._database.studies()

    def create(self, name: str) -> str:
        """See :meth:`BaseStorage.create`."""
        check_name(name)
        study = uuid.uuid4().hex
        self._database.create(study, name)
        return study

    def delete(self, study: str) -> None:
        """See :meth:`BaseStorage.delete`."""
        self._database.delete(study)

    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """See :meth:`BaseStorage.read`."""
        check_range(after, limit)
        rows = self._database.read(study, after, last_of(after, limit))
        if not rows:
            return []
        if rows[0][0] != after + 1 or rows[-1][0] != after + len(rows):
            raise damaged(self._database.place, study, f"a position is missing between {after} and {rows[-1][0]}")
        records = decode([events for _, events in rows])
        if isinstance(records, int):
            raise damaged(
                self._database.place, study, f"the record at position {after + 1 + records} is not a JSON list"
            )
        return records

    def append(self, study: str, events: Record) -> int:
        """See :meth:`BaseStorage.append`."""
        return self._database.append(study, encode(events))

    def heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.heartbeat`."""
        check_worker(worker)
        self._database.beat(study, worker)

    def heartbeats(self, study: str) -> dict[str, float]:
        """See :meth:`BaseStorage.heartbeats`."""
        return self._database.ages(study)

    def end_heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.end_heartbeat`."""
        check_worker(worker)
        self._database.end_beat(study, worker)

    def close(self) -> None:
        """See :meth:`BaseStorage.close`. A database in memory is gone then."""
        self._database.close()

    def __repr__(self) -> str:
        return f"RDBStorage({str(self.url)!r})"  # whose str shows no password

    def __reduce__(self) -> tuple[Any, ...]:
        if self.url.drivername.startswith("sqlite") and self.file is None:
            raise InvalidTypeError(
                f"A database in memory ({str(self.url)!r}) lives in one process and cannot be copied or sent to "
                "another. Use a path, sqlite:///studies.db, or save the studies first: copy_study(from_study_name=..., "
                "from_storage=storage, to_storage='sqlite:///studies.db')."
            )
        url = self.url if self.file is None else self.url.set(database=self.file)
        return _reopen, (url, self._engine_kwargs, self.durability, self.patience, self.stale_trial_callback)


def _reopen(
    url: sa.URL, engine_kwargs: dict[str, Any], durability: Durability, patience: float | None, callback: Any
) -> RDBStorage:
    return RDBStorage(
        url, engine_kwargs, durability=durability, patience=patience, heartbeat_stale_trial_callback=callback
    )


#: Optuna's options -> why they are not needed.
_REASONS = {
    "skip_compatibility_check": "the format is always checked",
    "heartbeat_interval": "every worker sends heartbeats, see study.optimize(lease=...)",
    "grace_period": "every worker sends heartbeats, see study.optimize(lease=...)",
    "skip_table_creation": "tables are made only where there are none",
}


def _not_needed(**options: Any) -> None:
    """Say what becomes of Optuna's options: a script that gives them runs."""
    if given := [name for name, value in options.items() if value is not None]:
        reasons = "; ".join(dict.fromkeys(_REASONS[name] for name in given))
        names = ", ".join(f"`{name}`" for name in given)
        warnings.warn(f"RDBStorage needs no {names}: {reasons}. Leave it out.", stacklevel=3)
