"""The tables of ``sql.py``: making them, recognising them, and what SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tunesmith.exceptions import LogDamagedError, NewerFormatError, NotALogError, StorageInternalError
from tunesmith.storages._common import made_by_optuna

_FORMAT = "tunesmith log"
_VERSION = 2  # 1 had neither heartbeats nor checksums

_schema = sa.MetaData()
studies_table = sa.Table(
    "studies",
    _schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.Column("crc", sa.BigInteger),  # NULL in what version 1 has written
    sa.Column("last", sa.BigInteger, nullable=False, server_default="0"),  # position of the last record
    sqlite_autoincrement=True,  # the number of a deleted study is not given out again
)
records_table = sa.Table(
    "records",
    _schema,
    sa.Column("study", sa.Integer, sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("crc", sa.BigInteger),
)
heartbeats_table = sa.Table(
    "heartbeats",
    _schema,
    sa.Column("study", sa.Integer, sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
)
_meta = sa.Table(
    "meta", _schema, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)

# Damage in an index can hide the last records; so their number is kept elsewhere. A trigger does it for processes of an
# older tunesmith, too.
_TRIGGER = (
    "CREATE TRIGGER last_record AFTER INSERT ON records "
    "BEGIN UPDATE studies SET last = new.position WHERE id = new.study; END"
)


@contextmanager
def transaction(connection: sa.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the beginning."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        driver: Any = connection.connection.driver_connection
        driver.rollback()  # does nothing where no transaction was begun
        raise


def prepare(connection: sa.Connection, place: str, on_disk: bool) -> int:
    """Make the tables if there are none; else check whose they are, before anything is changed.

    Returns:
        The version of the format: an older one where the database may only be read.
    """
    version = 0 if _is_empty(connection) else _check_format(connection, place)
    if on_disk and connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    if 0 < version < _VERSION:
        return _migrate(connection, version)
    if not _is_empty(connection):
        return _check_format(connection, place)
    with transaction(connection):
        if _is_empty(connection):  # nobody was faster
            _schema.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(_TRIGGER)
            rows = [{"key": "format", "value": _FORMAT}, {"key": "version", "value": str(_VERSION)}]
            connection.execute(_meta.insert(), rows)
    return _check_format(connection, place)


def _migrate(connection: sa.Connection, version: int) -> int:
    """Bring a database of version 1 to this one, in one transaction; processes of the older tunesmith that have it
    open go on working.
    """
    try:
        with transaction(connection):
            found = connection.scalar(sa.select(_meta.c.value).where(_meta.c.key == "version"))
            if found == str(version):  # else another process was faster
                heartbeats_table.create(connection)
                for table in (studies_table, records_table):
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN crc BIGINT")
                connection.exec_driver_sql("ALTER TABLE studies ADD COLUMN last BIGINT NOT NULL DEFAULT 0")
                connection.exec_driver_sql(
                    "UPDATE studies SET last = coalesce((SELECT max(position) FROM records WHERE study = id), 0)"
                )
                connection.exec_driver_sql(_TRIGGER)
                connection.execute(_meta.update().where(_meta.c.key == "version").values(value=str(_VERSION)))
    except DBAPIError as error:
        if primary_code(error.orig) == sqlite3.SQLITE_READONLY:
            return version
        raise
    return _VERSION


def _is_empty(connection: sa.Connection) -> bool:
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()


def _check_format(connection: sa.Connection, place: str) -> int:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    tables = connection.exec_driver_sql(names).scalars().all()
    meta: dict[Any, Any] = {}
    if "meta" in tables:
        columns = {row[1] for row in connection.exec_driver_sql("PRAGMA table_info(meta)")}
        if columns == {"key", "value"}:
            meta = {row.key: row.value for row in connection.execute(sa.select(_meta.c.key, _meta.c.value))}
    version = str(meta.get("version"))
    if meta.get("format") != _FORMAT or not version.isdecimal():
        raise NotALogError(
            f"{place} is not a tunesmith log: it has the tables {', '.join(tables)}. Give the URL of a log, or of a "
            f"file that does not exist yet.{made_by_optuna({'studies', 'trials', 'version_info'} <= set(tables))}"
        )
    if int(version) > _VERSION:
        raise NewerFormatError(
            f"{place} has format version {version}; this tunesmith reads up to {_VERSION}. Upgrade tunesmith."
        )
    return int(version)


def primary_code(error: BaseException | None) -> int:
    """SQLite's result code without the details; 0 for another driver's errors."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_locked(error: BaseException | None) -> bool:
    """Whether SQLite gave up waiting for a lock."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_not_text(error: BaseException | None) -> bool:
    """Whether bytes in a column of text, or in a message about one, are not UTF-8. Python's driver finds that, not
    SQLite, so there is no code.
    """
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def translate(error: BaseException | None, place: str) -> StorageInternalError:
    """The error of the contract for one of SQLite's."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return NotALogError(f"{place} is not an SQLite database. Give the path of a log, or of a file yet to be made.")
    if code == sqlite3.SQLITE_CORRUPT:
        return LogDamagedError(f"{place} is damaged: {error}. Restore it from a copy, or try sqlite3's .recover.")
    if is_not_text(error):
        return LogDamagedError(
            f"{place} is damaged: a text in it is not UTF-8 ({error}). Nothing was changed. Restore it from a copy."
        )
    if is_locked(error):
        remedy = (
            "Another process holds its lock: end it, wait, or raise engine_kwargs={'connect_args': {'timeout': 60}}"
        )
    elif code == sqlite3.SQLITE_READONLY:
        remedy = "Change the permissions of the file and its folder"
    else:
        remedy = "Free some space or check the disk and the permissions, then go on"
    return StorageInternalError(f"{place} failed: {error}. {remedy}; what was acknowledged is intact.")
