"""Several rules at a time, and rules on other metrics than the objective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners import (
    AnyOfPruner,
    BasePruner,
    Continue,
    MedianPruner,
    NopPruner,
    OnMetricPruner,
    PatientPruner,
    PercentilePruner,
    Schedule,
    Start,
    ThresholdPruner,
    Verdict,
)
from tunesmith.pruners._metric_view import view
from tunesmith.testing._rules import folded, records
from tunesmith.trial import TrialState

EAGER = MedianPruner(n_startup_trials=1)


@dataclass(frozen=True)
class Fixed(BasePruner):
    says: Verdict = Verdict.GO

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return self.says


@dataclass(frozen=True)
class OneByOne(Fixed):
    def schedule(self, history: History) -> Schedule:
        paused = [t.number for t in history.open if t.state == TrialState.PAUSED]
        return [*(Continue(n) for n in paused), Start({"slot": float(history.n_trials)})]


class TestAnyOf:
    @pytest.mark.parametrize(
        ("said", "expected"), [("GG", "GO"), ("GP", "PAUSE"), ("PG", "PAUSE"), ("PS", "STOP"), ("SG", "STOP")]
    )
    def test_verdicts(self, said: str, expected: str) -> None:
        words = {"G": Verdict.GO, "P": Verdict.PAUSE, "S": Verdict.STOP}
        rule = AnyOfPruner([Fixed(words[letter]) for letter in said])
        history = tunesmith.create_study().history
        assert rule.verdict(history, OpenRow(0, TrialState.RUNNING, {}, {1: 1.0})).name == expected

    def test_the_schedule_of_the_one_that_has_one(self) -> None:
        history = tunesmith.create_study().history
        assert AnyOfPruner(["median", OneByOne()]).schedule(history) == [Start({"slot": 0.0})]
        assert AnyOfPruner(["median", PatientPruner(OneByOne(), 1)]).schedule(history) == [Start({"slot": 0.0})]
        assert AnyOfPruner(["median", "percentile"]).schedule(history) == Start()
        with pytest.raises(InvalidValueError, match="OneByOne and PatientPruner all decide"):
            AnyOfPruner([OneByOne(), PatientPruner(OneByOne(), 1)])

    def test_names_and_the_log(self) -> None:
        rule = AnyOfPruner(["median", PatientPruner("percentile", 3), ThresholdPruner(upper=2.0)])
        study = tunesmith.create_study(study_name="s", pruner=rule)
        again = tunesmith.load_study(study_name="s", storage=study.storage)
        assert again.pruner == rule
        assert rule.pruners == (MedianPruner(), PatientPruner(PercentilePruner(), 3), ThresholdPruner(upper=2.0))
        assert AnyOfPruner(["nop", Fixed()]).spec()["args"] is None  # it lives in no room

    def test_by_name(self) -> None:
        assert tunesmith.pruners.get_pruner("any-of", pruners=["nop"]) == AnyOfPruner([NopPruner()])

    @pytest.mark.parametrize(
        ("given", "error"),
        [([], InvalidValueError), ("median", InvalidTypeError), ([3], InvalidTypeError), (["no"], InvalidValueError)],
    )
    def test_impossible_arguments(self, given: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            AnyOfPruner(given)

    def test_seconds_are_reported_for_a_rule_that_wants_them(self) -> None:
        @dataclass(frozen=True)
        class Clocked(Fixed):
            resource: str = "seconds"

        study = tunesmith.create_study(pruner=AnyOfPruner(["nop", Clocked()]))
        study.optimize(lambda trial: (v for v in (1.0, 2.0)), n_trials=1)
        assert set(study.trials[0].metrics["seconds"]) == {1, 2}


def _curves(trial: Any) -> Iterator[dict[str, float]]:
    """The accuracy is good where the loss is poor."""
    x = trial.suggest_float("x", 0, 1)
    for step in range(1, 5):
        yield {"loss": x / step, "accuracy": x * step}


def _told(rule: Any, direction: str = "minimize") -> Any:
    study = tunesmith.create_study(pruner=rule, seed=1, direction=direction)
    for x in (0.5, 0.2, 0.6, 0.7, 0.1, 0.3, 0.9):
        study.enqueue_trial({"x": x})
    study.optimize(_curves, n_trials=7)
    return study


class TestOnMetric:
    def test_a_metric_is_judged_as_an_objective_would_be(self) -> None:
        """The study that maximises the accuracy stops the same trials with the rule itself."""
        study = _told(OnMetricPruner(EAGER, "accuracy", "maximize"))
        other = tunesmith.create_study(pruner=EAGER, direction="maximize")
        for x in (0.5, 0.2, 0.6, 0.7, 0.1, 0.3, 0.9):
            other.enqueue_trial({"x": x})

        def accuracy(trial: Any) -> Iterator[float]:
            for item in _curves(trial):
                yield item["accuracy"]

        other.optimize(accuracy, n_trials=7)
        states = [t.state.name for t in study.trials]
        assert states == [t.state.name for t in other.trials]
        assert set(states) == {"COMPLETE", "PRUNED"}
        assert states != [t.state.name for t in _told(EAGER).trials]

    def test_the_first_objective_is_the_rule_itself(self) -> None:
        for direction in ("minimize", "maximize"):
            one, other = _told(EAGER, direction), _told(OnMetricPruner(EAGER, "values_0"), direction)
            assert [t.state for t in one.trials] == [t.state for t in other.trials]

    def test_each_of_several_objectives(self) -> None:
        """A trial is stopped that is poor by either."""
        rule = AnyOfPruner([OnMetricPruner(EAGER, "values_0"), OnMetricPruner(EAGER, "values_1")])
        study = tunesmith.create_study(pruner=rule, directions=["minimize", "maximize"])
        values = {0: (1.0, 1.0), 1: (2.0, 2.0), 2: (0.5, 0.5), 3: (0.5, 3.0), 4: (3.0, 0.1)}

        def objective(trial: Any) -> Iterator[Any]:
            for step in range(1, 4):
                yield step, values[trial.number]

        study.optimize(objective, n_trials=5)
        assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "PRUNED", "COMPLETE", "PRUNED"]

    def test_a_report_without_the_metric_changes_nothing(self) -> None:
        """A rule that pauses at a report must not pause again at the next one."""
        study = tunesmith.create_study(pruner=OnMetricPruner(Fixed(Verdict.STOP), "accuracy", "maximize"))

        def objective(trial: Any) -> Iterator[Any]:
            yield {"loss": 1.0}
            yield {"loss": 0.9}
            yield {"loss": 0.8, "accuracy": 0.5}
            yield {"loss": 0.7}

        study.optimize(objective, n_trials=1)
        assert list(study.trials[0].intermediate_values) == [1, 2, 3]

    def test_the_view(self) -> None:
        study = _told("nop")
        trial = study.ask({"x": tunesmith.Float(0, 1)})
        trial.report(0.5, 1)
        trial.report_metric("accuracy", 0.25, 1)
        for history in (study._session.snapshot(), folded(records(study))):
            seen = view(history, "accuracy", -1)
            assert (seen.directions, seen.n, seen.metrics[0]) == ((-1,), 7, "")
            np.testing.assert_array_equal(seen.Y[:, 0], 4 * history.X[:, 0])
            np.testing.assert_array_equal(seen.loss, -seen.Y)
            assert seen.best_row == 6
            own = seen.reports.metric == 0
            np.testing.assert_array_equal(seen.reports.value[own].reshape(7, 4), history.X[:, :1] * np.arange(1, 5))
            assert dict(seen.open[-1].reports) == {1: 0.25}
            assert {k: dict(v) for k, v in seen.open[-1].metrics.items()} == {
                "accuracy": {1: 0.25}, "values_0": {1: 0.5}
            }  # fmt: skip
            assert history.directions == (1,)
            assert history.best_row == 4
            assert tunesmith.curves.curves(seen).at(2).tolist()[:7] == (-2 * history.X[:, 0]).tolist()

    def test_nobody_has_reported_it(self) -> None:
        study = _told(OnMetricPruner(EAGER, "f1", "maximize"))
        assert {t.state.name for t in study.trials} == {"COMPLETE"}
        seen = view(study.history, "f1", -1)
        assert seen.best_row is None
        assert np.isnan(seen.Y).all()

    def test_a_metric_that_comes_late(self) -> None:
        """What a view has kept of earlier trials is not changed by a name that is new."""
        study = tunesmith.create_study(pruner=OnMetricPruner(EAGER, "late", "minimize"))

        def objective(trial: Any) -> Iterator[Any]:
            for _ in range(3):
                yield {"loss": 1.0, "other": 2.0} if trial.number < 2 else {"late": float(trial.number), "loss": 1.0}

        study.set_metric_names(["loss"])
        study.optimize(objective, n_trials=5)
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"] * 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("median", "accuracy"), "minimized or maximized"),
            (("median", "accuracy", "up"), "'up'"),
            (("median", 3, "minimize"), "name of a metric"),
            ((None, "accuracy", "minimize"), "stopping rule"),
        ],
    )
    def test_impossible_arguments(self, arguments: tuple[Any, ...], message: str) -> None:
        with pytest.raises((InvalidTypeError, InvalidValueError), match=message):
            OnMetricPruner(*arguments)

    def test_an_objective_that_the_study_does_not_have(self) -> None:
        study = tunesmith.create_study(pruner=OnMetricPruner("median", "values_2"))
        trial = study.ask()
        trial.report(1.0, 1)
        trial.report_metric("values_2", 1.0, 1)
        with pytest.raises(InvalidValueError, match="no objective of this study"):
            trial.should_prune()
