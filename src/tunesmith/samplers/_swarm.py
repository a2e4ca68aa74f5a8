"""A particle swarm read back from a history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.distributions import CategoricalDistribution
from tunesmith.history import History
from tunesmith.samplers._unused import first_unused
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState


class Latent:
    """The cube in which the swarm flies: a number has one coordinate, a choice one for each of its values.

    Attributes:
        size: number of coordinates, D.
    """

    def __init__(self, space: Space) -> None:
        self._choices = [len(d.choices) if isinstance(d, CategoricalDistribution) else 0 for d in space.values()]
        self._starts = np.cumsum([0, *(k or 1 for k in self._choices)])
        self.size = int(self._starts[-1])

    def decode(self, x: FloatArray) -> FloatArray:
        """(D,) position -> (d,) row of the unit cube: of a choice, the middle of the bin of its largest coordinate."""
        unit = x[self._starts[:-1]].copy()
        for j, k in enumerate(self._choices):
            if k:
                start = self._starts[j]
                unit[j] = (int(np.argmax(x[start : start + k])) + 0.5) / k
        return unit

    def encode(self, unit: FloatArray) -> FloatArray:
        """(n, d) rows of the unit cube -> (n, D) positions: of a choice, one coordinate is 1, others 0; NaN stays."""
        x = np.repeat(unit, np.diff(self._starts), axis=1)
        for j, k in enumerate(self._choices):
            if k:
                start = self._starts[j]
                chosen = np.minimum(np.floor(unit[:, j] * k), k - 1)
                coded = (chosen[:, None] == np.arange(k)).astype(float)
                coded[np.isnan(unit[:, j])] = np.nan
                x[:, start : start + k] = coded
        return x


@dataclass(frozen=True, slots=True)
class Memory:
    """The best point a particle knows of.

    Attributes:
        rank: 0 for the best trial of the study, and so on.
        x: (D,) where it is; NaN in the coordinates of parameters that were not part of that trial.
    """

    rank: int
    x: FloatArray

    def towards(self, x: FloatArray) -> FloatArray:
        """(D,) the way from ``x`` to it; zero where it has no coordinate."""
        way = self.x - x
        return np.where(np.isnan(way), 0.0, way)


class Swarm:
    """Positions, velocities and results of all particles in all generations.

    Args:
        size: number of particles.
        latent: the cube.
        space_id: which space the positions belong to.
        generation, member: (n,) of every trial; generation -1 for those that are no step of this swarm.
        x, v: (n, D); the positions of trials that are no step of it are where they would be, their velocities NaN.
        rank: (n,) 0 for the best result, -1 for a trial without one.
        fits: (n,) whether x and v can be flown on from.
    """

    def __init__(
        self, size: int, latent: Latent, space_id: int, generation: NDArray[np.int64], member: NDArray[np.int64],
        x: FloatArray, v: FloatArray, rank: NDArray[np.int64], fits: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        self.size, self.latent, self.space_id = size, latent, space_id
        self.generation, self.member, self.x, self.v, self.rank, self.fits = generation, member, x, v, rank, fits
        self._memories: dict[int, dict[int, Memory]] = {}

    def next_member(self) -> tuple[int, int]:
        """The first (generation, particle) that has not been proposed."""
        step = self.generation >= 0
        used = self.generation[step] * self.size + self.member[step]
        generation, i = divmod(int(first_unused(used, 1)[0]), self.size)
        return generation, i

    def last(self, i: int, generation: int) -> tuple[FloatArray, FloatArray] | None:
        """Position and velocity of a particle before ``generation``; ``None`` if it has to begin (anew)."""
        rows = np.flatnonzero(self.fits & (self.member == i) & (self.generation < generation))
        if not len(rows):
            return None
        row = rows[np.argmax(self.generation[rows])]
        return self.x[row], self.v[row]

    def memories(self, generation: int) -> dict[int, Memory]:
        """Particle -> the best of what it has visited before ``generation``."""
        if generation not in self._memories:
            rows = np.flatnonzero((self.rank >= 0) & (self.generation < generation))
            rows = rows[np.argsort(self.rank[rows])]
            members, first = np.unique(self.member[rows], return_index=True)
            best = zip(members.tolist(), rows[first].tolist(), strict=True)
            self._memories[generation] = {i: Memory(int(self.rank[row]), self.x[row]) for i, row in best}
        return self._memories[generation]

    def add(self, generation: int, i: int, x: FloatArray, v: FloatArray) -> None:
        """A step that has just been proposed."""
        self.generation = np.append(self.generation, generation)
        self.member = np.append(self.member, i)
        self.x, self.v = np.vstack([self.x, x]), np.vstack([self.v, v])
        self.rank = np.append(self.rank, -1)
        self.fits = np.append(self.fits, True)


def read_swarm(history: History, space: Space, size: int) -> Swarm:
    """The swarm of ``size`` particles that the finished and pending trials of a study make up."""
    latent = Latent(space)
    space_id = int(space.id, 16)  # 48 bits: exact as a float
    pending = [t for t in history.open if "pso.g" in t.tags]
    generation = _whole([history.tag("pso.g"), [t.tags["pso.g"] for t in pending]])
    member = _whole([history.tag("pso.i"), [t.tags["pso.i"] for t in pending]])
    here = np.concatenate([history.tag("pso.s"), [t.tags["pso.s"] for t in pending]]) == space_id
    step = generation >= 0
    number = np.concatenate([history.number, [t.number for t in pending]]).astype(np.int64)
    member = np.where(step, member, number) % size  # without effect on this swarm's own steps
    fits = step & here
    x, v = np.full((len(step), latent.size), np.nan), np.full((len(step), latent.size), np.nan)
    for name, target in (("pso.x", x), ("pso.v", v)):
        column = history.tag(name)
        column = (column if column.ndim == 2 else column[:, None])[:, : latent.size]
        rows = np.flatnonzero(fits[: history.n])
        if len(rows):
            target[rows] = column[rows]
        for row, trial in enumerate(pending, start=history.n):
            if fits[row]:
                target[row] = trial.tags[name]
    others = np.flatnonzero(~fits[: history.n])
    if len(others):
        x[others] = latent.encode(history.encode(space)[others])
    rank = np.concatenate([_ranks(history), np.full(len(pending), -1)])
    return Swarm(size, latent, space_id, generation, member, x, v, rank, fits)


def _whole(parts: list[FloatArray | list[float]]) -> NDArray[np.int64]:
    column = np.concatenate([np.asarray(p, float) for p in parts])
    return np.where(np.isnan(column), -1, column).astype(np.int64)


def _ranks(history: History) -> NDArray[np.int64]:
    """(n,) 0 is the best: feasible before infeasible (Deb 2000), then by value, then earlier; -1 without a value."""
    loss = history.loss[:, 0]
    usable = np.flatnonzero(~np.isnan(loss) & (history.state != TrialState.FAIL))
    order = usable[np.lexsort((usable, loss[usable], history.violation[usable]))]
    ranks = np.full(history.n, -1, np.int64)
    ranks[order] = np.arange(len(order))
    return ranks
