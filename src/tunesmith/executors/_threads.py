"""Running a function in several threads, so that the first error ends all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable


def run_workers(n: int, worker: Callable[[], None], stop: Callable[[], None], *, here: bool = True) -> None:
    """Run a function on ``n`` threads and return when all have returned.

    Args:
        n: how many.
        worker: takes its own work until there is none.
        stop: asks the other workers to take no more; called as soon as one of them (or the caller's own wait, by
            Ctrl-C) fails. The first exception is raised after all workers have returned.
        here: a single worker is the calling thread itself, which Ctrl-C interrupts wherever it is.
    """
    if n == 1 and here:
        return worker()
    errors: list[BaseException] = []
    ended: list[threading.Event] = []

    def run_one(end: threading.Event) -> None:
        try:
            worker()
        except BaseException as error:
            errors.append(error)
            stop()
        finally:
            end.set()

    try:
        for i in range(n):
            end = threading.Event()
            threading.Thread(target=run_one, args=(end,), name=f"tunesmith-{i}", daemon=True).start()
            ended.append(end)
        _wait(ended)
    except BaseException as error:
        errors.insert(0, error)
        stop()
        _wait(ended)
    if errors:
        raise errors[0]
    return None


def _wait(ended: list[threading.Event]) -> None:
    """Wait for all, in short steps so that Ctrl-C reaches the caller.

    Not by ``Thread.join``: interrupted by Ctrl-C it may take a live thread for dead (seen with CPython 3.11).
    """
    for end in ended:
        while not end.wait(0.1):
            pass
