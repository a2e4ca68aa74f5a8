"""The tables of a server's database, ``tunesmith_...``, for who makes them: importing their types is slow.

A server's database is often shared, so the names begin with what they belong to. A schema of its own would need the
right to make one, and MySQL has none; who wants one gives it in the URL (``?options=-csearch_path=NAME``).

There are no foreign keys: records are written and deleted under the lock of their study's row, and a heartbeat that
checked its study by a key would wait for every append to it (InnoDB).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

_schema = sa.MetaData()
_text = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_sixteen_bytes = postgresql.UUID().with_variant(mysql.BINARY(16), "mysql", "mariadb")


def _table(name: str, *columns: sa.Column[Any], **options: Any) -> None:
    in_mysql = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
    sa.Table(f"tunesmith_{name}", _schema, *columns, **in_mysql, **options)  # type: ignore[call-overload]


_table(
    "studies",
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("uuid", sa.String(32), nullable=False, unique=True),
    sa.Column("name", _text, nullable=False),
    sa.Column("name_key", sa.String(64), nullable=False, unique=True),  # SHA-256: an index has no room for long names
    sa.Column("last", sa.BigInteger, nullable=False),  # position of the last record; its row is the study's lock
    sa.Column("created", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    postgresql_with={"fillfactor": 20},  # room for the new versions of a row that every append changes
)
_table(
    "records",
    sa.Column("study", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("mark", _sixteen_bytes, nullable=False, unique=True),  # of the append
    sa.Column("events", _text, nullable=False),
)
_table(
    "heartbeats",
    sa.Column("study", sa.String(32), primary_key=True),  # uuid
    sa.Column("worker", sa.String(64), primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC, by the server's clock
)
_table(  # the last one: where it is, the others are
    "meta",
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
)


def creation(dialect: sa.Dialect) -> list[str]:
    """The statements that make the tables that are not there yet."""
    tables = _schema.tables.values()
    return [str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)) for table in tables]
