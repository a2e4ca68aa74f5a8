"""Where a storage under test lives, and other processes that open it there. Used by ``tunesmith.testing.storages``."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tunesmith.exceptions import DuplicatedStudyError, MissingDependencyError
from tunesmith.storages import BaseStorage


@dataclass
class Place:
    """Somewhere a store may live, for one test.

    Attributes:
        storage_class: The backend.
        directory: The folder the store belongs to.
        options: Keyword arguments of its constructor; JSON must be able to hold them.
        handles: Those that were opened here, in this process.
    """

    storage_class: type[BaseStorage]
    directory: Path
    options: dict[str, Any]
    handles: list[BaseStorage] = field(default_factory=list)

    def open(self) -> BaseStorage:
        """A new handle, closed at the end of the test."""
        handle = self.storage_class.for_testing(self.directory, **self.options)
        self.handles.append(handle)
        return handle

    def start(self, job: str, *arguments: str | int) -> subprocess.Popen[bytes]:
        """Another Python process that opens the store and does one of the jobs below; its output is a pipe."""
        code = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        code += "from tunesmith.testing._places import _work; _work(*sys.argv[2:])"
        name = self.storage_class.__module__, self.storage_class.__qualname__
        command = [sys.executable, "-c", code, json.dumps(sys.path), *name, str(self.directory)]
        command += [json.dumps(self.options), job, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def finish(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Wait for a process to end well; the lines that it printed."""
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{process.args!r} failed"
        return output.decode().split()

    def close(self) -> None:
        """Close all handles."""
        for handle in self.handles:
            handle.close()


class Kit:
    """What the kits have in common: which backend, and where."""

    storage_class: ClassVar[type[BaseStorage]]
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def backend(self) -> tuple[type[BaseStorage], dict[str, Any]]:
        """The class under test and its options. Override it with a parametrised fixture to test several."""
        return self.storage_class, self.options

    @pytest.fixture
    def place(self, backend: tuple[type[BaseStorage], dict[str, Any]], tmp_path: Path) -> Iterator[Place]:
        """An empty place."""
        place = Place(backend[0], tmp_path, backend[1])
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


def padded(position: int) -> list[dict[str, Any]]:
    """A record whose content and length (up to 200 kB) follow from its position."""
    return [{"position": position, "padding": "x" * (position * 7919 % 200_000)}]


def _work(module: str, name: str, directory: str, options: str, job: str, *arguments: str) -> None:
    """What :meth:`Place.start` runs in another process."""
    storage_class: Any = importlib.import_module(module)
    for part in name.split("."):
        storage_class = getattr(storage_class, part)
    store = storage_class.for_testing(Path(directory), **json.loads(options))
    globals()[f"_work_{job}"](store, *arguments)


def _work_append(store: BaseStorage, worker: str, count: str) -> None:
    try:
        study = store.create("shared")
    except DuplicatedStudyError:
        (study,) = [record.id for record in store.studies() if record.name == "shared"]
    for k in range(int(count)):
        print(store.append(study, [{"worker": int(worker), "k": k}]), flush=True)


def _work_forever(store: BaseStorage, study: str) -> None:
    position = len(store.read(study))
    while True:
        position = store.append(study, padded(position + 1))
        print(position, flush=True)


def _work_fork(store: BaseStorage, study: str) -> None:
    running = threading.Event()
    running.set()

    def write() -> None:
        while running.is_set():
            store.append(study, [{"who": "thread"}])
            time.sleep(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    for k in range(20):
        store.append(study, [{"who": "parent"}])
        if k % 5 == 0:
            child = os.fork()
            if child == 0:
                running.clear()
                for _ in range(5):
                    store.append(study, [{"who": "child"}])
                sys.exit()
            _, status = os.waitpid(child, 0)
            if status:
                running.clear()
                raise RuntimeError(f"a forked child failed with status {status}")
    running.clear()
    thread.join()
    print(len(store.read(study)))
