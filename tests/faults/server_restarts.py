"""The database server is restarted again and again while workers append: all survive, and each record is there once.

Figure 7 of "Nothing lost": 20 restarts of PostgreSQL, half of them immediate (as a crash), and an outage of 60 s.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appender import Appenders
from crew import command

from tunesmith.storages import RDBStorage

sys.path.append(str(Path(__file__).parents[1]))  # pytest has it, a command has not
from storages import servers

#: A shutdown in good order, and one that is as a crash.
WAYS = (signal.SIGINT, signal.SIGQUIT)


def run(
    _: str = "", kind: str = "postgresql", workers: int = 4, restarts: int = 2, outage: float = 0.0
) -> dict[str, Any]:
    """Restart the server in both ways in turn.

    Args:
        kind: ``"postgresql"`` or ``"mysql"``.
        workers: processes that append to one study.
        restarts: how many.
        outage: seconds that the server is away once more, at the end; none if 0.

    Raises:
        servers.Missing: The server is not installed.
    """
    with running(kind) as server, tempfile.TemporaryDirectory() as folder, RDBStorage(server.url) as storage:
        appenders = Appenders(server.url, storage.create("faults"), Path(folder))
        appenders.start(workers)
        went_on = [appenders.go_on(60)]
        downtimes = []
        for k in range(restarts + (outage > 0)):
            server.stop(WAYS[k % 2])
            began = time.monotonic()
            time.sleep(outage if k == restarts else 0.0)
            server.start()
            downtimes.append(time.monotonic() - began)
            went_on.append(appenders.go_on(60))
        statuses = appenders.end()
        found = appenders.check(storage)
        longest = max(seconds for worker in range(workers) for _, _, seconds, _ in appenders.diary(worker))
    return {
        "server": kind, "workers": workers, "restarts": restarts, "outage_seconds": outage,
        "workers_that_survived": statuses.count(0), "times_that_all_went_on": sum(went_on), "of": len(went_on),
        "longest_downtime_seconds": round(max(downtimes), 2), "longest_append_seconds": round(longest, 2), **found,
    }  # fmt: skip


@contextlib.contextmanager
def running(kind: str) -> Iterator[servers.Server]:
    """A server of its own, gone in the end."""
    server = servers.started(kind)
    try:
        yield server
    finally:
        server.remove()


if __name__ == "__main__":
    command(__doc__ or "", run, {"workers": 8, "restarts": 20, "outage": 60.0})
