"""One worker: the calling thread."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.executors._base import BaseExecutor


class InlineExecutor(BaseExecutor):
    """Evaluates in the calling thread."""

    def run(self, worker: Callable[[], None], stop: Callable[[], None]) -> None:
        worker()
