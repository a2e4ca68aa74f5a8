"""Makes runs and keeps them: one line of JSON each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import keeping
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
    return keeping.line_of(task, _measure)


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
    return keeping.read(Task, paths)


def make(tasks: list[Task], out: Path, jobs: int) -> None:
    """Make the runs that ``out`` lacks, and append them."""
    missing = keeping.missing(tasks, out)
    for name in dict.fromkeys(task.method for task in missing):
        resolve(name)  # a misspelt name, a wrong option or a missing library ends it here
    for name in dict.fromkeys(task.table for task in missing):
        tables.load(name)  # makes the arrays, once
    keeping.make(missing, perform, out, jobs)
