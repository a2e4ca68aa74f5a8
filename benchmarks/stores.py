"""What a store bears: appends, looks for new records, and heartbeats a second, from one process and from several.

    python benchmarks/stores.py URL [URL ...] [--processes 1 4] [--seconds 5] [--rounds 3] [--json FILE]

A record holds ten reports of one value, as a busy worker sends them. All processes work on one study, each with a
handle of its own; a look finds nothing new. Rates are those of all processes together, medians over rounds that are
interleaved over the stores. Servers are the caller's; a study ``stores-benchmark`` is made there and deleted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from tunesmith.storages import get_storage
from tunesmith.storages._common import without_password

NAME = "stores-benchmark"
KINDS = ("appends", "empty reads", "heartbeats")


def _record(process: int) -> list[dict[str, Any]]:
    return [{"e": "rep", "n": process, "k": f"0123abcd.{process}", "s": step, "v": 0.123456789} for step in range(10)]


def _work(url: str, study: str, kind: str, process: int, start: Any, seconds: float, found: Any) -> None:
    with get_storage(url) as store:
        record, position = _record(process), len(store.read(study))
        worker = f"{process:08x}"
        actions = {
            "appends": lambda: store.append(study, record),
            "empty reads": lambda: store.read(study, position),
            "heartbeats": lambda: store.heartbeat(study, worker),
        }
        action, count = actions[kind], 0
        action()
        start.wait()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            action()
            count += 1
        found.put(count)


def rate(url: str, study: str, kind: str, processes: int, seconds: float) -> float:
    """Calls a second of all processes."""
    spawn = multiprocessing.get_context("spawn")
    start, found = spawn.Barrier(processes), spawn.Queue()
    workers = [spawn.Process(target=_work, args=(url, study, kind, k, start, seconds, found)) for k in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(found.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total / seconds


def measure(urls: list[str], processes: list[int], seconds: float, rounds: int) -> dict[str, Any]:
    """Store -> kind -> number of processes -> the rate of each round."""
    result: dict[str, Any] = {without_password(url): {kind: {} for kind in KINDS} for url in urls}
    for _ in range(rounds):
        for url in urls:
            with get_storage(url) as store:
                study = store.create(NAME)
                for kind in KINDS:
                    for n in processes:
                        rates = result[without_password(url)][kind].setdefault(str(n), [])
                        rates.append(round(rate(url, study, kind, n, seconds), 1))
                store.delete(study)
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rates = measure(given.urls, given.processes, given.seconds, given.rounds)
    for url, kinds in rates.items():
        print(url.partition(":")[0])
        for kind, by_number in kinds.items():
            shown = "  ".join(f"{n} processes: {statistics.median(found):.0f}/s" for n, found in by_number.items())
            print(f"  {kind:12} {shown}")
    if given.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        kinds_only = {url.partition(":")[0]: found for url, found in rates.items()}
        given.json.write_text(json.dumps({"rates": kinds_only, "machine": machine, "seconds": given.seconds}) + "\n")


if __name__ == "__main__":
    main()
