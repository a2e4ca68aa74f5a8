"""Scripts that call ``study.optimize``, run with Optuna and with tunesmith alike; and the tutorial's examples."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def quadratic(trial: Any) -> float:
    x = trial.suggest_float("x", -10, 10)
    return (x - 2) ** 2


def states(study: Any) -> list[str]:
    return [t.state.name for t in study.trials]


class TestResults:
    @pytest.mark.parametrize(
        "result",
        [
            None,
            math.nan,
            "text",
            [],
            [1.0, 2.0],
            1j,
            ...,
            [math.nan],
            {"value": 1.0},
            {1.0},
            pytest.param(lambda: 1, id="function"),
        ],
        ids=repr,
    )
    def test_fail(self, optuna: ModuleType, result: Any) -> None:
        """No exception: the trial fails and the loop goes on."""
        study = optuna.create_study()
        study.optimize(lambda trial: result if trial.number == 0 else 1.0, n_trials=2)
        assert states(study) == ["FAIL", "COMPLETE"]
        assert study.trials[0].values is None

    @pytest.mark.parametrize(
        "result", [1, 0.5, True, math.inf, -math.inf, np.float32(2), np.array(3.0), [4.0], (5,)], ids=repr
    )
    def test_complete(self, optuna: ModuleType, result: Any) -> None:
        study = optuna.create_study()
        study.optimize(lambda trial: result, n_trials=1)
        assert states(study) == ["COMPLETE"]
        assert type(study.best_value) is float

    def test_several_objectives(self, optuna: ModuleType) -> None:
        study = optuna.create_study(directions=["minimize", "maximize"])
        results: list[Any] = [(1, 2), [3.0, 4.0], 1.0, (1, 2, 3), (1, None), (1, math.nan), None, "ab"]
        study.optimize(lambda trial: results[trial.number], n_trials=len(results))
        assert states(study) == ["COMPLETE"] * 2 + ["FAIL"] * 6
        assert [t.values for t in study.trials[:3]] == [[1.0, 2.0], [3.0, 4.0], None]

    def test_callable_objects(self, optuna: ModuleType) -> None:
        class Objective:
            def __init__(self, shift: float) -> None:
                self.shift = shift

            def __call__(self, trial: Any) -> float:
                return trial.suggest_float("x", 0, 1) + self.shift

        study = optuna.create_study()
        study.optimize(Objective(5.0), n_trials=2)
        assert 5 <= study.best_value <= 6


class TestExceptions:
    def test_fail_the_trial_and_end_the_loop(self, optuna: ModuleType) -> None:
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            trial.suggest_float("x", 0, 1)
            trial.report(0.5, 1)
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            study.optimize(objective, n_trials=5)
        assert states(study) == ["FAIL"]
        assert "x" in study.trials[0].params
        assert study.trials[0].intermediate_values == {1: 0.5}

    @pytest.mark.parametrize(
        "catch", [(ValueError,), ValueError, [KeyError, ValueError], (Exception,), (ArithmeticError, ValueError)]
    )
    def test_caught(self, optuna: ModuleType, catch: Any) -> None:
        def objective(trial: Any) -> float:
            if trial.number % 2:
                raise ValueError
            return 0.0

        study = optuna.create_study()
        study.optimize(objective, n_trials=4, catch=catch)
        assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]

    def test_not_caught(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> float:
            raise KeyError(trial.number)

        study = optuna.create_study()
        with pytest.raises(KeyError):
            study.optimize(objective, n_trials=4, catch=(ValueError,))
        assert states(study) == ["FAIL"]

    def test_pruned(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> float:
            for step in range(3):
                trial.report(trial.number + step, step)
                if trial.number == 1 and step == 1:
                    raise optuna.TrialPruned("enough")
            return 0.5

        study = optuna.create_study()
        study.optimize(objective, n_trials=3)
        assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]
        assert study.trials[1].value == 2.0
        assert study.trials[1].intermediate_values == {0: 1.0, 1: 2.0}

    def test_wrong_arguments(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for wrong in (None, "objective"):
            with pytest.raises(TypeError):
                study.optimize(wrong, n_trials=1)
        with pytest.raises(ValueError):
            study.optimize(quadratic, n_trials=1, n_jobs=0)


class TestEnding:
    def test_n_trials(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for n in (3, 0, 2):
            study.optimize(quadratic, n_trials=n)
        assert len(study.trials) == 5

    def test_timeout(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        begin = time.monotonic()
        study.optimize(lambda trial: time.sleep(0.02) or 1.0, timeout=0.15)
        assert 0.1 < time.monotonic() - begin < 2
        assert 1 <= len(study.trials) <= 9
        study.optimize(quadratic, n_trials=2, timeout=60)
        assert states(study)[-2:] == ["COMPLETE"] * 2
        before = len(study.trials)
        study.optimize(quadratic, timeout=0)
        assert len(study.trials) == before

    def test_stop_in_the_objective(self, optuna: ModuleType) -> None:
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            if trial.number == 3:
                study.stop()
            return 1.0

        study.optimize(objective, n_trials=10)
        assert states(study) == ["COMPLETE"] * 4
        study.optimize(objective, n_trials=2)  # a stop counts for one call
        assert len(study.trials) == 6

    def test_stop_in_a_callback(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.optimize(
            quadratic, n_trials=10, callbacks=[lambda study, trial: study.stop() if trial.number == 1 else None]
        )
        assert len(study.trials) == 2

    def test_stop_outside(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        with pytest.raises(RuntimeError):
            study.stop()
        study.optimize(quadratic, n_trials=1)
        with pytest.raises(RuntimeError):
            study.stop()

    @pytest.mark.parametrize(("counted", "expected"), [("default", 4), ("COMPLETE", 4), ("FAIL", 8), ("any", 4)])
    def test_max_trials_callback(self, optuna: ModuleType, counted: str, expected: int) -> None:
        state = optuna.trial.TrialState
        which: dict[str, Any] = {"states": None} if counted == "any" else {}
        if counted in ("COMPLETE", "FAIL"):
            which = {"states": (state[counted],)}
        study = optuna.create_study()
        study.optimize(
            lambda trial: math.nan if trial.number % 2 and counted == "FAIL" else 1.0,
            n_trials=20,
            callbacks=[optuna.study.MaxTrialsCallback(4, **which)],
        )
        assert len(study.trials) == expected


class TestCallbacks:
    def test_get_the_study_and_a_record(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        seen: list[Any] = []

        def first(found: Any, trial: Any) -> None:
            assert found is study
            assert isinstance(trial, optuna.trial.FrozenTrial)
            assert study.trials[trial.number] == trial
            trial.user_attrs["changed"] = True
            seen.append((trial.number, trial.state.name, trial.params))

        def second(found: Any, trial: Any) -> None:
            assert trial.user_attrs == {}
            seen.append(trial.number)

        study.optimize(
            lambda t: t.suggest_int("n", 3, 3) if t.number else math.nan, n_trials=2, callbacks=[first, second]
        )
        assert seen == [(0, "FAIL", {}), 0, (1, "COMPLETE", {"n": 3}), 1]

    def test_may_change_the_study(self, optuna: ModuleType) -> None:
        def follow(study: Any, trial: Any) -> None:
            study.set_user_attr("last", trial.number)
            if trial.number < 2:
                study.enqueue_trial({"x": float(trial.number)})

        study = optuna.create_study()
        study.optimize(quadratic, n_trials=4, callbacks=[follow])
        assert [t.params["x"] for t in study.trials][1:3] == [0.0, 1.0]
        assert study.user_attrs == {"last": 3}

    def test_an_exception_ends_the_loop(self, optuna: ModuleType) -> None:
        def broken(study: Any, trial: Any) -> None:
            raise ValueError("callback")

        study = optuna.create_study()
        with pytest.raises(ValueError, match="callback"):
            study.optimize(quadratic, n_trials=3, callbacks=[broken])
        assert states(study) == ["COMPLETE"]
        study.optimize(quadratic, n_trials=1)


class TestThreads:
    def test_n_jobs(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        together, most, lock = [0], [0], threading.Lock()

        def objective(trial: Any) -> float:
            with lock:
                together[0] += 1
                most[0] = max(most[0], together[0])
            time.sleep(0.005)
            trial.set_user_attr("thread", threading.current_thread().name)
            trial.report(1.0, 1)
            with lock:
                together[0] -= 1
            return quadratic(trial)

        study.optimize(objective, n_trials=12, n_jobs=3)
        assert states(study) == ["COMPLETE"] * 12
        assert [t.number for t in study.trials] == list(range(12))
        assert 2 <= most[0] <= 3
        assert all(t.intermediate_values == {1: 1.0} for t in study.trials)

    def test_exceptions(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> float:
            if trial.number == 2:
                raise ValueError("in a thread")
            time.sleep(0.005)
            return 1.0

        study = optuna.create_study()
        with pytest.raises(ValueError, match="in a thread"):
            study.optimize(objective, n_trials=20, n_jobs=2)
        assert "RUNNING" not in states(study)
        assert states(study)[2] == "FAIL"

    def test_stop(self, optuna: ModuleType) -> None:
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            time.sleep(0.002)
            if trial.number == 3:
                study.stop()
            return 1.0

        study.optimize(objective, n_trials=100, n_jobs=2)
        assert 4 <= len(study.trials) <= 6
        assert set(states(study)) == {"COMPLETE"}

    def test_all_cores(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.optimize(quadratic, n_trials=4, n_jobs=-1)
        assert len(study.trials) == 4


class TestOther:
    def test_nested(self, optuna: ModuleType) -> None:
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            other = optuna.create_study()
            other.optimize(quadratic, n_trials=1)  # another study is fine
            study.optimize(quadratic, n_trials=1)
            return 1.0

        with pytest.raises(RuntimeError, match="Nested"):
            study.optimize(objective, n_trials=1)
        assert states(study) == ["FAIL"]

    def test_gc_after_trial(self, optuna: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []
        monkeypatch.setattr(gc, "collect", lambda *a: calls.append(1))
        study = optuna.create_study()
        study.optimize(quadratic, n_trials=3, gc_after_trial=False)
        assert calls == []
        study.optimize(quadratic, n_trials=3, gc_after_trial=True)
        assert len(calls) == 3

    def test_progress_bar(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.optimize(quadratic, n_trials=2, show_progress_bar=True)
        assert len(study.trials) == 2

    def test_ask_inside(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.optimize(lambda trial: study.tell(study.ask(), 5.0).value, n_trials=1)
        assert sorted(states(study)) == ["COMPLETE", "COMPLETE"]

    def test_a_trial_told_inside_its_objective(self, optuna: ModuleType) -> None:
        """The first end counts."""
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            study.tell(trial.number, 1.0)
            return 2.0

        with contextlib.suppress(ValueError):  # Optuna raises, tunesmith warns
            study.optimize(objective, n_trials=1)
        assert [t.value for t in study.trials] == [1.0]


class TestTutorial:
    """The examples of Optuna's tutorial in our own words."""

    def test_first_example(self, optuna: ModuleType) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(quadratic, n_trials=100)
        assert abs(study.best_params["x"] - 2) < 1
        assert study.best_value == (study.best_params["x"] - 2) ** 2
        assert len(study.trials) == 100
        assert study.best_trial.value == min(t.value for t in study.trials)

    def test_search_space_with_branches_and_loops(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> float:
            kind = trial.suggest_categorical("classifier", ["SVC", "forest"])
            if kind == "SVC":
                return trial.suggest_float("svc_c", 1e-10, 1e10, log=True)
            depth = trial.suggest_int("depth", 2, 32, log=True)
            layers = trial.suggest_int("layers", 1, 3)
            return depth + sum(trial.suggest_int(f"units_{i}", 4, 128) for i in range(layers))

        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(objective, n_trials=40)
        for trial in study.trials:
            if trial.params["classifier"] == "SVC":
                assert set(trial.params) == {"classifier", "svc_c"}
            else:
                names = {f"units_{i}" for i in range(trial.params["layers"])}
                assert set(trial.params) == {"classifier", "depth", "layers"} | names
        assert {len(t.params) for t in study.trials} == {2, 4, 5, 6}

    def test_pruning(self, optuna: ModuleType) -> None:
        """An SGD-like loop that reports after every epoch and asks whether to go on."""

        def objective(trial: Any) -> float:
            rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
            loss = 1.0
            for step in range(20):
                loss *= 1 - rate / 4
                trial.report(loss, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return loss

        study = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(seed=1), pruner=optuna.pruners.MedianPruner(n_startup_trials=4)
        )
        study.optimize(objective, n_trials=30)
        state = optuna.trial.TrialState
        pruned, complete = (study.get_trials(deepcopy=False, states=[s]) for s in (state.PRUNED, state.COMPLETE))
        assert len(pruned) + len(complete) == 30
        assert len(pruned) > 5
        assert all(len(t.intermediate_values) < 20 for t in pruned)
        assert study.best_trial in complete

    def test_user_attributes(self, optuna: ModuleType) -> None:
        study = optuna.create_study(study_name="svm")
        study.set_user_attr("dataset", "iris")
        study.optimize(lambda t: t.set_user_attr("accuracy", t.number / 10) or 1 - t.number / 10, n_trials=3)
        assert study.user_attrs["dataset"] == "iris"
        assert [t.user_attrs["accuracy"] for t in study.trials] == [0.0, 0.1, 0.2]

    def test_resume_from_a_database(self, optuna: ModuleType, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/example.db"
        study = optuna.create_study(study_name="example", storage=url)
        study.optimize(quadratic, n_trials=3)
        study = optuna.create_study(study_name="example", storage=url, load_if_exists=True)
        study.optimize(quadratic, n_trials=3)
        loaded = optuna.load_study(study_name="example", storage=url)
        assert len(loaded.trials) == 6
        assert loaded.best_value == min(t.value for t in loaded.trials)

    def test_ask_and_tell_in_batches(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for _ in range(3):
            trials = [study.ask() for _ in range(4)]
            xs = np.array([t.suggest_float("x", -10, 10) for t in trials])
            for trial, value in zip(trials, (xs - 2) ** 2, strict=True):
                study.tell(trial, value)
        assert [t.number for t in study.trials] == list(range(12))
        assert study.best_value == min(t.value for t in study.trials)

    def test_specify_hyperparameters_by_hand(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> float:
            bagging = trial.suggest_float("bagging", 0.1, 1.0)
            return bagging * trial.suggest_int("freq", 0, 7) + trial.suggest_int("min_child", 5, 100)

        study = optuna.create_study(pruner=optuna.pruners.NopPruner())
        study.enqueue_trial({"bagging": 1.0, "freq": 0, "min_child": 20})
        study.enqueue_trial({"bagging": 0.75, "freq": 5, "min_child": 20})
        study.optimize(objective, n_trials=5)
        assert study.trials[0].params == {"bagging": 1.0, "freq": 0, "min_child": 20}
        assert study.trials[1].value == 0.75 * 5 + 20
        again = optuna.create_study()
        again.add_trial(
            optuna.trial.create_trial(
                params={"bagging": 1.0},
                distributions={"bagging": optuna.distributions.FloatDistribution(0.1, 1.0)},
                value=0.9,
            )
        )
        assert again.best_params == {"bagging": 1.0}

    def test_reuse_the_best_trial(self, optuna: ModuleType) -> None:
        def detailed(trial: Any) -> dict[str, float]:
            value = quadratic(trial)
            return {"value": value, "root": math.sqrt(value)}

        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
        study.optimize(quadratic, n_trials=10)
        assert detailed(study.best_trial)["value"] == study.best_value
        assert detailed(optuna.trial.FixedTrial(study.best_params))["root"] == math.sqrt(study.best_value)

    def test_stop_after_pruned_trials_in_a_row(self, optuna: ModuleType) -> None:
        class StopWhenPruned:
            def __init__(self, threshold: int) -> None:
                self.threshold, self.count = threshold, 0

            def __call__(self, study: Any, trial: Any) -> None:
                self.count = self.count + 1 if trial.state == optuna.trial.TrialState.PRUNED else 0
                if self.count >= self.threshold:
                    study.stop()

        def objective(trial: Any) -> float:
            if trial.number > 4:
                raise optuna.TrialPruned
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study()
        study.optimize(objective, n_trials=100, callbacks=[StopWhenPruned(2)])
        assert states(study) == ["COMPLETE"] * 5 + ["PRUNED"] * 2

    def test_several_objectives(self, optuna: ModuleType) -> None:
        def objective(trial: Any) -> tuple[float, float]:
            x, y = trial.suggest_float("x", 0, 5), trial.suggest_float("y", 0, 3)
            return 4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2

        study = optuna.create_study(directions=["minimize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
        study.set_metric_names(["cost", "distance"])
        study.optimize(objective, n_trials=30)
        front = study.best_trials
        assert front
        for trial in study.trials:
            better = any(
                all(a <= b for a, b in zip(t.values, trial.values, strict=True)) and t.values != trial.values
                for t in study.trials
            )
            assert better == (trial not in front)

    def test_several_seeds_at_once_in_one_process(self, optuna: ModuleType) -> None:
        studies = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=s)) for s in (1, 1, 2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for study in studies:
                study.optimize(quadratic, n_trials=3)
        assert [t.params for t in studies[0].trials] == [t.params for t in studies[1].trials]
        assert [t.params for t in studies[0].trials] != [t.params for t in studies[2].trials]
