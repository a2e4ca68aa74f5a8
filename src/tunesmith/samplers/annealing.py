"""Simulated annealing: a random walk that accepts worse places, ever less willingly, as it cools.

Kirkpatrick, S., Gelatt, C. D. and Vecchi, M. P. (1983): Optimization by simulated annealing. Science 220, 671-680.
Metropolis, N. et al. (1953): Equation of state calculations by fast computing machines. J. Chem. Phys. 21, 1087-1092.
Szu, H. and Hartley, R. (1987): Fast simulated annealing. Physics Letters A 122, 157-162 (Gaussian steps whose variance
is proportional to the temperature).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.history import History
from tunesmith.numerics.streams import stream
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import single_objective
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState

#: Neighbours that are drawn to find one that is new.
_DRAWS = 32


@dataclass(frozen=True, kw_only=True)
class SimulatedAnnealingSampler(BaseSampler):
    """A Metropolis walk in the unit cube.

    Move k starts at the walk's present place x and goes to x + sigma_k z, z standard normal, mirrored at the bounds. A
    better result is accepted; one that is worse by D is accepted with probability exp(-D / T_k), where

        T_k = T_0 tau_k,        sigma_k = step tau_k^(1/2)         (Boltzmann annealing: Szu and Hartley 1987)

    and T_0 is ``temperature`` times the median absolute deviation of the first ``n_startup_trials`` results, so that
    the objective's scale does not matter.

    *Schedule*: with a stated ``budget`` tau falls geometrically from 1 to ``final`` at the last trial. Without one it
    is ``cooling ** k``; when it has come down to ``final`` the walk is heated up again and goes on from the best place.

    *State*: none. The walk is repeated from the finished trials in the order in which they finished; the chance by
    which trial number i is accepted is drawn from a stream that belongs to i. Whatever finishes is a move: enqueued
    trials, and those of other methods.

    *Parallel*: trials that are asked for together are neighbours of the same place, and are accepted or not in the
    order in which they finish.

    *Mixed spaces*: the step of a countable parameter is at least half a bin. A choice is drawn again with probability
    tau^(1/2) / 2, at least once in as many moves as there are parameters. A parameter that the present place lacks (its
    condition did not hold) has the last value it had in the walk. Known configurations of countable spaces are avoided.

    A failed trial is never accepted, an infeasible one only if its violation is not larger than the present place's, a
    pruned one counts with the value it has.

    Args:
        temperature: the first, in units of the results' median absolute deviation; with 1 a move that is worse by that
            much is accepted once in e = 2.7 times.
        step: the first standard deviation. 0.3 is about that of a uniform draw, so the walk begins everywhere.
        cooling: factor of the temperature from a trial to the next, without a budget; 0.97 cools down in 227 moves.
        final: the last temperature, relative to the first. 1e-3 makes the last steps about one per cent of the range.
        n_startup_trials: random trials before the walk, which begins at the best of them.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidValueError: an impossible argument; a study with several objectives.
    """

    temperature: float = 1.0
    step: float = 0.3
    cooling: float = 0.97
    final: float = 1e-3
    n_startup_trials: int = 10
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"annealing": {}}

    def __post_init__(self) -> None:
        number("temperature", self.temperature, 1e-12)
        number("step", self.step, 1e-12, 1.0)
        number("cooling", self.cooling, 1e-12, 1.0 - 1e-12)
        number("final", self.final, 1e-12, 1.0 - 1e-12)
        whole("n_startup_trials", self.n_startup_trials, 1)

    @property
    def uses_budget(self) -> bool:
        """Whether proposals depend on ``history.budget``."""
        return True

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at."""
        return self.n_startup_trials

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        single_objective("Simulated annealing", history)
        if not len(space):
            return [Proposal({})] * n
        novel = Novel(space, history)
        draws = _DRAWS if novel.possible else 1
        with history.memo(("annealing", space.id, repr(self), history.budget), lambda: _Walk(self, space)) as walk:
            place, tau = walk.place, walk.tau(history.budget)
        found = []
        for _ in range(n):
            unit = rng.random((draws, len(space))) if place is None else self._neighbours(space, place, tau, rng, draws)
            found.append(novel.new(unit, rng))
        return [Proposal(space.to_params(row)) for row in space.decode(np.array(found))]

    def _neighbours(self, space: Space, place: FloatArray, tau: float, rng: np.random.Generator, m: int) -> FloatArray:
        """(m, d) draws around a place."""
        columns, d = space.columns, len(space)
        half = np.where(columns.levels > 0, 0.5 / np.maximum(columns.levels, 1.0), 0.0)
        sigma = np.maximum(self.step * math.sqrt(tau), half)
        moved = place + sigma * rng.standard_normal((m, d))
        moved = np.clip(np.abs(np.mod(moved + 1.0, 2.0) - 1.0), 0.0, 1.0)
        if columns.categorical.any():
            again = rng.random((m, d)) < max(0.5 * math.sqrt(tau), 1.0 / d)
            moved = np.where(columns.categorical, np.where(again, rng.random((m, d)), place), moved)
        return moved


class _Walk:
    """Memo: where the walk is after the finished trials.

    Attributes:
        n: rows seen.
        place: (d,) in the unit cube, or ``None`` before the walk begins.
        moves: trials since the walk began, or was heated up.
    """

    def __init__(self, sampler: SimulatedAnnealingSampler, space: Space) -> None:
        self.sampler, self.space = sampler, space
        self.n = self.moves = 0
        self.place: FloatArray | None = None
        self._here = self._best = (True, math.inf, math.inf)
        self._summit = np.full(len(space), 0.5)
        self._first: list[float] = []
        self._finished = 0
        self._scale = 0.0

    def tau(self, budget: int | None) -> float:
        """The present temperature, relative to the first."""
        sampler = self.sampler
        if budget is None:
            return max(sampler.final, sampler.cooling**self.moves)
        last = max(1, budget - sampler.n_startup_trials - 1)
        return sampler.final ** min(1.0, self.moves / last)

    def extend(self, history: History) -> None:
        rows, loss = history.encode(self.space)[self.n :], history.loss[self.n :, 0]
        columns = (loss, history.violation[self.n :], history.state[self.n :], history.number[self.n :])
        for row, y, v, s, i in zip(rows, *(c.tolist() for c in columns), strict=True):
            lost = y != y or s == TrialState.FAIL
            order = (lost, math.inf if lost else v, math.inf if lost else y)
            self._add(row, order, i, history)
        self.n = history.n

    def _add(self, row: FloatArray, order: tuple[bool, float, float], number: int, history: History) -> None:
        self._finished += 1
        before = self._summit if self.place is None else self.place
        row = np.where(np.isnan(row), before, row)
        if order < self._best:
            self._best, self._summit = order, row
        if self.place is None:
            if order[1] == 0.0 and math.isfinite(order[2]):
                self._first.append(order[2])
            if self._finished >= self.sampler.n_startup_trials and not self._best[0]:
                self._begin()
            return
        if self._accepted(order, self.tau(history.budget), history.seed, number):
            self._here, self.place = order, row
        self.moves += 1
        if history.budget is None and self.sampler.cooling**self.moves < self.sampler.final:
            self.moves, self._here, self.place = 0, self._best, self._summit

    def _begin(self) -> None:
        self._here, self.place = self._best, self._summit
        if self._first:
            half = np.array(self._first) / 2  # differences of halves do not overflow
            self._scale = 2.0 * min(float(np.median(np.abs(half - np.median(half)))), np.finfo(float).max / 2)

    def _accepted(self, order: tuple[bool, float, float], tau: float, seed: int, number: int) -> bool:
        if order <= self._here:
            return True
        if order[0] or order[1] != self._here[1]:
            return False
        worse, heat = order[2] / 2 - self._here[2] / 2, self.sampler.temperature * self._scale * tau / 2
        if not (math.isfinite(worse) and heat > 0):
            return False
        return bool(stream(seed, number, "annealing").random() < math.exp(-worse / heat))
