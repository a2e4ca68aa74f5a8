"""The statistics against brute force (all sign flips), scipy, and examples worked by hand."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.statistics import (
    a12,
    a12_magnitude,
    holm,
    mean_sd,
    paired_differences,
    rank_biserial,
    repeats_needed,
    smallest_p,
    t_interval,
    wilcoxon_signed_rank,
)


def midranks(values):
    """Mean ranks by counting, an implementation of its own."""
    return [sum(u < v for u in values) + (sum(u == v for u in values) + 1) / 2 for v in values]


def brute_force_p(differences):
    """Flip every sign: the two-sided p of the signed-rank sum, zeros ranked, then dropped (Pratt)."""
    ranks = midranks([abs(d) for d in differences])
    used = [(r, d) for r, d in zip(ranks, differences, strict=True) if d != 0]
    observed = sum(r for r, d in used if d > 0)
    sums = [
        sum(r for (r, _), positive in zip(used, signs, strict=True) if positive)
        for signs in itertools.product([False, True], repeat=len(used))
    ]
    below = sum(s <= observed for s in sums) / len(sums)
    above = sum(s >= observed for s in sums) / len(sums)
    return min(1.0, 2 * min(below, above))


@pytest.mark.parametrize("seed", range(12))
def test_p_equals_the_count_over_all_sign_flips(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 12))
    smooth = rng.normal(0.4, 1, n)
    coarse = rng.integers(-3, 5, n).astype(float)  # ties and zeros
    for d in (smooth, coarse):
        result = wilcoxon_signed_rank(d)
        assert result.p == pytest.approx(brute_force_p(d.tolist()), abs=1e-12)
        assert result.method == "exact"
        assert result.zeros == int((d == 0).sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_p_with_ties_and_zeros(differences):
    assert wilcoxon_signed_rank(differences).p == pytest.approx(brute_force_p(differences), abs=1e-12)


def test_textbook_values():
    # Critical value of the two-sided 5 % test for n = 10 is W = 8: P(W <= 8) = 25/1024.
    d = [-1, -2, -5, 3, 4, 6, 7, 8, 9, 10]
    result = wilcoxon_signed_rank(d)
    assert (result.w_plus, result.w_minus) == (47.0, 8.0)
    assert result.p == pytest.approx(2 * 25 / 1024)
    # W = 9 is no longer significant
    assert wilcoxon_signed_rank([-1, -2, -6, 3, 4, 5, 7, 8, 9, 10]).p == pytest.approx(2 * 33 / 1024)


def test_paired_form_is_the_test_of_the_differences_and_symmetric():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=14), rng.normal(size=14)
    assert wilcoxon_signed_rank(x, y) == wilcoxon_signed_rank(x - y)
    assert wilcoxon_signed_rank(x, y).p == pytest.approx(wilcoxon_signed_rank(y, x).p)
    assert wilcoxon_signed_rank(x, y).w_plus == wilcoxon_signed_rank(y, x).w_minus


def test_what_differs_by_rounding_only_is_equal():
    a = [834, 838, 869, 830, 793, 806, 861, 811, 874, 812]
    b = [833, 837, 869, 829, 790, 802, 861, 806, 874, 813]
    whole = wilcoxon_signed_rank(a, b)
    assert whole.p == 0.078125
    for scale in (1000, 7, 0.3):
        x, y = ([v / scale for v in values] for values in (a, b))
        assert wilcoxon_signed_rank(x, y) == whole
        assert rank_biserial(x, y) == rank_biserial(a, b)
    assert len(set(np.abs(np.array(a) / 1000 - np.array(b) / 1000))) > len(set(np.abs(np.array(a) - np.array(b))))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=1, max_size=9), st.integers(1, 10**6))
def test_fractions_are_ranked_like_their_numerators(pairs, scale):
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    assert wilcoxon_signed_rank(a / scale, b / scale) == wilcoxon_signed_rank(a, b)


def test_small_differences_beyond_rounding_are_kept():
    x = [1.0, 1.0, 0.1 + 0.2, math.inf, 2.0]
    y = [1.0 + 1e-11, 1.0 - 2e-11, 0.3, math.inf, -math.inf]
    assert x[2] != y[2]
    d = paired_differences(x, y)
    assert np.sign(d).tolist() == [-1, 1, 0, 0, 1]
    assert abs(d[0]) < abs(d[1])
    assert d[4] == math.inf


def test_all_equal_is_no_evidence():
    result = wilcoxon_signed_rank([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (result.p, result.zeros, result.w_plus, result.w_minus) == (1.0, 3, 0.0, 0.0)
    assert rank_biserial([0.0, 0.0]) == 0.0


def test_infinite_differences_are_only_large_ones():
    assert wilcoxon_signed_rank([math.inf, 1, 2, -0.5]).p == wilcoxon_signed_rank([9, 1, 2, -0.5]).p
    with pytest.raises(InvalidValueError, match="infinities"):
        wilcoxon_signed_rank([math.inf], [math.inf])


def test_the_three_ways_to_compute_p_agree_where_they_meet():
    rng = np.random.default_rng(5)
    d = rng.normal(0.2, 1, 60)  # beyond scipy's exact range: the convolution
    from scipy.stats import wilcoxon

    assert wilcoxon_signed_rank(d).p == pytest.approx(wilcoxon(d, method="exact").pvalue, rel=1e-9)
    many = rng.normal(0.2, 1, 150)
    approximate = wilcoxon_signed_rank(many)
    assert approximate.method == "normal"
    assert approximate.p == pytest.approx(wilcoxon(many, method="exact").pvalue, rel=0.02)


def test_false_positives_stay_below_alpha():
    rng = np.random.default_rng(3)
    p = [wilcoxon_signed_rank(rng.integers(-5, 6, 9)).p for _ in range(1500)]
    assert np.mean(np.array(p) <= 0.05) < 0.06


@pytest.mark.parametrize("n", range(1, 9))
def test_smallest_p_is_reached_and_never_undercut(n):
    values = [wilcoxon_signed_rank(np.array(s) * np.arange(1, n + 1)).p for s in itertools.product([-1, 1], repeat=n)]
    assert min(values) == pytest.approx(smallest_p(n))


def test_repeats_needed_by_search():
    assert repeats_needed(0.05) == 6
    assert repeats_needed(0.05, 6) == 8
    assert repeats_needed(0.05, 10) == 9
    assert repeats_needed(0.5) == 2
    for m in (1, 3, 6, 10, 15, 28):
        n = repeats_needed(0.05, m)
        assert holm([smallest_p(n)] * m)[0] <= 0.05 < holm([smallest_p(n - 1)] * m)[0]


def test_holm_by_hand():
    # sorted: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 -> .06 (monotone)
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).size == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, alpha):
    rejected = [False] * len(p)
    for i, j in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        if p[j] * (len(p) - i) > alpha:
            break
        rejected[j] = True
    assert (holm(p) <= alpha).tolist() == rejected


def test_effect_sizes_by_hand():
    assert rank_biserial([1, 2, 3, -4]) == pytest.approx((6 - 4) / 10)
    assert rank_biserial([0, 0, 0, 1]) == pytest.approx(4 / 10)  # three ties temper one difference
    assert rank_biserial([3, 4], [1, 1]) == 1.0
    assert a12([1, 2], [1, 0]) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert a12([1, 1], [2, 2]) == 0.0
    assert [a12_magnitude(v) for v in (0.5, 0.55, 0.56, 0.36, 0.35, 0.71, 0.0)] == [
        "negligible", "negligible", "small", "medium", "medium", "large", "large",
    ]  # fmt: skip


def test_a12_is_the_scaled_mann_whitney_statistic():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 6, 9), rng.integers(1, 7, 12)
    assert a12(x, y) == pytest.approx(mannwhitneyu(x, y).statistic / (9 * 12))


def test_means_and_intervals():
    assert mean_sd([1, 2, 3, 4]) == (2.5, pytest.approx(math.sqrt(5 / 3)))
    assert math.isnan(mean_sd([7.0])[1])
    # t(0.975, 3) = 3.182446
    low, high = t_interval([1, 2, 3, 4])
    assert high - 2.5 == pytest.approx(2.5 - low) == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)
    assert math.isnan(t_interval([1.0])[0])
    assert mean_sd([1.0, math.inf])[0] == math.inf


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: wilcoxon_signed_rank([1, math.nan]), InvalidValueError, "NaN"),
        (lambda: wilcoxon_signed_rank([1, 2], [1]), InvalidValueError, "2 and 1"),
        (lambda: wilcoxon_signed_rank([]), InvalidValueError, "non-empty"),
        (lambda: wilcoxon_signed_rank(["a"]), InvalidTypeError, "numbers"),
        (lambda: holm([1.2]), InvalidValueError, "1.2"),
        (lambda: repeats_needed(1.0), InvalidValueError, "1.0"),
        (lambda: repeats_needed(0.05, 0), InvalidValueError, "0"),
        (lambda: smallest_p(-1), InvalidValueError, "-1"),
        (lambda: t_interval([1, 2], 95), InvalidValueError, "95"),
        (lambda: a12_magnitude(1.5), InvalidValueError, "1.5"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_mean_of_both_infinities_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mean_sd([math.inf, -math.inf])).all()
        assert mean_sd([math.inf, 1.0])[0] == math.inf


@pytest.mark.parametrize(
    "measured",
    [
        lambda k, n: k / n,
        lambda k, n: 100 * k / n,
        lambda k, n: 1 - k / n,
        lambda k, n: 100 - 100 * k / n,
        lambda k, n: np.float32(k) / np.float32(n),
    ],
    ids=["share", "per cent", "error", "error in per cent", "float32"],
)
def test_counts_are_ranked_as_counts(measured):
    """However an accuracy is written: p and A are those of the numbers of right answers."""
    rng = np.random.default_rng(1)
    for n in (500, 997, 10_000):
        for _ in range(40):
            x, y = rng.integers(int(0.9 * n), n, 10), rng.integers(int(0.9 * n), n, 10)
            a, b = ([float(measured(k, n)) for k in counts] for counts in (x, y))
            assert wilcoxon_signed_rank(a, b).p == wilcoxon_signed_rank(x, y).p
            sign = 1 if measured(2, 3) > measured(1, 3) else -1
            assert a12(a, b) == pytest.approx(a12(sign * x, sign * y))


def test_a12_of_what_differs_by_rounding():
    assert a12([0.1 + 0.2] * 4, [0.3] * 4) == 0.5
    assert a12([math.inf, 1], [math.inf, -math.inf]) == pytest.approx((0.5 + 1 + 0 + 1) / 4)
