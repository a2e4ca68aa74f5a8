"""The columns of finished trials, and where a parameter's values go. Written by the fold, row after row."""

from __future__ import annotations

from typing import Any

import numpy as np

from tunesmith._columns import Column
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, choice_key
from tunesmith.space import EXACT, Space

#: Columns of the integer table, in this order.
INT_COLUMNS = ("number", "state", "start", "complete", "spaces")


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
    """Growing columns; rows that are written never change.

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
        """Give every name of the space a column; remember its distribution as the latest."""
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
        if space.id != self._latest:
            self._latest = space.id
            self.shape += 1
            self.distributions.update(space.distributions)
        return layout

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
