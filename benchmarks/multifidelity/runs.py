"""Makes runs and keeps them: one line of JSON each."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import keeping
from benchmarks.multifidelity import tables
from benchmarks.multifidelity.methods import Method, resolve
from benchmarks.multifidelity.tables import EPOCHS, Draw, Table
from tunesmith.executors.simulator import Heard, SimulatorExecutor

_ready: dict[str, Method] = {}


@dataclass(frozen=True)
class Task:
    """One run that is wanted; ``budget`` is in epochs."""

    method: str
    table: str
    workers: int
    seed: int
    budget: int


def wanted(
    methods: list[str], names: tuple[str, ...], workers: list[int], seeds: list[int], budgets: list[int]
) -> list[Task]:
    """All runs: for each budget of a method that is made for one, for the largest of the others."""
    return [
        Task(method, name, w, seed, budget)
        for seed in seeds for w in workers for name in names for method in methods
        for budget in ([max(budgets)] if _resolved(method).anytime else budgets)
    ]  # fmt: skip


def _resolved(name: str) -> Method:
    if name not in _ready:
        _ready[name] = resolve(name)
    return _ready[name]


def perform(task: Task) -> dict[str, Any]:
    """The line of a run; a run that fails has ``"error"`` instead of results."""
    return keeping.line_of(task, _measure)


def _measure(task: Task) -> dict[str, Any]:
    table, method = tables.load(task.table), _resolved(task.method)
    draw, executor = Draw(table), SimulatorExecutor(task.workers, max_reports=task.budget)
    begin = time.process_time()
    method.run(draw, executor, zlib.crc32(f"{task.table}/{task.seed}".encode()), task.budget)
    seconds = time.process_time() - begin
    last = executor.trace[-1] if executor.trace else None
    return {
        "incumbents": incumbents(table, draw.rows, executor.trace),
        "epochs": last.reports if last else 0,
        "virtual_seconds": last.seconds if last else 0.0,
        "configurations": len(draw.rows),
        "full": sum(heard.item[0] == EPOCHS for heard in executor.trace),
        "diverged": sum(heard.item[1] != heard.item[1] for heard in executor.trace),
        "valid_best": table.best, "valid_median": table.median,
        "test_best": table.test_best, "test_median": table.test_median,
        "cpu_seconds": round(seconds, 4),
        "versions": method.versions,
    }  # fmt: skip


def incumbents(table: Table, rows: dict[int, int], trace: list[Heard]) -> list[list[float]]:
    """One entry for each better loss: epochs spent, virtual seconds, configuration, its epoch, both losses."""
    found: list[list[float]] = []
    least = float("inf")
    for heard in trace:
        epoch, loss = heard.item
        if loss < least:
            least, row = loss, rows[heard.number]
            found.append([heard.reports, heard.seconds, row, epoch, loss, float(table.test[row, epoch - 1])])
    return found


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """The lines of files that exist; of several with the same task the last without an error."""
    return keeping.read(Task, paths)


def make(tasks: list[Task], out: Path, jobs: int) -> None:
    """Make the runs that ``out`` lacks, and append them."""
    missing = keeping.missing(tasks, out)
    for name in dict.fromkeys(task.table for task in missing):
        tables.load(name)  # a wrong path ends it here
    keeping.make(missing, perform, out, jobs)
