"""Cutting a space into the axes of a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space

Axes = dict[str, tuple[Any, ...]]


def n_values(distribution: BaseDistribution) -> float:
    """How many values a parameter has; infinity for a continuum."""
    if distribution.single():
        return 1
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    return (
        math.inf if distribution.step is None else round((distribution.high - distribution.low) / distribution.step) + 1
    )


def axis(distribution: BaseDistribution, levels: int) -> tuple[Any, ...]:
    """``levels`` values spread evenly over a parameter's own scale, both ends included; its middle when there is one
    level.

    A parameter with fewer values gives all of them. Of a choice these are the first ``levels``.
    """
    most = n_values(distribution)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[:levels]
    if isinstance(distribution, IntDistribution):
        return _whole(distribution, int(min(levels, most)))
    assert isinstance(distribution, FloatDistribution)
    low, high = distribution.low, distribution.high
    if distribution.step is not None:
        at = _spread(int(most), int(min(levels, most)))
        return tuple(min(low + k * distribution.step, high) for k in at)
    if low == high:
        return (low,)
    share = np.linspace(0.0, 1.0, levels) if levels > 1 else np.array([0.5])
    if distribution.log:
        values = np.exp(math.log(low) * (1 - share) + math.log(high) * share)
    else:
        values = low * (1 - share) + high * share
    values = np.clip(values, low, high)
    if levels > 1:
        values[0], values[-1] = low, high  # exact, whatever the rounding
    return tuple(dict.fromkeys(values.tolist()))


def _spread(n: int, levels: int) -> list[int]:
    """``levels`` different ones of ``0 .. n - 1``, evenly, in exact arithmetic."""
    if levels == 1:
        return [(n - 1) // 2]
    return [(2 * k * (n - 1) + levels - 1) // (2 * (levels - 1)) for k in range(levels)]


def _whole(distribution: IntDistribution, levels: int) -> tuple[int, ...]:
    low, high = distribution.low, distribution.high
    if not distribution.log:
        return tuple(low + k * distribution.step for k in _spread((high - low) // distribution.step + 1, levels))
    share = [k / (levels - 1) for k in range(levels)] if levels > 1 else [0.5]
    values = [min(max(round(math.exp(math.log(low) * (1 - s) + math.log(high) * s)), low), high) for s in share]
    if levels > 1:
        values[0], values[-1] = low, high
    for k in range(1, levels):  # rounding makes neighbours equal at the lower end: move them apart ...
        values[k] = max(values[k], values[k - 1] + 1)
    for k in range(levels - 1, 0, -1):  # ... without leaving the range
        values[k] = min(values[k], high - (levels - 1 - k))
    return tuple(values)


def cut(space: Space, points: int | Mapping[str, int]) -> Axes:
    """Every axis with its number of points: choices whole, other parameters at ``points`` values.

    Args:
        space: what is searched.
        points: for all axes, or name -> points (5 for those left out).

    Raises:
        InvalidValueError: a number below 1, or an unknown name. InvalidTypeError: something else than integers.
    """
    given = dict(points) if isinstance(points, Mapping) else {}
    if unknown := sorted(set(given) - set(space)):
        raise InvalidValueError(f"`points` names {unknown}, not among the parameters {list(space)}.")
    default = POINTS if isinstance(points, Mapping) else points
    axes: Axes = {}
    for name, distribution in space.items():
        levels = check_points(given.get(name, default))
        whole = isinstance(distribution, CategoricalDistribution) and name not in given
        axes[name] = axis(distribution, len(distribution.choices) if whole else levels)  # type: ignore[attr-defined]
    return axes


#: Points of an axis when nothing is said: the ends, the middle and the quarters.
POINTS = 5


def check_points(value: Any) -> int:
    """A number of points, or a typed error."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"`points` must be a positive integer, or a mapping name -> one, but holds {value!r}.")
    if value < 1:
        raise InvalidValueError(f"`points` must be at least 1, but is {value}.")
    return int(value)


def levels_within(space: Space, budget: int, count: Callable[[Mapping[str, int]], int]) -> dict[str, int]:
    """How many levels each axis gets, so that an even grid comes as near to the budget as it can without exceeding it.

    A choice keeps all its values, as long as that alone does not exceed the budget; the last choices then get what is
    left. The other axes start at one level, the middle; again and again the coarsest one that can be refined within the
    budget (the first of equals) gets one level more. (Taking the largest product below the budget instead would make a
    grid of 23 x 1 for 23 trials.)

    Args:
        space: what is searched.
        budget: most cells, at least 1.
        count: levels -> number of different cells (not more than the product of the levels).
    """
    levels = dict.fromkeys(space, 1)
    most = {name: n_values(d) for name, d in space.items()}
    choices = [name for name, d in space.items() if isinstance(d, CategoricalDistribution)]
    for name in choices:
        while levels[name] < most[name] and count({**levels, name: levels[name] + 1}) <= budget:
            levels[name] += 1
    open_axes = [name for name in space if name not in choices]
    while (coarsest := _next(open_axes, levels, most, budget, count)) is not None:
        levels[coarsest] += 1
    return levels


def _next(
    open_axes: list[str],
    levels: Mapping[str, int],
    most: Mapping[str, float],
    budget: int,
    count: Callable[[Mapping[str, int]], int],
) -> str | None:
    """The axis to refine; those that are full, or for which the budget does not reach, leave ``open_axes`` for good."""
    now = count(levels)
    for name in sorted(open_axes, key=lambda n: levels[n]):
        finer = count({**levels, name: levels[name] + 1}) if levels[name] < most[name] else budget + 1
        if finer > budget:
            open_axes.remove(name)
        elif finer > now:  # equal: nowhere active yet
            return name
    return None
