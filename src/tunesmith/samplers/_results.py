"""The results of a study as a model of one objective takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.space import FloatArray
from tunesmith.trial import TrialState

TRANSFORMS = ("log", "rank", "none")


def single_objective(method: str, history: History) -> None:
    """The study has one objective, or an error says that ``method`` needs that."""
    if len(history.directions) != 1:
        raise InvalidValueError(
            f"{method} needs a single objective, but this study has {len(history.directions)}; take NSGAIISampler."
        )


def usable(history: History) -> tuple[NDArray[np.int64], FloatArray]:
    """Rows with a result, and these as finite losses.

    Failed trials and those without a value are left out, pruned ones have the value they have. An infinite loss counts
    as the worst (or best) finite one. Infeasible trials are no better than the worst feasible one, and the worse the
    more they violate (Deb 2000).
    """
    loss = history.loss[:, 0]
    rows = np.flatnonzero(~np.isnan(loss) & (history.state != TrialState.FAIL))
    y = loss[rows]
    finite = y[np.isfinite(y)]
    y = np.clip(y, finite.min(), finite.max()) if len(finite) else np.zeros(len(y))
    violation = history.violation[rows]
    bad = violation > 0
    if bad.any() and not bad.all():
        top, spread = y[~bad].max(), 0.5 * y[~bad].max() - 0.5 * y[~bad].min()
        with np.errstate(over="ignore"):
            y[bad] = np.minimum(top + spread * (1.0 + _order(violation[bad])), np.finfo(float).max)
    elif bad.all() and len(rows):
        y = _order(violation)
    return rows, y


def thinned(rows: NDArray[np.int64], losses: FloatArray, most: int) -> tuple[NDArray[np.int64], FloatArray]:
    """At most ``most`` of the rows, in their order: half of them the best, the others the latest of the rest."""
    if len(rows) <= most:
        return rows, losses
    order = np.argsort(losses, kind="stable")
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    keep = np.sort(np.concatenate([best, rest[-(most - len(best)) :]]))
    return rows[keep], losses[keep]


def _order(values: FloatArray) -> FloatArray:
    """(n,) in [0, 1]: the part of the values that is smaller."""
    return np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)


def transformed(y: FloatArray, how: str) -> FloatArray:
    """Losses with mean 0 and variance 1 on a scale that suits a model; all zero if they are equal.

    ``"log"``: the logarithm of the distance to a point a little below the best one (by a tenth of the distance from
    the best to the median), so that differences among good results count as much as those among bad ones. ``"rank"``:
    normal scores, i.e. normal quantiles of the ranks (Blom 1958). ``"none"``: as they are.
    """
    low = y.min(initial=np.inf)
    if not len(y) or y.max() == low:
        return np.zeros(len(y))
    if how == "rank":
        from scipy.special import ndtri  # slow to import, so only when it is needed

        below, upto = np.searchsorted(np.sort(y), y, "left"), np.searchsorted(np.sort(y), y, "right")
        y = ndtri(((below + upto + 1) / 2 - 0.375) / (len(y) + 0.25))
    else:
        y = (y / 2 - low / 2) / (y.max() / 2 - low / 2)  # in [0, 1], without overflow
        if how == "log":
            y = np.log(y + max(0.1 * float(np.median(y)), 1e-12))
    y = y - y.mean()
    return y / max(float(y.std()), 1e-12)
