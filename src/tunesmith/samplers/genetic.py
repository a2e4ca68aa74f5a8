"""Genetic algorithm.

Holland, J. H. (1975): Adaptation in Natural and Artificial Systems. University of Michigan Press.
Goldberg, D. E. and Deb, K. (1991): A comparative analysis of selection schemes used in genetic algorithms. FOGA 1,
69-93 (tournaments).
Whitley, D. (1989): The GENITOR algorithm and selection pressure. Proc. ICGA, 116-121 (one child at a time).
Real, E., Aggarwal, A., Huang, Y. and Le, Q. V. (2019): Regularized evolution for image classifier architecture search.
Proc. AAAI 33, 4780-4789 (ageing).
Operators: see :mod:`tunesmith.numerics.variation`.
"""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tunesmith._arguments import number, one_of, whole
from tunesmith.history import History
from tunesmith.numerics.variation import Crossover, Mutation
from tunesmith.samplers._base import Proposal
from tunesmith.samplers._breeding import Breeder, PopulationSampler, children, crossover_of, mutation_of, written
from tunesmith.samplers._population import chromosomes, usable
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space


@dataclass(frozen=True, kw_only=True)
class GeneticSampler(PopulationSampler):
    """A population of configurations that compete, recombine and mutate.

    *Chromosomes*: one gene a parameter. A number's gene is its position on its own scale, a choice's gene is which
    value it has; choices have no order, so they are recombined gene by gene and mutate to any other value.

    *One child*: two parents (three for ``"spx"`` and ``"undx"``) are selected, recombined with probability
    ``crossover_prob``, and every gene of the child mutates with probability ``mutation_prob``, at least one of them. A
    child whose configuration was tried already, or is pending, mutates again until it is new; where all values are
    countable and this does not help, a random untried configuration takes its place.

    *State*: none but the trials. The population is rebuilt from them in the order in which they finish, whoever
    proposed them, so enqueued and added trials are members, too. Children of running trials are no parents yet; a
    worker that asks gets another child of the members there are. Failed trials are no members, a pruned one has the
    value it was pruned with, an infeasible one is worse than all feasible ones (the more, the larger its violation: Deb
    2000). Genes of parameters that are inactive in a trial are carried on in its tag ``ga.x``; where a trial has no
    such gene (it was enqueued, or the space has changed), its child takes the other parent's, or a random one.

    Args:
        population_size: members. On tables of networks (60 trials) and test functions (100 trials), six did as well as
            or better than eight and ten, and twenty worse. Textbook sizes of 50 to 100 would leave a short study
            without a second generation.
        replacement: ``"elitist"``: a new trial takes the place of the worst member if it is better (steady state:
            Whitley 1989). ``"generational"``: when ``population_size`` children have finished, the best of them and the
            ``n_elites`` best members are the next population. ``"ageing"``: a new trial takes the place of the oldest
            member, so that a result that was good by chance does not stay (Real et al. 2019).
        selection: of parents. ``"tournament"``: the best of ``tournament_size`` members drawn at random with
            replacement. ``"elitist"``: one of the ``n_elites`` best members.
        tournament_size: 2 is the weakest selection that is one, which noisy results call for.
        n_elites: best members that survive a generation, or may be parents; see ``replacement`` and ``selection``.
        crossover: of numbers: ``"uniform"``, ``"blx-alpha"``, ``"sbx"``, ``"vsbx"``, ``"spx"``, ``"undx"``; a mapping
            with such a name and arguments, ``{"name": "sbx", "eta": 5}``; or an operator of
            :mod:`tunesmith.numerics.variation`. Blending finds values that no parent has, which a small population
            needs.
        crossover_prob: probability of recombination; else the child is a mutated copy of one parent.
        swapping_prob: probability that a gene comes from the second parent, in uniform crossover and for choices.
        mutation: ``"gaussian"``, ``"polynomial"``, ``"uniform"`` (a new value), ``"swap"`` (parameters of the same
            range, such as the widths of two layers, trade values); or a mapping or an operator.
        mutation_prob: probability of each gene; ``None`` is 1 / number of active parameters.
        init: the first ``population_size`` configurations: ``"sobol"``, a scrambled Sobol' sequence, or ``"random"``.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    ``"regularized-evolution"`` is Real et al.'s method: ageing, tournaments, mutation alone.

    Raises:
        InvalidValueError, InvalidTypeError: impossible arguments; a study with several objectives (``NSGAIISampler`` is
            for those).
    """

    population_size: int = 6
    replacement: str = "elitist"
    selection: str = "tournament"
    tournament_size: int = 2
    n_elites: int = 1
    crossover: str | Mapping[str, Any] | Crossover = "blx-alpha"
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5
    mutation: str | Mapping[str, Any] | Mutation = "gaussian"
    mutation_prob: float | None = None
    init: str = "sobol"
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ga": {},
        "regularized-evolution": {
            "replacement": "ageing",
            "population_size": 10,
            "tournament_size": 5,
            "crossover_prob": 0.0,
        },
    }

    def __post_init__(self) -> None:
        one_of("replacement", self.replacement, ("elitist", "generational", "ageing"))
        one_of("selection", self.selection, ("tournament", "elitist"))
        one_of("init", self.init, ("sobol", "random"))
        whole("tournament_size", self.tournament_size, 1)
        whole("n_elites", self.n_elites, 0 if self.selection == "tournament" else 1)
        number("crossover_prob", self.crossover_prob, 0.0, 1.0)
        number("swapping_prob", self.swapping_prob, 0.0, 1.0)
        if self.mutation_prob is not None:
            number("mutation_prob", self.mutation_prob, 0.0, 1.0)
        crossover, mutation = crossover_of(self.crossover), mutation_of(self.mutation)
        whole("population_size", self.population_size, max(2, crossover.n_parents))
        if isinstance(self.crossover, Mapping):
            object.__setattr__(self, "crossover", crossover)
        if isinstance(self.mutation, Mapping):
            object.__setattr__(self, "mutation", mutation)

    def spec(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**super().spec(), "args": written(fields)}

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("GeneticSampler", history)
        if not len(space):
            return [Proposal({})] * n
        breeder = self._breeder()
        with history.memo(*self._memo(space)) as population:
            return children(
                space, history, rng, n, prefix="ga", size=self.population_size, init=self.init, breeder=breeder,
                born=population.born, parents=lambda: self._parents(population.members, breeder, rng),
            )  # fmt: skip

    def _memo(self, space: Space) -> tuple[Any, Any]:
        arguments = (self.population_size, self.replacement, self.n_elites)
        return ("ga", space.id, *arguments), lambda: _Population(space, *arguments)

    def _breeder(self) -> Breeder:
        return Breeder.of(self.crossover, self.crossover_prob, self.swapping_prob, self.mutation, self.mutation_prob)

    def _parents(self, members: list[_Individual], breeder: Breeder, rng: np.random.Generator) -> FloatArray | None:
        """(n_parents, d) different members; unknown genes are NaN. None if there are too few."""
        if len(members) < breeder.crossover.n_parents:
            return None
        others = list(members)
        chosen = []
        for _ in range(breeder.crossover.n_parents):
            if self.selection == "elitist":
                pool = sorted(others)[: self.n_elites]
            else:
                pool = [min(others[i] for i in rng.integers(len(others), size=self.tournament_size).tolist())]
            one = pool[rng.integers(len(pool))] if len(pool) > 1 else pool[0]
            chosen.append(one.genes)
            others = [m for m in others if m is not one]
        return np.array(chosen)


class _Individual(NamedTuple):
    """A finished trial; the smaller, the better (no two have the same row)."""

    violation: float
    loss: float
    row: int
    genes: FloatArray


class _Population:
    """Memo: the members after the first ``n`` trials.

    Attributes:
        members: who may be a parent; the best first, or with ageing the oldest.
        born: how many trials had a result.
    """

    def __init__(self, space: Space, size: int, replacement: str, n_elites: int) -> None:
        self.space, self.size, self.replacement, self.n_elites = space, size, replacement, n_elites
        self.n = self.born = 0
        self.members: list[_Individual] = []
        self._brood: list[_Individual] = []

    def extend(self, history: History) -> None:
        first = self.n
        genes = chromosomes(self.space).read(history, "ga", first)
        rows = usable(history, first)
        loss, violation = history.Y[rows, 0] * history.directions[0], history.violation[rows]
        for row, value, excess in zip(rows.tolist(), loss.tolist(), violation.tolist(), strict=True):
            self._add(_Individual(excess, value, row, genes[row - first]))
        self.born += len(rows)
        self.n = history.n

    def _add(self, one: _Individual) -> None:
        if self.replacement == "elitist":
            insort(self.members, one)
            del self.members[self.size :]
        elif self.replacement == "ageing":
            self.members.append(one)
            del self.members[: -self.size]
        else:
            self._brood.append(one)
            if len(self._brood) >= self.size:
                elites = self.members[: self.n_elites]
                self.members = sorted([*elites, *sorted(self._brood)[: self.size - len(elites)]])
                self._brood = []
