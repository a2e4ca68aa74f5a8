"""Speed of the core against Optuna in one run: trials a second, loading, memory, import. Prints ratios.

    python benchmarks/throughput.py [--rounds 5] [--trials 4000] [--json FILE]

Ten float parameters and random search, so that nothing but the framework is timed. Rounds are interleaved (one of ours,
one of Optuna's) and medians are reported, because machines are noisy. Optuna runs fewer trials where it is slow; its
rate does not depend on that at these sizes (it falls with the number of trials, so fewer favour it).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

import tunesmith

DIMENSIONS = 10


def objective(trial: Any) -> float:
    """Ten draws and a sum."""
    return sum(trial.suggest_float(f"x{i}", -5.0, 5.0) for i in range(DIMENSIONS))


def our_storage(kind: str, folder: Path, durability: str) -> Any:
    from tunesmith.storages import JournalFileBackend, JournalStorage, RDBStorage

    if kind == "memory":
        return None
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{folder / 'ours.db'}", durability=durability)  # type: ignore[arg-type]
    return JournalStorage(JournalFileBackend(str(folder / "ours.jsonl"), durability=durability))  # type: ignore[arg-type]


def their_storage(kind: str, folder: Path) -> Any:
    if kind == "memory":
        return None
    if kind == "sqlite":
        return f"sqlite:///{folder / 'theirs.db'}"
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / "theirs.log")))


def rate(library: Any, storage: Any, n: int) -> float:
    """Trials a second of ``study.optimize`` after a warm-up of ten trials."""
    study = library.create_study(storage=storage, sampler=library.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=10)
    gc.collect()
    begin = time.perf_counter()
    study.optimize(objective, n_trials=n)
    return n / (time.perf_counter() - begin)


def in_folder(run: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TUNESMITH_BENCH_DIR")) as name:
        return run(Path(name))


def throughput(kind: str, durability: str, trials: int, rounds: int) -> dict[str, Any]:
    """Medians of interleaved rounds."""
    theirs_n = {"memory": max(trials // 10, 100), "sqlite": 40, "file": 200}[kind]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(in_folder(lambda f: rate(tunesmith, our_storage(kind, f, durability), trials)))
        if durability == "process":
            theirs.append(in_folder(lambda f: rate(optuna, their_storage(kind, f), theirs_n)))
    return {"what": f"{kind}, trials/s", "durability": durability, "ours": ours, "optuna": theirs}


def loading(kind: str, rounds: int, n: int = 10_000) -> dict[str, Any]:
    """Seconds from nothing to a list of all trials."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TUNESMITH_BENCH_DIR")) as name:
        folder = Path(name)
        study = tunesmith.create_study(study_name="s", storage=our_storage(kind, folder, "process"), seed=1)
        study.optimize(objective, n_trials=n)
        few = 1000 if kind == "file" else 200  # writing 10,000 with Optuna takes minutes; its time is scaled up
        other = optuna.create_study(
            study_name="s", storage=their_storage(kind, folder), sampler=optuna.samplers.RandomSampler(seed=1)
        )
        template = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        template.optimize(objective, n_trials=few)
        other.add_trials(template.trials)
        for _ in range(rounds):
            gc.collect()
            begin = time.perf_counter()
            trials = tunesmith.load_study(study_name="s", storage=our_storage(kind, folder, "process")).trials
            ours.append(time.perf_counter() - begin)
            assert len(trials) == n
            del trials
            gc.collect()
            begin = time.perf_counter()
            found = optuna.load_study(study_name="s", storage=their_storage(kind, folder)).trials
            theirs.append((time.perf_counter() - begin) * n / few)
            assert len(found) == few
    return {
        "what": f"{kind}, load {n:,} trials, s",
        "durability": "process",
        "ours": ours,
        "optuna": theirs,
        "note": f"Optuna's seconds are scaled from {few} trials",
    }


def memory(n: int = 10_000) -> dict[str, Any]:
    """Bytes a trial that a study holds beside its log: ours is the fold, Optuna's the list of trials it caches."""
    storage = tunesmith.storages.InMemoryStorage()
    study = tunesmith.create_study(study_name="s", storage=storage, seed=1)
    study.optimize(objective, n_trials=n)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    loaded = tunesmith.load_study(study_name="s", storage=storage)
    assert loaded.history.n == n
    gc.collect()
    ours = (tracemalloc.get_traced_memory()[0] - before) / n
    tracemalloc.stop()
    few = 1000
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    other = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    other.optimize(objective, n_trials=few)
    gc.collect()
    theirs = (tracemalloc.get_traced_memory()[0] - before) / few
    tracemalloc.stop()
    return {"what": "memory, bytes a trial", "durability": "-", "ours": [ours], "optuna": [theirs]}


def import_time(rounds: int) -> dict[str, Any]:
    """Seconds of ``import`` in a fresh interpreter, its own start-up subtracted."""
    times: dict[str, list[float]] = {"pass": [], "import numpy": [], "import tunesmith": [], "import optuna": []}
    for _ in range(max(rounds, 7)):
        for code, found in times.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            found.append(time.perf_counter() - begin)
    base = statistics.median(times["pass"])
    numpy, ours, theirs = (statistics.median(times[k]) - base for k in list(times)[1:])
    return {
        "what": "import, s", "durability": "-", "ours": [ours], "optuna": [theirs], "numpy": [numpy],
        "note": f"{ours / numpy:.2f} x import numpy",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--json", type=Path, help="write the raw numbers here")
    args = parser.parse_args()
    for library in (tunesmith, optuna):
        library.logging.set_verbosity(library.logging.WARNING)
    jobs: list[Callable[[], dict[str, Any]]] = [
        lambda: throughput("memory", "process", args.trials, args.rounds),
        lambda: throughput("sqlite", "process", args.trials, args.rounds),
        lambda: throughput("sqlite", "power", min(args.trials, 500), args.rounds),
        lambda: throughput("file", "process", args.trials, args.rounds),
        lambda: throughput("file", "power", min(args.trials, 500), args.rounds),
        lambda: loading("sqlite", args.rounds),
        lambda: loading("file", args.rounds),
        memory,
        lambda: import_time(args.rounds),
    ]
    print(f"{'':32} {'mode':8} {'tunesmith':>12} {'optuna':>12} {'ratio':>9}")
    rows = []
    for job in jobs:
        row = job()
        rows.append(row)
        ours = statistics.median(row["ours"])
        theirs = statistics.median(row["optuna"]) if row["optuna"] else float("nan")
        ratio = ours / theirs if "trials/s" in row["what"] else theirs / ours
        shown = f"{ratio:8.1f}x" if ratio == ratio else f"{'':>9}"
        print(
            f"{row['what']:32} {row['durability']:8} {ours:12.4g} {theirs:12.4g} {shown}  {row.get('note', '')}",
            flush=True,
        )
    if args.json:
        info = {
            "machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
            "optuna": optuna.__version__, "tunesmith": tunesmith.__version__, "rounds": args.rounds, "rows": rows,
        }  # fmt: skip
        args.json.write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
