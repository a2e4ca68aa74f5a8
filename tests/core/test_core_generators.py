"""Objectives that yield: what may be yielded, and how the loop stops, pauses and continues them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialPruned
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState


def run(objective: Any, **options: Any) -> Any:
    """One trial; the study."""
    study = tunesmith.create_study(**{"pruner": "nop", **options})
    study.optimize(objective, n_trials=1)
    check_reload(study)
    return study


class TestYields:
    def test_values_count_their_steps_from_one(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield 3
            yield np.float32(2.5)
            yield 2.0

        (trial,) = run(objective).trials
        assert trial.intermediate_values == {1: 3.0, 2: 2.5, 3: 2.0}
        assert (trial.state, trial.value) == (TrialState.COMPLETE, 2.0)

    def test_steps_and_values(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield 0, 5.0
            yield 10, 4.0
            yield 3.0  # goes on after the largest step
            yield np.int64(50), 2.0

        (trial,) = run(objective).trials
        assert trial.intermediate_values == {0: 5.0, 10: 4.0, 11: 3.0, 50: 2.0}

    def test_what_is_returned_is_the_result(self) -> None:
        def objective(trial: Any) -> Any:
            yield 1.0
            return 7.0

        assert run(objective).best_value == 7.0

        def early(trial: Any) -> Any:
            return 4.0
            yield

        (trial,) = run(early).trials
        assert (trial.value, trial.intermediate_values) == (4.0, {})

    def test_metrics(self) -> None:
        """The first entry of a dictionary is the objective; all are recorded."""

        def objective(trial: Any) -> Iterator[Any]:
            yield {"loss": 2.0, "accuracy": 0.5}
            yield {"loss": 1.0, "accuracy": 0.75, "rate": math.nan}
            yield 7, {"loss": 0.5}

        study = run(objective)
        (trial,) = study.trials
        assert trial.intermediate_values == {1: 2.0, 2: 1.0, 7: 0.5}
        assert repr(trial.metrics) == "{'accuracy': {1: 0.5, 2: 0.75}, 'rate': {2: nan}}"
        assert trial.value == 0.5
        assert study.history.metrics == ("", "accuracy", "rate")
        assert study.history.reports.metric.tolist() == [0, 1, 0, 1, 2, 0]

    def test_metric_names_choose_the_objective(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield {"loss": 2.0, "accuracy": 0.5}
            yield {"loss": 1.0, "accuracy": 0.75}

        study = tunesmith.create_study(direction="maximize", pruner="nop")
        study.set_metric_names(["accuracy"])
        study.optimize(objective, n_trials=1)
        (trial,) = study.trials
        assert (trial.value, trial.intermediate_values) == (0.75, {1: 0.5, 2: 0.75})
        assert trial.metrics == {"loss": {1: 2.0, 2: 1.0}}

    def test_several_objectives(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield 1, (5.0, 6.0)
            yield 2, [3.0, 4.0]

        (trial,) = run(objective, directions=["minimize", "maximize"]).trials
        assert trial.values == [3.0, 4.0]
        assert trial.intermediate_values == {1: 5.0, 2: 3.0}
        assert trial.metrics == {"values_1": {1: 6.0, 2: 4.0}}

    def test_several_named_objectives(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield {"time": 9.0, "extra": 1.0, "loss": 2.0}

        study = tunesmith.create_study(directions=["minimize", "minimize"])
        study.set_metric_names(["loss", "time"])
        study.optimize(objective, n_trials=1)
        (trial,) = study.trials
        assert trial.values == [2.0, 9.0]
        assert trial.metrics == {"time": {1: 9.0}, "extra": {1: 1.0}}

    def test_nan_on_the_way_is_information(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield math.nan
            yield math.inf
            yield 1.0

        assert repr(run(objective).trials[0].intermediate_values) == "{1: nan, 2: inf, 3: 1.0}"

    @pytest.mark.parametrize(
        ("last", "reason"),
        [(math.nan, "not acceptable"), (None, "None"), ("text", "text"), ((1.0, 2.0), "did not match")],
    )
    def test_results_that_are_none(self, last: Any, reason: str) -> None:
        def objective(trial: Any) -> Any:
            if last is not None:
                return last
            return
            yield

        (trial,) = run(objective).trials
        assert trial.state == TrialState.FAIL
        assert reason in trial.system_attrs["fail_reason"]

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            "high",
            (1, 2, 3),
            (),
            {},
            (1, None),
            ("one", 2.0),
            (-1, 2.0),
            {"loss": "high"},
            [],
            ...,
            (1, {}),
            1j,
            {1: 2.0, "": 1},
        ],
        ids=repr,
    )
    def test_bad_yields_fail_the_trial(self, bad: Any) -> None:
        """With an error that shows what was yielded; the study goes on when it is caught."""

        def objective(trial: Any) -> Iterator[Any]:
            yield 1.0
            yield bad if trial.number == 0 else 0.5

        study = tunesmith.create_study(pruner="nop")
        with pytest.raises((InvalidTypeError, InvalidValueError)):
            study.optimize(objective, n_trials=2)
        study.optimize(objective, n_trials=1, catch=(TypeError, ValueError))
        assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
        assert study.trials[0].intermediate_values[1] == 1.0
        check_reload(study)

    def test_a_step_that_comes_again_is_ignored_with_a_warning(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield 5, 1.0
            yield 5, 2.0

        with pytest.warns(UserWarning, match="already reported"):
            (trial,) = run(objective).trials
        assert trial.intermediate_values == {5: 1.0}
        assert trial.value == 2.0  # the last yield is the result all the same


class TestEnds:
    def test_an_exception_in_the_middle(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            trial.suggest_float("x", 0, 1)
            yield 1.0
            raise ValueError("broken")

        study = tunesmith.create_study()
        with pytest.raises(ValueError, match="broken"):
            study.optimize(objective, n_trials=3)
        (trial,) = study.trials
        assert (trial.state, trial.intermediate_values) == (TrialState.FAIL, {1: 1.0})
        assert trial.system_attrs["fail_reason"] == "ValueError: broken"

    def test_pruned_from_inside(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            yield 3.0
            yield 2.0
            raise TrialPruned

        (trial,) = run(objective).trials
        assert (trial.state, trial.value) == (TrialState.PRUNED, 2.0)

    def test_the_rule_stops_it_and_closes_it(self) -> None:
        closed = []

        def objective(trial: Any) -> Iterator[Any]:
            try:
                for step in range(5):
                    yield trial.number + step
            finally:
                closed.append(trial.number)

        study = tunesmith.create_study(pruner=tunesmith.pruners.MedianPruner(n_startup_trials=2))
        study.optimize(objective, n_trials=5)
        assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
        assert study.trials[3].intermediate_values == {1: 3.0}
        assert study.trials[3].value == 3.0
        assert closed == [0, 1, 2, 3, 4]

    def test_no_rule_for_several_objectives(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            for step in range(3):
                yield step, (1.0, 1.0)

        study = run(objective, directions=["minimize", "minimize"], pruner=Script([Verdict.STOP] * 9))
        assert study.trials[0].state == TrialState.COMPLETE

    def test_one_that_does_not_close(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is stopped all the same, and a warning says so."""

        def objective(trial: Any) -> Iterator[Any]:
            for step in range(5):
                try:
                    yield float(step)
                except GeneratorExit:
                    yield 99.0

        with caplog.at_level(logging.WARNING):
            study = run(objective, pruner=Script([Verdict.GO, Verdict.STOP]))
        assert study.trials[0].state == TrialState.PRUNED
        assert "did not close cleanly" in caplog.text

    def test_one_that_raises_while_closing(self, caplog: pytest.LogCaptureFixture) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            try:
                yield 1.0
            finally:
                raise ValueError("while closing")

        with caplog.at_level(logging.WARNING):
            study = run(objective, pruner=Script([Verdict.STOP]))
        assert study.trials[0].state == TrialState.PRUNED
        assert "while closing" in caplog.text

    def test_generators_by_other_means(self) -> None:
        """The returned object decides: lambdas, callable objects, generator expressions."""

        class Objective:
            def __call__(self, trial: Any) -> Iterator[float]:
                yield from (3.0, 1.0)

        for objective in (Objective(), lambda trial: (v for v in (3.0, 1.0)), lambda trial: Objective()(trial)):
            assert run(objective).trials[0].intermediate_values == {1: 3.0, 2: 1.0}

    def test_stop_lets_the_running_ones_finish(self) -> None:
        study = tunesmith.create_study(pruner="nop")

        def objective(trial: Any) -> Iterator[Any]:
            yield 1.0
            study.stop()
            yield 2.0

        study.optimize(objective, n_trials=5)
        assert [t.state for t in study.trials] == [TrialState.COMPLETE]
        assert study.trials[0].intermediate_values == {1: 1.0, 2: 2.0}


@dataclass(frozen=True)
class Script(BasePruner):
    """Gives its verdicts by the trial's number of reports."""

    verdicts: Any

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return self.verdicts[len(trial.reports) - 1]


@dataclass(frozen=True)
class Halving(BasePruner):
    """Successive halving: ``n`` trials pause at ``rungs``; when all have come there, the better half goes on."""

    n: int = 8
    rungs: tuple[int, ...] = (1, 2, 4)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) in self.rungs[:-1] else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < self.n:
            return Start({"bracket": 0.0})
        values: dict[int, dict[int, float]] = {t.number: dict(t.reports) for t in history.open}
        for row, step, value in zip(history.reports.row, history.reports.step, history.reports.value, strict=True):
            values.setdefault(int(history.number[row]), {})[int(step)] = float(value)
        paused = {t.number: max(t.reports) for t in history.open if t.state == TrialState.PAUSED}
        for r, rung in enumerate(self.rungs[:-1]):
            arrived = sorted((v[rung], n) for n, v in values.items() if rung in v)
            if len(arrived) < self.n >> r:
                break
            for _, number in arrived[: self.n >> (r + 1)]:
                if paused.get(number) == rung:
                    return Continue(number)
        return Idle.WAIT if any(t.state == TrialState.RUNNING for t in history.open) else Idle.DONE


class Epochs:
    """An objective that counts its epochs: trial number + 1/epoch is its loss, so small numbers win."""

    def __init__(self, n: int = 4, pause: float = 0.0) -> None:
        self.n, self.pause = n, pause
        self.starts: Counter[int] = Counter()
        self.epochs: Counter[int] = Counter()
        self.attempts: list[tuple[int, int]] = []
        self.states: list[list[str]] = []
        self.study: Any = None

    def __call__(self, trial: Any) -> Iterator[float]:
        self.starts[trial.number] += 1
        self.attempts.append((trial.number, trial.attempt))
        memory = trial.suggest_float("x", 0, 1)
        for epoch in range(1, self.n + 1):
            assert trial.params == {"x": memory}
            self.epochs[trial.number] += 1
            if self.study is not None:
                self.states.append([t.state.name for t in self.study.get_trials()])
            time.sleep(self.pause)
            yield trial.number + 1 / epoch


class TestPausing:
    def test_successive_halving_continues_its_trials(self, place: Place) -> None:
        """Each generator is started once; 8 + 4 + 2 * 2 epochs, not one more."""
        objective = Epochs()
        study = study_in(place, pruner=Halving(), seed=1)
        objective.study = study
        study.optimize(objective, n_trials=8)
        assert set(objective.starts.values()) == {1}
        assert objective.epochs == {0: 4, 1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1}
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2 + ["PRUNED"] * 6
        assert study.trials[2].value == 2.5  # the last report
        assert study.history.tag("bracket").tolist() == [0.0] * 8
        assert objective.states[7][:7] == ["PAUSED"] * 7  # seen in the log while it is so
        check_reload(study)

    @pytest.mark.parametrize("n_jobs", [2, 4])
    def test_in_threads(self, n_jobs: int) -> None:
        objective = Epochs(pause=0.002)
        study = tunesmith.create_study(pruner=Halving(), seed=1)
        study.optimize(objective, n_trials=8, n_jobs=n_jobs)
        assert set(objective.starts.values()) == {1}
        assert sum(objective.epochs.values()) == 8 + 4 + 4
        assert sorted(t.state.name for t in study.trials) == ["COMPLETE"] * 2 + ["PRUNED"] * 6
        check_reload(study)

    def test_n_trials_counts_configurations(self) -> None:
        """Continuing is free: with room for four, the four are halved as far as they come."""
        objective = Epochs()
        study = tunesmith.create_study(pruner=Halving(n=4, rungs=(1, 4)), seed=1)
        study.optimize(objective, n_trials=4)
        assert sum(objective.epochs.values()) == 4 + 2 * 3
        assert len(study.trials) == 4

    def test_paused_ones_end_as_pruned_unless_kept(self) -> None:
        closed = []

        def objective(trial: Any) -> Iterator[float]:
            try:
                yield from (3.0, 2.0, 1.0)
            finally:
                closed.append(trial.number)

        study = tunesmith.create_study(pruner=Script([Verdict.GO, Verdict.PAUSE]))
        study.optimize(objective, n_trials=2)
        assert [(t.state.name, t.value) for t in study.trials] == [("PRUNED", 2.0)] * 2
        assert closed == [0, 1]
        study.optimize(objective, n_trials=1, keep_paused=True)
        assert study.trials[2].state == TrialState.PAUSED
        assert study.trials[2].datetime_complete is None
        assert closed == [0, 1]

    def test_a_later_optimize_of_the_same_process_goes_on(self) -> None:
        objective = Epochs()
        study = tunesmith.create_study(pruner=Halving(n=4, rungs=(2, 4)), seed=1)
        study.optimize(objective, n_trials=3, keep_paused=True)
        assert [t.state.name for t in study.trials] == ["PAUSED"] * 3
        assert len(study.history.running) == 3
        study.optimize(objective, n_trials=1)
        assert set(objective.starts.values()) == {1}
        assert objective.epochs == {0: 4, 1: 4, 2: 2, 3: 2}

    def test_paused_in_a_process_that_is_gone_begins_again(self, place: Place) -> None:
        """Its generator is lost, its number and parameters are not."""
        rule = Halving(n=2, rungs=(2, 4))
        first = Epochs()
        study = study_in(place, pruner=rule, seed=1)
        study.optimize(first, n_trials=1, keep_paused=True)
        before = study.trials[0].params
        del study
        again = Epochs()
        study = study_in(place, pruner=rule)
        study.optimize(again, n_trials=1)
        assert again.attempts == [(1, 1), (0, 2)]
        assert again.epochs == {1: 2, 0: 4}  # all four epochs: it paused again at the rung, and went on
        assert study.trials[0].params == before
        best = study.trials[0]
        assert (best.state, best.system_attrs["attempt"]) == (TrialState.COMPLETE, 2)
        assert list(best.intermediate_values) == [1, 2, 3, 4]
        check_reload(study)

    def test_someone_else_continues_it(self, caplog: pytest.LogCaptureFixture) -> None:
        """Another handle takes the paused trial over; the first one's generator is void, and it is told so."""
        storage = tunesmith.storages.InMemoryStorage()
        rule = Halving(n=2, rungs=(2, 4))
        study = tunesmith.create_study(study_name="a", storage=storage, pruner=rule)
        study.optimize(Epochs(), n_trials=1, keep_paused=True)
        other = tunesmith.load_study(study_name="a", storage=storage, pruner=rule)
        other.optimize(Epochs(), n_trials=1)
        assert [t.state.name for t in other.trials] == ["COMPLETE", "PRUNED"]
        with caplog.at_level(logging.WARNING):
            study.optimize(Epochs(), n_trials=0)  # ends what it still has
        assert "Trial 0 is finished already" in caplog.text
        assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED"]
        check_reload(study)

    def test_a_function_objective_cannot_be_paused(self) -> None:
        def objective(trial: Any) -> float:
            trial.report(1.0, 1)
            if trial.should_prune():
                raise TrialPruned
            return 1.0

        assert run(objective, pruner=Script([Verdict.PAUSE])).trials[0].state == TrialState.PRUNED

    def test_told_while_paused(self) -> None:
        study = tunesmith.create_study(pruner=Script([Verdict.PAUSE, Verdict.GO]))
        study.optimize(lambda t: (v for v in (3.0, 1.0)), n_trials=1, keep_paused=True)
        assert study.tell(0, 7.0).value == 7.0
        study.optimize(lambda t: 1.0, n_trials=1)
        assert [t.value for t in study.trials] == [7.0, 1.0]
        assert study._paused == {}


@dataclass(frozen=True)
class Plan(BasePruner):
    """Schedules by the number of trials there are."""

    plans: Any

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO

    def schedule(self, history: History) -> Schedule:
        return self.plans[min(history.n_trials, len(self.plans) - 1)]


class TestSchedules:
    def test_done_ends_the_loop(self) -> None:
        study = tunesmith.create_study(pruner=Plan([Start(), Start({"t": 1.5}), Idle.DONE]))
        study.optimize(lambda trial: 1.0, n_trials=100)
        assert len(study.trials) == 2
        assert study.trials[1].system_attrs["tags"] == {"t": 1.5}
        assert np.isnan(study.history.tag("t")[0])

    def test_waiting_for_nobody_ends_the_loop(self, caplog: pytest.LogCaptureFixture) -> None:
        study = tunesmith.create_study(pruner=Plan([Start(), Idle.WAIT]))
        begin = time.monotonic()
        with caplog.at_level(logging.WARNING):
            study.optimize(lambda trial: 1.0, n_trials=100)
        assert len(study.trials) == 1
        assert "no trial is running" in caplog.text
        assert time.monotonic() - begin < 5

    def test_waiting_workers_see_when_another_is_done(self) -> None:
        """One worker evaluates, the other waits; it starts when the first has finished."""

        @dataclass(frozen=True)
        class OneAfterTheOther(BasePruner):
            def verdict(self, history: History, trial: OpenRow) -> Verdict:
                return Verdict.GO

            def schedule(self, history: History) -> Schedule:
                return Idle.WAIT if history.running else Start()

        together = [0]
        lock = threading.Lock()

        def objective(trial: Any) -> float:
            with lock:
                together[0] += 1
                assert together[0] == 1
            time.sleep(0.005)
            with lock:
                together[0] -= 1
            return 1.0

        study = tunesmith.create_study(pruner=OneAfterTheOther())
        study.optimize(objective, n_trials=6, n_jobs=2)
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 6

    def test_waiting_respects_the_timeout(self) -> None:
        study = tunesmith.create_study(pruner=Plan([Start(), Idle.WAIT]))
        study.ask()  # runs for ever
        begin = time.monotonic()
        study.optimize(lambda trial: 1.0, n_trials=2, timeout=0.3)
        assert 0.25 < time.monotonic() - begin < 3
