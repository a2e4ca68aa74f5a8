"""Workers of the fault tests: started, killed, frozen, and what they have written down."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tunesmith

WORKER = str(Path(__file__).with_name("worker.py"))


class Crew:
    """Processes that run one job of ``worker.py``.

    Args:
        url: of the storage.
        folder: for their diaries.
        job, arguments: what they do.
    """

    def __init__(self, url: str, folder: Path, job: str, *arguments: Any) -> None:
        self.folder = folder
        self._command = [sys.executable, WORKER, job, url, str(folder), *map(str, arguments)]
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, n: int = 1, *more: Any) -> None:
        """Start so many more."""
        for _ in range(n):
            self.processes.append(subprocess.Popen([*self._command, *map(str, more)], env=self._environment))

    def kill(self, index: int) -> None:
        """``kill -9``; its place in the list is free."""
        process = self.processes.pop(index)
        process.kill()
        process.wait()

    def buried(self) -> int:
        """Forget those that have ended by themselves; how many."""
        ended = [p for p in self.processes if p.poll() is not None]
        self.processes = [p for p in self.processes if p.poll() is None]
        return len(ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all."""
        for process in self.processes:
            process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Until all have ended."""
        for process in self.processes:
            assert process.wait(timeout=seconds) == 0

    def end(self) -> None:
        """Kill what is left."""
        while self.processes:
            self.kill(0)

    def lines(self, kind: str) -> list[list[str]]:
        """All words that the workers have written down."""
        found = []
        for path in self.folder.glob(f"{kind}-*"):
            text = path.read_text()
            found += [line.split() for line in text.split("\n")[:-1]]
        return found


@contextlib.contextmanager
def crew(url: str, job: str, *arguments: Any) -> Iterator[Crew]:
    """A crew with a folder of its own; nothing of it is left at the end."""
    with tempfile.TemporaryDirectory() as folder:
        made = Crew(url, Path(folder), job, *arguments)
        try:
            yield made
        finally:
            made.end()


def new_study(url: str, **options: Any) -> Any:
    """The study that the workers know by name."""
    tunesmith.logging.set_verbosity(tunesmith.logging.CRITICAL)
    options = {"sampler": "random", "pruner": "nop", "seed": 1, **options}
    return tunesmith.create_study(study_name="faults", storage=url, **options)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def states(study: Any) -> dict[str, int]:
    """Name of a state -> how many trials."""
    return dict(Counter(t.state.name for t in study.get_trials(deepcopy=False)))


def command(description: str, run: Callable[..., dict[str, Any]], long: dict[str, Any]) -> None:
    """The long version: ``python FILE --long --storage URL --out FILE``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--long", action="store_true", help="the figure of the issue instead of the short run")
    parser.add_argument("--storage", help="a URL of a storage that is empty; by default a new SQLite file")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.storage or f"sqlite:///{folder}/faults.db"
        result = run(url, **(long if given.long else {}))
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    result["storage"] = url.partition(":")[0]
    text = json.dumps(result, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
