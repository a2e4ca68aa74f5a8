"""Fronts and crowding: against Optuna's and against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.numerics.dominance import crowding_distance, nondomination_ranks


def by_definition(loss: np.ndarray, violation: np.ndarray) -> list[int]:
    """Peel off, one after the other, what nothing that is left dominates (Deb et al. 2002, definition 1)."""

    def dominates(i: int, j: int) -> bool:
        if violation[i] != violation[j] and (violation[i] > 0 or violation[j] > 0):
            return bool(violation[i] < violation[j])
        if violation[i] > 0:
            return False
        return bool((loss[i] <= loss[j]).all() and (loss[i] < loss[j]).any())

    left, ranks, k = set(range(len(loss))), [0] * len(loss), 0
    while left:
        front = {j for j in left if not any(dominates(i, j) for i in left)}
        for j in front:
            ranks[j] = k
        left, k = left - front, k + 1
    return ranks


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_ranks(m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = rng.integers(0, 8, (40, m)).astype(float)  # with ties
    loss[rng.random(loss.shape) < 0.05] = np.inf
    loss[rng.random(loss.shape) < 0.05] = -np.inf
    violation = np.where(rng.random(40) < 0.5, 0.0, rng.integers(0, 4, 40))
    assert nondomination_ranks(loss, violation).tolist() == by_definition(loss, violation)
    assert nondomination_ranks(loss).tolist() == by_definition(loss, np.zeros(40))


def test_ranks_are_optunas() -> None:
    module = pytest.importorskip("optuna.study._multi_objective")
    loss = np.random.default_rng(0).normal(size=(120, 2))
    assert nondomination_ranks(loss).tolist() == module._fast_non_domination_rank(loss).tolist()


def test_no_points() -> None:
    assert nondomination_ranks(np.empty((0, 2))).tolist() == []
    assert nondomination_ranks(np.empty((2, 2)), np.array([3.0, 1.0])).tolist() == [1, 0]


def test_crowding() -> None:
    """A staircase: each inner point's box over the range, objective by objective."""
    loss = np.array([[0.0, 10.0], [1.0, 6.0], [2.0, 5.0], [10.0, 0.0]])
    np.testing.assert_allclose(crowding_distance(loss), [np.inf, 2 / 10 + 5 / 10, 9 / 10 + 6 / 10, np.inf])
    assert crowding_distance(np.ones((4, 2))).tolist()[1:3] == [0.0, 0.0]
    assert crowding_distance(np.ones((1, 2))).tolist() == [np.inf]


def test_crowding_of_huge_values() -> None:
    loss = np.array([[-1.7e308, 1.7e308], [0.0, 0.0], [1e300, -1e300], [1.7e308, np.inf], [np.inf, -np.inf]])
    with np.errstate(all="raise"):
        found = crowding_distance(loss)
    assert not np.isnan(found).any()
    assert np.isfinite(found[1])
