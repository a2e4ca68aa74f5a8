"""SGD and Adam over all parameters of all lanes in one pass each, and the penalties that come before.

The arithmetic is that of :mod:`tunesmith.train.lanes.update_rules`, operation by operation with one rounding each, so
that the numbers are the same to the last bit; only the memory is gone through once instead of ten times.
``rows`` holds the settings, a line each.
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.vectors import as_int, like, load, select, splat, sqrt, store

#: Lines whose squares are summed by themselves before they are added to the total: rounding grows with the number of
#: summands.
_PIECE = 512


def sum_of_squares(gradients, n, total, w):  # type: ignore[no-untyped-def]
    """The sum over each lane's n gradients, in eight parts, piece by piece, to the line ``total``."""
    line = line_bytes(w)
    whole = splat(0.0, w)
    for start in range(0, n, _PIECE):
        end = min(n, start + _PIECE)
        a = b = c = d = splat(0.0, w)
        last = start + (end - start) // 4 * 4
        for i in range(start, last, 4):
            p, q = load(gradients + i * line, w), load(gradients + (i + 1) * line, w)
            r, s = load(gradients + (i + 2) * line, w), load(gradients + (i + 3) * line, w)
            a, b, c, d = a + p * p, b + q * q, c + r * r, d + s * s
        for i in range(last, end):
            p = load(gradients + i * line, w)
            a = a + p * p
        whole = whole + ((a + b) + (c + d))
    store(total, whole)


def lasso(parameters, gradients, n, rows, w):  # type: ignore[no-untyped-def]
    """Add ``l1 * sign(w)``; rows: l1."""
    line = line_bytes(w)
    plus = load(rows, w)
    minus = like(plus, 0.0) - plus
    for i in range(0, n * line, line):
        p = load(parameters + i, w)
        sign = select(p > 0.0, plus, select(p < 0.0, minus, 0.0))
        store(gradients + i, load(gradients + i, w) + sign)


def shrink(gradients, n, rows, w):  # type: ignore[no-untyped-def]
    """Multiply; rows: the factor."""
    line = line_bytes(w)
    factor = load(rows, w)
    for i in range(0, n * line, line):
        store(gradients + i, load(gradients + i, w) * factor)


def sgd(parameters, gradients, buffer, n, rows, w):  # type: ignore[no-untyped-def]
    """One step of SGD; rows: which lanes (all bits set), coupled decay, decoupled decay's factor, momentum, learning
    rate, weight of the gradient, weight of the buffer. ``buffer`` 0: no lane has momentum."""
    line = line_bytes(w)
    here = as_int(load(rows, w)) < 0
    coupled, kept = load(rows + line, w), load(rows + 2 * line, w)
    momentum, lr = load(rows + 3 * line, w), load(rows + 4 * line, w)
    of_gradient, of_buffer = load(rows + 5 * line, w), load(rows + 6 * line, w)
    for i in range(0, n * line, line):
        p = load(parameters + i, w)
        g = load(gradients + i, w) + p * coupled
        step = g
        if buffer != 0:
            before = load(buffer + i, w)
            m = before * momentum + g
            step = m * of_buffer + g * of_gradient
            store(buffer + i, select(here, m, before))
        store(parameters + i, select(here, p * kept - step * lr, p))


def adam(parameters, gradients, mean, square, n, rows, w):  # type: ignore[no-untyped-def]
    """One step of Adam; rows: which lanes, coupled decay, decoupled decay's factor, 1 - beta_1, beta_2, 1 - beta_2,
    root of the second correction, epsilon, step size."""
    line = line_bytes(w)
    here = as_int(load(rows, w)) < 0
    coupled, kept = load(rows + line, w), load(rows + 2 * line, w)
    rate_1, beta_2, rate_2 = load(rows + 3 * line, w), load(rows + 4 * line, w), load(rows + 5 * line, w)
    correction, epsilon, size = load(rows + 6 * line, w), load(rows + 7 * line, w), load(rows + 8 * line, w)
    for i in range(0, n * line, line):
        p, m, v = load(parameters + i, w), load(mean + i, w), load(square + i, w)
        g = load(gradients + i, w) + p * coupled
        m_next = m + (g - m) * rate_1
        v_next = v * beta_2 + g * g * rate_2
        step = m_next / (sqrt(v_next) / correction + epsilon) * size
        store(mean + i, select(here, m_next, m))
        store(square + i, select(here, v_next, v))
        store(parameters + i, select(here, p * kept - step, p))
