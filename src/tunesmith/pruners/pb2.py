"""Population-based bandits: population-based training whose new configurations come from a model.

Parker-Holder, J., Nguyen, V. and Roberts, S. (2020): Provably efficient online hyperparameter optimization with
population-based bandits. NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.distributions import CategoricalDistribution
from tunesmith.history import History, OpenRow
from tunesmith.pruners._population import Life, PopulationPruner, lives_of, sampled
from tunesmith.space import FloatArray, Space

#: Random places that the acquisition is looked at, and around the best of them.
_PLACES, _NEAR = 1024, 128
#: No more observations than the last so many: what is older is forgotten by the model anyway.
_RECENT = 500
#: A model needs so many of them.
_LEAST = 4


@dataclass(frozen=True)
class PB2Pruner(PopulationPruner):
    """As :class:`~tunesmith.pruners.pbt.PBTPruner`, but a time-varying Gaussian process chooses a child's numbers.

    The model learns how much the loss falls from one ready point to the next, given the configuration and the time;
    a child gets where the upper confidence bound of that is highest. So few members are enough. Choices, which the
    paper leaves alone, are drawn again with a probability. Until there are four observations numbers are drawn from
    their whole ranges.

    Args:
        population: number of members. (The paper has 4 to 8.)
        interval: steps from one ready point to the next.
        quantile: this share, at least one, is replaced by copies of the best that are as many.
        resample_probability: of another choice, for parameters that are choices.
        params: names of the parameters to change; None: all.
        steps: of a whole training; see :class:`~tunesmith.pruners.pbt.PBTPruner`.
    """

    population: int = 4
    interval: int = 5
    quantile: float = 0.25
    resample_probability: float = 0.25
    params: Sequence[str] | None = None
    steps: int | None = None

    def explore(self, history: History, parent: OpenRow, now: int, rng: np.random.Generator) -> dict[str, Any]:
        child = dict(parent.params)
        numeric: dict[str, Any] = {}
        for name in parent.params:
            anew, place = rng.random(), rng.random()
            distribution = history.distributions.get(name)
            if distribution is None or not self.changes(name, distribution):
                continue
            if not isinstance(distribution, CategoricalDistribution):
                numeric[name] = distribution
            elif anew < self.resample_probability:
                child[name] = sampled(distribution, place)
        if numeric:
            space = Space(numeric)
            unit = self._chosen(history, space, now, rng)
            child.update(space.to_params(space.decode(unit[None, :])[0]))
        return child

    def _chosen(self, history: History, space: Space, now: int, rng: np.random.Generator) -> FloatArray:
        """(d,) the place in the unit cube for a child of this round."""
        from tunesmith.numerics.time_varying_gp import TimeVaryingGP, upper_bound  # imports SciPy, which is slow

        members = lives_of(history, self.interval)
        x, t, gain = observations(history, space, members)
        places = rng.random((_PLACES, len(space)))
        near = rng.normal(size=(2, _NEAR, len(space)))
        if len(gain) < _LEAST:
            return np.asarray(places[0])
        running = [life for lives in members.values() for life in lives if life.begin == now and life.row is not None]
        pending = np.array([_encoded(history, space, life) for life in running]).reshape(-1, len(space))
        model = TimeVaryingGP.fit(x, t, gain).believing(pending, now + 1.0)
        best = places[np.argmax(upper_bound(model, places, now + 1.0))]
        for width, step in zip((0.1, 0.02), near, strict=True):
            around = np.concatenate([best[None, :], np.clip(best + width * step, 0.0, 1.0 - 1e-9)])
            best = around[np.argmax(upper_bound(model, around, now + 1.0))]
        return np.asarray(best)


def observations(
    history: History, space: Space, members: dict[int, list[Life]]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where (n, d), when (n,) and how much (n,) the loss fell from one ready point to the next, the last ones.

    A child's first loss is compared with its parent's.
    """
    by_number = {life.number: life for lives in members.values() for life in lives}
    found: list[tuple[int, int, Life, float]] = []
    for life in by_number.values():
        parent = by_number.get(life.parent) if life.parent is not None else None
        before = None if parent is None else parent.at(life.begin)
        for round_ in sorted(life.loss):
            step, loss = life.loss[round_]
            if before is not None and np.isfinite(before[1] - loss):
                found.append((round_, life.number, life, before[1] - loss))
            before = step, loss
    found = sorted(found, key=lambda entry: entry[:2])[-_RECENT:]
    encoded = {life.number: _encoded(history, space, life) for _, _, life, _ in found}
    x = np.array([encoded[number] for _, number, _, _ in found]).reshape(-1, len(space))
    return x, np.array([float(e[0]) for e in found]), np.array([e[3] for e in found])


def _encoded(history: History, space: Space, life: Life) -> FloatArray:
    """(d,) a life's configuration in the unit cube; the middle where it has no value."""
    if life.row is None:
        unit = history.encode(space)[life.index]
    else:
        known = {n: v for n, v in life.row.params.items() if n in space and space[n].contains(v)}
        unit = space.encode(space.from_params(known)[None, :])[0]
    return np.where(np.isnan(unit), 0.5, unit)
