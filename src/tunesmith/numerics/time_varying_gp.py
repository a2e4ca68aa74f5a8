"""Gaussian-process regression of a function that changes with time.

Bogunovic, I., Scarlett, J. and Cevher, V. (2016): Time-varying Gaussian process bandit optimization. AISTATS. (Eq. 4-5:
the covariance of two observations falls by a factor with each unit of time between them.)
Desautels, T., Krause, A. and Burdick, J. (2014): Parallelizing exploration-exploitation tradeoffs in Gaussian process
bandit optimization. JMLR 15. (Section 3: what is still running is believed to give the mean.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]

#: Where the logarithms of lengthscale, forgetting and noise may lie, where the fit begins, and how firmly it is held
#: there (the standard deviation of a normal prior): for standardised values over the unit cube.
_BOUNDS = ((-3.0, 2.0), (-7.0, -0.7), (-9.0, 0.7))
_START = np.array([-1.0, -2.3, -2.3])
_SD = np.array([1.0, 1.0, 1.5])


@dataclass(frozen=True)
class TimeVaryingGP:
    """The model ``k((x, t), (x', t')) = exp(-|x - x'|^2 / 2 l^2) (1 - e)^(|t - t'| / 2)`` with noise, given data.

    Attributes:
        x: (n, d) inputs in the unit cube.
        t: (n,) their times.
        lengthscale, forgetting, noise: l, e, and the variance of the noise, of standardised values.
        mean, scale: of the values.
        weights: (n,) ``K^-1`` times the standardised values.
        factor: (n, n) lower Cholesky factor of K.
    """

    x: FloatArray
    t: FloatArray
    lengthscale: float
    forgetting: float
    noise: float
    mean: float
    scale: float
    weights: FloatArray
    factor: FloatArray

    @classmethod
    def fit(cls, x: FloatArray, t: FloatArray, y: FloatArray) -> TimeVaryingGP:
        """The model whose three parameters have the highest posterior density.

        Args:
            x: (n, d), n at least 1. t: (n,). y: (n,) finite values.
        """
        mean, scale = float(y.mean()), float(y.std()) or 1.0
        z = (y - mean) / scale
        squared, apart = _distances(x, x), np.abs(t[:, None] - t[None, :])

        def cost(theta: FloatArray) -> float:
            covariance = _kernel(squared, apart, math.exp(theta[0]), math.exp(theta[1]))
            covariance.flat[:: len(z) + 1] += math.exp(theta[2])
            factor = cholesky(covariance, lower=True, check_finite=False)
            fit = solve_triangular(factor, z, lower=True, check_finite=False)
            prior = ((theta - _START) / _SD) ** 2
            return float(0.5 * fit @ fit + np.log(np.diagonal(factor)).sum() + 0.5 * prior.sum())

        theta = minimize(cost, _START, method="L-BFGS-B", bounds=_BOUNDS, options={"maxiter": 40}).x
        length, forgetting, noise = np.exp(theta).tolist()
        covariance = _kernel(squared, apart, length, forgetting)
        covariance.flat[:: len(z) + 1] += noise
        factor = cholesky(covariance, lower=True)
        return cls(x, t, length, forgetting, noise, mean, scale, cho_solve((factor, True), z), factor)

    def predict(self, x: FloatArray, t: float) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, (m,) each, of the function (without noise) at (m, d) inputs and one time."""
        cross = self._cross(x, np.full(len(x), t))
        spread = solve_triangular(self.factor, cross.T, lower=True)
        variance = np.maximum(1.0 - (spread * spread).sum(axis=0), 1e-12)
        return self.mean + self.scale * (cross @ self.weights), self.scale * np.sqrt(variance)

    def believing(self, x: FloatArray, t: float) -> TimeVaryingGP:
        """The model after (m, d) inputs at a time have given what it predicts: surer there, and of the same mean."""
        if not len(x):
            return self
        times = np.full(len(x), t)
        cross = self._cross(x, times)
        own = _kernel(_distances(x, x), np.zeros((len(x), len(x))), self.lengthscale, self.forgetting)
        own.flat[:: len(x) + 1] += self.noise
        lower = solve_triangular(self.factor, cross.T, lower=True)
        corner = cholesky(own - lower.T @ lower, lower=True)
        n, m = len(self.x), len(x)
        factor = np.zeros((n + m, n + m))
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self.factor, lower.T, corner
        weights = np.concatenate([self.weights, np.zeros(m)])  # the mean stays where it is
        x, t_all = np.concatenate([self.x, x]), np.concatenate([self.t, times])
        return TimeVaryingGP(
            x, t_all, self.lengthscale, self.forgetting, self.noise, self.mean, self.scale, weights, factor
        )

    def _cross(self, x: FloatArray, t: FloatArray) -> FloatArray:
        apart = np.abs(t[:, None] - self.t[None, :])
        return _kernel(_distances(x, self.x), apart, self.lengthscale, self.forgetting)


def _distances(x: FloatArray, other: FloatArray) -> FloatArray:
    """(n, m) squared distances."""
    return ((x[:, None, :] - other[None, :, :]) ** 2).sum(axis=2)


def _kernel(squared: FloatArray, apart: FloatArray, length: float, forgetting: float) -> FloatArray:
    exponent = squared * (-0.5 / length**2) + apart * (0.5 * math.log1p(-forgetting))
    return np.asarray(np.exp(exponent))


def upper_bound(model: TimeVaryingGP, x: FloatArray, t: float) -> FloatArray:
    """(m,) ``mean + sqrt(beta) sd`` with ``beta = 0.2 + max(0, log(0.4 t))``, the schedule of Parker-Holder et al."""
    mean, sd = model.predict(x, t)
    return mean + math.sqrt(0.2 + max(0.0, math.log(0.4 * max(t, 1.0)))) * sd
