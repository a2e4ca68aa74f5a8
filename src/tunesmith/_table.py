"""The columns of finished trials, and where a parameter's values go. Written by the fold, row after row."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tunesmith._columns import Column
from tunesmith.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    choice_key,
    distribution_from_dict,
    distribution_to_dict,
)
from tunesmith.space import EXACT, Space

#: Columns of the integer table, in this order.
INT_COLUMNS = ("number", "state", "start", "complete", "spaces")

_DUMPED = ("X", "Y", "ints", "violation", "row", "step", "metric", "value", "time")
_BY_ROW = ("user_attrs", "system_attrs", "constraints")

#: In ``Table.where``: the trial has no row, because it is not finished, or because it was deleted.
OPEN: Final = -1
DELETED: Final = -2


class Layout:
    """Where the values of a space go: column indices, and maps from choice index to code."""

    __slots__ = ("choices", "columns", "leading", "maps", "maybe_big")

    def __init__(
        self, columns: list[int], maps: list[tuple[int, list[int]]], maybe_big: bool, choices: list[tuple[int, range]]
    ) -> None:
        self.columns = np.array(columns, np.intp)
        self.choices = choices  # (position, indices that are possible there)
        self.maps = maps
        self.maybe_big = maybe_big
        self.leading = len(columns) if columns == list(range(len(columns))) else -1


class Table:
    """Growing columns. Rows that are written change only in arrays that nobody else looks at (:meth:`copy_results`).

    Attributes:
        X: raw parameter values, one column a parameter; NaN where it was not active.
        Y: objective values.
        ints: the columns named by ``INT_COLUMNS``; ``spaces`` is an index into the attribute of that name.
        reports: row, step, metric, value and time of every report.
        violation: sum of the positive constraint values.
        tags: tag name -> column.
        names: parameter names in column order.
        distributions: name -> its latest distribution.
        categories: name -> the values its codes stand for.
        metrics: names of reported metrics; those of the objectives come first.
        vectors: names of the tags that are lists.
        spaces: the combinations of space ids that trials' values were written with.
        big: (row, column) -> an integer that float64 cannot hold exactly.
        user_attrs, system_attrs, constraints: row -> dictionary, for the rows that have any.
        where: row of each trial number, ``OPEN`` or ``DELETED``.
        deleted: rows of deleted trials; :meth:`without_deleted` leaves them out.
        shape: changes whenever ``distributions`` does.
    """

    def __init__(self) -> None:
        self.X = Column(np.float64, 4, np.nan)
        self.Y = Column(np.float64, 1, np.nan)
        self.ints = Column(np.int64, len(INT_COLUMNS))
        self.reports = (
            Column(np.int64), Column(np.int64), Column(np.int64), Column(np.float64), Column(np.int64)
        )  # fmt: skip
        self.violation = Column(np.float64)
        self.tags: dict[str, Column] = {}
        self.names: list[str] = []
        self.distributions: dict[str, BaseDistribution] = {}
        self.categories: dict[str, list[Any]] = {}
        self.metrics: list[str] = [""]
        self.vectors: set[str] = set()
        self.spaces: list[tuple[str, ...]] = [()]
        self.big: dict[tuple[int, int], int] = {}
        self.user_attrs: dict[int, dict[str, Any]] = {}
        self.system_attrs: dict[int, dict[str, Any]] = {}
        self.constraints: dict[int, dict[str, float]] = {}
        self.where: list[int] = []
        self.deleted: list[int] = []
        self.shape = 0
        self._codes: dict[str, dict[tuple[Any, ...], int]] = {}
        self._layouts: dict[str, Layout] = {}
        self._spaces_of: dict[tuple[str, ...], int] = {(): 0}
        self._latest: str | None = None
        self._objectives = 1

    def set_objectives(self, n: int) -> None:
        """Before the first row: how many values a trial has."""
        self.Y = Column(np.float64, n, np.nan)
        self._objectives = n
        self.metrics[1:] = [f"values_{i}" for i in range(1, n)]

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.ints.n

    def new_row(
        self,
        number: int,
        state: int,
        start: int,
        complete: int,
        y: list[Any] | None,
        parts: list[tuple[Space, list[Any]]],
    ) -> int:
        """Write a finished trial; return its row.

        Args:
            number, state, start, complete: as in the columns of the same names.
            y: objective values (numbers, or "nan", "inf", "-inf"), or ``None``.
            parts: spaces and their values as they stand in events; later ones override earlier ones.
        """
        row = self.ints.new_row()
        spaces = self._spaces_index(tuple([space.id for space, _ in parts]))
        self.ints.data[row] = (number, state, start, complete, spaces)
        self.Y.new_row()
        if y is not None:
            self.Y.data[row] = [float(v) for v in y]
        self.violation.new_row()
        self.X.new_row()
        for space, raw in parts:
            self._write(row, self.layout(space), raw)
        return row

    def layout(self, space: Space) -> Layout:
        """Where the values of a space go; a name that is new gets a column."""
        layout = self._layouts.get(space.id)
        if layout is None:
            columns, maps, choices, big = [], [], [], False
            for i, (name, dist) in enumerate(space.distributions.items()):
                column = self._column(name, isinstance(dist, CategoricalDistribution))
                columns.append(column)
                if isinstance(dist, CategoricalDistribution):
                    codes = [self._code(self.names[column], choice) for choice in dist.choices]
                    choices.append((i, range(len(codes))))
                    if codes != list(range(len(codes))):
                        maps.append((i, codes))
                elif dist.kind == "int" and max(abs(dist.low), abs(dist.high)) > EXACT:  # type: ignore[attr-defined]
                    big = True
            layout = self._layouts[space.id] = Layout(columns, maps, big, choices)
        return layout

    def take_up(self, space: Space) -> Layout:
        """Remember the distributions of a space as the latest ones: a trial has values of it."""
        if space.id != self._latest:
            self._latest = space.id
            self.shape += 1
            self.distributions.update(space.distributions)
        return self.layout(space)

    def _column(self, name: str, categorical: bool) -> int:
        if name in self.names and (name in self.categories) != categorical:
            name += " (categorical)" if categorical else " (number)"  # two workers disagreed; neither may be lost
        if name not in self.names:
            self.names.append(name)
            if categorical:
                self.categories[name] = []
            if len(self.names) > self.X.data.shape[1]:
                self.X.widen(max(len(self.names), self.X.data.shape[1] + self.X.data.shape[1] // 2))
        return self.names.index(name)

    def _code(self, name: str, choice: Any) -> int:
        codes = self._codes.setdefault(name, {})
        table = self.categories[name]
        key = choice_key(choice)
        if key not in codes:
            codes[key] = len(table)
            table.append(choice)
        return codes[key]

    def _spaces_index(self, ids: tuple[str, ...]) -> int:
        if ids not in self._spaces_of:
            self._spaces_of[ids] = len(self.spaces)
            self.spaces.append(ids)
        return self._spaces_of[ids]

    def _write(self, row: int, layout: Layout, raw: list[Any]) -> None:
        if layout.maps:
            raw = list(raw)
            for j, codes in layout.maps:
                raw[j] = codes[raw[j]] if raw[j] is not None else None
        if None in raw:  # not active
            raw = [np.nan if v is None else v for v in raw]
        if layout.leading >= 0:
            self.X.data[row, : layout.leading] = raw
        else:
            self.X.data[row, layout.columns] = raw
        if self.big:  # a later part overrides what an earlier one wrote
            for column in layout.columns.tolist():
                self.big.pop((row, column), None)
        if layout.maybe_big:
            for column, value in zip(layout.columns.tolist(), raw, strict=True):
                if isinstance(value, int) and abs(value) > EXACT:
                    self.big[row, column] = value

    def blank(self, row: int, space: Space, unused: set[str]) -> None:
        """Mark parameters that were proposed and not used as not active."""
        for name, column in zip(space.names, self.layout(space).columns.tolist(), strict=True):
            if name in unused:
                self.X.data[row, column] = np.nan

    def write_reports(self, row: int, reports: list[list[Any]], times: list[int]) -> None:
        """Add a finished trial's reports (``[step, value]`` or ``[step, value, metric]``) and their times."""
        rows, steps, metrics, values, when = self.reports
        rows.extend([row] * len(reports))
        steps.extend([r[0] for r in reports])
        values.extend([float(r[1]) for r in reports])
        metrics.extend([self._metric(r[2]) if len(r) > 2 else 0 for r in reports])
        when.extend(times)

    def _metric(self, name: str | int) -> int:
        """The index of an objective, or of a metric by its name."""
        if isinstance(name, int):
            if not 0 <= name < self._objectives:
                raise ValueError(f"there is no objective {name}")
            return name
        if name not in self.metrics[self._objectives :]:
            self.metrics.append(name)
        return self.metrics.index(name, self._objectives)

    def write_constraints(self, row: int, constraints: dict[str, float]) -> None:
        """Add a finished trial's constraints."""
        self.constraints[row] = constraints
        self.violation.data[row] = sum(v if v > 0 else 0.0 if v == v else np.inf for v in constraints.values())

    def copy_results(self) -> None:
        """Give the columns that edits change arrays of their own."""
        self.Y, self.ints, self.violation = (column.copy() for column in (self.Y, self.ints, self.violation))

    def write_result(self, row: int, state: int, y: list[Any] | None) -> None:
        """Change the state and the objective values of a row; see :meth:`new_row` for them.

        Raises:
            ValueError: there are more or fewer values than objectives.
        """
        if y is not None and len(y) != self._objectives:
            raise ValueError(f"{len(y)} values for {self._objectives} objectives")
        self.ints.data[row, 1] = state
        self.Y.data[row] = np.nan if y is None else [float(v) for v in y]

    def without_deleted(self) -> Table:
        """The same rows in the same order, but those of deleted trials; in arrays of their own."""
        kept = np.ones(self.n, bool)
        kept[self.deleted] = False
        place = np.where(kept, np.cumsum(kept) - 1, DELETED)
        rows = place.tolist()
        other = copy.copy(self)
        other.X, other.Y, other.ints, other.violation = (
            column.only(kept) for column in (self.X, self.Y, self.ints, self.violation)
        )
        row_of = self.reports[0].data[: self.reports[0].n]
        index, *columns = (column.only(kept[row_of]) for column in self.reports)
        index.data = place[index.data]
        other.reports = (index, *columns)  # type: ignore[assignment]
        other.tags = {name: column.only(kept[: column.n]) for name, column in self.tags.items()}
        other.big = {(rows[row], j): value for (row, j), value in self.big.items() if kept[row]}
        for name in ("user_attrs", "system_attrs", "constraints"):
            known = getattr(self, name)
            setattr(other, name, {rows[row]: entry for row, entry in known.items() if kept[row]})
        other.where = [rows[row] if row >= 0 else row for row in self.where]
        other.deleted = []
        return other

    # -- as arrays and plain values, and back -------------------------------------------------------------------

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that the table holds, as plain values and as arrays (which are shared)."""
        columns = dict(zip(_DUMPED, (self.X, self.Y, self.ints, self.violation, *self.reports), strict=True))
        columns |= {f"tag {i}": column for i, column in enumerate(self.tags.values())}
        arrays = {name: column.data[: column.n] for name, column in columns.items()}
        fields = {
            "distributions": [(name, distribution_to_dict(d)) for name, d in self.distributions.items()],
            "tags": list(self.tags), "vectors": sorted(self.vectors), "big": list(self.big.items()),
            "objectives": self._objectives, "latest": self._latest,
            **{name: getattr(self, name) for name in ("names", "categories", "metrics", "spaces", "deleted", "shape")},
            **{name: list(getattr(self, name).items()) for name in _BY_ROW},
        }  # fmt: skip
        return fields, {**arrays, "where": np.array(self.where, np.int64)}

    @classmethod
    def load(cls, fields: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Table:
        """Inverse of :meth:`dump`; takes over what it is given."""
        table = cls()
        table.set_objectives(fields["objectives"])
        fills = [np.nan, np.nan, *[0] * (len(_DUMPED) - 2)]
        columns = [Column.of(arrays[name], fill) for name, fill in zip(_DUMPED, fills, strict=True)]
        table.X, table.Y, table.ints, table.violation, *reports = columns
        table.reports = tuple(reports)  # type: ignore[assignment]
        table.tags = {name: Column.of(arrays[f"tag {i}"], np.nan) for i, name in enumerate(fields["tags"])}
        table.where = arrays["where"].tolist()
        for name in ("names", "categories", "metrics", "spaces", "deleted", "shape"):
            setattr(table, name, fields[name])
        for name in _BY_ROW:
            setattr(table, name, dict(fields[name]))
        table.vectors, table.big = set(fields["vectors"]), dict(fields["big"])
        table.distributions = {name: distribution_from_dict(given) for name, given in fields["distributions"]}
        table._latest = fields["latest"]
        table._codes = {
            name: {choice_key(choice): code for code, choice in enumerate(choices)}
            for name, choices in table.categories.items()
        }
        table._spaces_of = {ids: i for i, ids in enumerate(table.spaces)}
        return table

    # -- more about a row ---------------------------------------------------------------------------------------

    def write_tags(self, row: int, tags: dict[str, Any]) -> None:
        """Add a finished trial's tags (numbers or lists of numbers)."""
        for name, value in tags.items():
            values = value if isinstance(value, list) else [value]
            if isinstance(value, list):
                self.vectors.add(name)
            column = self.tags.get(name)
            if column is None:
                column = self.tags[name] = Column(np.float64, len(values), np.nan)
            column.widen(len(values))
            while column.n <= row:
                column.new_row()
            column.data[row, : len(values)] = [float(v) for v in values]
