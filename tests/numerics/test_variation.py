"""Variation operators: against Optuna's, against their definitions, and at the walls of the cube."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.variation import (
    CROSSOVERS,
    MUTATIONS,
    BLXAlphaCrossover,
    Crossover,
    GaussianMutation,
    Genome,
    Mutation,
    PolynomialMutation,
    SBXCrossover,
    SPXCrossover,
    SwapMutation,
    UNDXCrossover,
    UniformCrossover,
    UniformMutation,
    VSBXCrossover,
)

N = 3000
PARENTS = np.array([[0.3, 0.55, 0.1], [0.5, 0.45, 0.8], [0.4, 0.7, 0.6]])
NUMBERS = Genome(np.zeros(3, np.int64), np.arange(3))


def children(crossover: Crossover, parents: np.ndarray = PARENTS, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([crossover(parents[: crossover.n_parents], rng) for _ in range(n)])


def optunas(name: str, parents: np.ndarray = PARENTS, **options: Any) -> np.ndarray:
    nsgaii = pytest.importorskip("optuna.samplers.nsgaii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crossover = getattr(nsgaii, name)(**options)
    rng = np.random.RandomState(1)
    bounds = np.tile([0.0, 1.0], (parents.shape[1], 1))
    made = [crossover.crossover(parents[: crossover.n_parents], rng, None, bounds) for _ in range(N)]
    return np.clip(np.array(made), 0.0, 1.0)


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (UniformCrossover(0.5), "UniformCrossover", {"swapping_prob": 0.5}),
        (SBXCrossover(2.0), "SBXCrossover", {"eta": 2.0}),
        (SBXCrossover(20.0, 0.5, 1.0), "SBXCrossover", {"eta": 20.0, "use_child_gene_prob": 1.0}),
        (SPXCrossover(2.0), "SPXCrossover", {"epsilon": 2.0}),
        # Optuna takes the square of a standard deviation for one
        (UNDXCrossover(0.5, 0.2), "UNDXCrossover", {"sigma_xi": 0.5**0.5, "sigma_eta": 0.2**0.5}),
    ],
    ids=["uniform", "sbx", "sbx-whole", "spx", "undx"],
)
def test_children_are_distributed_as_optunas(ours: Crossover, name: str, options: dict[str, Any]) -> None:
    """Every gene, and the sum of all (which tells whether genes are drawn together)."""
    mine, others = children(ours), optunas(name, **options)
    for a, b in [*zip(mine.T, others.T, strict=True), (mine.sum(axis=1), others.sum(axis=1))]:
        assert stats.ks_2samp(a, b).pvalue > 1e-3


def test_uniform_crossover_swaps_as_often_as_told() -> None:
    assert abs((children(UniformCrossover(0.3)) == PARENTS[1]).mean() - 0.3) < 0.02


def test_blend_is_uniform_within_the_cube() -> None:
    found = children(BLXAlphaCrossover(0.5))
    for gene, (low, high) in zip(found.T, [(0.2, 0.6), (0.4, 0.6), (0.0, 1.0)], strict=True):
        assert stats.kstest(gene, "uniform", (low, high - low)).pvalue > 1e-3


def test_sbx_spread_has_the_density_of_the_paper() -> None:
    """Far from the walls P(b <= 1) is 1/2, and b**(eta + 1) below 1 and its inverse above are uniform."""
    parents = np.array([[0.499], [0.501]])
    found = children(SBXCrossover(3.0, 0.0, 1.0), parents, 4000)[:, 0]
    spread = (0.5 - found) / 0.001
    assert abs((spread <= 1).mean() - 0.5) < 0.03
    assert stats.kstest(spread[spread <= 1] ** 4, "uniform").pvalue > 1e-3
    assert stats.kstest(spread[spread > 1] ** -4, "uniform").pvalue > 1e-3


def test_vsbx_lies_about_the_parents() -> None:
    """As far beyond a parent as within, (b - 1) half distances, where b**-(eta + 1) is uniform."""
    parents = np.array([[0.499], [0.501]])
    found = children(VSBXCrossover(3.0, 0.0, 1.0), parents, 4000)[:, 0]
    from_first = (0.499 - found) / 0.001
    assert abs((from_first > 0).mean() - 0.5) < 0.03
    assert stats.ks_2samp(from_first[from_first > 0], -from_first[from_first < 0]).pvalue > 1e-3
    assert stats.kstest((1 + np.abs(from_first)) ** -4, "uniform").pvalue > 1e-3


def test_simplex_keeps_mean_and_covariance() -> None:
    """With the default enlargement, of the parents taken as a population (Tsutsui et al. 1999)."""
    parents = 0.4 + 0.2 * PARENTS[:, :2]
    found = children(SPXCrossover(), parents, 20000)
    np.testing.assert_allclose(found.mean(axis=0), parents.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.cov(found.T), np.cov(parents.T, bias=True), atol=1e-4)


@pytest.mark.parametrize("name", CROSSOVERS)
def test_crossovers_stay_inside_and_keep_what_parents_share(name: str) -> None:
    crossover = CROSSOVERS[name]()
    corners = np.array([[0.0, 1.0, 0.5, 0.0], [1.0, 1.0, 0.5, 1e-12], [0.0, 1.0, 0.5, 1.0]])[: crossover.n_parents]
    with np.errstate(all="raise", under="ignore"):
        found = children(crossover, corners, 300)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    if name != "undx":  # which also steps across the parents' line
        np.testing.assert_allclose(found[:, 1:3], [[1.0, 0.5]] * 300)
    same = np.tile(PARENTS[0], (crossover.n_parents, 1))
    np.testing.assert_allclose(children(crossover, same, 20), np.tile(PARENTS[0], (20, 1)))


# -- mutation ---------------------------------------------------------------------------------------------------


def mutants(mutation: Mutation, genes: np.ndarray, where: np.ndarray, genome: Genome, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([mutation(genes, where, genome, rng) for _ in range(n)])


def test_polynomial_mutation_has_the_density_of_the_paper() -> None:
    """Up or down equally often; what is left of the way to the wall, to the power of eta + 1, is uniform."""
    found = mutants(PolynomialMutation(8.0), np.array([0.1, 0.5, 0.95]), np.ones(3, bool), NUMBERS)
    for gene, at in zip(found.T, (0.1, 0.5, 0.95), strict=True):
        down, up = gene[gene < at], gene[gene > at]
        assert abs(len(down) / len(gene) - 0.5) < 0.04
        assert stats.kstest((down / at) ** 9, "uniform").pvalue > 1e-3
        assert stats.kstest(((1 - up) / (1 - at)) ** 9, "uniform").pvalue > 1e-3


def test_gaussian_mutation_is_normal_and_reflected() -> None:
    found = mutants(GaussianMutation(0.05), np.array([0.5, 0.5, 0.02]), np.array([True, False, True]), NUMBERS)
    assert stats.kstest(found[:, 0], "norm", (0.5, 0.05)).pvalue > 1e-3
    assert (found[:, 1] == 0.5).all()
    folded = np.abs(np.random.default_rng(1).normal(0.02, 0.05, N))
    assert stats.ks_2samp(found[:, 2], folded).pvalue > 1e-3


@pytest.mark.parametrize("name", MUTATIONS)
def test_choices_become_another_value(name: str) -> None:
    """Each of the others equally often, in the middle of its bin; numbers stay inside; what is not chosen stays."""
    genome = Genome(np.array([4, 0, 1, 0]), np.arange(4))
    genes = np.array([0.375, 1.0, 0.5, 0.0])
    found = mutants(MUTATIONS[name](), genes, np.array([True, True, True, False]), genome)
    values, counts = np.unique(found[:, 0], return_counts=True)
    np.testing.assert_array_equal(values, [0.125, 0.625, 0.875])
    assert stats.chisquare(counts).pvalue > 1e-3
    assert (found[:, 2] == 0.5).all()
    assert (found[:, 3] == 0.0).all()
    assert ((found[:, 1] >= 0) & (found[:, 1] <= 1)).all()
    assert found[:, 1].std() > 0


def test_swap_trades_between_equal_genes() -> None:
    genome = Genome(np.array([0, 0, 3, 0]), np.array([0, 0, 1, 2]))
    genes = np.array([0.2, 0.7, 0.5, 0.4])
    first = np.array([True, False, False, False])
    np.testing.assert_array_equal(mutants(SwapMutation(), genes, first, genome, 5), [[0.7, 0.2, 0.5, 0.4]] * 5)
    lonely = mutants(SwapMutation(), genes, np.array([False, False, True, True]), genome, 400)
    assert set(lonely[:, 2]) == {1 / 6, 5 / 6}
    assert stats.kstest(lonely[:, 3], "uniform").pvalue > 1e-3
    equal = mutants(SwapMutation(), np.array([0.2, 0.2, 0.5, 0.4]), first, genome, 400)
    assert (equal[:, 1] == 0.2).all()
    assert stats.kstest(equal[:, 0], "uniform").pvalue > 1e-3


def test_genome() -> None:
    genome = Genome(np.array([3, 0]), np.arange(2))
    np.testing.assert_allclose(genome.snap(np.array([0.99, 0.99])), [5 / 6, 0.99])
    np.testing.assert_allclose(genome.snap(np.array([1.0, 1.0])), [5 / 6, 1.0])
    drawn = np.array([genome.draw(np.random.default_rng(k)) for k in range(60)])
    assert len(np.unique(drawn[:, 0])) == 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: UniformCrossover(1.5), InvalidValueError, "probability"),
        (lambda: SBXCrossover(-1.0), InvalidValueError, "at least 0"),
        (lambda: SBXCrossover(use_child_gene_prob=0.0), InvalidValueError, "positive"),
        (lambda: BLXAlphaCrossover(float("nan")), InvalidValueError, "finite"),
        (lambda: SPXCrossover("wide"), InvalidTypeError, "number"),  # type: ignore[arg-type]
        (lambda: UNDXCrossover(True), InvalidTypeError, "number"),
        (lambda: GaussianMutation(0.0), InvalidValueError, "positive"),
        (lambda: PolynomialMutation(-2), InvalidValueError, "at least 0"),
    ],
)
def test_impossible_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_uniform_mutation() -> None:
    found = mutants(UniformMutation(), np.array([0.5, 0.5, 0.5]), np.array([True, False, False]), NUMBERS)
    assert stats.kstest(found[:, 0], "uniform").pvalue > 1e-3
