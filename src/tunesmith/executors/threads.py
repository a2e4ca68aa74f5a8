"""Several workers: threads of this process."""

from __future__ import annotations

from tunesmith.executors._base import BaseExecutor, Host
from tunesmith.executors._evaluate import work_through
from tunesmith.executors._threads import run_workers


class ThreadExecutor(BaseExecutor):
    """Evaluates in ``n`` threads; closures and objects of the caller are shared, as users of ``n_jobs`` expect."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, host: Host) -> None:
        run_workers(self.n, lambda: work_through(host), host.stop)
