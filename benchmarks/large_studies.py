"""What a long study costs: opening, appending and asking as it grows, in one SQLite file.

    python benchmarks/large_studies.py [--sizes 10000 100000 1000000] [--samplers random tpe] [--folder DIR]
                                       [--json FILE]

Trials of ten parameters (eight floats, an integer, a choice) without reports, whose claims and results are appended one
by one as a worker appends them; that is the time of an *append* (two for each trial): the mean since the size before,
with what the snapshots in between cost, the median of the last 10,000, and the slowest one, which is the last snapshot.
At each size a new process opens the study: with the snapshot
that the writer has left (so part of the log is read, too), and from the log alone. Then it asks: the first proposal,
for which the method must look at all trials, and the median of the 20 cycles of ask and tell after it. The memory is
what the resident set of that process has grown by, when it has opened the study, and when it has asked.

Wall clock, one thread. Times of other processes on the machine are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tunesmith
from tunesmith import events as ev
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.space import Space
from tunesmith.storages import RDBStorage
from tunesmith.study._log import StudyLog
from tunesmith.study._snapshots import Snapshots

SPACE = Space(
    {
        **{f"x{i}": Float(1e-3, 1, log=i % 2 == 0) for i in range(8)},
        "units": Int(1, 512, log=True),
        "activation": Categorical(["relu", "tanh", "gelu"]),
    }
)
WINDOW = 10_000
CYCLES = 20


def trials(first: int, rng: np.random.Generator) -> Iterator[tuple[list[ev.Event], list[ev.Event]]]:
    """The two records of each trial, random ones."""
    number = first
    while True:
        rows = SPACE.decode(rng.random((1000, len(SPACE))))
        for row in rows:
            params = SPACE.to_params(row)
            token, loss = f"bench.{number}", float(np.sum(row[:8]))
            at = 2 * number + 2
            ask = {"e": "ask", "n": number, "k": token, "t": ev.now(), "at": at, "a": 0, "s": SPACE.id}
            tell = {"e": "tell", "st": 1, "t": ev.now(), "y": [loss], "n": number, "k": token}
            yield [{**ask, "p": SPACE.to_event(params)}], [tell]
            number += 1


def grow(log: StudyLog, size: int) -> dict[str, float]:
    """Append until the study has so many trials; the time of an append."""
    log.sync()
    took: list[float] = []
    for ask, tell in trials(log.fold.n_trials, np.random.default_rng(size)):
        for record in (ask, tell):
            begin = time.perf_counter()
            log.append(record)
            took.append(time.perf_counter() - begin)
        if log.fold.n_trials >= size:
            break
    mean, median = statistics.fmean(took), statistics.median(took[-WINDOW:])
    return {"append_us": 1e6 * mean, "append_median_us": 1e6 * median, "slowest_ms": 1e3 * max(took)}


def resident() -> float:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(url: str, sampler: str, snapshot: bool) -> dict[str, Any]:
    """Open the study in this process, and ask; run in a new one."""
    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    warm = tunesmith.create_study(sampler=sampler, space=SPACE)  # imports are not what is measured
    for _ in range(15):
        warm.tell(warm.ask(SPACE), 1.0)
    if not snapshot:
        Snapshots.read = lambda self, registered: None  # type: ignore[method-assign]
    found: dict[str, Any] = {"before_mb": resident()}
    begin = time.perf_counter()
    study = tunesmith.load_study(study_name="long", storage=url, sampler=sampler)
    history = study.history
    found |= {"open_s": time.perf_counter() - begin, "opened_mb": resident(), "trials": history.n}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    found["read_after_snapshot"] = study._log.position - study._log._kept
    if not snapshot:
        return found
    cycles = []
    for _ in range(CYCLES + 1):
        begin = time.perf_counter()
        trial = study.ask(SPACE)
        asked = time.perf_counter()
        study.tell(trial, 1.0)
        cycles.append((asked - begin, time.perf_counter() - asked))
    found["first_ask_s"] = cycles[0][0]
    found["ask_ms"] = 1e3 * statistics.median(ask for ask, _ in cycles[1:])
    found["tell_ms"] = 1e3 * statistics.median(tell for _, tell in cycles[1:])
    return {**found, "asked_mb": resident()}


def elsewhere(url: str, sampler: str, snapshot: bool) -> dict[str, Any]:
    """:func:`measure` in a new process."""
    command = [sys.executable, __file__, "--measure", url, sampler, str(int(snapshot))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"])
    parser.add_argument("--folder", help="where the file is made; default: a temporary folder")
    parser.add_argument("--json", help="write the raw numbers there")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        url, sampler, snapshot = options.measure
        print(json.dumps(measure(url, sampler, snapshot == "1")))
        return
    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = f"sqlite:///{folder}/long.db"
        study = tunesmith.create_study(study_name="long", storage=url, sampler="random", space=SPACE, seed=0)
        log = StudyLog(RDBStorage(url), study._log.study)
        log.append([ev.space_event(SPACE)])
        for size in sorted(options.sizes):
            row = {"size": size, **grow(log, size), "file_mb": os.path.getsize(f"{folder}/long.db") / 1e6}
            row["log_alone"] = elsewhere(url, options.samplers[0], False)
            row |= {sampler: elsewhere(url, sampler, True) for sampler in options.samplers}
            rows.append(row)
            show(row, options.samplers)
    if options.json:
        about = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
        Path(options.json).write_text(json.dumps({"about": about, "rows": rows}, indent=1))


def show(row: dict[str, Any], samplers: list[str]) -> None:
    """Print the numbers of one size."""
    alone = row["log_alone"]
    print(f"{row['size']:,} trials, a file of {row['file_mb']:.0f} MB")
    print(
        f"  append {row['append_us']:.0f} us with snapshots, median {row['append_median_us']:.0f} us, "
        f"slowest {row['slowest_ms']:.0f} ms"
    )
    print(
        f"  open from the log alone {alone['open_s']:.2f} s, {alone['opened_mb'] - alone['before_mb']:.0f} MB, "
        f"meanwhile {alone['peak_mb'] - alone['before_mb']:.0f} MB"
    )
    for sampler in samplers:
        found = row[sampler]
        print(
            f"  {sampler}: open {found['open_s']:.2f} s ({found['read_after_snapshot']:,} records after the snapshot), "
            f"{found['opened_mb'] - found['before_mb']:.0f} MB; first ask {found['first_ask_s']:.2f} s, "
            f"then ask {found['ask_ms']:.2f} ms, tell {found['tell_ms']:.2f} ms, "
            f"{found['asked_mb'] - found['before_mb']:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
