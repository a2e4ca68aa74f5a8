"""Grid search: every combination of a few values of each parameter, in a random order."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith import logging
from tunesmith.distributions import BaseDistribution, choice_from_json, choice_key, choice_to_json
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.numerics.permutation import permute
from tunesmith.samplers._axes import POINTS, Axes, axis, check_points, cut, levels_within
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._cells import MAX_CELLS, Cells, count, lattice
from tunesmith.samplers._unused import first_unused
from tunesmith.space import Space

_logger = logging.get_logger(__name__)
_CELL, _GRID = "grid.cell", "grid.id"


@dataclass(frozen=True)
class GridSampler(BaseSampler):
    """Every cell of a grid once, then nothing more: ``optimize`` ends, ``ask`` raises ``SearchSpaceExhaustedError``.

    Three ways to a grid: the values themselves (``GridSampler({"lr": [0.1, 0.01], "layers": [1, 2, 3]})``), a space
    whose axes are cut (:meth:`from_space`), or a space and a budget (:meth:`within`). Without any of them
    (``sampler="grid"``) the study's space is cut: to its ``budget`` if the study has one, else at ``points`` values
    an axis. In a define-by-run study, whose first trial must show the names, that trial is drawn at random and the
    grid starts after it; an objective that names a new parameter later has changed the space, and gets a new grid.

    A cell counts as visited when a finished trial (a failed one too, as in Optuna), a pending one, or an interrupted
    one that waits to be run again has it, which their tag ``grid.cell`` tells. A trial that came another way
    (enqueued, added, of another grid) counts as the cell whose values it has.

    With conditions, configurations that differ in inactive parameters only are one cell.

    Args:
        search_space: name -> values, each None, bool, int, float, str or a sequence of these. Values may lie outside
            the objective's range: they are used, with a warning.
        seed: becomes the study's seed, which also shuffles the cells; ``None`` takes a fresh one (which the log keeps).
        shuffle: visit the cells in an order that the study's seed decides, as Optuna does, so that a search stopped
            half way has seen all of the grid's regions; ``False`` goes through them like nested loops, in the order
            given, the last axis fastest (axes that conditions read are the outer loops).
        points: without ``search_space``: how many values an axis gets, or name -> number. Default 5: the ends, the
            middle and the quarters.
        conditions: name -> expression, as in :class:`~tunesmith.space.Space`; those of a declared space are known
            anyway.

    Raises:
        InvalidValueError: an empty axis, no axis, more than ten million cells. InvalidTypeError: unsupported values.
    """

    search_space: Mapping[str, Sequence[Any]] | None = None
    seed: int | None = None
    shuffle: bool = field(default=True, kw_only=True)
    points: int | Mapping[str, int] | None = field(default=None, kw_only=True)
    conditions: Mapping[str, str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.search_space is None:
            if self.points is not None:  # names are judged when the space is known
                for number in self.points.values() if isinstance(self.points, Mapping) else [self.points]:
                    check_points(number)
            return
        if self.points is not None:
            raise InvalidValueError(f"Give `search_space` or `points` ({self.points!r}), not both.")
        object.__setattr__(self, "search_space", _checked(self.search_space))
        _cells(self._own)  # too many cells? say so at once

    @classmethod
    def from_space(cls, space: Space | Mapping[str, BaseDistribution], points: int | Mapping[str, int] = POINTS,
                   seed: int | None = None, *, shuffle: bool = True) -> GridSampler:  # fmt: skip
        """Cut a space: choices whole, every other axis at ``points`` values, spread evenly on its own scale, ends
        included.

        Args:
            space: what is searched.
            points: for all axes, or name -> points (5 for those left out). An axis with fewer values has all of them; a
                single point is the middle of the range; a choice is cut (to its first ones) only when it is named.
            seed, shuffle: as for the class.
        """
        space = space if isinstance(space, Space) else Space(space)
        return cls(cut(space, points), seed, shuffle=shuffle, conditions=space.conditions or None)

    @classmethod
    def within(cls, space: Space | Mapping[str, BaseDistribution], budget: int, seed: int | None = None, *,
               shuffle: bool = True) -> GridSampler:  # fmt: skip
        """The even grid with as many cells as a budget can pay for.

        Choices keep all their values (as long as these alone fit). The other axes get as even numbers of levels as the
        budget allows, earlier ones more; an axis for which nothing is left stays at its middle. 25 trials make 5 x 5,
        4 x 3 x 2, or 3 x 2 x 2 x 2 (x 1).

        Args:
            space: what is searched.
            budget: most cells.
            seed, shuffle: as for the class.
        """
        space = space if isinstance(space, Space) else Space(space)
        if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)):
            raise InvalidTypeError(f"`budget` must be a positive integer, but is {budget!r}.")
        if not 1 <= budget <= MAX_CELLS:
            raise InvalidValueError(f"`budget` must be between 1 and {MAX_CELLS:,} cells, but is {budget}.")
        return cls(_axes_within(space, int(budget)), seed, shuffle=shuffle, conditions=space.conditions or None)

    @cached_property
    def _own(self) -> Space:
        """The axes of ``search_space`` as a space of choices."""
        assert self.search_space is not None
        return lattice({n: tuple(v) for n, v in self.search_space.items()}, self.conditions or {})

    @property
    def finite(self) -> bool:
        """Always: a grid ends when every cell was proposed."""
        return True

    @property
    def deterministic(self) -> bool:
        """Whether the seed has no influence on what is proposed for a declared space."""
        return not self.shuffle

    @property
    def n_cells(self) -> int:
        """How many different configurations the grid has.

        Raises:
            InvalidValueError: the sampler cuts the study's space, so the number is known only there.
        """
        if self.search_space is None:
            raise InvalidValueError(
                "This grid is cut from the study's space; ask GridSampler.from_space(space, points).n_cells instead."
            )
        return _cells(self._own).n

    def __len__(self) -> int:
        return self.n_cells

    def __bool__(self) -> bool:
        return True

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        cells = self._grid(space, history)
        if cells is None:
            return [Proposal({})] * n
        self._warn_outside(space)
        used = self._used(cells, history)
        if not len(used):
            _logger.info("The grid has %s cells: %s.", f"{cells.n:,}", _layout(cells))
        found = _next_free(cells.n, used, n, history.seed if self.shuffle else None)
        return [Proposal(_typed(space, cells.params(cell)), {_CELL: cell, _GRID: cells.id}) for cell in found]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """The first free cell that has the given values; if there is none, values of the axes by chance.

        Names that are no axes stay open.
        """
        cells = self._grid(space, history)
        if cells is None:
            return {}
        if cells.n <= _SMALL:
            free = _next_free(cells.n, self._used(cells, history), cells.n, history.seed if self.shuffle else None)
            agreeing = np.flatnonzero(cells.agreeing(np.array(free, np.int64), given))
            if len(agreeing):
                params = _typed(space, cells.params(free[agreeing[0]]))
                return {n: v for n, v in params.items() if n not in given}
        axes = {name: cells.axis(name) for name in cells.lattice.ordered if name not in given}
        return _typed(space, {name: values[int(rng.integers(len(values)))] for name, values in axes.items()})

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        """For a partly enqueued configuration: a random one of the axis's values; a name off the grid is an error."""
        if self.search_space is None:
            return super().independent(name, distribution, history, rng)
        if name not in self.search_space:
            raise InvalidValueError(
                f"The parameter {name!r} is not found in the given grid {sorted(self.search_space)}; add its axis."
            )
        values = self.search_space[name]
        return values[int(rng.integers(len(values)))]

    def spec(self) -> dict[str, Any]:
        fields = super().spec()
        if self.search_space is not None:
            args = {"seed": self.seed, "shuffle": self.shuffle, "conditions": self.conditions}
            axes = {name: [choice_to_json(v) for v in values] for name, values in self.search_space.items()}
            fields["args"] = {"search_space": axes, **args}
        return fields

    # -- the grid, and what of it is used -----------------------------------------------------------------------

    def _grid(self, space: Space, history: History) -> Cells | None:
        if self.search_space is not None:
            return _cells(_conditioned(self._own, space))
        if not len(space):
            return None
        if self.points is None and history.budget:
            return _cells(_cut_within(space, min(history.budget, MAX_CELLS)))
        points = POINTS if self.points is None else self.points
        return _cells(_cut(space, tuple(sorted(points.items())) if isinstance(points, Mapping) else points))

    def _warn_outside(self, space: Space) -> None:
        """The same text each time, so that Python shows it once."""
        for name, values in (self.search_space or {}).items():
            if outside := [v for v in values if name in space and not _fits(space[name], v)]:
                warnings.warn(
                    f"The grid's values {outside} of {name!r} are outside {space[name]!r}; they are used.", stacklevel=2
                )

    def _used(self, cells: Cells, history: History) -> NDArray[np.int64]:
        """The cells that are visited or pending."""
        of, cell = history.tag(_GRID), history.tag(_CELL)
        ours = of == cells.id
        configurations = [_row(history, row) for row in np.flatnonzero(~ours).tolist()]
        pending: list[int] = []
        for trial in history.open:
            if trial.tags.get(_GRID) == cells.id:
                pending.append(int(trial.tags[_CELL]))
            else:
                configurations.append(dict(trial.params))
        pending += [k for k in map(cells.find, configurations) if k is not None]
        return np.concatenate([cell[ours].astype(np.int64), np.array(pending, np.int64)])


def _fits(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution.contains(value)
    except (TypeError, ValueError):
        return False


def _typed(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    """An axis of 1, 2, 3 gives floats to a float parameter, and one of 1.0, 2.0 integers to an integer one."""
    for name, value in params.items():
        kind = space[name].kind if name in space else "categorical"
        if kind != "categorical" and isinstance(value, (int, float)):
            params[name] = float(value) if kind == "float" else int(value)
    return params


def _row(history: History, row: int) -> dict[str, Any]:
    """The configuration of a finished trial."""
    params: dict[str, Any] = {}
    for name, value in zip(history.names, history.X[row].tolist(), strict=True):
        if value == value:
            table = history.categories.get(name)
            params[name] = (
                table[int(value)] if table is not None else history.distributions[name].to_external_repr(value)
            )
    return params


def _next_free(n_cells: int, used: NDArray[np.int64], n: int, seed: int | None) -> list[int]:
    """The next ``n`` cells that are not used, in the order of ``seed`` or by number; fewer at the end."""
    if seed is None:
        free = first_unused(used, n)
        return free[free < n_cells].tolist()
    if n_cells <= _SMALL:
        order, place = _shuffled(n_cells, seed)
        free = first_unused(place[used], n)
        return order[free[free < n_cells]].tolist()
    ahead = permute(np.arange(min(n_cells, len(used) + n)), n_cells, seed)  # no array of all cells
    return ahead[np.isin(ahead, used, invert=True)][:n].tolist()


#: Up to here the order of all cells is written out, which is faster and changes nothing.
_SMALL = 2**17


@lru_cache(maxsize=4)
def _shuffled(n_cells: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells in the order of their visits, and the place of each cell in it."""
    order = permute(np.arange(n_cells), n_cells, seed)
    return order, np.argsort(order)


def _layout(cells: Cells) -> str:
    return ", ".join(f"{name} {len(d.choices)}" for name, d in cells.lattice.items())  # type: ignore[attr-defined]


# Caches of pure functions: clearing them changes nothing.


@lru_cache(maxsize=16)
def _cells(space: Space) -> Cells:
    return Cells(space)


@lru_cache(maxsize=16)
def _conditioned(own: Space, space: Space) -> Space:
    """The given axes under the conditions of the study's space as well."""
    if not space.conditions:
        return own
    axes = {name: d.choices for name, d in own.items()}  # type: ignore[attr-defined]
    return lattice(axes, {**space.conditions, **own.conditions})


@lru_cache(maxsize=16)
def _cut(space: Space, points: int | tuple[tuple[str, int], ...]) -> Space:
    return lattice(cut(space, dict(points) if isinstance(points, tuple) else points), space.conditions)


@lru_cache(maxsize=16)
def _cut_within(space: Space, budget: int) -> Space:
    return lattice(_axes_within(space, budget), space.conditions)


def _axes_within(space: Space, budget: int) -> Axes:
    def cells(levels: Mapping[str, int]) -> int:
        sizes = dict(levels)
        return count(lattice({n: axis(space[n], k) for n, k in sizes.items()}, space.conditions), sizes)

    levels = levels_within(space, budget, cells)
    axes = {name: axis(space[name], n) for name, n in levels.items()}
    short = [name for name, d in space.items() if d.kind == "categorical" and levels[name] < len(d.choices)]  # type: ignore[attr-defined]
    if short:
        _logger.warning(
            "The choices of this space alone make more cells than the budget of %d: the grid leaves some of %s out.",
            budget,
            short,
        )
    return axes


def _checked(search_space: Any) -> dict[str, tuple[Any, ...]]:
    """The axes in their final form: plain values, each once, lists as tuples."""
    if not isinstance(search_space, Mapping):
        raise InvalidTypeError(f"`search_space` must be a mapping name -> values, but is {search_space!r}.")
    if not search_space:
        raise InvalidValueError("`search_space` is empty; name at least one parameter and its values.")
    axes: dict[str, tuple[Any, ...]] = {}
    for name, values in search_space.items():
        if not isinstance(name, str) or not name:
            raise InvalidTypeError(f"A parameter name must be a non-empty string, but is {name!r}.")
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            raise InvalidTypeError(f"The axis {name!r} must be a sequence of values, but is {values!r}.")
        plain = [_plain(name, v) for v in values]
        if not plain:
            raise InvalidValueError(f"The axis {name!r} has no values; give it at least one, or leave it out.")
        once: dict[Any, Any] = {}
        for value in plain:
            once.setdefault(choice_key(value), value)
        axes[name] = tuple(once.values())
    return axes


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping) and "$float" in value:  # as it stands in a log
        return choice_from_json(dict(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(name, v) for v in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InvalidTypeError(
        f"The axis {name!r} holds {value!r} ({type(value).__name__}); a grid takes None, bool, int, float, str and "
        "sequences of these. Use a name, and look the object up in the objective."
    )
