"""A few configurations, one of which is good wherever earlier studies looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.history import History
from tunesmith.samplers._results import usable
from tunesmith.space import FloatArray, Space

#: The best trials of each study are the candidates.
CANDIDATES = 20
#: A candidate is judged where it was not tried by so many nearest trials.
NEAREST = 5


class Task:
    """An earlier study: what it tried, and how good that was there.

    Attributes:
        best: its best configurations, the best first.
    """

    def __init__(self, history: History) -> None:
        self._space = Space(history.distributions)
        rows, losses = usable(history)
        self._X = history.encode(self._space)[rows]
        order = np.argsort(losses, kind="stable")
        at = np.sort(losses)
        middle = (np.searchsorted(at, losses, "left") + np.searchsorted(at, losses, "right") - 1) / 2
        self._rank = middle / max(1, len(rows) - 1)
        raw = history.raw(self._space)[rows[order[:CANDIDATES]]]
        self.best = [self._space.to_params(row) for row in raw]

    def ranks(self, candidates: Sequence[dict[str, Any]]) -> FloatArray:
        """(m,) in [0, 1], 0 is the best: the ranks of configurations among the study's trials.

        By inverse distance weighting (Shepard 1968) of the nearest trials, so that of one that was tried the rank is
        its own. A parameter that one has and the other has not, and another choice, are as far as a whole range.
        """
        known = [
            {n: v for n, v in params.items() if n in self._space and self._space[n].contains(v)}
            for params in candidates
        ]
        rows = self._space.encode(np.array([self._space.from_params(params) for params in known]))
        total = np.zeros((len(rows), len(self._X)))
        for j in range(len(self._space)):
            a, b = rows[:, j, None], self._X[None, :, j]
            step = (a != b) if self._space.columns.categorical[j] else (a - b) ** 2
            total += np.where(np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(a) | np.isnan(b), 1.0, step))
        near = np.argsort(total, axis=1, kind="stable")[:, :NEAREST]
        weights = 1.0 / (np.take_along_axis(total, near, axis=1) + 1e-12)
        found: FloatArray = (weights * self._rank[near]).sum(axis=1) / weights.sum(axis=1)
        return found


def portfolio(histories: Sequence[History], n: int) -> list[dict[str, Any]]:
    """Up to ``n`` configurations, chosen greedily: each is the one that lowers the sum over the studies of the best
    rank among the chosen ones most (of equals, the one with the best mean rank).

    The sum is submodular, so a greedy choice is at most 1/e of the way off the best one (Nemhauser et al. 1978).
    """
    tasks = [Task(history) for history in histories]
    once = {repr(sorted(params.items())): params for task in tasks for params in task.best}
    candidates = list(once.values())
    ranks = np.array([task.ranks(candidates) for task in tasks])
    reached = np.ones(len(tasks))
    chosen: list[int] = []
    while len(chosen) < min(n, len(candidates)):
        left = np.array([k for k in range(len(candidates)) if k not in chosen])
        sums = np.minimum(reached[:, None], ranks[:, left]).sum(axis=0)
        best = int(left[np.lexsort((ranks[:, left].mean(axis=0), np.round(sums, 9)))[0]])
        chosen.append(best)
        reached = np.minimum(reached, ranks[:, best])
    return [candidates[k] for k in chosen]
