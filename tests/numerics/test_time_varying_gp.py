"""Regression of a function that changes with time, against scikit-learn and against its own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.numerics.time_varying_gp import TimeVaryingGP, upper_bound


def drifting(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best place moves from 0.2 to 0.8 in the first coordinate; the second means nothing."""
    rng = np.random.default_rng(seed)
    x, t = rng.random((n, 2)), np.sort(rng.integers(1, 20, n)).astype(float)
    return x, t, -((x[:, 0] - 0.2 - 0.6 * t / 20) ** 2) + rng.normal(scale=0.01, size=n)


def covariance(model: TimeVaryingGP, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    return np.exp(-squared / (2 * model.lengthscale**2)) * (1 - model.forgetting) ** (np.abs(t[:, None] - t[None]) / 2)


def test_the_posterior_is_that_of_the_formula() -> None:
    x, t, y = drifting(25)
    model = TimeVaryingGP.fit(x, t, y)
    places = np.random.default_rng(1).random((7, 2))
    both = covariance(model, np.concatenate([x, places]), np.concatenate([t, np.full(7, 21.0)]))
    known, cross, own = both[:25, :25] + model.noise * np.eye(25), both[25:, :25], both[25:, 25:]
    z = (y - y.mean()) / y.std()
    mean, sd = model.predict(places, 21.0)
    assert np.allclose(mean, y.mean() + y.std() * (cross @ np.linalg.solve(known, z)))
    assert np.allclose(sd, y.std() * np.sqrt(np.diag(own - cross @ np.linalg.solve(known, cross.T))))


def test_without_time_it_is_the_model_of_scikit_learn() -> None:
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    x, _, y = drifting(20)
    model = TimeVaryingGP.fit(x, np.ones(20), y)
    kernel = gaussian_process.kernels.RBF(model.lengthscale, "fixed")
    oracle = gaussian_process.GaussianProcessRegressor(kernel, alpha=model.noise, normalize_y=True).fit(x, y)
    places = np.random.default_rng(1).random((5, 2))
    for ours, theirs in zip(model.predict(places, 1.0), oracle.predict(places, return_std=True), strict=True):
        assert np.allclose(ours, theirs)


def test_what_is_believed_makes_surer_and_moves_nothing() -> None:
    x, t, y = drifting(20)
    model = TimeVaryingGP.fit(x, t, y)
    pending = np.array([[0.9, 0.1], [0.5, 0.5]])
    believing = model.believing(pending, 21.0)
    places = np.concatenate([pending, [[0.1, 0.9]]])
    (mean, sd), (mean_then, sd_then) = model.predict(places, 21.0), believing.predict(places, 21.0)
    assert np.allclose(mean, mean_then)
    assert (sd_then[:2] < 0.5 * sd[:2]).all()
    assert sd_then[2] <= sd[2]
    full = covariance(model, np.concatenate([x, pending]), np.concatenate([t, [21.0, 21.0]]))
    full += model.noise * np.eye(22)
    assert np.allclose(believing.factor @ believing.factor.T, full)
    assert model.believing(np.empty((0, 2)), 21.0) is model


def test_it_follows_the_best_place() -> None:
    x, t, y = drifting(120)
    model = TimeVaryingGP.fit(x, t, y)
    line = np.column_stack([np.linspace(0, 1, 101), np.full(101, 0.5)])
    early, late = (line[np.argmax(model.predict(line, when)[0]), 0] for when in (2.0, 19.0))
    assert abs(early - 0.26) < 0.1
    assert abs(late - 0.77) < 0.1


def test_the_bound_and_data_that_say_nothing() -> None:
    x, t = np.random.default_rng(0).random((6, 1)), np.arange(1.0, 7.0)
    model = TimeVaryingGP.fit(x, t, np.full(6, 3.0))
    mean, sd = model.predict(x, 10.0)
    assert np.allclose(mean, 3.0)
    assert np.allclose(upper_bound(model, x, 10.0), mean + math.sqrt(0.2 + math.log(4.0)) * sd)
    assert np.allclose(upper_bound(model, x, 1.0), model.predict(x, 1.0)[0] + math.sqrt(0.2) * model.predict(x, 1.0)[1])
