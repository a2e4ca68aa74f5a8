"""Parzen estimators of many rows: kernels that share their widths, and marginals of counted cells.

They stand for the bulk of a study, of which there is more than a trial has time for: :class:`SharedKernels` is one
matrix product for a bounded number of rows, and :class:`CellCounts` takes any number of rows at the cost of one.
Conventions are those of :mod:`tunesmith.numerics.parzen`; widths follow Scott (1992).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.numerics.parzen import CELLS, Axes, choice_kernel, log_sum_exp, steps
from tunesmith.space import FloatArray

#: Narrowest kernel, as in hyperopt and Optuna.
NARROWEST = 0.01

_SQRT_2PI = float(np.sqrt(2.0 * np.pi))
_TINY = 1e-300


def scott(n: FloatArray, variance: FloatArray, d: int) -> FloatArray:
    """(c,) widths for columns with ``n`` rows of this variance; one uniform row is added to them, so that equal rows
    do not make a kernel of no width.

    Args:
        d: number of columns that are estimated jointly.
    """
    spread = np.sqrt((n * variance + 1.0 / 12.0) / (n + 1.0))
    return np.minimum(np.maximum(spread * np.maximum(n, 1.0) ** (-1.0 / (d + 4)), NARROWEST), 1.0)


class SharedKernels:
    """A mixture of product kernels that have the same width in a column, and the uniform prior.

    Args:
        axes: the columns.
        rows: (n, d) coordinates; NaN where a row lacks a column.
        weights: (n,) positive.
        prior: weight of the prior, positive.
    """

    def __init__(self, axes: Axes, rows: FloatArray, weights: FloatArray, prior: float) -> None:
        self.axes, self.prior = axes, prior
        self.weights = weights
        self._ordered = [axes.number_cells[i] for i in np.searchsorted(axes.numbers, axes.ordered)]
        self._absent_place = np.zeros(axes.d, np.int64)  # one beyond the last cell
        self._absent_place[axes.ordered] = [cells.m for cells in self._ordered]
        here = ~np.isnan(rows)
        w = weights[:, None] * here
        n = w.sum(axis=0)
        u = np.where(here, rows, 0.0)
        mean = (w * u).sum(axis=0) / np.maximum(n, _TINY)
        variance = (w * (u - mean) ** 2).sum(axis=0) / np.maximum(n, _TINY)
        effective = n**2 / np.maximum((w**2).sum(axis=0), _TINY)
        self._s = scott(effective, variance, axes.d)
        self._steps = steps(self._s[axes.ordered])
        own, other = choice_kernel(effective[axes.categorical], axes.counts, prior)
        self._miss = np.log(axes.counts * other)
        self._gain = np.log(axes.counts * own) - self._miss
        self._factors = self._of(rows)

    def add(self, rows: FloatArray) -> None:
        """More rows, of weight 1; widths stay as they are."""
        self.weights = np.append(self.weights, np.ones(len(rows)))
        new = self._of(rows)
        self._factors = tuple([np.concatenate([a, b], axis=-1) for a, b in zip(self._factors, new, strict=True)])

    def _of(self, rows: FloatArray) -> tuple[NDArray[np.generic], ...]:
        """What rows contribute: (3c, n) factors of the continua, cells of the ordered columns (k, n), choices (k, n),
        and which of the choices are there (k, n)."""
        from scipy.special import ndtr

        axes = self.axes
        s = self._s[axes.continua]
        u = rows[:, axes.continua]
        here = ~np.isnan(u)
        u = np.where(here, u, 0.5)
        mass = ndtr((1.0 - u) / s) - ndtr(-u / s)
        # log kernel = -(x - u)**2 / 2 s**2 - log(s mass sqrt(2 pi)), as a scalar product with (x**2, x, 1)
        precision = 1.0 / (s * s)
        constant = -0.5 * u * u * precision - np.log(s * mass * _SQRT_2PI)
        factors = np.concatenate([here * (-0.5 * precision), here * (u * precision), here * constant], axis=1)
        places = axes.places(rows)
        cells = np.where(np.isnan(rows), self._absent_place, places)[:, axes.ordered]
        there = ~np.isnan(rows[:, axes.categorical])
        return factors.T, cells.T, places[:, axes.categorical].T, there.T

    def log_joint(self, x: FloatArray) -> FloatArray:
        """(c,) log relative density at (c, d) points."""
        axes = self.axes
        factors, cells, codes, there = self._factors
        v = x[:, axes.continua]
        here = ~np.isnan(v)
        v = np.where(here, v, 0.0)
        terms = np.concatenate([v * v, v, here], axis=1) @ factors
        if len(axes.continua) < axes.d:
            places = axes.places(x)
        for i, j in enumerate(axes.ordered.tolist()):
            place = np.where(np.isnan(x[:, j]), self._ordered[i].m, places[:, j])
            terms += self._ordered[i].log_table(self._steps[i])[:, cells[i]][place]
        if len(axes.categorical):
            present = ~np.isnan(x[:, axes.categorical])
            same = (places[:, None, axes.categorical] == codes.T) & present[:, None] & there.T
            terms += same @ self._gain + (present * self._miss) @ there
        prior = np.full((len(x), 1), np.log(self.prior))
        total = self.weights.sum() + self.prior
        return log_sum_exp(np.concatenate([terms + np.log(self.weights), prior], axis=1)) - np.log(total)


class CellCounts:
    """How many rows have each value, column by column: enough for marginal densities.

    Attributes:
        numbers: (columns of numbers, CELLS) weights of the rows in each cell.
        choices: (all choices of all categorical columns,) weights of the rows.
    """

    def __init__(self, axes: Axes, counts: FloatArray | None = None) -> None:
        """Those of no rows, or the flat ``counts`` of another instance."""
        self.axes = axes
        split = len(axes.numbers) * CELLS
        self._flat = np.zeros(split + int(axes.counts.sum())) if counts is None else counts
        self.numbers, self.choices = self._flat[:split].reshape(-1, CELLS), self._flat[split:]
        self._first = np.concatenate([[0], np.cumsum(axes.counts)]).astype(np.int64)[:-1]
        self._offsets = np.empty(axes.d, np.int64)
        self._offsets[axes.numbers] = np.arange(len(axes.numbers)) * CELLS
        self._offsets[axes.categorical] = split + self._first

    def without(self, some: CellCounts) -> CellCounts:
        """Those of the rows that are not among ``some`` (exact where all weights are 1)."""
        return CellCounts(self.axes, self._flat - some._flat)

    def add(self, rows: FloatArray, weight: FloatArray | float = 1.0) -> None:
        """Count (n, d) rows, each with its weight ((n,) or one for all)."""
        at = self.axes.places(rows) + self._offsets
        here = ~np.isnan(rows)
        if not here.all():
            at, weight = at[here], np.broadcast_to(np.reshape(weight, (-1, 1)), rows.shape)[here]
        elif np.ndim(weight):
            weight = np.reshape(weight, (-1, 1))
        np.add.at(self._flat, at, weight)

    def log_marginal(self, x: FloatArray, prior: float) -> FloatArray:
        """(c, d) log of the relative marginal densities; 0 for NaN."""
        axes = self.axes
        found = np.empty(x.shape)
        if len(axes.numbers):
            found[:, axes.numbers] = self._of_numbers(x, prior)
        if len(axes.categorical):
            found[:, axes.categorical] = self._of_choices(x, prior)
        np.log(found, out=found)
        return np.where(np.isnan(x), 0.0, found)

    def _of_numbers(self, x: FloatArray, prior: float) -> FloatArray:
        axes = self.axes
        n, first, second = (self.numbers[:, None] @ axes.powers)[:, 0].T
        some = np.maximum(n, _TINY)
        widths = scott(n, np.maximum(second / some - (first / some) ** 2, 0.0), 1)
        density = np.zeros_like(self.numbers)
        for row, into, cells, step in zip(self.numbers, density, axes.number_cells, steps(widths), strict=True):
            np.matmul(row[: cells.m], cells.table(step), out=into[: cells.m])
        density += prior
        density /= (n + prior)[:, None]
        columns = np.arange(len(density))
        if len(axes.continua) < len(density):
            value = density[columns, axes.places(x)[:, axes.numbers]]
        else:
            value = np.empty((len(x), len(density)))
        if len(axes.continua):  # between the middles of two cells
            rows = columns if len(axes.continua) == len(columns) else np.searchsorted(axes.numbers, axes.continua)
            at = np.fmin(np.fmax(x[:, axes.continua] * CELLS - 0.5, 0.0), CELLS - 1.0)  # of NaN: any
            left = np.minimum(at.astype(np.int64), CELLS - 2)
            low = density[rows, left]
            value[:, rows] = low + (at - left) * (density[rows, left + 1] - low)
        return value

    def _of_choices(self, x: FloatArray, prior: float) -> FloatArray:
        axes = self.axes
        n = np.add.reduceat(self.choices, self._first)
        own, other = choice_kernel(n, axes.counts, prior)
        hits = self.choices[axes.places(x)[:, axes.categorical] + self._first]
        return (axes.counts * (hits * own + (n - hits) * other) + prior) / (n + prior)
