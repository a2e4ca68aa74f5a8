"""Trials that a rule has paused, as results for a search method; and learning curves as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tunesmith as ts
from tunesmith.curves import curves
from tunesmith.history import History, OpenRow
from tunesmith.levels import levelled
from tunesmith.pruners import BasePruner, Verdict
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.space import Space
from tunesmith.trial import TrialState

SPACE = Space({"x": ts.Float(0.0, 1.0), "kind": ts.Categorical([True, 1, "one"])})


@dataclass(frozen=True)
class PauseAt(BasePruner):
    """Pauses everybody after the step in its parameter list."""

    steps: tuple[int, ...] = (1,)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        step = self.steps[trial.number % len(self.steps)]
        return Verdict.PAUSE if max(trial.reports) >= step else Verdict.GO


def study_of(steps: tuple[int, ...], direction: str = "minimize", n: int = 6, epochs: int = 9) -> ts.Study:
    """Trial k reports k + 1 / step, and is paused after its step."""
    sign = 1 if direction == "minimize" else -1

    def objective(trial):
        trial.suggest_float("x", 0.0, 1.0)
        trial.suggest_categorical("kind", [True, 1, "one"])
        for epoch in range(epochs):
            yield sign * (trial.number + 1.0 / (epoch + 1))

    study = ts.create_study(space=SPACE, sampler="random", pruner=PauseAt(steps), direction=direction, seed=1)
    study.optimize(objective, n_trials=n, keep_paused=True)
    return study


def test_nothing_changes_without_paused_trials():
    study = study_of((99,))
    assert levelled(study.history, "step") is study.history


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_equal_levels_give_the_reports(direction):
    history = study_of((2,), direction).history
    found = levelled(history, "step")
    assert history.n == 0
    assert (found.n, len(found.open)) == (6, 0)
    assert_array_equal(found.loss[:, 0], np.arange(6) + 0.5)
    assert found.is_complete.all()
    by_number = {t.number: t.params for t in history.open}
    assert [found.value("x")[k] for k in range(6)] == [by_number[int(n)]["x"] for n in found.number]
    kinds = [(type(v), v) for v in found.value("kind")]
    assert kinds == [(type(by_number[int(n)]["kind"]), by_number[int(n)]["kind"]) for n in found.number]


def test_who_came_less_far_is_worse_and_the_level_has_enough_trials():
    history = study_of((1, 2, 4), n=12).history  # 2 parameters, so 5 trials make a level: step 2 has 8
    found = levelled(history, "step")
    loss = dict(zip(found.number.tolist(), found.loss[:, 0].tolist(), strict=True))
    for number in range(12):
        if number % 3:
            assert loss[number] == number + 0.5
    short = [loss[n] for n in (0, 3, 6, 9)]
    assert short == sorted(short)
    assert min(short) > max(v for n, v in loss.items() if n % 3)


def test_finished_and_running_trials_take_part_and_failed_ones_stay_failed():
    study = study_of((3,), n=8)
    study.enqueue_trial({"x": 0.5})

    def other(trial):
        trial.suggest_float("x", 0.0, 1.0)
        if trial.number == 9:
            raise ValueError("broken")
        for epoch in range(5):
            yield 7.0 - epoch

    study.pruner = PauseAt((99,))
    study.optimize(other, n_trials=2, catch=ValueError, keep_paused=True)
    running = study.ask()
    running.report(3.25, 3)
    silent = study.ask()
    found = levelled(study.history, "step")
    loss = dict(zip(found.number.tolist(), found.loss[:, 0].tolist(), strict=True))
    assert loss[8] == 5.0  # at the level, not its last value
    assert np.isnan(loss[9])
    assert found.state[found.number == 9] == TrialState.FAIL
    assert loss[running.number] == 3.25
    assert [t.number for t in found.open] == [silent.number]


def test_a_nan_report_is_a_result_and_the_worst():
    def objective(trial):
        trial.suggest_float("x", 0.0, 1.0)
        yield float("nan") if trial.number == 0 else float(trial.number)

    study = ts.create_study(sampler="random", pruner=PauseAt((1,)))
    study.optimize(objective, n_trials=5, keep_paused=True)
    found = levelled(study.history, "step")
    assert np.isfinite(found.loss).all()
    assert found.number[np.argmax(found.loss[:, 0])] == 0


@dataclass(frozen=True)
class Spy(BaseSampler):
    """Random, and remembers what it was shown."""

    by_level = True

    def propose(self, space, history, rng, n):
        SEEN.append((history.n, len(history.running)))
        return [Proposal(space.to_params(space.decode(rng.random((1, len(space))))[0])) for _ in range(n)]


SEEN: list[tuple[int, int]] = []


@pytest.mark.parametrize("by_level", [True, False])
def test_only_who_asks_for_it_is_shown_paused_trials_as_finished(by_level, monkeypatch):
    monkeypatch.setattr(Spy, "by_level", by_level)
    monkeypatch.setattr("tunesmith.study._propose.MODEL_FREE", 0.0)
    SEEN.clear()

    def objective(trial):
        yield trial.suggest_float("x", 0.0, 1.0)
        yield 0.0

    study = ts.create_study(space=Space({"x": ts.Float(0.0, 1.0)}), sampler=Spy(), pruner=PauseAt((1,)))
    study.optimize(objective, n_trials=4)
    assert ([(0, 0), (1, 0), (2, 0), (3, 0)] if by_level else [(0, 0), (0, 1), (0, 2), (0, 3)]) == SEEN


@pytest.mark.parametrize("sampler", ["tpe", "gp", "forest", "thompson"])
def test_models_learn_from_paused_trials(sampler):
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        for epoch in range(9):
            yield (x - 0.7) ** 2 + 1.0 / (epoch + 1)

    study = ts.create_study(space=Space({"x": ts.Float(0.0, 1.0)}), sampler=sampler, pruner=PauseAt((1,)), seed=3)
    study.optimize(objective, n_trials=30, keep_paused=True)
    late = [t.params["x"] for t in study.trials[20:]]
    assert np.quantile(np.abs(np.array(late) - 0.7), 0.4) < 0.1  # a third is drawn at random


@pytest.mark.parametrize("steps", [(1,), (9,)])
def test_a_third_is_drawn_at_random_while_results_are_those_of_a_level(steps):
    SEEN.clear()
    study = ts.create_study(space=Space({"x": ts.Float(0.0, 1.0)}), sampler=Spy(), pruner=PauseAt(steps), seed=1)

    def objective(trial):
        yield trial.suggest_float("x", 0.0, 1.0)

    study.optimize(objective, n_trials=90, keep_paused=True)
    assert 50 <= len(SEEN) <= 70 if steps == (1,) else len(SEEN) == 90
    assert len({t.params["x"] for t in study.trials}) == 90


# -- curves ---------------------------------------------------------------------------------------------------------


def ragged(values: dict[int, dict[int, float]], metric: dict[int, dict[int, float]] | None = None) -> ts.Study:
    """Finished trials with these reports, the last one of them running."""
    study = ts.create_study(sampler="random")
    for number, reports in values.items():
        trial = study.ask()
        for step, value in reports.items():
            trial.report(value, step)
            if metric and step in metric.get(number, {}):
                trial.report_metric("samples", metric[number][step], step)
        if number != max(values):
            study.tell(trial, 1.0)
    return study


def test_curves_of_ragged_reports():
    study = ragged({0: {3: 1.0, 1: 5.0}, 1: {}, 2: {2: float("nan")}, 3: {0: 9.0, 4: 2.0}})
    found = curves(study.history)
    assert found.number.tolist() == [0, 2, 3]
    assert found.row.tolist() == [0, 2, -1]
    assert found.n_finished == 2
    assert found.last.tolist() == [3, 2, 4]
    assert_array_equal(found.at(1), [5.0, np.inf, 2.0])
    assert_array_equal(found.at(3), [1.0, np.nan, 2.0])
    assert_array_equal(found.at(5), [np.nan] * 3)
    assert_array_equal(found.upto(2), [5.0, np.inf, 9.0])
    assert_array_equal(found.upto(0), [np.nan, np.nan, 9.0])
    assert [a.tolist() for a in found.of(0)] == [[1, 3], [5.0, 1.0]]
    assert len(found.of(1)[0]) == 0


def test_curves_over_another_resource_leave_out_reports_without_it():
    samples = {0: {1: 100.0, 2: 250.0}, 1: {1: 64.0}}
    study = ragged({0: {1: 5.0, 2: 4.0, 3: 3.0}, 1: {1: 8.0, 2: 7.0}}, samples)
    found = curves(study.history, "samples")
    assert found.resource.tolist() == [100.0, 250.0, 64.0]
    assert found.loss.tolist() == [5.0, 4.0, 8.0]
    assert len(curves(study.history, "nothing")) == 0


def test_curves_grow_with_the_study_as_if_made_anew():
    study = ts.create_study(sampler="random", direction="maximize")
    for k in range(30):
        trial = study.ask()
        for step in range(k % 4):
            trial.report(k - step, step)
        study.tell(trial, 1.0)
        grown = curves(study.history)
    again = ts.create_study(direction="maximize")
    again.add_trials(study.trials)
    fresh = curves(again.history)
    for name in ("number", "row", "state", "first", "resource", "loss"):
        assert_array_equal(getattr(grown, name), getattr(fresh, name))


def test_no_reports_no_curves():
    found = curves(ts.create_study().history)
    assert len(found) == 0
    assert len(found.at(1)) == len(found.upto(1)) == 0
