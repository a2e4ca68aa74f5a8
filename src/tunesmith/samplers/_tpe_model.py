"""The two densities whose ratio TPE looks at."""

from __future__ import annotations

import numpy as np

from tunesmith.numerics.parzen import Kernels
from tunesmith.numerics.parzen_shared import CellCounts, SharedKernels
from tunesmith.space import FloatArray, Space


class Model:
    """Density of the good trials over that of the others.

    Args:
        space: what is searched.
        below: the good trials.
        above: the others: :class:`SharedKernels` for a joint model, :class:`CellCounts` for a product of marginals.
        prior: weight of the prior in each density.
    """

    def __init__(self, space: Space, below: Kernels, above: SharedKernels | CellCounts, prior: float) -> None:
        self.space, self.below, self.above, self.prior = space, below, above, prior

    def add(self, rows: FloatArray) -> None:
        """(k, d) rows of trials that are about to run count as bad ones (the constant liar)."""
        self.above.add(rows)

    def candidates(self, rng: np.random.Generator, size: int, given: FloatArray | None = None) -> FloatArray:
        """(size, d) draws from the good ones, the one of the largest ratio first; NaN where a parameter is inactive.

        Args:
            given: (d,) coordinates that are settled, NaN elsewhere.
        """
        joint = isinstance(self.above, SharedKernels)
        x = self.below.draw(rng, size, joint, given)
        if self.space.conditions:
            self._deactivate(x)
        return x[np.argsort(-self.score(x), kind="stable")]

    def score(self, x: FloatArray) -> FloatArray:
        """(c,) log of the ratio at (c, d) points, which grows with the expected improvement (Bergstra 2011, eq. 3)."""
        if isinstance(self.above, SharedKernels):
            return self.below.log_joint(x) - self.above.log_joint(x)
        return (self.below.log_marginal(x) - self.above.log_marginal(x, self.prior)).sum(axis=1)

    def _deactivate(self, x: FloatArray) -> None:
        space = self.space
        for row, raw in zip(x, space.decode(x), strict=True):
            active = space.active(space.to_params(raw))
            row[[name not in active for name in space.names]] = np.nan
