"""The fresh trainings of a final report in lanes, and reports on the wrong problem."""

from __future__ import annotations

from typing import Any

import pytest

import tunesmith
from tunesmith import Study
from tunesmith.distributions import FloatDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.study._confirm import confirm
from tunesmith.train import Problem

DIGITS: dict[str, Any] = {"data": "digits", "model": "mlp", "epochs": 2, "n_train": 200, "device": "cpu"}


def searched(problem: Problem, n: int = 3, **options: Any) -> Study:
    study = tunesmith.create_study(directions=problem.directions, space=problem.space, seed=0, **options)
    study.optimize(problem, n_trials=n)
    return study


@pytest.mark.parametrize("other", [{}, {"validation": "official"}, {"folds": 2}, {"objective": "val_accuracy"}])
def test_lanes_find_what_single_trainings_find(other: dict[str, Any]) -> None:
    problem = Problem(**DIGITS, **other)
    alone, side_by_side = (confirm(searched(problem), problem, 2, 3, lanes=lanes) for lanes in (None, 3))
    assert side_by_side.has_test is ("validation" not in other)
    for a, b in zip(alone.trials, side_by_side.trials, strict=True):
        assert (a.number, a.search_value, a.failures) == (b.number, b.search_value, ())
        for first, second in zip(a.results, b.results, strict=True):
            assert first == pytest.approx(second, rel=1e-4)
            assert list(first) == list(second)


def test_an_interrupted_report_goes_on_in_lanes() -> None:
    problem = Problem(**DIGITS)
    study, calls = searched(problem), []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        confirm(study, problem, 2, 3, interrupt, lanes=2)
    found = confirm(study, problem, 2, 3, lambda done, total: calls.append((done, total)), lanes=2)
    assert calls == [(1, 6), (2, 6), (3, 6), *((done, 6) for done in range(1, 7))]
    assert found == confirm(searched(problem), problem, 2, 3, lanes=2)


def test_trainings_that_diverge_in_lanes_are_counted() -> None:
    problem = Problem(**{**DIGITS, "epochs": 1}, space={"lr": FloatDistribution(1e-3, 1e30)})
    study = tunesmith.create_study()
    for value, lr in ((0.1, 1e30), (0.2, 0.01)):
        study.add_trial(tunesmith.create_trial(value=value, params={"lr": lr}, distributions=dict(problem.space)))
    bad, good = confirm(study, problem, 2, 2, lanes=4).trials
    assert bad.results == ()
    assert all(reason.startswith("Training diverged in epoch 1") for reason in bad.failures)
    assert len(good.results) == 2


def test_lanes_that_cannot_be() -> None:
    class Alone:
        metrics = ("val_loss",)

        def to_dict(self) -> dict[str, Any]:
            return {}

        def confirmation_seed(self, number: int) -> int:
            return number

        def evaluate_test(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
            return {"val_loss": 1.0}

    problem = Problem(**DIGITS)
    study = searched(problem, 1)
    with pytest.raises(InvalidTypeError, match="`lanes` need a problem that offers them"):
        confirm(unreported(study), Alone(), 1, 1, lanes="auto")
    with pytest.raises(InvalidValueError, match="positive integer or 'auto'"):
        confirm(study, problem, 1, 1, lanes=0)


def unreported(study: Study) -> Study:
    """One that has reported no metrics."""
    other = tunesmith.create_study()
    trial = study.best_trial
    other.add_trial(tunesmith.create_trial(value=trial.value, params=trial.params, distributions=trial.distributions))
    return other


def test_a_problem_with_another_metric_is_refused() -> None:
    by_loss = Problem(**DIGITS)
    with pytest.raises(InvalidValueError, match=r"to be .'maximize'. but the study's directions are .'minimize'."):
        searched(by_loss, 1).confirm(Problem(**DIGITS, objective="val_accuracy"), 1, 1)
    by_brier = Problem(**DIGITS, objective="val_brier")
    with pytest.raises(InvalidValueError, match=r"objective is 'val_loss', but the study .* by another metric"):
        searched(by_brier, 1).confirm(by_loss, 1, 1)
    named = searched(by_loss, 1)
    named.set_metric_names(["val_loss"])
    named.confirm(by_loss, 1, 1)
    with pytest.raises(InvalidValueError, match="objective is 'val_brier', but the study has searched by 'val_loss'"):
        named.confirm(by_brier, 1, 1)
