"""Places for states: complete or not there, private, and removed when they should be."""

from __future__ import annotations

import errno
import gc
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tunesmith.artifacts import FolderStates, MemoryStates, StateKey, States, states_of
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, StorageInternalError
from tunesmith.storages import BaseStorage, InMemoryStorage, JournalFileBackend, JournalStorage, RDBStorage


def key(step: int = 1, trial: int = 0, study: str = "s") -> StateKey:
    return StateKey(study, trial, 1, step, "w.1")


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> States:
    return MemoryStates() if request.param == "memory" else FolderStates(tmp_path / "here" / "states")


def test_what_is_written_is_there_until_it_is_removed(place: States) -> None:
    place.write(key(1), b"one")
    place.write(key(2), b"two")
    place.write(key(2), b"two again")
    place.write(key(1, trial=7), b"other")
    place.write(key(1, study="t"), b"another study")
    assert (place.read(key(1)), place.read(key(2)), place.read(key(3))) == (b"one", b"two again", None)
    assert sorted(place.trials("s")) == [0, 7]
    place.tidy("s", 0, {key(2).name})
    assert (place.read(key(1)), place.read(key(2))) == (None, b"two again")
    place.tidy("s", 0)
    assert place.trials("s") == [7]
    place.remove("s")
    assert place.trials("s") == []
    assert place.read(key(1, study="t")) == b"another study"
    place.tidy("nobody", 3)
    place.remove("nobody")


def test_files_are_private_and_empty_folders_go(tmp_path: Path) -> None:
    place = FolderStates(tmp_path / "states")
    place.write(key(), b"x")
    (file,) = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    place.tidy("s", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace", "open", "mkdir"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    place = FolderStates(tmp_path)
    place.write(key(), b"before")

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageInternalError, match=r"trial 0 \(5 bytes\).*No space left on device"):
        place.write(key(study="t") if call == "mkdir" else key(), b"after")
    monkeypatch.undo()
    assert place.read(key()) == b"before"
    assert [f.name for f in tmp_path.rglob("*") if f.is_file()] == [key().name]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the content, then the name, then fsync of the folders that are new."""
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), fsync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("name"), replace(a, b)))
    FolderStates(tmp_path / "new").write(key(), b"x")
    assert calls == ["file", "name", "folder", "folder", "folder", "folder"]


def test_others_may_remove_empty_folders_meanwhile(tmp_path: Path) -> None:
    place = FolderStates(tmp_path / "states")
    done = threading.Event()

    def remove() -> None:
        while not done.is_set():
            place.tidy("s", 0)

    other = threading.Thread(target=remove)
    other.start()
    try:
        for step in range(50):
            FolderStates(tmp_path / "states").write(StateKey("s", 1, 1, step, "w"), b"x")
            place.tidy("s", 1)
    finally:
        done.set()
        other.join()


class Server(InMemoryStorage):
    """Others may open it, and it is no file."""

    persistent = True


def test_where(tmp_path: Path) -> None:
    logs: list[tuple[BaseStorage, str]] = [
        (RDBStorage(f"sqlite:///{tmp_path}/a.db"), "a.db.states"),
        (JournalStorage(JournalFileBackend(str(tmp_path / "b.jsonl"))), "b.jsonl.states"),
    ]
    for storage, name in logs:
        found = states_of(storage)
        assert isinstance(found, FolderStates)
        assert found.folder == tmp_path / name
    given = states_of(InMemoryStorage(), tmp_path / "given")
    assert isinstance(given, FolderStates)
    with pytest.raises(InvalidTypeError, match="artifacts"):
        states_of(InMemoryStorage(), 3)  # type: ignore[arg-type]
    assert isinstance(states_of(RDBStorage("sqlite://")), MemoryStates)
    with pytest.raises(InvalidValueError, match=r"artifacts=.FOLDER"):
        states_of(Server())


def test_in_memory_they_are_shared_by_all_handles_and_go_with_the_log() -> None:
    storage = InMemoryStorage()
    states_of(storage).write(key(), b"x")
    assert states_of(storage).read(key()) == b"x"
    assert states_of(InMemoryStorage()).read(key()) is None
    from tunesmith.artifacts import places

    before = len(places._in_memory)
    del storage
    gc.collect()
    assert len(places._in_memory) < before
