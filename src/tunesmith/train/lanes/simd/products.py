"""Products of matrices whose elements are lines: nearly all time is spent here.

Convolutions, their gradients and linear layers are all of the form ``C[i, j] += sum_k A[i, k] * B[k, j]``, lane by
lane. A *tile* of C stays in registers while k runs: with 4 x 6 or 5 x 5 elements, 10 loads serve 24 or 25
multiplications, so that the arithmetic is what takes the time (16 registers, as AVX2 has them, hold 12 elements).

Where ``A[i, k]`` and ``B[k, j]`` lie is said by strides along i and j and by tables of offsets along k, which is all
that distinguishes a convolution from a product of matrices. Each element is summed in the order of k, whatever the
tile, so the number of lanes does not change a bit.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from tunesmith.train.lanes.simd.compiling import intrinsic
from tunesmith.train.lanes.simd.vectors import emit_call, emit_load, emit_store, width_of

#: Shapes of C that fit into the registers, for each number of lanes; the one that gives fewer tiles is used.
TILES = {16: ((4, 6), (5, 5)), 8: ((3, 4), (2, 6))}
#: How C begins.
FROM_ZERO, FROM_C, FROM_BIAS = 0, 1, 2

_I64 = ir.IntType(64)


@intrinsic
def _shapes(typing_context, w):  # type: ignore[no-untyped-def]
    """Rows and columns of the two shapes."""
    sides = [side for shape in TILES[width_of(w)] for side in shape]
    result = types.UniTuple(types.int64, 4)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return context.make_tuple(b, result, [_I64(side) for side in sides])

    return result(w), codegen


@intrinsic
def line_bytes(typing_context, w):  # type: ignore[no-untyped-def]
    """The size of a line."""
    size = 4 * width_of(w)
    return types.int64(w), lambda context, b, sig, args: _I64(size)


@intrinsic
def _tile(  # type: ignore[no-untyped-def]
    typing_context, rows, columns, k, a, a_row, a_table, b_, b_column, b_table, c, c_row, c_column, begin, bias, w
):
    """One tile; see :func:`product`. Every size up to the largest is a block of instructions of its own."""
    width = width_of(w)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        rows, columns = args[0], args[1]
        sizes = {(i + 1, j + 1) for shape in TILES[width] for i in range(shape[0]) for j in range(shape[1])}
        end = b.append_basic_block("tile.end")
        switch = b.switch(b.add(b.mul(rows, _I64(16)), columns), end)
        for i, j in sorted(sizes):
            block = b.append_basic_block(f"tile.{i}x{j}")
            switch.add_case(_I64(16 * i + j), block)
            b.position_at_end(block)
            _emit_tile(b, i, j, args, width)
            b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 14, w), codegen


def _emit_tile(b: ir.IRBuilder, rows: int, columns: int, args: Any, width: int) -> None:
    _, _, k, a, a_row, a_table, b_, b_column, b_table, c, c_row, c_column, begin, bias, _ = args
    line = _I64(4 * width)
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    at = {(i, j): _moved(b, _moved(b, c, c_row, i), c_column, j) for i, j in cells}
    before = b.block
    blocks = {name: b.append_basic_block(f"tile.{name}") for name in ("c", "bias", "loop", "end")}
    zero = ir.Constant(ir.VectorType(ir.FloatType(), width), [0.0] * width)
    starts: list[tuple[Any, dict[Any, ir.Value]]] = [(before, dict.fromkeys(cells, zero))]
    begins = b.switch(begin, blocks["loop"])
    begins.add_case(_I64(FROM_C), blocks["c"])
    begins.add_case(_I64(FROM_BIAS), blocks["bias"])
    b.position_at_end(blocks["c"])
    starts.append((blocks["c"], {cell: emit_load(b, at[cell], width) for cell in cells}))
    b.branch(blocks["loop"])
    b.position_at_end(blocks["bias"])
    biases = [emit_load(b, _moved(b, bias, line, i), width) for i in range(rows)]
    starts.append((blocks["bias"], {(i, j): biases[i] for i, j in cells}))
    b.branch(blocks["loop"])

    b.position_at_end(blocks["loop"])
    step = b.phi(_I64)
    sums = {cell: b.phi(zero.type) for cell in cells}
    for block, values in starts:
        step.add_incoming(_I64(0), block)
        for cell in cells:
            sums[cell].add_incoming(values[cell], block)
    a_at, b_at = (b.add(base, _entry(b, table, step)) for base, table in ((a, a_table), (b_, b_table)))
    left = [emit_load(b, _moved(b, a_at, a_row, i), width) for i in range(rows)]
    for j in range(columns):
        right = emit_load(b, _moved(b, b_at, b_column, j), width)
        for i in range(rows):
            following = emit_call(b, "fma", left[i], right, sums[i, j])
            sums[i, j].add_incoming(following, blocks["loop"])
            sums[i, j] = following
    next_step = b.add(step, _I64(1))
    step.add_incoming(next_step, blocks["loop"])
    b.cbranch(b.icmp_signed("<", next_step, k), blocks["loop"], blocks["end"])
    b.position_at_end(blocks["end"])
    for cell in cells:
        emit_store(b, sums[cell], at[cell])


def _moved(b: ir.IRBuilder, address: ir.Value, stride: ir.Value, n: int) -> ir.Value:
    return address if n == 0 else b.add(address, b.mul(stride, _I64(n)))


def _entry(b: ir.IRBuilder, table: ir.Value, k: ir.Value) -> ir.Value:
    return b.load(b.inttoptr(b.add(table, b.shl(k, _I64(3))), _I64.as_pointer()))


def product(  # type: ignore[no-untyped-def]
    m, n, k, a, a_row, a_table, b, b_column, b_table, c, c_row, c_column, begin, bias, w
):
    """``C[i, j] = start + sum_k A[i, k] * B[k, j]`` for i < m, j < n. It is called by its address.

    Args:
        m, n, k: sizes; with k = 0 nothing is written.
        a, b, c: addresses of the first elements.
        a_row: bytes from row to row of A; likewise ``b_column``, ``c_row``, ``c_column``.
        a_table: address of the table of A's offsets along k (bytes, int64); likewise ``b_table``.
        begin: FROM_ZERO, FROM_C (add to what is there), or FROM_BIAS (each row i starts with line i of ``bias``).
        bias: address.
        w: token of the width.
    """
    if k < 1:
        return
    line = line_bytes(w)
    rows, columns, other_rows, other_columns = _shapes(w)
    bands, stripes = -(-m // rows), -(-n // columns)
    other_bands, other_stripes = -(-m // other_rows), -(-n // other_columns)
    if other_bands * other_stripes < bands * stripes:
        bands, stripes = other_bands, other_stripes
    # tiles of nearly equal size, no thin ones at the edges: the first ones are larger by one
    height, higher = m // bands, m % bands
    breadth, broader = n // stripes, n % stripes
    for p in range(bands):
        i = p * height + min(p, higher)
        i_end = i + height + (p < higher)
        for q in range(stripes):
            j = q * breadth + min(q, broader)
            _tile(
                i_end - i, breadth + (q < broader), k, a + i * a_row, a_row, a_table, b + j * b_column, b_column,
                b_table, c + i * c_row + j * c_column, c_row, c_column, begin, bias + i * line, w,
            )  # fmt: skip
