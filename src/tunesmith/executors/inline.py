"""One worker: the calling thread."""

from __future__ import annotations

from tunesmith.executors._base import BaseExecutor, Host
from tunesmith.executors._evaluate import work_through


class InlineExecutor(BaseExecutor):
    """Evaluates one trial after the other in the calling thread."""

    def run(self, host: Host) -> None:
        work_through(host)
