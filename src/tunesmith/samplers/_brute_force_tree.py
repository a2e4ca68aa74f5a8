"""What an objective asks for, as far as its trials have shown it: a tree of parameters and their values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.samplers._axes import n_values

#: What a trial asked for: name -> its parameter, and the value it got.
Asked = Mapping[str, tuple[BaseDistribution, Any]]
#: Up to here the places that are left are listed; beyond, drawn until one of them comes.
_LISTED = 10_000


def check_countable(name: str, distribution: BaseDistribution) -> None:
    """An error with the remedy for a continuum."""
    if n_values(distribution) == math.inf:
        raise InvalidValueError(
            f"BruteForceSampler cannot try every value of {name!r}, which is a continuum: {distribution!r}. Give it a "
            "`step`, cut the space with GridSampler.from_space(space, points), or take another sampler."
        )


def place(distribution: BaseDistribution, value: Any) -> int | None:
    """The place of a value among the countably many of a parameter, from 0; ``None`` if it is none of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution._find(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not distribution.contains(value):
        return None
    if isinstance(distribution, IntDistribution):
        return (int(value) - distribution.low) // distribution.step
    assert isinstance(distribution, FloatDistribution)
    return 0 if distribution.step is None else round((value - distribution.low) / distribution.step)


def value_at(distribution: BaseDistribution, k: int) -> Any:
    """Inverse of :func:`place`."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[k]
    if isinstance(distribution, IntDistribution):
        return distribution.low + k * distribution.step
    assert isinstance(distribution, FloatDistribution)
    step = 0.0 if distribution.step is None else distribution.step
    return min(distribution.low + k * step, distribution.high)


class Node:
    """What is asked for after some values are given.

    An objective is a program: after the same values it asks for the same name. So among the trials that came here and
    went on there is a name that all of them have, and it does not matter which of several such names is put first. A
    value that no trial had is a branch of unknown depth; it counts as one configuration.

    Args:
        rows: of the trials that came here, what they asked for besides the names on the way.
        order: names, those to be put first before others.

    Attributes:
        name: the parameter; ``None`` at an end.
        distribution: what is asked of it here (by the latest trial, should they differ).
        size: how many values that has.
        children: place -> what comes after that value, for those that were tried.
        left: number of branches below that no trial has been to.
    """

    __slots__ = ("_rows", "_shared", "children", "distribution", "left", "name", "size")

    def __init__(self, rows: list[Asked], order: Sequence[str]) -> None:
        self._rows = [row for row in rows if row]
        self._grow(order)

    def _grow(self, order: Sequence[str]) -> None:
        """Build everything below from the rows."""
        self.children: dict[int, Node] = {}
        self.name: str | None = None
        self.distribution: BaseDistribution | None = None
        self.size = self.left = 0
        self._shared = True
        if not self._rows:
            return
        latest = self._rows[-1]
        common = [name for name in latest if all(name in row for row in self._rows)]
        self._shared = bool(common)  # else the objective is not the one it was: the latest trial knows best
        self.name = min(common or latest, key=order.index)
        self.distribution = latest[self.name][0]
        check_countable(self.name, self.distribution)
        self.size = int(n_values(self.distribution))
        groups: dict[int, list[Asked]] = {}
        for row in self._rows:
            if self.name in row and (k := place(self.distribution, row[self.name][1])) is not None:
                groups.setdefault(k, []).append(_without(row, self.name))
        self.children = {k: Node(group, order) for k, group in groups.items()}
        self.left = self.size - len(self.children) + sum(child.left for child in self.children.values())

    def add(self, row: Asked, order: Sequence[str]) -> None:
        """One more trial; the tree is then what it would be, had it been made from all of them."""
        if not row:
            return
        self._rows.append(row)
        if self.name is None or self.name not in row or not self._shared or row[self.name][0] != self.distribution:
            self._grow(order)
            return
        k = place(self.distribution, row[self.name][1])
        if k is None:
            return
        rest = _without(row, self.name)
        if k in self.children:
            self.left -= self.children[k].left
            self.children[k].add(rest, order)
        else:
            self.left -= 1
            self.children[k] = Node([rest], order)
        self.left += self.children[k].left

    def free(self, pending: Iterable[Mapping[str, Any]]) -> int:
        """How many of the branches below neither a trial nor a pending configuration has been to."""
        left = self.left
        for k, group in self._groups(pending).items():
            child = self.children.get(k)
            left -= 1 if child is None else child.left - child.free(group)
        return left

    def _groups(self, pending: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
        """The pending configurations by the place of their value here."""
        groups: dict[int, list[Mapping[str, Any]]] = {}
        for params in pending:
            if self.distribution is not None and self.name is not None and self.name in params:
                k = place(self.distribution, params[self.name])
                if k is not None:
                    groups.setdefault(k, []).append(params)
        return groups

    def draw(self, pending: Iterable[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
        """The values on the way to a branch that is free (there must be one).

        A value is drawn half by how many free branches are known behind it, half evenly among those that have any, so
        that a branch of which little is known yet is not left to the end.
        """
        assert self.name is not None
        assert self.distribution is not None
        groups = self._groups(pending)
        known = {k: self.children[k].free(groups.get(k, ())) for k in sorted(self.children)}
        known = {k: free for k, free in known.items() if free}
        closed = self.children.keys() | groups.keys()
        fresh = self.size - len(closed)
        behind = np.array([*known.values(), fresh], float)
        evenly = np.array([*(1 for _ in known), fresh], float)
        weights = behind / behind.sum() + evenly / evenly.sum()
        at = int(rng.choice(len(weights), p=weights / weights.sum()))
        if at == len(known):
            return {self.name: value_at(self.distribution, _other(self.size, closed, rng))}
        k = list(known)[at]
        return {self.name: value_at(self.distribution, k), **self.children[k].draw(groups.get(k, ()), rng)}


def _other(size: int, closed: Set[int], rng: np.random.Generator) -> int:
    """One of ``0 .. size - 1`` that is not closed (there must be one)."""
    if size <= _LISTED:
        return int(rng.choice(np.setdiff1d(np.arange(size), list(closed))))
    while True:  # a study closes few of so many
        k = int(rng.random() * size)
        if k not in closed:
            return k


def _without(row: Asked, name: str) -> Asked:
    return {other: asked for other, asked in row.items() if other != name}


class Tree:
    """Memo: the tree of the finished trials."""

    def __init__(self) -> None:
        self.n = 0
        self.root = Node([], ())

    def extend(self, history: History) -> None:
        for row in asked(history, self.n):
            self.root.add(row, history.names)
        self.n = history.n


def asked(history: History, first: int) -> Iterator[Asked]:
    """What the finished trials from row ``first`` on asked for."""
    for row, values in enumerate(history.X[first:].tolist(), start=first):
        distributions = history.asked(row)
        found: dict[str, tuple[BaseDistribution, Any]] = {}
        for name, value in zip(history.names, values, strict=True):
            if name in distributions:
                distribution, table = distributions[name], history.categories.get(name)
                found[name] = distribution, distribution.to_external_repr(value) if table is None else table[int(value)]
        yield found
