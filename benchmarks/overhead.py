"""Time a search method costs: ask + tell at 10 parameters, against Optuna and rustuna in one run. Prints ratios.

    python benchmarks/overhead.py [--parts tpe gp others batch memory] [--samplers TPE PSO ...] [--space floats]
                                  [--json FILE]

Ten parameters (seven floats, three of them on a log scale, and three integers; ``--space floats``: ten on a linear
scale, which cost Optuna's TPE less than half) and a cheap smooth objective, which is not timed. A *cycle* is
``study.ask()``, ten ``trial.suggest_*`` and ``study.tell()``, in memory, through each library's own study: what a loop
costs besides the training.

- **tpe**: cycles after n trials that were added to the study; the first one (a model made from nothing, as after
  loading) is a row of its own. Rounds of the libraries are interleaved.
- **gp**: one natural run each; medians of the 20 cycles around n.
- **others**: every sampler that discovery finds and that needs no argument, and those of the same name elsewhere.
  Natural runs, because the state of some methods is in their own proposals; medians of the cycles from n on. A run
  that is not there after ``--limit`` seconds is filled up with added trials, which its row says. Methods that need
  countable parameters get ten integers instead.
- **batch**: 64 proposals at once against 64 times one, asked of the sampler with the same history after 200 trials
  (so the single ones profit from whatever the history caches).
- **memory**: growth of the resident set between cycle 500 and cycle 2,500 in a process of its own, in bytes a trial;
  random search shows what the study itself keeps. Slow methods stop after ``--limit`` seconds.

Times are medians, in processor time of this process with one thread, because machines are shared; the JSON has the wall
clock of every cycle too. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from overhead_libraries import COUNTABLE, MIXED, PEERS, SPACES, Axis, Library, Ours, loss

TPE_SIZES = {"tunesmith": (100, 1_000, 5_000, 50_000), "rustuna": (100, 1_000, 5_000, 50_000),
             "optuna": (100, 1_000, 5_000)}  # fmt: skip
GP_SIZES = (100, 200, 300)
SIZES = (100, 5_000)
BATCH, BATCH_AFTER = 64, 200
MEMORY_FROM, MEMORY_TO = 500, 2_500


@dataclass
class Row:
    """One measured thing. Times are milliseconds of each cycle."""

    part: str
    sampler: str
    library: str
    what: str
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    note: str = ""


@dataclass
class Loop:
    """A study that goes on."""

    library: Library
    sampler: Any
    space: tuple[Axis, ...] = MIXED

    def __post_init__(self) -> None:
        self.study = self.library.study(self.sampler, self.space)
        self.rng = random.Random(1)
        self.trials = 0

    def fill(self, n: int) -> None:
        """Add random trials until there are n."""
        rows = [[axis.draw(self.rng) for axis in self.space] for _ in range(n - self.trials)]
        self.library.add(self.study, self.space, rows)
        self.trials = n

    def cycle(self, row: Row | None = None) -> None:
        """Ask, suggest, tell; times go to the row."""
        wall, cpu = time.perf_counter(), time.process_time()
        trial = self.study.ask()
        values = [axis.suggest(trial) for axis in self.space]
        asked_wall, asked_cpu = time.perf_counter(), time.process_time()
        value = loss(self.space, values)
        again_wall, again_cpu = time.perf_counter(), time.process_time()
        self.library.tell(self.study, trial, value)
        if row is not None:
            row.wall.append(1e3 * (time.perf_counter() - again_wall + asked_wall - wall))
            row.cpu.append(1e3 * (time.process_time() - again_cpu + asked_cpu - cpu))
        self.trials += 1


def loop(library: Library, name: str, space: tuple[Axis, ...] = MIXED) -> Loop | None:
    """A new study with that sampler, on ten integers if it needs them; ``None`` if it can be made on neither space."""
    reasons = []
    for tried in (space, COUNTABLE):
        sampler = library.sampler(name)
        if sampler is None:
            return None
        made = Loop(library, sampler, tried)
        try:
            made.cycle()
        except (ValueError, NotImplementedError) as error:
            reasons.append(str(error))
        else:
            return made
    print(f"{library.name}'s {name} was left out:", *reasons, sep="\n  ")
    return None


def tpe(libraries: list[Library], options: argparse.Namespace) -> Iterator[list[Row]]:
    for n in TPE_SIZES["tunesmith"]:
        firsts, loops = [], []
        for library in libraries:
            made = loop(library, "TPESampler", SPACES[options.space]) if n in TPE_SIZES[library.name] else None
            if made is None:
                continue
            made.fill(n)
            firsts.append(Row("tpe", "TPESampler", library.name, f"n = {n:,}, first"))
            made.cycle(firsts[-1])
            loops.append((made, Row("tpe", "TPESampler", library.name, f"n = {n:,}")))
        for _ in range(options.rounds):
            for made, row in loops:
                for _ in range(options.asks):
                    made.cycle(row)
        yield [*firsts, *(row for _, row in loops)]


def natural(part: str, made: Loop, name: str, marks: dict[int, int], asks: int, limit: float) -> list[Row]:
    """Rows of one run, each of ``asks`` cycles: mark -> trial from which they are timed."""
    rows = []
    begin = time.process_time()
    for n, start in marks.items():
        row = Row(part, name, made.library.name, f"n = {n:,}")
        while made.trials < start and time.process_time() - begin < limit:
            made.cycle()
        if made.trials < start:
            row.note = f"added from {made.trials:,} on"
            made.fill(start)
            made.cycle()
        if made.space is COUNTABLE:
            row.note = "; ".join(filter(None, [row.note, "ten integers"]))
        for _ in range(asks):
            made.cycle(row)
        rows.append(row)
    return rows


def gp(libraries: list[Library], options: argparse.Namespace) -> Iterator[list[Row]]:
    rows = []
    for library in libraries:
        made = loop(library, "GPSampler", SPACES[options.space])
        if made is not None:
            rows += natural("gp", made, "GPSampler", {n: n - 10 for n in GP_SIZES}, 20, math.inf)
    yield rows


def others(libraries: list[Library], options: argparse.Namespace) -> Iterator[list[Row]]:
    for name in discovered(options, but=("TPESampler", "GPSampler")):
        rows: list[Row] = []
        for library in libraries:
            made = loop(library, name, SPACES[options.space])
            if made is not None:
                rows += natural("others", made, name, {n: n for n in SIZES}, options.asks, options.limit)
        yield rows


def batch(libraries: list[Library], options: argparse.Namespace) -> Iterator[list[Row]]:
    import numpy as np

    for name in discovered(options):
        made = loop(libraries[0], name, SPACES[options.space])
        if made is None:
            continue
        while made.trials < BATCH_AFTER:
            made.cycle()
        study, history = made.study, made.study.history
        once, singly = (Row("batch", name, "tunesmith", what) for what in (f"{BATCH} at once", f"{BATCH} x 1"))
        calls = {"once": (once, 1, BATCH), "singly": (singly, BATCH, 1)}
        for repeat in range(options.rounds):
            for row, times, n in calls.values():
                wall, cpu = time.perf_counter(), time.process_time()
                for i in range(times):
                    study.sampler.propose(study.space, history, np.random.default_rng([repeat, i]), n)
                row.wall.append(1e3 * (time.perf_counter() - wall))
                row.cpu.append(1e3 * (time.process_time() - cpu))
        yield [once, singly]


def resident() -> int:
    """Bytes of the resident set of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(name: str, limit: float) -> tuple[int, int, float] | None:
    """(from trial, to trial, bytes a trial) of our sampler of that name; runs in a process of its own."""
    made = loop(Ours(), name)
    if made is None:
        return None
    begin = time.process_time()
    while made.trials < MEMORY_FROM and time.process_time() - begin < limit / 3:
        made.cycle()
    start, before = made.trials, resident()
    while made.trials < MEMORY_TO and time.process_time() - begin < limit:
        made.cycle()
    return start, made.trials, (resident() - before) / max(made.trials - start, 1)


def memory(libraries: list[Library], options: argparse.Namespace) -> Iterator[list[Row]]:
    for name in discovered(options):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(growth, name, options.limit).result()
        if found is not None:
            start, end, each = found
            yield [Row("memory", name, "tunesmith", f"trials {start:,} to {end:,}", note=f"{each:.0f} bytes a trial")]


def discovered(options: argparse.Namespace, but: tuple[str, ...] = ()) -> list[str]:
    """Class names of our samplers, those that were asked for."""
    from tunesmith import samplers

    wanted = {name.removesuffix("Sampler").lower() for name in options.samplers}
    names = [name for name in samplers.available() if name not in but]
    return [name for name in names if not wanted or name.removesuffix("Sampler").lower() in wanted]


def show(rows: list[Row]) -> None:
    """One line for each sampler and size: medians in milliseconds, and how many times as long the others take."""
    for key in dict.fromkeys((row.sampler, row.what) for row in rows):
        found = {row.library: row for row in rows if (row.sampler, row.what) == key}
        medians = {name: statistics.median(row.cpu) for name, row in found.items() if row.cpu}
        cells = [f"{name} {value:9.3f} ms" for name, value in medians.items()]
        if "tunesmith" in medians:
            ours = medians.pop("tunesmith")
            cells += [f"{name} / ours {value / ours:6.1f}" for name, value in medians.items()]
        notes = [f"{row.library}: {row.note}" for row in found.values() if row.note]
        print(f"{key[0]:26} {key[1]:20}", "  ".join([*cells, *notes]), flush=True)


PARTS: dict[str, Callable[[list[Library], argparse.Namespace], Iterator[list[Row]]]] = {
    "tpe": tpe, "gp": gp, "others": others, "batch": batch, "memory": memory,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--samplers", nargs="+", default=[], help="names, for the last three parts; default all")
    parser.add_argument("--libraries", nargs="*", choices=PEERS, default=list(PEERS), help="besides ours")
    parser.add_argument("--space", choices=SPACES, default="mixed", help="but for memory, which has the mixed one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asks", type=int, default=20, help="cycles in a round")
    parser.add_argument("--limit", type=float, default=60.0, help="processor seconds a natural run may take")
    parser.add_argument("--json", type=Path, help="write the raw numbers here")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when NumPy is imported, so nothing above imports it
    warnings.simplefilter("ignore")
    found = [name for name in options.libraries if importlib.util.find_spec(name) is not None]
    libraries: list[Library] = [Ours(), *(PEERS[name]() for name in found)]
    rows: list[Row] = []
    for part in options.parts:
        print(f"-- {part}", flush=True)
        for new in PARTS[part](libraries, options):
            show(new)
            rows += new
    if options.json:
        info = {
            "machine": platform.platform(), "cpus": os.cpu_count(), "python": sys.version.split()[0],
            "versions": {name: version(name) for name in ("numpy", *found)}, "space": options.space,
            "rounds": options.rounds, "asks": options.asks, "rows": [vars(row) for row in rows],
        }  # fmt: skip
        options.json.write_text(json.dumps(info) + "\n")


if __name__ == "__main__":
    main()
