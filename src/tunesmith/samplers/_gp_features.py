"""What the kernel of a Gaussian process sees of a configuration."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tunesmith._expressions import Condition
from tunesmith.space import FloatArray, Space

_ROOT_HALF = math.sqrt(0.5)
#: Most values of a parameter that another one's presence may depend on without a declared condition.
_MOST_BRANCHES = 64


class Activity:
    """Which parameters are part of a configuration, for many rows at once.

    Declared conditions decide. Where an objective has branches of its own, a parameter that some trials lack is taken
    to depend on the first parameter before it whose values (or absence) explain exactly which trials lack it; with a
    value that was not tried yet it is there. Where nothing explains it, because it is new, it is always there.

    Args:
        space: what is searched.
        rows: (n, d) observed rows of the unit cube, NaN where a parameter was inactive.

    Attributes:
        optional: (d,) whether a parameter may be inactive.
    """

    def __init__(self, space: Space, rows: FloatArray) -> None:
        self._space = space
        read = set().union(*(Condition(text).names for text in space.conditions.values()))
        self._read = np.array([name in read for name in space], bool)
        self._known: dict[bytes, NDArray[np.bool_]] = {}
        self._branches = self._explained(rows)
        self.optional = np.array([name in space.conditions for name in space], bool)
        self.optional[[j for j, _, _ in self._branches]] = True

    def __call__(self, unit: FloatArray) -> NDArray[np.bool_]:
        """(m, d) rows of the unit cube, without NaN -> whether each value counts."""
        active = self._declared(unit) if self._space.conditions else np.ones(unit.shape, bool)
        for j, parent, present in self._branches:
            k = len(present) - 1
            active[:, j] &= present[np.where(active[:, parent], codes(unit[:, parent], k), k)]
        return active

    def _declared(self, unit: FloatArray) -> NDArray[np.bool_]:
        raw = self._space.decode(unit)
        keys, first, inverse = np.unique(raw[:, self._read], axis=0, return_index=True, return_inverse=True)
        masks = np.array([self._mask(key.tobytes(), raw[k]) for key, k in zip(keys, first.tolist(), strict=True)])
        return masks[inverse.reshape(-1)]

    def _mask(self, key: bytes, raw: FloatArray) -> NDArray[np.bool_]:
        """Of one row, by the values that conditions read."""
        if key not in self._known:
            active = self._space.active(self._space.to_params(raw))
            self._known[key] = np.array([name in active for name in self._space], bool)
        return self._known[key]

    def _explained(self, rows: FloatArray) -> list[tuple[int, int, NDArray[np.bool_]]]:
        """(parameter, the one it depends on, its presence for each value of that one and for its absence)."""
        found: list[tuple[int, int, NDArray[np.bool_]]] = []
        there = ~np.isnan(rows)
        levels = self._space.columns.levels
        some = np.logical_and(there.any(axis=0), ~np.all(there, axis=0))
        for j, name in enumerate(self._space):
            if not some[j] or name in self._space.conditions:
                continue
            for parent in range(j):
                if 1 < levels[parent] <= _MOST_BRANCHES:
                    k = int(levels[parent])
                    code = codes(rows[:, parent], k)
                    with_it, count = np.bincount(code, there[:, j], k + 1), np.bincount(code, minlength=k + 1)
                    present: NDArray[np.bool_] = np.equal(with_it, count)
                    if (present | (with_it == 0)).all():
                        found.append((j, parent, present))
                        break
        return found


class Features:
    """The map from rows of the unit cube to features, and to whose lengthscale each belongs.

    A number is one feature, its place in the cube (an integer the centre of its bin). A choice is a feature for each of
    its values that was tried and one for all others, sqrt(1/2) where it is taken, so that two different values are at
    distance 1 over the choice's lengthscale: the Hamming distance inside of the kernel. A parameter that may be
    inactive has one more feature with a lengthscale of its own, 1 where it is; a number is then in the middle and a
    choice none of its values, so any two configurations without it are equal in it, and one without it is at a learnt
    distance from one with it. (The same distance for all values of a number is possible for no kernel of a distance.)
    Where a value is missing for another reason, because the parameter is new, it is taken for the middle.

    Args:
        space: what is searched.
        rows: (n, d) observed rows of the unit cube, NaN where a parameter was inactive.

    Attributes:
        group: (F,) number of the lengthscale of each feature.
        column: (d,) the feature of a number, -1 for choices and parameters of one value.
        n_parameters: those with more than one value.
        activity: of the space.
    """

    def __init__(self, space: Space, rows: FloatArray) -> None:
        columns = space.columns
        self.activity = Activity(space, rows)
        varies = np.array([not d.single() for d in space.values()], bool)
        self.n_parameters = int(varies.sum())
        self._numeric = np.flatnonzero(varies & ~columns.categorical)
        self.column = np.full(len(space), -1)
        self.column[self._numeric] = np.arange(len(self._numeric))
        group = list(range(len(self._numeric)))
        self._choices: list[tuple[int, int, NDArray[np.int64]]] = []  # parameter, number of values, value -> feature
        for j in np.flatnonzero(varies & columns.categorical).tolist():
            k = int(columns.levels[j])
            tried = np.unique(codes(rows[~np.isnan(rows[:, j]), j], k))
            at = np.full(k, len(group) + len(tried))
            at[tried] = len(group) + np.arange(len(tried))
            self._choices.append((j, k, at))
            group += [_next(group)] * (len(tried) + 1)
        self._optional = np.flatnonzero(varies & self.activity.optional)
        self._first_optional = len(group)
        group += list(range(_next(group), _next(group) + len(self._optional)))
        self.group = np.array(group, np.int64)

    def __call__(self, unit: FloatArray) -> FloatArray:
        """(m, d) rows of the unit cube, NaN where a parameter is inactive or unknown -> (m, F) features."""
        missing = np.isnan(unit)
        x = np.zeros((len(unit), len(self.group)))
        x[:, : len(self._numeric)] = np.where(missing, 0.5, unit)[:, self._numeric]
        for j, k, at in self._choices:
            here = np.flatnonzero(~missing[:, j])
            x[here, at[codes(unit[here, j], k)]] = _ROOT_HALF
        x[:, self._first_optional :] = missing[:, self._optional]
        return x

    def of(self, unit: FloatArray) -> FloatArray:
        """As above for (m, d) rows without NaN, in which the values of inactive parameters do not count."""
        if not self.activity.optional.any():
            return self(unit)
        return self(np.where(self.activity(unit), unit, np.nan))


def codes(unit: FloatArray, k: int) -> NDArray[np.int64]:
    """Places in the unit interval -> which of k bins; k for NaN."""
    return np.where(np.isnan(unit), k, np.minimum(np.floor(unit * k), k - 1)).astype(np.int64)


def _next(group: list[int]) -> int:
    return group[-1] + 1 if group else 0
