"""The images of a step: each lane's own rows of the pool, side by side.

An image is a row of pixels in memory and a column of lines here, so blocks of 16 x 16 pixels (8 x 8) are transposed in
registers, and scaled on the way.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from tunesmith.train.lanes.simd.compiling import intrinsic, kernel
from tunesmith.train.lanes.simd.memory import (
    load_byte,
    load_float,
    load_int,
    operation_at,
    step_record_at,
    store_float,
    store_int,
)
from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.vectors import emit_load, emit_store, width_of

_I64 = ir.IntType(64)


def gather(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Fill the input."""
    op, step = operation_at(op_at), step_record_at(step_at)
    line = line_bytes(w)
    lanes = line // 4
    area = op.h * op.w
    size = 4 if step.floats != 0 else 1
    for s in range(s0, s1):
        target = op.y + s % op.y_keep * op.y_size
        for lane in range(lanes):
            row = lane * step.batch + first + s
            if step.index != 0:
                row = load_int(step.index, row)
            store_int(op.scratch, lane, step.images + row * step.image_bytes)
        for c in range(op.c):
            begin = c * area
            shift, scale = step.shift + c * line, step.scale + c * line
            if area < lanes:
                for i in range(begin, begin + area):
                    _pixel(op.scratch, i, target + i * line, shift, scale, step.floats != 0, lanes)
                continue
            for block in range(0, area, lanes):
                i = begin + min(block, area - lanes)  # the last block goes over some pixels again
                _transpose(op.scratch, i * size, target + i * line, shift, scale, step.floats, w)


@kernel
def _pixel(rows, i, target, shift, scale, floats, lanes):  # type: ignore[no-untyped-def]
    """One pixel, lane by lane."""
    for lane in range(lanes):
        row = load_int(rows, lane)
        if floats:
            value = load_float(row, i)
        else:
            value = types.float32(load_byte(row, i))
        store_float(target, lane, (value - load_float(shift, lane)) * load_float(scale, lane))


@intrinsic
def _transpose(typing_context, rows, offset, target, shift, scale, floats, w):  # type: ignore[no-untyped-def]
    """As many pixels as there are lanes, from ``offset`` bytes on, of the images whose addresses are at ``rows``."""
    width = width_of(w)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        rows, offset, target, shift, scale, floats, _ = args
        minus, times = emit_load(b, shift, width), emit_load(b, scale, width)
        pointers = b.inttoptr(rows, _I64.as_pointer())
        at = [b.add(b.load(b.gep(pointers, [_I64(lane)])), offset) for lane in range(width)]
        with b.if_else(b.icmp_signed("!=", floats, _I64(0))) as (then, otherwise):
            for branch, element in ((then, ir.FloatType()), (otherwise, ir.IntType(8))):
                with branch:
                    packed = ir.VectorType(element, width)
                    lines = [b.load(b.inttoptr(address, packed.as_pointer()), align=1) for address in at]
                    for k, values in enumerate(_transposed(b, lines)):
                        if element != ir.FloatType():
                            values = b.uitofp(values, ir.VectorType(ir.FloatType(), width))
                        values = b.fmul(b.fsub(values, minus), times)
                        emit_store(b, values, b.add(target, _I64(4 * width * k)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, w), codegen


def _transposed(b: ir.IRBuilder, lines: list[ir.Value]) -> list[ir.Value]:
    """Merge line i with line i + n/2, element by element, log2(n) times."""
    n = len(lines)
    index_type = ir.VectorType(ir.IntType(32), n)
    halves = [
        ir.Constant(index_type, [k // 2 + start + (n if k % 2 else 0) for k in range(n)]) for start in (0, n // 2)
    ]
    for _ in range(n.bit_length() - 1):
        lines = [b.shuffle_vector(lines[i], lines[i + n // 2], half) for i in range(n // 2) for half in halves]
    return lines
