"""Tables of regret, rank and time from the lines of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import scores
from benchmarks.common.scores import Scores
from benchmarks.efficiency import tables

BUDGETS = (20, 40, 60)


def incumbent_regret(line: dict[str, Any]) -> np.ndarray:
    """(trials,): normalised regret, by its mean result, of the configuration with the best noisy result so far."""
    noisy, mean = np.asarray(line["noisy"]), np.asarray(line["mean"])
    rank = np.minimum.accumulate(noisy)
    fresh = np.concatenate([[True], noisy[1:] < rank[:-1]])  # a tie leaves the incumbent
    incumbent = np.maximum.accumulate(np.where(fresh, np.arange(len(noisy)), 0))
    return (mean[incumbent] - line["best"]) / (line["median"] - line["best"])


def collect(lines: Sequence[dict[str, Any]], methods: Sequence[str] | None, budgets: tuple[int, ...]) -> Scores:
    """Scores on the seeds and tables that all methods have.

    Args:
        lines: of runs; those with an error, or of fewer trials than the smallest budget, do not count.
        methods: which, and their order; all by default, in the order of their first line.
        budgets: numbers of trials.
    """
    good = [line for line in lines if "error" not in line and len(line["noisy"]) >= min(budgets)]
    found = {(line["method"], line["table"], line["seed"]): line for line in good}

    def at_budgets(line: dict[str, Any]) -> list[float]:
        regret = incumbent_regret(line)
        return [regret[min(budget, len(regret)) - 1] for budget in budgets]

    others = {"seconds a run": lambda line: line["seconds"], "processor": lambda line: line["cpu_seconds"]}
    return scores.collect(found, methods, tables.ALL, budgets, at_budgets, others)


def render(found: Scores, against: str | None = None, by_table: bool = False) -> str:
    """Markdown: a block for each half, one for both, and one for each table if that is wanted."""
    return scores.render(found, tables.DEV, tables.CONFIRM, "", against, by_table)
