"""Whole functions drawn from a Gaussian process, by random features and a correction where something was observed.

Rahimi, A. and Recht, B. (2007): Random features for large-scale kernel machines. NeurIPS (the features).
Wilson, J. T. et al. (2020): Efficiently sampling functions from Gaussian process posteriors. ICML, 10292-10302
(arXiv:2002.09309; the correction, Matheron's rule). The kernel is Matern's with smoothness 5/2 and variance 1, on rows
that are scaled beforehand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Added to the noise, so that equal rows make no singular matrix.
_JITTER = 1e-8
#: Smallest variance of the signal: of outcomes that are all equal.
_LEAST = 1e-12


def matern52(squared: FloatArray) -> FloatArray:
    """Matern's kernel with smoothness 5/2 at squared scaled distances (Rasmussen and Williams 2006, eq. 4.17)."""
    r = np.sqrt(5.0 * np.maximum(squared, 0.0))
    found: FloatArray = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return found


def squared_distances(A: FloatArray, B: FloatArray) -> FloatArray:
    """(n, m) between the rows of (n, p) and of (m, p)."""
    found: FloatArray = (A * A).sum(axis=1)[:, None] + (B * B).sum(axis=1) - 2.0 * (A @ B.T)
    return np.maximum(found, 0.0)


def _factor(squared: FloatArray, noise: float) -> FloatArray:
    """(n, n) lower Cholesky factor of the kernel matrix with noise."""
    from scipy.linalg import cholesky  # slow to import, so only when it is needed

    K = matern52(squared)
    K[np.diag_indices(len(K))] += noise + _JITTER
    found: FloatArray = cholesky(K, lower=True, overwrite_a=True, check_finite=False)
    return found


def _scale(L: FloatArray, y: FloatArray) -> float:
    """The best variance of the signal (the maximum of the evidence over it)."""
    return max(float(y @ _solved(L, y)) / max(1, len(y)), _LEAST)


def _solved(L: FloatArray, y: FloatArray) -> FloatArray:
    """(n,) the kernel matrix's inverse times y."""
    from scipy.linalg import cho_solve

    found: FloatArray = cho_solve((L, True), y, check_finite=False)
    return found


def log_evidence(squared: FloatArray, y: FloatArray, noise: float) -> float:
    """Log marginal likelihood (up to a constant) of (n,) outcomes with mean 0 at (n, n) squared scaled distances.

    The signal has its best variance; ``noise`` is a part of that (Rasmussen and Williams 2006, eq. 2.30).
    """
    L = _factor(squared, noise)
    return -0.5 * len(y) * math.log(_scale(L, y)) - float(np.log(np.diag(L)).sum())


class Path:
    """One function from the posterior, to be looked at anywhere.

    Args:
        X: (n, p) scaled rows.
        y: (n,) outcomes with mean 0.
        noise: variance of the noise, as a part of the signal's (which has its best value).
        rng: chooses the function.
        features: random features of the prior; their error is of the order features^(-1/2), and less near the data.
    """

    def __init__(self, X: FloatArray, y: FloatArray, noise: float, rng: np.random.Generator, features: int) -> None:
        # the spectral density of Matern 5/2 is Student's t with 5 degrees of freedom
        spread = np.sqrt(5.0 / rng.chisquare(5.0, features))
        self._frequencies = rng.standard_normal((X.shape[1], features)) * spread
        self._phases = rng.uniform(0.0, 2.0 * math.pi, features)
        self._X = X
        L = _factor(squared_distances(X, X), noise)
        scale = math.sqrt(_scale(L, y))
        self._weights = scale * math.sqrt(2.0 / features) * rng.standard_normal(features)
        wrong = y - self._prior(X) - scale * math.sqrt(noise + _JITTER) * rng.standard_normal(len(y))
        self._correction = _solved(L, wrong)

    def _prior(self, X: FloatArray) -> FloatArray:
        found: FloatArray = np.cos(X @ self._frequencies + self._phases) @ self._weights
        return found

    def __call__(self, X: FloatArray) -> FloatArray:
        """(m,) values at (m, p) scaled rows (Wilson 2020, eq. 13)."""
        found: FloatArray = self._prior(X) + matern52(squared_distances(X, self._X)) @ self._correction
        return found
