"""The computed permutation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics.permutation import permute


@given(n=st.integers(1, 3000), seed=st.integers(0, 2**64))
def test_is_a_permutation(n: int, seed: int) -> None:
    found = permute(np.arange(n), n, seed)
    assert sorted(found.tolist()) == list(range(n))
    np.testing.assert_array_equal(permute(np.arange(n)[::7], n, seed), found[::7])


@given(n=st.integers(2**40, 2**62), seed=st.integers(0, 1000))
def test_large_domains(n: int, seed: int) -> None:
    index = np.array([k * (n - 1) // 199 for k in range(200)])
    found = permute(index, n, seed)
    assert len(np.unique(found)) == len(np.unique(index))
    assert found.min() >= 0
    assert found.max() < n


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 24, 30])
def test_every_element_comes_first_equally_often(n: int) -> None:
    """Chi-square over 2000 seeds, far from the 1 in 10,000 quantile (the seeds are fixed)."""
    from scipy.stats import chi2

    first = np.array([permute(np.array([0]), n, seed)[0] for seed in range(2000)])
    expected = 2000 / n
    statistic = ((np.bincount(first, minlength=n) - expected) ** 2 / expected).sum()
    assert statistic < chi2.ppf(0.9999, n - 1)


def test_neighbours_are_torn_apart() -> None:
    found = permute(np.arange(100_000), 100_000, 1)
    assert abs(np.corrcoef(np.arange(100_000), found)[0, 1]) < 0.02
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    assert (np.diff(found) == 1).sum() < 10


def test_wrong_arguments() -> None:
    for n in (0, 2**62 + 1):
        with pytest.raises(InvalidValueError, match=str(n)):
            permute(np.array([], np.int64), n, 0)
    for index in (-1, 5):
        with pytest.raises(InvalidValueError, match=r"\[0, 5\)"):
            permute(np.array([index]), 5, 0)
