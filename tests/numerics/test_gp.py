"""Gaussian-process regression against scikit-learn, and derivatives against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from tunesmith.numerics import gp

GROUP = np.array([0, 1, 2, 2])  # the last two features share a lengthscale


def data(n: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, 4))
    y = np.sin(5 * x[:, 0]) + x[:, 2] ** 2 + 0.1 * rng.normal(size=n)
    return x, (y - y.mean()) / y.std()


THETA = np.log([0.4, 1.3, 0.8, 1.7, 0.02])


def reference(theta: np.ndarray = THETA) -> GaussianProcessRegressor:
    lengths = np.exp(theta[:-2])[GROUP]
    kernel = ConstantKernel(np.exp(theta[-2])) * Matern(lengths, nu=2.5) + WhiteKernel(np.exp(theta[-1]))
    return GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0)


def test_the_posterior_is_that_of_scikit_learn() -> None:
    x, y = data()
    at = np.random.default_rng(1).random((7, 4))
    mean, sd = reference().fit(x, y).predict(at, return_std=True)
    found_mean, found_variance = gp.Posterior(GROUP, THETA[None], x, y).predict(at)
    np.testing.assert_allclose(found_mean[0], mean, rtol=1e-9)
    np.testing.assert_allclose(found_variance[0], sd**2 - math.exp(THETA[-1]), rtol=1e-6)


def test_the_evidence_is_that_of_scikit_learn() -> None:
    """Up to the prior and a constant: the difference between two thetas."""
    x, y = data()
    flat = gp.Prior(gp.Normal(0.0, 1e9), gp.Normal(0.0, 1e9), gp.Normal(0.0, 1e9))
    evidence = gp.Evidence(GROUP, flat, x, y)
    other = THETA + np.array([0.3, -0.2, 0.5, 0.1, 0.7])
    expected = [reference(theta).fit(x, y).log_marginal_likelihood_value_ for theta in (THETA, other)]
    assert evidence(other)[0] - evidence(THETA)[0] == pytest.approx(expected[0] - expected[1], rel=1e-9)


@pytest.mark.parametrize("prior", [gp.Prior.scaled(3), gp.Prior(gp.Normal(1.0, 0.2))], ids=["scaled", "narrow"])
def test_gradients_of_the_evidence(prior: gp.Prior) -> None:
    x, y = data()
    evidence = gp.Evidence(GROUP, prior, x, y)
    numeric = approx_fprime(THETA, lambda theta: evidence(theta)[0], 1e-7)
    np.testing.assert_allclose(evidence(THETA)[1], numeric, rtol=1e-4, atol=1e-4)


def test_gradients_of_the_posterior() -> None:
    x, y = data()
    posterior = gp.Posterior(GROUP, np.stack([THETA, THETA + 0.3]), x, y)
    at = np.random.default_rng(2).random((3, 4))
    mean, variance, mean_gradient, variance_gradient = posterior.predict_with_gradient(at)
    np.testing.assert_allclose((mean, variance), posterior.predict(at), rtol=1e-12)
    for member in range(2):
        for i, row in enumerate(at):
            for gradient, part in ((mean_gradient, 0), (variance_gradient, 1)):
                numeric = approx_fprime(row, lambda r, p=part, m=member: posterior.predict(r[None])[p][m, 0], 1e-7)
                np.testing.assert_allclose(gradient[member, i], numeric, rtol=1e-4, atol=1e-5)


def test_a_fit_finds_the_relevant_parameter_and_the_noise() -> None:
    x, y = data(60)
    evidence = gp.Evidence(np.arange(4), gp.Prior.scaled(4), x, y)
    theta = gp.fit(evidence, [evidence.start], 100)
    lengths = np.exp(theta[:4])
    assert lengths[0] < 0.5 * min(lengths[1], lengths[3])
    assert 0.002 < math.exp(theta[-1]) < 0.1  # 0.01 over the variance of y
    assert np.abs(evidence(theta)[1]).max() < 0.5


def test_a_fit_takes_the_better_of_two_modes() -> None:
    x, y = data(20, seed=3)
    evidence = gp.Evidence(np.arange(4), gp.Prior.scaled(4), x, y)
    starts = [evidence.start, np.concatenate([np.full(4, 5.0), evidence.start[4:]])]
    values = [evidence(gp.fit(evidence, [start], 50))[0] for start in starts]
    assert evidence(gp.fit(evidence, starts, 50))[0] == pytest.approx(min(values))


def test_the_mixture_has_the_moments_of_the_posterior() -> None:
    """Of one hyperparameter, against integration on a grid."""
    x, y = data(12)
    prior = gp.Prior(gp.Normal(0.0, 1.0), gp.Normal(0.0, 1e-3), gp.Normal(-3.0, 1e-3))
    evidence = gp.Evidence(np.zeros(4, int), prior, x, y)
    grid = np.linspace(-3, 3, 301)
    density = np.exp([-evidence(np.array([length, 0.0, -3.0]))[0] for length in grid])
    expected = (density * grid).sum() / density.sum()
    spread = math.sqrt((density * (grid - expected) ** 2).sum() / density.sum())
    thetas, weights = gp.mixture(evidence, gp.fit(evidence, [evidence.start], 100), 64)
    share = np.exp(weights)
    assert share.sum() == pytest.approx(1.0)
    mean = share @ thetas[:, 0]
    assert abs(mean - expected) < 0.3 * spread
    assert math.sqrt(share @ (thetas[:, 0] - mean) ** 2) == pytest.approx(spread, rel=0.3)


def test_a_mixture_of_one_is_the_mode() -> None:
    x, y = data()
    thetas, weights = gp.mixture(gp.Evidence(GROUP, gp.Prior.scaled(3), x, y), THETA, 1)
    assert thetas.tolist() == [THETA.tolist()]
    assert weights.tolist() == [0.0]


def test_believing_is_conditioning_on_the_mean_without_noise() -> None:
    x, y = data()
    posterior = gp.Posterior(GROUP, np.stack([THETA, THETA - 0.2]), x, y)
    at, pending = np.random.default_rng(5).random((6, 4)), np.random.default_rng(4).random((3, 4))
    believing = posterior.believing(pending)
    for member, theta in enumerate(np.stack([THETA, THETA - 0.2])):
        _, joint = reference(theta).fit(x, y).predict(np.concatenate([at, pending]), return_cov=True)
        joint -= np.exp(theta[-1]) * np.eye(9)
        expected = joint[:6, :6] - joint[:6, 6:] @ np.linalg.solve(joint[6:, 6:], joint[6:, :6])
        np.testing.assert_allclose(believing.predict(at)[1][member], np.diag(expected), rtol=1e-3)
    np.testing.assert_allclose(believing.predict(at)[0], posterior.predict(at)[0], rtol=1e-9)
    assert (believing.predict(pending)[1] < 1e-5).all()


def test_points_that_coincide_are_no_trouble() -> None:
    x, y = np.full((30, 2), 0.5), np.random.default_rng(0).normal(size=30)
    theta = np.array([0.0, 0.0, 4.0, -13.0])
    mean, variance = gp.Posterior(np.arange(2), theta[None], x, y).predict(np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert mean[0, 0] == pytest.approx(y.mean(), abs=1e-3)
    assert 0 < variance[0, 0] < variance[0, 1]


def test_without_features_only_the_mean_is_learnt() -> None:
    y = np.array([0.5, -0.5, 0.1])
    evidence = gp.Evidence(np.empty(0, int), gp.Prior.scaled(0), np.empty((3, 0)), y)
    theta = gp.fit(evidence, [evidence.start], 20)
    assert len(theta) == 2
    assert np.isfinite(gp.Posterior(np.empty(0, int), theta[None], np.empty((3, 0)), y).predict(np.empty((1, 0)))).all()
