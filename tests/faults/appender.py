"""One process that appends to a study's log and writes down what was acknowledged, until its standard input ends:
``python appender.py URL STUDY WORKER FILE``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tunesmith.storages import BaseStorage, get_storage


def main(url: str, study: str, worker: str, file: str) -> None:
    """A line of the file is: number of the record, its position, seconds that the append took, when it returned."""
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    storage = get_storage(url)
    diary = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    k = 0
    while not ended.is_set():
        began = time.monotonic()
        position = storage.append(study, record(int(worker), k))
        now = time.monotonic()
        os.write(diary, f"{k} {position} {now - began:.6f} {now:.6f}\n".encode())
        k += 1


def record(worker: int, k: int) -> list[dict[str, Any]]:
    """What is appended: about as long as the events of a trial."""
    return [{"worker": worker, "k": k, "padding": "x" * (300 + 7 * k % 100)}]


class Appenders:
    """Processes that append at once, and what they have written down."""

    def __init__(self, url: str, study: str, folder: Path) -> None:
        self._url, self._study, self._folder = url, study, folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, n: int) -> None:
        """Start so many."""
        for _ in range(n):
            worker = len(self.processes)
            line = [sys.executable, __file__, self._url, self._study, str(worker), str(self._folder / str(worker))]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.processes.append(subprocess.Popen(line, stdin=subprocess.PIPE, env=environment))

    def diary(self, worker: int) -> list[tuple[int, int, float, float]]:
        """The acknowledged records of one: number, position, seconds, time."""
        try:
            lines = (self._folder / str(worker)).read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [(int(k), int(p), float(s), float(t)) for k, p, s, t in map(str.split, lines)]

    def go_on(self, seconds: float) -> bool:
        """Wait until each of those that live has appended once more."""
        alive = [w for w, process in enumerate(self.processes) if process.poll() is None]
        before = {worker: len(self.diary(worker)) for worker in alive}
        end = time.monotonic() + seconds
        while any(len(self.diary(worker)) == before[worker] for worker in alive):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end(self) -> list[int]:
        """Let them end; their exit statuses."""
        for process in self.processes:
            if process.stdin is not None:
                process.stdin.close()
        return [process.wait(timeout=200) for process in self.processes]

    def check(self, storage: BaseStorage) -> dict[str, int]:
        """Compare the log with what was acknowledged."""
        records = storage.read(self._study)
        lost = doubled = changed = 0
        for worker in range(len(self.processes)):
            own = [(p, events) for p, events in enumerate(records, 1) if events[0]["worker"] == worker]
            numbers = [events[0]["k"] for _, events in own]
            doubled += len(numbers) - len(set(numbers))
            changed += sum(events != record(worker, events[0]["k"]) for _, events in own)
            positions = {events[0]["k"]: p for p, events in own}
            lost += sum(positions.get(k) != p for k, p, _, _ in self.diary(worker))
            changed += numbers != sorted(numbers)
        return {"records": len(records), "lost": lost, "doubled": doubled, "changed": changed}


if __name__ == "__main__":
    main(*sys.argv[1:])
