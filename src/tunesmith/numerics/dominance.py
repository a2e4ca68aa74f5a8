"""Pareto dominance: ranks and crowding (Deb, Pratap, Agarwal and Meyarivan 2002: A fast and elitist multiobjective
genetic algorithm: NSGA-II. IEEE Trans. Evol. Comput. 6, 182-197)."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from tunesmith.numerics.pareto import front
from tunesmith.space import FloatArray


def nondomination_ranks(loss: FloatArray, violation: FloatArray | None = None) -> NDArray[np.int64]:
    """Which front each point is in: 0 for those that no other one dominates, 1 for those that only they dominate, ...

    With ``violation`` it is constrained domination (sec. VI-A): a feasible point dominates every infeasible one, and of
    two infeasible ones the one with the smaller violation dominates.

    Args:
        loss: (n, m), smaller is better; infinities are allowed, NaN is not.
        violation: (n,), 0 is feasible.

    Returns:
        (n,).
    """
    ranks = np.zeros(len(loss), np.int64)
    feasible = np.ones(len(loss), bool) if violation is None else violation <= 0
    ranks[feasible] = (_swept if loss.shape[1] == 2 else _peeled)(loss[feasible])
    if violation is not None and not feasible.all():
        _, order = np.unique(violation[~feasible], return_inverse=True)
        ranks[~feasible] = ranks[feasible].max(initial=-1) + 1 + order
    return ranks


def _peeled(loss: FloatArray) -> NDArray[np.int64]:
    """Front after front is found and taken away; each costs at most the square of what is left."""
    ranks = np.empty(len(loss), np.int64)
    left, k = np.arange(len(loss)), 0
    while len(left):
        best = front(loss[left])
        ranks[left[best]] = k
        left, k = left[~best], k + 1
    return ranks


def _swept(loss: FloatArray) -> NDArray[np.int64]:
    """Of two objectives: in one sweep, O(n log n), however many fronts there are (Jensen, M. T. 2003: Reducing the
    run-time complexity of multiobjective EAs. IEEE Trans. Evol. Comput. 7, 503-515)."""
    order = np.lexsort((loss[:, 1], loss[:, 0]))
    lowest: list[float] = []  # of each front the second objective of its latest point, ascending
    ranks: list[int] = []
    last = None
    for point in loss[order].tolist():
        if point != last:  # equal points do not dominate each other
            rank = bisect_right(lowest, point[1])
            lowest[rank : rank + 1] = [point[1]]
        ranks.append(rank)
        last = point
    found = np.empty(len(loss), np.int64)
    found[order] = ranks
    return found


def crowding_distance(loss: FloatArray) -> FloatArray:
    """Half the perimeter of the box that a point's neighbours in the same front span, each objective as a part of its
    range; infinity at the ends (sec. III-B).

    Args:
        loss: (n, m) of the points of one front. Infinities count as the largest finite numbers.

    Returns:
        (n,), the larger the lonelier.
    """
    n = len(loss)
    distance = np.zeros(n)
    for column in np.nan_to_num(loss).T / 2.0:  # halves: the largest differences do not overflow
        order = np.argsort(column, kind="stable")
        distance[order[[0, -1]]] = np.inf
        ordered = column[order]
        span = ordered[-1] - ordered[0]
        if n > 2 and span > 0:
            distance[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
    return distance
