"""A server's database under a :class:`tunesmith.storages.RDBStorage`: PostgreSQL, MySQL, MariaDB.

A position is taken from the study's row under that row's lock, which is held until the record is committed: there is no
gap, and no position becomes visible before a lower one.

Connections get lost: servers restart, are replaced, or cannot be reached for a while. Every call is made again on a new
connection, for as long as the patience lasts. One that was cut off may have been committed or not; so an append sends a
random mark that must be unique in the table. If the first attempt was committed, or still will be, only one of the two
gets in; the id of a study is the mark of its creation.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from tunesmith import logging
from tunesmith._forks import watch_forks
from tunesmith.exceptions import InvalidValueError, MissingDependencyError, StorageInternalError, TunesmithError
from tunesmith.storages._base import StudyRecord
from tunesmith.storages._common import Durability, duplicated, is_closed, not_found, without_password
from tunesmith.storages._database import LARGEST, Database, Rows
from tunesmith.storages._dialect import Dialect, Failure, Session
from tunesmith.storages._server_format import check_format
from tunesmith.storages._urls import without_passwords

_logger = logging.get_logger("tunesmith.storages")
T = TypeVar("T")

#: Seconds to wait for a server that does not answer, by default.
PATIENCE = 120.0
_LONGEST = 2.0  # seconds between two attempts

_ID = re.compile("[0-9a-f]{32}")

_STUDIES = "SELECT uuid, name FROM tunesmith_studies ORDER BY id"
_CREATE = (
    "INSERT INTO tunesmith_studies (uuid, name, name_key, last, created) "
    "VALUES (%(study)s, %(name)s, %(key)s, 0, {now})"
)
_OWNER = "SELECT uuid FROM tunesmith_studies WHERE name_key = %(key)s"
_LOCK = "SELECT id FROM tunesmith_studies WHERE uuid = %(study)s FOR UPDATE"
_DELETE = (
    "DELETE FROM tunesmith_heartbeats WHERE study = %(study)s",
    "DELETE FROM tunesmith_records WHERE study = %(number)s",
    "DELETE FROM tunesmith_studies WHERE id = %(number)s",
)
# One row with NULLs when there is nothing new, none at all when there is no such study. Rows are sorted here: they come
# sorted anyway, and MySQL, asked for it, copies them into a table on disk.
_READ = (
    "SELECT r.position, r.events FROM tunesmith_studies s LEFT JOIN tunesmith_records r "
    "ON r.study = s.id AND r.position > %(after)s AND r.position <= %(last)s WHERE s.uuid = %(study)s"
)
_BEAT = (
    "INSERT INTO tunesmith_heartbeats (study, worker, beat) "
    "SELECT uuid, %(worker)s, {now} FROM tunesmith_studies WHERE uuid = %(study)s {upsert}"
)
_AGES = (
    "SELECT h.worker, {now} - h.beat FROM tunesmith_studies s LEFT JOIN tunesmith_heartbeats h ON h.study = s.uuid "
    "WHERE s.uuid = %(study)s"
)
_END_BEAT = "DELETE FROM tunesmith_heartbeats WHERE study = %(study)s AND worker = %(worker)s"
_META = "SELECT name, value FROM tunesmith_meta"


class Server(Database):
    """A database of a server, with a pool of connections that threads take one from while they call.

    Args:
        kind: ``"postgresql"`` or ``"mysql"``.
        url: with the driver's name.
        engine_kwargs: for :func:`sqlalchemy.create_engine`.
        durability: what the server must promise.
        patience: seconds to wait for the server.
    """

    def __init__(
        self, kind: str, url: sa.URL, engine_kwargs: Mapping[str, Any], durability: Durability, patience: float | None
    ) -> None:
        self._dialect = _dialect(kind)
        self.place = f"The {self._dialect.name} database {without_password(str(url))!r}"
        self._durability = durability
        self._patience = PATIENCE if patience is None else patience
        self._closed = False
        self._opened = False
        self._away = False  # whether the log says so
        self._telling = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._engine = self._made_engine(url, dict(engine_kwargs))
        self._error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        sa.event.listen(self._engine, "connect", self._connected)
        watch_forks(self)
        try:
            self._persist(self._open)
            self._opened = True
        except (TypeError, ValueError) as error:
            if isinstance(error, TunesmithError):
                raise
            raise InvalidValueError(
                f"{self._dialect.package} refused what stands in the URL, {without_password(str(url))!r}, or in "
                f"engine_kwargs={without_passwords(engine_kwargs)}: {error}"
            ) from error
        finally:
            if not self._opened:
                self._engine.dispose()

    def studies(self) -> list[StudyRecord]:
        """See :class:`Database`."""
        rows = self._persist(lambda session: session.query(_STUDIES))
        return [StudyRecord(study, name) for study, name in rows]

    def create(self, study: str, name: str) -> None:
        """See :class:`Database`."""
        key = hashlib.sha256(name.encode()).hexdigest()
        statement, values = _CREATE.format(now=self._dialect.now), {"study": study, "name": name, "key": key}

        def attempt(session: Session) -> bool:
            while True:
                try:
                    session.change(statement, values)
                    return True
                except self._error as error:
                    if self._dialect.failure(error, opening=False) is not Failure.TAKEN:
                        raise
                owner = session.query(_OWNER, values)
                if owner:  # else it was deleted in this moment
                    return owner[0][0] == study

        if not self._persist(attempt):
            raise duplicated(name)

    def delete(self, study: str) -> None:
        """See :class:`Database`."""
        seen = False

        def attempt(session: Session) -> None:
            nonlocal seen
            with session.transaction():
                rows = session.query(_LOCK, {"study": _known(study)})
                if rows:
                    seen = True
                    for statement in _DELETE:
                        session.change(statement, {"study": study, "number": rows[0][0]})
                elif not seen:  # else an attempt that was cut off succeeded
                    raise not_found(study)

        self._persist(attempt)

    def read(self, study: str, after: int, last: int) -> Rows:
        """See :class:`Database`."""
        values = {"study": _known(study), "after": min(after, LARGEST), "last": last}
        rows = self._persist(lambda session: session.query(_READ, values))
        if not rows:
            raise not_found(study)
        if rows[0][0] is None:
            return []
        rows.sort(key=itemgetter(0))
        return rows

    def append(self, study: str, text: str) -> int:
        """See :class:`Database`."""
        self._dialect.check_size(text, self.place)
        values = {"study": _known(study), "mark": _mark(), "text": text}

        def attempt(session: Session) -> int | None:
            try:
                return self._dialect.append(session, values)
            except self._error as error:
                if self._dialect.failure(error, opening=False) is Failure.TAKEN:
                    position = self._dialect.position_of(session, values["mark"])
                    if position is not None:  # an attempt that was cut off succeeded
                        return position
                raise

        position = self._persist(attempt)
        if position is None:
            raise not_found(study)
        return position

    def beat(self, study: str, worker: str) -> None:
        """See :class:`Database`."""
        statement = _BEAT.format(now=self._dialect.now, upsert=self._dialect.upsert)
        values = {"study": _known(study), "worker": worker}
        if not self._persist(lambda session: session.change(statement, values)[0]):
            raise not_found(study)

    def ages(self, study: str) -> dict[str, float]:
        """See :class:`Database`."""
        statement = _AGES.format(now=self._dialect.now)
        rows = self._persist(lambda session: session.query(statement, {"study": _known(study)}))
        if not rows:
            raise not_found(study)
        return {worker: max(0.0, float(age) / 1e6) for worker, age in rows if worker is not None}

    def end_beat(self, study: str, worker: str) -> None:
        """See :class:`Database`."""
        if _ID.fullmatch(study):
            self._persist(lambda session: session.change(_END_BEAT, {"study": study, "worker": worker}))

    def close(self) -> None:
        """See :class:`Database`."""
        self._closed = True
        self._engine.dispose()

    def _made_engine(self, url: sa.URL, given: dict[str, Any]) -> sa.Engine:
        """An engine for autocommit without a round trip when a connection goes back to the pool."""
        options = self._dialect.engine_options(self._patience)
        connect_args = options.pop("connect_args") | given.pop("connect_args", {})
        if "poolclass" not in given:
            options |= {"pool_timeout": max(self._patience, 1.0)}
        options |= given
        try:
            return sa.create_engine(
                url,
                **options
                | {"connect_args": connect_args, "isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None},
            )
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"{self._dialect.name} needs the package {self._dialect.package}, which is not installed: pip install "
                f"'tunesmith[{self._dialect.extra}]'."
            ) from error
        except (TypeError, ValueError, ArgumentError) as error:
            shown = without_passwords(given | {"connect_args": connect_args})
            raise InvalidValueError(
                f"SQLAlchemy refused what stands in the URL, {without_password(str(url))!r}, or in "
                f"engine_kwargs={shown}: {error}"
            ) from error

    def _open(self, session: Session) -> None:
        """Check whose tables these are, or make them."""
        meta = self._meta(session)
        if not meta:
            self._dialect.make(session, self._engine.dialect)
            meta = self._meta(session)
        check_format(meta, self.place)

    def _meta(self, session: Session) -> dict[str, str]:
        try:
            return dict(session.query(_META))
        except self._error as error:
            if self._dialect.failure(error, opening=True) is Failure.MISSING:
                return {}
            raise

    def _connected(self, connection: Any, _: Any) -> None:
        """Called for each new connection."""
        self._connections.add(connection)
        self._dialect.begin(Session(connection), self._durability, self.place)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A connection of the pool, which is thrown away where nobody knows what state it is in."""
        if self._closed:
            raise is_closed(self.place)
        pool = self._engine.pool
        connection = self._engine.raw_connection()
        session = Session(connection)
        try:
            yield session
        except BaseException as error:
            lost = isinstance(error, self._error) and self._dialect.failure(error, opening=False) is Failure.LOST
            if lost or session.broken or not isinstance(error, (TunesmithError, self._error)):  # such as Ctrl-C
                connection.invalidate()
            if lost and pool is self._engine.pool:  # the others in it are no better
                self._engine.dispose()
            raise
        finally:
            connection.close()

    def _persist(self, action: Callable[[Session], T]) -> T:
        """Do something on a connection, again and again while it gets lost."""
        began, attempts = time.monotonic(), 0
        while True:
            try:
                with self._session() as session:
                    result = action(session)
            except NoConnectionFree as error:
                raise StorageInternalError(
                    f"{self.place}: all connections of the pool were in use for {self._patience:g} s. Give it more: "
                    "engine_kwargs={'pool_size': 20}."
                ) from error
            except self._error as error:
                failure = self._dialect.failure(error, opening=not self._opened)
                if failure not in (Failure.LOST, Failure.AGAIN):
                    raise StorageInternalError(
                        f"{self.place} failed: {_first_line(error)}. {self._dialect.remedy(error)}; what was "
                        "acknowledged is intact."
                    ) from error
                left = began + self._patience - time.monotonic()
                if left <= 0:
                    raise StorageInternalError(
                        f"{self.place} did not answer for {self._patience:g} s: {_first_line(error)}. Check that the "
                        "server runs and can be reached, or raise patience=. What was acknowledged is intact; whether "
                        "this call had its effect is not known."
                    ) from error
                if attempts and failure is Failure.LOST:
                    self._tell_away(error)
                if attempts:  # the first time only an old connection may have been lost
                    longest = min(_LONGEST, 0.05 * 2 ** min(attempts, 10))
                    time.sleep(min(left, random.uniform(0.5, 1.0) * longest))
                attempts += 1
            else:
                if self._away:
                    self._tell_back()
                return result

    def _tell_away(self, error: BaseException) -> None:
        with self._telling:
            tell, self._away = not self._away, True
        if tell:
            _logger.warning(
                "%s does not answer (%s); trying again for %g s.", self.place, _first_line(error), self._patience
            )

    def _tell_back(self) -> None:
        with self._telling:
            tell, self._away = self._away, False
        if tell:
            _logger.warning("%s answers again.", self.place)

    def _after_fork(self) -> None:
        """The parent's connections are its own; a copy of a socket that stays open here would keep the locks of a
        transaction when the parent is killed.
        """
        self._telling = threading.Lock()
        for connection in list(self._connections):
            with suppress(Exception):
                os.close(self._dialect.descriptor(connection))
            _orphans.append(connection)
        self._connections = weakref.WeakSet()
        self._engine.dispose(close=False)

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.dispose()


def _dialect(kind: str) -> Dialect:
    """Only the one that is needed is imported."""
    if kind == "postgresql":
        from tunesmith.storages._postgresql import PostgreSQL

        return PostgreSQL()
    from tunesmith.storages._mysql import MySQL

    return MySQL()


# Connections inherited through fork, whose sockets are closed: their drivers must not close them again.
_orphans: list[Any] = []


def _known(study: str) -> str:
    """The study's id; one that no study can have is not sent to the server, whose comparisons may be lenient."""
    if not isinstance(study, str) or not _ID.fullmatch(study):
        raise not_found(study)
    return study


def _mark() -> str:
    """128 bits, of which the upper 48 are the time in milliseconds, so that an index of them grows at its end."""
    return f"{time.time_ns() // 1_000_000 & (1 << 48) - 1:012x}{random.SystemRandom().getrandbits(80):020x}"


def _first_line(error: BaseException) -> str:
    """What a driver says, in short, without a password."""
    words = str(error.args[1] if len(error.args) > 1 else error).strip().splitlines()
    return without_password(words[0]) if words else type(error).__name__
