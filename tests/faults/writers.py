"""Many processes write to one file at once: who gets how much, how long they wait, and how soon after a holder's death
its lock is free.

Figures 12 and "fair under 32 writers" of "Nothing lost": 8 processes make at least 300 trials a second on one SQLite
file, each of them an ask and a tell; 32 appenders on one study; a writer of the file log that is killed while it holds
the lock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from appender import Appenders
from crew import command

import tunesmith
from tunesmith.storages import get_storage

_TRIALS = """
import sys, time, tunesmith
tunesmith.logging.set_verbosity(tunesmith.logging.WARNING)
study = tunesmith.load_study(study_name="faults", storage=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
end, n = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0, 1))
    n += 1
print(n)
"""
_HOLDER = """
import sys, time
from tunesmith.storages import JournalFileBackend
backend = JournalFileBackend(sys.argv[1])
backend.acquire()
print("held", flush=True)
time.sleep(60)
"""


def run(url: str, writers: int = 8, trials_by: int = 4, seconds: float = 2.0, kills: int = 3) -> dict[str, Any]:
    """All three.

    Args:
        url: of an empty storage.
        writers: processes that append.
        trials_by: processes that make trials.
        seconds: of each.
        kills: of a holder of the file log's lock.
    """
    return {
        "seconds": seconds, "appends": appends(url, writers, seconds), "trials": trials(url, trials_by, seconds),
        "lock_of_the_file_log": after_kills(kills),
    }  # fmt: skip


def appends(url: str, writers: int, seconds: float) -> dict[str, Any]:
    """Appends of each process while all are at it, and how long single ones took."""
    with tempfile.TemporaryDirectory() as folder, get_storage(url) as storage:
        made = Appenders(url, storage.create("appends"), Path(folder))
        made.start(writers)
        made.go_on(120)
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        all_go_on = made.go_on(60)
        statuses = made.end()
        diaries = [made.diary(writer) for writer in range(writers)]
        found = made.check(storage)
    inside = [[took for _, _, took, at in diary if begin <= at <= end] for diary in diaries]
    counts = [len(took) for took in inside]
    waits = np.concatenate(inside) * 1000
    return {
        "writers": writers, "failed": len(statuses) - statuses.count(0), "all_go_on": all_go_on,
        "appends_per_second": round(sum(counts) / seconds, 1),
        "fewest_of_one": min(counts), "most_of_one": max(counts),
        "milliseconds": {f"p{q}": round(float(np.percentile(waits, q)), 2) for q in (50, 99, 100)}, **found,
    }  # fmt: skip


def trials(url: str, processes: int, seconds: float) -> dict[str, Any]:
    """Trials that cost nothing, by all together."""
    tunesmith.create_study(study_name="faults", storage=url, sampler="random", pruner="nop", seed=1)
    line = [sys.executable, "-c", _TRIALS, url, str(seconds)]
    started = [
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate()[0]) for process in started]
    finished = len(tunesmith.load_study(study_name="faults", storage=url).trials)
    return {
        "processes": processes, "trials_per_second": round(sum(counts) / seconds, 1), "fewest_of_one": min(counts),
        "most_of_one": max(counts), "trials": sum(counts), "in_the_log": finished,
    }  # fmt: skip


def after_kills(kills: int) -> dict[str, Any]:
    """How long another one waits from the moment when the holder of the file log's lock is killed."""
    waits = []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/log.jsonl"
        with get_storage(path) as storage:
            study = storage.create("study")
            for _ in range(kills):
                line = [sys.executable, "-c", _HOLDER, path]
                with subprocess.Popen(line, stdout=subprocess.PIPE) as holder:
                    assert holder.stdout is not None
                    assert holder.stdout.readline() == b"held\n"
                    began = time.monotonic()
                    holder.kill()
                    storage.append(study, [])
                    waits.append(time.monotonic() - began)
    return {"kills": kills, "milliseconds_p99": round(float(np.percentile(waits, 99)) * 1000, 2)}


if __name__ == "__main__":
    command(__doc__ or "", run, {"writers": 32, "trials_by": 8, "seconds": 10.0, "kills": 100})
