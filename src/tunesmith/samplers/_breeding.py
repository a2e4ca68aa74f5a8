"""Recombination and mutation as arguments of a search method."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.variation import (
    CROSSOVERS,
    MUTATIONS,
    Crossover,
    Genome,
    Mutation,
    SBXCrossover,
    UniformCrossover,
)
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._population import Chromosomes, Tried, chromosomes, first_points
from tunesmith.space import FloatArray, Space

T = TypeVar("T")


@dataclass(frozen=True)
class Breeder:
    """Recombination and mutation with their probabilities.

    Args:
        crossover: of ordered genes; unordered ones are the second parent's with probability ``swapping_prob``.
        crossover_prob: probability that there is a crossover; else the child begins as its first parent.
        swapping_prob: see ``crossover``.
        mutation: of the genes.
        mutation_prob: probability that a gene mutates; ``None``: 1 / number of active genes. One always does, because
            an unchanged copy of a parent would be a trial that teaches nothing.
    """

    crossover: Crossover
    crossover_prob: float
    swapping_prob: float
    mutation: Mutation
    mutation_prob: float | None

    @classmethod
    def of(
        cls, crossover: Any, crossover_prob: float, swapping_prob: float, mutation: Any, mutation_prob: float | None,
        eta: float | None = None,
    ) -> Breeder:  # fmt: skip
        """From a sampler's arguments; ``eta`` is the index of SBX where none is given."""
        recombine = UniformCrossover(swapping_prob) if crossover == "uniform" else crossover_of(crossover)
        if isinstance(recombine, SBXCrossover) and recombine.eta is None:
            recombine = replace(recombine, eta=eta)
        return cls(recombine, crossover_prob, swapping_prob, mutation_of(mutation), mutation_prob)

    def child(self, parents: FloatArray, chromosomes: Chromosomes, rng: np.random.Generator) -> FloatArray:
        """(d,) one child of the parents (n_parents, d), whose unknown genes are NaN."""
        genome = chromosomes.genome
        if np.isnan(parents).any():
            parents = _filled(parents, genome, rng)
        child = parents[0]
        if rng.random() < self.crossover_prob:
            child = self.crossover(parents, rng)
            if genome.mixed and not isinstance(self.crossover, UniformCrossover):
                swapped = rng.random(len(child)) < self.swapping_prob
                child = np.where(genome.unordered, np.where(swapped, parents[1], parents[0]), child)
        return self.mutated(child, chromosomes, rng)

    def mutated(self, genes: FloatArray, chromosomes: Chromosomes, rng: np.random.Generator) -> FloatArray:
        """(d,) the chromosome after mutation."""
        able = np.flatnonzero(chromosomes.active(genes) & chromosomes.varied)
        if not len(able):
            return genes
        rate = 1.0 / len(able) if self.mutation_prob is None else self.mutation_prob
        chosen = rng.random(len(able)) < rate
        if not chosen.any():
            chosen[rng.integers(len(able))] = True
        where = np.zeros(len(genes), bool)
        where[able[chosen]] = True
        return self.mutation(genes, where, chromosomes.genome, rng)


def _filled(parents: FloatArray, genome: Genome, rng: np.random.Generator) -> FloatArray:
    """The parents with unknown genes taken from the first one that knows them, or else drawn."""
    known = genome.draw(rng)
    for row in parents[::-1]:
        known = np.where(np.isnan(row), known, row)
    return np.where(np.isnan(parents), known, parents)


def children(
    space: Space, history: History, rng: np.random.Generator, n: int, *,
    prefix: str, size: int, init: str, breeder: Breeder, born: int, parents: Callable[[], FloatArray | None],
) -> list[Proposal]:  # fmt: skip
    """``n`` proposals, none of a known configuration: first points while there are fewer than ``size`` trials with a
    result or running, then children.

    Args:
        space, history, rng, n: as for ``propose``.
        prefix: of the tags.
        size: of the population.
        init: see :func:`~tunesmith.samplers._population.first_points`.
        breeder: makes a child of parents.
        born: finished trials with a result.
        parents: (n_parents, d) for the next child; None while too few trials have finished.
    """
    coded, tried, pending = chromosomes(space), Tried(space, history), len(history.running)

    def again(known: FloatArray) -> FloatArray:
        return breeder.mutated(known, coded, rng)

    found = []
    for k in range(n):
        chosen = None if born + pending + k < size else parents()
        if chosen is None:
            genes = first_points(space, history, history.n_trials + k, init, rng)
        else:
            genes = breeder.child(chosen, coded, rng)
        found.append(coded.proposal(*tried.fresh(genes, again, rng), prefix))
    return found


class PopulationSampler(BaseSampler):
    """What methods that breed a population have in common.

    Attributes:
        population_size: an argument of each.
    """

    population_size: int

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at: the first population."""
        return self.population_size

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """A child's values: no child depends on how the others were made, so it need not be a whole one."""
        if history.n < self.population_size:
            return self.filled(given, space, rng)
        (child,) = self.propose(space, history, rng, 1)
        return {name: value for name, value in child.params.items() if name not in given}


def made(kind: str, given: Any, known: Mapping[str, type[T]], base: type[T]) -> T:
    """A variation operator from itself, its short name, or its mapping ``{"name": ..., argument: ...}``.

    Raises:
        InvalidValueError: an unknown name, or arguments that it does not take. InvalidTypeError: anything else.
    """
    if isinstance(given, base):
        return given
    options = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InvalidTypeError(
            f"`{kind}` must be one of {', '.join(known)}, a mapping with such a name, or a {base.__name__}, "
            f"but is {given!r}."
        )
    if name not in known:
        raise InvalidValueError(f"`{kind}` must be one of {', '.join(known)}, but is {name!r}.")
    try:
        return known[name](**options)
    except TypeError as error:
        raise InvalidValueError(f"The {kind} {name!r} cannot be made with {options!r}: {error}.") from error


def crossover_of(given: Any) -> Crossover:
    """See :func:`made`."""
    return made("crossover", given, CROSSOVERS, Crossover)  # type: ignore[type-abstract]


def mutation_of(given: Any) -> Mutation:
    """See :func:`made`."""
    return made("mutation", given, MUTATIONS, Mutation)  # type: ignore[type-abstract]


def written(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments as a log keeps them, operators as the mappings that :func:`made` reads; None if something has no JSON
    form, or is an operator of the user's own, which a log cannot bring back."""
    names = {cls: name for name, cls in (*CROSSOVERS.items(), *MUTATIONS.items())}
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        if isinstance(value, (Crossover, Mutation)):
            if type(value) not in names or not is_dataclass(value):
                return None
            value = {"name": names[type(value)], **asdict(value)}
        found[key] = value
    try:
        return dict(json.loads(json.dumps(found, allow_nan=False)))
    except (TypeError, ValueError):
        return None
