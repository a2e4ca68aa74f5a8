"""Rows of the unit cube as points of a space in which distances mean something."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tunesmith.space import FloatArray, Space

#: A choice of more values is coded by random directions of so many coordinates, which are nearly orthogonal.
CODES = 32


class Coordinates:
    """Numbers have one coordinate, choices one for each value, and what may be inactive one more that tells.

    Any two values of a choice are at distance 1, as are the ends of a number's range. Where a parameter is inactive it
    has the middle of its range (a choice: none of its values), and the coordinate that tells is 1/2 away from where it
    is 0 otherwise; so two configurations without it agree in it.

    Args:
        space: what is searched.

    Attributes:
        of_choice: (p,) whether a coordinate belongs to a choice.
    """

    def __init__(self, space: Space) -> None:
        self._codes: list[FloatArray | None] = []
        self._optional = [name in space.conditions for name in space]
        kinds: list[bool] = []
        for categorical, levels, optional in zip(
            space.columns.categorical.tolist(), space.columns.levels.tolist(), self._optional, strict=True
        ):
            codes = _codes(int(levels)) if categorical else None
            self._codes.append(codes)
            kinds += [categorical] * ((1 if codes is None else codes.shape[1]) + optional)
        self.of_choice: NDArray[np.bool_] = np.array(kinds, bool)

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(m, p) for the (m, d) rows, in which NaN is inactive."""
        found = []
        for j, (codes, optional) in enumerate(zip(self._codes, self._optional, strict=True)):
            unit = rows[:, j]
            gone = np.isnan(unit)
            if codes is None:
                found.append(np.where(gone, 0.5, unit)[:, None])
            else:
                k = len(codes)
                code = np.minimum(np.floor(np.where(gone, 0.0, unit) * k), k - 1).astype(np.int64)
                found.append(np.where(gone[:, None], 0.0, codes[code]))
            if optional:
                found.append(np.where(gone, 0.5, 0.0)[:, None])
        return np.concatenate(found, axis=1)


def _codes(k: int) -> FloatArray:
    """(k, min(k, 32)) a row for each value, at distance 1 (for many: nearly) from the others."""
    if k <= CODES:
        return math.sqrt(0.5) * np.eye(k)
    rows = np.random.Generator(np.random.PCG64(k)).standard_normal((k, CODES))  # always the same
    return math.sqrt(0.5) * rows / np.linalg.norm(rows, axis=1, keepdims=True)
