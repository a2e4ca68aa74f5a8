"""Logs on a database server: whose tables they are, what is shown of passwords, and connections that get lost."""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from storages.servers import PASSWORD

from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidValueError,
    MissingDependencyError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.storages import RDBStorage, StudyRecord, get_storage
from tunesmith.storages._dialect import Failure, Session
from tunesmith.storages._test_servers import server_for_testing
from tunesmith.storages._urls import parse_url

pytestmark = pytest.mark.slow

NOBODY = "127.0.0.1:1"  # where no server is
KINDS = ["postgresql", "mysql"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def url(server: Callable[[str], str], kind: str, tmp_path: Path) -> str:
    """An empty schema on a server."""
    server(kind)
    return server_for_testing(kind, tmp_path).render_as_string(hide_password=False)


@pytest.fixture
def store(url: str) -> Iterator[RDBStorage]:
    with RDBStorage(url) as opened:
        yield opened


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the package writes to its log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tunesmith")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def execute(url: str, *statements: str) -> list[Any]:
    """Run statements behind the storage's back; the rows of the last one."""
    engine = sa.create_engine(parse_url(url)[1], poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


# tables


def test_tables(store: RDBStorage, url: str) -> None:
    """The documented tables: they are a promise to those who read logs with other tools."""
    study = store.create("dïgits")
    store.append(study, [{"x": 0.1, "s": "ü"}, {"y": None}])
    store.append(study, [])
    store.heartbeat(study, "a1")
    ((number, uuid, name, last, created),) = execute(url, "SELECT id, uuid, name, last, created FROM tunesmith_studies")
    assert (uuid, name, last) == (study, "dïgits", 2)
    assert abs(created / 1e6 - time.time()) < 60
    assert execute(url, "SELECT study, position, events FROM tunesmith_records ORDER BY position") == [
        (number, 1, '[{"x":0.1,"s":"ü"},{"y":null}]'),
        (number, 2, "[]"),
    ]
    ((uuid, worker, beat),) = execute(url, "SELECT study, worker, beat FROM tunesmith_heartbeats")
    assert (uuid, worker) == (study, "a1")
    assert abs(beat / 1e6 - time.time()) < 60
    assert dict(execute(url, "SELECT name, value FROM tunesmith_meta")) == {"format": "tunesmith log", "version": "1"}
    store.delete(study)
    for table in ("studies", "records", "heartbeats"):
        assert execute(url, f"SELECT * FROM tunesmith_{table}") == []


def test_other_tables_are_left_alone(url: str) -> None:
    """A database is often shared."""
    execute(url, "CREATE TABLE studies (name VARCHAR(10))", "INSERT INTO studies VALUES ('theirs')")
    with RDBStorage(url) as store:
        store.create("ours")
    assert execute(url, "SELECT * FROM studies") == [("theirs",)]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [("('format', 'another')", NotALogError, "another"), ("('version', '2')", NewerFormatError, "version 2.*Upgrade")],
)
def test_tables_of_others(url: str, value: str, error: type[Exception], message: str) -> None:
    """Tables of another program, or of a later version, are refused and left as they are."""
    meta = "CREATE TABLE tunesmith_meta (name VARCHAR(32) PRIMARY KEY, value VARCHAR(255))"
    rows = ["('format', 'tunesmith log')", value] if error is NewerFormatError else [value]
    execute(url, meta, f"INSERT INTO tunesmith_meta VALUES {', '.join(rows)}")
    with pytest.raises(error, match=message):
        RDBStorage(url)
    with pytest.raises(sa.exc.DBAPIError):
        execute(url, "SELECT * FROM tunesmith_studies")


def test_tables_half_made(url: str) -> None:
    """MySQL has no transaction around CREATE TABLE: who died in between left some of them."""
    RDBStorage(url).close()
    execute(url, "DELETE FROM tunesmith_meta", "DROP TABLE tunesmith_heartbeats")
    with RDBStorage(url) as store:
        store.heartbeat(store.create("study"), "a1")


def test_many_open_an_empty_database(url: str) -> None:
    """One of them makes the tables, and nobody fails."""
    barrier = threading.Barrier(8)

    def open_store(k: int) -> None:
        barrier.wait()
        with RDBStorage(url) as store:
            store.append(store.create(f"study {k}"), [])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_store, range(8)))
    with RDBStorage(url) as store:
        assert len(store.studies()) == 8


def test_damaged_records(store: RDBStorage, url: str) -> None:
    """A missing position and text that is no JSON list are refused."""
    from tunesmith.exceptions import LogDamagedError

    study = store.create("study")
    for k in range(5):
        store.append(study, [{"k": k}])
    execute(url, "UPDATE tunesmith_records SET events = '{}' WHERE position = 4")
    with pytest.raises(LogDamagedError, match="position 4"):
        store.read(study, 1)
    execute(url, "DELETE FROM tunesmith_records WHERE position = 4")
    with pytest.raises(LogDamagedError, match="missing"):
        store.read(study, 3)
    assert store.read(study, 4) == [[{"k": 4}]]


def test_names(store: RDBStorage) -> None:
    """As long as anybody likes, and told apart by every letter, accent and blank at the end."""
    names = ["x" * 20_000, "x" * 20_000 + "y", "a", "A", "ä", "a ", "ａ", "ß", "ss"]
    assert len({store.create(name) for name in names}) == len(names)
    assert [study.name for study in store.studies()] == names
    for name in names:
        with pytest.raises(DuplicatedStudyError):
            store.create(name)


def test_ids_of_no_study(store: RDBStorage) -> None:
    """A server's comparison may overlook letter case, blanks at the end, or stop at a NUL; an id is not found then."""
    study = store.create("study")
    for other in (study + " ", study.upper(), study + "\0", "%", study[:-1] + "é"):
        with pytest.raises(StudyNotFoundError):
            store.read(other)


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_record_too_large_for_the_server(store: RDBStorage) -> None:
    """MySQL would close the connection, as if it went down, and be asked again and again."""
    study = store.create("study")
    for text in ("x" * (17 << 20), "'" * (9 << 20), "ü" * (9 << 20)):
        with pytest.raises(StorageInternalError, match=r"SET GLOBAL max_allowed_packet"):
            store.append(study, [{"text": text}])
    assert store.append(study, [{"text": "ü'" * (3 << 20)}]) == 1


def test_durability(url: str) -> None:
    """A server that may lose what it acknowledged, as those of the tests, is refused where that matters."""
    with pytest.raises(StorageInternalError, match=r"(fsync|flush_log).*durability"):
        RDBStorage(url, durability="power")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_database_that_cannot_hold_all_text(url: str, tmp_path: Path) -> None:
    name = f"latin_{tmp_path.name.lower()[:30]}"
    execute(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StorageInternalError, match=r"encoding LATIN1.*UTF8"):
        RDBStorage(sa.make_url(url).set(database=name))


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import sys

    monkeypatch.setitem(sys.modules, {"postgresql": "psycopg", "mysql": "pymysql"}[kind], None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'tunesmith\[{kind}\]'"):
        RDBStorage(f"{kind}://{NOBODY}/x")


# passwords


def all_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_passwords_are_not_shown(url: str, kind: str, said: list[str]) -> None:
    """Neither in errors, with all that is chained to them, nor in logs, names and pickles as they are printed."""
    parsed = sa.make_url(url)
    wrong: dict[str, Callable[[], Any]] = {
        "password": lambda: RDBStorage(parsed.set(password=PASSWORD + "!"), patience=0),
        "user": lambda: RDBStorage(parsed.set(username="nobody"), patience=0),
        "database": lambda: RDBStorage(parsed.set(database="nowhere"), patience=0),
        "port": lambda: RDBStorage(parsed.set(port=1), patience=0.3),
        "host": lambda: RDBStorage(parsed.set(host="no-such-host.invalid"), patience=0),
        "kind": lambda: get_storage(f"nothing://u:{PASSWORD}@h/x"),
        "url": lambda: RDBStorage(f"{kind}://u:{PASSWORD}@h:port/x"),
        "no database": lambda: RDBStorage(f"{kind}://u:{PASSWORD}@h"),
        "arguments": lambda: RDBStorage(url, {"no_such_thing": 1, "connect_args": {"password": PASSWORD}}),
        "driver's arguments": lambda: RDBStorage(url, {"connect_args": {"no_such_thing": PASSWORD}}, patience=0),
        "value of one": lambda: RDBStorage(f"{kind}://u:{PASSWORD}@{NOBODY}/x?connect_timeout=soon", patience=0),
        "query": lambda: RDBStorage(f"{kind}://{NOBODY}/x?no_such_thing=1&password={PASSWORD}", patience=0),
    }
    for what, call in wrong.items():
        with pytest.raises((StorageInternalError, InvalidValueError)) as caught:
            call()
        assert PASSWORD not in all_text(caught.value), what
    with RDBStorage(url) as store:
        study = store.create("study")
        pool = store._database._engine.pool  # type: ignore[attr-defined]
        shown = [repr(store), str(store), str(store.url), repr(store.__reduce__()), repr(vars(store)), repr(pool)]
        with pytest.raises(StudyNotFoundError) as missing:
            store.read(study[::-1])
        shown.append(all_text(missing.value))
        execute(url, "DROP TABLE tunesmith_records")
        with pytest.raises(StorageInternalError) as failed:
            store.append(study, [])
        shown.append(all_text(failed.value))
        assert pickle.loads(pickle.dumps(store)).studies() == store.studies()
    assert not [text for text in [*shown, *said] if PASSWORD in text]
    assert "***" in repr(store)


# connections that get lost


class Cut:
    """Errors of the driver as they come when a connection breaks before or after the server did what it was told."""

    def __init__(self, store: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        database: Any = store._database
        self.error = database._error
        self.monkeypatch = monkeypatch
        failure = database._dialect.failure

        def lost(error: BaseException, opening: bool) -> Failure:
            return Failure.LOST if "cut off" in str(error) else failure(error, opening)

        monkeypatch.setattr(database._dialect, "failure", lost)

    def at(self, word: str, before: bool) -> list[str]:
        """Break at the next statement that begins with a word; the statements sent from then on."""
        sent: list[str] = []

        def breaking(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(session: Session, statement: str, values: Any = None) -> Any:
                now = statement.startswith(word) and not any(s.startswith(word) for s in sent)
                sent.append(statement)
                if now and before:
                    raise self.error("cut off")
                result = real(session, statement, values)
                if now:
                    raise self.error("cut off")
                return result

            return call

        for name in ("query", "change"):
            self.monkeypatch.setattr(Session, name, breaking(getattr(Session, name)))
        return sent


@pytest.fixture
def cut(store: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> Cut:
    return Cut(store, monkeypatch)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_append_that_was_cut_off(store: RDBStorage, cut: Cut, kind: str, before: bool) -> None:
    """Committed or not, it is in the log once, and its position is acknowledged."""
    study = store.create("study")
    store.append(study, [{"k": 0}])
    sent = cut.at({"postgresql": "WITH claimed", "mysql": "COMMIT"}[kind], before)
    assert store.append(study, [{"k": 1}]) == 2
    assert len(sent) > 1
    assert store.append(study, [{"k": 2}]) == 3
    assert store.read(study) == [[{"k": 0}], [{"k": 1}], [{"k": 2}]]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_creation_and_deletion_that_were_cut_off(store: RDBStorage, cut: Cut, before: bool) -> None:
    sent = cut.at("INSERT INTO tunesmith_studies", before)
    study = store.create("study")
    assert store.studies() == [StudyRecord(study, "study")]
    assert [word for word in sent if word.startswith("INSERT")] * 2 == [s for s in sent if s.startswith("INSERT")] * 2
    with pytest.raises(DuplicatedStudyError):
        store.create("study")
    sent.clear()
    cut.at("COMMIT", before)
    store.delete(study)
    assert store.studies() == []
    with pytest.raises(StudyNotFoundError):
        store.delete(study)


def test_late_append(store: RDBStorage, kind: str) -> None:
    """A first attempt that is carried out only after the second one is refused by its mark, and takes no position."""
    study = store.create("study")
    database: Any = store._database
    values = {"study": study, "mark": "0" * 32, "text": "[1]"}
    with database._session() as session:
        assert database._dialect.append(session, values) == 1
        with pytest.raises(database._error) as caught:
            database._dialect.append(session, values)
        assert database._dialect.failure(caught.value, False) is Failure.TAKEN
    assert store.append(study, []) == 2


def test_server_that_is_away(kind: str, said: list[str]) -> None:
    """It is waited for as long as the patience lasts, which the log says once."""
    began = time.monotonic()
    with pytest.raises(StorageInternalError, match=r"did not answer for 0.7 s.*patience"):
        RDBStorage(f"{kind}://user:{PASSWORD}@{NOBODY}/x", patience=0.7)
    assert 0.7 <= time.monotonic() - began < 5
    (line,) = said
    assert "does not answer" in line
    assert "0.7 s" in line
    for wrong in (-1, float("nan"), float("inf"), "long"):
        with pytest.raises(InvalidValueError, match="patience"):
            RDBStorage(f"{kind}://{NOBODY}/x", patience=wrong)  # type: ignore[arg-type]


def test_what_waiting_does_not_help_against(url: str) -> None:
    """Wrong passwords and names are told at once."""
    parsed = sa.make_url(url)
    for wrong in (parsed.set(password="x"), parsed.set(database="nowhere"), parsed.set(host="no-such-host.invalid")):
        began = time.monotonic()
        with pytest.raises(StorageInternalError, match=r"failed:"):
            RDBStorage(wrong)
        assert time.monotonic() - began < 20


def test_sessions_ended_by_the_server(store: RDBStorage, url: str, kind: str, said: list[str]) -> None:
    """Connections that lay in the pool when the server went down are replaced without a word."""
    study = store.create("study")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda k: store.append(study, [{"k": k}]), range(30)))
    if kind == "postgresql":
        execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%tunesmith_records%%' "
                "AND pid <> pg_backend_pid()")  # fmt: skip
    else:
        database = sa.make_url(url).database
        for (number,) in execute(url, f"SELECT id FROM information_schema.processlist WHERE db = '{database}' "
                                 "AND id <> connection_id()"):  # fmt: skip
            execute(url, f"KILL {number}")
    assert store.append(study, []) == 31
    assert len(store.read(study)) == 31
    assert said == []


def test_more_threads_than_connections(url: str) -> None:
    with RDBStorage(url, {"pool_size": 1, "max_overflow": 0}, patience=30) as store, ThreadPoolExecutor(8) as pool:
        study = store.create("study")
        assert sorted(pool.map(lambda k: store.append(study, []), range(64))) == list(range(1, 65))
    with RDBStorage(url, {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}) as store:
        with store._database._session(), pytest.raises(StorageInternalError, match="pool_size"):  # type: ignore[attr-defined]
            store.studies()
        assert store.studies() == [StudyRecord(study, "study")]


def test_interrupted_append(store: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in the midst of a call its connection is not used again, nor does it keep a lock."""
    study = store.create("study")
    dialect: Any = store._database._dialect  # type: ignore[attr-defined]

    def interrupted(session: Session, values: Any) -> int:
        session.change("BEGIN")
        session.query("SELECT id FROM tunesmith_studies FOR UPDATE")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(study, [])
    assert store.append(study, []) == 1


def test_child_keeps_no_socket(store: RDBStorage) -> None:
    """Else the server would not notice that a killed parent is gone, and keep the locks of its transaction."""

    def sockets() -> int:
        found = 0
        for name in os.listdir("/proc/self/fd"):
            try:
                found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
            except OSError:
                continue
        return found

    before = sockets()
    with ThreadPoolExecutor(3) as pool:
        study = store.create("study")
        list(pool.map(lambda _: store.append(study, []), range(30)))
        assert sockets() >= before
        opened = len(list(store._database._connections))  # type: ignore[attr-defined]
        parent = sockets()
        child = os.fork()
        if child == 0:
            left = sockets()
            store.append(study, [])
            os._exit(0 if left == parent - opened else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert sockets() == parent
        assert store.append(study, []) == 32
