"""Rows of the unit cube as trees take them."""

from __future__ import annotations

import numpy as np

from tunesmith.space import FloatArray, Space

#: An inactive parameter; below all values, so that one split tells the active ones apart.
INACTIVE = -1.0


class Coder:
    """Numbers stay; a choice becomes the place of its value in the order of mean outcomes.

    For one choice the best of all ways to divide its values in two is a split in this order (Fisher 1958; Breiman et
    al. 1984, sec. 9.4), and it does not matter in which order the user named them. Means are shrunk to the overall one
    by one observation, so an untried value stands in the middle.

    Args:
        space: what is searched.
        X: (n, d) rows of the unit cube with results; NaN where inactive.
        z: (n,) outcomes with mean 0.
    """

    def __init__(self, space: Space, X: FloatArray, z: FloatArray) -> None:
        self._places: dict[int, FloatArray] = {}
        for j in np.flatnonzero(space.columns.categorical).tolist():
            k = int(space.columns.levels[j])
            here = ~np.isnan(X[:, j])
            code = _codes(X[here, j], k)
            means = np.bincount(code, z[here], k) / (np.bincount(code, minlength=k) + 1.0)
            places = np.empty(k)
            places[np.argsort(means, kind="stable")] = np.arange(k)
            self._places[j] = places

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(m, d) for the (m, d) rows, without NaN."""
        found = np.where(np.isnan(rows), INACTIVE, rows)
        for j, places in self._places.items():
            here = ~np.isnan(rows[:, j])
            found[here, j] = places[_codes(rows[here, j], len(places))]
        return found


def _codes(unit: FloatArray, k: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.minimum(np.floor(unit * k), k - 1).astype(np.int64)
