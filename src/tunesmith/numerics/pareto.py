"""Which of many points are best when there are several objectives, all minimised.

Deb, K., Pratap, A., Agarwal, S. and Meyarivan, T. (2002): A fast and elitist multiobjective genetic algorithm: NSGA-II.
IEEE Trans. Evol. Comput. 6, 182-197 (fronts).
Ozaki, Y., Tanigaki, Y., Watanabe, S. and Onishi, M. (2020): Multiobjective tree-structured Parzen estimator for
computationally expensive optimization problems. GECCO, 533-541 (whole fronts, then the subset of most hypervolume).
Guerreiro, A. P., Fonseca, C. M. and Paquete, L. (2016): Greedy hypervolume subset selection in low dimensions. Evol.
Comput. 24, 521-544.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.numerics.low_discrepancy import points
from tunesmith.space import FloatArray

#: Points at which a hypervolume is measured.
_PROBES = 1024


def front(loss: FloatArray) -> NDArray[np.bool_]:
    """(n,) which of the (n, m) points no other one dominates. Equal points do not dominate each other."""
    order = np.lexsort(loss.T[::-1])
    s = loss[order]
    if loss.shape[1] == 2:
        first = np.append(True, np.any(s[1:] != s[:-1], axis=1))
        least = np.minimum.accumulate(s[:, 1])
        lower = np.append(True, s[1:, 1] < least[:-1])
        kept = lower[np.maximum.accumulate(np.where(first, np.arange(len(s)), 0))]  # as the first of its equals
    else:
        kept = np.ones(len(s), bool)
        for i in range(len(s)):  # in this order a point is dominated by earlier ones only
            if kept[i]:
                rest = s[i + 1 :]
                kept[i + 1 :] &= ~(np.all(s[i] <= rest, axis=1) & np.any(s[i] < rest, axis=1))
    found = np.empty(len(s), bool)
    found[order] = kept
    return found


def best_subset(loss: FloatArray, size: int) -> NDArray[np.int64]:
    """Indices of ``size`` of the (n, m) points: whole fronts as long as they fit, and of the next one the points that
    cover most together.

    Args:
        loss: (n, m); infinite values are worse than all others.
        size: at most n.
    """
    left = np.arange(len(loss))
    found: list[NDArray[np.int64]] = []
    while size > 0:
        best = left[front(loss[left])]
        if len(best) > size:
            best = best[spread_subset(loss[best], size)]
        found.append(best)
        size -= len(best)
        left = np.setdiff1d(left, best, assume_unique=True)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def spread_subset(loss: FloatArray, size: int) -> NDArray[np.int64]:
    """Indices of ``size`` of the (n, m) points, chosen one by one for the hypervolume they add.

    The hypervolume, up to 1.1 ranges beyond the best value of each objective, is the share of 1,024 Sobol' points that
    is dominated: greedy selection is within 1 - 1/e of the optimum, so that an exact volume would be wasted on it.
    """
    finite = np.where(np.isfinite(loss), loss, np.nan)
    with np.errstate(all="ignore"):
        low = np.fmin.reduce(finite, axis=0)
        high = np.fmax.reduce(finite, axis=0)
        scaled = (np.clip(loss, low, high) / 2 - low / 2) / np.where(high > low, high / 2 - low / 2, 1.0)  # may be huge
    scaled = np.where(np.isnan(scaled), 0.0, scaled)
    probes = 1.1 * points("sobol", loss.shape[1], np.arange(_PROBES), scramble=False)
    covers = np.ones((len(loss), _PROBES), bool)
    for j in range(loss.shape[1]):
        covers &= scaled[:, j, None] <= probes[:, j]
    gains = covers.astype(np.float32)
    open_probes = np.ones(_PROBES, np.float32)
    chosen: list[int] = []
    for _ in range(size):
        gain = gains @ open_probes  # whole numbers below 2**24: exact in any order
        gain[chosen] = -1.0
        chosen.append(int(np.argmax(gain)))
        open_probes[covers[chosen[-1]]] = 0.0
    return np.array(chosen, np.int64)
