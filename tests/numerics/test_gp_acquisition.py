"""Acquisition functions against quadrature and differences; outputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tunesmith.numerics import acquisition
from tunesmith.numerics.outputs import half_ranked


@pytest.mark.parametrize(("mean", "sd", "best"), [(0.3, 1.0, 0.0), (-1.0, 0.2, 0.1), (2.0, 0.9, 0.0), (0.0, 3.0, -4.0)])
def test_expected_improvement_is_the_integral(mean: float, sd: float, best: float) -> None:
    expected = quad(lambda f: (best - f) * norm.pdf(f, mean, sd), mean - 12 * sd, best)[0]
    found = acquisition.log_expected_improvement(np.array([mean]), np.array([sd]), best)
    assert found[0] == pytest.approx(np.log(expected), rel=1e-6)


def test_the_logarithm_neither_underflows_nor_jumps() -> None:
    """Over the seams of its pieces, and where expected improvement itself is zero in float64."""
    z = np.concatenate([-np.logspace(10, 0, 500), np.linspace(-0.999, 6, 500)])
    found = acquisition.log_h(z)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    # phi(z) (z^-2 - 3 z^-4 + 15 z^-6 - ...): the asymptotic series
    series = norm.logpdf(-50.0) + np.log(50.0**-2 - 3 * 50.0**-4 + 15 * 50.0**-6)
    assert acquisition.log_h(np.array([-50.0]))[0] == pytest.approx(series, rel=1e-9)
    for seam in (-1.0, -1.0 / np.sqrt(np.finfo(float).eps)):
        below, above = acquisition.log_h(np.array([seam * (1 + 1e-9), seam * (1 - 1e-9)]))
        assert below == pytest.approx(above, rel=1e-8)


@pytest.mark.parametrize("gap", [-60.0, -3.0, 0.0, 2.0])
def test_slopes_are_derivatives(gap: float) -> None:
    mean, sd, step = np.array([0.4]), np.array([0.7]), 1e-6
    value, by_mean, by_sd = acquisition.log_expected_improvement_slopes(mean, sd, 0.4 + gap)
    f = acquisition.log_expected_improvement
    assert value[0] == f(mean, sd, 0.4 + gap)[0]
    difference = (f(mean + step, sd, 0.4 + gap) - f(mean - step, sd, 0.4 + gap)) / (2 * step)
    assert by_mean[0] == pytest.approx(difference[0], rel=1e-5)
    difference = (f(mean, sd + step, 0.4 + gap) - f(mean, sd - step, 0.4 + gap)) / (2 * step)
    assert by_sd[0] == pytest.approx(difference[0], rel=1e-5)


def test_the_better_half_keeps_its_proportions_the_worse_its_order() -> None:
    y = np.array([1.0, 2.0, 4.0, 5.0, 9.0, 1e6, 1e300])
    z = half_ranked(y)
    assert (np.diff(z) > 0).all()
    assert (z[1] - z[0]) / (z[2] - z[0]) == pytest.approx(1 / 3)
    assert (z[3] - z[0]) / (z[2] - z[0]) == pytest.approx(4 / 3)
    assert z[6] - z[5] < 1.5
    assert z.mean() == pytest.approx(0.0, abs=1e-12)
    assert z.std() == pytest.approx(1.0)


def test_outputs_do_not_depend_on_scale_or_order() -> None:
    y = np.random.default_rng(0).normal(size=31)
    z = half_ranked(y)
    np.testing.assert_allclose(half_ranked(3e290 * y - 1e290), z, rtol=1e-9, atol=1e-12)
    order = np.random.default_rng(1).permutation(31)
    np.testing.assert_allclose(half_ranked(y[order]), z[order], rtol=1e-9)


@pytest.mark.parametrize(
    ("y", "same"),
    [
        ([], []),
        ([3.0], [[0]]),
        ([2.0, 2.0, 2.0], [[0, 1, 2]]),
        ([1.0, 1.0, 1.0, 5.0], [[0, 1, 2]]),
        ([1e-300, 0.0], []),
    ],
)
def test_ties_and_few_values(y: list[float], same: list[list[int]]) -> None:
    z = half_ranked(np.array(y))
    assert z.shape == (len(y),)
    assert np.isfinite(z).all()
    for group in same:
        assert len(set(z[group].tolist())) == 1
    if len(set(y)) > 1:
        assert (np.argsort(z, kind="stable") == np.argsort(y, kind="stable")).all()
        assert np.ptp(z) > 0
