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

        def run_one() -> None:
            try:
                worker()
            except BaseException as error:
                errors.append(error)
                stop()

        threads = [threading.Thread(target=run_one, name=f"tunesmith-{i}", daemon=True) for i in range(self.n)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)  # a short wait, so that Ctrl-C reaches the caller
        except BaseException as error:
            errors.insert(0, error)
            stop()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]
