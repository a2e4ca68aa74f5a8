"""Shapes of curves, and their weights against densities from scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunesmith.numerics import curve_ensemble as model
from tunesmith.numerics.curve_ensemble import Ensemble, shapes

LEVELS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 16.0)
NOBODY = np.zeros((0, len(LEVELS))), np.zeros(0, np.int64)


def seen_curves(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    falls = np.cumsum(rng.exponential(0.1, (n, len(LEVELS))), axis=1)
    return falls, rng.integers(1, len(LEVELS) + 1, n)


def test_shapes_are_falls() -> None:
    falls = shapes(LEVELS)
    assert falls.shape == (model.SHAPES, len(LEVELS))
    assert (falls >= 0.0).all()
    assert (falls <= 1.0).all()
    assert (np.diff(falls, axis=1) >= 0.0).all()
    assert (falls[:, -1] <= model.NOISE).mean() == pytest.approx(model.FLAT, abs=0.08)
    assert not falls.flags.writeable


def test_shapes_depend_on_ratios_of_levels_only() -> None:
    assert np.array_equal(shapes(LEVELS), shapes(tuple(0.25 * level for level in LEVELS)))
    assert shapes((3.0,)).shape == (model.SHAPES, 1)


def brute_force(ensemble: Ensemble, seen: np.ndarray, count: int) -> np.ndarray:
    """Weights of the cells for one curve: products of normal densities."""
    weight = np.empty_like(ensemble.weight)
    for g, reach in enumerate(ensemble.reach):
        density = stats.norm(reach * ensemble.falls[:, :count], model.NOISE).logpdf(seen[:count]).sum(axis=1)
        weight[g] = density + np.log(ensemble.weight[g])
    weight = np.exp(weight - weight.max())
    return weight / weight.sum()


def test_the_posterior_is_that_of_a_normal_error() -> None:
    seen, count = seen_curves()
    ensemble = Ensemble.learn(LEVELS, *seen_curves(4))
    found = ensemble.posterior(seen, count)
    for i in range(len(seen)):
        assert found[i] == pytest.approx(brute_force(ensemble, seen[i], int(count[i])), rel=1e-6, abs=1e-9)


def test_what_lies_beyond_a_curves_end_is_not_looked_at() -> None:
    seen, count = seen_curves()
    ensemble = Ensemble.learn(LEVELS, seen, count)
    other = np.where(np.arange(len(LEVELS)) < count[:, None], seen, 77.0)
    assert np.array_equal(ensemble.posterior(seen, count), ensemble.posterior(other, count))
    assert np.array_equal(ensemble.weight, Ensemble.learn(LEVELS, other, count).weight)


def test_without_curves_the_weights_are_the_priors() -> None:
    ensemble = Ensemble.learn(LEVELS, *NOBODY)
    assert ensemble.weight.sum() == pytest.approx(1.0)
    assert np.ptp(ensemble.weight, axis=1) == pytest.approx(0.0)
    by_reach = ensemble.weight.sum(axis=1)
    assert by_reach[0] / by_reach[2] == pytest.approx(2.0**model.STEEPNESS)


def test_weights_are_learnt_by_one_step_for_each_reach() -> None:
    seen, count = seen_curves()
    prior, learnt = Ensemble.learn(LEVELS, *NOBODY), Ensemble.learn(LEVELS, seen, count)
    assert learnt.weight.sum() == pytest.approx(1.0)
    assert learnt.weight.sum(axis=1) == pytest.approx(prior.weight.sum(axis=1))
    for g, reach in enumerate(prior.reach):
        alone = Ensemble(prior.falls, np.array([reach]), np.full((1, model.SHAPES), 1.0 / model.SHAPES))
        shares = sum(brute_force(alone, seen[i], int(count[i]))[0] for i in range(len(seen)))
        expected = (model.PRIOR_COUNT / model.SHAPES + shares) / (model.PRIOR_COUNT + len(seen))
        assert learnt.weight[g] / learnt.weight[g].sum() == pytest.approx(expected, rel=1e-6)


def test_a_study_teaches_what_new_curves_are_like() -> None:
    def expected_fall(seen: np.ndarray) -> float:
        ensemble = Ensemble.learn(LEVELS, seen, np.full(len(seen), 4))
        return float(ensemble.paths(ensemble.weight, 256)[:, -1].mean())

    flat, falling = np.zeros((40, len(LEVELS))), np.tile(0.25 * np.log2(LEVELS), (40, 1))
    assert expected_fall(flat) < 0.6 * expected_fall(falling)


def test_a_curve_that_falls_goes_on_and_one_that_stays_flat_stays() -> None:
    ensemble = Ensemble.learn(LEVELS, *NOBODY)
    falling = 0.3 * np.log1p(LEVELS)
    weights = ensemble.posterior(np.stack([falling, np.zeros(len(LEVELS))]), np.array([4, 4]))
    ahead = [ensemble.paths(weight, 256)[:, -1] - ensemble.paths(weight, 256)[:, 3] for weight in weights]
    assert ahead[0].mean() > 10.0 * ahead[1].mean()


def test_paths_stand_for_the_weights() -> None:
    ensemble = Ensemble.learn(LEVELS, *seen_curves())
    paths = ensemble.paths(ensemble.weight, 4096)
    exact = np.einsum("gs,g,sh->h", ensemble.weight, ensemble.reach, ensemble.falls)
    assert paths.mean(axis=0) == pytest.approx(exact, abs=4e-3)
    alone = np.zeros_like(ensemble.weight)
    alone[2, 5] = 0.3
    assert np.array_equal(ensemble.paths(alone, 8), np.tile(ensemble.reach[2] * ensemble.falls[5], (8, 1)))
