"""Exact Gaussian-process regression: Matérn 5/2 kernel, a lengthscale for each parameter, hyperparameters with priors.

Rasmussen, C. E. and Williams, C. K. I. (2006): Gaussian Processes for Machine Learning. MIT Press: eq. 2.25-2.26 (the
posterior), 4.17 (the kernel), 5.8-5.9 (the log marginal likelihood and its gradient).
Hvarfner, C., Hellsten, E. O. and Nardi, L. (2024): Vanilla Bayesian optimization performs great in high dimensions.
ICML (lengthscales whose prior grows with the root of the dimension).
Tierney, L. and Kadane, J. B. (1986): Accurate approximations for posterior moments and marginal densities. J. Am. Stat.
Assoc. 81, 82-86 (Laplace's approximation of a posterior).
Ginsbourger, D., Le Riche, R. and Carraro, L. (2010): Kriging is well-suited to parallelize optimization (the believer).

An input is a row of *features*. A parameter owns one or several of them (a choice one for each value), which share a
lengthscale. *theta* is the vector of the logarithms of all lengthscales, of the variance of the function and of that of
the noise. Derivatives are analytic; those with respect to all lengthscales together cost one product of matrices.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtri
from scipy.optimize import minimize
from scipy.special import ndtri

from tunesmith.numerics.low_discrepancy import points

FloatArray = NDArray[np.float64]

#: Where the logarithms may lie: lengthscales, variance of the function, variance of the noise.
_LENGTHSCALE, _SIGNAL, _NOISE = (-4.0, 8.0), (-4.0, 4.0), (-13.0, 2.0)
#: Least curvature of the log density that Laplace's approximation believes, as that of a prior with sd 1.8.
_FLATTEST = 0.3
#: Variance of the noise of what is believed, as a part of that of the function.
_BELIEVED = 1e-6
#: Members of a mixture with less than this part of the largest weight are left out.
_NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Normal:
    """A normal prior of a logarithm: its mean and standard deviation."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Prior:
    """Independent log-normal priors for standardised outputs over the unit cube.

    Attributes:
        lengthscale: of every parameter; see :meth:`scaled`.
        signal: variance of the function.
        noise: variance of the noise; its mean and sd are those of Hvarfner et al. (2024).
    """

    lengthscale: Normal
    signal: Normal = Normal(0.0, 0.5)
    noise: Normal = Normal(-4.0, 1.0)

    @classmethod
    def scaled(cls, dimension: int) -> Prior:
        """Lengthscales that grow with the root of the number of parameters, so that the correlation of two typical
        points does not vanish in many dimensions (Hvarfner 2024, sec. 4).

        Their median is 0.6 sqrt(d), shorter than the paper's 4.1 sqrt(d), with sd 1 instead of 1.7: from ten to forty
        noisy results of networks such a model ranks configurations better. A fit under the paper's prior often ends at
        a mode of long lengthscales where another, of higher density, has short ones."""
        return cls(Normal(-0.5 + 0.5 * math.log(max(dimension, 1)), 1.0))


def squared_distances(z: FloatArray, other: FloatArray) -> FloatArray:
    """(..., n, m) squared Euclidean distances of the rows of (..., n, F) and (..., m, F)."""
    s = z @ np.swapaxes(other, -1, -2)
    s *= -2.0
    s += (z * z).sum(axis=-1)[..., :, None]
    s += (other * other).sum(axis=-1)[..., None, :]
    return np.maximum(s, 0.0, out=s)


def matern52(s: FloatArray, signal: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """The Matérn 5/2 kernel and its derivative with respect to the squared distance.

    Args:
        s: squared distances in units of the lengthscales; overwritten.
        signal: variance of the function.

    Returns:
        signal (1 + r + r^2 / 3) exp(-r) with r = sqrt(5 s), and -5/6 signal (1 + r) exp(-r).
    """
    s *= 5.0
    r = np.sqrt(s)
    e = np.exp(-r)
    e *= signal
    r += 1.0
    s /= 3.0
    s += r
    s *= e
    r *= e
    r *= -5.0 / 6.0
    return s, r


def _covariance(z: FloatArray, signal: float) -> tuple[FloatArray, FloatArray]:
    """(n, n) kernel among (n, F) scaled features, and its derivative with respect to the squared distance."""
    s = squared_distances(z, z)
    s.flat[:: len(s) + 1] = 0.0
    return matern52(s, signal)


class NotPositiveError(ArithmeticError):
    """The covariance matrix of a theta is not positive definite in float64."""


def cholesky(k: FloatArray, noise: float) -> FloatArray:
    """Lower factor L of ``k + noise * I`` for a symmetric (n, n) ``k``, which is left alone.

    Raises:
        NotPositiveError: there is none in float64.
    """
    a = k.copy()
    a.flat[:: len(a) + 1] += noise
    factor, info = dpotrf(a.T, lower=1, clean=1, overwrite_a=1)
    if info:
        raise NotPositiveError(f"The covariance of {len(k)} points is not positive definite (leading minor {info}).")
    return factor


def _solved(chol: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) and (n, n): K^-1 y and K^-1 for K = L L^T."""
    alpha, _ = dpotrs(chol, y, lower=1)
    inverse, _ = dpotri(chol, lower=1)
    diagonal = np.diagonal(inverse).copy()
    inverse = inverse + inverse.T
    inverse.flat[:: len(y) + 1] = diagonal
    return alpha, inverse


class Evidence:
    """Minus the log posterior density of theta, up to a constant, with its gradient.

    Args:
        group: (F,) number of the lengthscale of each feature, from 0 without a gap.
        prior: of the hyperparameters.
        x: (n, F) features.
        y: (n,) outputs, about standardised.

    Attributes:
        start: the prior's means.
        limits: lowest and highest theta.
    """

    def __init__(self, group: NDArray[np.int64], prior: Prior, x: FloatArray, y: FloatArray) -> None:
        self.group, self.x, self.y = group, x, y
        self.n_lengthscales = int(group.max()) + 1 if len(group) else 0
        priors = [prior.lengthscale] * self.n_lengthscales + [prior.signal, prior.noise]
        self._mean, self._sd = np.array([p.mean for p in priors]), np.array([p.sd for p in priors])
        ranges = np.array([_LENGTHSCALE] * self.n_lengthscales + [_SIGNAL, _NOISE])
        self.limits = ranges[:, 0].copy(), ranges[:, 1].copy()
        self.start = np.clip(self._mean, *self.limits)

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient, as long as theta; infinity where the covariance is not positive definite."""
        noise = math.exp(theta[-1])
        z = self.x * np.exp(-theta[:-2])[self.group]
        k, slope = _covariance(z, math.exp(theta[-2]))
        try:
            chol = cholesky(k, noise)
        except NotPositiveError:
            return math.inf, np.zeros(len(theta))
        alpha, inverse = _solved(chol, self.y)
        off = (theta - self._mean) / self._sd
        value = 0.5 * float(self.y @ alpha) + float(np.log(np.diagonal(chol)).sum()) + 0.5 * float(off @ off)
        outer = np.multiply.outer(alpha, alpha)
        outer -= inverse  # twice the derivative of the log evidence with respect to the covariance (eq. 5.9)
        gradient = off / self._sd
        gradient[-2] -= 0.5 * float(np.vdot(outer, k))
        gradient[-1] -= 0.5 * noise * float(np.trace(outer))
        slope *= outer
        by_z = z * slope.sum(axis=1)[:, None] - slope @ z
        by_z *= z
        gradient[:-2] += 2.0 * np.bincount(self.group, by_z.sum(axis=0), minlength=self.n_lengthscales)
        return value, gradient


def fit(evidence: Evidence, starts: Sequence[FloatArray], evaluations: int) -> FloatArray:
    """The best theta found by L-BFGS-B from each of ``starts``, with at most about ``evaluations`` from each."""
    low, high = evidence.limits
    best, least = np.clip(starts[0], low, high), math.inf
    for start in starts:
        found = minimize(
            evidence, np.clip(start, low, high), jac=True, method="L-BFGS-B", bounds=np.stack([low, high], axis=1),
            options={"maxfun": evaluations, "ftol": 1e-5, "gtol": 1e-2},
        )  # fmt: skip
        if found.fun < least and np.isfinite(found.x).all():
            best, least = np.clip(found.x, low, high), float(found.fun)
    return best


def mixture(evidence: Evidence, mode: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Thetas that stand for the posterior of theta, rather than its mode alone.

    They are quasi-random points of Laplace's approximation at the mode (its curvature from differences of gradients),
    with importance weights. A weight may be at most e times the median one, so that a point far out does not decide
    alone.

    Args:
        evidence: the density.
        mode: where it is highest.
        n: how many; 1 gives the mode.

    Returns:
        (m, size) thetas, at most n, and the (m,) logarithms of their weights, which sum to 1.
    """
    alone = mode[None], np.zeros(1)
    if n == 1:
        return alone
    (top, at), step = evidence(mode), 1e-3
    curvature = np.array([(evidence(mode + step * row)[1] - at) / step for row in np.eye(len(mode))])
    if not np.isfinite(curvature).all():
        return alone
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    z = _normal_points(len(mode), n)
    thetas = np.clip(mode + (z / np.sqrt(np.maximum(values, _FLATTEST))) @ vectors.T, *evidence.limits)
    weights = top - np.array([evidence(theta)[0] for theta in thetas]) + 0.5 * (z * z).sum(axis=1)
    if not np.isfinite(weights).any():
        return alone
    weights = np.minimum(weights, np.sort(weights)[n // 2] + 1.0)
    keep = weights > weights.max() + math.log(_NEGLIGIBLE)
    return thetas[keep], weights[keep] - np.logaddexp.reduce(weights[keep])


@lru_cache(maxsize=64)
def _normal_points(size: int, n: int) -> FloatArray:
    """(n, size) scrambled Sobol' points, the same ones always, as normal quantiles."""
    return ndtri(np.clip(points("sobol", size, np.arange(n), scramble=True, seed=1), 1e-3, 1.0 - 1e-3))


class Posterior:
    """What is known of the function after observing it with noise, under each of M thetas.

    Args:
        group: (F,) number of the lengthscale of each feature.
        thetas: (M, size).
        x: (n, F) features of the observed points.
        y: (n,) observed outputs.
    """

    def __init__(self, group: NDArray[np.int64], thetas: FloatArray, x: FloatArray, y: FloatArray) -> None:
        self._inverse = np.exp(-thetas[:, :-2])[:, group][:, None, :]
        self._signal = np.exp(thetas[:, -2])
        self._z = x * self._inverse
        n, members = len(y), len(thetas)
        self._root, self._alpha = np.empty((members, n, n)), np.empty((members, n))  # L^-1 and K^-1 y
        for k, (z, signal, noise) in enumerate(zip(self._z, self._signal, np.exp(thetas[:, -1]), strict=True)):
            chol = _regularised(_covariance(z, signal)[0], noise)
            self._root[k], _ = dtrtri(chol, lower=1)
            self._alpha[k], _ = dpotrs(chol, y, lower=1)

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(M, m) means and variances of the function, without noise, at (m, F) features."""
        k, _ = self._kernel(x * self._inverse)
        return (k @ self._alpha[:, :, None])[:, :, 0], self._variance(k @ np.swapaxes(self._root, 1, 2))

    def predict_with_gradient(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(M, m) means, (M, m) variances, and their (M, m, F) gradients with respect to the features."""
        z = x * self._inverse
        k, slope = self._kernel(z)
        v = k @ np.swapaxes(self._root, 1, 2)
        mean = (k @ self._alpha[:, :, None])[:, :, 0]
        by_mean, by_variance = slope * self._alpha[:, None, :], slope * (v @ self._root)
        by_mean *= 2.0
        by_variance *= -4.0
        mean_gradient = z * by_mean.sum(axis=2)[:, :, None] - by_mean @ self._z
        variance_gradient = z * by_variance.sum(axis=2)[:, :, None] - by_variance @ self._z
        return mean, self._variance(v), self._inverse * mean_gradient, self._inverse * variance_gradient

    def _kernel(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return matern52(squared_distances(z, self._z), self._signal[:, None, None])

    def _variance(self, v: FloatArray) -> FloatArray:
        """(M, m), given the (M, m, n) rows L^-1 k."""
        signal = self._signal[:, None]
        return np.maximum(signal - (v * v).sum(axis=2), 1e-10 * signal)

    def believing(self, x: FloatArray) -> Posterior:
        """This posterior after observing its own means at (m, F) features, one after the other: no mean changes, but
        the variance around them does.

        What is believed has no noise, or in a noisy study a whole batch would go to one place."""
        other = copy.copy(self)
        for row in x:
            other._append(row * self._inverse)
        return other

    def _append(self, z: FloatArray) -> None:
        """One row more of L^-1, for (M, 1, F) scaled features."""
        k = self._kernel(z)[0]
        v = k @ np.swapaxes(self._root, 1, 2)
        exact = _BELIEVED * self._signal
        pivot = np.sqrt(np.maximum(self._signal + exact - (v * v).sum(axis=(1, 2)), exact))
        members, n = self._alpha.shape
        root = np.zeros((members, n + 1, n + 1))
        root[:, :n, :n] = self._root
        root[:, n, :n] = -(v @ self._root)[:, 0, :] / pivot[:, None]
        root[:, n, n] = 1.0 / pivot
        self._root, self._z = root, np.concatenate([self._z, z], axis=1)
        self._alpha = np.concatenate([self._alpha, np.zeros((members, 1))], axis=1)


def _regularised(k: FloatArray, noise: float) -> FloatArray:
    """Lower factor of ``k`` with this noise, or with ten, a hundred, ... times it, if that is not positive definite."""
    while True:
        try:
            return cholesky(k, noise)
        except NotPositiveError:
            noise *= 10.0
