"""How DEHB makes an offspring: vectors of trials, pools of parents, mutation and crossover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunesmith.history import History
from tunesmith.numerics.differential import crossed
from tunesmith.pruners._subpopulations import Evaluations, Indices, Job
from tunesmith.space import FloatArray, Space

#: Tags: the vector of a trial, and the space that it belongs to.
VECTOR, SPACE = "dehb.x", "dehb.s"
#: Parents of a mutant.
_PARENTS = 3


def offspring(target: FloatArray, parents: FloatArray, f: float, cr: float, rng: np.random.Generator) -> FloatArray:
    """(d,) rand/1/bin (Storn and Price 1997), with genes outside of the unit cube drawn anew.

    Args:
        target: (d,) whose place the offspring competes for.
        parents: (3, d).
        f: scale factor F.
        cr: crossover rate CR.
        rng: the source of randomness.
    """
    mutant = parents[0] + f * (parents[1] - parents[2])
    mutant = np.where((mutant < 0.0) | (mutant > 1.0), rng.random(len(mutant)), mutant)
    return crossed(target, mutant, cr, rng)


@dataclass(frozen=True, eq=False)
class Pool:
    """Vectors to draw from.

    Attributes:
        trials: those whose vectors they are.
        size: how many they are; the others are random ones.
    """

    trials: Indices
    size: int


class Parents:
    """Who may be parents of the offspring for a job, and what its target is.

    Args:
        history: the study.
        space: what vectors are in the unit cube of.
        found: who holds which places.
        job: what the offspring is for.
    """

    def __init__(self, history: History, space: Space, found: Evaluations, job: Job) -> None:
        self._history, self._space = history, space
        plan = found.plan
        place = plan.place(*(np.array([part]) for part in job))[0]
        places, holders = found.holders(job.level)
        self.target = Pool(holders[places == place], 1)
        if job.level == plan.first(job.bracket):
            self.pool = Pool(holders[places != place], int(plan.places[job.level]) - 1)
        else:
            size = plan.size(job.bracket, job.level)
            self.pool = Pool(found.holders(job.level - 1)[1][:size], size)
        held = np.concatenate([found.holders(level)[1] for level in range(len(plan.levels))])
        others, free = np.setdiff1d(held, self.pool.trials), int(plan.places.sum()) - len(held)  # one may hold several
        self.others = Pool(others, max(len(others) + free, _PARENTS))

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """The target (d,) and three parents (3, d), different members of the pool as far as it has so many."""
        own = min(self.pool.size, _PARENTS)
        chosen = [(self.target, 0)]
        chosen += [(self.pool, int(i)) for i in rng.choice(self.pool.size, own, replace=False)]
        chosen += [(self.others, int(i)) for i in rng.choice(self.others.size, _PARENTS - own, replace=False)]
        rows = rng.random((1 + _PARENTS, len(self._space)))
        held = [(k, pool.trials[i]) for k, (pool, i) in enumerate(chosen) if i < len(pool.trials)]
        if held:
            at, trials = (np.array(column) for column in zip(*held, strict=True))
            rows[at] = vectors(self._history, self._space, trials)
        rows = np.where(np.isnan(rows), rng.random(len(self._space)), rows)  # an unknown gene makes no difference
        return rows[0], rng.permutation(rows[1:])


def configurations(history: History, space: Space, trials: Indices) -> FloatArray:
    """(k, d) configurations in the unit cube, with NaN for parameters that they do not have."""
    found = np.full((len(trials), len(space)), np.nan)
    closed = trials < history.n
    found[closed] = history.encode(space)[trials[closed]]
    for i in np.flatnonzero(~closed).tolist():
        params = history.open[int(trials[i]) - history.n].params
        fits = {n: v for n, v in params.items() if n in space and space[n].contains(v)}
        found[i] = space.encode(space.from_params(fits)[None])[0]
    return found


def vectors(history: History, space: Space, trials: Indices) -> FloatArray:
    """(k, d) the vectors that configurations were made from, where they are known, else the configurations."""
    found, key = configurations(history, space, trials), space_key(space)
    kept, spaces = history.tag(VECTOR), history.tag(SPACE)
    for i, trial in enumerate(trials.tolist()):
        if trial >= history.n:
            tags = history.open[trial - history.n].tags
            if tags.get(SPACE) == key:
                found[i] = tags[VECTOR]
        elif kept.ndim == 2 and spaces[trial] == key:
            found[i] = kept[trial, : len(space)]
    return found


def space_key(space: Space) -> int:
    """A space as a number that a tag can hold: 48 bits, exact as a float."""
    return int(space.id, 16)
