"""Activations and dropout.

Activations that can tell their derivative from their output work in place; the others (SiLU, GELU) keep their input.
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import kernel
from tunesmith.train.lanes.simd.elementary import erf, exp, expm1, sigmoid, tanh
from tunesmith.train.lanes.simd.memory import copy_lines, operation_at, step_record_at
from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.vectors import as_float, as_int, fma, like, load, select, splat_int, store

_ROOT_HALF, _ROOT_2_PI, _CUBIC = 0.7071067811865476, 0.7978845608028654, 0.044715
_DENSITY = 0.3989422804014327  # of the normal distribution at 0


@kernel
def _values(op, s, w):  # type: ignore[no-untyped-def]
    """Addresses of x and y of a sample, and the bytes of both."""
    x, y = op.x + s % op.x_keep * op.x_size, op.y + s % op.y_keep * op.y_size
    return x, y, op.c * op.h * op.w * line_bytes(w)


@kernel
def _gradients(op, s):  # type: ignore[no-untyped-def]
    """Addresses of dx and dy of a sample."""
    return op.dx + s % op.dx_keep * op.x_size, op.dy + s % op.dy_keep * op.y_size


def relu_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """max(x, 0); NaN stays."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, select(v < 0.0, 0.0, v))


def relu_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy where y > 0."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        _, y, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            store(dx + i, select(load(y + i, w) > 0.0, load(dy + i, w), 0.0))


def leaky_relu_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """x, or x times the slope below 0."""
    op = operation_at(op_at)
    slope = as_float(splat_int(op.slope, w))
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, select(v < 0.0, v * slope, v))


def leaky_relu_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy, or dy times the slope where y is not positive."""
    op = operation_at(op_at)
    slope = as_float(splat_int(op.slope, w))
    for s in range(s0, s1):
        _, y, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            d = load(dy + i, w)
            store(dx + i, select(load(y + i, w) > 0.0, d, d * slope))


def tanh_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """tanh(x)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            store(y + i, tanh(load(x + i, w)))


def tanh_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy (1 - y^2)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        _, y, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v = load(y + i, w)
            store(dx + i, load(dy + i, w) * (like(v, 1.0) - v * v))


def sigmoid_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x))."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            store(y + i, sigmoid(load(x + i, w)))


def sigmoid_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy y (1 - y)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        _, y, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v = load(y + i, w)
            store(dx + i, load(dy + i, w) * (v * (like(v, 1.0) - v)))


def elu_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """x, or slope (exp(x) - 1) below 0."""
    op = operation_at(op_at)
    slope = as_float(splat_int(op.slope, w))
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, select(v < 0.0, expm1(v) * slope, v))


def elu_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy, or dy (y + slope) where y is not positive."""
    op = operation_at(op_at)
    slope = as_float(splat_int(op.slope, w))
    for s in range(s0, s1):
        _, y, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v, d = load(y + i, w), load(dy + i, w)
            store(dx + i, select(v > 0.0, d, d * (v + slope)))


def silu_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """x sigmoid(x)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, v * sigmoid(v))


def silu_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy p (1 + x (1 - p)) with p = sigmoid(x)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, _, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            p = sigmoid(v)
            store(dx + i, load(dy + i, w) * (p * fma(v, like(p, 1.0) - p, 1.0)))


def gelu_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """x Phi(x), with the normal distribution Phi."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, v * fma(erf(v * _ROOT_HALF), 0.5, 0.5))


def gelu_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy (Phi(x) + x phi(x))."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, _, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            density = exp(v * v * -0.5) * _DENSITY
            store(dx + i, load(dy + i, w) * fma(v, density, fma(erf(v * _ROOT_HALF), 0.5, 0.5)))


def gelu_tanh_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """x (1 + tanh(g)) / 2 with g = sqrt(2 / pi) (x + 0.044715 x^3)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            store(y + i, v * fma(tanh(_gelu_inner(v)), 0.5, 0.5))


def gelu_tanh_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """dy ((1 + t) / 2 + x (1 - t^2) g' / 2) with t = tanh(g)."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        x, _, end = _values(op, s, w)
        dx, dy = _gradients(op, s)
        for i in range(0, end, line_bytes(w)):
            v = load(x + i, w)
            t = tanh(_gelu_inner(v))
            slope = fma(v * v, 3.0 * _CUBIC * _ROOT_2_PI, _ROOT_2_PI)
            store(dx + i, load(dy + i, w) * fma(v * 0.5 * (like(t, 1.0) - t * t), slope, fma(t, 0.5, 0.5)))


@kernel
def _gelu_inner(v):  # type: ignore[no-untyped-def]
    return v * fma(v * v, _CUBIC * _ROOT_2_PI, _ROOT_2_PI)


def dropout_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """In evaluation, and where no lane drops anything, a copy."""
    op, step = operation_at(op_at), step_record_at(step_at)
    for s in range(s0, s1):
        x, y, end = _values(op, s, w)
        if step.training != 0 and op.active != 0:
            _drop(op, x, y, first + s, w)
        else:
            copy_lines(x, y, end // line_bytes(w), w)


def dropout_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The gradient goes the way of the values."""
    op = operation_at(op_at)
    for s in range(s0, s1):
        dx, dy = _gradients(op, s)
        if op.active != 0:
            _drop(op, dy, dx, first + s, w)
        else:
            copy_lines(dy, dx, op.c * op.h * op.w, w)


@kernel
def _drop(op, source, target, sample, w):  # type: ignore[no-untyped-def]
    """Drop and scale: the bits are those of :func:`tunesmith.train.counter.bits`."""
    line = line_bytes(w)
    n = op.c * op.h * op.w
    key_0, key_1 = as_int(load(op.keys, w)), as_int(load(op.keys + line, w))
    below, share = as_int(load(op.below, w)), load(op.share, w)
    for i in range(n):
        bits = _mixed(_mixed(splat_int(sample * n + i, w) ^ key_0) ^ key_1)
        store(target + i * line, select((bits >> 8) >= below, load(source + i * line, w) / share, 0.0))


@kernel
def _mixed(x):  # type: ignore[no-untyped-def]
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * (0x846CA68B - (1 << 32))  # as a signed number
    return x ^ (x >> 16)
