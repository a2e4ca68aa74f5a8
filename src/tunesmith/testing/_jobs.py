"""What other processes do with the store under test. Started by :meth:`tunesmith.testing._places.Place.start`."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.exceptions import DuplicatedStudyError, StorageInternalError
from tunesmith.storages import BaseStorage

Open = Callable[[], BaseStorage]

_POINTS = 12  # at which an append is stopped while the process forks
_ROOM = 100_000  # bytes that a file may still grow by when the disk is "full"


def work(storage_class: type[BaseStorage], directory: str, options: str, job: str, *arguments: str) -> None:
    """Do one of the jobs below."""
    jobs: dict[str, Callable[..., None]] = {"append": _append, "forever": _forever, "fork": _fork, "full": _full}

    def open_store() -> BaseStorage:
        return storage_class.for_testing(Path(directory), **json.loads(options))

    jobs[job](open_store, *([directory] if job == "full" else []), *arguments)


def padded(position: int) -> list[dict[str, Any]]:
    """A record whose content and length (up to 200 kB) follow from its position."""
    return [{"position": position, "padding": "x" * (position * 7919 % 200_000)}]


def sized(k: int) -> list[dict[str, Any]]:
    """A record whose content follows from its number; every third one has 600 kB that cannot be compressed by much."""
    return [{"k": k, "padding": random.Random(k).randbytes(300_000 if k % 3 == 2 else 10).hex()}]


def steps_of(call: Callable[[], Any], at: int = 0, then: Callable[[], None] = lambda: None) -> int:
    """Call, and count the calls and returns of functions in it; do something at one of them, if told to."""
    count = 0

    def step(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            then()

    sys.setprofile(step)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


def _wait(message: str) -> None:
    """Say where we are, and wait for a line, so that several processes go on in the same moment."""
    print(message, flush=True)
    sys.stdin.readline()


def _append(open_store: Open, worker: str) -> None:
    """Open, create and append when the others do; for long enough that the appends meet."""
    _wait("started")
    store = open_store()
    try:
        study = store.create("shared")
    except DuplicatedStudyError:
        (study,) = [record.id for record in store.studies() if record.name == "shared"]
    _wait("opened")
    k, end = 0, time.monotonic() + 0.05
    while k < 40 or time.monotonic() < end:
        print(store.append(study, [{"worker": int(worker), "k": k}]), flush=True)
        k += 1


def _forever(open_store: Open, study: str) -> None:
    store = open_store()
    position = len(store.read(study))
    while True:
        position = store.append(study, padded(position + 1))
        print(position, flush=True)


def _full(open_store: Open, directory: str, study: str) -> None:
    """Files may not grow: first the system refuses to write (a full disk), then it kills who writes half a record."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    store = open_store()

    def append(k: int) -> None:
        print(f"{store.append(study, sized(k))}:{k}", flush=True)

    def fill() -> None:
        sizes = [path.stat().st_size for path in Path(directory).rglob("*") if path.is_file()]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes, default=0) + _ROOM, hard))

    append(0)
    append(1)
    fill()
    try:
        append(2)
    except (StorageInternalError, OSError):
        for handle in (store, open_store()):
            known = [record[0]["k"] for record in handle.read(study)]
            if known not in ([0, 1], [0, 1, 2]):
                raise RuntimeError(f"after a write that failed the log has {known}, not [0, 1]") from None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    append(3)
    append(5)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    fill()
    append(8)


def _fork(open_store: Open, study: str, patience: str) -> None:
    store = open_store()
    _fork_beside_a_thread(store, study, int(patience))
    points = _fork_inside_an_append(store, study, int(patience))
    print(len(store.read(study)), points)


def _fork_beside_a_thread(store: BaseStorage, study: str, patience: int) -> None:
    """Children append while a thread of their parent does."""
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
                signal.alarm(patience)  # kills
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


def _fork_inside_an_append(store: BaseStorage, study: str, patience: int) -> int:
    """Fork while a thread stands at many points inside of an append, among them those where it holds a lock.

    Returns:
        The number of points.
    """
    steps = steps_of(lambda: store.append(study, [{"who": "stopped"}]))
    points = sorted({1 + steps * k // _POINTS for k in range(_POINTS)})
    for point in points:
        reached, go = threading.Event(), threading.Event()

        def write(point: int = point, reached: threading.Event = reached, go: threading.Event = go) -> None:
            def stop() -> None:
                reached.set()
                go.wait(0.1)  # not for ever: the fork itself may wait for a lock that is held here

            steps_of(lambda: store.append(study, [{"who": "stopped"}]), point, stop)
            reached.set()

        thread = threading.Thread(target=write)
        thread.start()
        reached.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(patience)
            store.append(study, [{"who": "forked"}])
            os._exit(0)
        go.set()
        thread.join()
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(
                f"a child, forked at step {point} of {steps} of an append in another thread, could not append: it "
                f"ended with status {status} (14: it was stuck, perhaps waiting for a lock of that thread)"
            )
    return len(points)
