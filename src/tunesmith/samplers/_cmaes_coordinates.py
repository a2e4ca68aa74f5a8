"""The coordinates in which CMA-ES searches a space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.space import FloatArray, Space

#: A parameter of more values is searched as a continuum when there are choices, since CatCMA lists the values.
MOST_LISTED = 1000


class Coordinates:
    """Which parameters have a coordinate, and of what kind.

    A position is a row of D = d + k numbers: d coordinates in the unit cube, those of continua before those of
    countable parameters, and the indices of k choices. A parameter of a single value has no coordinate.

    Attributes:
        numeric: (d,) columns of the space.
        levels: (d,) number of values of a coordinate that is searched as a lattice, 0 for a continuum.
        choices: (k,) columns of the space.
        sizes: (k,) numbers of values of the choices.
        apart: columns of choices that have no coordinate; they are drawn independently.

    Args:
        space: what is searched.
        discrete: whether integers and steps are lattices (else they are rounded continua). Integers on a logarithmic
            scale, whose values are not equally far from each other there, are always rounded.
        categorical: whether choices have coordinates.
        most: a lattice of more values is a continuum.
    """

    def __init__(self, space: Space, discrete: bool, categorical: bool, most: float = np.inf) -> None:
        columns = space.columns
        several = np.array([not d.single() for d in space.values()], bool)
        choice = several & columns.categorical
        lattice = columns.binned & ~columns.categorical & (columns.levels <= most) & discrete
        continua = np.flatnonzero(several & ~columns.categorical & ~lattice)
        self.numeric = np.concatenate([continua, np.flatnonzero(several & lattice)])
        self.levels = np.where(lattice, columns.levels, 0.0)[self.numeric]
        self.continuous = self.levels == 0
        self.choices = np.flatnonzero(choice) if categorical else np.empty(0, np.int64)
        self.sizes = columns.levels[self.choices].astype(np.int64)
        self.apart = np.empty(0, np.int64) if categorical else np.flatnonzero(choice)
        self.apart_sizes = columns.levels[self.apart]
        self.d, self.k, self.columns = len(self.numeric), len(self.choices), len(space)

    def row(self, point: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(D,) point -> (columns,) row of the unit cube; choices that are apart are drawn from ``rng``."""
        row = np.full(self.columns, 0.5)
        row[self.numeric] = np.clip(point[: self.d], 0.0, 1.0)
        row[self.choices] = (point[self.d :] + 0.5) / self.sizes
        if len(self.apart):
            row[self.apart] = (np.floor(rng.random(len(self.apart)) * self.apart_sizes) + 0.5) / self.apart_sizes
        return row

    def position(self, rows: FloatArray) -> FloatArray:
        """(n, columns) rows of the unit cube -> (n, D) positions; NaN stays."""
        chosen = np.minimum(np.floor(rows[:, self.choices] * self.sizes), self.sizes - 1)
        return np.concatenate([rows[:, self.numeric], chosen], axis=1)

    def on_walls(self, rows: FloatArray) -> NDArray[np.bool_]:
        """(n,) whether (n, columns) rows may come again: all continuous coordinates, if any, are 0 or 1 (or NaN)."""
        x = rows[:, self.numeric[self.continuous]]
        return ((x == 0.0) | (x == 1.0) | np.isnan(x)).all(axis=1) & bool(x.shape[1])


@lru_cache(maxsize=64)
def coordinates_of(space: Space, discrete: bool, categorical: bool, most: float) -> Coordinates:
    """As the class, for a space that is asked for again and again."""
    return Coordinates(space, discrete, categorical, most)


def unit_rows(space: Space, configurations: Iterable[Mapping[str, Any]]) -> FloatArray:
    """(n, columns) of configurations that may be of another space: NaN where a value is missing or has no meaning."""
    rows = []
    for params in configurations:
        known = {n: v for n, v in params.items() if n in space and _means_something(space, n, v)}
        rows.append(space.from_params(known))
    return space.encode(np.array(rows).reshape(-1, len(space)))


def _means_something(space: Space, name: str, value: Any) -> bool:
    if space[name].kind == "categorical":
        return space[name].contains(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and bool(np.isfinite(float(value)))


def promising(
    x: FloatArray, loss: Sequence[float], gamma: float, alpha: float
) -> tuple[FloatArray, float, FloatArray, NDArray[np.int64]]:
    """The Gaussian of a task's best solutions (Nomura et al. 2021, eqs. 4-6): mean, standard deviation, covariance of
    determinant 1, and which solutions were used.

    Args:
        x: (n, d) solutions in the unit cube, n >= 1.
        loss: (n,) their values, smaller is better.
        gamma: which part of them is used, at least one.
        alpha: standard deviation that every solution stands for; it keeps the covariance regular.
    """
    best = np.argsort(np.asarray(loss, float), kind="stable")[: max(1, int(len(x) * gamma))]
    mean = x[best].mean(axis=0)
    spread = (x[best] - mean).T @ (x[best] - mean) / len(best) + alpha**2 * np.eye(x.shape[1])
    scale = float(np.exp(np.linalg.slogdet(spread)[1] / max(1, x.shape[1])))
    return mean, scale**0.5, spread / scale, best
