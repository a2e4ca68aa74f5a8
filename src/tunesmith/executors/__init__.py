"""Who evaluates, one way a file. An executor runs one worker function on a number of workers until all return."""

from tunesmith.executors._base import BaseExecutor
from tunesmith.executors.inline import InlineExecutor
from tunesmith.executors.threads import ThreadExecutor

__all__ = ["BaseExecutor", "InlineExecutor", "ThreadExecutor", "get_executor"]


def get_executor(n_jobs: int) -> BaseExecutor:
    """One worker runs in the calling thread, several run in threads."""
    return InlineExecutor() if n_jobs == 1 else ThreadExecutor(n_jobs)
