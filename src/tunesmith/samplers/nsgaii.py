"""NSGA-II: a genetic algorithm for several objectives.

Deb, K., Pratap, A., Agarwal, S. and Meyarivan, T. (2002): A fast and elitist multiobjective genetic algorithm: NSGA-II.
IEEE Trans. Evol. Comput. 6, 182-197.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tunesmith._arguments import number, one_of, whole
from tunesmith.history import History
from tunesmith.numerics.dominance import crowding_distance, nondomination_ranks
from tunesmith.numerics.variation import (
    BLXAlphaCrossover,
    Crossover,
    GaussianMutation,
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
from tunesmith.samplers._base import Proposal
from tunesmith.samplers._breeding import Breeder, PopulationSampler, children, crossover_of, mutation_of, written
from tunesmith.samplers._population import chromosomes, usable
from tunesmith.space import FloatArray, Space

__all__ = [
    "BLXAlphaCrossover",
    "GaussianMutation",
    "NSGAIISampler",
    "PolynomialMutation",
    "SBXCrossover",
    "SPXCrossover",
    "SwapMutation",
    "UNDXCrossover",
    "UniformCrossover",
    "UniformMutation",
    "VSBXCrossover",
]


@dataclass(frozen=True, kw_only=True)
class NSGAIISampler(PopulationSampler):
    """Generations of configurations, of which those survive that no other one dominates, spread along the front.

    When ``population_size`` children have finished, they and their parents are sorted by non-domination (constrained
    domination: feasible before infeasible, then the smaller violation), and the best of both are the next parents; of
    the last front that fits in part, the lonelier ones (crowding distance). A parent is the better of two drawn at
    random, by front, then by crowding. Works for one objective, too.

    *State*: none but the trials: generations are counted by what has finished, whoever proposed it, so enqueued and
    added trials take part. While some children are still running, more children of the same parents can be made, and
    they count for the generation in which they finish. Failed trials are left out, a pruned one has the values it was
    pruned with. Constraints are those that ``trial.set_constraint`` tells. Chromosomes, inactive genes (tag
    ``nsga2.x``) and how known configurations are avoided: as for :class:`GeneticSampler`.

    Args:
        population_size: members. The default is Optuna's; a generation takes as many trials.
        mutation: ``None`` or ``"uniform"`` (a new uniform value), ``"gaussian"``, ``"polynomial"`` (that of the paper),
            ``"swap"``; a mapping ``{"name": "polynomial", "eta": 20}``; or an operator of this module.
        mutation_prob: probability of each gene; ``None`` is 1 / number of active parameters. One always mutates.
        crossover: ``None`` or ``"uniform"``, ``"blx-alpha"``, ``"sbx"`` (that of the paper), ``"vsbx"``, ``"spx"``,
            ``"undx"``; a mapping; or an operator of this module. Of choices it is always uniform.
        crossover_prob: probability of recombination; else the child is a mutated copy of one parent.
        swapping_prob: probability that a gene comes from the second parent, in uniform crossover and for choices.
        init: the first ``population_size`` configurations: ``"sobol"``, a scrambled Sobol' sequence, or ``"random"``.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidValueError, InvalidTypeError: impossible arguments.
    """

    population_size: int = 50
    mutation: str | Mapping[str, Any] | Mutation | None = None
    mutation_prob: float | None = None
    crossover: str | Mapping[str, Any] | Crossover | None = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5
    init: str = "sobol"
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"nsga2": {}}

    def __post_init__(self) -> None:
        for name in ("crossover_prob", "swapping_prob", "mutation_prob"):
            if getattr(self, name) is not None or name != "mutation_prob":
                number(name, getattr(self, name), 0.0, 1.0)
        one_of("init", self.init, ("sobol", "random"))
        whole("population_size", self.population_size, max(2, self._breeder(1).crossover.n_parents))
        if isinstance(self.crossover, Mapping):
            object.__setattr__(self, "crossover", crossover_of(self.crossover))
        if isinstance(self.mutation, Mapping):
            object.__setattr__(self, "mutation", mutation_of(self.mutation))

    def spec(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**super().spec(), "args": written(fields)}

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if not len(space):
            return [Proposal({})] * n
        breeder = self._breeder(len(history.directions))
        key = ("nsga2", space.id, self.population_size)
        with history.memo(key, lambda: _Generations(space, self.population_size)) as generations:
            return children(
                space, history, rng, n, prefix="nsga2", size=self.population_size, init=self.init, breeder=breeder,
                born=generations.born, parents=lambda: _selected(generations, breeder.crossover.n_parents, rng),
            )  # fmt: skip

    def _breeder(self, objectives: int) -> Breeder:
        crossover = "uniform" if self.crossover is None else self.crossover
        mutation = "uniform" if self.mutation is None else self.mutation
        eta = 20.0 if objectives > 1 else 2.0
        return Breeder.of(crossover, self.crossover_prob, self.swapping_prob, mutation, self.mutation_prob, eta)


class _Generations:
    """Memo: the parents after the first ``n`` trials.

    Attributes:
        born: how many trials had a result.
        genes: (k, d) chromosomes of the parents.
        place: (k,) their order by front, then crowding; the smaller, the better.
    """

    def __init__(self, space: Space, size: int) -> None:
        self.space, self.size = space, size
        self.n = self.born = 0
        self.genes: FloatArray = np.empty((0, len(space)))
        self.place: NDArray[np.int64] = np.empty(0, np.int64)
        self._loss: FloatArray | None = None
        self._violation: FloatArray = np.empty(0)
        self._brood: list[tuple[FloatArray, FloatArray, float]] = []

    def extend(self, history: History) -> None:
        first = self.n
        genes = chromosomes(self.space).read(history, "nsga2", first)
        rows = usable(history, first)
        loss = history.Y[rows] * np.array(history.directions, float)
        for row, values, excess in zip(rows.tolist(), loss, history.violation[rows].tolist(), strict=True):
            self._brood.append((genes[row - first], values, excess))
            if len(self._brood) == self.size:
                self._survive()
        self.born += len(rows)
        self.n = history.n

    def _survive(self) -> None:
        """The next parents, of the present ones and the brood (sec. III-C)."""
        genes, loss, violation = (np.array(column) for column in zip(*self._brood, strict=True))
        self._brood = []
        if self._loss is not None:
            genes, loss = np.concatenate([self.genes, genes]), np.concatenate([self._loss, loss])
            violation = np.concatenate([self._violation, violation])
        ranks = nondomination_ranks(loss, violation)
        crowding = np.empty(len(ranks))
        for front in range(int(ranks.max()) + 1):
            crowding[ranks == front] = crowding_distance(loss[ranks == front])
        order = np.lexsort((np.arange(len(ranks)), -crowding, ranks))[: self.size]
        self.genes, self._loss, self._violation = genes[order], loss[order], violation[order]
        same = np.append(False, (np.diff(ranks[order]) == 0) & (crowding[order][1:] == crowding[order][:-1]))
        self.place = np.cumsum(~same)


def _selected(generations: _Generations, k: int, rng: np.random.Generator) -> FloatArray | None:
    """(k, d) different parents, each the better of two that were drawn (sec. III-B, crowded comparison); None while the
    first generation is not complete."""
    others = np.arange(len(generations.genes))
    if len(others) < k:
        return None
    chosen = []
    for _ in range(k):
        one, other = others[rng.integers(len(others), size=2)].tolist()
        chosen.append(one if generations.place[one] <= generations.place[other] else other)
        others = others[others != chosen[-1]]
    return generations.genes[chosen]
