"""How the top-k baseline spends each budget best.

    python -m benchmarks.multifidelity tune --data taskset_rnn_imdb.npz

prints ``SCREENS`` of :mod:`benchmarks.multifidelity.methods`. For every number of workers and budget each pair of first
epochs and number of configurations is simulated on random subsets of all tasks, and the pair with the least mean regret
is taken. So the baseline is the best of its kind in hindsight: it knows all curves, also those of the tasks to confirm
on, and a method that is better than it is better than any pair that somebody might have chosen beforehand.
"""

from __future__ import annotations

import heapq

import numpy as np

from benchmarks.multifidelity import tables
from benchmarks.multifidelity.hosts import Screen
from benchmarks.multifidelity.tables import EPOCHS, Table

FIRST = (1, 2, 3, 5, 8, 12)
#: Shares of the budget for the first epochs.
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def candidates(budget: int) -> list[Screen]:
    """What may be tried with a budget of so many epochs."""
    counts = {first: {min(int(share * budget) // first, tables.CONFIGURATIONS) for share in SHARES} for first in FIRST}
    return [Screen(first, n) for first in FIRST for n in sorted(counts[first]) if n]


def reached(table: Table, rows: np.ndarray, screen: Screen, budget: int, n_workers: int = 1) -> float:
    """The least validation loss that the baseline sees, with configurations in the order of ``rows``.

    It differs from what :class:`~benchmarks.multifidelity.hosts.TopKHost` does on the simulator in one thing: no worker
    goes on with the best so far while others are still busy with the first epochs.
    """
    valid = table.valid[rows[: screen.n]]
    valid = np.where(np.isnan(valid), np.inf, valid)
    lengths = np.minimum(np.isfinite(valid).sum(axis=1) + 1, EPOCHS)  # the report of NaN is an epoch too
    left = budget - int(np.minimum(lengths, screen.first).sum())
    best = float(valid[:, : screen.first].min())
    order = np.argsort(valid[:, screen.first - 1], kind="stable")
    free = [(0, worker) for worker in range(n_workers)]
    places: list[np.ndarray] = []  # (worker, loss) by the time of the report
    for i in order[np.isfinite(valid[order, screen.first - 1])]:
        begin, worker = free[0]
        if begin * n_workers >= left:
            break  # all together have used the budget up before
        losses = valid[i, screen.first : lengths[i]]
        times = begin + 1 + np.arange(len(losses))
        places.append(np.stack([times, np.full(len(losses), worker), losses]))
        heapq.heapreplace(free, (begin + len(losses), worker))
    if not places or left <= 0:
        return best
    times, workers, losses = np.concatenate(places, axis=1)
    return min(best, float(losses[np.lexsort((workers, times))[:left]].min(initial=np.inf)))


def tune(budgets: tuple[int, ...], workers: tuple[int, ...], repeats: int) -> dict[tuple[int, int], Screen]:
    """(Workers, budget) -> the pair with the least mean regret over all tasks and ``repeats`` random orders."""
    chosen = {}
    found = [tables.load(name) for name in tables.ALL]
    best, median = (np.array([[getattr(t, name)] for t in found]) for name in ("best", "median"))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(tables.CONFIGURATIONS) for _ in range(repeats)]
    for n_workers in workers:
        for budget in budgets:
            scores = {}
            for screen in candidates(budget):
                losses = np.array([[reached(t, order, screen, budget, n_workers) for order in orders] for t in found])
                scores[screen] = float(np.minimum((losses - best) / (median - best), 1.0).mean())
            least = chosen[n_workers, budget] = min(scores, key=lambda screen: scores[screen])
            one = min(scores[screen] for screen in scores if screen.first == 1)
            text = f"{scores[least]:.4f}; with one first epoch {one:.4f}"
            print(f"    ({n_workers}, {budget}): {least},  # {text}", flush=True)
    return chosen
