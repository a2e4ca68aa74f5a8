"""Whether a configuration was proposed before, and one that was not: for spaces of countably many values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.samplers._axes import axis, n_values
from tunesmith.samplers._cells import Cells, lattice
from tunesmith.space import FloatArray, Space

#: Uniform draws before the untried cells are listed; enough unless almost all are tried.
_DRAWS = 512
#: More values of a parameter, or more cells, are not listed: no study tries almost all of them.
_LISTED = 200_000


class Novel:
    """Which configurations a study has: evaluated (or failed), pending, waiting, or given to :meth:`add`.

    With a continuum among the active parameters every configuration is new. Asking costs no more in a long study than
    in a short one.

    Args:
        space: what is searched.
        history: finished and open trials. They are looked at when something is first asked.
    """

    def __init__(self, space: Space, history: History) -> None:
        self.space, self._history = space, history
        self._countable = space.columns.levels > 0
        # with a continuum among the parameters something can come twice only where that one is inactive
        whole = bool(len(space)) and bool(self._countable.all())
        self.possible = whole or (bool(space.conditions) and bool(self._countable.any()))
        self._pending: set[bytes] | None = None

    def has(self, unit: FloatArray) -> bool:
        """Whether the (d,) row of the unit cube decodes to a known configuration."""
        return bool(self.known(unit[None])[0])

    def known(self, unit: FloatArray) -> NDArray[np.bool_]:
        """(m,) which of the (m, d) rows of the unit cube decode to known configurations."""
        found = np.zeros(len(unit), bool)
        if not self.possible or not len(unit):
            return found
        pending = self._open()
        with self._seen() as seen:
            for k, (key, whole) in enumerate(_keys(self._rows(unit), self._countable)):
                found[k] = whole and (key in seen.keys or key in pending)
        return found

    def add(self, unit: FloatArray) -> None:
        """The (d,) row of the unit cube is proposed in this call."""
        if self.possible:
            ((key, _),) = _keys(self._rows(unit[None]), self._countable)
            self._open().add(key)

    def new(self, unit: FloatArray, rng: np.random.Generator) -> FloatArray:
        """The first of the (m, d) rows that is new, else any new configuration, else (all are tried) the first row.

        What is returned is added.
        """
        fresh = np.flatnonzero(~self.known(unit))
        row = unit[fresh[0]] if len(fresh) else self.untried(rng)
        row = unit[0] if row is None else row
        self.add(row)
        return row

    def untried(self, rng: np.random.Generator) -> FloatArray | None:
        """(d,) a random row of the unit cube that is new; None when every configuration is tried, or too many are to
        find one that is not."""
        draws = self.space.encode(self.space.decode(rng.random((_DRAWS, len(self.space)))))
        fresh = np.flatnonzero(~self.known(draws))
        if len(fresh):
            return draws[fresh[0]]
        pending = self._open()
        with self._seen() as seen:
            left = seen.untried(pending)
            if left is None or not len(left):
                return None
            assert seen.cells is not None
            params = seen.cells.params(int(left[rng.integers(len(left))]))
        row = self.space.encode(self.space.from_params(params)[None])[0]
        return np.where(np.isnan(row), 0.5, row)  # not active there: any value

    def _rows(self, unit: FloatArray) -> FloatArray:
        """Rows of the unit cube -> raw rows, NaN where a condition does not hold."""
        raw = self.space.decode(unit)
        if not self.space.conditions:
            return raw
        return np.array([self._active(self.space.to_params(row)) for row in raw])

    def _active(self, params: dict[str, Any]) -> FloatArray:
        return self.space.from_params(self.space.active(params))

    def _open(self) -> set[bytes]:
        if self._pending is None:
            rows = [
                self._active({n: v for n, v in t.params.items() if n in self.space and self.space[n].contains(v)})
                for t in self._history.open
            ]
            self._pending = {key for key, _ in _keys(rows, self._countable)}
        return self._pending

    def _seen(self) -> Any:
        return self._history.memo(("novel", self.space.id), lambda: _Seen(self.space))


class _Seen:
    """Memo: keys of the finished configurations, and when they are needed the untried cells."""

    def __init__(self, space: Space) -> None:
        self.space, self.n = space, 0
        self._countable = space.columns.levels > 0
        self.keys: set[bytes] = set()
        self.cells: Cells | None = None
        self._free: NDArray[np.bool_] | None = None
        self._marked = 0
        self._rows: list[FloatArray] = []

    def extend(self, history: History) -> None:
        told = history.raw(self.space, self.n)
        raw = self.space.decode(self.space.encode(told))
        inside = np.all(np.isclose(raw, told) | np.isnan(told), axis=1).tolist()  # others are of another range or step
        for (key, whole), row, valid in zip(_keys(raw, self._countable), raw, inside, strict=True):
            if valid and whole and key not in self.keys:
                self.keys.add(key)
                self._rows.append(row)
        self.n = history.n

    def untried(self, pending: set[bytes]) -> NDArray[np.int64] | None:
        """Numbers of the cells that are neither tried nor pending; None if there are too many cells to list."""
        if self._free is None and not self._list_cells():
            return None
        assert self._free is not None
        for row in self._rows[self._marked :]:
            self._mark(self._free, row)
        self._marked = len(self._rows)
        free = self._free.copy()
        for key in pending:
            self._mark(free, np.frombuffer(key))
        return np.flatnonzero(free)

    def _list_cells(self) -> bool:
        sizes = [n_values(d) for d in self.space.values()]
        if max(sizes) > _LISTED:
            return False
        axes = {name: axis(d, int(n)) for (name, d), n in zip(self.space.items(), sizes, strict=True)}
        try:
            cells = Cells(lattice(axes, self.space.conditions))
        except InvalidValueError:
            return False
        if cells.n > _LISTED:
            return False
        self.cells, self._free = cells, np.ones(cells.n, bool)
        return True

    def _mark(self, free: NDArray[np.bool_], row: FloatArray) -> None:
        assert self.cells is not None
        cell = self.cells.find(self.space.to_params(row))
        if cell is not None:
            free[cell] = False


def _keys(rows: Iterable[FloatArray], countable: NDArray[np.bool_]) -> Iterable[tuple[bytes, bool]]:
    """Of raw rows: a key, the same for the same configuration, and whether all its values are countable."""
    for row in rows:
        here = ~np.isnan(row)
        yield np.where(here, row + 0.0, np.nan).tobytes(), bool(countable[here].all())
