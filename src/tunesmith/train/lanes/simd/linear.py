"""Fully connected layers: forward, and the gradients of weights, biases and inputs, for all samples of a block at once.

Weights [out][in], inputs and outputs [sample][feature]. The sums are cut into pieces, and columns are taken in blocks,
so that what a product reads again and again stays in the second-level cache.
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import call
from tunesmith.train.lanes.simd.memory import operation_at
from tunesmith.train.lanes.simd.products import FROM_BIAS, FROM_C, FROM_ZERO, line_bytes
from tunesmith.train.lanes.simd.vectors import load, splat, store

#: Lines along a sum, and columns of a weight gradient, that are taken at a time.
_PIECE, _COLUMNS = 64, 96


def linear_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """y = W x + bias."""
    op = operation_at(op_at)
    line = line_bytes(w)
    x, y = op.x + s0 % op.x_keep * op.x_size, op.y + s0 % op.y_keep * op.y_size
    begin = FROM_ZERO if op.bias == 0 else FROM_BIAS
    for k in range(0, op.c, _PIECE):
        n = min(_PIECE, op.c - k)
        call(
            op.product, op.o, s1 - s0, n, op.weight + k * line, op.c * line, op.iota, x + k * line, op.x_size, op.iota,
            y, line, op.y_size, begin, op.bias, w,
        )  # fmt: skip
        begin = FROM_C


def linear_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dW += dy x^T, dx = W^T dy."""
    op = operation_at(op_at)
    line = line_bytes(w)
    x, dy = op.x + s0 % op.x_keep * op.x_size, op.dy + s0 % op.dy_keep * op.y_size
    samples, beginning = s1 - s0, first + s0 == 0
    for k in range(0, op.c, _COLUMNS):
        n = min(_COLUMNS, op.c - k)
        call(
            op.product, op.o, n, samples, dy, line, op.by_y, x + k * line, line, op.by_x,
            op.d_weight + k * line, op.c * line, line, FROM_ZERO if beginning else FROM_C, 0, w,
        )  # fmt: skip
    if op.bias != 0:
        for o in range(op.o):
            total = splat(0.0, w) if beginning else load(op.d_bias + o * line, w)
            for s in range(samples):
                total = total + load(dy + s * op.y_size + o * line, w)
            store(op.d_bias + o * line, total)
    if op.dx != 0:
        dx = op.dx + s0 % op.dx_keep * op.x_size
        for o in range(0, op.o, _PIECE):
            n = min(_PIECE, op.o - o)
            call(
                op.product, op.c, samples, n, op.weight + o * op.c * line, line, op.by_weight,
                dy + o * line, op.y_size, op.iota, dx, line, op.x_size, FROM_ZERO if o == 0 else FROM_C, 0, w,
            )  # fmt: skip
