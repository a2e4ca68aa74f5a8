"""The losses of :mod:`tunesmith.train.losses` and their gradients with respect to the logits.

With p = softmax(z), targets t, and ``d = dL/dz`` (T is the sum of the targets, 1 up to rounding):

- cross-entropy: L = T log sum_c exp(z_c) - sum_c t_c z_c, d = T p - t
- squared error: L = sum_c (p_c - t_c)^2, d = p * (e - sum_c e_c p_c) with e = 2 (p - t)
- focal: L = -sum_c t_c q_c^gamma log p_c with q = max(1 - p, 2**-24); with the derivative by log p,
  ``a = -t (q^gamma - gamma q^(gamma - 1) p log p)`` (without its second term where q is at its bound),
  d = a - p sum_c a_c
- hinge: L = sum_c t_c max(0, 1 - z_c) + (1 - t_c) max(0, 1 + z_c), d = -t [z < 1] + (1 - t) [z > -1]
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import kernel
from tunesmith.train.lanes.simd.elementary import exp, log
from tunesmith.train.lanes.simd.memory import copy_lines, operation_at, step_record_at
from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.vectors import fma, like, load, select, splat, store

_FLOOR = 2.0**-24


def logits(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """In evaluation: write the logits to ``step.logits``."""
    op, step = operation_at(op_at), step_record_at(step_at)
    for s in range(s0, s1):
        copy_lines(op.x + s % op.x_keep * op.x_size, step.logits + (first + s) * step.target_size, op.c, w)


def cross_entropy(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """As all losses: add to ``step.losses`` and ``step.hits``, and write the gradient of the batch's mean."""
    op, step = operation_at(op_at), step_record_at(step_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        z, d, t = _places(op, step, s, first)
        top, log_total = _softmax(z, d, step.classes, w)
        found = mass = splat(0.0, w)
        for c in range(0, step.classes * line, line):
            target = load(t + c, w)
            found = found - target * ((load(z + c, w) - top) - log_total)
            mass = mass + target
        for c in range(0, step.classes * line, line):
            store(d + c, mass * load(d + c, w) - load(t + c, w))
        _count(step, z, d, t, found, w)


def squared_error(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """The Brier score."""
    op, step = operation_at(op_at), step_record_at(step_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        z, d, t = _places(op, step, s, first)
        _softmax(z, d, step.classes, w)
        found = mean = splat(0.0, w)
        for c in range(0, step.classes * line, line):
            p = load(d + c, w)
            error = p - load(t + c, w)
            found = fma(error, error, found)
            mean = fma(error * 2.0, p, mean)
        for c in range(0, step.classes * line, line):
            p = load(d + c, w)
            store(d + c, p * ((p - load(t + c, w)) * 2.0 - mean))
        _count(step, z, d, t, found, w)


def focal(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """With each lane's gamma."""
    op, step = operation_at(op_at), step_record_at(step_at)
    line = line_bytes(w)
    gamma = load(step.gamma, w)
    for s in range(s0, s1):
        z, d, t = _places(op, step, s, first)
        top, log_total = _softmax(z, d, step.classes, w)
        found = mass = splat(0.0, w)
        for c in range(0, step.classes * line, line):
            a, part = _focal_part(z + c, d + c, t + c, top, log_total, gamma, w)
            mass, found = mass + a, found - part
        for c in range(0, step.classes * line, line):
            a, _ = _focal_part(z + c, d + c, t + c, top, log_total, gamma, w)
            store(d + c, a - load(d + c, w) * mass)
        _count(step, z, d, t, found, w)


def hinge(op_at, step_at, s0, s1, first, w):  # type: ignore[no-untyped-def]
    """One against the rest."""
    op, step = operation_at(op_at), step_record_at(step_at)
    line = line_bytes(w)
    for s in range(s0, s1):
        z, d, t = _places(op, step, s, first)
        found = splat(0.0, w)
        for c in range(0, step.classes * line, line):
            value, target = load(z + c, w), load(t + c, w)
            under, over = like(value, 1.0) - value, value + 1.0
            rest = like(target, 1.0) - target
            found = found + target * select(under < 0.0, 0.0, under) + rest * select(over < 0.0, 0.0, over)
            store(d + c, select(over > 0.0, rest, 0.0) - select(under > 0.0, target, 0.0))
        _count(step, z, d, t, found, w)


@kernel
def _places(op, step, s, first):  # type: ignore[no-untyped-def]
    """Addresses of a sample's logits, of their gradient, and of its targets."""
    z, d = op.x + s % op.x_keep * op.x_size, op.dx + s % op.dx_keep * op.x_size
    return z, d, step.targets + (first + s) * step.target_size


@kernel
def _softmax(z, d, n, w):  # type: ignore[no-untyped-def]
    """Write p to ``d``; the largest logit m, and log sum_c exp(z_c - m)."""
    line = line_bytes(w)
    top = load(z, w)
    for c in range(line, n * line, line):
        value = load(z + c, w)
        top = select(top > value, top, value)
    total = splat(0.0, w)
    for c in range(0, n * line, line):
        e = exp(load(z + c, w) - top)
        store(d + c, e)
        total = total + e
    for c in range(0, n * line, line):
        store(d + c, load(d + c, w) / total)
    return top, log(total)


@kernel
def _focal_part(z, p_at, t, top, log_total, gamma, w):  # type: ignore[no-untyped-def]
    """(a, t q^gamma log p) of one class."""
    p, target = load(p_at, w), load(t, w)
    log_p = (load(z, w) - top) - log_total
    rest = like(p, 1.0) - p
    q = select(rest < _FLOOR, _FLOOR, rest)
    power = exp(gamma * log(q))
    slope = select(rest < _FLOOR, 0.0, gamma * power / q * p * log_p)
    return target * (slope - power), target * power * log_p


@kernel
def _count(step, z, d, t, value, w):  # type: ignore[no-untyped-def]
    """Add a sample's loss and hit to the sums, and make its gradient that of the mean."""
    share = splat(1.0, w) / splat(step.batch, w)
    for c in range(0, step.classes * line_bytes(w), line_bytes(w)):
        store(d + c, load(d + c, w) * share)
    store(step.losses, fma(value, share, load(step.losses, w)))
    store(step.hits, load(step.hits, w) + _hit(z, t, step.classes, w))


@kernel
def _hit(z, t, n, w):  # type: ignore[no-untyped-def]
    """1 where the largest logit and the largest target are of the same class; of equal ones the first counts."""
    line = line_bytes(w)
    best, wanted = load(z, w), load(t, w)
    best_class = wanted_class = splat(0.0, w)
    for c in range(1, n):
        value, target = load(z + c * line, w), load(t + c * line, w)
        better = (value > best) | ((value != value) & (best == best))  # NaN counts as the largest, as in torch
        best, best_class = select(better, value, best), select(better, splat(c, w), best_class)
        better = target > wanted
        wanted, wanted_class = select(better, target, wanted), select(better, splat(c, w), wanted_class)
    return select(best_class == wanted_class, splat(1.0, w), 0.0)
