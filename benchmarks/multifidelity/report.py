"""Tables of regret and rank from the lines of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.multifidelity import tables


def regret_at(line: dict[str, Any], budget: int, test: bool = False) -> float:
    """Normalised regret of the incumbent after so many epochs, in 0 to 1; 1 where there is none yet."""
    before = [entry for entry in line["incumbents"] if entry[0] <= budget]
    if not before:
        return 1.0
    kind = "test" if test else "valid"
    best, median = line[f"{kind}_best"], line[f"{kind}_median"]
    return float(np.clip((before[-1][5 if test else 4] - best) / (median - best), 0.0, 1.0))


@dataclass(frozen=True)
class Scores:
    """Regrets of methods on the same (task, seed) pairs.

    Attributes:
        methods: m names.
        tasks: t names.
        seeds: s numbers.
        regret: (m, t, s, budgets).
        configurations: (m, t, s) started in a run, at the largest budget.
        clock: (m, t, s) virtual seconds that the run took.
        cpu_seconds: (m, t, s) of the run.
    """

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    regret: np.ndarray
    configurations: np.ndarray
    clock: np.ndarray
    cpu_seconds: np.ndarray

    def part(self, names: Iterable[str]) -> Scores:
        """The same on some tasks."""
        chosen = [i for i, name in enumerate(self.tasks) if name in set(names)]
        fields = {name: getattr(self, name)[:, chosen] for name in ("regret", "configurations", "clock", "cpu_seconds")}
        return replace(self, tasks=tuple(self.tasks[i] for i in chosen), **fields)

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """(m, budgets) each: mean over tasks and seeds; its standard error over seeds (the tasks are fixed)."""
        by_seed = self.regret.mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)

    def rank(self) -> np.ndarray:
        """(m, budgets): mean over (task, seed) of the rank among the methods; 1 is best, equals share theirs."""
        return rankdata(self.regret, axis=0).mean(axis=(1, 2))

    def difference(self, reference: str) -> tuple[np.ndarray, np.ndarray]:
        """(m, budgets) each: mean regret less that of ``reference``, paired by seed; its standard error over seeds."""
        if reference not in self.methods:
            raise SystemExit(f"There are no runs of {reference!r}; there are those of {', '.join(self.methods)}.")
        by_seed = (self.regret - self.regret[self.methods.index(reference)]).mean(axis=1)
        return by_seed.mean(axis=1), _standard_error(by_seed)


def _standard_error(by_seed: np.ndarray) -> np.ndarray:
    """Of the mean over axis 1; NaN for one seed."""
    count = by_seed.shape[1]
    return by_seed.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(by_seed.shape[::2], np.nan)


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
    names = tuple(methods or dict.fromkeys(method for method, _, _ in found))
    if not names:
        raise SystemExit("There are no runs to report.")
    seeds = sorted({seed for _, _, seed in found})
    shared = {t: [s for s in seeds if all((m, t, s) in found for m in names)] for t in tables.ALL}
    chosen = tuple(t for t in tables.ALL if shared[t])
    common = tuple(seed for seed in seeds if chosen and all(seed in shared[t] for t in chosen))
    if not common:
        counts = {m: len({t for n, t, _ in found if n == m}) for m in names}
        raise SystemExit(f"The methods have no runs in common (tasks they have: {counts}); name fewer.")

    def grid(value: Any) -> np.ndarray:
        return np.array([[[value(found[m, t, s]) for s in common] for t in chosen] for m in names])

    def at_budgets(made: dict[int, dict[str, Any]]) -> list[float]:
        return [regret_at(made[min(b for b in made if b >= budget)], budget, test) for budget in budgets]

    def last(name: str) -> np.ndarray:
        return grid(lambda made: made[max(made)][name])

    return Scores(
        names, chosen, common, budgets, grid(at_budgets), last("configurations"), last("virtual_seconds"),
        last("cpu_seconds"),
    )  # fmt: skip


def render(scores: Scores, title: str, against: str | None = None, by_task: bool = False) -> str:
    """Markdown: a table for each half and one for both, the least regret averaged over budgets first."""
    parts = {
        "both halves": scores.tasks,
        "to develop on": [t for t in scores.tasks if t in tables.DEV],
        "to confirm": [t for t in scores.tasks if t in tables.CONFIRM],
    }
    if not parts["to develop on"] or not parts["to confirm"]:
        del parts["both halves"]
    if by_task:
        parts |= {name: [name] for name in scores.tasks}
    blocks = [_table(f"{title}, {part}", scores.part(names), against) for part, names in parts.items() if names]
    return "\n\n".join([*blocks, f"Seeds {', '.join(map(str, scores.seeds))}. ± is the standard error over seeds."])


def _table(title: str, scores: Scores, against: str | None) -> str:
    mean, error = scores.mean()
    rank = scores.rank()
    heads = ["method", *(f"regret at {b}" for b in scores.budgets), *(f"rank at {b}" for b in scores.budgets)]
    heads += ["configurations", "virtual s", "processor s"]
    difference = None if against is None else scores.difference(against)
    if difference is not None:
        heads += [f"less {against} at {b}" for b in scores.budgets]
    rows = []
    for m in np.argsort(mean.mean(axis=1), kind="stable"):
        row = [scores.methods[m], *map(_plus_minus, mean[m], error[m]), *(f"{r:.2f}" for r in rank[m])]
        row += [f"{np.median(values[m]):.3g}" for values in (scores.configurations, scores.clock, scores.cpu_seconds)]
        if difference is not None:
            row += map(_plus_minus, difference[0][m], difference[1][m])
        rows.append(row)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in [heads, *rows]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    count = f"{len(scores.tasks)} tasks" if len(scores.tasks) > 1 else scores.tasks[0]
    return f"**{title}** ({count}, {len(scores.seeds)} seeds)\n\n" + "\n".join(lines)


def _plus_minus(value: float, error: float) -> str:
    return f"{value:.4f}" + (f" ± {error:.4f}" if np.isfinite(error) else "")
