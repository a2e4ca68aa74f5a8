"""Makes runs and keeps them: one line of JSON each. A task is a frozen dataclass whose fields a line has, too."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def line_of(task: Any, measure: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The line of a run; a run that fails has ``"error"`` instead of results."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dataclasses.asdict(task) | measure(task)
    except Exception:
        return dataclasses.asdict(task) | {"error": traceback.format_exc()}


def task_of(kind: type[T], line: dict[str, Any]) -> T:
    """What a line is the run of."""
    return kind(**{field.name: line[field.name] for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def read(kind: type, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The lines of files that exist; of several with the same task the last without an error."""
    found: dict[Any, dict[str, Any]] = {}
    for path in paths:
        for text in path.read_text().splitlines() if path.exists() else ():
            line = json.loads(text)
            task = task_of(kind, line)
            if "error" not in line or task not in found:
                found[task] = line
    return list(found.values())


def missing(tasks: list[T], out: Path) -> list[T]:
    """Those that ``out`` lacks."""
    if not tasks:
        return []
    kind = type(tasks[0])
    done = {task_of(kind, line) for line in read(kind, [out]) if "error" not in line}
    found = [task for task in tasks if task not in done]
    print(f"{len(tasks)} runs, {len(tasks) - len(found)} of them done; to {out}", file=sys.stderr)
    return found


def make(tasks: list[Any], perform: Callable[[Any], dict[str, Any]], out: Path, jobs: int) -> None:
    """Append the runs to ``out``, with ``jobs`` processes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    with out.open("a") as file:
        for count, line in enumerate(_lines(tasks, perform, jobs), 1):
            file.write(json.dumps(line) + "\n")
            file.flush()
            end = line["error"].splitlines()[-1] if "error" in line else f"{line['cpu_seconds']:.2f} s"
            what = " ".join(str(getattr(tasks[count - 1], field.name)) for field in dataclasses.fields(tasks[0]))
            print(f"[{count}/{len(tasks)}, {time.perf_counter() - begin:.0f} s]", what, end, file=sys.stderr)


def _lines(tasks: list[Any], perform: Callable[[Any], dict[str, Any]], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(perform, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(perform, tasks)


def print_failed(lines: Iterable[dict[str, Any]]) -> None:
    """How many runs of which method ended by which error."""
    failed = Counter((line["method"], line["error"].splitlines()[-1]) for line in lines if "error" in line)
    for (method, error), count in failed.items():
        print(f"{count} runs of {method} failed: {error}")
