"""The optimizers of the ``cmaes`` package behind one interface: positions in, positions out.

The parts that ``cmaes`` keeps to itself (the step size, the covariance and its decomposition) are read here and nowhere
else. What is not in the package is added here: the handling of bounds and of solutions that come from elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.samplers._cmaes_coordinates import Coordinates
from tunesmith.space import FloatArray

#: A standard deviation of a thousand ranges is a search that has lost its way.
_WIDEST = 1e3


@dataclass(frozen=True)
class Start:
    """The distribution a run begins with.

    Attributes:
        mean: (d,) in the unit cube.
        sigma: its standard deviation there.
        cov: (d, d), or ``None`` for the identity.
        chances: (k, largest number of values) of the choices, or ``None`` for equal ones.
    """

    mean: FloatArray
    sigma: float
    cov: FloatArray | None = None
    chances: FloatArray | None = None


class Engine:
    """One run of an evolution strategy, from its start to its end.

    Args:
        kind: ``"cma"``; ``"separable"``; ``"margin"``; ``"mixed"`` (choices, with margin).
        coordinates: what is searched.
        start: the first distribution.
        population: solutions a generation; ``None``: 4 + floor(3 ln D), Hansen's default.
        lr_adapt: adapt the learning rates (``"cma"`` only).
    """

    def __init__(
        self, kind: str, coordinates: Coordinates, start: Start, population: int | None, lr_adapt: bool = False
    ) -> None:
        import cmaes

        self.coordinates, self.kind = coordinates, kind
        mean = np.clip(start.mean, 0.0, 1.0)
        shared: dict[str, Any] = {"mean": mean, "sigma": start.sigma, "population_size": population, "seed": 0}
        if kind == "cma":
            self.optimizer: Any = cmaes.CMA(**shared, cov=start.cov, lr_adapt=lr_adapt)
        elif kind == "separable":
            self.optimizer = cmaes.SepCMA(**shared)
        elif kind == "margin":
            self.optimizer = self._with_margin(cmaes.CMAwM, shared, start)
        else:
            self.optimizer = self._mixed(cmaes.CatCMAwM, shared, start)
        self._core = self.optimizer._cma if kind == "margin" else self.optimizer
        self.population: int = self.optimizer.population_size

    def _with_margin(self, make: Any, shared: dict[str, Any], start: Start) -> Any:
        free = self.coordinates.continuous
        half = 0.5 / np.where(free, 1.0, self.coordinates.levels)
        bounds = np.where(free[:, None], [-np.inf, np.inf], np.stack([half, 1.0 - half], axis=1))
        mean = np.where(free, shared["mean"], np.clip(shared["mean"], half, 1.0 - half))
        steps = np.where(free, 0.0, 2.0 * half)
        return make(**{**shared, "mean": mean}, bounds=bounds, steps=steps, cov=start.cov)

    def _mixed(self, make: Any, shared: dict[str, Any], start: Start) -> Any:
        d, free = self.coordinates.d, self.coordinates.continuous
        lattices = [((np.arange(m) + 0.5) / m).tolist() for m in self.coordinates.levels[~free].astype(int)]
        choices = {
            "x_space": [[-np.inf, np.inf]] * int(free.sum()) or None,
            "z_space": lattices or None,
            "c_space": self.coordinates.sizes.tolist(),
            "cat_param": start.chances,
        }
        if d:
            return make(**choices, **shared, cov=np.eye(d) if start.cov is None else start.cov)
        return make(**choices, population_size=shared["population_size"], seed=0)

    def draw(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """(D,) a position, and (D,) the point of the search that is to be evaluated for it (not clipped to the cube).

        The position is where the solution lies in the distribution; the point of a countable parameter is the middle
        of its bin.
        """
        self.optimizer.reseed_rng(seed)
        if self.kind == "margin":
            point, position = self.optimizer.ask()
            return position, point
        if self.kind != "mixed":
            position = self.optimizer.ask()
            return position, position
        drawn, d = self.optimizer.ask(), self.coordinates.d
        index = np.empty(0) if drawn.c is None else np.argmax(drawn.c, axis=1).astype(float)
        if not d:
            return index, index
        point = np.concatenate([a for a in (drawn.x, drawn.z) if a is not None])
        return np.concatenate([drawn._v_raw, index]), np.concatenate([point, index])

    # -- solutions from elsewhere -------------------------------------------------------------------------------

    def located(self, point: FloatArray) -> FloatArray:
        """(D,) the position of a point that was not drawn here; where the point is NaN, the distribution's centre."""
        d = self.coordinates.d
        centre = np.concatenate([self._mean, np.argmax(self.optimizer._q, axis=1) if self.coordinates.k else []])
        position = np.where(np.isnan(point), centre, point)
        if self.kind == "margin":  # its positions lie in the distribution before it is widened
            position[:d] = self._mean + (position[:d] - self._mean) / getattr(self.optimizer, "_A", 1.0)
        return position

    def shortened(self, position: FloatArray) -> FloatArray:
        """(D,) the position, moved towards the mean if it is farther away than a solution of this distribution may be.

        The limit in Mahalanobis distance, sqrt(d) + 2 d / (d + 2), is that of Hansen (2011), section 3.
        """
        d = self.coordinates.d
        if not d:
            return position
        way = (position[:d] - self._mean) / (self._stretch * self._core._sigma)
        if self.kind == "separable":
            white = way / self._core._eigen_decomposition()
        else:
            basis, scales = self._core._eigen_decomposition()
            white = (basis.T @ way) / scales
        length, limit = float(np.linalg.norm(white)), math.sqrt(d) + 2 * d / (d + 2)
        if not length > limit:
            return position
        return np.concatenate([self._mean + (position[:d] - self._mean) * (limit / length), position[d:]])

    # -- what was found -----------------------------------------------------------------------------------------

    def tell(self, positions: FloatArray, rank: FloatArray) -> None:
        """The (population, D) positions of a generation and their (population,) ranks, 0 for the best.

        A position beyond the cube was evaluated at the nearest point of it, and its rank grows with the distance in
        standard deviations: rank + population / d * (sum of squared distances). This is the penalty of Hansen et al.
        (2009), eqs. 4-6, with ranks in place of the objective's values, whose interquartile range is half the
        population: so no transformation of the objective changes the search.
        """
        d = self.coordinates.d
        if d:
            x = positions[:, :d]
            free = self.coordinates.continuous
            beyond = ((np.clip(x, 0.0, 1.0) - x) ** 2 / self._variance)[:, free].sum(axis=1)
            rank = rank + beyond * self.population / d
        with np.errstate(all="ignore"):  # a distribution that has become singular is told by ``broken``
            self.optimizer.tell([(self._solution(p), r) for p, r in zip(positions, rank.tolist(), strict=True)])

    def _solution(self, position: FloatArray) -> Any:
        if self.kind != "mixed":
            return position
        d, sizes = self.coordinates.d, self.coordinates.sizes
        onehot = position[d:, None] == np.arange(max(sizes, default=0))
        raw = position[:d] if d else None
        return type(self.optimizer).Solution(c=onehot if len(sizes) else None, _v_raw=raw)

    def stopped(self) -> bool:
        """Whether the package's criteria say that the distribution has converged or degenerated."""
        if not self.coordinates.d:
            return False
        with np.errstate(all="ignore"):
            return bool(self.optimizer.should_stop())

    def broken(self) -> bool:
        """Whether nothing new can be drawn: not finite, wider than the space by far, or one point for float64."""
        if not self.coordinates.d:
            return not bool(np.isfinite(self.optimizer._q).all())
        deviation = np.sqrt(self._variance)
        if not (np.isfinite(self._mean).all() and np.isfinite(deviation).all() and deviation.max() < _WIDEST):
            return True
        return bool(np.all(self._mean == self._mean + 0.2 * deviation))

    # -- the package's own parts --------------------------------------------------------------------------------

    @property
    def _mean(self) -> FloatArray:
        return self._core._mean if self.coordinates.d else np.empty(0)

    @property
    def _stretch(self) -> FloatArray | float:
        """(d,) the factor by which the margin widens the positions of a mixed space."""
        return self.optimizer._A if self.kind == "mixed" else 1.0

    @property
    def _variance(self) -> FloatArray:
        """(d,) of each coordinate."""
        matrix = self._core._C
        with np.errstate(all="ignore"):
            return (self._core._sigma * self._stretch) ** 2 * (matrix if matrix.ndim == 1 else np.diag(matrix))
