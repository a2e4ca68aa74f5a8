"""Exponential, logarithm, hyperbolic tangent, logistic and error function of all lanes, to about 2 units in the last
place.

The usual way: an argument is brought near zero by a power of two, where a polynomial is enough (W. Cody, W. Waite,
"Software manual for the elementary functions", 1980). Polynomials whose coefficients are not plain fractions were
fitted so that the largest error is least. NaN stays NaN, in its lane.
"""

from __future__ import annotations

from tunesmith.train.lanes.simd.compiling import kernel
from tunesmith.train.lanes.simd.vectors import absolute, as_float, as_int, fma, like, select, to_float

_LOG2_E = 1.4426950408889634
#: ln 2 in two parts; products of the first with small integers are exact.
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6
#: Adding it rounds to an integer, which is then in the lowest bits.
_ROUNDER = 12582912.0
#: The bits of sqrt(1/2) and of 1.
_ROOT_HALF, _ONE = 0x3F3504F3, 0x3F800000


@kernel
def clipped(x, low, high):  # type: ignore[no-untyped-def]
    """``x`` in [low, high]; NaN stays."""
    x = select(x < low, low, x)
    return select(x > high, high, x)


@kernel
def _exp_parts(x):  # type: ignore[no-untyped-def]
    """(s, e) with exp(x) = s + s * e and s a power of two, for x in [-87, 88]."""
    rounded = fma(x, _LOG2_E, _ROUNDER)
    k = rounded - _ROUNDER
    r = fma(k, -_LN2_HIGH, x)
    r = fma(k, -_LN2_LOW, r)
    p = fma(r, 1.0 / 5040.0, 1.0 / 720.0)  # the Taylor series; what is left out is below 1e-8 for |r| <= ln(2) / 2
    p = fma(p, r, 1.0 / 120.0)
    p = fma(p, r, 1.0 / 24.0)
    p = fma(p, r, 1.0 / 6.0)
    p = fma(p, r, 0.5)
    return as_float((as_int(rounded) << 23) + _ONE), fma(p * r, r, r)


@kernel
def exp(x):  # type: ignore[no-untyped-def]
    """exp(x) for x in [-87, 88], and the value at the nearer end outside of that."""
    s, e = _exp_parts(clipped(x, -87.0, 88.0))
    return fma(s, e, s)


@kernel
def expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1, likewise; it is as exact near 0."""
    s, e = _exp_parts(clipped(x, -87.0, 88.0))
    return fma(s, e, s - 1.0)


@kernel
def log(x):  # type: ignore[no-untyped-def]
    """ln(x) for positive x that are not subnormal."""
    bits = as_int(x)
    exponent = ((bits + (_ONE - _ROOT_HALF)) >> 23) - 127  # of 2, so that the rest is in [sqrt(1/2), sqrt(2))
    r = as_float(bits - (exponent << 23)) - 1.0
    k = to_float(exponent)
    p = fma(r, 0.06915290499, -0.1178976846)
    p = fma(p, r, 0.1187299037)
    p = fma(p, r, -0.1238435611)
    p = fma(p, r, 0.1421865715)
    p = fma(p, r, -0.1666925034)
    p = fma(p, r, 0.2000222665)
    p = fma(p, r, -0.2499998661)
    p = fma(p, r, 0.3333331044)
    square = r * r
    low = fma(k, _LN2_LOW, p * r * square)
    low = fma(square, -0.5, low)
    found = fma(k, _LN2_HIGH, low + r)
    return select(x != x, x, found)


@kernel
def tanh(x):  # type: ignore[no-untyped-def]
    """With m = exp(-2 |x|) - 1: -m / (2 + m), with the sign of x."""
    m = expm1(absolute(x) * -2.0)
    negative = m / (m + 2.0)
    return select(x > 0.0, like(x, 0.0) - negative, negative)


@kernel
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), without overflow."""
    e = exp(like(x, 0.0) - absolute(x))
    return select(x > 0.0, 1.0, e) / (e + 1.0)


@kernel
def erf(x):  # type: ignore[no-untyped-def]
    """Below 1 a polynomial of x^2; from there 1 - exp(a polynomial), and 1 beyond 4."""
    s = x * x
    p = fma(s, 7.88911508e-05, -0.000802083995)
    p = fma(p, s, 0.00518953519)
    p = fma(p, s, -0.0268544445)
    p = fma(p, s, 0.112836002)
    p = fma(p, s, -0.376126271)
    p = fma(p, s, 0.128379166)
    small = fma(p, x, x)
    t = clipped(absolute(x), 0.0, 4.0)
    q = fma(t, 0.000185576001, -0.00293962631)
    q = fma(q, t, 0.0218053923)
    q = fma(q, t, -0.103037519)
    q = fma(q, t, -0.638225508)
    q = fma(q, t, -1.12704014)
    q = fma(q, t, -0.000353695684)
    large = like(x, 1.0) - exp(q)
    large = select(x < 0.0, like(x, 0.0) - large, large)
    return select(absolute(x) < 1.0, small, large)
