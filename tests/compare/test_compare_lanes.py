"""Comparisons in lanes: the same studies, trained side by side."""

from __future__ import annotations

import threading
import time

import pytest

from tunesmith import Float
from tunesmith.compare import FunctionProblem, compare, lanes, notes
from tunesmith.compare.lanes import LanePool
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors.lanes import LaneEvent, Parked

EPOCHS = 3


class Evaluation(Parked):
    """(x - seed)**2 / epoch, and at the end a value."""

    def __init__(self, x, seed, test=False):
        self.x, self.seed, self.test, self.step = x, seed, test, 0

    @property
    def loss(self):
        return (self.x - self.seed % 100 / 100) ** 2 / max(self.step, 1)

    @property
    def outcome(self):
        return {"test_loss": 2 * self.loss, "loss": self.loss}


class Runner:
    def __init__(self, problem, lanes):
        self.problem, self.lanes, self.held, self.stopped = problem, lanes, {}, False

    def room(self):
        return self.lanes - len(self.held)

    def start(self, key, evaluation):
        assert self.room() > 0
        self.held[key] = evaluation

    def step(self):
        self.problem.widths.append(len(self.held))
        if self.problem.breaks and len(self.problem.widths) == self.problem.breaks:
            raise OSError("the device is gone")
        for key, evaluation in list(self.held.items()):
            evaluation.step += 1
            if evaluation.x > self.problem.hot and not evaluation.test:
                del self.held[key]
                yield LaneEvent(key, error=ArithmeticError("too hot"))
                continue
            yield LaneEvent(key, item={"loss": evaluation.loss})
            if evaluation.step == EPOCHS and key in self.held:
                del self.held[key]
                yield LaneEvent(key, seconds=0.5)

    def drop(self, key):
        self.held.pop(key, None)

    def stop(self):
        self.stopped = True

    def close(self):
        pass


class Problem(FunctionProblem):
    def __init__(self, hot=2.0, breaks=0):
        super().__init__(print, {"x": Float(0, 1)}, name="lanes", metric_names=["loss"])
        self.hot, self.breaks, self.widths = hot, breaks, []

    def __call__(self, trial):
        evaluation = self.begin(trial)
        if evaluation.x > self.hot:
            raise ArithmeticError("too hot")
        for step in range(1, EPOCHS + 1):
            evaluation.step = step
            yield {"loss": evaluation.loss}

    def begin(self, trial):
        return Evaluation(trial.suggest_float("x", 0, 1), self.training_seed(trial.number))

    def test_evaluation(self, params, seed):
        return Evaluation(params["x"], seed, test=True)

    @property
    def evaluate_test(self):
        def test(params, seed):
            evaluation = Evaluation(params["x"], seed)
            evaluation.step = EPOCHS
            return evaluation.outcome

        return test

    def open_lanes(self, lanes, workers=None):
        self.opened = Runner(self, 16 if lanes == "auto" else lanes)
        return self.opened


ARGUMENTS = {"methods": ["random", "sobol", "pso"], "trials": 6, "repeats": 4}


def plain(result):
    return result.to_dict(timings=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return compare(Problem(), **ARGUMENTS, out=tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("lanes", [1, 5, 64, "auto"])
def test_the_result_is_that_without_lanes(lanes, alone, tmp_path):
    problem = Problem()
    result = compare(problem, **ARGUMENTS, out=tmp_path, lanes=lanes)
    assert plain(result) == plain(alone)
    studies = min(16 if lanes == "auto" else lanes, 12)
    assert result.n_jobs == studies
    assert max(problem.widths) == studies
    assert {t.duration for run in result.runs for t in run.trials} == {0.5}
    assert any("trained together in lanes" in line for line in notes.notes(result))


def test_most_epochs_are_of_full_stacks(tmp_path):
    problem = Problem()
    compare(problem, **ARGUMENTS, out=tmp_path, lanes="auto")
    assert sum(problem.widths) == 12 * 7 * EPOCHS  # six trials and a test
    assert sum(width == 12 for width in problem.widths) >= 0.8 * 7 * EPOCHS


def test_a_failed_trial_takes_no_other_with_it(tmp_path):
    a = compare(Problem(hot=0.8), **ARGUMENTS, out=tmp_path / "a")
    b = compare(Problem(hot=0.8), **ARGUMENTS, out=tmp_path / "b", lanes=7)
    assert plain(a) == plain(b)
    assert any(t.state == "FAIL" for run in b.runs for t in run.trials)


def test_broken_lanes_end_the_comparison_and_nothing_is_lost(alone, tmp_path):
    problem = Problem(breaks=9)
    with pytest.raises(OSError, match="device is gone"):
        compare(problem, **ARGUMENTS, out=tmp_path, lanes="auto")
    assert problem.opened.stopped
    problem = Problem()
    result = compare(problem, **ARGUMENTS, out=tmp_path, lanes=3)
    assert plain(result) == plain(alone)
    assert not any(t.state == "FAIL" for run in result.runs for t in run.trials)
    assert sum(problem.widths) < 12 * 7 * EPOCHS  # what was done was kept


def test_interrupted_it_goes_on(alone, tmp_path):
    def listener(progress):
        if progress.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(Problem(), **ARGUMENTS, out=tmp_path, lanes=12, on_progress=listener)
    assert not [t for t in threading.enumerate() if t.name == "tunesmith-pool"]
    assert plain(compare(Problem(), **ARGUMENTS, out=tmp_path, lanes=12)) == plain(alone)


def test_begun_in_lanes_and_ended_without(alone, tmp_path):
    compare(Problem(), **{**ARGUMENTS, "trials": 3}, out=tmp_path, lanes=12)
    assert plain(compare(Problem(), **ARGUMENTS, out=tmp_path))["runs"] == plain(alone)["runs"]


def test_impossible_lanes_are_refused(tmp_path):
    for number in (0, -3, 2.5, "many", True):
        with pytest.raises((InvalidTypeError, InvalidValueError), match="lanes"):
            compare(Problem(), ["random"], 1, 1, out=tmp_path, lanes=number)
    with pytest.raises(InvalidTypeError, match="offers them"):
        compare(lambda t: 0.0, ["random"], 1, 1, out=tmp_path, lanes=4, space={"x": Float(0, 1)})


def test_a_problem_without_a_test_has_none_in_lanes_either(tmp_path):
    class Untested(Problem):
        evaluate_test = None

        def test_evaluation(self, params, seed):
            raise AssertionError("there is none")

    result = compare(Untested(), **ARGUMENTS, out=tmp_path, lanes=5)
    assert result.complete
    assert not any(run.test or run.test_error for run in result.runs)


# -- the pool ------------------------------------------------------------------------------------------------------


class Endless:
    """Each step is an epoch of all; a lane ends after so many epochs."""

    def __init__(self):
        self.held, self.widths = {}, []

    def start(self, key, epochs):
        self.held[key] = epochs

    def step(self):
        self.widths.append(len(self.held))
        time.sleep(0.01)
        for key in list(self.held):
            self.held[key] -= 1
            yield LaneEvent(key, item={"loss": 0.0})
            if self.held[key] == 0:
                del self.held[key]
                yield LaneEvent(key)

    def drop(self, key):
        self.held.pop(key, None)

    def stop(self):
        pass

    def close(self):
        pass


def evaluate(pool, epochs, done=None):
    for _ in pool.evaluate(epochs):
        pass
    if done is not None:
        done.append(epochs)


def test_a_slow_study_is_waited_for_once_not_before_each_epoch(monkeypatch):
    monkeypatch.setattr(lanes, "_PATIENCE", 0.2)
    runner = Endless()
    pool = LanePool(runner, 2)
    begin = time.perf_counter()
    evaluate(pool, 20)
    assert 0.4 <= time.perf_counter() - begin < 2.0  # 20 epochs without it
    first = threading.Thread(target=evaluate, args=(pool, 50))
    first.start()
    evaluate(pool, 3)  # it has come
    begin = time.perf_counter()
    first.join()
    assert 0.2 < time.perf_counter() - begin < 3.0  # and is waited for anew, once
    pool.close()
    assert runner.widths.count(2) == 3


def test_nobody_waits_for_all_when_one_is_there(monkeypatch):
    """Two of three studies end their trials at the same time, and one of them takes long to propose the next."""
    monkeypatch.setattr(lanes, "_PATIENCE", 0.05)
    runner, done = Endless(), []
    pool = LanePool(runner, 3)
    threads = [threading.Thread(target=evaluate, args=(pool, 2, done)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    evaluate(pool, 4, done)  # the others do not come back
    pool.close()
    assert done == [2, 2, 4]
