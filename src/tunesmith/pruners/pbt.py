"""Population-based training: hyperparameters that change while the networks train.

Jaderberg, M. et al. (2017): Population based training of neural networks. arXiv:1711.09846.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith._arguments import number
from tunesmith.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from tunesmith.exceptions import InvalidTypeError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._population import PopulationPruner, Stretch, lineage, sampled

__all__ = ["PBTPruner", "Stretch", "lineage"]


@dataclass(frozen=True)
class PBTPruner(PopulationPruner):
    """Train a population; every so often the worst copy the best (exploit) and change the configuration (explore).

    The objective begins with ``trial.load()`` and saves its state before each yield (a function: after each report).
    A changed configuration is a new trial, which begins with the weights of its parent and goes on with the step after;
    the one whose place it takes is stopped. :func:`lineage` gives the schedule of hyperparameters that the best
    training went through. All members wait for each other at the ready points, so that with one worker the outcome
    depends on the seed alone.

    Children count as started trials: leave ``n_trials`` out of ``optimize``, which ends when all members have.

    Args:
        population: number of members. (The paper has 10 to 80.)
        interval: steps from one ready point to the next.
        quantile: this share of the population, at least one, is replaced by copies of the best that are as many
            (truncation selection); 0: nobody.
        resample_probability: of a new value from the whole range instead. (Section 4.1 of the paper mentions it; 0.25
            is what its usual implementations take.)
        params: names of the parameters to change; None: all. Those that the weights depend on (a width) must not be
            among them.
        steps: of a whole training. At the last one nobody is replaced any more. None: not known; children that are
            made there have nothing left to train, and become PRUNED.
        factors: a number is multiplied by one of these, drawn at random. In a range that is not above zero, where a
            factor could not lead everywhere, ``factor - 1`` of the range's width is added. Integers, and choices that
            are all numbers, go on by one place at least; other choices stay.
    """

    population: int = 10
    interval: int = 5
    quantile: float = 0.2
    resample_probability: float = 0.25
    params: Sequence[str] | None = None
    steps: int | None = None
    factors: tuple[float, ...] = (0.8, 1.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.factors, (str, bytes)) or not isinstance(self.factors, Sequence) or not self.factors:
            raise InvalidTypeError(f"`factors` must be a list of positive numbers, but is {self.factors!r}.")
        for factor in self.factors:
            number("factors", factor, 1e-9)
        object.__setattr__(self, "factors", tuple(self.factors))

    def explore(self, history: History, parent: OpenRow, now: int, rng: np.random.Generator) -> dict[str, Any]:
        child: dict[str, Any] = {}
        for name, value in parent.params.items():
            anew, place, which = rng.random(), rng.random(), int(rng.random() * len(self.factors))
            distribution = history.distributions.get(name)
            if distribution is None or not self.changes(name, distribution):
                child[name] = value
            elif anew < self.resample_probability:
                child[name] = sampled(distribution, place)
            else:
                child[name] = perturbed(distribution, value, self.factors[which])
        return child


def perturbed(distribution: BaseDistribution, value: Any, factor: float) -> Any:
    """The value times the factor, inside of the range; see :class:`PBTPruner` for what that means."""
    if isinstance(distribution, CategoricalDistribution):
        return _neighbour(distribution, value, factor)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = distribution.low, distribution.high, distribution.step
    moved = value * factor if low > 0 else value + (factor - 1.0) * (high - low)
    if step is not None:
        moved = _on_grid(value, moved, low, step, factor)
    inside = min(max(moved, low), high)
    return int(inside) if isinstance(distribution, IntDistribution) else float(inside)


def _on_grid(value: float, moved: float, low: float, step: float, factor: float) -> float:
    """The nearest multiple of ``step`` from ``low`` on, another one than that of ``value``."""
    here, there = round((value - low) / step), round((moved - low) / step)
    if there == here and factor != 1.0:
        there += 1 if factor > 1.0 else -1
    return low + there * step


def _neighbour(distribution: CategoricalDistribution, value: Any, factor: float) -> Any:
    """The next larger or smaller choice, where all are numbers; else the choice itself."""
    numbers = [c for c in distribution.choices if isinstance(c, (int, float)) and not isinstance(c, bool)]
    if len(numbers) < len(distribution.choices) or any(math.isnan(c) for c in numbers) or value not in numbers:
        return value
    ordered = sorted(set(numbers))
    place = ordered.index(value) + (factor > 1.0) - (factor < 1.0)
    return ordered[min(max(place, 0), len(ordered) - 1)]
