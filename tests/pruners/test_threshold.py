"""The threshold rule, next to Optuna's."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from pruners.oracle import random_curves, verdicts

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners import ThresholdPruner

ARGUMENTS: list[dict[str, Any]] = [
    {"upper": 0.5},
    {"lower": -1.0},
    {"lower": -1.0, "upper": 1.0, "n_warmup_steps": 3},
    {"lower": 0, "upper": 0.5, "interval_steps": 3},
    {"upper": 0.0, "n_warmup_steps": 2, "interval_steps": 4},
]


@pytest.mark.parametrize("kind", ["smooth", "ties", "odd"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_says_what_optunas_says(arguments: dict[str, Any], kind: str) -> None:
    seen = set()
    for seed, direction in ((0, "minimize"), (1, "maximize")):
        curves = random_curves(seed, 30, 8, kind)
        ours, theirs = verdicts(
            ThresholdPruner(**arguments), optuna.pruners.ThresholdPruner(**arguments), curves, lambda v: 1.0, direction
        )
        assert ours == theirs
        seen |= set(ours)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidTypeError, "`lower` or an `upper`"),
        ({"lower": 2, "upper": 1}, InvalidValueError, "2 is above 1"),
        ({"upper": "high"}, InvalidTypeError, "'high'"),
        ({"upper": math.nan}, InvalidValueError, "nan"),  # Optuna takes it, and stops nothing
        ({"upper": 1, "n_warmup_steps": -1}, InvalidValueError, "n_warmup_steps"),
        ({"upper": 1, "interval_steps": 0}, InvalidValueError, "interval_steps"),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ThresholdPruner(**arguments)


def test_infinite_bounds_are_as_none() -> None:
    assert ThresholdPruner(upper=math.inf, lower=-1.0).lower == -1.0
