"""The log in a database when bytes of it are not what they were: the damage is named, and nothing is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tunesmith.exceptions import LogDamagedError
from tunesmith.storages import RDBStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def open_log(path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}")


def execute(path: Path, statement: str) -> None:
    """Run a statement behind the storage's back."""
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_damaged_records(path: Path) -> None:
    """A missing position and text that is no JSON list are refused."""
    store = open_log(path)
    study = store.create("study")
    for k in range(5):
        store.append(study, [{"k": k}])
    for text in ("", "{}", "[", "[],[]"):
        execute(path, f"UPDATE records SET events = '{text}' WHERE position = 4")
        with pytest.raises(LogDamagedError, match="position 4"):
            store.read(study, 1)
        assert store.read(study, 4) == [[{"k": 4}]]
    execute(path, "DELETE FROM records WHERE position = 4")
    with pytest.raises(LogDamagedError, match="missing"):
        store.read(study)
    with pytest.raises(LogDamagedError, match="missing"):
        store.read(study, 3)


@pytest.mark.parametrize("value", ["CAST(x'5b7b226b223a22ff225d' AS TEXT)", "CAST(x'ff' AS TEXT)", "x'ff'"])
def test_bytes_that_are_no_text(path: Path, value: str) -> None:
    """The damaged record is named; nothing is changed, and what does not need that record works."""
    with open_log(path) as store:
        study, other = store.create("study"), store.create("other")
        for k in range(5):
            store.append(study, [{"k": k}])
    execute(path, f"UPDATE records SET events = {value} WHERE position = 4")
    before = path.read_bytes()
    with open_log(path) as store:
        for after in (0, 2, 3):
            with pytest.raises(LogDamagedError, match=r"position 4.*Nothing was changed.*copy") as caught:
                store.read(study, after)
            assert "position 4" in str(caught.value)
            assert "space" not in str(caught.value)
        assert store.read(study, 4) == [[{"k": 4}]]
        assert store.read(other) == []
        assert path.read_bytes() == before
        assert store.append(study, []) == 6


@pytest.mark.parametrize("change", ["events = 5", "events = 1.5", "events = x'5b5d00'"])
def test_values_that_are_no_text(path: Path, change: str) -> None:
    """A column that changed its type is damage, too."""
    with open_log(path) as store:
        study = store.create("study")
        for k in range(3):
            store.append(study, [{"k": k}])
        execute(path, f"UPDATE records SET {change} WHERE position = 2")
        with pytest.raises(LogDamagedError, match="position 2"):
            store.read(study)


@pytest.mark.parametrize("column", ["name", "uuid"])
def test_names_that_are_no_text(path: Path, column: str) -> None:
    with open_log(path) as store:
        store.create("study")
        execute(path, f"UPDATE studies SET {column} = CAST(x'ff' AS TEXT)")
        with pytest.raises(LogDamagedError, match=r"not UTF-8.*Nothing was changed"):
            store.studies()


def test_damaged_format(path: Path) -> None:
    """Also where it is read first."""
    open_log(path).close()
    execute(path, "UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'version'")
    with pytest.raises(LogDamagedError, match="not UTF-8"):
        open_log(path)


def test_damaged_pages(path: Path) -> None:
    with open_log(path) as store:
        study = store.create("study")
        for k in range(200):
            store.append(study, [{"k": k, "text": "x" * 300}])
    content = bytearray(path.read_bytes())
    for page in range(10, len(content) // 4096):
        content[4096 * page : 4096 * page + 8] = b"\xff" * 8
    path.write_bytes(content)
    with open_log(path) as store, pytest.raises(LogDamagedError, match=r"damaged.*malformed"):
        store.read(study)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("records SET events = replace(events, '3', '4') WHERE position = 4", "position 4.*checksum"),
        ("records SET crc = crc + 1 WHERE position = 4", "position 4.*checksum"),
        ("records SET position = 7 - position WHERE position IN (3, 4)", "position 3.*checksum"),
        ("records SET study = 3 - study WHERE position = 4", "position 4.*checksum"),
        ("records SET position = NULL WHERE position = 4", "missing|position None"),
    ],
)
def test_checksums(path: Path, change: str, message: str) -> None:
    """A record that was changed, or is where another one belongs, is refused, although it is a record like any other.

    (SQLite's own constraints are written around: damage does not ask them.)
    """
    with open_log(path) as store:
        one, two = store.create("one"), store.create("two")
        for k in range(5):
            store.append(one, [{"k": k}])
            store.append(two, [{"k": k, "x": "other"}])
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE copy AS SELECT study, position, events, crc FROM records; DROP TABLE records;"
        "ALTER TABLE copy RENAME TO records;"
    )
    connection.close()
    execute(path, f"UPDATE {change}")
    with open_log(path) as store:
        with pytest.raises(LogDamagedError, match=message):
            store.read(one)
        assert store.read(one, 4)[-1:] == [[{"k": 4}]]


def test_checksums_of_studies(path: Path) -> None:
    with open_log(path) as store:
        store.create("study")
        execute(path, "UPDATE studies SET name = 'studx'")
        with pytest.raises(LogDamagedError, match=r"studx.*not what was written"):
            store.studies()


def test_damaged_heartbeats(path: Path) -> None:
    with open_log(path) as store:
        study = store.create("study")
        store.heartbeat(study, "a1")
        execute(path, "UPDATE heartbeats SET beat = 'noon'")
        with pytest.raises(LogDamagedError, match="heartbeat"):
            store.heartbeats(study)
        store.heartbeat(study, "a1")
        assert set(store.heartbeats(study)) == {"a1"}


def test_hidden_records(path: Path) -> None:
    """The last records are missing without a gap: their number, kept with the study, tells."""
    with open_log(path) as store:
        study = store.create("study")
        for k in range(5):
            store.append(study, [{"k": k}])
        execute(path, "DELETE FROM records WHERE position > 3")
        for after in (0, 2, 3, 4):
            with pytest.raises(LogDamagedError, match=r"5 records.*missing"):
                store.read(study, after)
        assert store.read(study, 5) == store.read(study, 9) == []


def test_damaged_schema(path: Path) -> None:
    """Even the message about it is no text."""
    open_log(path).close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE records", b"CREATE TABL\xcc records", 1))
    with pytest.raises(LogDamagedError, match="damaged"):
        open_log(path)
