"""The different configurations of a grid with conditions, numbered and made one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith._expressions import Condition
from tunesmith.distributions import CategoricalDistribution, choice_key
from tunesmith.exceptions import InvalidValueError
from tunesmith.space import Space

#: More cells than this no search finishes; a grid so large is a mistake in its layout.
MAX_CELLS = 10_000_000


class Cells:
    """A grid whose cells are made from their number; nothing of size ``n`` is held.

    The axes that conditions read ("controlling" axes) are written out; for each of their combinations the other axes
    that are active there span a block of cells. So cells that differ in inactive axes only are one cell, and they can
    be counted without being listed.

    Args:
        lattice: the axes as choices, with conditions among them.

    Attributes:
        n: number of different cells.

    Raises:
        InvalidValueError: more than ten million cells.
    """

    def __init__(self, lattice: Space) -> None:
        self.lattice = lattice
        self.id = int(lattice.id, 16)  # 48 bits: exact as a float
        self._values = {name: _choices(lattice, name) for name in lattice}
        sizes = {name: len(values) for name, values in self._values.items()}
        self.n = count(lattice, sizes)
        if self.n > MAX_CELLS:
            layout = " x ".join(str(k) for k in sizes.values())
            raise InvalidValueError(
                f"The grid has {self.n:,} cells ({layout}), more than {MAX_CELLS:,}; use fewer points, or let "
                "GridSampler.within(space, budget) choose them."
            )
        self._blocks = [(digits, _free(lattice, self._params(digits))) for digits in _combinations(lattice, sizes)]
        self._ends = np.cumsum([math.prod(sizes[n] for n in free) for _, free in self._blocks])

    def _params(self, digits: Mapping[str, int]) -> dict[str, Any]:
        return {name: self._values[name][k] for name, k in digits.items()}

    def params(self, cell: int) -> dict[str, Any]:
        """The configuration of a cell; the last axis varies fastest within a block."""
        block = int(np.searchsorted(self._ends, cell, side="right"))
        digits, free = self._blocks[block]
        rest = cell - (int(self._ends[block - 1]) if block else 0)
        digits = dict(digits)
        for name in reversed(free):
            rest, digits[name] = divmod(rest, len(self._values[name]))
        return self._params({name: digits[name] for name in self.lattice if name in digits})

    def find(self, params: Mapping[str, Any]) -> int | None:
        """The cell of a configuration, or ``None`` if it is not on the grid. Names that are no axes are ignored."""
        digits: dict[str, int] = {}
        for name in self.lattice.ordered:
            if self.lattice.holds(name, self._params(digits)):
                digit = self._digit(name, params[name]) if name in params else None
                if digit is None:
                    return None
                digits[name] = digit
        controlling = _controlling(self.lattice)
        key = tuple(sorted((n, k) for n, k in digits.items() if n in controlling))
        block = self._block_of[key]
        cell = 0
        for name in self._blocks[block][1]:
            cell = cell * len(self._values[name]) + digits[name]
        return cell + (int(self._ends[block - 1]) if block else 0)

    def axis(self, name: str) -> tuple[Any, ...]:
        """The values of an axis."""
        return self._values[name]

    def agreeing(self, cells: NDArray[np.int64], given: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which of the cells have the given values; names that are no axes are ignored."""
        found = np.zeros(len(cells), bool)
        wanted = {name: self._digit(name, value) for name, value in given.items() if name in self._values}
        if None in wanted.values():
            return found
        start = 0
        for (digits, free), end in zip(self._blocks, self._ends.tolist(), strict=True):
            if all(digits.get(n, k) == k and (n in digits or n in free) for n, k in wanted.items()):
                inside = (cells >= start) & (cells < end)
                rest, agree = cells[inside] - start, np.ones(int(inside.sum()), bool)
                for name in reversed(free):
                    rest, digit = np.divmod(rest, len(self._values[name]))
                    if name in wanted:
                        agree &= digit == wanted[name]
                found[inside] = agree
            start = end
        return found

    def _digit(self, name: str, value: Any) -> int | None:
        """The position of a value on an axis; numbers may differ in their last digits and in their type (1 and 1.0)."""
        exact = self._index[name].get(choice_key(value))
        if exact is not None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return exact
        numbers = [
            (k, known)
            for k, known in enumerate(self._values[name])
            if isinstance(known, (int, float)) and not isinstance(known, bool)
        ]
        equal = [k for k, known in numbers if known == value]
        return next(iter(equal + [k for k, known in numbers if _close(known, value)]), None)

    @cached_property
    def _block_of(self) -> dict[tuple[tuple[str, int], ...], int]:
        return {tuple(sorted(digits.items())): k for k, (digits, _) in enumerate(self._blocks)}

    @cached_property
    def _index(self) -> dict[str, dict[tuple[Any, ...], int]]:
        return {name: {choice_key(v): k for k, v in enumerate(values)} for name, values in self._values.items()}


def _close(a: float, b: float) -> bool:
    try:
        return math.isclose(a, b)
    except OverflowError:  # an integer beyond all floats
        return False


def lattice(axes: Mapping[str, tuple[Any, ...]], conditions: Mapping[str, str]) -> Space:
    """The axes as a space of choices, with the conditions that read axes only (others cannot be judged here)."""
    kept = {n: c for n, c in conditions.items() if n in axes and Condition(c).names <= set(axes)}
    return Space({name: CategoricalDistribution(values) for name, values in axes.items()}, kept)


def count(space: Space, sizes: Mapping[str, int]) -> int:
    """How many different cells there are when each axis of ``space`` has its first ``sizes[name]`` values.

    Raises:
        InvalidValueError: the controlling axes alone have more than a million combinations.
    """
    if not space.conditions:
        return math.prod(sizes.values())
    values = {name: _choices(space, name) for name in space}
    total = 0
    for digits in _combinations(space, sizes):
        params = {name: values[name][k] for name, k in digits.items()}
        total += math.prod(sizes[name] for name in _free(space, params))
    return total


def _choices(lattice: Space, name: str) -> tuple[Any, ...]:
    distribution = lattice[name]
    assert isinstance(distribution, CategoricalDistribution)
    return distribution.choices


@lru_cache(maxsize=64)
def _controlling(lattice: Space) -> frozenset[str]:
    """The axes that conditions read."""
    return frozenset().union(*(Condition(text).names for text in lattice.conditions.values()))


def _free(lattice: Space, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The axes that span a block: active, and read by no condition."""
    controlling = _controlling(lattice)
    return tuple(name for name in lattice if name not in controlling and lattice.holds(name, params))


def _combinations(lattice: Space, sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Every combination of the controlling axes that are active in it, as digits; the last one varies fastest."""
    controlling = _controlling(lattice)
    names = [name for name in lattice.ordered if name in controlling]
    if math.prod(sizes[name] for name in names) > 1_000_000:
        raise InvalidValueError(
            f"The parameters {names}, which conditions read, have more than a million combinations; "
            "give them fewer points."
        )

    def walk(k: int, digits: dict[str, int], params: dict[str, Any]) -> Iterator[dict[str, int]]:
        if k == len(names):
            yield digits
        elif not lattice.holds(names[k], params):
            yield from walk(k + 1, digits, params)
        else:
            for digit, value in enumerate(_choices(lattice, names[k])[: sizes[names[k]]]):
                yield from walk(k + 1, {**digits, names[k]: digit}, {**params, names[k]: value})

    return walk(0, {}, {})
