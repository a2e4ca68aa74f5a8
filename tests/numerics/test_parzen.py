"""Densities against scipy's and Optuna's, term by term; draws against their densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunesmith.numerics.parzen import CELLS, Axes, Cells, Kernels, choice_kernel, neighbour_bandwidths, steps
from tunesmith.numerics.parzen_shared import CellCounts, SharedKernels, scott

LOG_EDGES = np.log(np.arange(1, 6) * 2 - 1) / np.log(9)  # 1, 2, 3, 4 on a logarithmic scale


def axes() -> Axes:
    """A continuum, four values, three choices, a logarithmic integer, another continuum."""
    return Axes(np.array([0, 0, 3, 0, 0]), [None, np.linspace(0, 1, 5), None, LOG_EDGES, None])


def sample(n: int, seed: int = 0, holes: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.random((n, 5))
    rows[:, 1] = (np.floor(rows[:, 1] * 4) + 0.5) / 4
    rows[:, 2] = (np.floor(rows[:, 2] * 3) + 0.5) / 3
    if holes:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


def truncated(u: float, s: float) -> stats.rv_continuous:
    return stats.truncnorm(-u / s, (1 - u) / s, loc=u, scale=s)


def kernel(x: float, u: float, s: float, edges: np.ndarray | None) -> float:
    """The relative density of one kernel in one column of numbers."""
    if math.isnan(x) or math.isnan(u):
        return 1.0
    if edges is None:
        return float(truncated(u, s).pdf(x))
    k = min(int(np.searchsorted(edges, x, side="right")) - 1, len(edges) - 2)
    low, high = edges[k], edges[k + 1]
    return float((truncated(u, s).cdf(high) - truncated(u, s).cdf(low)) / (high - low))


def choice(x: float, u: float, own: float, k: int) -> float:
    if math.isnan(x) or math.isnan(u):
        return 1.0
    return k * own if int(x * k) == int(u * k) else k * (1 - own) / (k - 1)


def by_hand(kernels: Kernels, rows: np.ndarray, x: np.ndarray, prior: float) -> np.ndarray:
    """(c, n, 5) relative densities, one by one."""
    s = np.full(rows.shape, np.nan)
    s[:, [0, 1, 3, 4]] = neighbour_bandwidths(rows[:, [0, 1, 3, 4]])
    n = int((~np.isnan(rows[:, 2])).sum())
    own = (1 + prior / (n + 1)) / (1 + 3 * prior / (n + 1))
    edges = {0: None, 1: np.linspace(0, 1, 5), 3: LOG_EDGES, 4: None}
    found = np.empty((len(x), len(rows), 5))
    for c in range(len(x)):
        for i in range(len(rows)):
            for j in range(5):
                if j == 2:
                    found[c, i, j] = choice(x[c, j], rows[i, j], own, 3)
                else:
                    found[c, i, j] = kernel(x[c, j], rows[i, j], s[i, j], edges[j])
    return found


@pytest.mark.parametrize("holes", [False, True])
def test_mixture_is_the_sum_of_its_kernels(holes: bool) -> None:
    rows, x, prior = sample(7, 1, holes), sample(5, 2, holes), 1.5
    weights = np.linspace(0.5, 2, 7)
    kernels = Kernels(axes(), rows, weights, prior)
    terms = by_hand(kernels, rows, x, prior)
    joint = (terms.prod(axis=2) @ weights + prior) / (weights.sum() + prior)
    np.testing.assert_allclose(kernels.log_joint(x), np.log(joint), rtol=1e-9)
    there = ~np.isnan(rows) * weights[:, None]
    marginal = np.log(((terms * there).sum(axis=1) + prior) / (there.sum(axis=0) + prior))
    marginal[np.isnan(x)] = 0
    np.testing.assert_allclose(kernels.log_marginal(x), marginal, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("endpoints", "clip"), [(False, True), (True, True), (False, False)])
@pytest.mark.parametrize("n", [1, 2, 3, 12, 150])
def test_widths_are_optunas(n: int, endpoints: bool, clip: bool) -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters

    values = np.random.default_rng(n).random(n)
    theirs = _ParzenEstimator(
        {"x": values},
        {"x": optuna.distributions.FloatDistribution(0, 1)},
        _ParzenEstimatorParameters(1.0, clip, endpoints, lambda k: np.ones(k), True),
    )
    expected = theirs._mixture_distribution.distributions[0].sigma[:-1]  # the last one is the prior
    found = neighbour_bandwidths(values[:, None], endpoints=endpoints, clip=clip)[:, 0]
    np.testing.assert_allclose(found, expected)


def test_widths_ignore_rows_without_the_column() -> None:
    u = np.array([0.2, np.nan, 0.9, 0.4, np.nan])[:, None]
    found = neighbour_bandwidths(u)[:, 0]
    np.testing.assert_allclose(found[[0, 2, 3]], neighbour_bandwidths(u[[0, 2, 3]])[:, 0])
    assert found[1] == found[4] == 1.0
    assert neighbour_bandwidths(np.empty((0, 3))).shape == (0, 3)


def test_choice_kernels_are_optunas() -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters

    theirs = _ParzenEstimator(
        {"c": np.array([0.0, 2.0, 2.0])},
        {"c": optuna.distributions.CategoricalDistribution(["a", "b", "c", "d"])},
        _ParzenEstimatorParameters(1.0, True, False, lambda k: np.ones(k), True),
    )
    expected = theirs._mixture_distribution.distributions[0].weights
    own, other = choice_kernel(np.array([3.0]), np.array([4]), 1.0)
    assert expected[0, 0] == pytest.approx(own[0])
    assert expected[0, 1] == pytest.approx(other[0])


@pytest.mark.parametrize("holes", [False, True])
def test_shared_kernels_are_the_sum_of_theirs(holes: bool) -> None:
    rows, x, prior = sample(9, 3, holes), sample(6, 4, holes), 0.7
    weights = np.array([3.0] * 7 + [1.0] * 2)
    shared = SharedKernels(axes(), rows[:7], weights[:7], prior)
    shared.add(rows[7:])
    s, edges = shared._s, {0: None, 1: np.linspace(0, 1, 5), 3: LOG_EDGES, 4: None}
    n = (~np.isnan(rows[:7, 2])).sum()
    own = float(choice_kernel(np.array([float(n)]), np.array([3]), prior)[0][0])
    found = np.full(len(x), prior)
    for c in range(len(x)):
        for i in range(len(rows)):
            product = weights[i] * choice(x[c, 2], rows[i, 2], own, 3)
            for j in (0, 4):
                product *= kernel(x[c, j], rows[i, j], s[j], None)
            for j in (1, 3):  # of these the kernel is in the middle of the value's cell, with a rounded width
                e = edges[j]
                assert e is not None
                k = np.searchsorted(e, rows[i, j], side="right") - 1 if rows[i, j] == rows[i, j] else 0
                middle = (e[k] + e[k + 1]) / 2 if rows[i, j] == rows[i, j] else np.nan
                width = 2.0 ** (-round(-8 * math.log2(s[j])) / 8)
                product *= kernel(x[c, j], middle, width, e)
            found[c] += product
    expected = np.log(found / (weights.sum() + prior))
    np.testing.assert_allclose(shared.log_joint(x), expected, rtol=1e-8)


def test_counted_density_is_that_of_the_kernels() -> None:
    """64 cells and interpolation are close to exact kernels of the same width, and the density has mass 1."""
    rng = np.random.default_rng(0)
    one = Axes(np.array([0]), [None])
    rows = np.clip(rng.normal(0.35, 0.15, (400, 1)), 0, 1)
    counts = CellCounts(one)
    counts.add(rows)
    grid = np.linspace(0.0005, 0.9995, 1000)[:, None]
    found = np.exp(counts.log_marginal(grid, 1.0))[:, 0]
    s = float(scott(np.array([400.0]), np.array([rows.var()]), 1)[0])
    expected = (sum(truncated(u, s).pdf(grid[:, 0]) for u in rows[:, 0]) + 1) / 401
    assert np.abs(found - expected).max() < 0.04 * expected.max()
    assert found.mean() == pytest.approx(1, abs=2e-3)


def test_counts_of_ordered_values_and_choices_are_exact() -> None:
    rows = sample(40, 5)
    counts = CellCounts(axes())
    counts.add(rows)
    x = sample(200, 6, holes=False)
    density = np.exp(counts.log_marginal(x, 1.0))
    present = rows[~np.isnan(rows[:, 2]), 2]
    hits = np.bincount((present * 3).astype(int), minlength=3)
    own = float(choice_kernel(np.array([float(len(present))]), np.array([3]), 1.0)[0][0])
    expected = (3 * (hits * own + (len(present) - hits) * (1 - own) / 2) + 1) / (len(present) + 1)
    np.testing.assert_allclose(density[:, 2], expected[(x[:, 2] * 3).astype(int)])
    for j, width in ((1, np.full(4, 0.25)), (3, np.diff(LOG_EDGES))):  # the mass of all values is 1
        place = axes().places(x)[:, j]
        masses = {int(k): density[place == k, j][0] * width[k] for k in np.unique(place)}
        assert sum(masses.values()) == pytest.approx(1)


def test_counts_forget_what_is_taken_out() -> None:
    rows, more = sample(30, 7), sample(8, 8)
    counts, other = CellCounts(axes()), CellCounts(axes())
    counts.add(rows)
    other.add(np.concatenate([rows, more]))
    some = CellCounts(axes())
    some.add(more)
    left = other.without(some)
    np.testing.assert_array_equal(counts.numbers, left.numbers)
    np.testing.assert_array_equal(counts.choices, left.choices)
    left.add(more)
    np.testing.assert_array_equal(left.numbers, other.numbers)


@pytest.mark.parametrize("joint", [False, True])
def test_draws_follow_the_density(joint: bool) -> None:
    """Each column's draws have the mixture's distribution (Kolmogorov-Smirnov for a continuum, chi-squared else)."""
    rows, weights = sample(6, 9, holes=False), np.array([1.0, 2, 1, 1, 3, 1])
    kernels = Kernels(axes(), rows, weights, 1.0)
    x = kernels.draw(np.random.default_rng(3), 6000, joint)
    assert ((x >= 0) & (x <= 1)).all()
    s = neighbour_bandwidths(rows[:, [0]])[:, 0]

    def cdf(v: np.ndarray) -> np.ndarray:
        parts = sum(w * truncated(u, b).cdf(v) for w, u, b in zip(weights, rows[:, 0], s, strict=True))
        return (parts + v) / (weights.sum() + 1)

    assert stats.kstest(x[:, 0], cdf).pvalue > 0.01
    for j, edges in ((1, np.linspace(0, 1, 5)), (2, np.linspace(0, 1, 4)), (3, LOG_EDGES)):
        middles = np.tile((edges[1:] + edges[:-1])[:, None] / 2, 5)
        expected = np.exp(kernels.log_marginal(middles)[:, j]) * np.diff(edges)
        seen = np.histogram(x[:, j], edges)[0]
        assert stats.chisquare(seen, 6000 * expected / expected.sum()).pvalue > 0.01


def test_a_column_that_a_row_lacks_is_drawn_from_its_marginal() -> None:
    rows = np.array([[0.1, 0.1], [0.9, np.nan], [0.1, 0.12]])
    kernels = Kernels(Axes(np.zeros(2, int), [None, None]), rows, np.ones(3), 1e-12)
    x = kernels.draw(np.random.default_rng(0), 4000, joint=True)
    far = x[x[:, 0] > 0.7]
    assert len(far) > 500
    near = kernels.draw(np.random.default_rng(1), 4000, joint=False)[:, 1]
    assert stats.ks_2samp(far[:, 1], near).pvalue > 0.01


def test_a_joint_draw_heeds_what_is_given() -> None:
    rows = np.array([[0.1, 0.9], [0.12, 0.88], [0.9, 0.1], [0.88, 0.12]])
    kernels = Kernels(Axes(np.zeros(2, int), [None, None]), rows, np.ones(4), 0.01)
    x = kernels.draw(np.random.default_rng(0), 200, joint=True, given=np.array([0.1, np.nan]))
    assert (x[:, 0] == 0.1).all()
    assert np.median(x[:, 1]) > 0.7
    other = kernels.draw(np.random.default_rng(0), 200, joint=True, given=np.array([0.9, np.nan]))
    assert np.median(other[:, 1]) < 0.3


def test_without_rows_there_is_the_prior() -> None:
    kernels = Kernels(axes(), np.empty((0, 5)), np.empty(0), 1.0)
    x = sample(4, 1)
    assert (kernels.log_joint(x) == 0).all()
    assert (kernels.log_marginal(x) == 0).all()
    assert stats.kstest(kernels.draw(np.random.default_rng(0), 2000, True)[:, 0], "uniform").pvalue > 0.01
    shared = SharedKernels(axes(), np.empty((0, 5)), np.empty(0), 1.0)
    assert (shared.log_joint(x) == 0).all()
    assert (CellCounts(axes()).log_marginal(x, 1.0) == 0).all()


def test_tables_are_those_of_the_rounded_width() -> None:
    cells = Cells(LOG_EDGES)
    for bandwidth in (0.9, 0.1, 0.01):
        (step,) = steps(np.array([bandwidth]))
        table = cells.table(step)
        np.testing.assert_allclose((table * np.diff(LOG_EDGES)).sum(axis=1), 1)
        s = 2.0 ** (-step / 8)
        assert abs(math.log2(s / bandwidth)) <= 1 / 16
        assert table[1, 2] == pytest.approx(kernel(cells.centre[2], cells.centre[1], s, LOG_EDGES))
    assert cells.find(np.array([0.0, 1.0, np.nan])).tolist() == [0, 3, 3]
    assert CELLS >= 16
