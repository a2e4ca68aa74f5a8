"""MySQL and MariaDB, with the driver PyMySQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tunesmith.exceptions import StorageInternalError
from tunesmith.storages._common import Durability
from tunesmith.storages._dialect import Dialect, Failure, Session
from tunesmith.storages._server_format import SIGNATURE

# READ COMMITTED is enough: the UPDATE waits for the row's lock and goes on from the row as it is committed, and the
# lock is held until this record is committed itself. So positions become visible in their order.
_CLAIM = "UPDATE tunesmith_studies SET last = LAST_INSERT_ID(last + 1) WHERE uuid = %(study)s"
_INSERT = (
    "INSERT INTO tunesmith_records (study, position, mark, events) "
    "SELECT id, last, UNHEX(%(mark)s), %(text)s FROM tunesmith_studies WHERE uuid = %(study)s"
)
_POSITION = "SELECT position FROM tunesmith_records WHERE mark = UNHEX(%(mark)s)"
_SIGN = f"INSERT IGNORE {SIGNATURE}"
_LOCK = "SELECT GET_LOCK(CONCAT('tunesmith ', LEFT(SHA1(DATABASE()), 40)), 60)"
_UNLOCK = "SELECT RELEASE_LOCK(CONCAT('tunesmith ', LEFT(SHA1(DATABASE()), 40)))"

#: Codes after which the connection is of no use or the server is on its way down or up; also a server that is read-only
#: since it lost its role in a failover, and one that has no connection to spare.
_LOST = frozenset({
    0, 1040, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1290, 1317, 1792, 1836, 1927, 2002, 2003, 2006, 2013, 2055,
    4031,
})  # fmt: skip
_AGAIN = frozenset({1020, 1205, 1213, 3572})
_MEANINGS = {1062: Failure.TAKEN, 1146: Failure.MISSING}
_TOO_LARGE = 1153
_FRAME = 1024  # bytes of a statement beside the text


class MySQL(Dialect):
    """See :class:`Dialect`."""

    name = "MySQL"
    package = "pymysql"
    extra = "mysql"
    now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    upsert = f"ON DUPLICATE KEY UPDATE beat = {now}"

    def __init__(self) -> None:
        self._largest = 0  # bytes that the server takes at once

    def engine_options(self, patience: float) -> dict[str, Any]:
        """A machine that vanished is noticed after two minutes; longer than InnoDB waits for a lock (50 s)."""
        return {
            "connect_args": {"charset": "utf8mb4", "connect_timeout": 10, "read_timeout": 120, "write_timeout": 120},
        }

    def begin(self, session: Session, durability: Durability, place: str) -> None:
        """See :meth:`Dialect.begin`."""
        session.change("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        ((self._largest, flush),) = session.query("SELECT @@max_allowed_packet, @@innodb_flush_log_at_trx_commit")
        if durability == "power" and int(flush) != 1:
            raise StorageInternalError(
                f"{place} is on a server with innodb_flush_log_at_trx_commit = {flush}, so durability='power' cannot "
                "be kept. Set it to 1, or leave durability out."
            )

    def make(self, session: Session, dialect: sa.Dialect) -> None:
        """See :meth:`Dialect.make`. No transaction: MySQL commits after each CREATE TABLE."""
        from tunesmith.storages._server_tables import creation

        ((granted,),) = session.query(_LOCK)
        try:
            for statement in creation(dialect):
                session.change(statement)
            session.change(_SIGN)
        finally:
            if granted:
                session.query(_UNLOCK)

    def append(self, session: Session, values: Mapping[str, Any]) -> int | None:
        """See :meth:`Dialect.append`."""
        with session.transaction():
            found, position = session.change(_CLAIM, values)
            if found:
                session.change(_INSERT, values)
            return position if found else None

    def position_of(self, session: Session, mark: str) -> int | None:
        """See :meth:`Dialect.position_of`."""
        rows = session.query(_POSITION, {"mark": mark})
        return rows[0][0] if rows else None

    def failure(self, error: BaseException, opening: bool) -> Failure:
        """See :meth:`Dialect.failure`."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if opening and code == 2003 and "gaierror" in repr(getattr(error, "original_exception", None)):
            return Failure.OTHER  # no such host
        if code in _LOST:
            return Failure.LOST
        return Failure.AGAIN if code in _AGAIN else _MEANINGS.get(code, Failure.OTHER)

    def descriptor(self, connection: Any) -> int:
        """See :meth:`Dialect.descriptor`. The socket's object gives it up, or would close it again."""
        return connection._sock.detach()

    def remedy(self, error: BaseException) -> str:
        """See :meth:`Dialect.remedy`."""
        if error.args and error.args[0] == _TOO_LARGE:
            return "Raise max_allowed_packet on the server"
        return super().remedy(error)

    def check_size(self, text: str, place: str) -> None:
        """See :meth:`Dialect.check_size`. The server would close the connection, as if it went down."""
        if 2 * 4 * len(text) + _FRAME <= self._largest:  # four bytes a character, each escaped
            return
        size = len(text.encode()) + sum(map(text.count, "\\'\"\n\r\x1a")) + _FRAME
        if size > self._largest:
            raise StorageInternalError(
                f"A record of {size} bytes is more than {place} takes at once ({self._largest}). Raise "
                "max_allowed_packet on the server (SET GLOBAL max_allowed_packet = 1073741824) and open the storage "
                "again; what was acknowledged is intact."
            )
