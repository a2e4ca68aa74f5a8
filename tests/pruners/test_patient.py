"""The patience rule, next to Optuna's, and what it does to a rule that pauses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from pruners.oracle import random_curves, verdicts

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners import MedianPruner, PatientPruner

WRAPPED = {
    "alone": (None, None),
    "median": (MedianPruner(n_startup_trials=2), optuna.pruners.MedianPruner(n_startup_trials=2)),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", ["smooth", "ties"])
@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize(("patience", "min_delta"), [(0, 0.0), (1, 0.0), (2, 0.0), (1, 0.25), (0, 1.0)])
def test_says_what_optunas_says(wrapped: str, patience: int, min_delta: float, kind: str) -> None:
    seen = set()
    inner, inner_theirs = WRAPPED[wrapped]
    for seed, direction in ((0, "minimize"), (1, "maximize")):
        ours, theirs = verdicts(
            PatientPruner(inner, patience, min_delta),
            optuna.pruners.PatientPruner(inner_theirs, patience, min_delta),
            random_curves(seed, 90, 6, kind), lambda values: values[-1], direction,
        )  # fmt: skip
        assert ours == theirs
        seen |= set(ours)
    assert seen == {True, False}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_reports_that_are_not_finite(patience: int) -> None:
    """NaN does not count, in either library; infinities do."""
    for seed, direction in ((0, "minimize"), (1, "maximize")):
        curves = random_curves(seed, 40, 8, "odd")
        ours, theirs = verdicts(
            PatientPruner(None, patience),
            optuna.pruners.PatientPruner(None, patience),
            curves,
            lambda v: 1.0,
            direction,
        )
        assert ours == theirs


def test_early_stopping() -> None:
    """Alone, it ends a trial when as many reports as it has patience for, and one more, brought nothing better."""
    study = tunesmith.create_study(pruner=PatientPruner(None, patience=2))

    def objective(trial: Any) -> Iterator[float]:
        yield from [5, 4, 3, 3.5, 3.5, 3.1, 2.0]

    study.optimize(objective, n_trials=1)
    assert list(study.trials[0].intermediate_values) == [1, 2, 3, 4, 5, 6]


def test_names_and_the_log() -> None:
    study = tunesmith.create_study(study_name="s", pruner=PatientPruner("percentile", 3))
    again = tunesmith.load_study(study_name="s", storage=study.storage)
    assert again.pruner == study.pruner == PatientPruner(tunesmith.pruners.PercentilePruner(), 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, -1), InvalidValueError, "patience"),
        ((None, 1.5), InvalidTypeError, "1.5"),
        ((None, 1, -0.1), InvalidValueError, "min_delta"),
        (("no such", 1), InvalidValueError, "no such"),
        ((3, 1), InvalidTypeError, "stopping rule"),
    ],
)
def test_impossible_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PatientPruner(*arguments)
