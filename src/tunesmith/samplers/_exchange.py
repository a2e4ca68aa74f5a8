"""Local search in the one-exchange neighbourhood: one parameter of a configuration is another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith._expressions import Condition
from tunesmith.samplers._novel import Novel
from tunesmith.space import FloatArray, Space

#: Most candidates that are looked at for one that is new.
_LOOKED_AT = 64
#: Most neighbours of all searches together in a step; they are drawn if there are more.
_NEIGHBOURS = 2000


class Exchange:
    """The neighbourhood (Hutter 2011, sec. 4.3): a choice takes other values, a number steps.

    Args:
        space: what is searched.
        steps: normal steps of a number, with a standard deviation of ``scale`` of the range, mirrored at its ends.
        scale: see there.
        most: most other values of a choice; they are drawn if there are more.
        fixed: (d,) columns that stay as they are; none by default.
    """

    def __init__(
        self,
        space: Space,
        *,
        steps: int = 4,
        scale: float = 0.2,
        most: int = 16,
        fixed: NDArray[np.bool_] | None = None,
    ) -> None:
        levels, categorical = space.columns.levels, space.columns.categorical
        self.space, self.scale = space, scale
        several = np.array([not d.single() for d in space.values()], bool)
        free = several if fixed is None else several & ~fixed
        counts = np.where(categorical, np.minimum(levels - 1, most), steps).astype(int) * free
        self._column = np.repeat(np.arange(len(space)), counts)
        self._choices = np.where(categorical, levels, 0)[self._column]
        self._turn = np.concatenate([np.arange(1.0, k + 1.0) for k in counts])
        self._drawn = self._choices - 1 > most

    def of(self, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(k, m, d): of each of the (k, d) rows of the unit cube, m that differ from it in one column (the same ones).

        Where a number has few values, a step may lead to the row itself.
        """
        k, here = len(rows), np.arange(len(self._column))
        if k * len(here) > _NEIGHBOURS:
            here = np.sort(rng.choice(here, max(1, _NEIGHBOURS // k), replace=False))
        m, column, choices = len(here), self._column[here], self._choices[here]
        found = np.repeat(rows[:, None, :], m, axis=1)
        old = rows[:, column]
        new = np.abs(np.mod(old + self.scale * rng.standard_normal((k, m)) + 1.0, 2.0) - 1.0)
        if choices.any():
            sizes = np.maximum(choices, 1)
            turn = np.broadcast_to(self._turn[here], (k, m))
            if self._drawn.any():
                turn = np.where(self._drawn[here], 1.0 + np.floor(rng.random((k, m)) * (sizes - 1)), turn)
            code = np.mod(np.minimum(np.floor(old * sizes), sizes - 1) + turn, sizes)
            new = np.where(choices > 0, (code + 0.5) / sizes, new)
        found[:, np.arange(m), column] = new
        return found


def descend(
    value: Callable[[FloatArray], FloatArray],
    exchange: Exchange,
    pool: FloatArray,
    starts: int,
    rounds: int,
    rng: np.random.Generator,
) -> FloatArray:
    """(m, d) rows, the one of smallest value first: those of ``pool`` and all that local searches came by.

    Args:
        value: (k, d) rows of the unit cube -> (k,) values.
        exchange: the neighbourhood.
        pool: (p, d) rows to begin with.
        starts: from so many of the best of them a search goes on, step by step to the best neighbour ...
        rounds: ... until there is no better one, at most so often.
        rng: the trial's.
    """
    rows, values = [pool], [value(pool)]
    best = np.argsort(values[0], kind="stable")[:starts]
    at, level = pool[best], values[0][best]
    for _ in range(rounds if len(exchange.space) else 0):
        near = exchange.of(at, rng)
        if not near.size:
            break
        found = value(near.reshape(-1, near.shape[2])).reshape(near.shape[:2])
        rows.append(near.reshape(-1, near.shape[2]))
        values.append(found.ravel())
        lowest = found.argmin(axis=1)
        better = found[np.arange(len(at)), lowest] < level - 1e-9
        if not better.any():
            break
        at, level = near[better, lowest[better]], found[better, lowest[better]]
    return np.concatenate(rows)[np.argsort(np.concatenate(values), kind="stable")]


def snapped(space: Space, rows: FloatArray) -> FloatArray:
    """Rows as a history gives them back: integers and choices in the middle of their bins, NaN where inactive."""
    raw = space.decode(rows)
    if space.conditions and len(raw):
        # what is active depends on the parameters that conditions read; few of their combinations differ
        _, first, which = np.unique(raw[:, _read(space)], axis=0, return_index=True, return_inverse=True)
        kept = np.array([~np.isnan(space.from_params(space.active(space.to_params(row)))) for row in raw[first]])
        raw = np.where(kept[which.ravel()], raw, np.nan)
    return space.encode(raw)


@lru_cache(maxsize=16)
def _read(space: Space) -> list[int]:
    """The columns that conditions read. A cache of a pure function: clearing it changes nothing."""
    names = set().union(*(Condition(text).names for text in space.conditions.values()))
    return [j for j, name in enumerate(space) if name in names]


def filled(rows: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rows with a random value in the place of each NaN."""
    return np.where(np.isnan(rows), rng.random(rows.shape), rows)


def given_row(space: Space, given: Mapping[str, Any]) -> FloatArray:
    """(d,) a row of the unit cube with what is given, NaN elsewhere; values that do not fit are left out."""
    known = {name: value for name, value in given.items() if name in space and space[name].contains(value)}
    return space.encode(space.from_params(known)[None])[0]


def first_new(space: Space, rows: FloatArray, known: FloatArray, novel: Novel, rng: np.random.Generator) -> FloatArray:
    """(d,) the first of the rows that is new; if none is among the first ones, any that is, or the first.

    What is returned is added to ``novel``.

    Args:
        space: what is searched.
        rows: (m, d) candidates in the unit cube, the best first.
        known: (n, d) what was tried or is pending, as a history encodes it. ``novel`` knows of these what is countable;
            with a continuum a step of an inactive parameter, or none at all, may have led to one of them.
        novel: what is known of the countable.
        rng: the trial's.
    """
    looked_at = rows[:_LOOKED_AT]
    if novel.possible:
        looked_at = looked_at[~novel.known(looked_at)]
    for row, place in zip(looked_at, snapped(space, looked_at), strict=True):
        same = np.isclose(known, place, rtol=0.0, atol=1e-9, equal_nan=True)
        if not same.all(axis=1).any():
            novel.add(row)
            return row
    return novel.new(rows if novel.possible else rng.random((1, rows.shape[1])), rng)
