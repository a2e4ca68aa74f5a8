"""How learning curves go on: a sample of a prior over curves, weighted by what has been seen of them.

Rakotoarison, H. et al. (2024): In-context freeze-thaw Bayesian optimization for hyperparameter optimization. ICML,
arXiv:2404.16795 (a prior of curves that mixes families, breaks and noise, its posterior learnt by a network; here it is
computed, by importance weights). Efron, B. (2010): Large-scale inference. Cambridge University Press, ch. 1 (empirical
Bayes: the prior's own weights come from all curves of a study).

A curve is seen as its *fall*: by how much the least loss so far is below a common level of untrained networks, at
ascending levels of the resource. The unit is the largest fall of the study.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from tunesmith.numerics.streams import stream

FloatArray = NDArray[np.float64]

#: How many shapes the prior's sample has, and which part of them hardly falls, begins late, ends early.
SHAPES, FLAT, LATE, BROKEN = 512, 0.6, 0.1, 0.5
#: How low losses can go is not known: the largest possible fall, in units of the largest seen, may be each of these,
#: and is less likely with this power of it.
REACHES, STEEPNESS = (1.0, 1.4, 2.0, 2.8, 4.0, 6.0, 9.0), 2.0
#: Standard deviation of the normal error that no shape of the sample explains, in the same units.
NOISE = 0.03
#: The prior's own weights count as much as so many curves.
PRIOR_COUNT = 10.0


@lru_cache(maxsize=16)
def shapes(levels: tuple[float, ...]) -> FloatArray:
    """(SHAPES, H) falls at the levels, as parts of the largest one possible; the same ones in every process.

    In equal parts power laws, exponentials and logarithms of the resource, with time constants that are log-uniform
    between 0.3 and 12 times the first level. A whole fall is beta(1, 1.5); between levels it is multiplied by gamma
    noise of variance 1/2, because no curve is smooth.
    """
    rng, n, t = stream(0, 0, "curve_ensemble"), SHAPES, np.array(levels) / levels[0]
    whole = rng.beta(1.0, 1.5, n)[:, None]
    tau = np.exp(rng.uniform(np.log(0.3), np.log(12.0), n))[:, None]
    begin = np.where(rng.random(n) < LATE, np.exp(rng.uniform(0.0, np.log(1.0 + 0.6 * t[-1]), n)), 0.0)
    since = np.maximum(t - begin[:, None], 0.0) / tau
    exponent = np.exp(rng.uniform(np.log(0.3), np.log(2.0), n))[:, None]
    families = np.stack([1.0 - (1.0 + since) ** -exponent, 1.0 - np.exp(-0.5 * since), np.log1p(since)])
    shape = families[rng.integers(3, size=n), np.arange(n)]
    end = np.where(rng.random(n) < BROKEN, np.exp(rng.uniform(0.0, 1.0, n) * np.log(t[-1])), t[-1])
    last = np.searchsorted(t, end, side="right")[:, None] - 1
    shape = np.minimum(shape, np.take_along_axis(shape, last, axis=1))
    pieces = np.diff(shape / np.maximum(shape[:, -1:], 1e-9), axis=1, prepend=0.0)
    pieces *= rng.gamma(2.0, 0.5, pieces.shape)
    falls: FloatArray = np.minimum(whole * np.cumsum(pieces, axis=1), 1.0)
    falls[rng.random(n) < FLAT] *= NOISE
    falls.flags.writeable = False
    return falls


@dataclass(frozen=True)
class Ensemble:
    """What is believed of a study's curves: cells, each a shape with a reach, and their weights.

    Attributes:
        falls: (S, H) shapes, as of :func:`shapes`.
        reach: (G,) by which they may be multiplied.
        weight: (G, S) of the cells for a curve of which nothing has been seen; sums to 1.
    """

    falls: FloatArray
    reach: FloatArray
    weight: FloatArray

    @classmethod
    def learn(cls, levels: tuple[float, ...], seen: FloatArray, count: NDArray[np.int64]) -> Ensemble:
        """The weights that curves give to the shapes, for each reach (one step of expectation maximisation).

        How likely a reach is is not learnt: the curves say little of what has not happened yet, and a model that is
        slightly wrong would be sure of it.

        Args:
            levels: H resources, ascending.
            seen: (n, H) falls.
            count: (n,) at how many levels each curve has been, at least 1; what ``seen`` has beyond is not looked at.
        """
        falls, reach = shapes(levels), np.array(REACHES)
        prior = reach**-STEEPNESS / (reach**-STEEPNESS).sum()
        logs = _fits(falls, reach, seen, count)
        shares = np.exp(logs - logs.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        weight = (PRIOR_COUNT / len(falls) + shares.sum(axis=0)) / (PRIOR_COUNT + len(seen))
        return cls(falls, reach, weight * prior[:, None])

    def posterior(self, seen: FloatArray, count: NDArray[np.int64]) -> FloatArray:
        """(n, G, S) weights of the cells for curves that have been seen; see :meth:`learn` for the arguments."""
        logs = _fits(self.falls, self.reach, seen, count) + np.log(self.weight)
        logs -= logs.max(axis=(1, 2), keepdims=True)
        weights = np.exp(logs)
        return weights / weights.sum(axis=(1, 2), keepdims=True)

    def paths(self, weight: FloatArray, paths: int) -> FloatArray:
        """(paths, H) falls that stand for (G, S) weights: a systematic sample, by reach and then by early fall, which
        needs no random numbers and leaves out no part of the distribution with more than ``1 / paths`` of it."""
        order = self._order
        total = np.cumsum(weight[:, order])
        places = (np.arange(paths) + 0.5) / paths * total[-1]
        cell = np.minimum(np.searchsorted(total, places), len(total) - 1)
        g, s = np.divmod(cell, len(order))
        found: FloatArray = self.falls[order[s]] * self.reach[g][:, None]
        return found

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Shapes by their fall at an early level."""
        return np.argsort(self.falls[:, min(3, self.falls.shape[1] - 1)], kind="stable")


def _fits(falls: FloatArray, reach: FloatArray, seen: FloatArray, count: NDArray[np.int64]) -> FloatArray:
    """(n, G, S) logarithms of the likelihoods of shapes times reaches, up to a constant of each curve."""
    known = np.where(np.arange(seen.shape[1]) < count[:, None], seen, 0.0)
    squares, cross = np.cumsum(falls**2, axis=1).T[count - 1], known @ falls.T
    g = reach[:, None]
    found: FloatArray = (g * cross[:, None, :] - 0.5 * g * g * squares[:, None, :]) / NOISE**2
    return found
