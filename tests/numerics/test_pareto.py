"""Fronts and subsets against Optuna's."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.numerics.pareto import best_subset, front, spread_subset


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_front_is_optunas(m: int, seed: int) -> None:
    pytest.importorskip("optuna")
    from optuna.study._multi_objective import _is_pareto_front

    rng = np.random.default_rng(seed)
    loss = np.round(rng.random((60, m)), 1 if seed % 2 else 6)  # rounded: ties and duplicates
    loss[3], loss[7, 0] = np.inf, -np.inf
    np.testing.assert_array_equal(front(loss), _is_pareto_front(loss, assume_unique_lexsorted=False))


def test_whole_fronts_come_first() -> None:
    pytest.importorskip("optuna")
    from optuna.study._multi_objective import _fast_non_domination_rank

    loss = np.random.default_rng(1).random((80, 2))
    ranks = _fast_non_domination_rank(loss)
    for size in (0, 1, 5, 23, 80):
        chosen = best_subset(loss, size)
        assert len(set(chosen.tolist())) == size
        assert np.sort(ranks)[:size].tolist() == sorted(ranks[chosen])


@pytest.mark.parametrize("m", [2, 3])
def test_subset_has_nearly_the_hypervolume_of_exact_greedy_choice(m: int) -> None:
    pytest.importorskip("optuna")
    from optuna._hypervolume.hssp import _solve_hssp
    from optuna._hypervolume.wfg import compute_hypervolume

    for seed in range(4):
        direction = np.abs(np.random.default_rng(seed).normal(size=(40, m)))
        loss = 1 - direction / np.linalg.norm(direction, axis=1, keepdims=True)  # a concave front
        low, high = loss.min(axis=0), loss.max(axis=0)
        reference = low + 1.1 * (high - low)
        exact = _solve_hssp(loss, np.arange(40), 6, reference)
        found = spread_subset(loss, 6)
        ratio = compute_hypervolume(loss[found], reference) / compute_hypervolume(loss[exact], reference)
        assert ratio > 0.985


def test_scale_and_infinities_do_not_matter() -> None:
    loss = np.random.default_rng(0).random((30, 2))
    expected = spread_subset(loss, 8)
    np.testing.assert_array_equal(spread_subset(loss * [1e-9, 1e9] + [3.0, -2e9], 8), expected)
    wide = np.array([[-1.7e308, 1.0], [1.7e308, 0.0], [np.inf, -np.inf], [0.0, 0.5]])
    assert len(set(spread_subset(wide, 3).tolist())) == 3
    assert len(set(spread_subset(np.full((5, 2), np.inf), 3).tolist())) == 3
