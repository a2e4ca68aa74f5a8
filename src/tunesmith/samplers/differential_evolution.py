"""Differential evolution.

Storn, R. and Price, K. (1997): Differential evolution - a simple and efficient heuristic for global optimization over
continuous spaces. J. Global Optimization 11, 341-359.
Lampinen, J. and Zelinka, I. (1999): Mixed integer-discrete-continuous optimization by differential evolution. Proc.
MENDEL, 71-76 (vectors stay continuous, what is evaluated is rounded).
Das, S., Konar, A. and Chakraborty, U. K. (2005): Two improved differential evolution schemes for faster global search.
Proc. GECCO, 991-998 (dither).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, one_of, whole
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.differential import crossed, inside, towards
from tunesmith.numerics.variation import Genome
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._differential import SLOT, SPACE, Slots, Vector, X
from tunesmith.samplers._population import Tried, chromosomes, first_points
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space

#: How often a trial that leads to a known configuration is made again.
REDRAWS = 4

#: Strategy -> how many other vectors than the target it needs.
STRATEGIES = {"rand/1": 3, "best/1": 2, "current-to-best/1": 2}


@dataclass(frozen=True, kw_only=True)
class DifferentialEvolutionSampler(BaseSampler):
    """A population of vectors that move by scaled differences of each other.

    Slot i of the population holds the vector x_i. A trial for it is a mutant,

        rand/1:             v = x_r1 + F (x_r2 - x_r3)
        best/1:             v = x_best + F (x_r1 - x_r2)
        current-to-best/1:  v = x_i + F (x_best - x_i) + F (x_r1 - x_r2)

    (r1, r2, r3 different from each other and from i), of which each gene is taken with probability CR, one of them in
    any case, and the others stay those of x_i. Genes that leave the unit cube are put halfway between x_i and the bound
    (Zhang and Sanderson 2009). The trial takes the slot if it is no worse, as soon as it has finished; SciPy calls that
    ``updating="immediate"``.

    *Choices* have no differences. A gene where x_r2 and x_r3 agree stays as it is, else it becomes that of x_r2 with
    probability F. *Integers and steps* are the bin in which their gene lies; the exact gene is kept.

    *State*: a trial's vector, its slot and its space are the tags ``de.x``, ``de.i`` and ``de.s``; the population is
    rebuilt from the trials in the order in which they finish. Slots take turns, so that while a trial runs the others
    go on; if its slot comes again before it has finished, another trial for the same slot is made. Trials of others
    (enqueued, added, from before the space changed) take the slot of the worst vector if they are no worse. Failed
    trials take no slot, a pruned one has the value it was pruned with, infeasible ones are worse than feasible ones
    (Deb 2000).

    A trial that would be known (tried or pending) is made again from other vectors, up to four times; then (the
    population has hardly any differences left) a random untried configuration takes its place.

    Args:
        population_size: slots. Ten times the number of parameters, as is usual, would leave a short study without a
            second round. Of 6, 8 and 10 with up to 100 trials ten was the best on test functions, where six stagnated.
        strategy: ``"rand/1"``, ``"best/1"`` or ``"current-to-best/1"``, which was the best of the three on test
            functions and tables of networks.
        mutation: F, or a pair (lowest, highest) from which it is drawn anew for every trial (dither).
        recombination: CR.
        init: the first ``population_size`` configurations: ``"sobol"``, a scrambled Sobol' sequence, or ``"random"``.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidValueError, InvalidTypeError: impossible arguments; a study with several objectives.
    """

    population_size: int = 10
    strategy: str = "current-to-best/1"
    mutation: float | Sequence[float] = 0.5
    recombination: float = 0.9
    init: str = "sobol"
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"de": {}, "differential-evolution": {}}

    def __post_init__(self) -> None:
        one_of("strategy", self.strategy, tuple(STRATEGIES))
        one_of("init", self.init, ("sobol", "random"))
        whole("population_size", self.population_size, 1 + STRATEGIES[self.strategy])
        number("recombination", self.recombination, 0.0, 1.0)
        if isinstance(self.mutation, Sequence) and not isinstance(self.mutation, str):
            object.__setattr__(self, "mutation", tuple(self.mutation))
            if len(self.mutation) != 2:  # type: ignore[arg-type]
                raise InvalidValueError(f"`mutation` must be F, or a pair (lowest, highest), but is {self.mutation!r}.")
        for f in self._scales:
            number("mutation", f, 0.0, 2.0)
        if self._scales[0] > self._scales[1]:
            raise InvalidValueError(f"`mutation` must be a pair (lowest, highest), but is {self.mutation!r}.")

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at: the first population."""
        return self.population_size

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("DifferentialEvolutionSampler", history)
        if not len(space):
            return [Proposal({})] * n
        coded, tried = chromosomes(space), Tried(space, history)
        pending = sum(trial.tags.get(SPACE) == coded.id for trial in history.open)
        found = []
        with history.memo(("de", space.id, self.population_size), lambda: Slots(space, self.population_size)) as slots:
            for k in range(n):
                slot = (slots.steps + pending + k) % self.population_size
                again = self._maker(slots.holders, slot, coded.genome, rng)
                if again is None:
                    genes = first_points(space, history, history.n_trials + k, self.init, rng)
                    genes, raw = tried.fresh(genes, lambda _: coded.genome.draw(rng), rng)
                else:
                    genes, raw = tried.fresh(again(None), again, rng, REDRAWS)
                tags = {X: genes.tolist(), SLOT: slot, SPACE: coded.id}
                found.append(Proposal(space.to_params(raw), tags))
        return found

    @property
    def _scales(self) -> tuple[float, float]:
        return self.mutation if isinstance(self.mutation, tuple) else (self.mutation, self.mutation)  # type: ignore[return-value]

    def _maker(
        self, holders: list[Vector | None], slot: int, genome: Genome, rng: np.random.Generator
    ) -> Callable[[Any], FloatArray] | None:
        """What makes trials for a slot (its argument is not looked at); None while there are too few vectors."""
        target = holders[slot]
        others = [vector.genes for i, vector in enumerate(holders) if vector is not None and i != slot]
        if target is None or len(others) < STRATEGIES[self.strategy]:
            return None
        best = min(vector for vector in holders if vector is not None).genes

        def make(_: Any) -> FloatArray:
            low, high = self._scales
            f = low if low == high else float(rng.uniform(low, high))
            chosen = rng.permutation(len(others))[: STRATEGIES[self.strategy]]
            rows = np.array([target.genes, best, *[others[i] for i in chosen.tolist()]])
            if np.isnan(rows).any():
                rows = np.where(np.isnan(rows), genome.draw(rng), rows)  # unknown genes make no difference
            mutant = self._mutant(rows, f, genome, rng)
            return crossed(rows[0], inside(mutant, rows[0]), self.recombination, rng)

        return make

    def _mutant(self, rows: FloatArray, f: float, genome: Genome, rng: np.random.Generator) -> FloatArray:
        """(d,) from the rows: target, best vector, and random ones."""
        target, best, *others = rows
        if self.strategy == "rand/1":
            return towards(others[0], others[1], others[2], f, genome, rng)
        base = best if self.strategy == "best/1" else towards(target, best, target, f, genome, rng)
        return towards(base, others[0], others[1], f, genome, rng)
