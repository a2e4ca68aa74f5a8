"""Making results fit for a Gaussian process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]


def half_ranked(y: FloatArray) -> FloatArray:
    """Losses with mean 0 and variance 1, of which the better half keeps its proportions and the worse half only its
    order.

    Every loss is first replaced by the normal quantile of its rank (Blom 1958: (rank - 3/8) / (n + 1/4), equals share
    theirs). From the best to the median that is then replaced by the line between the same ends. So a diverged
    training, however large its loss, says no more than "worse"; and near the optimum, where it matters, a smooth loss
    stays smooth, which ranks would not leave it.

    Args:
        y: (n,) finite losses, smaller is better.

    Returns:
        (n,), all zero if they are equal.
    """
    if not len(y) or y.max() == y.min():
        return np.zeros(len(y))
    ordered = np.sort(y)
    rank = 0.5 * (np.searchsorted(ordered, y, "left") + np.searchsorted(ordered, y, "right") + 1)
    z = ndtri((rank - 0.375) / (len(y) + 0.25))
    above = y / 2 - ordered[0] / 2  # halves, so that nothing overflows
    middle = float(np.median(above))
    if middle > 0.0:
        z = np.where(above <= middle, z.min() * (1.0 - np.minimum(above, middle) / middle), np.maximum(z, 0.0))
    z -= z.mean()
    return z / z.std()
