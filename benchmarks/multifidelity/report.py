"""Tables of regret and rank from the lines of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.common import scores
from benchmarks.common.scores import Scores
from benchmarks.multifidelity import tables


def regret_at(line: dict[str, Any], budget: int, test: bool = False) -> float:
    """Normalised regret of the incumbent after so many epochs, in 0 to 1; 1 where there is none yet."""
    before = [entry for entry in line["incumbents"] if entry[0] <= budget]
    if not before:
        return 1.0
    kind = "test" if test else "valid"
    best, median = line[f"{kind}_best"], line[f"{kind}_median"]
    return float(np.clip((before[-1][5 if test else 4] - best) / (median - best), 0.0, 1.0))


def collect(
    lines: Sequence[dict[str, Any]], methods: Sequence[str] | None, budgets: tuple[int, ...], test: bool = False
) -> Scores:
    """Scores on the seeds and tasks that all methods have.

    Args:
        lines: of runs with the same number of workers; those with an error do not count. At a budget the run that was
            made for it counts, else that with the next larger one.
        methods: which, and their order; all by default, in the order of their first line.
        budgets: epochs.
        test: whether to score by the test loss.
    """
    found: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
    for line in lines:
        if "error" not in line:
            found.setdefault((line["method"], line["table"], line["seed"]), {})[line["budget"]] = line
    found = {key: made for key, made in found.items() if max(made) >= max(budgets)}

    def at_budgets(made: dict[int, dict[str, Any]]) -> list[float]:
        return [regret_at(made[min(b for b in made if b >= budget)], budget, test) for budget in budgets]

    def last(name: str) -> Callable[[dict[int, dict[str, Any]]], float]:
        return lambda made: made[max(made)][name]

    others = {
        "configurations": last("configurations"), "virtual s": last("virtual_seconds"),
        "processor s": last("cpu_seconds"),
    }  # fmt: skip
    return scores.collect(found, methods, tables.ALL, budgets, at_budgets, others)


def render(found: Scores, title: str, against: str | None = None, by_task: bool = False) -> str:
    """Markdown: a block for each half, one for both, and one for each task if that is wanted."""
    return scores.render(found, tables.DEV, tables.CONFIRM, title, against, by_task)
