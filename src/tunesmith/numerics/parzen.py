"""Parzen estimators on the unit cube: mixtures of product kernels over numbers, ordered values and choices.

Bergstra, J., Bardenet, R., Bengio, Y. and Kegl, B. (2011): Algorithms for hyper-parameter optimization. NeurIPS 24
(section 4: kernels truncated to the domain, widths from the neighbours' distances, a prior among the kernels).
Scott, D. W. (1992): Multivariate density estimation (the rule n**(-1 / (d + 4))).
Watanabe, S. (2023): Tree-structured Parzen estimator: understanding its algorithm components and their roles for better
empirical performance. arXiv:2304.11127 (products of kernels, discretised kernels).

All densities are relative to the uniform distribution: the prior, and a parameter that a configuration does not have,
are the factor 1. Columns are of three sorts:

- a *continuum*: a normal kernel, truncated to [0, 1];
- *ordered* values: the mass which that kernel has in the value's cell, over the cell's width;
- *choices*: one probability for the kernel's own choice, another one for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.space import FloatArray

#: An ordered column with more values than this is treated as a continuum (linear) or has values that share a cell
#: (logarithmic); a continuum is counted in as many cells. A kernel is hardly ever narrower than such a cell.
CELLS = 64

#: How finely the widths of kernels between cells are graded: steps to half the width.
STEPS = 8

#: Narrowest kernel without that clip: as good as a point, but a density.
NARROWEST_UNCLIPPED = 1e-9

_SQRT_2PI = float(np.sqrt(2.0 * np.pi))
_TINY = 1e-300


class Cells:
    """A column cut into cells, and the kernels between them.

    Args:
        edges: (m + 1,) increasing, from 0 to 1.
    """

    def __init__(self, edges: FloatArray) -> None:
        self.edges = edges
        self.m = len(edges) - 1
        self.width = np.diff(edges)
        self.centre = (edges[1:] + edges[:-1]) / 2
        self._tables: dict[int, FloatArray] = {}
        self._log_tables: dict[int, FloatArray] = {}

    def find(self, unit: FloatArray) -> NDArray[np.int64]:
        """The cell of each coordinate (same shape); that of NaN is the last."""
        return np.minimum(np.searchsorted(self.edges[1:], unit, side="right"), self.m - 1)

    def table(self, step: int) -> FloatArray:
        """(m, m) relative density in cell ``column`` of a kernel in the middle of cell ``row``; see :func:`steps`."""
        if step not in self._tables:
            from scipy.special import ndtr

            mass = np.diff(ndtr((self.edges - self.centre[:, None]) * 2.0 ** (step / STEPS)), axis=1)
            self._tables[step] = mass / mass.sum(axis=1, keepdims=True) / self.width
        return self._tables[step]

    def log_table(self, step: int) -> FloatArray:
        """(m + 1, m + 1) its logarithm, from cell ``column`` to cell ``row``; the last ones stand for an absent value,
        whose density is 1."""
        if step not in self._log_tables:
            padded = np.zeros((self.m + 1, self.m + 1))
            padded[:-1, :-1] = np.log(np.maximum(self.table(step), _TINY)).T
            self._log_tables[step] = padded
        return self._log_tables[step]


def steps(bandwidths: FloatArray) -> list[int]:
    """Widths as whole powers of 2**(-1 / STEPS), so that a table of kernels serves many trials."""
    found: list[int] = np.rint(-STEPS * np.log2(bandwidths)).astype(np.int64).tolist()
    return found


class Axes:
    """What the columns of a unit cube are.

    Args:
        choices: (d,) number of choices of a column, 0 for numbers.
        edges: of each column the (m + 1,) edges of its ordered cells, or None for a continuum or choices.

    Attributes:
        d: number of columns.
        continua, ordered, categorical: (k,) which columns are of which sort.
        numbers: (k,) continua and ordered columns.
        number_cells: of each column of numbers its cells (of a continuum, ``CELLS`` equal ones).
        cell_edges: (columns of numbers, CELLS + 1) the cells' edges, 1 beyond the last one.
        powers: (columns of numbers, CELLS, 3) 1, the cells' middles and their squares.
        counts: (categorical columns,) number of choices.
    """

    def __init__(self, choices: NDArray[np.int64], edges: Sequence[FloatArray | None]) -> None:
        self.d = len(choices)
        ordered = np.array([e is not None for e in edges], bool)
        self.categorical, self.ordered = np.flatnonzero(choices > 0), np.flatnonzero(ordered)
        self.continua, self.numbers = np.flatnonzero((choices == 0) & ~ordered), np.flatnonzero(choices == 0)
        self.counts = choices[self.categorical]
        even = Cells(np.linspace(0.0, 1.0, CELLS + 1))
        kinds = zip(choices.tolist(), edges, strict=True)
        self.number_cells = found = [even if e is None else Cells(e) for k, e in kinds if k == 0]
        self.cell_edges = np.array([np.append(c.edges, np.ones(CELLS - c.m)) for c in found]).reshape(-1, CELLS + 1)
        centres = (self.cell_edges[:, 1:] + self.cell_edges[:, :-1]) / 2
        self.powers = np.stack([np.ones_like(centres), centres, centres**2], axis=2)
        sizes = np.array(choices, float)
        sizes[self.numbers] = [c.m for c in found]
        self._sizes, self._last = sizes, sizes - 1.0
        uneven = [(j, c) for j, c in zip(self.numbers.tolist(), found, strict=True) if np.ptp(c.width) > 1e-9]
        self._uneven = uneven

    def places(self, unit: FloatArray) -> NDArray[np.int64]:
        """(..., d) which cell or choice the coordinates are; that of NaN is the last."""
        found = np.fmin(np.floor(unit * self._sizes), self._last).astype(np.int64)
        for j, cells in self._uneven:
            found[..., j] = cells.find(unit[..., j])
        return found


def log_sum_exp(terms: FloatArray) -> FloatArray:
    """log of the sum of exp over the last axis."""
    most = terms.max(axis=-1, keepdims=True)
    return np.log(np.exp(terms - most).sum(axis=-1)) + most[..., 0]


def choice_kernel(n: FloatArray, k: NDArray[np.int64], prior: float) -> tuple[FloatArray, FloatArray]:
    """(c,) probabilities that a kernel gives to its own choice and to each of the ``k - 1`` others.

    The own one has a count of 1, and all have the prior's share of what ``n`` rows and it weigh (Optuna's rule).
    """
    share = prior / (n + 1.0)
    total = 1.0 + k * share
    return (1.0 + share) / total, share / total


def neighbour_bandwidths(unit: FloatArray, endpoints: bool = False, clip: bool = True) -> FloatArray:
    """(n, c) widths of the kernels of (n, c) coordinates: the larger distance to a neighbour (Bergstra 2011, 4.2).

    NaN gets 1.

    Args:
        unit: the coordinates.
        endpoints: whether the ends of the range are neighbours, too. Of a single coordinate they are in any case.
        clip: widths are at least ``1 / min(100, n + 2)``, n as far as the column is known (hyperopt's "magic clip").
            They are at most 1.
    """
    if not unit.size:
        return np.empty_like(unit)
    n = len(unit)
    order = np.argsort(unit, axis=0, kind="stable")  # NaN last
    at = order, np.arange(unit.shape[1])
    s = unit[at]
    gaps = s[1:] - s[:-1]
    wide = np.empty_like(s)
    wide[0] = 0.0
    wide[1:] = gaps
    np.fmax(wide[:-1], gaps, out=wide[:-1])
    known = np.count_nonzero(~np.isnan(s), axis=0)
    if endpoints or known.min() <= 1:
        last = np.arange(n)[:, None] == known - 1
        ends = np.maximum(np.where(np.arange(n)[:, None] == 0, s, 0.0), np.where(last, 1.0 - s, 0.0))
        wide = np.where((known == 1) | endpoints, np.maximum(wide, ends), wide)
    np.maximum(wide, 1.0 / np.minimum(100.0, known + 2.0) if clip else NARROWEST_UNCLIPPED, out=wide)
    wide = np.minimum(np.where(np.isnan(wide), 1.0, wide), 1.0)
    found = np.empty_like(s)
    found[at] = wide
    return found


class Kernels:
    """A mixture of product kernels with widths of their own, and the uniform prior.

    Args:
        axes: the columns.
        rows: (n, d) coordinates; NaN where a row lacks a column.
        weights: (n,) positive.
        prior: weight of the prior, positive.
        bandwidths: (n, c) coordinates of the columns of numbers -> (n, c) widths.
    """

    def __init__(
        self,
        axes: Axes,
        rows: FloatArray,
        weights: FloatArray,
        prior: float,
        bandwidths: Callable[[FloatArray], FloatArray] = neighbour_bandwidths,
    ) -> None:
        from scipy.special import ndtr

        self.axes, self.rows, self.weights, self.prior = axes, rows, weights, prior
        self._absent = np.isnan(rows)
        self._whole = not self._absent.any()
        u = rows[:, axes.numbers]
        self._s = bandwidths(u)
        self._u = u if self._whole else np.where(np.isnan(u), 0.5, u)
        ends = ndtr(np.stack([-self._u, 1.0 - self._u]) / self._s)
        self._low, self._mass = ends[0], ends[1] - ends[0]
        self._log_height = -np.log(self._s * self._mass * _SQRT_2PI)
        if len(axes.categorical):
            self._codes = axes.places(rows)[:, axes.categorical]
            known = (~self._absent[:, axes.categorical]).sum(axis=0)
            self._own, other = choice_kernel(known.astype(float), axes.counts, prior)
            self._hit, self._miss = np.log(axes.counts * self._own), np.log(axes.counts * other)

    def _terms(self, x: FloatArray) -> FloatArray:
        """(c, n, d) log relative density of every kernel in every column; 0 where one of the two is absent."""
        axes = self.axes
        places = axes.places(x) if len(axes.continua) < axes.d else None
        found = (x[:, None, axes.numbers] - self._u) / self._s
        found *= found
        found *= -0.5
        found += self._log_height
        if len(axes.ordered):
            assert places is not None
            self._ordered_terms(places, found)
        if len(axes.categorical):
            assert places is not None
            numbers, found = found, np.empty((len(x), len(self.rows), axes.d))
            found[:, :, axes.numbers] = numbers
            same = places[:, None, axes.categorical] == self._codes
            found[:, :, axes.categorical] = np.where(same, self._hit, self._miss)
        absent = np.isnan(x)
        if not self._whole or absent.any():
            found[absent[:, None] | self._absent] = 0.0
        return found

    def _ordered_terms(self, places: NDArray[np.int64], found: FloatArray) -> None:
        """Write those of the ordered columns into the (c, n, columns of numbers) terms."""
        from scipy.special import ndtr

        columns = np.searchsorted(self.axes.numbers, self.axes.ordered)
        at = places[:, self.axes.ordered]
        ends = np.stack([self.axes.cell_edges[columns, at], self.axes.cell_edges[columns, at + 1]])
        mass = ndtr((ends[:, :, None] - self._u[:, columns]) / self._s[:, columns])
        width = (ends[1] - ends[0])[:, None]
        relative = (mass[1] - mass[0]) / (self._mass[:, columns] * width)
        found[:, :, columns] = np.log(np.maximum(relative, _TINY))

    def log_joint(self, x: FloatArray) -> FloatArray:
        """(c,) log relative density of the mixture at (c, d) points."""
        terms = np.empty((len(x), len(self.rows) + 1))
        terms[:, :-1] = self._terms(x).sum(axis=2)
        terms[:, :-1] += np.log(self.weights)
        terms[:, -1] = np.log(self.prior)
        return log_sum_exp(terms) - np.log(self.weights.sum() + self.prior)

    def log_marginal(self, x: FloatArray) -> FloatArray:
        """(c, d) log of the mixture's marginal densities; rows that lack a column take no part there."""
        density = self._terms(x)
        np.exp(density, out=density)
        if self._whole:
            sums, total = self.weights @ density, self.weights.sum()
        else:
            weights = np.where(self._absent, 0.0, self.weights[:, None])
            sums, total = (density * weights).sum(axis=1), weights.sum(axis=0)
        logs = np.log((sums + self.prior) / (total + self.prior))
        return np.where(np.isnan(x), 0.0, logs)

    def draw(self, rng: np.random.Generator, size: int, joint: bool, given: FloatArray | None = None) -> FloatArray:
        """(size, d) random points.

        A column that the chosen row lacks is drawn from its marginal.

        Args:
            joint: all columns from one kernel; else every column from one of its own.
            given: (d,) coordinates that are settled, NaN elsewhere. Kernels of a joint draw are chosen by their
                density there.
        """
        axes, n = self.axes, len(self.rows)
        weights = np.append(self.weights, self.prior)
        if joint and given is not None:
            terms = self._terms(given[None])[0].sum(axis=1)
            fit = np.append(terms, 0.0) + np.log(weights)
            weights = np.exp(fit - fit.max())
        r = rng.random((size, 2, axes.d))
        pick = _pick(weights, r[:, 0, :1] if joint else r[:, 0])
        kernel = np.repeat(pick, axes.d, axis=1) if joint else pick
        if not self._whole:
            self._replace_absent(kernel, rng)
        prior = kernel == n
        x = r[:, 1].copy()
        if n:
            kernel = np.minimum(kernel, n - 1)
            self._place_numbers(kernel[:, axes.numbers], x)
            if len(axes.categorical):
                self._place_choices(kernel[:, axes.categorical], x)
            x = np.where(prior, r[:, 1], x)
        if given is not None:
            x = np.where(np.isnan(given), x, given)
        return x

    def _replace_absent(self, kernel: NDArray[np.int64], rng: np.random.Generator) -> None:
        n = len(self.rows)
        again = rng.random(kernel.shape)
        for j in np.flatnonzero(self._absent.any(axis=0)).tolist():
            weights = np.append(np.where(self._absent[:, j], 0.0, self.weights), self.prior)
            lacking = np.append(self._absent[:, j], False)[kernel[:, j]]
            kernel[lacking, j] = np.minimum(_pick(weights, again[lacking, j]), n)

    def _place_numbers(self, kernel: NDArray[np.int64], x: FloatArray) -> None:
        from scipy.special import ndtri

        columns = np.arange(kernel.shape[1])
        at = kernel, columns
        z = ndtri(self._low[at] + x[:, self.axes.numbers] * self._mass[at])
        place = self._u[at] + self._s[at] * z
        x[:, self.axes.numbers] = np.minimum(np.maximum(place, 0.0), 1.0)

    def _place_choices(self, kernel: NDArray[np.int64], x: FloatArray) -> None:
        axes = self.axes
        counts = axes.counts
        own = self._codes[kernel, np.arange(kernel.shape[1])]
        r = x[:, axes.categorical]
        rest = np.floor((r - self._own) / np.maximum(1.0 - self._own, _TINY) * (counts - 1))
        other = np.clip(rest, 0, np.maximum(counts - 2, 0)).astype(np.int64)
        other = np.minimum(other + (other >= own), counts - 1)
        x[:, axes.categorical] = (np.where(r < self._own, own, other) + 0.5) / counts


def _pick(weights: FloatArray, r: FloatArray) -> NDArray[np.int64]:
    """Indices drawn by weight, for uniform numbers ``r`` of any shape."""
    sums = np.cumsum(weights)
    return np.minimum(np.searchsorted(sums, r * sums[-1], side="right"), len(weights) - 1)
