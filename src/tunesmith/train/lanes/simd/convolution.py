"""Convolution: forward, and the gradients of weights, biases and inputs.

With a stride of 1 along rows, rows are filtered as :mod:`filtering` says: the input becomes n planes V (a line for
each channel, row and tile of m outputs), the weights n planes U; plane by plane a product sums over channels and the
rows of the kernel and gives M; a map brings that back to outputs. With other strides there is one plane: V is the
padded input itself, and the product goes over the columns of the kernel too.

The gradients are the same steps backwards: the gradient of the outputs is mapped to N, which has the layout of M; then
dU = N V^T and dV = U^T N plane by plane. dU is gathered over all samples of a step and mapped to the weights' gradient
at its end.

Layouts (lines): V [plane][channel][v_h][v_w], M and N [plane][out][rows][n_w], U [plane][out][channel][kh][taps].
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import call, kernel
from tunesmith.train.lanes.simd.memory import copy_lines, load_int, operation_at, zero_lines
from tunesmith.train.lanes.simd.products import FROM_BIAS, FROM_C, FROM_ZERO, line_bytes
from tunesmith.train.lanes.simd.vectors import load, splat, store


def conv_begin(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Transform the weights; once a step."""
    op = operation_at(op_at)
    line, n = line_bytes(w), op.o * op.c * op.kh
    call(op.maps, op.map_w, n, op.weight, line, op.kw * line, op.u, n * line, line, op.zeros, w)


def conv_end(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """Bring the gradient of the transformed weights back; once a step."""
    op = operation_at(op_at)
    line, n = line_bytes(w), op.o * op.c * op.kh
    call(op.maps, op.map_dw, n, op.du, n * line, line, op.d_weight, line, op.kw * line, op.zeros, w)


def conv_forward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The outputs; with a maximum after them only what that makes of them."""
    op = operation_at(op_at)
    if op.fill != 0:
        call(op.fill, op_at, step_at, s0, s1, first, w)
    if op.n == 1:
        _plain_products(op, s0, s1, w)
        return
    line = line_bytes(w)
    for row in range(0, op.oh, op.rows):
        rows = min(op.rows, op.oh - row)
        _products(op, s0, s1, row, rows, w)
        for s in range(s0, s1):
            for o in range(op.o):
                m = op.products + (s - s0) * op.p_size + o * op.rows * op.tiles * line
                if op.pool == 0:
                    y = op.y + s % op.y_keep * op.y_size + (o * op.oh + row) * op.ow * line
                    _outputs(op, o, m, y, rows, w)
                else:
                    _pooled_outputs(op, o, m, s, row, rows, w)


@kernel
def _outputs(op, o, m, y, rows, w):  # type: ignore[no-untyped-def]
    """Some rows of one channel, from M."""
    line = line_bytes(w)
    plane = op.o * op.rows * op.tiles * line
    bias = op.zeros if op.bias == 0 else op.bias + o * line
    whole, row = op.ow // op.m, op.tiles * line
    if whole == op.tiles:
        call(op.maps, op.map_y, rows * whole, m, plane, line, y, line, op.m * line, bias, w)
        return
    for i in range(rows):  # the last tile reaches beyond the row
        y_row = y + i * op.ow * line
        call(op.maps, op.map_y, whole, m + i * row, plane, line, y_row, line, op.m * line, bias, w)
        call(op.maps, op.map_y, 1, m + i * row + whole * line, plane, line, op.scratch, line, line, bias, w)
        copy_lines(op.scratch, y_row + whole * op.m * line, op.ow - whole * op.m, w)


@kernel
def _pooled_outputs(op, o, m, s, row, rows, w):  # type: ignore[no-untyped-def]
    """The same, handed to the maximum while they are in the first-level cache."""
    line = line_bytes(w)
    plane = op.o * op.rows * op.tiles * line
    bias = op.zeros if op.bias == 0 else op.bias + o * line
    call(op.maps, op.map_y, rows * op.tiles, m, plane, line, op.band, line, op.m * line, bias, w)
    pool, pitch = operation_at(op.pool), op.tiles * op.m * line
    i, i_end = row // pool.kh, min(pool.oh, (row + rows) // pool.kh)
    call(pool.part_forward, op.pool, op.band - row * pitch, pitch, s, o, i, i_end, w)


@kernel
def _products(op, s0, s1, row, rows, w):  # type: ignore[no-untyped-def]
    """M of some rows, plane by plane."""
    line = line_bytes(w)
    k = op.c * op.kh
    v = op.v + s0 % op.v_keep * op.v_size
    m_row = op.rows * op.tiles * line
    for plane in range(op.n):
        u = op.u + plane * op.o * k * line
        for s in range(s1 - s0):
            m = op.products + s * op.p_size + plane * op.o * op.rows * op.tiles * line
            b = v + s * op.v_size + (plane * op.c * op.v_h + row * op.sh) * op.v_w * line
            if op.sh == 1:  # the rows follow each other in V as in M
                call(
                    op.product, op.o, rows * op.tiles, k, u, k * line, op.fwd_a, b, line, op.fwd_b, m, m_row, line,
                    FROM_ZERO, 0, w,
                )  # fmt: skip
                continue
            for i in range(rows):
                call(
                    op.product, op.o, op.tiles, k, u, k * line, op.fwd_a, b + i * op.sh * op.v_w * line, line, op.fwd_b,
                    m + i * op.tiles * line, m_row, line, FROM_ZERO, 0, w,
                )  # fmt: skip


@kernel
def _plain_products(op, s0, s1, w):  # type: ignore[no-untyped-def]
    """The outputs of a plain convolution, row by row."""
    line = line_bytes(w)
    y = op.y + s0 % op.y_keep * op.y_size
    k = op.c * op.kh * op.kw
    v = op.v + s0 % op.v_keep * op.v_size
    begin = FROM_ZERO if op.bias == 0 else FROM_BIAS
    for s in range(s1 - s0):
        for i in range(op.oh):
            b = v + s * op.v_size + i * op.sh * op.v_w * line
            call(
                op.product, op.o, op.ow, k, op.weight, k * line, op.fwd_a, b, op.sw * line, op.fwd_b,
                y + s * op.y_size + i * op.ow * line, op.oh * op.ow * line, line, begin, op.bias, w,
            )  # fmt: skip


def fill_v(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """V of some samples; rows above and below the image are zero from the beginning. It is called by its address."""
    op = operation_at(op_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        x = op.x + s % op.x_keep * op.x_size
        v = op.v + s % op.v_keep * op.v_size
        for c in range(op.c):
            for i in range(op.h):
                source = x + (c * op.h + i) * op.w * line
                target = v + (c * op.v_h + i + op.ph) * op.v_w * line
                if op.n == 1:
                    copy_lines(source, target + op.pw * line, op.w, w)
                else:
                    _inputs(op, source, target, w)


@kernel
def _inputs(op, source, target, w):  # type: ignore[no-untyped-def]
    """One row of inputs to one row of V."""
    line = line_bytes(w)
    plane = op.c * op.v_h * op.v_w * line
    width = (op.tiles - 1) * op.m + op.n
    if width > op.w:  # the tiles reach beyond the row
        zero_lines(op.scratch, op.pw, w)
        copy_lines(source, op.scratch + op.pw * line, op.w, w)
        zero_lines(op.scratch + (op.pw + op.w) * line, width - op.pw - op.w, w)
        source = op.scratch
    call(op.maps, op.map_x, op.tiles, source, line, op.m * line, target, plane, line, op.zeros, w)


def conv_backward(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The gradients."""
    op = operation_at(op_at)
    beginning = first + s0 == 0
    if op.fill != 0:
        call(op.fill, op_at, step_at, s0, s1, first, w)
    if op.dx != 0 and op.dx_zero != 0:
        for s in range(s0, s1):
            zero_lines(op.dv + s % op.dv_keep * op.v_size, op.n * op.c * op.v_h * op.v_w, w)
    for row in range(0, op.oh, op.rows):
        rows = min(op.rows, op.oh - row)
        for s in range(s0, s1):
            _fill_n(op, s, op.products + (s - s0) * op.p_size, row, rows, beginning and row == 0 and s == s0, w)
        _weight_gradient(op, s0, s1, row, rows, beginning and row == 0, w)
        if op.dx != 0:
            for s in range(s0, s1):
                _input_gradient(op, op.products + (s - s0) * op.p_size, s, row, rows, w)
    if op.dx != 0 and op.dv != op.dx:
        for s in range(s0, s1):
            _empty_dv(op, s, w)


@kernel
def _fill_n(op, s, target, row, rows, first, w):  # type: ignore[no-untyped-def]
    """N of some rows of one sample, and the gradient of the biases."""
    line = line_bytes(w)
    plane = op.o * op.rows * op.n_w * line
    for o in range(op.o):
        at = target + o * op.rows * op.n_w * line
        if op.pool != 0:
            _from_pool(op, s, o, row, rows, w)
            _bias_gradient(op, o, op.band, rows * op.tiles * op.m, first, w)
            call(op.maps, op.map_dy, rows * op.tiles, op.band, line, op.m * line, at, plane, line, op.zeros, w)
            continue
        dy = op.dy + s % op.dy_keep * op.y_size + (o * op.oh + row) * op.ow * line
        _bias_gradient(op, o, dy, rows * op.ow, first, w)
        if op.n == 1:  # the zeros on both sides are there from the beginning
            for i in range(rows):
                copy_lines(dy + i * op.ow * line, at + (i * op.n_w + op.left) * line, op.ow, w)
            continue
        whole = op.ow // op.m
        if whole == op.tiles:
            call(op.maps, op.map_dy, rows * whole, dy, line, op.m * line, at, plane, line, op.zeros, w)
            continue
        for i in range(rows):
            dy_row, n_row = dy + i * op.ow * line, at + i * op.tiles * line
            call(op.maps, op.map_dy, whole, dy_row, line, op.m * line, n_row, plane, line, op.zeros, w)
            zero_lines(op.scratch, op.m, w)
            copy_lines(dy_row + whole * op.m * line, op.scratch, op.ow - whole * op.m, w)
            call(op.maps, op.map_dy, 1, op.scratch, line, line, n_row + whole * line, plane, line, op.zeros, w)


@kernel
def _from_pool(op, s, o, row, rows, w):  # type: ignore[no-untyped-def]
    """The gradient of some rows of one channel, as the maximum gives it, to ``op.band``."""
    pool, pitch = operation_at(op.pool), op.tiles * op.m * line_bytes(w)
    if pool.covered == 0 or op.tiles * op.m > op.ow:
        zero_lines(op.band, rows * op.tiles * op.m, w)
    i, i_end = row // pool.kh, min(pool.oh, (row + rows) // pool.kh)
    call(pool.part_backward, op.pool, op.band - row * pitch, pitch, s, o, i, i_end, w)


@kernel
def _bias_gradient(op, o, dy, n, first, w):  # type: ignore[no-untyped-def]
    """Add n lines up, in four parts: additions that do not wait for each other."""
    if op.bias == 0:
        return
    line = line_bytes(w)
    a = b = c = d = splat(0.0, w)
    for i in range(n // 4):
        a = a + load(dy + 4 * i * line, w)
        b = b + load(dy + (4 * i + 1) * line, w)
        c = c + load(dy + (4 * i + 2) * line, w)
        d = d + load(dy + (4 * i + 3) * line, w)
    for i in range(n // 4 * 4, n):
        a = a + load(dy + i * line, w)
    total = (a + b) + (c + d)
    if not first:
        total = total + load(op.d_bias + o * line, w)
    store(op.d_bias + o * line, total)


@kernel
def _weight_gradient(op, s0, s1, row, rows, first, w):  # type: ignore[no-untyped-def]
    """dU += N V^T over the positions of some rows of some samples."""
    line = line_bytes(w)
    begin = FROM_ZERO if first else FROM_C
    samples = s1 - s0
    k = samples * rows * op.tiles
    n_at = op.products + op.left * line
    v_at = op.v + s0 % op.v_keep * op.v_size + row * op.sh * op.v_w * line
    per_out = op.c * op.kh * op.taps * line
    for plane in range(op.n):
        a = n_at + plane * op.o * op.rows * op.n_w * line
        b = v_at + plane * op.c * op.v_h * op.v_w * line
        c = op.du + plane * op.o * per_out
        for group in range(op.dw_groups):
            call(
                op.product, op.o, op.dw_n, k, a, op.rows * op.n_w * line, op.dw_a,
                b + load_int(op.dw_group_b, group), op.dw_column_b, op.dw_b,
                c + load_int(op.dw_group_c, group), per_out, op.dw_column_c, begin, 0, w,
            )  # fmt: skip


@kernel
def _input_gradient(op, n_at, s, row, rows, w):  # type: ignore[no-untyped-def]
    """dV += U^T N of one sample, for all rows of V that these rows of outputs were computed from.

    Row q of V and output row y belong together through row ``q - y * sh`` of the kernel: with ``q = b * sh + r`` these
    are ``y = b - t`` and ``r + t * sh``, t = 0, 1, ... The tables are ordered by t, so that those t that are inside
    the image and among ``rows`` are a piece of a table. Columns go the same way, with zeros around N instead.
    """
    line = line_bytes(w)
    dv = op.dv + s % op.dv_keep * op.v_size
    n_plane, u_plane = op.o * op.rows * op.n_w * line, op.o * op.c * op.kh * op.taps * line
    for q in range(row * op.sh, min((row + rows - 1) * op.sh + op.kh, op.v_h)):
        r, base = q % op.sh, q // op.sh
        steps = (op.kh - r + op.sh - 1) // op.sh  # rows of the kernel in this class
        t0, t1 = max(0, base - (row + rows - 1)), min(steps - 1, base - row)
        if t0 > t1:
            continue
        touched = op.dx_zero != 0 or (row > 0 and base - (steps - 1) < row)
        begin = FROM_C if touched else FROM_ZERO
        for rx in range(op.step):
            table = op.dx_classes + (r * op.step + rx) * 24
            a_table, b_table, per_t = load_int(table, 0), load_int(table, 1), load_int(table, 2)
            if per_t == 0:
                continue
            k = (t1 - t0 + 1) * per_t
            skip = t0 * per_t * 8
            columns = (op.v_w - rx + op.step - 1) // op.step
            for plane in range(op.n):
                b = n_at + plane * n_plane + ((base - row) * op.n_w + op.left) * line
                c = dv + ((plane * op.c * op.v_h + q) * op.v_w + rx) * line
                call(
                    op.product, op.c, columns, k, op.u + plane * u_plane, op.kh * op.taps * line, a_table + skip,
                    b, line, b_table + skip, c, op.v_h * op.v_w * line, op.step * line, begin, 0, w,
                )  # fmt: skip


@kernel
def _empty_dv(op, s, w):  # type: ignore[no-untyped-def]
    """dV of one sample to the gradient of its input."""
    line = line_bytes(w)
    dv = op.dv + s % op.dv_keep * op.v_size
    dx = op.dx + s % op.dx_keep * op.x_size
    plane = op.c * op.v_h * op.v_w * line
    width = (op.tiles - 1) * op.m + op.n
    for c in range(op.c):
        for i in range(op.h):
            source = dv + (c * op.v_h + i + op.ph) * op.v_w * line
            target = dx + (c * op.h + i) * op.w * line
            if op.n == 1:
                copy_lines(source + op.pw * line, target, op.w, w)
                continue
            zero_lines(op.scratch, width, w)
            call(op.maps, op.map_dx, op.tiles, source, plane, line, op.scratch, line, op.m * line, op.zeros, w)
            copy_lines(op.scratch + op.pw * line, target, op.w, w)
