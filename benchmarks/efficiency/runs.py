"""Makes runs and keeps them: one line of JSON each."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.efficiency import tables
from benchmarks.efficiency.evaluation import Evaluation
from benchmarks.efficiency.methods import Method, resolve

_WARM_UP = 15  # trials; more than the random start of any method, so that the model is loaded too
_ready: dict[str, Method] = {}


@dataclass(frozen=True)
class Task:
    """One run that is wanted."""

    method: str
    table: str
    seed: int
    trials: int


def perform(task: Task) -> dict[str, Any]:
    """The line of a run; a run that fails has ``"error"`` instead of results."""
    line: dict[str, Any] = {
        "method": task.method, "table": task.table, "seed": task.seed, "trials": task.trials,
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return line | _measure(task)
    except Exception:
        return line | {"error": traceback.format_exc()}


def _measure(task: Task) -> dict[str, Any]:
    table = tables.load(task.table)
    if task.method not in _ready:
        method = resolve(task.method)
        method.run(Evaluation(table, task.seed + 1_000_000), min(_WARM_UP, task.trials), task.seed + 1_000_000)
        _ready[task.method] = method
    objective = Evaluation(table, task.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    _ready[task.method].run(objective, task.trials, task.seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "rows": objective.rows,
        "noisy": objective.noisy,
        "mean": table.mean[objective.rows].tolist(),
        "best": table.best,
        "median": table.median,
        "seconds": round(wall - objective.seconds, 4),
        "cpu_seconds": round(cpu - objective.cpu_seconds, 4),
        "versions": _ready[task.method].versions,
    }


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """The lines of files that exist; of several with the same task the last without an error."""
    found: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    for path in paths:
        for text in path.read_text().splitlines() if path.exists() else ():
            line = json.loads(text)
            key = (line["method"], line["table"], line["seed"], line["trials"])
            if "error" not in line or key not in found:
                found[key] = line
    return list(found.values())


def make(tasks: list[Task], out: Path, jobs: int) -> None:
    """Make the runs that ``out`` lacks, and append them."""
    done = {Task(line["method"], line["table"], line["seed"], line["trials"]) for line in read([out])
            if "error" not in line}  # fmt: skip
    missing = [task for task in tasks if task not in done]
    print(f"{len(tasks)} runs, {len(tasks) - len(missing)} of them done; to {out}", file=sys.stderr)
    for name in dict.fromkeys(task.method for task in missing):
        resolve(name)  # a misspelt name, a wrong option or a missing library ends it here
    for name in dict.fromkeys(task.table for task in missing):
        tables.load(name)  # makes the arrays, once
    out.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    with out.open("a") as file:
        for count, line in enumerate(_lines(missing, jobs), 1):
            file.write(json.dumps(line) + "\n")
            file.flush()
            end = line["error"].splitlines()[-1] if "error" in line else f"{line['seconds']:.2f} s"
            at = f"[{count}/{len(missing)}, {time.perf_counter() - begin:.0f} s]"
            print(at, line["method"], line["table"], line["seed"], end, file=sys.stderr)


def _lines(tasks: list[Task], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(perform, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(perform, tasks)
