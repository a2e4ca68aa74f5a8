"""URLs of databases: which kinds there are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.storages._common import without_password

#: Name before :// -> (database, driver). One driver a database, so that all processes send the same statements.
KINDS: dict[str, tuple[str, str]] = {
    "sqlite": ("sqlite", "sqlite+pysqlite"),
    "sqlite+pysqlite": ("sqlite", "sqlite+pysqlite"),
    "postgres": ("postgresql", "postgresql+psycopg"),
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "postgresql+psycopg": ("postgresql", "postgresql+psycopg"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mysql+pymysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mysql+pymysql"),
    "mariadb+pymysql": ("mysql", "mysql+pymysql"),
}

_REMEDY = (
    "Supported are sqlite:///relative.db, sqlite:////absolute.db, sqlite:// (in memory), "
    "postgresql://user:password@host/database and mysql://user:password@host/database."
)


def is_url(text: str) -> bool:
    """Whether a user's string is meant for a database of a kind that is known."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and (kind.lower() in KINDS or kind.startswith(("sqlite+", "postgresql+", "mysql+", "mariadb+")))


def parse_url(url: str | sa.URL) -> tuple[str, sa.URL]:
    """The kind of database ("sqlite", "postgresql", "mysql"), and the URL with the driver that is used for it.

    Raises:
        InvalidTypeError, InvalidValueError: It is none, or of another kind. The password is not in the message.
    """
    if not isinstance(url, (str, sa.URL)):
        raise InvalidTypeError(f"The URL of a database must be a str, not {url!r} ({type(url).__name__}).")
    shown = repr(without_password(str(url)))
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # whose message may show the URL
        raise InvalidValueError(f"{shown} is not the URL of a database. {_REMEDY}") from None
    if parsed.drivername.lower() not in KINDS:
        raise InvalidValueError(f"Databases of the kind {parsed.drivername!r} are not supported. {_REMEDY}")
    kind, driver = KINDS[parsed.drivername.lower()]
    if kind == "sqlite" and (parsed.host or (parsed.database or "").startswith("file:")):
        raise InvalidValueError(f"{shown} is not the URL of a database file. {_REMEDY}")
    if kind != "sqlite" and not parsed.database:
        raise InvalidValueError(f"{shown} names no database: give {kind}://.../NAME. {_REMEDY}")
    return kind, parsed.set(drivername=driver)


def without_passwords(options: Any) -> str:
    """How options of an engine are shown: their names, since ``connect_args`` may hold a password."""
    return "{" + ", ".join(f"{name!r}: ..." for name in options) + "}"
