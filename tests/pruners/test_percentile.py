"""The percentile rule on reports that are not finite, and its percentile against NumPy's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import create_study
from tunesmith.pruners import BasePruner, MedianPruner, PercentilePruner
from tunesmith.pruners.percentile import _percentile

INF = math.inf


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def prunes(pruner: BasePruner, others: list[float], own: float, sign: int) -> bool:
    """Whether a trial is stopped that reports ``own`` where completed ones reported ``others``."""
    study = create_study(pruner=pruner, direction="minimize" if sign > 0 else "maximize", seed=0)
    for value in others:
        trial = study.ask()
        trial.report(sign * value, 1)
        study.tell(trial, 1.0)
    trial = study.ask()
    trial.report(sign * own, 1)
    return trial.should_prune()


@pytest.mark.parametrize("sign", [1, -1], ids=["minimize", "maximize"])
@pytest.mark.parametrize(
    ("percentile", "others", "own", "expected"),
    [
        (50, [1, 2, INF], 100, True),  # the median is 2
        (50, [1, 2, INF], 2, False),
        (50, [1, INF], 100, False),  # inf
        (50, [-INF, 1], -5, False),  # 1: between the two nobody is stopped
        (50, [-INF, 1], 1.5, True),
        (50, [-INF, 1, 2], 1.5, True),
        (25, [1, 2, 3, 4, INF], 2.5, True),
        (25, [1, INF, INF], 100, False),
        (100, [1, INF], INF, False),
        (0, [-INF, 1], -INF, False),
        (0, [-INF, 1], -1e308, True),
        (50, [INF, INF], 1e308, False),
        (50, [-INF, INF], 1e308, False),
        (50, [-1.7e308, 1.7e308], 1, True),  # 0
    ],
)
def test_infinite_reports(percentile: float, others: list[float], own: float, expected: bool, sign: int) -> None:
    """A trial that diverged does not switch the rule off; the same mirrored."""
    assert prunes(PercentilePruner(percentile, n_startup_trials=0), others, own, sign) == expected
    if percentile == 50:
        assert prunes(MedianPruner(n_startup_trials=0), others, own, sign) == expected


@given(
    st.lists(st.floats(-1e300, 1e300) | st.integers(-3, 3).map(float), min_size=1, max_size=12),
    st.floats(0, 100) | st.integers(0, 100).map(float),
)
def test_finite_percentiles_are_those_of_numpy(values: list[float], percentile: float) -> None:
    """To the last bit."""
    assert _percentile(sorted(values), percentile) == np.percentile(values, percentile)


@given(st.lists(st.sampled_from([-INF, -2.0, 0.0, 1.0, 1e308, INF]), min_size=1, max_size=9), st.floats(0, 100))
def test_percentiles_are_never_nan(values: list[float], percentile: float) -> None:
    """Each lies between its two neighbours, and no higher percentage gives a smaller one."""
    ordered = sorted(values)
    place = (len(values) - 1) * (percentile / 100)
    found = _percentile(ordered, percentile)
    assert ordered[math.floor(place)] <= found <= ordered[math.ceil(place)]
    assert found <= _percentile(ordered, 100.0)
