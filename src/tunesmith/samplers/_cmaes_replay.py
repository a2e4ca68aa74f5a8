"""An evolution strategy read back from a history, generation by generation."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from tunesmith.history import History
from tunesmith.numerics.streams import stream
from tunesmith.samplers._cmaes_coordinates import Coordinates
from tunesmith.samplers._cmaes_engine import Engine, Start
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState

#: Range of values below which a run of generations is flat (the default TolFun of Hansen's tutorial, section B.3).
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Plan:
    """What a search is made from, besides the history.

    Attributes:
        kind, lr_adapt: see :class:`Engine`.
        coordinates: what is searched.
        start: the first distribution.
        population: of the first run; ``None``: the default of the dimension.
        restart: ``None``, ``"ipop"`` or ``"bipop"``.
        growth: factor of the population from a (large) run to the next.
        pruned: whether pruned trials count with their value.
        code: which space and arguments the steps belong to: 48 bits, exact as a float.
        seed: the study's.
    """

    kind: str
    lr_adapt: bool
    coordinates: Coordinates
    start: Start
    population: int | None
    restart: str | None
    growth: float
    pruned: bool
    code: int
    seed: int


@dataclass(frozen=True, slots=True)
class Told:
    """A finished trial.

    Attributes:
        order: smaller is better: (no value, pruned, violation, loss).
        position: (D,) where it lies; of a trial that is no step of the search, a point that may have NaN.
        step: the generation from whose distribution it was drawn; -1 if from none.
    """

    order: tuple[bool, bool, float, float]
    position: FloatArray
    step: int


class Replay:
    """Memo: the engine after all generations that are complete, and the results of the next one.

    A generation is complete when as many steps have finished as the population has members, whichever they are: with
    one worker those of its own distribution; with many also late ones of earlier distributions, which are shortened
    to what the present one finds plausible (Hansen 2011). So every result counts once, and nobody waits for anybody.
    The best trial from elsewhere (enqueued, of another method) that has finished meanwhile replaces the worst member.

    Attributes:
        n: rows that have been read. Rows that cannot complete a generation are left for later.
        generation: number of complete generations, over all runs.
        engine: the distribution to draw from.
    """

    def __init__(self, plan: Plan, space: Space) -> None:
        self.plan, self.space = plan, space
        self.n = self.generation = self.runs = 0
        self._members: list[Told] = []
        self._guest: Told | None = None
        self._spent = {"large": 0, "small": 0}
        self._regime, self._large = "large", 0
        self._begin(plan.start, plan.population)
        self._first = self.engine.population

    def _begin(self, start: Start, population: int | None) -> None:
        plan = self.plan
        self.engine = Engine(plan.kind, plan.coordinates, start, population, plan.lr_adapt)
        self._large = max(self._large, self.engine.population)
        window = 10 + math.ceil(30 * plan.coordinates.d / self.engine.population)
        self._ranges: deque[tuple[float, float]] = deque(maxlen=window)
        self.runs += 1

    def extend(self, history: History) -> None:
        if history.n - self.n < self.engine.population - len(self._members):
            return
        d = self.plan.coordinates.d + self.plan.coordinates.k
        code, step, x = (_since(history, f"cmaes.{name}", self.n) for name in "sgx")
        own = code == self.plan.code
        loss, violation, state = history.loss[self.n :, 0], history.violation[self.n :], history.state[self.n :]
        elsewhere = None if own.all() else self.plan.coordinates.position(history.encode(self.space)[self.n :])
        for i in range(len(own)):
            lost = bool(np.isnan(loss[i])) or int(state[i]) == TrialState.FAIL
            pruned = int(state[i]) == TrialState.PRUNED and not self.plan.pruned
            value = (math.inf, math.inf) if lost else (float(violation[i]), float(loss[i]))
            if own[i]:
                self._add(Told((lost, pruned, *value), x[i, :d], int(step[i])))
            elif elsewhere is not None and not lost and not pruned:
                guest = Told((lost, pruned, *value), elsewhere[i], -1)
                if self._guest is None or guest.order < self._guest.order:
                    self._guest = guest
        self.n = history.n

    def _add(self, told: Told) -> None:
        self._members.append(told)
        if len(self._members) < self.engine.population:
            return
        members = sorted(self._members, key=lambda t: t.order)  # stable: equals in the order they finished
        self._members = []
        self._spent[self._regime] += len(members)
        if not members[0].order[0]:
            self._tell(members)
        self.generation += 1
        if self.engine.broken():
            self._begin(self._anywhere(self.plan.start.sigma), self.engine.population)
        elif self.plan.restart and (self._flat() or self.engine.stopped()):
            self._restart()

    def _tell(self, members: list[Told]) -> None:
        known = all(t.order[0] == t.order[1] for t in members)
        self._ranges.append((members[0].order[3], members[-1].order[3]) if known else (0.0, math.inf))
        guest, self._guest = self._guest, None
        if guest is not None and guest.order < members[-1].order:
            guest = Told(guest.order, self.engine.located(guest.position), -1)
            members = sorted([*members[:-1], guest], key=lambda t: t.order)
        rows = [t.position if t.step == self.generation else self.engine.shortened(t.position) for t in members]
        self.engine.tell(np.array(rows), np.arange(len(rows), dtype=float))

    # -- restarts -----------------------------------------------------------------------------------------------

    def _flat(self) -> bool:
        if len(self._ranges) < (self._ranges.maxlen or 0):
            return False
        low, high = min(a for a, _ in self._ranges), max(b for _, b in self._ranges)
        return high - low <= TOLERANCE * max(1.0, abs(low))

    def _restart(self) -> None:
        """IPOP: Auger and Hansen (2005). BIPOP: Hansen (2009), section 2: a run of the regime that has spent less."""
        rng = stream(self.plan.seed, self.runs, "cmaes restart")
        if self.plan.restart == "bipop" and self.runs > 1 and self._spent["small"] < self._spent["large"]:
            self._regime = "small"
            ratio = 0.5 * self._large / self._first
            population = max(self._first, int(self._first * ratio ** (rng.random() ** 2)))
            sigma = self.plan.start.sigma * 10 ** (-2 * rng.random())
        else:
            self._regime = "large"
            population, sigma = math.ceil(self.plan.growth * self._large), self.plan.start.sigma
        self._begin(self._anywhere(sigma), population)

    def _anywhere(self, sigma: float) -> Start:
        return Start(stream(self.plan.seed, self.runs, "cmaes mean").random(self.plan.coordinates.d), sigma)


def _since(history: History, name: str, first: int) -> FloatArray:
    """A bookkeeping column from a row on."""
    return history.tag(name)[first:]
