"""The contract of an executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class BaseExecutor(ABC):
    """Runs a worker function; the function takes its own work until there is none."""

    @abstractmethod
    def run(self, worker: Callable[[], None], stop: Callable[[], None]) -> None:
        """Run ``worker`` on every worker and return when all have returned.

        Args:
            worker: takes and evaluates trials until there are none left; its exception ends the run.
            stop: asks the other workers to take no more work; called as soon as one of them (or the caller's own
                wait, by Ctrl-C) fails. The first exception is raised after all workers have returned.
        """
