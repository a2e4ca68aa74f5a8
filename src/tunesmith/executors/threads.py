"""Several workers: threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tunesmith.executors._base import BaseExecutor


class ThreadExecutor(BaseExecutor):
    """Evaluates in ``n`` threads; closures and objects of the caller are shared, as users of ``n_jobs`` expect."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, worker: Callable[[], None], stop: Callable[[], None]) -> None:
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
            for i in range(self.n):
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


def _wait(ended: list[threading.Event]) -> None:
    """Wait for all, in short steps so that Ctrl-C reaches the caller.

    Not by ``Thread.join``: interrupted by Ctrl-C it may take a live thread for dead (seen with CPython 3.11).
    """
    for end in ended:
        while not end.wait(0.1):
            pass
