"""Variation operators of evolutionary algorithms: recombination and mutation of chromosomes.

A chromosome is a row of d genes in the unit cube. An *ordered* gene (a number on its own scale) may take any value; an
*unordered* gene of k values (a choice) takes the middles of k bins of equal width. Real-coded operators are made for
ordered genes; unordered ones are always recombined gene by gene and mutated to another value, drawn uniformly.

Crossovers:
  Syswerda, G. (1989): Uniform crossover in genetic algorithms. Proc. ICGA, 2-9.
  Deb, K. and Agrawal, R. B. (1995): Simulated binary crossover for continuous search space. Complex Systems 9, 115-148;
  within bounds as in Deb, K. and Agrawal, S. (1999): A niched-penalty approach for constraint handling in genetic
  algorithms. Proc. ICANNGA, 235-243.
  Eshelman, L. J. and Schaffer, J. D. (1993): Real-coded genetic algorithms and interval-schemata. FOGA 2, 187-202
  (BLX-alpha).
  Ballester, P. J. and Carter, J. N. (2003): Real-parameter genetic algorithms for finding multiple optimal solutions in
  multi-modal optimization. Proc. GECCO, 706-717 (vSBX).
  Tsutsui, S., Yamamura, M. and Higuchi, T. (1999): Multi-parent recombination with simplex crossover in real coded
  genetic algorithms. Proc. GECCO, 657-664 (SPX).
  Ono, I. and Kobayashi, S. (1997): A real-coded genetic algorithm for function optimization using unimodal normal
  distribution crossover. Proc. ICGA, 246-253 (UNDX).
Mutations:
  Deb, K. and Goyal, M. (1996): A combined genetic adaptive search (GeneAS) for engineering design. Computer Science and
  Informatics 26, 30-45 (polynomial mutation); within bounds as in Deb, K. and Deb, D. (2014): Analysing mutation
  schemes for real-parameter genetic algorithms. IJAISC 4, 1-28.
  Eiben, A. E. and Smith, J. E. (2015): Introduction to Evolutionary Computing, 2nd ed., ch. 4 (Gaussian mutation,
  random resetting, swap mutation).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import FloatArray


@dataclass(frozen=True, eq=False)
class Genome:
    """What the genes of a chromosome are.

    Args:
        choices: (d,) number of values of an unordered gene, 0 for an ordered one.
        kin: (d,) genes with the same number have the same values with the same meaning, and may trade them.
    """

    choices: NDArray[np.int64]
    kin: NDArray[np.int64]
    unordered: NDArray[np.bool_] = field(init=False)
    mixed: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unordered", self.choices > 0)
        object.__setattr__(self, "mixed", bool(self.unordered.any()))

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(d,) uniform genes."""
        return self.snap(rng.random(len(self.choices)))

    def snap(self, genes: FloatArray) -> FloatArray:
        """The row (d,) with every unordered gene in the middle of the bin it lies in."""
        if not self.mixed:
            return genes
        k = self.choices
        middles = (np.minimum(np.floor(genes * k), k - 1) + 0.5) / np.where(self.unordered, k, 1)
        return np.where(self.unordered, middles, genes)

    def other(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(d,) for every unordered gene another one of its values (its only one, if it has no other)."""
        k = np.maximum(self.choices, 1)
        shift = 1 + np.floor(rng.random(len(k)) * np.maximum(k - 1, 1))
        return (np.mod(np.floor(genes * k) + shift, k) + 0.5) / k


# -- crossover --------------------------------------------------------------------------------------------------


class Crossover(ABC):
    """Makes one child of some parents.

    Attributes:
        n_parents: how many.
    """

    n_parents: ClassVar[int] = 2

    @abstractmethod
    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        """One child.

        Args:
            parents: (n_parents, d) in the unit cube; the first one is the better or was chosen first.
            rng: the source of randomness.

        Returns:
            (d,) in the unit cube.
        """


@dataclass(frozen=True)
class UniformCrossover(Crossover):
    """Every gene is the first parent's, or with probability ``swapping_prob`` the second one's (Syswerda 1989)."""

    swapping_prob: float = 0.5

    def __post_init__(self) -> None:
        _probability("swapping_prob", self.swapping_prob)

    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        return np.where(rng.random(parents.shape[1]) < self.swapping_prob, parents[1], parents[0])


@dataclass(frozen=True)
class BLXAlphaCrossover(Crossover):
    """Blend crossover: every gene uniform between its parents and ``alpha`` times their distance beyond, as far as that
    lies in the unit cube (Eshelman and Schaffer 1993, where 0.5 neither widens nor narrows a population)."""

    alpha: float = 0.5

    def __post_init__(self) -> None:
        _least("alpha", self.alpha, 0.0)

    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        low, high = np.minimum(parents[0], parents[1]), np.maximum(parents[0], parents[1])
        reach = self.alpha * (high - low)
        low, high = np.maximum(low - reach, 0.0), np.minimum(high + reach, 1.0)
        return low + (high - low) * rng.random(len(low))


@dataclass(frozen=True)
class SBXCrossover(Crossover):
    """Simulated binary crossover (Deb and Agrawal 1995), within bounds (Deb and Agrawal 1999).

    A gene x1 < x2 of the two parents gives the two children's genes

        c1 = (x1 + x2 - b1 (x2 - x1)) / 2,        c2 = (x1 + x2 + b2 (x2 - x1)) / 2,

    where the spread b has a density of b**eta below 1 and b**-(eta + 2) above, cut off where the child would leave the
    unit cube. The one child that is made takes each gene from either of these two children.

    Args:
        eta: distribution index: the larger, the nearer are children to their parents. ``None`` is 2; samplers put 20
            in its place where there are several objectives (Deb et al. 2002).
        uniform_crossover_prob: probability that the child's genes are traded between the two children; the first child
            has the genes that lie nearer to the first parent's.
        use_child_gene_prob: probability that a gene is recombined at all; else it is its parent's.
    """

    eta: float | None = None
    uniform_crossover_prob: float = 0.5
    use_child_gene_prob: float = 0.5

    def __post_init__(self) -> None:
        if self.eta is not None:
            _least("eta", self.eta, 0.0)
        _probability("uniform_crossover_prob", self.uniform_crossover_prob)
        _probability("use_child_gene_prob", self.use_child_gene_prob)
        if self.use_child_gene_prob <= 0.0:
            raise InvalidValueError("`use_child_gene_prob` must be positive, or children would be their parents.")

    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        first, second = parents
        low, high = np.minimum(first, second), np.maximum(first, second)
        u, trade, made = rng.random((3, len(low)))
        middle, way = (low + high) / 2.0, (high - low) / 2.0
        down, up = self._children(middle, way, u)
        below = first <= second
        near, far = np.where(below, down, up), np.where(below, up, down)
        swapped = trade < self.uniform_crossover_prob
        child = np.where(swapped, far, near)
        return np.where(made < self.use_child_gene_prob, child, np.where(swapped, second, first))

    def _children(self, middle: FloatArray, way: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Genes below and above the parents' middle; ``way`` is half of their distance."""
        power = (2.0 if self.eta is None else self.eta) + 1.0
        apart = np.where(way > 0.0, way, 1.0)
        found = []
        for room, side in ((middle - way, -1.0), (1.0 - middle - way, 1.0)):  # room: from the outer parent to the wall
            bound = 1.0 + room / apart
            alpha = 2.0 - bound**-power
            spread = np.where(u * alpha <= 1.0, u * alpha, 1.0 / (2.0 - u * alpha)) ** (1.0 / power)
            found.append(np.clip(middle + side * spread * way, 0.0, 1.0))
        return found[0], found[1]


@dataclass(frozen=True)
class VSBXCrossover(SBXCrossover):
    """vSBX (Ballester and Carter 2003): as SBX, but children lie about their parents and not about the parents' middle,
    so that no part of the space is left out.

    The spread b >= 1 has a density of b**-(eta + 2); a child's gene lies (b - 1) half distances of the parents beyond a
    parent or as far within. Genes beyond the cube are put on its wall.
    """

    def _children(self, middle: FloatArray, way: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        power = (2.0 if self.eta is None else self.eta) + 1.0
        below = u <= 0.5
        tail = np.maximum(2.0 * np.where(below, u, 1.0 - u), np.finfo(float).tiny)
        spread = tail ** (-1.0 / power)
        stretch = np.where(below, spread, 2.0 - spread)
        return np.clip(middle - stretch * way, 0.0, 1.0), np.clip(middle + stretch * way, 0.0, 1.0)


@dataclass(frozen=True)
class SPXCrossover(Crossover):
    """Simplex crossover: uniform in the simplex of three parents, enlarged by ``epsilon`` about its centre (Tsutsui et
    al. 1999; by default sqrt(number of parents + 1), which keeps mean and covariance). Beyond the cube: on its wall."""

    n_parents: ClassVar[int] = 3

    epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            _least("epsilon", self.epsilon, 0.0)

    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        n = self.n_parents - 1
        epsilon = math.sqrt(n + 2) if self.epsilon is None else self.epsilon
        centre = parents.mean(axis=0)
        corners = centre + epsilon * (parents - centre)
        child = np.zeros(parents.shape[1])
        for k in range(1, n + 1):  # eq. 4: r_k = u^(1 / k)
            child = float(rng.random()) ** (1.0 / k) * (corners[k - 1] - corners[k] + child)
        return np.clip(corners[n] + child, 0.0, 1.0)


@dataclass(frozen=True)
class UNDXCrossover(Crossover):
    """Unimodal normal distribution crossover (Ono and Kobayashi 1997): normal about the middle of two parents, along
    their line with ``sigma_xi`` times their distance, across it with ``sigma_eta`` times the third parent's distance
    from the line (0.35 / sqrt(d) by default). Beyond the cube: on its wall."""

    n_parents: ClassVar[int] = 3

    sigma_xi: float = 0.5
    sigma_eta: float | None = None

    def __post_init__(self) -> None:
        _least("sigma_xi", self.sigma_xi, 0.0)
        if self.sigma_eta is not None:
            _least("sigma_eta", self.sigma_eta, 0.0)

    def __call__(self, parents: FloatArray, rng: np.random.Generator) -> FloatArray:
        d = parents.shape[1]
        sigma_eta = 0.35 / math.sqrt(d) if self.sigma_eta is None else self.sigma_eta
        line = parents[1] - parents[0]
        length = float(np.linalg.norm(line))
        along = line / length if length > 0.0 else np.zeros(d)
        aside = parents[2] - parents[0]
        distance = float(np.linalg.norm(aside - (aside @ along) * along))
        xi = float(rng.normal()) * self.sigma_xi
        noise = rng.normal(scale=sigma_eta * distance, size=(d,))
        noise = noise - (noise @ along) * along
        return np.clip((parents[0] + parents[1]) / 2.0 + xi * line + noise, 0.0, 1.0)


# -- mutation ---------------------------------------------------------------------------------------------------


class Mutation(ABC):
    """Changes some genes of a chromosome."""

    def __call__(
        self, genes: FloatArray, where: NDArray[np.bool_], genome: Genome, rng: np.random.Generator
    ) -> FloatArray:
        """The changed chromosome.

        Args:
            genes: (d,) in the unit cube.
            where: (d,) the genes to change; at least one.
            genome: what the genes are.
            rng: the source of randomness.
        """
        moved = self.moved(genes, rng)
        if genome.mixed:
            moved = np.where(genome.unordered, genome.other(genes, rng), moved)
        return np.where(where, moved, genes)

    @abstractmethod
    def moved(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(d,) what each gene becomes where it is an ordered one that changes."""


@dataclass(frozen=True)
class GaussianMutation(Mutation):
    """A normal step, reflected at the walls of the cube.

    Args:
        sigma: standard deviation, as a part of the range.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _least("sigma", self.sigma, 0.0)
        if self.sigma == 0.0:
            raise InvalidValueError("`sigma` must be positive, or nothing would change.")

    def moved(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        return np.abs(np.mod(genes + self.sigma * rng.normal(size=len(genes)) + 1.0, 2.0) - 1.0)


@dataclass(frozen=True)
class PolynomialMutation(Mutation):
    """Polynomial mutation (Deb and Goyal 1996) within bounds (Deb and Deb 2014, eq. 3-5).

    A step down of at most the gene itself, or up of at most the rest: x - x (1 - (2u)^(1/(eta+1))) for u < 1/2.

    Args:
        eta: distribution index; a step is of the order 1 / eta of the range. 20 is usual.
    """

    eta: float = 20.0

    def __post_init__(self) -> None:
        _least("eta", self.eta, 0.0)

    def moved(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        u = rng.random(len(genes))
        power = 1.0 / (self.eta + 1.0)
        down = genes * (2.0 * np.minimum(u, 0.5)) ** power
        up = 1.0 - (1.0 - genes) * (2.0 * np.minimum(1.0 - u, 0.5)) ** power
        return np.where(u < 0.5, down, up)


@dataclass(frozen=True)
class UniformMutation(Mutation):
    """Random resetting: a new uniform value (Eiben and Smith 2015, sec. 4.3.1)."""

    def moved(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        return rng.random(len(genes))


@dataclass(frozen=True)
class SwapMutation(Mutation):
    """Swap (exchange) mutation: two positions of the chromosome trade their values (Eiben and Smith 2015, sec. 4.5.1).

    Positions are genes with the same values in the same order (the widths of two layers, say); a trade between others
    would have no meaning. A gene that has no such partner, or whose partner has the same value, is reset to a uniform
    value instead, so that every part of the space can be reached.
    """

    def __call__(
        self, genes: FloatArray, where: NDArray[np.bool_], genome: Genome, rng: np.random.Generator
    ) -> FloatArray:
        genes = genes.copy()
        for j in np.flatnonzero(where).tolist():
            partners = np.flatnonzero((genome.kin == genome.kin[j]) & (genes != genes[j]))
            if len(partners):
                k = partners[rng.integers(len(partners))]
                genes[[j, k]] = genes[[k, j]]
            else:
                genes[j] = (genome.other(genes, rng) if genome.unordered[j] else rng.random(len(genes)))[j]
        return genes

    def moved(self, genes: FloatArray, rng: np.random.Generator) -> FloatArray:
        return rng.random(len(genes))


#: Short name -> operator.
CROSSOVERS: dict[str, type[Crossover]] = {
    "uniform": UniformCrossover,
    "blx-alpha": BLXAlphaCrossover,
    "sbx": SBXCrossover,
    "vsbx": VSBXCrossover,
    "spx": SPXCrossover,
    "undx": UNDXCrossover,
}
MUTATIONS: dict[str, type[Mutation]] = {
    "gaussian": GaussianMutation,
    "polynomial": PolynomialMutation,
    "swap": SwapMutation,
    "uniform": UniformMutation,
}


def _least(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"`{name}` must be a number, but is {value!r}.")
    if not math.isfinite(value) or value < least:
        raise InvalidValueError(f"`{name}` must be finite and at least {least:g}, but is {value}.")


def _probability(name: str, value: object) -> None:
    _least(name, value, 0.0)
    if value > 1.0:  # type: ignore[operator]
        raise InvalidValueError(f"`{name}` is a probability, but is {value}.")
