"""What a trial costs besides its training, by who evaluates it. Prints ratios.

    python benchmarks/processes.py [--trials 400] [--rounds 5] [--jobs 2] [--json FILE]

The objective suggests three parameters and returns at once; random search, in memory. A row is a way to evaluate ``n``
trials, and its time is that of the whole loop divided by ``n``: ask, three suggestions, tell. joblib keeps its workers,
so they are started before the clock. Ours are started by each call, so the time of a call with one trial a worker is
taken off, and is a column of its own.

- **inline**, **threads**, **processes**: ``study.optimize``.
- **joblib + loky**: proposals by ``study.ask()`` in this process, evaluated by joblib's process pool in batches of one,
  told here: what one would write by hand. The objective gets its parameters and asks no trial for anything, so it has
  no reports, no stopping rule, no late parameters, and a worker that dies ends the pool.
- **Optuna, n_jobs**: threads (the only ones it has), if it is installed.

Rounds are interleaved and medians reported, because machines are shared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tunesmith

SPACE = {"x": tunesmith.Float(0, 1), "lr": tunesmith.Float(1e-5, 1.0, log=True), "n": tunesmith.Int(1, 100)}


def objective(trial: Any) -> float:
    """Three suggestions."""
    x = trial.suggest_float("x", 0, 1)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    return float(x + lr + trial.suggest_int("n", 1, 100))


def evaluated(params: dict[str, Any]) -> float:
    """The same of parameters that are known."""
    return float(params["x"] + params["lr"] + params["n"])


def ours(**options: Any) -> Callable[[int], None]:
    def run(n: int) -> None:
        tunesmith.create_study(sampler="random", seed=0).optimize(objective, n_trials=n, **options)

    return run


def optuna_threads(jobs: int) -> Callable[[int], None]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def run(n: int) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(objective, n_trials=n, n_jobs=jobs)

    return run


def by_hand(jobs: int) -> Callable[[int], None]:
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    list(pool(delayed(evaluated)({"x": 0, "lr": 0, "n": 0}) for _ in range(jobs)))  # the workers stay

    def told(number: int, params: dict[str, Any]) -> tuple[int, float]:
        return number, evaluated(params)

    def run(n: int) -> None:
        study = tunesmith.create_study(sampler="random", seed=0)
        asked = (study.ask(SPACE) for _ in range(n))
        for number, value in pool(delayed(told)(trial.number, trial.params) for trial in asked):
            study.tell(number, value)

    return run


def seconds(run: Callable[[int], None], n: int) -> float:
    begin = time.perf_counter()
    run(n)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    jobs = given.jobs
    ways: dict[str, Callable[[int], None]] = {
        "inline": ours(),
        f"threads, {jobs}": ours(n_jobs=jobs),
        "processes, 1": ours(n_jobs=1, backend="processes"),
        f"processes, {jobs}": ours(n_jobs=jobs, backend="processes"),
    }
    if importlib.util.find_spec("joblib"):
        ways[f"joblib + loky, {jobs}"] = by_hand(jobs)
    if importlib.util.find_spec("optuna"):
        ways[f"Optuna, n_jobs={jobs}"] = optuna_threads(jobs)
    found: dict[str, list[float]] = {name: [] for name in ways}
    starts: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, run in ways.items():
            start = seconds(run, jobs)
            starts[name].append(start)
            found[name].append((seconds(run, given.trials + jobs) - start) / given.trials)
    unit = statistics.median(found["inline"])
    print(f"{'':24}{'ms a trial':>12}{'x inline':>10}{'s to start':>12}")
    for name, times in found.items():
        median = statistics.median(times)
        print(f"{name:24}{1e3 * median:12.3f}{median / unit:10.1f}{statistics.median(starts[name]):12.2f}")
    if given.json:
        given.json.write_text(json.dumps({"jobs": jobs, "seconds_a_trial": found, "seconds_to_start": starts}))


if __name__ == "__main__":
    main()
