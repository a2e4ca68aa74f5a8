"""The log in a database: foreign and damaged ones, locks, full disks, durability, processes that start at once."""

from __future__ import annotations

import os
import pickle
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.storages import RDBStorage, StudyRecord


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def open_log(path: Path, timeout: float | None = None, **options: Any) -> RDBStorage:
    kwargs: dict[str, Any] = {} if timeout is None else {"engine_kwargs": {"connect_args": {"timeout": timeout}}}
    return RDBStorage(f"sqlite:///{path}", **kwargs, **options)


def execute(path: Path, *statements: str) -> list[Any]:
    """Run statements behind the storage's back; the rows of the last one."""
    connection = sqlite3.connect(path)
    rows: list[Any] = []
    for statement in statements:
        rows = connection.execute(statement).fetchall()
    connection.commit()
    connection.close()
    return rows


def test_tables(path: Path) -> None:
    """The documented tables: they are a promise to those who read logs with other tools."""
    with open_log(path) as store:
        study = store.create("dïgits")
        store.append(study, [{"x": 0.1, "s": "ü"}, {"y": None}])
        store.append(study, [])
    assert execute(path, "SELECT study, position, events FROM records ORDER BY position") == [
        (1, 1, '[{"x":0.1,"s":"ü"},{"y":null}]'),
        (1, 2, "[]"),
    ]
    ((number, uuid, name, created),) = execute(path, "SELECT id, uuid, name, created FROM studies")
    assert (number, uuid, name) == (1, study, "dïgits")
    assert 1.7e15 < created < 1e16  # microseconds, between 2023 and 2286
    assert dict(execute(path, "SELECT key, value FROM meta")) == {"format": "tunesmith log", "version": "2"}


def test_numbers_are_not_given_out_again(path: Path) -> None:
    """The rows of a new study cannot be taken for those of one that was deleted."""
    with open_log(path) as store:
        for _ in range(3):
            study = store.create("study")
            store.append(study, [])
            store.delete(study)
        store.create("study")
    assert execute(path, "SELECT id FROM studies") == [(4,)]
    assert execute(path, "SELECT * FROM records") == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"])
def test_in_memory(url: str) -> None:
    """A database in memory belongs to one handle, and to all its threads."""
    store, other = RDBStorage(url), RDBStorage(url)
    study = store.create("study")
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(lambda k: store.append(study, [{"k": k}]), range(30))) == list(range(1, 31))
    assert len(store.read(study)) == 30
    assert other.studies() == []
    with pytest.raises(InvalidTypeError, match="in memory"):
        pickle.dumps(store)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://user@host/studies",
        "mysql+mysqldb://host/studies",
        "postgresql://host",
        "mysql://host/",
        "oracle://host/studies",
        "sqlite+aiosqlite:///log.db",
        "sqlite://log.db",
        "sqlite:///file:log.db?uri=true",
        "log.db",
        "",
        "sqlite:log.db",
    ],
)
def test_urls_that_are_not_supported(url: str) -> None:
    """The error says which URLs are."""
    with pytest.raises(InvalidValueError, match=r"sqlite:///relative\.db"):
        RDBStorage(url)


def test_arguments(path: Path) -> None:
    with pytest.raises(InvalidTypeError, match="None"):
        RDBStorage(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="'always'"):
        open_log(path, durability="always")
    with pytest.raises(InvalidValueError, match="no_such_option"):
        open_log(path, engine_kwargs={"no_such_option": 1})
    with pytest.raises(InvalidValueError, match=r"no folder.*mkdir"):
        open_log(path.parent / "missing" / "log.db")
    path.mkdir()
    with pytest.raises(NotALogError, match="regular"):
        open_log(path)


def test_engine_kwargs(path: Path) -> None:
    """What Optuna scripts pass goes to SQLAlchemy."""
    with open_log(path, engine_kwargs={"pool_size": 20, "max_overflow": 0, "connect_args": {"timeout": 3}}) as store:
        assert store.append(store.create("study"), []) == 1
        assert store._database._timeout == 3
    with open_log(path) as store:
        assert store._database._timeout == 60
    with open_log(path, patience=7) as store:
        assert store._database._timeout == 7


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability(path: Path, durability: str, level: int) -> None:
    """WAL, with synchronous NORMAL or FULL; also when the other mode made the file."""
    open_log(path, durability="process" if durability == "power" else "power").close()
    with open_log(path, durability=durability) as store:
        assert store._database._raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._database._raw.execute("PRAGMA synchronous").fetchone() == (level,)


def test_permissions(path: Path) -> None:
    """The database and SQLite's files beside it are their owner's alone, whatever the umask allows; until the owner
    shares them, which later handles do not undo.
    """

    def modes() -> dict[str, int]:
        with open_log(path) as store:
            store.append(store.create(str(time.time_ns())), [])
            return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    mask = os.umask(0)
    try:
        assert modes() == {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600}
        path.chmod(0o660)
        assert modes() == {"log.db": 0o660, "log.db-wal": 0o660, "log.db-shm": 0o660}
    finally:
        os.umask(mask)


@pytest.mark.parametrize("content", [b"number,value\n1,2\n", b"\n", b"\0" * 100, b"x" * 5000, b"SQLite format 3", b"S"])
def test_not_a_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(NotALogError, match=r"log\.db") as caught:
        open_log(path)
    assert isinstance(caught.value, ValueError)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["log.db"]


@pytest.mark.parametrize(
    ("statements", "error", "message"),
    [
        (["CREATE TABLE trials (x)", "CREATE TABLE studies (y)"], NotALogError, "studies, trials"),
        (["CREATE TABLE meta (x, y, z)"], NotALogError, "meta"),
        (["CREATE TABLE meta (key, value)"], NotALogError, "meta"),
        (["CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('format', 'other')"], NotALogError, "meta"),
        (["CREATE TABLE a (x)", "CREATE VIEW meta AS SELECT 'format' key, 'x' value"], NotALogError, "tables a"),
        (
            ["CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('format', 'tunesmith log'), ('version', '3')"],
            NewerFormatError,
            "version 3.*Upgrade",
        ),
    ],
)
def test_databases_of_others(path: Path, statements: list[str], error: type[Exception], message: str) -> None:
    """A database that is not ours, or of a later version, is refused and left alone."""
    execute(path, *statements)
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        open_log(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["log.db"]


def test_database_of_optuna(path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    before = path.read_bytes()
    with pytest.raises(NotALogError, match="trial_params"):
        open_log(path)
    assert path.read_bytes() == before


def test_locked(path: Path) -> None:
    """Who waits in vain for another's lock is told so, has appended nothing, and may go on later."""
    store = open_log(path, timeout=0.1)
    study = store.create("study")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for call in (lambda: store.append(study, [{"k": 1}]), lambda: store.create("other"), lambda: store.delete(study)):
        with pytest.raises(StorageInternalError, match=r"locked.*timeout"):
            call()
    assert store.read(study) == []
    assert open_log(path, timeout=0.1).studies() == [StudyRecord(study, "study")]
    holder.execute("ROLLBACK")
    holder.close()
    assert store.append(study, [{"k": 1}]) == 1


def test_locked_while_empty(path: Path) -> None:
    """The same for a database that another process is making."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageInternalError, match="locked"):
        open_log(path, timeout=0.1)
    holder.execute("ROLLBACK")
    holder.close()
    with open_log(path, timeout=0.1) as store:
        assert store.studies() == []


def test_failing_statements_leave_no_transaction(path: Path) -> None:
    """A deletion that fails half-way is undone, and does not swallow what comes later."""
    store = open_log(path)
    study = store.create("study")
    store.append(study, [{"k": 1}])
    execute(path, "CREATE TRIGGER no BEFORE DELETE ON studies BEGIN SELECT raise(FAIL, 'not this one'); END")
    with pytest.raises(StorageInternalError, match="not this one"):
        store.delete(study)
    assert store.read(study) == [[{"k": 1}]]
    execute(path, "DROP TRIGGER no")
    assert store.append(study, [{"k": 2}]) == 2
    with pytest.raises(DuplicatedStudyError):
        store.create("study")
    with pytest.raises(StudyNotFoundError):
        store.delete("missing")
    assert open_log(path).read(study) == [[{"k": 1}], [{"k": 2}]]


@pytest.mark.parametrize("kind", ["pages", "bytes"])
def test_full_disk(path: Path, kind: str) -> None:
    """An append that does not fit leaves nothing behind; smaller ones and later ones go on."""
    store = open_log(path)
    study = store.create("study")
    store.append(study, [{"k": 1}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if kind == "pages":
            store._database._raw.execute("PRAGMA max_page_count = 20")
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("log.db-wal").stat().st_size + 50_000, hard))
        with pytest.raises(StorageInternalError, match="Free some space"):
            store.append(study, [{"text": "x" * 200_000}])
        assert store.append(study, [{"k": 2}]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store._database._raw.execute("PRAGMA max_page_count = 100000")
    assert store.append(study, [{"text": "x" * 200_000}]) == 3
    expected = [[{"k": 1}], [{"k": 2}], [{"text": "x" * 200_000}]]
    assert store.read(study) == open_log(path).read(study) == expected


def test_file_removed_or_replaced(path: Path) -> None:
    """SQLite would write into the void; the handle says what happened instead, and works when the file is back."""
    store = open_log(path)
    study = store.create("study")
    aside = path.with_suffix(".aside")
    calls = [store.studies, lambda: store.read(study), lambda: store.append(study, []), lambda: store.create("other")]
    os.rename(path, aside)
    for call in calls:
        with pytest.raises(StorageInternalError, match="removed or replaced"):
            call()
    path.touch()
    for call in calls:
        with pytest.raises(StorageInternalError, match="removed or replaced"):
            call()
    os.replace(aside, path)
    assert store.append(study, [{"k": 1}]) == 1


def test_four_processes_on_an_empty_database(path: Path) -> None:
    """All four open it at the same moment, one makes the tables, nobody fails; many times over, since it is a race."""
    code = """
import os, sys, time
start, path, *sys.path[:] = sys.argv[1:]
from tunesmith.storages import RDBStorage
for k in range(40):
    time.sleep(max(0, float(start) + 0.03 * k - time.time()))
    with RDBStorage(f"sqlite:///{path}{k}") as store:
        print(k, store.append(store.create(str(os.getpid())), []))
"""
    start = str(time.time() + 1)
    processes = [
        subprocess.Popen([sys.executable, "-c", code, start, str(path), *sys.path], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert output.decode().split() == [word for k in range(40) for word in (str(k), "1")]
    for k in range(40):
        with RDBStorage(f"sqlite:///{path}{k}") as store:
            assert len(store.studies()) == 4


def test_child_connects_anew(path: Path) -> None:
    """SQLite forbids the use of a connection that was inherited through fork."""
    store = open_log(path)
    study, inherited = store.create("study"), store._database._raw
    child = os.fork()
    if child == 0:
        store.append(study, [{"who": "child"}])
        os._exit(0 if store._database._raw is not inherited else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store._database._raw is inherited
    assert store.append(study, [{"who": "parent"}]) == 2


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is meant as it was when the log was opened, also by a pickled handle."""
    monkeypatch.chdir(tmp_path)
    store = RDBStorage("sqlite:///log.db")
    study = store.create("study")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.append(study, [{"k": 1}]) == 1
    with pickle.loads(pickle.dumps(store)) as copy:
        assert copy.read(study) == [[{"k": 1}]]
    assert os.listdir(tmp_path / "elsewhere") == []


def test_no_descriptor_is_left(path: Path) -> None:
    """Neither a refused file, nor a closed handle, nor one that is dropped keeps a descriptor."""
    before = len(os.listdir("/dev/fd"))
    for k in range(3):
        open_log(path).close()
        open_log(path).create(f"dropped {k}")
    path.with_suffix(".csv").write_bytes(b"1,2\n")
    for _ in range(3):
        with pytest.raises(NotALogError):
            open_log(path.with_suffix(".csv"))
    assert len(os.listdir("/dev/fd")) == before


def test_folder_with_odd_characters(tmp_path: Path) -> None:
    """Blanks, percent signs, and what else means something in a URL."""
    folder = tmp_path / "a b%20ü#?x=1"
    folder.mkdir()
    with RDBStorage.for_testing(folder) as store, pickle.loads(pickle.dumps(store)) as copy:
        study = store.create("study")
        assert copy.studies() == [StudyRecord(study, "study")]
    assert (folder / "log.db").exists()


def test_options_of_optuna(path: Path) -> None:
    """A script that gives them runs, and is told what becomes of them."""
    url = f"sqlite:///{path}"
    with pytest.warns(
        UserWarning, match="needs no `heartbeat_interval`, `grace_period`: every worker sends heartbeats"
    ):
        RDBStorage(url, heartbeat_interval=60, grace_period=120).close()
    with pytest.warns(UserWarning, match="needs no `skip_compatibility_check`, `skip_table_creation`: the format is"):
        RDBStorage(url, None, True, skip_table_creation=True).close()
    for name in ("failed_trial_callback", "heartbeat_stale_trial_callback"):
        with RDBStorage(url, **{name: print}) as store, pickle.loads(pickle.dumps(store)) as copy:  # type: ignore[arg-type]
            assert store.stale_trial_callback is copy.stale_trial_callback is print
        with pytest.raises(InvalidTypeError, match="must be callable: 3"):
            RDBStorage(url, **{name: 3})  # type: ignore[arg-type]
