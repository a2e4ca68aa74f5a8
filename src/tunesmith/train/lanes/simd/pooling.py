"""Maximum and average over windows, padding with zeros, and enlarging by repetition."""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import call, kernel
from tunesmith.train.lanes.simd.memory import copy_lines, operation_at, zero_lines
from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.vectors import (
    as_float,
    as_int,
    load,
    load_bytes,
    select,
    splat,
    splat_int,
    store,
    store_bytes,
)


@kernel
def _better(value, best):  # type: ignore[no-untyped-def]
    """Whether ``value`` comes before ``best``: it is larger, or NaN; the first of equal ones stays. As in torch."""
    return (value > best) | (value != value)


@kernel
def _number(n, w):  # type: ignore[no-untyped-def]
    """An integer in all lanes, as the bits of a float: so it is selected in the same way as the values."""
    return as_float(splat_int(n, w))


def max_pool_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The largest of each window."""
    op = operation_at(op_at)
    row = op.w * line_bytes(w)
    for s in range(s0, s1):
        for c in range(op.c):
            x = op.x + s % op.x_keep * op.x_size + c * op.h * row
            call(op.part_forward, op_at, x, row, s, c, 0, op.oh, w)


def max_pool_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The gradient goes to where the largest was."""
    op = operation_at(op_at)
    row = op.w * line_bytes(w)
    for s in range(s0, s1):
        dx = op.dx + s % op.dx_keep * op.x_size
        if op.covered == 0:
            zero_lines(dx, op.c * op.h * op.w, w)
        for c in range(op.c):
            call(op.part_backward, op_at, dx + c * op.h * row, row, s, c, 0, op.oh, w)


def max_pool_part(op_at, x, row, s, c, i_from, i_to, w):  # type: ignore[no-untyped-def]
    """Some rows of one channel: the largest, and which it was; with a ReLU, 255 where that is not positive.

    Args:
        op_at: address of the record.
        x: where row 0 of the channel's input is.
        row: bytes from one row of it to the next.
        s: the sample.
        c: the channel.
        i_from, i_to: rows of outputs.
        w: token of the width.
    """
    op = operation_at(op_at)
    line = line_bytes(w)
    y = op.y + s % op.y_keep * op.y_size + c * op.oh * op.ow * line
    index = op.index + s % op.index_keep * op.index_size + c * op.oh * op.ow * (line // 4)
    for i in range(i_from, i_to):
        i0, i1 = max(0, op.ph - i * op.sh), min(op.kh, op.h + op.ph - i * op.sh)
        for j in range(op.ow):
            j0, j1 = max(0, op.pw - j * op.sw), min(op.kw, op.w + op.pw - j * op.sw)
            at = x + (i * op.sh - op.ph) * row + (j * op.sw - op.pw) * line
            best, where = _number(0, w), _number(i0 * op.kw + j0, w)
            if op.kh == 2 and op.kw == 2 and i1 - i0 == 2 and j1 - j0 == 2:  # the usual window, unrolled
                best = load(at, w)
                for k in range(1, 4):
                    value = load(at + (k >> 1) * row + (k & 1) * line, w)
                    better = _better(value, best)
                    best, where = select(better, value, best), select(better, _number(k, w), where)
            else:
                best = load(at + i0 * row + j0 * line, w)
                for a in range(i0, i1):
                    for b in range(j0, j1):
                        value = load(at + a * row + b * line, w)
                        better = _better(value, best)
                        best = select(better, value, best)
                        where = select(better, _number(a * op.kw + b, w), where)
            if op.rectified != 0:
                where = select(best > 0.0, where, _number(255, w))
                best = select(best < 0.0, 0.0, best)
            store(y + (i * op.ow + j) * line, best)
            store_bytes(index + (i * op.ow + j) * (line // 4), as_int(where))


def max_pool_part_backward(op_at, dx, row, s, c, i_from, i_to, w):  # type: ignore[no-untyped-def]
    """The gradient of some rows of one channel; what no window covers must be zero already. Arguments as above."""
    op = operation_at(op_at)
    line = line_bytes(w)
    dy = op.dy + s % op.dy_keep * op.y_size + c * op.oh * op.ow * line
    index = op.index + s % op.index_keep * op.index_size + c * op.oh * op.ow * (line // 4)
    apart = op.sh >= op.kh and op.sw >= op.kw  # no two windows share an input
    for i in range(i_from, i_to):
        i0, i1 = max(0, op.ph - i * op.sh), min(op.kh, op.h + op.ph - i * op.sh)
        for j in range(op.ow):
            j0, j1 = max(0, op.pw - j * op.sw), min(op.kw, op.w + op.pw - j * op.sw)
            at = dx + (i * op.sh - op.ph) * row + (j * op.sw - op.pw) * line
            gradient = load(dy + (i * op.ow + j) * line, w)
            where = load_bytes(index + (i * op.ow + j) * (line // 4), w)
            if apart and op.kh == 2 and op.kw == 2 and i1 - i0 == 2 and j1 - j0 == 2:
                for k in range(4):
                    store(at + (k >> 1) * row + (k & 1) * line, select(where == k, gradient, 0.0))
                continue
            for a in range(i0, i1):
                for b in range(j0, j1):
                    target = at + a * row + b * line
                    part = select(where == a * op.kw + b, gradient, 0.0)
                    store(target, part if apart else part + load(target, w))


def avg_pool_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The mean of each window; padding counts as zeros."""
    op = operation_at(op_at)
    line = line_bytes(w)
    area = splat(op.kh * op.kw, w)
    for s in range(s0, s1):
        x, y = op.x + s % op.x_keep * op.x_size, op.y + s % op.y_keep * op.y_size
        for c in range(op.c):
            for i in range(op.oh):
                i0, i1 = max(0, op.ph - i * op.sh), min(op.kh, op.h + op.ph - i * op.sh)
                for j in range(op.ow):
                    j0, j1 = max(0, op.pw - j * op.sw), min(op.kw, op.w + op.pw - j * op.sw)
                    at = x + ((c * op.h + i * op.sh - op.ph) * op.w + j * op.sw - op.pw) * line
                    total = splat(0.0, w)
                    for a in range(i0, i1):
                        for b in range(j0, j1):
                            total = total + load(at + (a * op.w + b) * line, w)
                    store(y + ((c * op.oh + i) * op.ow + j) * line, total / area)


def avg_pool_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The gradient goes to all of the window in equal parts."""
    op = operation_at(op_at)
    line = line_bytes(w)
    area = splat(op.kh * op.kw, w)
    apart = op.sh >= op.kh and op.sw >= op.kw
    for s in range(s0, s1):
        dx, dy = op.dx + s % op.dx_keep * op.x_size, op.dy + s % op.dy_keep * op.y_size
        if op.covered == 0:
            zero_lines(dx, op.c * op.h * op.w, w)
        for c in range(op.c):
            for i in range(op.oh):
                i0, i1 = max(0, op.ph - i * op.sh), min(op.kh, op.h + op.ph - i * op.sh)
                for j in range(op.ow):
                    j0, j1 = max(0, op.pw - j * op.sw), min(op.kw, op.w + op.pw - j * op.sw)
                    at = dx + ((c * op.h + i * op.sh - op.ph) * op.w + j * op.sw - op.pw) * line
                    part = load(dy + ((c * op.oh + i) * op.ow + j) * line, w) / area
                    for a in range(i0, i1):
                        for b in range(j0, j1):
                            target = at + (a * op.w + b) * line
                            store(target, part if apart else part + load(target, w))


def pad_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Into the middle of zeros, which are there from the beginning."""
    op = operation_at(op_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        x, y = op.x + s % op.x_keep * op.x_size, op.y + s % op.y_keep * op.y_size
        for c in range(op.c):
            for i in range(op.h):
                target = y + ((c * op.oh + i + op.top_pad) * op.ow + op.left_pad) * line
                copy_lines(x + (c * op.h + i) * op.w * line, target, op.w, w)


def pad_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Out of the middle."""
    op = operation_at(op_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        dx, dy = op.dx + s % op.dx_keep * op.x_size, op.dy + s % op.dy_keep * op.y_size
        for c in range(op.c):
            for i in range(op.h):
                source = dy + ((c * op.oh + i + op.top_pad) * op.ow + op.left_pad) * line
                copy_lines(source, dx + (c * op.h + i) * op.w * line, op.w, w)


def enlarge_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Each pixel becomes a square."""
    op = operation_at(op_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        x, y = op.x + s % op.x_keep * op.x_size, op.y + s % op.y_keep * op.y_size
        for c in range(op.c):
            for i in range(op.oh):
                for j in range(op.ow):
                    source = x + ((c * op.h + i // op.factor) * op.w + j // op.factor) * line
                    store(y + ((c * op.oh + i) * op.ow + j) * line, load(source, w))


def enlarge_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The sum over the square."""
    op = operation_at(op_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        dx, dy = op.dx + s % op.dx_keep * op.x_size, op.dy + s % op.dy_keep * op.y_size
        for c in range(op.c):
            for i in range(op.h):
                for j in range(op.w):
                    total = splat(0.0, w)
                    for a in range(op.factor):
                        for b in range(op.factor):
                            at = ((c * op.oh + i * op.factor + a) * op.ow + j * op.factor + b) * line
                            total = total + load(dy + at, w)
                    store(dx + ((c * op.h + i) * op.w + j) * line, total)
