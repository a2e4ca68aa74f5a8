"""Nelder-Mead: a simplex that walks downhill by reflecting its worst vertex, and starts anew where it got stuck.

Nelder, J. A. and Mead, R. (1965); Gao, F. and Han, L. (2012): see :mod:`tunesmith.numerics.nelder_mead`.
Luersen, M. A. and Le Riche, R. (2004): Globalized Nelder-Mead method for engineering optimization. Computers and
Structures 82, 2251-2260 (restarts when the simplex is small or flat).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number
from tunesmith.exceptions import InvalidTypeError
from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._nelder_mead_runs import Axes, Runs, Settings, open_rows
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space

#: Random points that stand in where nothing is left to ask for.
_DRAWS = 64


@dataclass(frozen=True, kw_only=True)
class NelderMeadSampler(BaseSampler):
    """The downhill simplex method in the unit cube, with restarts.

    *State*: none. The method is deterministic, so it is run from its beginning with the values that are in the history,
    until it asks for a configuration that is not there; that one is proposed next. Nothing is evaluated twice, in
    spaces of integers and choices either.

    *Parallel*: all vertices of the first simplex and of a shrinkage are needed at once. Otherwise one point decides;
    who asks besides gets what may be needed next (expansion, contractions, then the shrunk vertices), and then random
    points.

    *Restarts*: a run ends when its simplex is small. One that has become flat, on a bound for instance, is replaced by
    a new simplex of its width around its best vertex, for as long as that brings an improvement.

    *Other trials*: the first simplex begins at trial number 0, if that is not the method's own (but an enqueued one,
    for example) and finishes first. When a run has ended and a point is known that is better than all where runs ended
    (from whomever), the next one begins there; else at a random point.

    *Mixed spaces*: numbers have a coordinate on their own scale; integers and steps are the bin in which it lies. A
    choice has one coordinate for each of its values and takes the value of the largest; one of more than 16 values is
    kept during a run instead, and drawn with the rest where a run begins. The first simplex changes one parameter (one
    value of a choice) at a time. What a parameter that is not active is set to makes no difference.

    A failed trial is worst, an infeasible one is worse than a feasible one, a pruned one has the value it has.

    Args:
        adaptive: coefficients that depend on the dimension (Gao and Han 2012), which keep the simplex from degenerating
            in many dimensions; for two dimensions they are the usual ones. Not the default (as in SciPy), because they
            take smaller steps: better on test functions of 8 parameters after 100 evaluations for each, but worse after
            20 for each, which is more than most studies have.
        initial_step: how far the vertices of the first simplex are from its first, as a part of the range; at least
            one bin. A quarter reaches from the middle, where the search begins, half-way to the bounds.
        tolerance: width of a small simplex (1e-4 as in SciPy), at least half a bin; one is flat where it is a
            thousand times narrower.
        seed: becomes the study's seed; it decides in which directions the first steps go, and where restarts begin.

    Raises:
        InvalidValueError: an impossible argument; a study with several objectives.
    """

    adaptive: bool = False
    initial_step: float = 0.25
    tolerance: float = 1e-4
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"nelder-mead": {}}

    def __post_init__(self) -> None:
        if not isinstance(self.adaptive, (bool, np.bool_)):
            raise InvalidTypeError(f"`adaptive` must be true or false, but is {self.adaptive!r}.")
        number("initial_step", self.initial_step, 1e-6, 1.0)
        number("tolerance", self.tolerance, 0.0)

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at: the vertices of the first simplex."""
        return Axes(space).size + 1

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("Nelder-Mead", history)
        if not len(space):
            return [Proposal({})] * n
        settings = Settings(self.adaptive, self.initial_step, self.tolerance, history.seed)
        novel = Novel(space, history)
        found: list[FloatArray] = []
        with history.memo(("nelder-mead", space.id, settings), lambda: Runs(settings, space)) as runs:
            taken = {runs.key(row) for row in open_rows(space, history)}
            for key, raw in runs.wanted():
                if len(found) == n:
                    break
                if key not in taken:
                    taken.add(key)
                    found.append(raw)
                    novel.add(space.encode(raw))
        while len(found) < n:
            found.append(space.decode(novel.new(rng.random((_DRAWS, len(space))), rng)[None])[0])
        return [Proposal(space.to_params(raw)) for raw in found]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Independent draws: a vertex whose coordinates were changed is none."""
        return self.filled(given, space, rng)
