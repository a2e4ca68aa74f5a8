"""Acquisition functions: how promising points are whose outcomes are normally distributed (smaller is better).

Ament, S. et al. (2023): Unexpected Improvements to Expected Improvement for Bayesian Optimization. NeurIPS
(arXiv:2310.20708), eq. 9 and appendix A (the logarithm of expected improvement without underflow).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

FloatArray = NDArray[np.float64]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_HALF_PI = 0.5 * math.log(0.5 * math.pi)
_ROOT_HALF, _TINY = math.sqrt(0.5), float(np.finfo(float).tiny)
#: Below it 1 - exp(...) has no digit left and the asymptotic series' first term is exact in float64.
_FAR = -1.0 / math.sqrt(np.finfo(float).eps)


def log_h(z: FloatArray) -> FloatArray:
    """log(phi(z) + z Phi(z)), exact to about 1e-10 for every z (Ament 2023, eq. 9)."""
    found = np.empty(z.shape)
    near = z > -1.0
    x = z[near]
    found[near] = np.log(np.exp(-0.5 * x * x - _HALF_LOG_2PI) + x * ndtr(x))
    x = z[~near]
    tail = -2.0 * np.log(-x)
    inner = x >= _FAR
    y = x[inner]
    gap = np.log(erfcx(y * -_ROOT_HALF) * -y) + _HALF_LOG_HALF_PI  # log of -z Phi(z) / phi(z)
    tail[inner] = np.log(-np.expm1(np.minimum(gap, -_TINY)))
    found[~near] = tail - 0.5 * x * x - _HALF_LOG_2PI
    return found


def log_expected_improvement(mean: FloatArray, sd: FloatArray, best: float | FloatArray) -> FloatArray:
    """Logarithm of E max(best - f, 0) for f ~ N(mean, sd^2)."""
    return log_h((best - mean) / sd) + np.log(sd)


def log_expected_improvement_slopes(
    mean: FloatArray, sd: FloatArray, best: float | FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The logarithm of expected improvement and its derivatives with respect to mean and sd."""
    z = (best - mean) / sd
    value = log_h(z)
    by_mean = -np.exp(log_ndtr(z) - value) / sd
    by_sd = np.exp(-0.5 * z * z - _HALF_LOG_2PI - value) / sd
    return value + np.log(sd), by_mean, by_sd


def log_probability_below(mean: FloatArray, sd: FloatArray, bound: float) -> FloatArray:
    """Logarithm of P(f <= bound) for f ~ N(mean, sd^2): the probability of feasibility (Gardner, J. et al. 2014:
    Bayesian optimization with inequality constraints. ICML)."""
    return log_ndtr((bound - mean) / sd)
