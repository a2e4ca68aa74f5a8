"""Regrets and ranks of methods on the same tables and seeds, and the Markdown that shows them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True)
class Scores:
    """Regrets of methods on the same (table, seed) pairs.

    Attributes:
        methods: m names.
        tables: t names.
        seeds: s numbers.
        budgets: b numbers.
        regret: (m, t, s, b).
        others: head -> (m, t, s) of what is shown besides, as medians.
    """

    methods: tuple[str, ...]
    tables: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    regret: np.ndarray
    others: Mapping[str, np.ndarray]

    def part(self, names: Iterable[str]) -> Scores:
        """The same on some tables."""
        wanted = set(names)
        chosen = [i for i, name in enumerate(self.tables) if name in wanted]
        others = {head: values[:, chosen] for head, values in self.others.items()}
        return replace(self, tables=tuple(self.tables[i] for i in chosen), regret=self.regret[:, chosen], others=others)

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """(m, b) each: mean over tables and seeds; its standard error over seeds (the tables are fixed)."""
        by_seed = self.regret.mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)

    def rank(self) -> np.ndarray:
        """(m, b): mean over (table, seed) of the rank among the methods; 1 is best, equals share theirs."""
        return rankdata(self.regret, axis=0).mean(axis=(1, 2))

    def difference(self, reference: str) -> tuple[np.ndarray, np.ndarray]:
        """(m, b) each: mean regret less that of ``reference``, paired by seed; its standard error over seeds."""
        if reference not in self.methods:
            raise SystemExit(f"There are no runs of {reference!r}; there are those of {', '.join(self.methods)}.")
        by_seed = (self.regret - self.regret[self.methods.index(reference)]).mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)


def _standard_error(by_seed: np.ndarray) -> np.ndarray:
    """Of the mean over axis 1; NaN for one seed."""
    count = by_seed.shape[1]
    return by_seed.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(by_seed.shape[::2], np.nan)


def collect(
    found: Mapping[tuple[str, str, int], Any], methods: Sequence[str] | None, every: Sequence[str],
    budgets: tuple[int, ...], regret: Callable[[Any], list[float]], others: Mapping[str, Callable[[Any], float]],
) -> Scores:  # fmt: skip
    """Scores on the seeds and tables that all methods have.

    Args:
        found: (method, table, seed) -> a run.
        methods: which, and their order; all by default, in the order of their first run.
        every: names of all tables, in their order.
        budgets: what regrets are given at.
        regret: of a run, at each budget.
        others: head -> what else to know of a run.
    """
    names = tuple(methods or dict.fromkeys(method for method, _, _ in found))
    if not names:
        raise SystemExit("There are no runs to report.")
    seeds = sorted({seed for _, _, seed in found})
    shared = {t: [s for s in seeds if all((m, t, s) in found for m in names)] for t in every}
    chosen = tuple(t for t in every if shared[t])
    common = tuple(seed for seed in seeds if chosen and all(seed in shared[t] for t in chosen))
    if not common:
        counts = {m: len({t for n, t, _ in found if n == m}) for m in names}
        raise SystemExit(f"The methods have no runs in common (how many tables they have: {counts}); name fewer.")

    def grid(value: Callable[[Any], Any]) -> np.ndarray:
        return np.array([[[value(found[m, t, s]) for s in common] for t in chosen] for m in names])

    return Scores(names, chosen, common, budgets, grid(regret), {head: grid(value) for head, value in others.items()})


def render(
    scores: Scores, dev: Sequence[Hashable], confirm: Sequence[Hashable], title: str = "", against: str | None = None,
    each: bool = False,
) -> str:  # fmt: skip
    """Markdown: a block for each half and one for both, the least regret (averaged over the budgets) first."""
    parts = {
        "both halves": scores.tables,
        "to develop on": [t for t in scores.tables if t in dev],
        "to confirm": [t for t in scores.tables if t in confirm],
    }
    if not parts["to develop on"] or not parts["to confirm"]:
        del parts["both halves"]
    if each:
        parts |= {name: [name] for name in scores.tables}
    blocks = [
        _table(f"{title}, {part}" if title else part, scores.part(names), against)
        for part, names in parts.items() if names
    ]  # fmt: skip
    return "\n\n".join([*blocks, f"Seeds {', '.join(map(str, scores.seeds))}. ± is the standard error over seeds."])


def _table(title: str, scores: Scores, against: str | None) -> str:
    mean, error = scores.mean()
    rank = scores.rank()
    heads = ["method", *(f"regret at {b}" for b in scores.budgets), *(f"rank at {b}" for b in scores.budgets)]
    heads += scores.others
    difference = None if against is None else scores.difference(against)
    if difference is not None:
        heads += [f"less {against} at {b}" for b in scores.budgets]
    rows = []
    for m in np.argsort(mean.mean(axis=1), kind="stable"):
        row = [scores.methods[m], *map(_plus_minus, mean[m], error[m]), *(f"{r:.2f}" for r in rank[m])]
        row += [f"{np.median(values[m]):.3g}" for values in scores.others.values()]
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
