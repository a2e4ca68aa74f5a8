"""The steps of differential evolution on chromosomes of ordered and unordered genes (see
:mod:`tunesmith.numerics.variation`).

Storn, R. and Price, K. (1997): Differential evolution - a simple and efficient heuristic for global optimization over
continuous spaces. J. Global Optimization 11, 341-359.
Zhang, J. and Sanderson, A. C. (2009): JADE: adaptive differential evolution with optional external archive. IEEE Trans.
Evol. Comput. 13, 945-958 (current-to-pbest/1; halfway to the bound).
"""

from __future__ import annotations

import numpy as np

from tunesmith.numerics.variation import Genome
from tunesmith.space import FloatArray


def towards(
    base: FloatArray, end: FloatArray, start: FloatArray, f: float, genome: Genome, rng: np.random.Generator
) -> FloatArray:
    """``base + f (end - start)``.

    Where an unordered gene is the same in ``start`` and ``end`` there is no difference and ``base`` keeps its value;
    else it takes that of ``end`` with probability ``f``, so that steps become rarer as a population agrees.

    Args:
        base, end, start: (d,) chromosomes.
        f: scale factor F.
        genome: what the genes are.
        rng: drawn from only if there are unordered genes.
    """
    moved = base + f * (end - start)
    if genome.mixed:
        taken = (end != start) & (rng.random(len(base)) < f)
        moved = np.where(genome.unordered, np.where(taken, end, base), moved)
    return moved


def inside(mutant: FloatArray, target: FloatArray) -> FloatArray:
    """The mutant (d,), put halfway between ``target`` and the bound where it is outside of the unit cube."""
    low, high = target / 2.0, (1.0 + target) / 2.0
    return np.where(mutant < 0.0, low, np.where(mutant > 1.0, high, mutant))


def crossed(target: FloatArray, mutant: FloatArray, cr: float, rng: np.random.Generator) -> FloatArray:
    """Binomial crossover: each gene of the mutant with probability ``cr``, one in any case, else the target's."""
    taken = rng.random(len(target)) < cr
    taken[rng.integers(len(target))] = True
    return np.where(taken, mutant, target)
