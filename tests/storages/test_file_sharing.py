"""The log in a file among threads, processes, forked children, interrupts and handles."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tunesmith.exceptions import (
    InvalidTypeError,
    MissingDependencyError,
    NotALogError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.storages import JournalFileBackend, JournalStorage, _logfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def open_log(path: Path, **options: Any) -> JournalStorage:
    return JournalStorage(JournalFileBackend(path, **options))


def test_waits_for_the_lock(path: Path) -> None:
    """An append waits while another process holds the lock, and the lock falls with its holder."""
    store = open_log(path)
    study = store.create("study")
    code = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) as holder:  # type: ignore[call-overload]
        holder.stdout.readline()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.append, study, [{"k": 1}])
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            holder.kill()
            assert waiting.result(timeout=30) == 1


def test_own_lock_object(path: Path) -> None:
    """``lock_obj`` is held for every change, released after it (after a failure, too), and may refuse."""

    class Lock:
        def __init__(self) -> None:
            self.lock, self.grants, self.taken = threading.Lock(), True, 0

        def acquire(self) -> bool:
            self.taken += 1
            return self.grants and self.lock.acquire()

        def release(self) -> None:
            self.lock.release()

    lock = Lock()
    store = JournalStorage(JournalFileBackend(path, lock))
    study = store.create("study")
    before = lock.taken
    assert store.append(study, [{"k": 1}]) == 1
    assert lock.taken == before + 1
    assert not lock.lock.locked()
    with pytest.raises(StudyNotFoundError):
        store.append("missing", [])
    assert not lock.lock.locked()
    lock.grants = False
    with pytest.raises(StorageInternalError, match="did not grant"):
        store.append(study, [{"k": 2}])
    assert store.read(study) == [[{"k": 1}]]
    with pytest.raises(InvalidTypeError, match="acquire"):
        JournalFileBackend(path, lock_obj=object())  # type: ignore[arg-type]


def test_without_flock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_logfile, "fcntl", None)
    with pytest.raises(MissingDependencyError, match="sqlite:///"):
        JournalFileBackend(path)


def test_interrupted_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right after the write: the record stands, the locks are free, and the handle goes on."""
    store, other = open_log(path), open_log(path)
    study = store.create("study")
    write = os.write

    def interrupt(fd: int, data: bytes) -> int:
        write(fd, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.append(study, [{"k": 1}])
    assert other.append(study, [{"k": 2}]) == 2
    assert store.append(study, [{"k": 3}]) == 3
    assert store.read(study) == other.read(study) == [[{"k": 1}], [{"k": 2}], [{"k": 3}]]


class Spans(array):  # type: ignore[type-arg]
    """The index of one study, in which a change can be stopped half-way."""

    stop: Callable[[], None]

    def extend(self, values: Any) -> None:
        super().extend(values)
        self.stop()


def test_interrupted_index(path: Path) -> None:
    """Ctrl-C while the index is brought up to date: it is made anew."""
    store = open_log(path)
    study = store.create("study")

    def interrupt() -> None:
        raise KeyboardInterrupt

    spans = store._studies[study].spans = Spans("q")
    spans.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.append(study, [{"k": 1}])
    assert store.append(study, [{"k": 2}]) == 2
    assert store.read(study) == [[{"k": 1}], [{"k": 2}]]


def test_fork_in_the_midst_of_an_append(path: Path) -> None:
    """Another thread holds the locks and is changing the index when the process forks."""
    store = open_log(path)
    study = store.create("study")
    inside, forked = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        forked.wait(timeout=30)

    spans = store._studies[study].spans = Spans("q")
    spans.stop = wait
    with ThreadPoolExecutor(1) as pool:
        appending = pool.submit(store.append, study, [{"who": "thread"}])
        inside.wait(timeout=30)
        child = os.fork()
        if child == 0:
            forked.set()  # the parent's is another one
            with contextlib.suppress(BaseException):
                position = store.append(study, [{"who": "child"}])
                os._exit(0 if position == 2 and len(store.read(study)) == 2 else 1)
            os._exit(2)
        time.sleep(0.2)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it waits for the parent's lock on the file
        forked.set()
        assert appending.result(timeout=30) == 1
        assert os.waitpid(child, 0)[1] == 0
    assert store.append(study, [{"who": "parent"}]) == 3
    assert [event["who"] for (event,) in store.read(study)] == ["thread", "child", "parent"]


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is meant as it was when the log was opened."""
    monkeypatch.chdir(tmp_path)
    store = open_log(Path("log.jsonl"))
    study = store.create("study")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.append(study, [{"k": 1}]) == 1
    assert open_log(tmp_path / "log.jsonl").read(study) == [[{"k": 1}]]


def test_no_descriptor_is_left(path: Path) -> None:
    """Neither a refused file, nor a closed handle, nor one that is dropped keeps a descriptor."""
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        open_log(path).close()
        open_log(path).create("dropped" + str(len(open_log(path).studies())))
    path.with_suffix(".csv").write_bytes(b"1,2\n")
    for _ in range(5):
        with pytest.raises(NotALogError):
            JournalFileBackend(path.with_suffix(".csv"))
    assert len(os.listdir("/dev/fd")) == before


def test_a_backend_may_be_shared(path: Path) -> None:
    """Two storages on one backend see each other's records."""
    backend = JournalFileBackend(path)
    one, two = JournalStorage(backend), JournalStorage(backend)
    study = one.create("study")
    assert [store.append(study, [{"k": k}]) for k, store in enumerate((two, one, two))] == [1, 2, 3]
    assert one.read(study) == two.read(study) == [[{"k": 0}], [{"k": 1}], [{"k": 2}]]
