"""Pareto dominance: ranks and crowding (Deb, Pratap, Agarwal and Meyarivan 2002: A fast and elitist multiobjective
genetic algorithm: NSGA-II. IEEE Trans. Evol. Comput. 6, 182-197)."""

from __future__ import annotations

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
    left, k = np.flatnonzero(feasible), 0
    while len(left):
        best = front(loss[left])
        ranks[left[best]] = k
        left, k = left[~best], k + 1
    if violation is not None and not feasible.all():
        _, order = np.unique(violation[~feasible], return_inverse=True)
        ranks[~feasible] = k + order
    return ranks


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
