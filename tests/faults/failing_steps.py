"""Every step in which a storage touches the disk fails or kills the process; and disks that are full.

Figure 6 of "Nothing lost": each system call of the file log x {kill, EIO, ENOSPC}; many points of each call of SQLite
x kill; 20 small file systems that fill up. What was acknowledged is intact, errors are typed, and all goes on without
repair.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crew import command

from tunesmith.exceptions import StorageInternalError
from tunesmith.storages import BaseStorage, JournalFileBackend, JournalStorage, RDBStorage, get_storage
from tunesmith.testing._jobs import steps_of

#: What the file log asks of the system.
CALLS = ("open", "write", "fsync", "ftruncate", "pread", "stat", "fstat", "utime", "mkdir", "unlink")
FAULTS = ("kill", "EIO", "ENOSPC", "EIO in the middle", "ENOSPC in the middle")
#: Where it is quick: what fails here does not depend on the disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
JOBS = ("open", "append", "append after a torn line", "create", "delete", "heartbeat", "read")


def run(_: str = "", points: int = 12, disks: int = 2) -> dict[str, Any]:
    """All faults.

    Args:
        points: of each job on SQLite at which the process is killed.
        disks: file systems that fill up; 0 where nobody may mount one.
    """
    file_log: Counter[str] = Counter()
    for job in JOBS:
        for fault in FAULTS:
            k = 0
            while (outcome := _fail(job, fault, k)) != "not reached":
                file_log[outcome] += 1
                k += 1
    sqlite = Counter(_kill_sqlite(job, k / points) for job in JOBS if "torn" not in job for k in range(points))
    full = [_fill(kind, 256 + 64 * k) for k in range(disks if may_mount() else 0) for kind in ("sqlite", "jsonl")]
    return {
        "file_log": dict(file_log),
        "sqlite_killed": dict(sqlite),
        "full_disks": len(full),
        "disks_wrong": sum(full),
    }


class _Call:
    """The k-th system call of one process fails, or its process dies."""

    def __init__(self, fault: str, k: int) -> None:
        self.fault, self.left, self.reached = fault, k, False

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        kept = {name: getattr(os, name) for name in CALLS}
        for name, real in kept.items():
            setattr(os, name, self._wrapped(name, real))
        try:
            yield
        finally:
            for name, real in kept.items():
                setattr(os, name, real)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        fault, _, half = self.fault.partition(" ")

        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= name == "write" or not half
            if self.left != -1 or self.reached:
                return real(*arguments, **options)
            self.reached = True
            if name == "write" and (half or fault == "kill"):
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if fault == "kill":
                os._exit(9)
            number = getattr(errno, fault)
            raise OSError(number, os.strerror(number))

        return call


def _fail(job: str, fault: str, k: int) -> str:
    """Do a job whose k-th system call goes wrong (or, in the middle, k-th write), and look at what is left."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        url = f"{folder}/log.jsonl"
        study = prepared(url)
        if job == "append after a torn line":
            with open(url, "ab") as file:
                file.write(b"012345")
        call = _Call(fault, k)
        if fault == "kill":
            child = os.fork()
            if child == 0:
                with call.armed():
                    do_job(job.split()[0], url, study)
                os._exit(0)
            if os.waitpid(child, 0)[1] == 0:
                return "not reached"
            return checked(url, study, job, None)
        done: bool | None = None
        try:
            with call.armed():
                do_job(job.split()[0], url, study)
            done = True
        except StorageInternalError:
            done = False
        except Exception as error:
            return f"untyped {type(error).__name__}"
        return checked(url, study, job.split()[0], done) if call.reached else "not reached"


def prepared(url: str) -> str:
    with get_storage(url) as storage:
        study = storage.create("study")
        for k in range(3):
            storage.append(study, [{"k": k}])
        return study


def do_job(job: str, url: str, study: str, durability: Any = "power") -> None:
    """One job on a handle of its own; ``job`` is the first word of one of :data:`JOBS`."""
    sqlite = "://" in url
    backend = RDBStorage(url, durability=durability) if sqlite else JournalFileBackend(url, durability=durability)
    with backend if isinstance(backend, RDBStorage) else JournalStorage(backend) as storage:
        jobs: dict[str, Callable[[], Any]] = {
            "open": storage.studies, "append": lambda: storage.append(study, [{"k": 3}]),
            "create": lambda: storage.create("new"), "delete": lambda: storage.delete(study),
            "heartbeat": lambda: storage.heartbeat(study, "a1"), "read": lambda: storage.read(study),
        }  # fmt: skip
        jobs[job]()


def checked(url: str, study: str, job: str, done: bool | None) -> str:
    """What another handle finds: all that was acknowledged, at most one thing more, and a log that goes on."""
    with get_storage(url) as storage:
        names = {found.id: found.name for found in storage.studies()}
        if study in names:
            records = storage.read(study)
            if records not in ([[{"k": k}] for k in range(3)], [[{"k": k}] for k in range(4)]):
                return "records lost or changed"
            if done and job == "append" and len(records) == 3:
                return "acknowledged and lost"
            if storage.append(study, [{"k": "on"}]) != len(records) + 1:
                return "does not go on"
        if set(names.values()) - {"study", "new"}:
            return "studies changed"
        if done and job in ("create", "delete") and len(names) != {"create": 2, "delete": 0}[job]:
            return "acknowledged and lost"
        return "intact, " + {None: "killed", True: "done all the same", False: "typed error"}[done]


def _kill_sqlite(job: str, where: float) -> str:
    """Kill the process at a fraction of the calls and returns of functions in a job on SQLite."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, tempfile.TemporaryDirectory(dir=MEMORY) as other:
        urls = [f"sqlite:///{place}/log.db" for place in (folder, other)]
        study, same = map(prepared, urls)
        steps = steps_of(lambda: do_job(job, urls[1], same, "process"))
        child = os.fork()
        if child == 0:
            fatal = 1 + int(where * steps)
            steps_of(lambda: do_job(job, urls[0], study, "process"), fatal, lambda: os._exit(9))
            os._exit(0)
        os.waitpid(child, 0)
        return checked(urls[0], study, job, None)


def may_mount() -> bool:
    """Whether this process may make file systems."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _mounted(Path(folder), 64):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextlib.contextmanager
def _mounted(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system in memory of so many kilobytes."""
    size = f"size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(kind: str, kilobytes: int) -> bool:
    """Append until the disk is full, free some space, and go on; whether anything was wrong."""
    chance = random.Random(kilobytes)
    with tempfile.TemporaryDirectory() as folder, _mounted(Path(folder), kilobytes):
        ballast = Path(folder) / "ballast"
        ballast.write_bytes(bytes(64 << 10))
        url = f"sqlite:///{folder}/log.db" if kind == "sqlite" else f"{folder}/log.jsonl"
        with get_storage(url) as storage:
            study = storage.create("study")
            expected: list[Any] = []
            failures = 0
            while failures < 5:
                record = [{"k": len(expected), "padding": "x" * chance.randrange(2000)}]
                try:
                    storage.append(study, record)
                    expected.append(record)
                except StorageInternalError:
                    failures += 1
            wrong = _differs(storage, study, expected)
            ballast.unlink()
            expected.append([{"k": "on"}])
            wrong |= storage.append(study, [{"k": "on"}]) != len(expected)
        with get_storage(url) as storage:
            return wrong | _differs(storage, study, expected)


def _differs(storage: BaseStorage, study: str, expected: list[Any]) -> bool:
    return storage.read(study) != expected


if __name__ == "__main__":
    command(__doc__ or "", run, {"points": 200, "disks": 20})
