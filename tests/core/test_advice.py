"""Recommendations."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith import Categorical, Float, Space
from tunesmith.advice import advise
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

EIGHT = Space({f"x{k}": Float(0, 1) for k in range(8)})
ONE = Space({"x": Float(0, 1)})


def test_trials() -> None:
    assert advise(EIGHT).trials == 80
    assert advise(EIGHT, objectives=2).trials == 160
    assert advise(ONE).trials == 20
    assert advise(Space({"c": Categorical([*"abc"])})).trials == 3
    assert advise(Space({"x": Float(2, 2)})).trials == 1
    assert advise(EIGHT, trials=33).trials == 33
    assert "80 would be usual" in advise(EIGHT, trials=33).trials_reason
    assert "only 3 configurations" in advise(Space({"c": Categorical([*"abc"])}), trials=50).trials_reason


@pytest.mark.parametrize(
    ("situation", "rule"),
    [
        ({"epochs": 20}, "median"),
        ({"epochs": 3}, "nop"),
        ({"epochs": 20, "trials": 10}, "nop"),
        ({"epochs": 20, "objectives": 2}, "nop"),
    ],
)
def test_stopping(situation: dict[str, Any], rule: str) -> None:
    assert advise(EIGHT, **situation).pruner == rule


def test_time() -> None:
    assert advise(EIGHT, trials=81, jobs=4, seconds_per_trial=10.0).seconds == 210.0
    assert advise(EIGHT).seconds is None


def test_when_tuning_is_not_worth_it() -> None:
    assert any("not worth it" in w for w in advise(Space({"x": Float(2, 2)})).warnings)
    assert any("hardly worth it" in w for w in advise(EIGHT, trials=6).warnings)
    assert any("2 rounds" in w for w in advise(EIGHT, trials=32, jobs=16).warnings)
    assert not advise(EIGHT, deterministic=True).warnings
    (only,) = advise(EIGHT).warnings
    assert "confirm" in only


@pytest.mark.parametrize(
    ("given", "error"),
    [({"trials": 0}, InvalidValueError), ({"jobs": 1.5}, InvalidTypeError), ({"epochs": True}, InvalidTypeError)],
)
def test_bad_numbers(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(given))):
        advise(ONE, **given)
