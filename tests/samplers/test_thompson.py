"""Thompson sampling: paths against the exact posterior, the coordinates, and that it finds things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics.pathwise import Path, log_evidence, matern52, squared_distances
from tunesmith.numerics.streams import stream
from tunesmith.samplers import ThompsonSampler
from tunesmith.samplers._thompson_rows import CODES, Coordinates
from tunesmith.samplers.thompson import Posterior
from tunesmith.study import suggest_all

RNG = np.random.default_rng(0)
X, PLACES = RNG.random((12, 3)), RNG.random((6, 3))
Y = np.sin(5 * X[:, 0]) + X[:, 1]
Y -= Y.mean()


def test_kernel() -> None:
    np.testing.assert_allclose(squared_distances(X, PLACES), cdist(X, PLACES) ** 2, atol=1e-12)
    np.testing.assert_allclose(matern52(cdist(X, PLACES) ** 2), Matern(nu=2.5)(X, PLACES))


def test_evidence() -> None:
    """Up to a constant that of a normal distribution, with the signal's variance that makes it largest."""
    squared = cdist(X, X) ** 2

    def exact(noise: float) -> float:
        K = matern52(squared) + (noise + 1e-8) * np.eye(12)
        scales = np.exp(np.linspace(-8, 8, 4001))
        best = float(Y @ np.linalg.solve(K, Y)) / 12
        found = [multivariate_normal(np.zeros(12), s * K).logpdf(Y) for s in scales[::200]]
        assert multivariate_normal(np.zeros(12), best * K).logpdf(Y) >= max(found)
        return float(multivariate_normal(np.zeros(12), best * K).logpdf(Y))

    for noise in (0.01, 0.1):
        assert log_evidence(squared, Y, noise) - log_evidence(squared, Y, 1.0) == pytest.approx(
            exact(noise) - exact(1.0)
        )


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_paths_have_the_posteriors_mean_and_covariance(noise: float) -> None:
    model = GaussianProcessRegressor(Matern(nu=2.5), alpha=noise + 1e-8, optimizer=None).fit(X, Y)
    mean, covariance = model.predict(PLACES, return_cov=True)
    scale = float(Y @ np.linalg.solve(Matern(nu=2.5)(X) + (noise + 1e-8) * np.eye(12), Y)) / 12
    rng = np.random.default_rng(1)
    drawn = np.array([Path(X, Y, noise, rng, 256)(PLACES) for _ in range(3000)])
    spread = np.sqrt(scale * np.diag(covariance))
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * spread / np.sqrt(3000) + 1e-3).all()
    np.testing.assert_allclose(np.cov(drawn.T), scale * covariance, atol=0.12 * spread.max() ** 2)


def test_a_path_goes_through_what_was_observed_without_noise() -> None:
    path = Path(X, Y, 0.0, np.random.default_rng(0), 64)
    np.testing.assert_allclose(path(X), Y, atol=1e-3)


def test_nothing_but_equal_outcomes() -> None:
    rows = np.vstack([X, X])
    path = Path(rows, np.zeros(24), 1e-2, np.random.default_rng(0), 32)
    assert np.abs(path(PLACES)).max() < 1e-4


SPACE = Space(
    {"x": Float(0, 1), "c": Categorical(["a", "b", "c"]), "m": Float(0, 1), "d": Categorical(["u", "v"])},
    {"m": "c == 'a'", "d": "c == 'b'"},
)


def test_coordinates() -> None:
    coordinates = Coordinates(SPACE)
    nan = np.nan
    points = coordinates(np.array([[0, 1 / 6, 0, nan], [1, 1 / 6, 0, nan], [0, 0.5, nan, 0.25], [0, 5 / 6, nan, nan]]))
    squared = cdist(points, points) ** 2
    assert squared[0, 1] == pytest.approx(1)  # the ends of a range
    assert squared[2, 3] == pytest.approx(1 + 0.5 + 0.25)  # another c; d is there or not
    assert squared[0, 3] == pytest.approx(1 + 0.25 + 0.25)  # another c; m = 0 or gone
    assert coordinates.of_choice.tolist() == [False] + 3 * [True] + 2 * [False] + 3 * [True]
    np.testing.assert_allclose(cdist(points[2:3, :1], points[3:, :1]), 0)


def test_choices_of_many_values() -> None:
    """Any two values are about as far from each other."""
    space = Space({"c": Categorical(list(range(1000)))})
    coordinates = Coordinates(space)
    assert len(coordinates.of_choice) == CODES
    points = coordinates(space.encode(np.arange(1000.0)[:, None]))
    distances = cdist(points, points)[np.triu_indices(1000, 1)]
    assert distances.mean() == pytest.approx(1, abs=0.02)
    assert distances.min() > 0.5


def test_the_grid_knows_rough_from_smooth() -> None:
    """Short lengthscales have the weight where results vary quickly, long ones where slowly; noise where they jump."""
    space = Space({"x": Float(0, 1)})
    rows = np.linspace(0, 1, 40)[:, None]

    def likely(y: np.ndarray) -> np.ndarray:
        posterior = Posterior(space, rows, (y - y.mean()) / y.std())
        assert posterior.weights.sum() == pytest.approx(1)
        return posterior.weights @ np.array(posterior._grid)

    smooth, rough = likely(np.sin(3 * rows[:, 0])), likely(np.sin(25 * rows[:, 0]))
    assert smooth[0] > rough[0]
    assert likely(np.random.default_rng(0).standard_normal(40))[2] > smooth[2]


MIXED = Space({"c": Categorical(["a", "b", "c"]), "k": Int(1, 64, log=True), "x": Float(1e-4, 1, log=True)})


def mixed(trial: Any) -> float:
    p = suggest_all(trial, MIXED)
    return (p["c"] != "b") + abs(np.log2(p["k"]) - 4) + abs(np.log10(p["x"]) + 2)


def reached(sampler: str) -> float:
    found = []
    for seed in range(7):
        study = create_study(sampler=sampler, space=MIXED, seed=seed)
        study.optimize(mixed, n_trials=40)
        found.append(study.best_value)
    return float(np.median(found))


def test_it_finds_more_than_random_search() -> None:
    assert reached("thompson") < 0.6 * reached("random")


def test_a_batch_has_functions_of_its_own() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    study = create_study(sampler="thompson", space=space, seed=0)
    study.optimize(lambda t: sum((v - 0.5) ** 2 for v in suggest_all(t, space).values()), n_trials=8)
    batch = ThompsonSampler().propose(space, study.history, stream(0, 8), 10)
    points = np.array([list(p.params.values()) for p in batch])
    assert cdist(points, points)[np.triu_indices(10, 1)].min() > 1e-6
    assert points.std(axis=0).min() > 0.02


def test_errors() -> None:
    for options in ({"n_startup_trials": 0}, {"features": 0}, {"transform": "sqrt"}):
        with pytest.raises(InvalidValueError, match=next(iter(options))):
            ThompsonSampler(**options)  # type: ignore[arg-type]
    study = create_study(sampler="thompson", directions=["minimize", "maximize"], space=MIXED)
    with pytest.raises(InvalidValueError, match="single objective"):
        study.ask()
    assert ThompsonSampler(n_startup_trials=9).n_initial(MIXED) == 9
