"""Minimal filtering: a row of a convolution with fewer multiplications.

m neighbouring outputs of a filter with r taps need m + r - 1 multiplications instead of m * r: inputs and weights are
transformed (a polynomial is evaluated at m + r - 1 points), multiplied, and transformed back (it is interpolated). Sums
over channels and rows are taken between the two transforms, so that these cost little.

Source: S. Winograd, "Arithmetic complexity of computations", SIAM, 1980; for convolutional networks A. Lavin, S. Gray,
"Fast algorithms for convolutional neural networks", CVPR 2016. Only rows are transformed here (one dimension, at 6 or 8
points), which keeps the rounding error near that of a plain sum: 2 to 3 times as large, relative to the size of the
outputs; two dimensions would be several times worse.

With the points p_0 .. p_{n-2} and infinity, ``y = A^T ((G g) * (B^T d))``, where d has n inputs, g has r weights and
y has m outputs. The matrices are computed with fractions, so they are exact until they are rounded to float32. The
gradients are the same three maps transposed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

Matrix = tuple[tuple[float, ...], ...]

#: Points besides infinity. Small, of both signs (so that even and odd parts are shared), and with their reciprocals,
#: which balances the sizes of the coefficients.
_POINTS = {
    6: (0, 1, -1, 2, -2),
    8: (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2)),
}
#: Taps that each number of points can serve; with more the outputs would be too few.
TAPS = {6: (2, 3, 4, 5), 8: (3, 4, 5, 6, 7)}
#: Multiplications must fall below this part of the plain convolution's, else the transforms eat the gain.
_WORTH = 0.8


@dataclass(frozen=True)
class Filtering:
    """The maps for m outputs of a filter with r taps from n = m + r - 1 inputs.

    Attributes:
        n, m, r: see above.
        inputs: B^T (n, n); what is applied to n inputs.
        weights: G (n, r); what is applied to r weights.
        outputs: A^T (m, n); what is applied to n products.
    """

    n: int
    m: int
    r: int
    inputs: Matrix
    weights: Matrix
    outputs: Matrix


@lru_cache
def filtering(n: int, r: int) -> Filtering:
    """The maps with n points for r taps."""
    return Filtering(n, n - r + 1, r, *(_rounded(matrix) for matrix in fractions(n, r)))


def fractions(n: int, r: int) -> tuple[list[list[Fraction]], list[list[Fraction]], list[list[Fraction]]]:
    """B^T, G and A^T, exactly."""
    points = [Fraction(p) for p in _POINTS[n]]
    m = n - r + 1
    outputs = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    weights, inputs = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = math.prod((p - q for q in others), start=Fraction(1))
        weights.append([p**k / scale for k in range(r)])
        inputs.append([*_polynomial(others), Fraction(0)])
    weights.append([Fraction(k == r - 1) for k in range(r)])
    inputs.append(_polynomial(points))
    return inputs, weights, outputs


def choose(taps: int, stride: int, outputs: int) -> Filtering | None:
    """The cheapest maps for rows of so many outputs; None where a plain convolution is not much dearer."""
    if stride != 1:
        return None
    able = [filtering(n, taps) for n in TAPS if taps in TAPS[n]]
    if not able:
        return None
    best = min(able, key=lambda f: (-(-outputs // f.m) * f.n, f.n))
    return best if -(-outputs // best.m) * best.n <= _WORTH * outputs * taps else None


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of prod (x - root), from the constant on."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def _rounded(matrix: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in matrix)


@dataclass(frozen=True)
class Map:
    """One of the maps.

    Attributes:
        matrix: (outputs, inputs).
        ending: what is added to the outputs: "" nothing, "bias" one line to each of them, "target" what is in memory.
    """

    matrix: Matrix
    ending: str = ""


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


#: (what, points, taps) -> the map.
MAPS: dict[tuple[str, int, int], Map] = {}
for _n, _taps in TAPS.items():
    for _r in _taps:
        _f = filtering(_n, _r)
        MAPS["inputs", _n, _r] = Map(_f.inputs)
        MAPS["inputs, back", _n, _r] = Map(_transposed(_f.inputs), "target")
        MAPS["outputs", _n, _r] = Map(_f.outputs, "bias")
        MAPS["outputs, back", _n, _r] = Map(_transposed(_f.outputs))
        MAPS["weights", _n, _r] = Map(_f.weights)
        MAPS["weights, back", _n, _r] = Map(_transposed(_f.weights))
#: The maps without repetitions (the inputs' do not depend on the taps); the number of a map is its place here.
DISTINCT: list[Map] = list(dict.fromkeys(MAPS.values()))


def number(what: str, points: int, taps: int) -> int:
    """The number of a map, which the kernels know it by."""
    return DISTINCT.index(MAPS[what, points, taps])
