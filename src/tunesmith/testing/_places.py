"""Where a storage under test lives, and other processes that open it there. Used by ``tunesmith.testing.storages``."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tunesmith.exceptions import MissingDependencyError
from tunesmith.storages import BaseStorage
from tunesmith.testing._process import command

Backend = tuple[type[BaseStorage], Mapping[str, Any]]


@dataclass
class Place:
    """Somewhere a store may live, for one test.

    Attributes:
        storage_class: The backend.
        directory: The folder the store belongs to.
        options: Keyword arguments of its constructor; JSON must be able to hold them.
        patience: Seconds after which another process is taken for stuck.
        handles: Those that were opened here, in this process.
        processes: Those that were started here.
    """

    storage_class: type[BaseStorage]
    directory: Path
    options: Mapping[str, Any]
    patience: int = 60
    handles: list[BaseStorage] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def open(self) -> BaseStorage:
        """A new handle, closed at the end of the test."""
        handle = self.storage_class.for_testing(self.directory, **self.options)
        self.handles.append(handle)
        return handle

    def start(self, job: str, *arguments: str | int) -> subprocess.Popen[bytes]:
        """Another Python process that does a job of ``tunesmith.testing._jobs`` here; its input and output are pipes.

        It is killed at the end of the test, if it still runs.
        """
        given = [str(self.directory), json.dumps(dict(self.options)), job, *map(str, arguments)]
        line = command("tunesmith.testing._jobs:work", self.storage_class, self.patience, *given)
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], *allowed: int) -> list[str]:
        """Wait for a process to end well, or with one of the given statuses; the words that it printed."""
        output, _ = process.communicate(timeout=self.patience + 60)
        assert process.returncode in (0, *allowed), f"{process.args!r} failed with status {process.returncode}"
        return output.decode().split()

    def meet(self, processes: list[subprocess.Popen[bytes]], message: str) -> None:
        """Wait until all have printed a line and wait for one; then let them go on at once."""
        for process in processes:
            assert process.stdout is not None
            said = process.stdout.readline().decode().strip()
            assert said == message, f"{process.args!r} said {said!r} instead of {message!r}"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()

    def close(self) -> None:
        """Close all handles, end all processes."""
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
        for handle in self.handles:
            handle.close()


class Kit:
    """What the kits have in common: which backend, and where.

    Attributes:
        storage_class: the class under test.
        options: its arguments.
        patience: seconds after which another process is taken for stuck.
    """

    storage_class: ClassVar[type[BaseStorage]]
    options: ClassVar[Mapping[str, Any]] = {}
    patience: ClassVar[int] = 60

    @pytest.fixture
    def backend(self) -> Backend:
        """The class under test and its options. Override it with a parametrised fixture to test several."""
        return self.storage_class, self.options

    @pytest.fixture
    def place(self, backend: Backend, tmp_path: Path) -> Iterator[Place]:
        """An empty place."""
        place = Place(backend[0], tmp_path, backend[1], self.patience)
        try:
            place.open()
        except MissingDependencyError as error:
            pytest.skip(str(error))
        yield place
        place.close()

    @pytest.fixture
    def store(self, place: Place) -> BaseStorage:
        """A handle on an empty store."""
        return place.handles[0]


def check_shares(records: list[list[dict[str, Any]]], shares: dict[int, int], key: str) -> None:
    """Every writer's records are all there, each writer's in the order in which they were appended."""
    assert len(records) == sum(shares.values())
    for writer, count in shares.items():
        assert [event["k"] for (event,) in records if event[key] == writer] == list(range(count))
