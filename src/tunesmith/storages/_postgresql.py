"""PostgreSQL, with the driver psycopg 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tunesmith.exceptions import StorageInternalError
from tunesmith.storages._common import Durability
from tunesmith.storages._dialect import Dialect, Failure, Session
from tunesmith.storages._server_format import SIGNATURE

# READ COMMITTED is enough: the UPDATE waits for the row's lock and then goes on from the row as it is committed, and
# the lock is held until this record is committed itself. So positions become visible in their order.
_APPEND = (
    "WITH claimed AS (UPDATE tunesmith_studies SET last = last + 1 WHERE uuid = %(study)s RETURNING id, last) "
    "INSERT INTO tunesmith_records (study, position, mark, events) "
    "SELECT id, last, %(mark)s::uuid, %(text)s FROM claimed RETURNING position"
)
_POSITION = "SELECT position FROM tunesmith_records WHERE mark = %(mark)s::uuid"
_BEGIN = (
    "SELECT set_config('default_transaction_isolation', 'read committed', false), "
    "CASE WHEN %(power)s AND current_setting('synchronous_commit') = 'off' "
    "THEN set_config('synchronous_commit', 'on', false) END, "
    "current_setting('fsync'), current_setting('server_encoding')"
)
_LOCK = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'tunesmit')})"
_SIGN = f"INSERT {SIGNATURE} ON CONFLICT (name) DO NOTHING"

#: SQLSTATEs, or their classes, after which the connection is of no use or the server is on its way down or up; also a
#: server that is read-only since it lost its role in a failover.
_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "25006")
_AGAIN = ("40001", "40P01", "55P03")

# A failed attempt to connect has no SQLSTATE, only the server's words.
_REFUSED = re.compile(
    r"FATAL:.*(authentication|password|does not exist|pg_hba|not permitted|permission denied|parameter)"
    r"|no password supplied|certificate|does not support SSL|SSL is not|invalid connection option|invalid .* value"
)
_UNKNOWN_HOST = re.compile(r"failed to resolve host|could not translate host name")


class PostgreSQL(Dialect):
    """See :class:`Dialect`."""

    name = "PostgreSQL"
    package = "psycopg"
    extra = "postgresql"
    now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    upsert = "ON CONFLICT (study, worker) DO UPDATE SET beat = excluded.beat"

    def engine_options(self, patience: float) -> dict[str, Any]:
        """A machine that vanished is noticed within a minute, which TCP alone would take hours for."""
        return {
            "use_native_hstore": False,  # which costs a query for each connection
            "connect_args": {
                "client_encoding": "utf8", "application_name": "tunesmith", "connect_timeout": 10, "keepalives": 1,
                "keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000,
            },
        }  # fmt: skip

    def begin(self, session: Session, durability: Durability, place: str) -> None:
        """See :meth:`Dialect.begin`."""
        ((_, _, fsync, encoding),) = session.query(_BEGIN, {"power": durability == "power"})
        if encoding != "UTF8":
            raise StorageInternalError(
                f"{place} has the encoding {encoding}, which cannot hold any text. Make one with UTF8: CREATE DATABASE "
                "name TEMPLATE template0 ENCODING 'UTF8'."
            )
        if durability == "power" and fsync != "on":
            raise StorageInternalError(
                f"{place} is on a server with fsync off, so durability='power' cannot be kept. Turn it on in "
                "postgresql.conf, or leave durability out."
            )

    def make(self, session: Session, dialect: sa.Dialect) -> None:
        """See :meth:`Dialect.make`."""
        from tunesmith.storages._server_tables import creation

        with session.transaction():
            session.query(_LOCK)
            for statement in creation(dialect):
                session.change(statement)
            session.change(_SIGN)

    def append(self, session: Session, values: Mapping[str, Any]) -> int | None:
        """See :meth:`Dialect.append`. One statement, which is one round trip."""
        rows = session.query(_APPEND, values)
        return rows[0][0] if rows else None

    def position_of(self, session: Session, mark: str) -> int | None:
        """See :meth:`Dialect.position_of`."""
        rows = session.query(_POSITION, {"mark": mark})
        return rows[0][0] if rows else None

    def failure(self, error: BaseException, opening: bool) -> Failure:
        """See :meth:`Dialect.failure`."""
        state = getattr(error, "sqlstate", None)
        if state is None:
            if _REFUSED.search(str(error)) or (opening and _UNKNOWN_HOST.search(str(error))):
                return Failure.OTHER
            return Failure.LOST if type(error).__name__ not in ("ProgrammingError", "DataError") else Failure.OTHER
        if state.startswith(_LOST):
            return Failure.LOST
        if state in _AGAIN:
            return Failure.AGAIN
        return {"23505": Failure.TAKEN, "42P01": Failure.MISSING}.get(state, Failure.OTHER)

    def descriptor(self, connection: Any) -> int:
        """See :meth:`Dialect.descriptor`."""
        return connection.fileno()
