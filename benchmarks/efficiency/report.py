"""Tables of regret, rank and time from the lines of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.efficiency import tables

BUDGETS = (20, 40, 60)


def incumbent_regret(line: dict[str, Any]) -> np.ndarray:
    """(trials,): normalised regret, by its mean result, of the configuration with the best noisy result so far."""
    noisy, mean = np.asarray(line["noisy"]), np.asarray(line["mean"])
    rank = np.minimum.accumulate(noisy)
    fresh = np.concatenate([[True], noisy[1:] < rank[:-1]])  # a tie leaves the incumbent
    incumbent = np.maximum.accumulate(np.where(fresh, np.arange(len(noisy)), 0))
    return (mean[incumbent] - line["best"]) / (line["median"] - line["best"])


@dataclass(frozen=True)
class Scores:
    """Regrets of methods on the same (table, seed) pairs.

    Attributes:
        methods: m names.
        tables: t names.
        seeds: s numbers.
        regret: (m, t, s, budgets).
        seconds, cpu_seconds: (m, t, s), of a run.
    """

    methods: tuple[str, ...]
    tables: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    regret: np.ndarray
    seconds: np.ndarray
    cpu_seconds: np.ndarray

    def part(self, names: Iterable[str]) -> Scores:
        """The same on some tables."""
        chosen = [i for i, name in enumerate(self.tables) if name in set(names)]
        return Scores(
            self.methods, tuple(self.tables[i] for i in chosen), self.seeds, self.budgets,
            self.regret[:, chosen], self.seconds[:, chosen], self.cpu_seconds[:, chosen],
        )  # fmt: skip

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """(m, budgets) each: mean over tables and seeds; its standard error over seeds (the tables are fixed)."""
        by_seed = self.regret.mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)

    def rank(self) -> np.ndarray:
        """(m, budgets): mean over (table, seed) of the rank among the methods; 1 is best, equals share theirs."""
        return rankdata(self.regret, axis=0).mean(axis=(1, 2))

    def difference(self, reference: str) -> tuple[np.ndarray, np.ndarray]:
        """(m, budgets) each: mean regret less that of ``reference``, paired by seed; its standard error over seeds."""
        by_seed = (self.regret - self.regret[self.methods.index(reference)]).mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)


def _standard_error(by_seed: np.ndarray) -> np.ndarray:
    """Of the mean over axis 1; NaN for one seed."""
    count = by_seed.shape[1]
    return by_seed.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(by_seed.shape[::2], np.nan)


def collect(lines: Sequence[dict[str, Any]], methods: Sequence[str] | None, budgets: tuple[int, ...]) -> Scores:
    """Scores on the seeds and tables that all methods have.

    Args:
        lines: of runs; those with an error, or of fewer trials than the smallest budget, do not count.
        methods: which, and their order; all by default, in the order of their first line.
    """
    good = [line for line in lines if "error" not in line and len(line["noisy"]) >= min(budgets)]
    found = {(line["method"], line["table"], line["seed"]): line for line in good}
    names = tuple(methods or dict.fromkeys(line["method"] for line in good))
    if not names:
        raise SystemExit("There are no runs to report.")
    seeds = sorted({seed for _, _, seed in found})
    shared = {table: [s for s in seeds if all((m, table, s) in found for m in names)] for table in tables.ALL}
    chosen = tuple(table for table in tables.ALL if shared[table])
    common = tuple(seed for seed in seeds if chosen and all(seed in shared[table] for table in chosen))
    if not common:
        counts = {m: len({t for n, t, _ in found if n == m}) for m in names}
        raise SystemExit(f"The methods have no runs in common (tables they have: {counts}); name fewer.")

    def grid(value: Any) -> np.ndarray:
        return np.array([[[value(found[m, t, s]) for s in common] for t in chosen] for m in names])

    def at_budgets(line: dict[str, Any]) -> list[float]:
        regret = incumbent_regret(line)
        return [regret[min(budget, len(regret)) - 1] for budget in budgets]

    return Scores(
        names, chosen, common, budgets, grid(at_budgets),
        grid(lambda line: line["seconds"]), grid(lambda line: line["cpu_seconds"]),
    )  # fmt: skip


def render(scores: Scores, against: str | None = None, by_table: bool = False) -> str:
    """Markdown: a table for each half and one for both, best mean regret at the largest budget first."""
    parts = {
        "both halves": scores.tables,
        "to develop on": [t for t in scores.tables if t in tables.DEV],
        "to confirm": [t for t in scores.tables if t in tables.CONFIRM],
    }
    if not parts["to develop on"] or not parts["to confirm"]:
        del parts["both halves"]
    if by_table:
        parts |= {name: [name] for name in scores.tables}
    blocks = [_table(title, scores.part(names), against) for title, names in parts.items() if names]
    failed = f"Seeds {', '.join(map(str, scores.seeds))}. ± is the standard error over seeds."
    return "\n\n".join([*blocks, failed])


def _table(title: str, scores: Scores, against: str | None) -> str:
    mean, error = scores.mean()
    rank = scores.rank()
    heads = ["method", *(f"regret at {b}" for b in scores.budgets), *(f"rank at {b}" for b in scores.budgets)]
    heads += ["seconds a run", "processor"]
    difference: tuple[np.ndarray, np.ndarray] | None = None
    if against is not None:
        if against not in scores.methods:
            raise SystemExit(f"There are no runs of {against!r}; there are those of {', '.join(scores.methods)}.")
        difference = scores.difference(against)
        heads += [f"less {against} at {b}" for b in scores.budgets]
    rows = []
    for m in np.lexsort(mean.T):
        row = [scores.methods[m], *map(_plus_minus, mean[m], error[m]), *(f"{r:.2f}" for r in rank[m])]
        row += [f"{np.median(scores.seconds[m]):.3g}", f"{np.median(scores.cpu_seconds[m]):.3g}"]
        if difference is not None:
            row += map(_plus_minus, difference[0][m], difference[1][m])
        rows.append(row)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in [heads, *rows]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    count = f"{len(scores.tables)} tables" if len(scores.tables) > 1 else scores.tables[0]
    return f"**{title}** ({count}, {len(scores.seeds)} seeds)\n\n" + "\n".join(lines)


def _plus_minus(value: float, error: float) -> str:
    return f"{value:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")
