"""The tables of ``sql.py``: making them, recognising them, and what SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tunesmith.exceptions import LogDamagedError, NewerFormatError, NotALogError, StorageInternalError

_FORMAT = "tunesmith log"
_VERSION = 1

_schema = sa.MetaData()
studies_table = sa.Table(
    "studies",
    _schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sqlite_autoincrement=True,  # the number of a deleted study is not given out again
)
records_table = sa.Table(
    "records",
    _schema,
    sa.Column("study", sa.Integer, sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("events", sa.Text, nullable=False),
)
_meta = sa.Table(
    "meta", _schema, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
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


def prepare(connection: sa.Connection, place: str, on_disk: bool) -> None:
    """Make the tables if there are none; else check whose they are, before anything is changed."""
    if not _is_empty(connection):
        _check_format(connection, place)
    if on_disk and connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    if not _is_empty(connection):
        return
    with transaction(connection):
        if _is_empty(connection):  # nobody was faster
            _schema.create_all(connection, checkfirst=False)
            rows = [{"key": "format", "value": _FORMAT}, {"key": "version", "value": str(_VERSION)}]
            connection.execute(_meta.insert(), rows)
    _check_format(connection, place)


def _is_empty(connection: sa.Connection) -> bool:
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()


def _check_format(connection: sa.Connection, place: str) -> None:
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
            "file that does not exist yet."
        )
    if int(version) > _VERSION:
        raise NewerFormatError(
            f"{place} has format version {version}; this tunesmith reads up to {_VERSION}. Upgrade tunesmith."
        )


def is_locked(error: BaseException | None) -> bool:
    """Whether SQLite gave up waiting for a lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_not_text(error: BaseException | None) -> bool:
    """Whether bytes in a column of text are not UTF-8. Python's driver finds that, not SQLite, so there is no code."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def translate(error: BaseException | None, place: str) -> StorageInternalError:
    """The error of the contract for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
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
