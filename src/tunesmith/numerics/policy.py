"""A factorised categorical policy over the unit cube, and its policy gradient.

Williams, R. J. (1992): Simple statistical gradient-following algorithms for connectionist reinforcement learning.
Machine Learning 8, 229-256.
Schulman, J., Wolski, F., Dhariwal, P., Radford, A. and Klimov, O. (2017): Proximal policy optimization algorithms.
arXiv:1707.06347.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.space import FloatArray

#: Largest difference of two logits of a coordinate: no cell becomes impossible.
SPREAD = 20.0


class Policy:
    """Every coordinate of the unit cube is cut into cells of equal width; a cell is drawn by a softmax, and a point
    uniformly within it. Coordinates are drawn independently of each other.

    What is learnt are the heights of bumps over the cells. On a *smooth* coordinate they are Gaussian with a standard
    deviation of one cell, so that a good result speaks for the neighbouring cells, too; on others they are one cell
    each. A gradient with respect to the heights moves the logits by the bumps' Gram matrix times that with respect to
    the logits.

    Args:
        sizes: (d,) number of cells of each coordinate, at least 1.
        smooth: (d,) whether neighbouring cells are alike.

    Attributes:
        logits: (S,) of the cells of all coordinates, one coordinate after the other; the largest of each is 0.
        p: (S,) the probabilities of the cells; those of one coordinate sum to 1.
    """

    def __init__(self, sizes: Sequence[int], smooth: Sequence[bool]) -> None:
        self._sizes = np.array(sizes, np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._kernels = [
            (slice(start, start + k), _gram(k))
            for start, k, bumps in zip(self._starts.tolist(), sizes, smooth, strict=True)
            if bumps and k > 1
        ]
        self.logits: FloatArray = np.zeros(int(self._sizes.sum()))
        self._move(np.zeros(len(self.logits)))

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """(n, d) points of the unit cube."""
        u, within = rng.random((2, n, len(self._sizes)))
        ends = np.cumsum(self.p)
        base = ends[self._starts] - self.p[self._starts]
        cells = np.searchsorted(ends, base + u * self._totals(self.p), side="right") - self._starts
        return (np.clip(cells, 0, self._sizes - 1) + within) / self._sizes

    def log_prob(self, x: FloatArray) -> FloatArray:
        """(b,) of the cells in which the points x (b, d) lie; NaN stands for a coordinate that has no part in it."""
        at, here = self._found(x)
        return np.where(here, np.log(self.p[at]), 0.0).sum(axis=1)

    def gradient(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """(S,) sum over the points x (b, d) of ``weight`` (b,) times the gradient of their log-probability with respect
        to the logits (one-hot minus p)."""
        at, here = self._found(x)
        weights = np.where(here, weight[:, None], 0.0)
        found = -np.repeat(weights.sum(axis=0), self._sizes) * self.p
        np.add.at(found, at, weights)
        return found

    def entropy_gradient(self) -> FloatArray:
        """(S,) of the sum of the coordinates' entropies with respect to the logits."""
        surprise = -np.log(self.p)
        return self.p * (surprise - np.repeat(self._totals(self.p * surprise), self._sizes))

    def learn(
        self, x: FloatArray, advantage: FloatArray, rate: float, entropy: float, clip: float | None, epochs: int
    ) -> None:
        """Ascend the policy gradient, averaged over a batch that this policy has drawn.

        Args:
            x: (b, d) what was drawn; NaN stands for a coordinate that had no part in it.
            advantage: (b,) how much better than expected it turned out.
            rate: learning rate.
            entropy: weight of the entropy bonus.
            clip: epsilon of the clipped surrogate (Schulman et al. 2017, eq. 7: a point has no gradient once its
                probability has changed by more than that for its own good); ``None``: REINFORCE (Williams 1992).
            epochs: steps on this batch.
        """
        before = self.log_prob(x)
        for _ in range(epochs):
            weight = advantage / len(x)
            if clip is not None:
                ratio = np.exp(np.clip(self.log_prob(x) - before, -SPREAD, SPREAD))
                done = np.where(advantage > 0, ratio > 1.0 + clip, ratio < 1.0 - clip)
                weight = np.where(done, 0.0, weight * ratio)
            self._move(rate * (self.gradient(x, weight) + entropy * self.entropy_gradient()))

    def _found(self, x: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(b, d) index of the cell in the flat arrays (the coordinate's first where x is NaN), and where x is not."""
        here = ~np.isnan(x)
        cells = np.minimum(np.floor(np.where(here, x, 0.0) * self._sizes), self._sizes - 1)
        return self._starts + cells.astype(np.int64), here

    def _move(self, direction: FloatArray) -> None:
        for where, gram in self._kernels:
            direction[where] = gram @ direction[where]
        moved = self.logits + direction
        moved -= np.repeat(np.maximum.reduceat(moved, self._starts), self._sizes)
        self.logits = np.maximum(moved, -SPREAD)
        weights = np.exp(self.logits)
        self.p = weights / np.repeat(self._totals(weights), self._sizes)

    def _totals(self, cells: FloatArray) -> FloatArray:
        """(d,) sums over each coordinate's cells."""
        totals: FloatArray = np.add.reduceat(cells, self._starts)
        return totals


def _gram(k: int) -> FloatArray:
    """(k, k) inner products of Gaussian bumps of standard deviation 1 at 0 .. k - 1, 1 with themselves; reflected at
    the walls, so that all bumps have the same mass and none of the cells is preferred."""
    i, j = np.ogrid[:k, :k]
    apart = np.array([i - j, i + j + 1, 2 * k - 1 - i - j], float)
    return np.exp(-0.25 * apart**2).sum(axis=0)
