"""Exhaustive search: every configuration of a countable space, each once, in a random order.

The conditional spaces that an objective spans while it runs are searched as trees, as Optuna's sampler of this name
does (Akiba, T. et al. 2019: Optuna: a next-generation hyperparameter optimization framework. KDD, 2623-2631).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.permutation import permute
from tunesmith.samplers._axes import axis, n_values
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._brute_force_tree import Tree, check_countable
from tunesmith.samplers._cells import MAX_CELLS, Cells, count, lattice
from tunesmith.space import Space

_CELL, _SPACE = "brute.cell", "brute.s"
#: How many cells ahead are looked at together.
_AHEAD = 64
#: Cells that are looked at for one that has the values a user gave.
_LOOKED_AT = 2**14


@dataclass(frozen=True)
class BruteForceSampler(BaseSampler):
    """Every configuration once, then nothing more: ``optimize`` ends, ``ask`` raises ``SearchSpaceExhaustedError``.

    Unlike a grid, whose axes are cut, this is the space itself, so all parameters must be countable: choices, integers,
    floats with a ``step``.

    *A declared space*, or one in which every trial so far had all parameters, is a lattice of cells. Configurations
    that differ in inactive parameters only are one cell. The study's seed decides the order, and nothing is drawn.

    *A space that an objective spans while it runs* (one branch has other parameters than the other) is a tree of the
    names and values seen so far. A trial walks to a branch where nobody was yet, and from there on draws its values
    evenly. What is behind a branch is known only when a trial has been there, so a parallel worker may find all known
    branches taken (see ``avoid_premature_stop``), and while all trials so far had the same names, parallel ones may
    meet in a branch without those. A range may depend on what came before it.

    A failed trial counts, like any other, with the names it came to ask for, as in Optuna; one that failed before it
    asked for anything does not (unless its cell is known). Enqueued trials and those of other methods count too.

    Args:
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
        avoid_premature_stop: what a worker does when all branches of the tree are finished but those that others are
            evaluating: ``False`` ends its search, the others go on; ``True`` joins one of them, which may repeat a
            configuration.

    Raises:
        InvalidValueError: at the first proposal: a continuous parameter, or more than ten million configurations.
    """

    #: Whether only countable spaces can be searched; others are refused with an InvalidValueError.
    countable_only: ClassVar[bool] = True
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"brute-force": {}}

    seed: int | None = None
    avoid_premature_stop: bool = False

    @property
    def finite(self) -> bool:
        """Always: the search ends when every configuration was proposed."""
        return True

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if not len(space):
            return [Proposal({})] * n
        if not _is_lattice(space, history):
            return self._walk(space, history, rng, n)
        with history.memo(("brute", space.id), lambda: _Visited(space)) as visited:
            tags = {_SPACE: int(space.id, 16)}  # 48 bits: exact as a float
            return [Proposal(visited.cells.params(k), {_CELL: k, **tags}) for k in visited.next(history, n)]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Of the next cells, the first that has the given values; if there is none near, values by chance."""
        if len(space) and _is_lattice(space, history):
            with history.memo(("brute", space.id), lambda: _Visited(space)) as visited:
                free = np.array(visited.next(history, _LOOKED_AT), np.int64)
                agreeing = free[visited.cells.agreeing(free, given)]
                if len(agreeing):
                    params = visited.cells.params(int(agreeing[0]))
                    return {name: value for name, value in params.items() if name not in given}
        row = space.decode(rng.random((1, len(space))))[0]
        return {name: value for name, value in space.to_params(row).items() if name not in given}

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        """Any value: what is asked for beyond a proposal lies in a branch where nobody was yet."""
        check_countable(name, distribution)
        return super().independent(name, distribution, history, rng)

    def _walk(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        """Paths of the tree, each to a branch of its own."""
        pending: list[Mapping[str, Any]] = [trial.params for trial in history.open]
        found: list[Proposal] = []
        with history.memo("brute.tree", Tree) as tree:
            for _ in range(n):
                avoided = pending
                if not tree.root.free(pending):
                    if not (self.avoid_premature_stop and tree.root.left):
                        break
                    avoided = []
                params = tree.root.draw(avoided, rng)
                pending.append(params)
                found.append(Proposal(_fitting(space, params)))
        return found


def _fitting(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The path up to the first choice that the latest range does not have, which a proposal cannot hold."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if name not in space or (space[name].kind == "categorical" and not space[name].contains(value)):
            break
        found[name] = value
    return found


@lru_cache(maxsize=8)
def _cells(space: Space) -> Cells:
    """A cache of a pure function: clearing it changes nothing."""
    for name, distribution in space.items():
        check_countable(name, distribution)
    sizes = {name: int(n_values(d)) for name, d in space.items()}
    many = max(sizes.values()) > MAX_CELLS
    axes = {} if many else {name: axis(d, sizes[name]) for name, d in space.items()}
    if many or (total := count(lattice(axes, space.conditions), sizes)) > MAX_CELLS:
        how_many = f"{max(sizes.values()):,} values of one parameter" if many else f"{total:,} configurations"
        raise InvalidValueError(
            f"The space has {how_many}, more than {MAX_CELLS:,}; no study tries all of them. Give parameters fewer "
            "values, or take another sampler."
        )
    return Cells(lattice(axes, space.conditions))


def _is_lattice(space: Space, history: History) -> bool:
    """Whether every name of the space is asked for in every trial, in this range, but for its conditions, as far as is
    known.

    What is known: the trials that were proposed as cells of this space; if there are none, all trials. A name or range
    that is not the latest one of the history tells that the space was declared.
    """
    if space.conditions or any(history.distributions.get(name) != d for name, d in space.items()):
        return True
    own = int(space.id, 16)
    with history.memo(("brute.names", space.id), lambda: _Names(space)) as names:
        if names.proposed or any(trial.tags.get(_SPACE) == own for trial in history.open):
            return names.proposed_whole
        return names.whole


class _Names:
    """Memo: whether trials had all names of a space; one that failed before it asked for anything tells nothing.

    Attributes:
        whole: all of them.
        proposed: whether there are some that were proposed as cells of the space.
        proposed_whole: all of those.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.n = space, 0
        self.whole = self.proposed_whole = True
        self.proposed = False

    def extend(self, history: History) -> None:
        own = history.tag(_SPACE)[self.n :] == int(self.space.id, 16)
        for row, proposed in enumerate(own.tolist(), start=self.n):
            asked = history.asked(row)
            lacking = bool(asked) and any(asked.get(name) != d for name, d in self.space.items())
            self.whole = self.whole and not lacking
            self.proposed_whole = self.proposed_whole and not (lacking and proposed)
        self.proposed = self.proposed or bool(own.any())
        self.n = history.n


class _Visited:
    """Memo: which cells of a space the finished trials have.

    Attributes:
        cells: all of them.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.n, self.cells = space, 0, _cells(space)
        self._used: set[int] = set()
        self._first = 0  # all before it, in the order of the visits, are used

    def extend(self, history: History) -> None:
        own = history.tag(_SPACE)[self.n :] == int(self.space.id, 16)
        self._used.update(history.tag(_CELL)[self.n :][own].astype(np.int64).tolist())
        for row in history.raw(self.space, self.n)[~own]:
            cell = self.cells.find(self.space.to_params(row))
            if cell is not None:
                self._used.add(cell)
        self.n = history.n

    def next(self, history: History, n: int) -> list[int]:
        """The next ``n`` cells that neither a finished trial nor an open one has; fewer at the end."""
        taken = {cell for cell in map(self._cell, history.open) if cell is not None}
        found: list[int] = []
        at, length = self._first, self.cells.n
        while len(found) < n and at < length:
            ahead = permute(np.arange(at, min(at + _AHEAD, length)), length, history.seed).tolist()
            for k, cell in enumerate(ahead, start=at):
                if cell in self._used:
                    self._first += self._first == k
                elif cell not in taken and len(found) < n:
                    found.append(cell)
            at += len(ahead)
        return found

    def _cell(self, trial: OpenRow) -> int | None:
        if trial.tags.get(_SPACE) == int(self.space.id, 16):
            return int(trial.tags[_CELL])
        return self.cells.find(trial.params)
