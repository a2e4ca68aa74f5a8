"""Growing NumPy columns: rows that were handed out never change, so a view of them is a snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Column:
    """A growable array of rows.

    Args:
        dtype: of the entries.
        width: entries a row, or ``None`` for one scalar a row.
        fill: value of entries not written yet.

    Growth doubles the capacity into a new array, so views taken before stay valid and unchanged.
    """

    __slots__ = ("_fill", "data", "n")

    def __init__(self, dtype: Any, width: int | None = None, fill: Any = 0) -> None:
        shape = (16,) if width is None else (16, width)
        self.data: NDArray[Any] = np.full(shape, fill, dtype)
        self.n = 0
        self._fill = fill

    @classmethod
    def of(cls, data: NDArray[Any], fill: Any = 0) -> Column:
        """A column that holds these rows."""
        column = cls(data.dtype, fill=fill)
        column.data, column.n = data, len(data)
        return column

    def copy(self) -> Column:
        """The same rows in an array of their own."""
        column = Column.of(self.data.copy(), self._fill)
        column.n = self.n
        return column

    def only(self, kept: NDArray[np.bool_]) -> Column:
        """Those rows that are marked, in an array of their own."""
        return Column.of(self.data[: self.n][kept], self._fill)

    def _resized(self, rows: int, width: int | None) -> None:
        shape = (rows,) if width is None else (rows, width)
        data = np.full(shape, self._fill, self.data.dtype)
        if width is None:
            data[: self.n] = self.data[: self.n]
        else:
            data[: self.n, : self.data.shape[1]] = self.data[: self.n]
        self.data = data

    def new_row(self) -> int:
        """Make room for one more row and return its index; the row holds the fill value."""
        row = self.n
        if row == len(self.data):
            self._resized(max(16, 2 * row), None if self.data.ndim == 1 else self.data.shape[1])
        self.n = row + 1
        return row

    def append(self, value: Any) -> None:
        """Add one row."""
        row = self.new_row()  # may replace self.data
        self.data[row] = value

    def extend(self, values: Any) -> None:
        """Add several scalar rows."""
        k = len(values)
        if self.n + k > len(self.data):
            self._resized(max(2 * len(self.data), self.n + k), None)
        self.data[self.n : self.n + k] = values
        self.n += k

    def widen(self, width: int) -> None:
        """Add columns on the right, filled with the fill value."""
        if width > self.data.shape[1]:
            self._resized(len(self.data), width)


def frozen(data: NDArray[Any], n: int) -> NDArray[Any]:
    """A read-only view of the first ``n`` rows."""
    view = data[:n]
    view.flags.writeable = False
    return view
