"""How one convolution is computed: filtered or plain, how much at a time, and the tables that its products go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tunesmith.train.lanes.simd.filtering import choose
from tunesmith.train.signature import Operation

#: Lines of M that are computed before they are mapped to outputs: 256 KB with 16 lanes, a part of a second-level cache.
_M_LINES = 4096
#: Positions that a sum of the weights' gradient should run over at least; samples are taken together to reach it.
_POSITIONS = 32


@dataclass(frozen=True)
class ConvPlan:
    """The names are those of :mod:`records`, the sizes are in lines.

    Attributes:
        chunk: samples that are taken at a time.
    """

    c: int
    h: int
    w: int
    o: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int
    n: int
    m: int
    tiles: int
    rows: int
    chunk: int

    @classmethod
    def of(cls, operation: Operation, x: tuple[int, int, int], pool_rows: int = 1) -> ConvPlan:
        """The plan of an operation on inputs of shape (c, h, w).

        Args:
            operation: the convolution.
            x: shape of its input.
            pool_rows: rows of outputs that must be computed together, because a maximum after them needs them.
        """
        (o, oh, ow), (kh, kw) = operation.shape, operation["kernel"]
        (sh, sw), (ph, pw) = operation["stride"], operation["padding"]
        found = choose(kw, sw, ow)
        n, m = (1, 1) if found is None else (found.n, found.m)
        tiles = -(-ow // m)
        rows, chunk = oh, 1
        if n > 1:
            per_row = n * o * tiles
            least = min(oh, -(-_POSITIONS // tiles))
            most = max(least, _M_LINES // per_row)
            pieces = -(-oh // most)
            rows = min(oh, -(-oh // pieces // pool_rows) * pool_rows)
            if rows == oh:
                chunk = max(1, _M_LINES // (per_row * oh))
        chunk = min(8, max(chunk, -(-_POSITIONS // (oh * tiles)))) if rows == oh else 1
        return cls(*x, o, oh, ow, kh, kw, sh, sw, ph, pw, n, m, tiles, rows, chunk)

    @property
    def taps(self) -> int:
        """Columns of the kernel that the products go over."""
        return self.kw if self.n == 1 else 1

    @property
    def step(self) -> int:
        """Lines of V from one position to the next."""
        return self.sw if self.n == 1 else 1

    @property
    def v_h(self) -> int:
        """Rows of V: those of the input with its padding."""
        return self.h + 2 * self.ph

    @property
    def v_w(self) -> int:
        """Columns of V: those of the padded input, or the tiles of a row."""
        return self.w + 2 * self.pw if self.n == 1 else self.tiles

    @property
    def v_is_x(self) -> bool:
        """Whether the input can be used as it is."""
        return self.n == 1 and self.ph == 0 and self.pw == 0

    @property
    def left(self) -> int:
        """Zeros on the left of a row of N: positions before the first whose inputs are looked for."""
        return -(-self.taps // self.step) - 1

    @property
    def n_w(self) -> int:
        """A row of N: zeros on the right too, up to the last column of V."""
        return self.left + max(self.tiles, -(-self.v_w // self.step))

    @property
    def v_lines(self) -> int:
        """Lines of V, the inputs that are multiplied."""
        return self.n * self.c * self.v_h * self.v_w

    @property
    def product_lines(self) -> int:
        """Lines of the products of one pass."""
        return self.n * self.o * self.rows * self.n_w

    @property
    def u_lines(self) -> int:
        """Lines of U, the weights that are multiplied."""
        return self.n * self.o * self.c * self.kh * self.taps

    @property
    def scratch_lines(self) -> int:
        """A row of inputs with what tiles reach beyond it."""
        return (self.tiles - 1) * self.m + self.n

    @property
    def band_lines(self) -> int:
        """Some rows of outputs of one channel, with the ends of tiles beyond them."""
        return self.rows * self.tiles * self.m

    @property
    def dx_zero(self) -> bool:
        """Whether some of V belongs to no output, so that its gradient must be set to zero first."""
        covered_rows = self.sh <= self.kh and (self.oh - 1) * self.sh + self.kh == self.v_h
        return not (covered_rows and self.step <= self.taps)

    def tables(self, line: int, v_size: int, p_size: int, place: Callable[[np.ndarray], int]) -> dict[str, int]:
        """The fields of the record that have to do with tables.

        Args:
            line: bytes of a line.
            v_size, p_size: bytes of a sample in V and in the products.
            place: puts an int64 array where it stays, and returns its address.
        """
        forward = [(c * self.v_h + i) * self.v_w + j for c in range(self.c) for i, j in self._taps()]
        positions = [(s, i, j) for s in range(self.chunk) for i in range(self.rows) for j in range(self.tiles)]
        v_offsets = [s * v_size + (i * self.sh * self.v_w + j * self.step) * line for s, i, j in positions]
        n_offsets = [s * p_size + (i * self.n_w + j) * line for s, i, j in positions]
        fields = {
            "fwd_a": place(np.arange(len(forward)) * line),
            "fwd_b": place(np.array(forward) * line),
            "dw_a": place(np.array(n_offsets)),
            "dw_b": place(np.array(v_offsets)),
            "dx_zero": int(self.dx_zero),
        }
        return {**fields, **self._weight_groups(line, place), "dx_classes": self._input_classes(line, place)}

    def _taps(self) -> Iterator[tuple[int, int]]:
        return ((i, j) for i in range(self.kh) for j in range(self.taps))

    def _weight_groups(self, line: int, place: Callable[[np.ndarray], int]) -> dict[str, int]:
        """dU's columns (channel, row, column of the kernel): the longest of the three runs in a product."""
        sizes = (self.c, self.kh, self.taps)
        in_v = (self.v_h * self.v_w, self.v_w, 1)
        in_u = (self.kh * self.taps, self.taps, 1)
        run = max(range(3), key=lambda axis: (sizes[axis], -axis))
        rest = [axis for axis in range(3) if axis != run]
        groups = [(a, b) for a in range(sizes[rest[0]]) for b in range(sizes[rest[1]])]
        return {
            "dw_groups": len(groups),
            "dw_group_b": place(np.array([(a * in_v[rest[0]] + b * in_v[rest[1]]) * line for a, b in groups])),
            "dw_group_c": place(np.array([(a * in_u[rest[0]] + b * in_u[rest[1]]) * line for a, b in groups])),
            "dw_n": sizes[run],
            "dw_column_b": in_v[run] * line,
            "dw_column_c": in_u[run] * line,
        }

    def _input_classes(self, line: int, place: Callable[[np.ndarray], int]) -> int:
        """For each (row of V mod sh, column mod step): two tables over (t, column of the kernel, out), ordered by t.

        See ``_input_gradient`` in :mod:`convolution`.
        """
        entries: list[int] = []
        for r in range(self.sh):
            for column in range(self.step):
                u_offsets, n_offsets = [], []
                across = range(column, self.taps, self.step)
                for t, i in enumerate(range(r, self.kh, self.sh)):
                    for back, j in enumerate(across):
                        for o in range(self.o):
                            u_offsets.append((o * self.c * self.kh + i) * self.taps + j)
                            n_offsets.append((o * self.rows - t) * self.n_w - back)
                per_t = len(across) * self.o
                entries += [place(np.array(u_offsets) * line), place(np.array(n_offsets) * line), per_t]
        return place(np.array(entries))
