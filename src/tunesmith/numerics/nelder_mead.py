"""The simplex method of Nelder and Mead as a generator: it says which points it needs, and is sent their values.

Nelder, J. A. and Mead, R. (1965): A simplex method for function minimization. Computer Journal 7, 308-313; the order of
comparisons is that of Lagarias, J. C. et al. (1998): Convergence properties of the Nelder-Mead simplex method in low
dimensions. SIAM J. Optim. 9, 112-147.
Gao, F. and Han, L. (2012): Implementing the Nelder-Mead simplex algorithm with adaptive parameters. Comput. Optim.
Appl. 51, 259-277.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: A simplex is flat in a coordinate when it is narrower than this part of the tolerance.
FLAT = 1e-3


class Request(NamedTuple):
    """What the method waits for.

    Attributes:
        needed: (m, d) points whose values are to be sent, in this order.
        likely: (k, d) points it may ask for next, the likelier first; values of those may be found out beforehand.
    """

    needed: FloatArray
    likely: FloatArray


@dataclass(frozen=True)
class Coefficients:
    """How far a step goes, as parts of the way from the worst vertex to the centroid of the others (a shrinkage: from a
    vertex to the best)."""

    reflection: float = 1.0
    expansion: float = 2.0
    contraction: float = 0.5
    shrinkage: float = 0.5

    @classmethod
    def adaptive(cls, d: int) -> Coefficients:
        """Those of Gao and Han (2012), section 4, for d >= 2 dimensions (of two, the usual ones)."""
        if d < 2:
            return cls()
        return cls(1.0, 1.0 + 2.0 / d, 0.75 - 1.0 / (2.0 * d), 1.0 - 1.0 / d)


Search = Generator[Request, Sequence[Any], tuple[FloatArray, FloatArray]]


def nelder_mead(simplex: FloatArray, tolerance: FloatArray, steps: Coefficients) -> Search:
    """Minimise in the unit cube; points beyond it are clipped.

    Args:
        simplex: (d + 1, d) first vertices.
        tolerance: (d,) the search ends when the vertices differ by no more than this in any coordinate, and also when
            they differ by no more than a thousandth of it in one: a simplex that is flat, on a bound for instance, can
            no longer find a way out of its plane.
        steps: the coefficients.

    Yields:
        What is needed. Values that are sent may be of any kind that has an order; smaller is better.

    Returns:
        (d,) the best vertex, and (d,) how far the others are from it, at most, in each coordinate.
    """
    x = np.clip(simplex, 0.0, 1.0)
    f = list((yield Request(x, x[:0])))
    while True:
        order = sorted(range(len(f)), key=f.__getitem__)  # stable: an older vertex is better among equals
        x, f = x[order], [f[i] for i in order]
        width = np.abs(x[1:] - x[0]).max(axis=0)
        if np.all(width <= tolerance) or np.any(width <= FLAT * tolerance):
            return x[0], width
        centre = x[:-1].mean(axis=0)
        way, best = centre - x[-1], x[0]
        rho, chi, gamma, sigma = steps.reflection, steps.expansion, steps.contraction, steps.shrinkage
        reflected, expanded, outside, inside = np.clip(
            centre + np.array([[rho], [rho * chi], [rho * gamma], [-gamma]]) * way, 0.0, 1.0
        )
        shrunk = best + sigma * (x[1:] - best)
        (fr,) = yield Request(reflected[None], np.vstack([expanded, inside, outside, shrunk]))
        if fr < f[0]:
            (fe,) = yield Request(expanded[None], x[:0])
            x[-1], f[-1] = (expanded, fe) if fe < fr else (reflected, fr)
            continue
        if fr < f[-2]:
            x[-1], f[-1] = reflected, fr
            continue
        beyond = fr < f[-1]
        contracted = outside if beyond else inside
        (fc,) = yield Request(contracted[None], shrunk)
        if (not fr < fc) if beyond else fc < f[-1]:
            x[-1], f[-1] = contracted, fc
        else:
            x[1:] = shrunk
            f[1:] = yield Request(x[1:].copy(), x[:0])
