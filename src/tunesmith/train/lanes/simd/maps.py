"""The linear maps of :mod:`filtering` on lines, each as a straight run of instructions.

Points come in pairs p, -p, so that rows (or columns) of a map come in pairs with the same numbers and some signs
changed. What they share is computed once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tunesmith.train.lanes.simd.compiling import intrinsic
from tunesmith.train.lanes.simd.filtering import DISTINCT, Map, Matrix
from tunesmith.train.lanes.simd.vectors import emit_call, emit_load, emit_store, width_of

_I64 = ir.IntType(64)


def apply_map(  # type: ignore[no-untyped-def]
    which, n, source, source_step, source_next, target, target_step, target_next, bias, w
):
    """Apply one map n times. It is called by its address.

    Args:
        which: the number of the map.
        n: how often.
        source: address of the first input line.
        source_step: bytes from one input of a map to the next.
        source_next: bytes from the inputs of one application to those of the next.
        target, target_step, target_next: the same of the outputs.
        bias: address of the line that "outputs" adds.
        w: token of the width.
    """
    _apply(which, n, source, source_step, source_next, target, target_step, target_next, bias, w)


@intrinsic
def _apply(  # type: ignore[no-untyped-def]
    typing_context, which, n, source, source_step, source_next, target, target_step, target_next, bias, w
):
    width = width_of(w)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        which, n, source, source_step, source_next, target, target_step, target_next, bias, _ = args
        end = b.append_basic_block("map.end")
        switch = b.switch(which, end)
        for k, found in enumerate(DISTINCT):
            block = b.append_basic_block(f"map.{k}")
            switch.add_case(_I64(k), block)
            b.position_at_end(block)
            with cgutils.for_range(b, n) as loop:
                at = b.add(source, b.mul(loop.index, source_next)), b.add(target, b.mul(loop.index, target_next))
                _emit_one(b, found, at, (source_step, target_step), bias, width)
            b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9, w), codegen


def _emit_one(
    b: ir.IRBuilder,
    found: Map,
    at: tuple[ir.Value, ir.Value],
    steps: tuple[ir.Value, ir.Value],
    bias: ir.Value,
    width: int,
) -> None:
    rows, columns = len(found.matrix), len(found.matrix[0])
    x = [emit_load(b, _stepped(b, at[0], steps[0], j), width) for j in range(columns)]
    places = [_stepped(b, at[1], steps[1], i) for i in range(rows)]
    y = emit_map(b, found.matrix, x)
    if found.ending == "bias":
        line = emit_load(b, bias, width)
        y = [b.fadd(value, line) for value in y]
    elif found.ending == "target":
        y = [b.fadd(value, emit_load(b, place, width)) for value, place in zip(y, places, strict=True)]
    for value, place in zip(y, places, strict=True):
        emit_store(b, value, place)


def _stepped(b: ir.IRBuilder, address: ir.Value, step: ir.Value, n: int) -> ir.Value:
    return address if n == 0 else b.add(address, b.mul(step, _I64(n)))


def emit_map(b: ir.IRBuilder, matrix: Matrix, x: list[ir.Value]) -> list[ir.Value]:
    """The products of the rows of ``matrix`` with the vectors ``x``."""
    columns = list(zip(*matrix, strict=True))
    pair = next(((i, j) for i in range(len(columns)) for j in range(i) if _mirrored(columns[i], columns[j])), None)
    if pair is not None:
        return _of_pair_of_columns(b, matrix, x, *pair)
    found: list[ir.Value | None] = [None] * len(matrix)
    for i, row in enumerate(matrix):
        if found[i] is not None:
            continue
        other = next((j for j in range(i + 1, len(matrix)) if _mirrored(row, matrix[j])), None)
        if other is None:
            found[i] = _combination(b, row, x)
            continue
        signs = [a * c for a, c in zip(row, matrix[other], strict=True)]
        same = _combination(b, tuple(a if s > 0 else 0.0 for a, s in zip(row, signs, strict=True)), x)
        changed = _combination(b, tuple(a if s < 0 else 0.0 for a, s in zip(row, signs, strict=True)), x)
        found[i], found[other] = b.fadd(same, changed), b.fsub(same, changed)
    return found  # type: ignore[return-value]


def _mirrored(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """The same sizes, some signs equal and some not."""
    signs = {a * c > 0 for a, c in zip(one, other, strict=True) if a}
    return [abs(a) for a in one] == [abs(c) for c in other] and len(signs) == 2


def _of_pair_of_columns(b: ir.IRBuilder, matrix: Matrix, x: list[ir.Value], i: int, j: int) -> list[ir.Value]:
    """Replace two inputs by their sum and their difference; each row needs one of them."""
    total, difference = b.fadd(x[j], x[i]), b.fsub(x[j], x[i])
    rest = [k for k in range(len(x)) if k not in (i, j)]
    rows = []
    for row in matrix:
        same = row[i] * row[j] > 0
        rows.append((*(row[k] for k in rest), row[j] if same else 0.0, 0.0 if same else row[j]))
    return emit_map(b, tuple(rows), [*(x[k] for k in rest), total, difference])


def _combination(b: ir.IRBuilder, row: tuple[float, ...], x: list[ir.Value]) -> ir.Value:
    """sum_j row[j] x[j], with plain additions where the number is 1 or -1."""
    terms = sorted(((a, v) for a, v in zip(row, x, strict=True) if a), key=lambda term: term[0] != 1.0)
    vector = x[0].type
    result: ir.Value | None = None
    for a, v in terms:
        number = ir.Constant(vector, [a] * vector.count)
        if result is None:
            result = v if a == 1.0 else b.fmul(v, number)
        elif abs(a) == 1.0:
            result = b.fadd(result, v) if a > 0 else b.fsub(result, v)
        else:
            result = emit_call(b, "fma", v, number, result)
    return result if result is not None else ir.Constant(vector, [0.0] * vector.count)
