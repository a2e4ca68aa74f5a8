"""Paired comparisons: signed-rank test, effect sizes, correction for many tests, means with their spread.

Everything takes and returns plain numbers or arrays. In comparisons of search methods a *pair* is one repeat: both
methods saw the same data split and training seeds, so the differences between them are what is tested.

Sources:
    F. Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945).
    J. W. Pratt, Remarks on zeros and ties in the Wilcoxon signed rank procedures, JASA 54 (1959).
    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6 (1979).
    D. S. Kerby, The simple difference formula, Comprehensive Psychology 3 (2014): matched-pairs rank-biserial.
    A. Vargha & H. D. Delaney, A critique and improvement of the CL common language effect size statistics,
    J. Educational and Behavioral Statistics 25 (2000): A12 and its thresholds.
    J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006): why signed ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

FloatArray = NDArray[np.float64]

#: Up to here scipy's table of the untied null distribution is used.
EXACT_UNTIED = 50
#: Up to here the null distribution given tied ranks is computed by convolution (n^3 additions).
EXACT_TIED = 100
#: Differences up to this part of the larger operand are rounding: some thousand units in the last place of a float64,
#: so that it covers what ``1 - accuracy`` loses; of float32 numbers (PyTorch's), if all are, some ten units.
ROUNDING, ROUNDING_32 = 1e-12, 1e-6


@dataclass(frozen=True)
class SignedRank:
    """Outcome of a two-sided Wilcoxon signed-rank test.

    Attributes:
        n: number of pairs.
        zeros: how many of the differences are zero.
        w_plus: sum of the ranks of the positive differences.
        w_minus: sum of the ranks of the negative differences.
        p: two-sided p-value; 1.0 when every difference is zero.
        method: ``"exact"`` (every assignment of signs counted) or ``"normal"`` (approximation, many pairs).
    """

    n: int
    zeros: int
    w_plus: float
    w_minus: float
    p: float
    method: str


def wilcoxon_signed_rank(x: ArrayLike, y: ArrayLike | None = None) -> SignedRank:
    """Two-sided Wilcoxon signed-rank test of paired samples.

    The null hypothesis: the differences ``x - y`` are symmetric about zero, so that each sign is a fair coin.

    - Ties among the absolute differences share their mean rank. What differs by rounding only is equal (see
      :func:`paired_differences`).
    - Zero differences follow Pratt (1959): they take part in the ranking, then drop out of both sums. (Dropping
      them before ranking can turn more evidence for equality into a smaller p-value.)
    - p is exact: from ``scipy.stats.wilcoxon`` without ties or zeros and n <= 50, else, up to 100 pairs, from the
      distribution over all signs of the ranks at hand. Beyond that scipy's normal approximation, corrected for ties
      and continuity.

    Args:
        x: (n,) values of one sample, or the differences when ``y`` is left out.
        y: (n,) values of the other sample, paired with ``x``.

    Raises:
        InvalidValueError: for NaN, different lengths, or no pair at all.
    """
    d = _differences(x, y)
    n, zeros = len(d), int(np.sum(d == 0))
    ranks = _ranks(np.abs(d))
    w_plus, w_minus = float(ranks[d > 0].sum()), float(ranks[d < 0].sum())
    untied = zeros == 0 and len(np.unique(np.abs(d))) == n
    if zeros == n:
        return SignedRank(n, zeros, 0.0, 0.0, 1.0, "exact")
    if n <= EXACT_TIED and not (untied and n <= EXACT_UNTIED):
        return SignedRank(n, zeros, w_plus, w_minus, _conditional_p(ranks[d != 0], w_plus), "exact")
    from scipy.stats import wilcoxon

    exact = untied and n <= EXACT_UNTIED
    options = {"method": "exact"} if exact else {"method": "approx", "correction": True}
    # scipy subtracts nothing here, so infinite differences only enter through their ranks
    p = float(wilcoxon(np.sign(d) * ranks, zero_method="pratt", **options).pvalue)
    return SignedRank(n, zeros, w_plus, w_minus, min(1.0, p), "exact" if exact else "normal")


def paired_differences(x: ArrayLike, y: ArrayLike) -> FloatArray:
    """``x - y`` without what only rounding has put there, so that ranks are those of exact arithmetic.

    Accuracies such as 0.834 and 0.833 are rounded numbers, so their difference is a little off 0.001, and not by the
    same amount for every pair. With tol = 1e-12 max(|x|, |y|) of a pair (1e-6 if all values are float32 numbers that
    are no integers), a difference up to tol is 0, and absolute differences within tol of each other are made equal. Two
    equal infinities differ by 0. (Not covered: float32 numbers that were calculated with afterwards, as in
    ``1 - accuracy`` of a float32 accuracy.)

    Args:
        x: (n,) values of one sample.
        y: (n,) values of the other sample, paired with ``x``.

    Raises:
        InvalidValueError: for NaN, different lengths, or no pair at all.
    """
    a, b = _vector(x, "x"), _vector(y, "y")
    if len(a) != len(b):
        raise InvalidValueError(f"Paired samples have the same length, but these have {len(a)} and {len(b)}.")
    with np.errstate(invalid="ignore", over="ignore"):
        d = np.where(a == b, 0.0, a - b)
    tolerance = _tolerance(a, b, _rounding(a, b))
    d = np.where(np.abs(d) <= tolerance, 0.0, d)
    order = np.argsort(np.abs(d), kind="stable")
    first = width = 0.0  # of the ties at hand: the smallest difference, and the widest tolerance
    for i in order[d[order] != 0].tolist():
        width = max(width, float(tolerance[i]))
        if abs(d[i]) > first + width:
            first, width = abs(float(d[i])), float(tolerance[i])
        else:
            d[i] = math.copysign(first, d[i])
    return d


def _tolerance(a: FloatArray, b: FloatArray, rounding: float) -> FloatArray:
    size = np.maximum(np.abs(a), np.abs(b))
    return np.where(np.isfinite(size), rounding * size, 0.0)


def _rounding(a: FloatArray, b: FloatArray) -> float:
    values = np.concatenate([a, b])
    values = values[np.isfinite(values)]
    with np.errstate(over="ignore", under="ignore"):
        single = bool((values == values.astype(np.float32)).all())
    return ROUNDING_32 if single and bool((values % 1 != 0).any()) else ROUNDING


def _differences(x: ArrayLike, y: ArrayLike | None) -> FloatArray:
    a = _vector(x, "x")
    b = np.zeros_like(a) if y is None else _vector(y, "y")
    if len(a) == len(b) and (np.isinf(a) & (a == b)).any():
        raise InvalidValueError("The difference of two equal infinities is undefined; leave such pairs out.")
    return paired_differences(a, b)


def _vector(values: ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        raise InvalidTypeError(f"`{name}` must be numbers, but is {values!r}.") from None
    if array.ndim != 1 or array.size == 0:
        raise InvalidValueError(f"`{name}` must be a non-empty list of numbers, but has the shape {array.shape}.")
    if np.isnan(array).any():
        raise InvalidValueError(f"`{name}` holds NaN at {np.flatnonzero(np.isnan(array)).tolist()}; leave these out.")
    return array


def _ranks(values: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), float)


def _conditional_p(ranks: FloatArray, w_plus: float) -> float:
    """Exact two-sided p given these (possibly tied) ranks; mean ranks are halves, so twice a rank is an integer."""
    doubled = np.rint(2 * ranks).astype(int)
    density = np.zeros(int(doubled.sum()) + 1)
    density[0] = 1.0
    for rank in doubled:  # one fair coin a rank
        shifted = np.zeros_like(density)
        shifted[rank:] = density[: len(density) - rank]
        density = 0.5 * density + 0.5 * shifted
    at = round(2 * w_plus)
    return float(min(1.0, 2 * min(density[: at + 1].sum(), density[at:].sum())))


def smallest_p(n: int) -> float:
    """The smallest two-sided p-value a signed-rank test of ``n`` pairs can reach: ``2 / 2**n`` (all signs equal)."""
    if n < 0:
        raise InvalidValueError(f"The number of pairs must not be negative, but is {n}.")
    return min(1.0, 2.0 ** (1 - n))


def repeats_needed(alpha: float = 0.05, n_comparisons: int = 1) -> int:
    """How many pairs it takes for any of ``n_comparisons`` tests to be able to reach significance at all.

    Holm's first step holds the smallest p-value against ``alpha / n_comparisons``, so the answer is the least n with
    ``2 / 2**n <= alpha / n_comparisons``: 6 for one test at 0.05, 8 for the six pairs of four methods. It is what
    makes significance possible, not what makes it likely.
    """
    if not 0 < alpha < 1:
        raise InvalidValueError(f"`alpha` must lie between 0 and 1, but is {alpha!r}.")
    if n_comparisons < 1:
        raise InvalidValueError(f"`n_comparisons` must be at least 1, but is {n_comparisons!r}.")
    bound = Fraction(alpha) / n_comparisons
    n = 1
    while Fraction(2, 2**n) > bound:
        n += 1
    return n


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's step-down adjusted p-values, in the order given.

    ``adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`` over the sorted p-values; a test is significant at alpha
    (family-wise) when its adjusted p-value is at most alpha. An empty list gives an empty array.
    """
    p = np.asarray(p_values, float)
    if p.size == 0:
        return p
    if p.ndim != 1 or np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise InvalidValueError(f"p-values lie between 0 and 1, but these are {p_values!r}.")
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def rank_biserial(x: ArrayLike, y: ArrayLike | None = None) -> float:
    """Matched-pairs rank-biserial correlation of ``x - y``: the effect size that belongs to the signed-rank test.

    The share of the rank total that speaks for ``x > y`` minus the share that speaks for ``x < y`` (Kerby's simple
    difference), in [-1, 1]. Zero differences keep their ranks in the total and count for neither side, so they pull
    the value towards 0.
    """
    d = _differences(x, y)
    ranks = _ranks(np.abs(d))
    return float((ranks[d > 0].sum() - ranks[d < 0].sum()) / ranks.sum())


def a12(x: ArrayLike, y: ArrayLike) -> float:
    """Vargha & Delaney's A: the probability that a value of ``x`` is larger than one of ``y`` (ties count half).

    What differs by rounding only is a tie, as in :func:`paired_differences`.

    0.5 means no difference. It ignores the pairing: it says how far apart the two groups of values lie as a reader
    sees them. Cliff's delta is ``2 A - 1``.
    """
    a, b = _vector(x, "x"), _vector(y, "y")
    rows = a[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        equal = (rows == b) | (np.abs(rows - b) <= _tolerance(rows, b, _rounding(a, b)))
    larger = (rows > b) & ~equal
    return float((larger.sum() + 0.5 * equal.sum()) / (len(a) * len(b)))


def a12_magnitude(value: float) -> str:
    """Vargha & Delaney's words for A: ``negligible`` below 0.56, ``small`` below 0.64, ``medium`` below 0.71, else
    ``large`` (mirrored below 0.5)."""
    if not 0 <= value <= 1:
        raise InvalidValueError(f"A lies between 0 and 1, but is {value!r}.")
    distance = round(abs(value - 0.5), 12)
    for word, bound in (("negligible", 0.06), ("small", 0.14), ("medium", 0.21)):
        if distance < bound:
            return word
    return "large"


def mean_sd(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation with n - 1 in the denominator; the latter is NaN for a single value.

    With infinite values the mean is infinite (NaN when both infinities are there), and there is no deviation.
    """
    a = _vector(values, "values")
    if not np.isfinite(a).all():
        with np.errstate(invalid="ignore"):  # inf - inf
            return float(a.sum()), math.nan
    return float(a.mean()), float(a.std(ddof=1)) if len(a) > 1 else math.nan


def t_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t confidence interval of the mean; ``(nan, nan)`` for a single value.

    Exact for normal values; for a handful of repeats it is the usual, slightly optimistic, choice.
    """
    if not 0 < confidence < 1:
        raise InvalidValueError(f"`confidence` must lie between 0 and 1, but is {confidence!r}.")
    a = _vector(values, "values")
    mean, sd = mean_sd(a)
    if not math.isfinite(sd):
        return math.nan, math.nan
    from scipy.stats import t

    half = float(t.ppf(0.5 + confidence / 2, len(a) - 1)) * sd / math.sqrt(len(a))
    return mean - half, mean + half
