"""Runs of the simplex method over the results of a study, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.history import History
from tunesmith.numerics.nelder_mead import Coefficients, Request, Search, nelder_mead
from tunesmith.numerics.streams import stream
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState

#: A choice of more values has no coordinates: a first simplex that tries each of them would never be complete.
MOST_VALUES = 16
#: Coordinates of a value that is taken and of one that is not, and the step of the first simplex that swaps them.
_TAKEN, _LEFT, _SWAP = 0.6, 0.4, 0.4
#: Restarts that find every point known, before a random configuration is tried.
_FRUITLESS = 3

#: A result: without value, violation, loss. Smaller is better.
Order = tuple[bool, float, float]


class Axes:
    """The coordinates of a simplex: a number has one, a choice one for each of its values.

    Attributes:
        size: D. A parameter of a single value has no coordinate, a choice of more than 16 values neither.
        categorical: (D,) whether a coordinate is one of a choice.
        levels: (D,) number of bins of a countable number, else 0.
    """

    def __init__(self, space: Space) -> None:
        columns = space.columns
        several = np.array([not d.single() for d in space.values()], bool)
        self._numeric = np.flatnonzero(several & ~columns.categorical)
        few = several & columns.categorical & (columns.levels <= MOST_VALUES)
        self._choices = [(int(j), int(columns.levels[j])) for j in np.flatnonzero(few)]
        self.size = len(self._numeric) + sum(k for _, k in self._choices)
        self.categorical = np.arange(self.size) >= len(self._numeric)
        self.levels = np.zeros(self.size)
        self.levels[: len(self._numeric)] = columns.levels[self._numeric]

    def decode(self, x: FloatArray, rest: FloatArray) -> FloatArray:
        """(m, D) positions -> (m, columns) rows of the unit cube; (columns,) ``rest`` has what has no coordinate."""
        rows = np.repeat(rest[None], len(x), axis=0)
        at = len(self._numeric)
        rows[:, self._numeric] = x[:, :at]
        for j, k in self._choices:
            rows[:, j] = (np.argmax(x[:, at : at + k], axis=1) + 0.5) / k
            at += k
        return rows

    def encode(self, row: FloatArray) -> FloatArray:
        """(columns,) row of the unit cube -> (D,) position."""
        parts = [row[self._numeric]]
        for j, k in self._choices:
            taken = np.arange(k) == min(int(row[j] * k), k - 1)
            parts.append(np.where(taken, _TAKEN, _LEFT))
        return np.concatenate(parts)

    def simplex(self, start: FloatArray, step: float, rng: np.random.Generator) -> FloatArray:
        """(D + 1, D) the start and a step along each coordinate, at least one bin, in a random direction that has room.

        Along a coordinate of a choice the step swaps the value that is taken.
        """
        bins = np.where(self.levels > 0, 1.0 / np.maximum(self.levels, 1.0), 0.0)
        width = np.where(self.categorical, _SWAP, np.maximum(step, bins))
        down = np.where(start + width > 1.0, True, np.where(start - width < 0.0, False, rng.random(self.size) < 0.5))
        down = np.where(self.categorical, start == _TAKEN, down)
        return np.vstack([start, start + np.diag(np.where(down, -width, width))])

    def tolerance(self, least: float) -> FloatArray:
        """(D,) below which a coordinate makes no difference: half a bin, or ``least``."""
        half = np.where(self.levels > 0, 0.5 / np.maximum(self.levels, 1.0), 0.0)
        return np.where(self.categorical, 0.1 * _SWAP, np.maximum(half, least))


@dataclass(frozen=True)
class Settings:
    """Arguments of the method; see :class:`~tunesmith.samplers.nelder_mead.NelderMeadSampler`."""

    adaptive: bool
    initial_step: float
    tolerance: float
    seed: int


class Runs:
    """Memo: the method's state after the finished trials.

    Attributes:
        n: rows seen.
        values: configuration -> the best result it has had.
    """

    def __init__(self, settings: Settings, space: Space) -> None:
        self.settings, self.space, self.axes = settings, space, Axes(space)
        self.n = self._runs = 0
        self.values: dict[bytes, Order] = {}
        self._best: tuple[Order, FloatArray] | None = None
        self._ended: Order | None = None
        self._flat: tuple[FloatArray, float] | None = None
        self._search: Search
        self._request: Request | None = None
        self._needed: list[bytes] = []
        if self.axes.size:
            self._begin(np.full(len(space), 0.5))

    def extend(self, history: History) -> None:
        rows, loss = history.raw(self.space, self.n), history.loss[self.n :, 0]
        columns = (loss, history.violation[self.n :], history.state[self.n :], history.number[self.n :])
        for raw, y, v, s, number in zip(rows, *(c.tolist() for c in columns), strict=True):
            lost = y != y or s == TrialState.FAIL
            self._add(raw, (lost, math.inf if lost else v, math.inf if lost else y), number)
        self.n = history.n

    def key(self, raw: FloatArray) -> bytes:
        """The same for the same configuration: (columns,) raw row, of which what is not active does not count."""
        raw = self.space.from_params(self.space.active(self.space.to_params(raw)))
        return np.where(np.isnan(raw), np.nan, raw + 0.0).tobytes()

    def wanted(self) -> Iterator[tuple[bytes, FloatArray]]:
        """Keys and raw rows to evaluate, the most urgent first; those that are pending are among them."""
        if self._request is None:
            return
        for key, raw in zip(self._needed, self._rows, strict=True):
            if key not in self.values:
                yield key, raw
        for raw in self._raw(self._request.likely):
            key = self.key(raw)
            if key not in self.values:
                yield key, raw

    def _raw(self, x: FloatArray) -> FloatArray:
        return self.space.decode(self.axes.decode(x, self._rest))

    def _add(self, raw: FloatArray, order: Order, number: int) -> None:
        """One row; whether it comes alone or with others makes no difference."""
        key, first = self.key(raw), not self.values
        known = key in self.values
        self.values[key] = min(order, self.values[key]) if known else order
        if not self.axes.size or (known and self._request is None):
            return
        if not order[0] and (self._best is None or order < self._best[0]):
            self._best = order, self.space.encode(raw[None])[0]
            if first and number == 0 and key not in self._needed:
                self._begin(self._best[1])
        self._advance()

    def _advance(self) -> None:
        """Go on as far as results are known."""
        for _ in range(_FRUITLESS):
            while self._request is not None:
                if any(key not in self.values for key in self._needed):
                    return
                try:
                    self._ask(self._search.send([self.values[key] for key in self._needed]))
                except StopIteration as stop:
                    self._end(*stop.value)
            self._begin(*self._next_start())

    def _ask(self, request: Request) -> None:
        self._request = request
        self._rows = self._raw(request.needed)
        self._needed = [self.key(raw) for raw in self._rows]

    def _end(self, x: FloatArray, width: FloatArray) -> None:
        """A run is over. One whose simplex was flat but not small goes on from there, if it has come any way at all."""
        raw = self._raw(x[None])[0]
        order = self.values[self.key(raw)]
        small = bool(np.all(width <= self.axes.tolerance(self.settings.tolerance)))
        if not small and (self._started is None or order < self._started):
            self._flat = self.space.encode(raw[None])[0], float(width.max())
        self._ended = order if self._ended is None else min(order, self._ended)
        self._request = None

    def _begin(self, row: FloatArray, width: float = math.inf) -> None:
        """A new run from a (columns,) row of the unit cube; the middle where it is NaN."""
        self._runs += 1
        row = self.space.encode(self.space.decode(np.where(np.isnan(row), 0.5, row)[None]))[0]
        self._rest = row
        rng = stream(self.settings.seed, self._runs, "nelder-mead")
        simplex = self.axes.simplex(self.axes.encode(row), min(width, self.settings.initial_step), rng)
        steps = Coefficients.adaptive(self.axes.size) if self.settings.adaptive else Coefficients()
        self._search = nelder_mead(simplex, self.axes.tolerance(self.settings.tolerance), steps)
        self._ask(next(self._search))
        self._started = self.values.get(self._needed[0])

    def _next_start(self) -> tuple[FloatArray, float]:
        """Where a flat simplex was left; the best point, if no run has ended there; a random one."""
        if self._flat is not None:
            start, self._flat = self._flat, None
            return start
        if self._best is not None and (self._ended is None or self._best[0] < self._ended):
            self._ended = self._best[0]
            return self._best[1], math.inf
        return stream(self.settings.seed, self._runs, "nelder-mead restart").random(len(self.space)), math.inf


def open_rows(space: Space, history: History) -> list[NDArray[np.float64]]:
    """Raw rows of the trials that are not finished."""
    return [
        space.from_params({n: v for n, v in t.params.items() if n in space and space[n].contains(v)})
        for t in history.open
    ]
