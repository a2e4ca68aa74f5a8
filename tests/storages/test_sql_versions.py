"""Databases of version 1 of the format, without heartbeats and checksums: they are migrated when they are opened."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tunesmith.exceptions import StorageInternalError, StudyNotFoundError
from tunesmith.storages import RDBStorage, StudyRecord

STUDY = "0123456789abcdef" * 2
VERSION_1 = f"""
CREATE TABLE studies (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL, name TEXT NOT NULL, created BIGINT NOT NULL,
    UNIQUE (uuid), UNIQUE (name)
);
CREATE TABLE records (
    study INTEGER NOT NULL, position INTEGER NOT NULL, events TEXT NOT NULL, PRIMARY KEY (study, position),
    FOREIGN KEY(study) REFERENCES studies (id)
);
CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
INSERT INTO meta VALUES ('format', 'tunesmith log'), ('version', '1');
INSERT INTO studies VALUES (3, '{STUDY}', 'old', 1700000000000000);
INSERT INTO records VALUES (3, 1, '[{{"k":1}}]'), (3, 2, '[]');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode = WAL;" + VERSION_1)
    connection.close()
    return path


def contents(path: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def read_only(path: Path) -> dict[str, Any]:
    """Arguments that let SQLite read the file, and not write to it."""
    uri = f"file:{path}?mode=ro"
    return {"creator": lambda: sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)}


def test_migration(path: Path) -> None:
    """Nothing that was there changes, and what is new works; a second opening finds nothing to do."""
    for position in (3, 4):
        with RDBStorage(f"sqlite:///{path}") as store:
            assert store.studies()[0] == StudyRecord(STUDY, "old")
            assert store.read(STUDY)[:2] == [[{"k": 1}], []]
            store.heartbeat(STUDY, "a1")
            assert set(store.heartbeats(STUDY)) == {"a1"}
            assert store.append(STUDY, [{"k": position}]) == position
            assert store.create(f"new {position}") != STUDY
    after = contents(path)
    assert [line for line in after if "'old'" in line or "(3,1," in line] == [
        """INSERT INTO "records" VALUES(3,1,'[{"k":1}]',NULL);""",
        f"""INSERT INTO "studies" VALUES(3,'{STUDY}','old',1700000000000000,NULL,4);""",
    ]
    assert """INSERT INTO "meta" VALUES('version','2');""" in after


def test_migration_that_fails(path: Path) -> None:
    """Both steps or none; the next one who opens the file tries again."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER no BEFORE UPDATE ON meta BEGIN SELECT raise(FAIL, 'not this one'); END")
    before = contents(path)
    with pytest.raises(StorageInternalError, match="not this one"):
        RDBStorage(f"sqlite:///{path}")
    assert contents(path) == before
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER no")
    connection.close()
    with RDBStorage(f"sqlite:///{path}") as store:
        assert store.heartbeats(STUDY) == {}


def test_migration_by_many(path: Path) -> None:
    """Those who open it at the same moment do not disturb each other."""

    def open_store(k: int) -> None:
        with RDBStorage(f"sqlite:///{path}") as store:
            store.heartbeat(STUDY, f"a{k}")
            store.append(STUDY, [])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_store, range(6)))
    with RDBStorage(f"sqlite:///{path}") as store:
        assert set(store.heartbeats(STUDY)) == {f"a{k}" for k in range(6)}
        assert len(store.read(STUDY)) == 8


def test_migration_beside_an_older_process(path: Path) -> None:
    """Who has the file open since before goes on reading and appending."""
    older = sqlite3.connect(path, isolation_level=None)
    assert older.execute("SELECT max(position) FROM records").fetchone() == (2,)
    with RDBStorage(f"sqlite:///{path}") as store:
        older.execute("INSERT INTO records (study, position, events) VALUES (3, 3, '[{}]')")
        assert store.append(STUDY, []) == 4
        assert older.execute("SELECT max(position) FROM records").fetchone() == (4,)
        assert store.read(STUDY) == [[{"k": 1}], [], [{}], []]
    older.close()


def test_file_that_may_only_be_read(path: Path) -> None:
    """It opens as it is; what would have to be written is refused."""
    before = contents(path)
    with RDBStorage(f"sqlite:///{path}", read_only(path)) as store:
        assert store.studies() == [StudyRecord(STUDY, "old")]
        assert store.read(STUDY) == [[{"k": 1}], []]
        assert store.heartbeats(STUDY) == {}
        with pytest.raises(StudyNotFoundError):
            store.heartbeats("0" * 32)
        for call in (lambda: store.append(STUDY, []), lambda: store.create("new"), lambda: store.delete(STUDY)):
            with pytest.raises(StorageInternalError, match="permissions"):
                call()
    assert contents(path) == before
