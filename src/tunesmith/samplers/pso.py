"""Particle swarm optimization.

Kennedy, J. and Eberhart, R. (1995): Particle swarm optimization. Proc. ICNN, 1942-1948.
Shi, Y. and Eberhart, R. (1998): A modified particle swarm optimizer. Proc. IEEE CEC, 69-73 (the inertia weight).
Clerc, M. and Kennedy, J. (2002): The particle swarm - explosion, stability, and convergence in a multidimensional
complex space. IEEE Trans. Evol. Comput. 6, 58-73 (the constriction factor).
Kennedy, J. and Mendes, R. (2002): Population structure and particle swarm performance. Proc. IEEE CEC, 1671-1676
(rings).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, one_of, whole
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.low_discrepancy import MAX_SOBOL_DIMENSION, points
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._swarm import Latent, Swarm, read_swarm
from tunesmith.space import FloatArray, Space

#: How often a step that leads to a known configuration is drawn again.
REDRAWS = 10


@dataclass(frozen=True, kw_only=True)
class PSOSampler(BaseSampler):
    """A swarm of particles that fly through the unit cube, drawn to their own best points and to those of their
    neighbours.

    Velocity and position of particle i in generation g + 1 (r1, r2 uniform in the unit cube, p its own best position,
    l the best one among its neighbours):

        v(g+1) = w v(g) + c1 r1 (p - x(g)) + c2 r2 (l - x(g)),        x(g+1) = x(g) + v(g+1)

    ``variant="constriction"`` writes it as chi (v + c1 r1 (...) + c2 r2 (...)), chi = 2 / (phi - 2 + sqrt(phi^2 - 4
    phi)) for phi = c1 + c2 > 4 (Clerc and Kennedy 2002, eq. 4). With the default numbers both variants are the same
    method.

    *Synchronous*: generation g looks at results of earlier generations only, so a whole generation can be proposed at
    once. A particle whose last position is still being evaluated moves on as if that had brought no improvement. A
    failed trial counts as infinitely bad, a pruned one with the value it has; infeasible ones are worse than feasible
    ones.

    *State*: position, velocity, generation and particle are the tags ``pso.x``, ``pso.v``, ``pso.g`` and ``pso.i`` of
    each trial; the sampler itself keeps nothing.

    *Mixed spaces*: the swarm flies in a continuous cube. Numbers have one coordinate, on their own scale, and
    integers and steps are the bin in which it lies (the exact position stays in the tag). A choice has one coordinate
    for each of its values and takes the value whose coordinate is largest, so no order is invented (the one-hot
    coding of Garrido-Merchan and Hernandez-Lobato 2020, Neurocomputing 380, 20-35).

    *Discrete spaces*: where every active parameter has countably many values, a step may lead to a configuration that
    was evaluated already. Then r1 and r2 are drawn again, at most 10 times, until it leads to a new one; if none does,
    the particle is put on a random configuration that was not tried yet, while there is one.

    *Other trials* (enqueued, added, of the first define-by-run trial, or from before the space changed) become
    memories: such a trial is taken for a position that particle number ``trial number mod swarm size`` (or the
    particle it belonged to) has visited, so good points that a user enqueues lead the swarm. When the space changes,
    positions and velocities begin anew in it.

    Args:
        swarm_size: particles. The usual 20 to 40 would leave a study of 25 trials, a common budget for networks,
            without a single step; five give it four steps. On test functions of 2 to 6 parameters five were also
            better than ten or twenty after 50, 100 and 200 trials.
        topology: ``"global"``: everyone is a neighbour of everyone; fast. ``"ring"``: the ``neighbors`` next to it;
            slower, less easily caught by a local optimum.
        neighbors: in a ring, besides the particle itself; even.
        variant: ``"inertia"`` or ``"constriction"``.
        inertia: w of the inertia variant. 0.7298 (with c1 = c2 = 1.49618) is the constricted swarm of Clerc and Kennedy
            rewritten (Eberhart and Shi 2000). A pair (0.9, 0.4) lets w fall linearly over the study's ``budget`` (Shi
            and Eberhart 1998).
        cognitive: c1; by default 1.49618, or 2.05 with constriction.
        social: c2; by default the same.
        v_max: largest speed in each coordinate, as a part of the range. 0.5 of the range is Xmax of a symmetric
            domain, the limit recommended for constriction (Eberhart and Shi 2000: Comparing inertia weights and
            constriction factors in particle swarm optimization. Proc. IEEE CEC, 84-88).
        boundary: ``"reflect"``: a particle that would leave is mirrored at the bound. ``"absorb"``: it is put on the
            bound (Standard PSO 2011: Clerc 2012). Both turn the velocity's coordinate back at half speed (v = -0.5 v,
            as there). Reflection is the default because absorbed particles meet in the same corners and evaluate them
            again, and since that standard fared badly among bound handlings (Helwig, Branke and Mostaghim 2013:
            Experimental analysis of bound handling techniques in particle swarm optimization. IEEE Trans. Evol.
            Comput. 17, 259-271).
        init: ``"sobol"``: the first positions are a scrambled Sobol' sequence; ``"random"``: independent draws. First
            velocities are uniform among those that keep the next position inside (Clerc 2012).
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidTypeError: an argument of another type. InvalidValueError: an impossible argument; a study with several
            objectives; a falling inertia without a budget.
    """

    swarm_size: int = 5
    topology: str = "global"
    neighbors: int = 2
    variant: str = "inertia"
    inertia: float | Sequence[float] = 0.7298
    cognitive: float | None = None
    social: float | None = None
    v_max: float = 0.5
    boundary: str = "reflect"
    init: str = "sobol"
    seed: int | None = None

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pso-ring": {"topology": "ring"},
        "pso-constriction": {"variant": "constriction"},
    }

    def __post_init__(self) -> None:
        one_of("topology", self.topology, ("global", "ring"))
        one_of("variant", self.variant, ("inertia", "constriction"))
        one_of("boundary", self.boundary, ("reflect", "absorb"))
        one_of("init", self.init, ("sobol", "random"))
        for name, least in (("swarm_size", 1), ("neighbors", 2)):
            whole(name, getattr(self, name), least)
        if self.neighbors % 2:
            raise InvalidValueError(f"`neighbors` must be even (as many on either side), but is {self.neighbors}.")
        if isinstance(self.inertia, Sequence) and not isinstance(self.inertia, str):
            for weight in self.inertia:
                number("inertia", weight)
            object.__setattr__(self, "inertia", tuple(map(float, self.inertia)))
            if len(self.inertia) != 2:  # type: ignore[arg-type]
                raise InvalidValueError(
                    f"`inertia` must be a number, or a pair (first, last), but is {self.inertia!r}."
                )
        else:
            number("inertia", self.inertia)
        for name in ("cognitive", "social"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0.0)
        number("v_max", self.v_max)
        if not self.v_max > 0:
            raise InvalidValueError(f"`v_max` must be positive, but is {self.v_max}.")
        if self.variant == "constriction" and not sum(self._attraction) > 4:
            c1, c2 = self._attraction
            raise InvalidValueError(
                f"Constriction needs cognitive + social > 4, but {c1} + {c2} = {c1 + c2}; try 2.05 each."
            )

    def n_initial(self, space: Space) -> int:
        """How many configurations are chosen before any result is looked at: the first positions of the swarm."""
        return self.swarm_size

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if len(history.directions) != 1:
            raise InvalidValueError(
                f"PSOSampler needs a single objective, but this study has {len(history.directions)}; take another one."
            )
        if not len(space):
            return [Proposal({})] * n
        swarm = read_swarm(history, space, self.swarm_size)
        novel = Novel(space, history)
        found = []
        for _ in range(n):
            generation, i = swarm.next_member()
            x, v = self._move(swarm, generation, i, history, rng, novel)
            swarm.add(generation, i, x, v)
            unit = swarm.latent.decode(x)
            novel.add(unit)
            params = space.to_params(space.decode(unit))
            tags = {"pso.x": x.tolist(), "pso.v": v.tolist(), "pso.g": generation, "pso.i": i, "pso.s": swarm.space_id}
            found.append(Proposal(params, tags))
        return found

    # -- one particle -------------------------------------------------------------------------------------------

    def _move(
        self, swarm: Swarm, generation: int, i: int, history: History, rng: np.random.Generator, novel: Novel
    ) -> tuple[FloatArray, FloatArray]:
        """Position and velocity of particle ``i`` in ``generation``: the first draw that leads to something new."""
        last = swarm.last(i, generation)
        steps = []
        for _ in range(1 if last is None else 1 + REDRAWS):
            if last is None:
                step = self._begin(swarm.latent, generation * self.swarm_size + i, history.seed, rng)
            else:
                step = self._step(swarm, generation, i, history, rng, last)
            if not novel.has(swarm.latent.decode(step[0])):
                return step
            steps.append(step)
        unit = novel.untried(rng)
        return steps[0] if unit is None else (swarm.latent.encode(unit[None])[0], steps[0][1])

    def _step(
        self, swarm: Swarm, generation: int, i: int, history: History, rng: np.random.Generator,
        last: tuple[FloatArray, FloatArray],
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """One draw of a step from ``last``."""
        x, v = last
        memories = swarm.memories(generation)
        own = memories.get(i)
        known = [memories[k] for k in self._neighbourhood(i) if k in memories]
        leader = min(known, default=None, key=lambda m: m.rank)
        r1, r2 = rng.random((2, len(x)))
        c1, c2 = self._attraction
        pull = np.zeros(len(x))
        if own is not None:
            pull += c1 * r1 * own.towards(x)
        if leader is not None:
            pull += c2 * r2 * leader.towards(x)
        if self.variant == "constriction":
            v = constriction(c1 + c2) * (v + pull)
        else:
            v = self._weight(generation, history.budget) * v + pull
        v = np.clip(v, -self.v_max, self.v_max)
        return bounded(x + v, v, self.boundary)

    def _begin(self, latent: Latent, index: int, seed: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        r = rng.random((2, latent.size))
        x = r[0]
        if self.init == "sobol" and latent.size <= MAX_SOBOL_DIMENSION:
            scramble = int(np.random.SeedSequence([seed, zlib.crc32(b"pso")]).generate_state(1, np.uint64)[0])
            x = points("sobol", latent.size, np.array([index]), scramble=True, seed=scramble)[0]
        return x, r[1] - x

    def _neighbourhood(self, i: int) -> Sequence[int]:
        if self.topology == "global":
            return range(self.swarm_size)
        side = self.neighbors // 2
        return sorted({k % self.swarm_size for k in range(i - side, i + side + 1)})

    @property
    def uses_budget(self) -> bool:
        """Whether the inertia falls over the study's budget."""
        return isinstance(self.inertia, tuple)

    @property
    def _attraction(self) -> tuple[float, float]:
        usual = 2.05 if self.variant == "constriction" else 1.49618
        return (
            usual if self.cognitive is None else float(self.cognitive),
            usual if self.social is None else float(self.social),
        )

    def _weight(self, generation: int, budget: int | None) -> float:
        if not isinstance(self.inertia, tuple):
            return float(self.inertia)  # type: ignore[arg-type]
        if budget is None:
            raise InvalidValueError(
                f"An inertia that falls from {self.inertia[0]} to {self.inertia[1]} needs to know when: state "
                "create_study(budget=<number of trials>), or give a single number."
            )
        last = max(1, math.ceil(budget / self.swarm_size) - 1)
        return self.inertia[0] + (self.inertia[1] - self.inertia[0]) * min(1.0, generation / last)


def constriction(phi: float) -> float:
    """chi of Clerc and Kennedy (2002), eq. 4 with kappa = 1, for phi = c1 + c2 > 4."""
    return 2.0 / (phi - 2.0 + math.sqrt(phi * phi - 4.0 * phi))


def bounded(x: FloatArray, v: FloatArray, boundary: str) -> tuple[FloatArray, FloatArray]:
    """Keep a position in the unit cube; in coordinates where it was outside the velocity becomes -0.5 v.

    Args:
        x: (d,) new position.
        v: (d,) the velocity that led there.
        boundary: ``"reflect"`` (as often as it takes) or ``"absorb"``.
    """
    outside = (x < 0.0) | (x > 1.0)
    if boundary == "reflect":
        x = np.abs(np.mod(x + 1.0, 2.0) - 1.0)
    return np.clip(x, 0.0, 1.0), np.where(outside, -0.5 * v, v)
