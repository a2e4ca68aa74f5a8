"""Maximising a function over a mixed space: steps on the grid of what is countable, gradients on the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tunesmith.space import FloatArray, Space

#: (m, d) rows of the unit cube -> (m,) values.
Value = Callable[[FloatArray], FloatArray]
#: (m, d) rows of the unit cube -> (m,) values and their (m, d) gradients.
Slopes = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

#: Most values of a number that are all tried in a step.
LISTED = 16
#: Rows that are looked at first: uniform ones, and changed copies of good ones.
POOL, MUTANTS = 256, 128
#: Expected number of coordinates that a copy changes, and the standard deviation of a small change.
CHANGED, SMALL = 2.0, 0.1
#: Local searches.
STARTS = 6
#: Rounds of gradient steps followed by steps on the grid, where a space has both; most of these steps.
ROUNDS, STEPS = 2, 30
#: Evaluations of the gradient in a round.
GRADIENTS = 10
#: Rows that all local searches together look at in a step, and most numbers in them.
NEIGHBOURS, NUMBERS = 2000, 100_000
#: Rows of a step that are remembered, in case that better ones were tried already.
KEPT = 64
#: What a step on the grid has to gain.
_GAIN = 1e-9


class Moves:
    """The steps on the grid: which values may take the place of a row's.

    A choice may become any other one (of more than 16, of 16 random ones); so may a number with at most 16 values.
    Another integer moves by 1, 2, 4, ... values, or halves, quarters, ... of its range on a logarithmic scale.

    Args:
        space: what is searched.
        fixed: (d,) parameters that keep their values.
        rng: chooses among the values of large choices.

    Attributes:
        free: parameters that may change.
        smooth: those of them that gradients move: continua, and integers with more than 16 values.
        n: number of steps from a row.
    """

    def __init__(self, space: Space, fixed: NDArray[np.bool_], rng: np.random.Generator) -> None:
        columns = self._columns = space.columns
        free = ~fixed & np.array([not d.single() for d in space.values()], bool)
        listed = columns.categorical | ((columns.levels > 0) & (columns.levels <= LISTED))
        self.free, self.smooth = np.flatnonzero(free), np.flatnonzero(free & ~listed)
        places = {j: self._all(j, rng) for j in np.flatnonzero(free & listed).tolist()}
        ways = {j: self._ways(j) for j in np.flatnonzero(free & ~listed & (columns.levels > 0)).tolist()}
        pairs = [(j, value) for found in (places, ways) for j, values in found.items() for value in values]
        self.n = len(pairs)
        self._column = np.array([j for j, _ in pairs], np.int64)
        self._value = np.array([value for _, value in pairs], float)
        self._relative = np.arange(self.n) >= sum(map(len, places.values()))

    def _all(self, j: int, rng: np.random.Generator) -> list[float]:
        """Where in the unit interval the values of parameter j lie."""
        columns, k = self._columns, int(self._columns.levels[j])
        if columns.log[j]:
            raw = np.tile(columns.low, (k, 1))
            raw[:, j] += np.arange(k)
            return list(columns.encode(raw)[:, j])
        chosen = np.arange(k) if k <= LISTED else rng.choice(k, LISTED, replace=False)
        return list((chosen + 0.5) / k)

    def _ways(self, j: int) -> list[float]:
        """How far parameter j may go at once."""
        columns = self._columns
        far = 0.5 ** np.arange(1, 8) if columns.log[j] else 2.0 ** np.arange(7) / columns.levels[j]
        return [*far[far < 1.0], *-far[far < 1.0]]

    def snap(self, rows: FloatArray) -> FloatArray:
        """Rows as the history will have them: integers and choices in the middle of their bins."""
        return self._columns.encode(self._columns.decode(rows))

    def neighbours(self, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(k, t, d): rows that differ from each of the (k, d) in one parameter, or in none."""
        steps = np.arange(self.n)
        most = max(1, min(NEIGHBOURS, NUMBERS // rows.shape[1]) // len(rows))
        if self.n > most:
            steps = np.sort(rng.choice(self.n, most, replace=False))
        column, relative = self._column[steps], self._relative[steps]
        to = np.where(relative, rows[:, column] + self._value[steps], self._value[steps])
        found = np.repeat(rows[:, None, :], len(steps), axis=1)
        found[:, np.arange(len(steps)), column] = np.clip(to, 0.0, 1.0)
        if relative.any():
            found[:, relative] = self.snap(found[:, relative])
        return found


def pool(moves: Moves, base: FloatArray, anchors: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(m, d) rows to look at first: uniform ones, and copies of good ones with one to a few new values.

    Where there are many dimensions, uniform rows are all equally far from what is known, and only changes of few
    coordinates are promising (Regis, R. G. and Shoemaker, C. A. 2013: Combining radial basis function surrogates and
    dynamic coordinate search in high-dimensional expensive black-box optimization. Eng. Optim. 45, 529-555).

    Args:
        moves: which parameters are free.
        base: (d,) values of those that are not.
        anchors: (a, d) good rows, without NaN.
        rng: the trial's.
    """
    free = moves.free
    rows = np.tile(base, (POOL, 1))
    rows[:, free] = rng.random((POOL, len(free)))
    if len(anchors) and len(free):
        near = anchors[np.arange(MUTANTS) % len(anchors)]
        change = rng.random((MUTANTS, len(free))) < CHANGED / len(free)
        change[np.arange(MUTANTS), rng.integers(len(free), size=MUTANTS)] = True
        anywhere = rng.random((MUTANTS, len(free)))
        close = np.clip(near[:, free] + SMALL * rng.standard_normal((MUTANTS, len(free))), 0.0, 1.0)
        small = np.isin(free, moves.smooth) & (rng.random((MUTANTS, 1)) < 0.5)
        near[:, free] = np.where(change, np.where(small, close, anywhere), near[:, free])
        rows = np.concatenate([rows, near])
    return moves.snap(rows)


def maximise(value: Value, slopes: Slopes, moves: Moves, first: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(m, d) rows, the best first: those of ``first``, and the best that local searches from them came by.

    Args:
        value, slopes: what is maximised, and its gradients.
        moves: the steps.
        first: (m, d) rows to begin from.
        rng: chooses neighbours where there are too many.
    """
    values = value(first)
    seen = [(first, values)]
    best = np.argsort(-values, kind="stable")[:STARTS]
    rows, values = first[best], values[best]
    for _ in range(ROUNDS if len(moves.smooth) and moves.n else 1):
        if len(moves.smooth):
            rows = moves.snap(_ascend(slopes, rows, moves.smooth))
            values = value(rows)
            seen.append((rows, values))
        if moves.n:
            rows, values = _climb(value, moves, rows, values, rng, seen)
    rows, values = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    return rows[np.argsort(-values, kind="stable")]


def _ascend(slopes: Slopes, rows: FloatArray, smooth: NDArray[np.int64]) -> FloatArray:
    """Gradient steps of all rows together: L-BFGS-B on the sum of their values."""
    at = rows.copy()

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        at[:, smooth] = flat.reshape(len(at), -1)
        values, gradient = slopes(at)
        return -float(values.sum()), -gradient[:, smooth].ravel()

    start = rows[:, smooth].ravel()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=np.tile([0.0, 1.0], (len(start), 1)),
        options={"maxfun": GRADIENTS, "ftol": 1e-6},
    )  # fmt: skip
    at[:, smooth] = np.clip(found.x, 0.0, 1.0).reshape(len(at), -1)
    return at


def _climb(
    value: Value, moves: Moves, rows: FloatArray, values: FloatArray, rng: np.random.Generator,
    seen: list[tuple[FloatArray, FloatArray]],
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Steps of every row to its best neighbour, until none is better; the best that were looked at join ``seen``."""
    rows, values = rows.copy(), values.copy()
    going = np.arange(len(rows))
    for _ in range(STEPS):
        near = moves.neighbours(rows[going], rng)
        flat = near.reshape(-1, rows.shape[1])
        found = value(flat)
        few = np.argsort(-found, kind="stable")[:KEPT]
        seen.append((flat[few], found[few]))
        found = found.reshape(near.shape[:2])
        best = found.argmax(axis=1)
        top = found[np.arange(len(going)), best]
        better = top > values[going] + _GAIN
        rows[going[better]], values[going[better]] = near[better, best[better]], top[better]
        going = going[better]
        if not len(going):
            break
    return rows, values
