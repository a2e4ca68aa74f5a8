"""The kit finds the faults it is there for: each storage below breaks one promise, and the named test fails."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith._forks import watch_forks
from tunesmith.exceptions import StorageInternalError
from tunesmith.storages import BaseStorage, StudyRecord
from tunesmith.storages._common import (
    check_name,
    check_range,
    check_worker,
    decode,
    duplicated,
    encode,
    is_closed,
    not_found,
)
from tunesmith.storages._heartbeats import Heartbeats
from tunesmith.testing._places import Place
from tunesmith.testing.storages import PersistenceKit, StorageKit


class Sound(BaseStorage):
    """A folder with one file of lines for each study, and one for the list of studies; one lock for all."""

    persistent = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self._mutex = threading.Lock()
        path.mkdir(exist_ok=True)
        self._beats = Heartbeats(str(path / "alive"), str(path))
        watch_forks(self)

    @classmethod
    def for_testing(cls, directory: Path, **options: Any) -> Sound:
        return cls(directory / "log", **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def _after_fork(self) -> None:
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with self._mutex, open(self.path / "lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    # lines of a file

    def lines(self, name: str) -> list[str]:
        """The complete ones."""
        try:
            return (self.path / name).read_bytes().decode().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def write(self, name: str, text: str) -> None:
        data = text.encode() + b"\n"
        fd = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            self.cut(fd)
            while data:
                data = data[os.write(fd, data) :]
        except OSError as error:
            raise StorageInternalError(f"cannot write: {error}") from error
        finally:
            os.close(fd)

    def cut(self, fd: int) -> None:
        """Remove a line that somebody began and did not end."""
        content = os.pread(fd, os.fstat(fd).st_size, 0)
        os.ftruncate(fd, content.rfind(b"\n") + 1)

    # the contract

    def _studies(self) -> dict[str, str]:
        if self.closed:
            raise is_closed(str(self.path))
        found: dict[str, str] = {}
        for line in self.lines("studies"):
            study, name = json.loads(line)
            if name is None:
                del found[study]
            else:
                found[study] = name
        return found

    def _find(self, study: str) -> str:
        if study not in self._studies():
            raise not_found(study)
        return study

    def studies(self) -> list[StudyRecord]:
        with self.lock():
            return [StudyRecord(study, name) for study, name in self._studies().items()]

    def create(self, name: str) -> str:
        check_name(name)
        study = uuid.uuid4().hex
        with self.lock():
            if name in self._studies().values():
                raise duplicated(name)
            self.write("studies", json.dumps([study, name]))
        return study

    def delete(self, study: str) -> None:
        with self.lock():
            self.write("studies", json.dumps([self._find(study), None]))
        self._beats.forget(study)

    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Any]:
        check_range(after, limit)
        with self.lock():
            records = decode(self.lines(self._find(study))[after : None if limit is None else after + limit])
        assert isinstance(records, list)
        return records

    def text(self, events: Any) -> str:
        return encode(events)

    def append(self, study: str, events: Any) -> int:
        text = self.text(events)
        with self.lock():
            position = len(self.lines(self._find(study))) + 1
            self.write(study, text)
            return position

    def heartbeat(self, study: str, worker: str) -> None:
        check_worker(worker)
        self._beats.beat(self._find(study), worker)

    def heartbeats(self, study: str) -> dict[str, float]:
        return self._beats.ages(self._find(study))

    def end_heartbeat(self, study: str, worker: str) -> None:
        check_worker(worker)
        self._studies()  # refuses when the handle was closed
        self._beats.end(study, worker)

    def close(self) -> None:
        self.closed = True


class Slow(Sound):
    """Not a fault."""

    def append(self, study: str, events: Any) -> int:
        time.sleep(0.02)
        return super().append(study, events)


class LocksThreadsOnly(Sound):
    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with self._mutex:
            yield


class CachesReads(Sound):
    """What was read is forgotten when this handle appends, and only then."""

    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Any]:
        cache = self.__dict__.setdefault("cache", {})
        if study not in cache or self.closed:
            cache[study] = super().read(study)
        check_range(after, limit)
        return cache[study][after : None if limit is None else after + limit]

    def append(self, study: str, events: Any) -> int:
        self.__dict__.pop("cache", None)
        return super().append(study, events)


class GivesOneTooMany(Sound):
    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Any]:
        return super().read(study, after, None if limit is None else limit + 1)


class KeepsOldLists(Sound):
    """Knows of no study that another handle creates later."""

    def studies(self) -> list[StudyRecord]:
        self.__dict__.setdefault("seen", super().studies())
        return self.__dict__["seen"]


class RoundsIntegers(Sound):
    def text(self, events: Any) -> str:
        return encode(json.loads(encode(events), parse_int=lambda s: int(float(s)) if len(s) < 300 else int(s)))


class GluesToTorn(Sound):
    def cut(self, fd: int) -> None:
        pass


class ShowsTorn(Sound):
    """Half a line counts as a record, an empty one."""

    def lines(self, name: str) -> list[str]:
        lines = (self.path / name).read_text().split("\n") if (self.path / name).exists() else [""]
        return [*lines[:-1], *(["[]"] if lines[-1] else [])]


class DiesOfTorn(Sound):
    def lines(self, name: str) -> list[str]:
        text = (self.path / name).read_text() if (self.path / name).exists() else ""
        if text and not text.endswith("\n"):
            raise RuntimeError("half a line")
        return text.split("\n")[:-1]


class AcknowledgesHalves(Sound):
    """Does not look at how much was written."""

    def write(self, name: str, text: str) -> None:
        with open(self.path / name, "ab", buffering=0) as file:
            file.write(text.encode() + b"\n")


class HidesErrors(Sound):
    def write(self, name: str, text: str) -> None:
        with contextlib.suppress(StorageInternalError):
            super().write(name, text)


class KeepsThreadLockOverFork(Sound):
    def _after_fork(self) -> None:
        pass


class KeepsFileLockOverFork(Sound):
    """Only closes the file: the child's copy goes on holding the lock."""

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with self._mutex, open(self.path / "lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


FAULTS: list[tuple[type[Sound], str]] = [
    (LocksThreadsOnly, "test_processes_start_at_once"),
    (CachesReads, "test_reads_are_fresh"),
    (KeepsOldLists, "test_reads_are_fresh"),
    (GivesOneTooMany, "test_read_gives_the_records_after_a_position"),
    (RoundsIntegers, "test_values_come_back_as_they_were"),
    (GluesToTorn, "test_no_space"),
    (ShowsTorn, "test_no_space"),
    (DiesOfTorn, "test_no_space"),
    (AcknowledgesHalves, "test_no_space"),
    (HidesErrors, "test_no_space"),
    (KeepsThreadLockOverFork, "test_fork"),
    (KeepsFileLockOverFork, "test_fork"),
]


class Kit(StorageKit, PersistenceKit):
    __test__ = False
    patience = 20


@pytest.mark.parametrize(("storage", "test"), FAULTS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_fault_is_found(
    storage: type[Sound], test: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Place(storage, tmp_path, {}, 1 if test == "test_fork" else Kit.patience)
    kit = Kit()
    calls: dict[str, Callable[[], None]] = {
        "test_processes_start_at_once": lambda: kit.test_processes_start_at_once((storage, {}), tmp_path_factory),
    }
    if storage in (RoundsIntegers, GivesOneTooMany):
        calls[test] = lambda: getattr(kit, test)(place.open())
    call = calls.get(test) or (lambda: getattr(kit, test)(place, place.open()))
    try:
        with pytest.raises(AssertionError):
            call()
    finally:
        place.close()


class TestSound(StorageKit, PersistenceKit):
    """The kit is for storages of other packages, too: this one is in no room."""

    storage_class = Sound


def test_a_slow_storage_is_no_fault(tmp_path: Path) -> None:
    place = Place(Slow, tmp_path, {})
    try:
        Kit().test_kill(place, place.open())
    finally:
        place.close()
