"""The log in a file when the disk fails, the file is another one, or somebody else holds the lock."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.storages import JournalFileBackend, JournalStorage
from tunesmith.storages._logfile import HEADER, seal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def open_log(path: Path, **options: Any) -> JournalStorage:
    return JournalStorage(JournalFileBackend(path, **options))


def failing_write(error: int, accepted: int) -> Callable[[int, bytes], int]:
    """An ``os.write`` that takes some bytes and then fails."""
    write, left = os.write, [accepted]

    def fail(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(error, os.strerror(error))
        done = write(fd, data[: left[0]])
        left[0] -= done
        return done

    return fail


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("accepted", [0, 1, 20])
@pytest.mark.parametrize("job", ["append", "create", "delete"])
def test_failing_disk(path: Path, monkeypatch: pytest.MonkeyPatch, error: int, accepted: int, job: str) -> None:
    """A write that fails, at once or half-way, changes nothing; the handle goes on when the disk does."""
    store, other = open_log(path), open_log(path)
    study = store.create("study")
    store.append(study, [{"k": 1}])
    before = path.read_bytes()
    calls = {"append": lambda: store.append(study, [{"k": 2}]), "create": lambda: store.create("new")}
    call: Callable[[], Any] = calls.get(job, lambda: store.delete(study))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing_write(error, accepted))
        with pytest.raises(StorageInternalError, match=os.strerror(error)):
            call()
        assert store.read(study) == [[{"k": 1}]]
        with pytest.raises(StorageInternalError):
            call()
    assert path.read_bytes() == before
    assert store.append(study, [{"k": 2}]) == 2
    assert other.read(study) == store.read(study) == [[{"k": 1}], [{"k": 2}]]


def test_short_writes_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may accept fewer bytes than it was given without any failure."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    with open_log(path) as store:
        study = store.create("study")
        assert store.append(study, [{"text": "x" * 100}]) == 1
        assert open_log(path).read(study) == [[{"text": "x" * 100}]]


def test_failing_fsync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In durability="power" a record that cannot be synced is taken back before any reader sees it."""
    store, other = open_log(path, durability="power"), open_log(path)
    study = store.create("study")
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        readers = []

        def fail(fd: int) -> None:
            readers.append(pool.submit(other.read, study))
            with pytest.raises(TimeoutError):
                readers[0].result(timeout=0.1)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageInternalError, match=os.strerror(errno.EIO)):
            store.append(study, [{"k": 1}])
        assert readers[0].result(timeout=30) == []
    assert store.read(study) == open_log(path).read(study) == []
    assert store.append(study, [{"k": 1}]) == 1


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Sets the largest size that a file may grow to, which makes the kernel itself cut writes short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(path: Path, limited: Callable[[int], None]) -> None:
    """The kernel accepts half a record and then no more: the half is taken back."""
    store = open_log(path)
    study = store.create("study")
    size = path.stat().st_size
    limited(size + 1000)
    with pytest.raises(StorageInternalError, match="Nothing was lost"):
        store.append(study, [{"text": "x" * 2000}])
    assert path.stat().st_size == size
    assert store.append(study, [{"text": "x" * 500}]) == 1
    limited(1 << 40)
    assert store.append(study, [{"text": "x" * 2000}]) == 2


def test_durability(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """durability="power" syncs the folder once and every line; "process" syncs nothing."""
    synced: list[str] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    with open_log(path, durability="power") as store:
        assert synced == ["file", "folder"]
        study = store.create("study")
        store.append(study, [])
        assert synced == ["file", "folder", "file", "file"]
    with open_log(path) as store:
        store.append(study, [])
    assert len(synced) == 4
    with pytest.raises(InvalidValueError, match="'always'"):
        JournalFileBackend(path, durability="always")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        b"number,value\n1,2\n",
        b"no newline at all",
        b"\n",
        b"\0" * 100,
        b'{"op_code": 0, "worker_id": "x", "study_name": "optuna"}\n',
        b"SQLite format 3\0" + bytes(84),
        seal(b'{"format":"another log","version":1}'),
        seal(b'{"format":"tunesmith log"}'),
        seal(b'{"format":"tunesmith log","version":0}'),
        seal(b"[1]"),
        b"x" * 5000,
    ],
)
def test_foreign_files(path: Path, content: bytes) -> None:
    """Somebody else's file is refused and left alone."""
    path.write_bytes(content)
    with pytest.raises(NotALogError, match=r"log\.jsonl") as caught:
        JournalFileBackend(path)
    assert isinstance(caught.value, ValueError)
    assert path.read_bytes() == content


def test_not_a_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(NotALogError, match="folder"):
        JournalFileBackend(path)
    fifo = path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(NotALogError, match="regular"):
        JournalFileBackend(fifo)


def test_newer_version(path: Path) -> None:
    content = seal(b'{"format":"tunesmith log","version":2,"more":[]}') + b"whatever comes then\n"
    path.write_bytes(content)
    with pytest.raises(NewerFormatError, match=r"version 2.*Upgrade"):
        JournalFileBackend(path)
    assert path.read_bytes() == content


def test_creation(path: Path) -> None:
    """The file is made at once."""
    open_log(path)
    assert path.read_bytes() == HEADER
    with pytest.raises(InvalidValueError, match=r"no folder.*mkdir"):
        JournalFileBackend(path.parent / "missing" / "log.jsonl")
    with pytest.raises(InvalidTypeError, match="None"):
        JournalFileBackend(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="JournalFileBackend"):
        JournalStorage(str(path))  # type: ignore[arg-type]


def test_sharing(path: Path) -> None:
    """A log is its owner's alone, whatever the umask allows, until the owner shares it; its heartbeats follow it."""
    alive = path.with_name(path.name + ".alive")

    def modes() -> list[int]:
        with open_log(path) as store:
            store.heartbeat(store.create(str(path.stat().st_size)), "a1")
        found = {stat.S_IMODE(file.stat().st_mode) for file in alive.rglob("*") if file.is_file()}
        found_folders = {stat.S_IMODE(file.stat().st_mode) for file in [alive, *alive.iterdir()]}
        return [stat.S_IMODE(path.stat().st_mode), *found_folders, *found]

    mask = os.umask(0)
    try:
        assert modes() == [0o600, 0o700, 0o600]
        path.chmod(0o664)
        shutil.rmtree(alive)
        assert modes() == [0o664, 0o775, 0o664]
    finally:
        os.umask(mask)


def test_permissions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may only read the file can read it, and is told so when writing. (Root may do all: we refuse.)"""
    with open_log(path) as store:
        study = store.create("study")
        store.append(study, [{"k": 1}])
    allowed, refused = os.open, [os.O_RDWR]

    def guard(name: Any, flags: int, *mode: int) -> int:
        if any(flags & os.O_ACCMODE == kind for kind in refused):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return allowed(name, flags, *mode)

    monkeypatch.setattr(os, "open", guard)
    store = open_log(path)
    assert store.read(study) == [[{"k": 1}]]
    with pytest.raises(StorageInternalError, match="may only be read"):
        store.append(study, [{"k": 2}])
    refused.append(os.O_RDONLY)
    with pytest.raises(StorageInternalError, match="Permission denied"):
        open_log(path)


def test_file_removed_replaced_or_cut(path: Path) -> None:
    """A handle says what happened to its file, and works again once the file is back."""
    store = open_log(path)
    study = store.create("study")
    store.append(study, [{"k": 1}])
    aside = path.with_suffix(".aside")
    calls: list[Callable[[], Any]] = [
        store.studies,
        lambda: store.read(study),
        lambda: store.append(study, [{"k": 2}]),
        lambda: store.create("other"),
    ]
    os.rename(path, aside)
    for call in calls:
        with pytest.raises(StorageInternalError, match="removed or replaced"):
            call()
    open_log(path).close()
    for call in calls:
        with pytest.raises(StorageInternalError, match="removed or replaced"):
            call()
    os.replace(aside, path)
    assert store.append(study, [{"k": 2}]) == 2
    os.truncate(path, path.stat().st_size - 1)
    for call in calls:
        with pytest.raises(LogDamagedError, match="was cut"):
            call()
    assert open_log(path).read(study) == [[{"k": 1}]]
