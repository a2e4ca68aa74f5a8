"""Comparisons that run: budget, pairing, resuming exactly, guarding the folder, surviving failures."""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
import time
import types

import pytest
from compare.objectives import SPACE, TWO, CountingSampler, Objective, problem, same

from tunesmith import Float, load_study
from tunesmith.compare import ComparisonResult, FunctionProblem, Progress, analysis, compare, report, tables
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError

# -- what a comparison is --------------------------------------------------------------------------------------


def test_every_method_gets_its_budget_in_every_repeat(tmp_path):
    objective = Objective()
    result = compare(problem(objective), TWO, trials=4, repeats=3, out=tmp_path)
    assert result.complete
    assert [(r.method, r.repeat) for r in result.runs] == [(m, r) for m in ("one", "two") for r in range(3)]
    assert all(run.finished and [t.number for t in run.trials] == [0, 1, 2, 3] for run in result.runs)
    assert len(objective.calls) == 2 * 3 * 4
    assert len(objective.tests) == 2 * 3
    for run in result.runs:
        best = min(run.trials, key=lambda t: t.value)
        assert run.best == best.number
        assert run.test["accuracy"] == 1 / (1 + best.params["x"] ** 2)
        assert best.curves["loss"] == [[1, pytest.approx(best.value + 1)], [2, best.value]]
        assert best.metrics == {"loss": best.value, "accuracy": pytest.approx(1 / (1 + best.value))}
        assert 0 <= run.train_seconds <= run.wall_seconds
    assert ComparisonResult.load(tmp_path) == result
    assert {"python", "numpy", "scipy"} <= set(result.environment["versions"])
    assert result.environment["hardware"]["cores"] >= 1


def test_repeats_are_paired_and_samplers_are_not(tmp_path):
    objective = Objective()
    result = compare(problem(objective), TWO, trials=3, repeats=2, out=tmp_path)
    order = [objective.calls[i : i + 3] for i in (0, 3, 6, 9)]  # one, two, two, one: they take turns in going first
    by_method = [order[0] + order[3], order[1] + order[2]]
    assert by_method[0] == by_method[1]  # (repeat, number, training seed): the same for both methods
    assert len({seed for _, _, seed in by_method[0]}) == 6
    points = [tuple(t.params["x"] for t in run.trials) for run in result.runs]
    assert len(set(points)) == 4
    assert len({run.seed for run in result.runs}) == 4
    tested = [seed for _, seed in objective.tests]
    for run, seed in zip([result.run("one", 0), result.run("two", 0)], tested, strict=False):
        assert seed == problem().for_repeat(0).training_seed(run.best)


def test_another_seed_gives_other_points(tmp_path):
    a = compare(problem(), ["random"], trials=2, repeats=1, out=tmp_path / "a", seed=0)
    b = compare(problem(), ["random"], trials=2, repeats=1, out=tmp_path / "b", seed=1)
    c = compare(problem(), ["random"], trials=2, repeats=1, out=tmp_path / "c", seed=0)
    assert a.runs[0].trials[0].params != b.runs[0].trials[0].params
    assert same(a, c)


def test_the_studies_are_ordinary_ones(tmp_path):
    result = compare(problem(), ["random"], trials=3, repeats=1, out=tmp_path)
    study = load_study(study_name="random/repeat-00", storage=str(tmp_path / "studies.jsonl"))
    assert study.best_trial.number == result.runs[0].best
    assert study.metric_names == ["loss"]


def test_initial_trials_and_methods_that_run_out(tmp_path):
    result = compare(problem(), {"count": CountingSampler(most=4)}, trials=6, repeats=1, out=tmp_path)
    run = result.runs[0]
    assert [t.initial for t in run.trials] == [True, True, False, False]
    assert run.finished  # nothing left to propose
    assert result.complete
    objective = Objective()
    assert same(compare(problem(objective), {"count": CountingSampler(most=4)}, 6, 1, out=tmp_path), result)
    assert objective.calls == []


def test_a_plain_function_with_a_space(tmp_path):
    def bowl(trial):
        return (trial.suggest_float("x", -5, 5) - 1) ** 2

    result = compare(bowl, ["random"], 5, 2, out=tmp_path, space={"x": Float(-5, 5)})
    assert result.objective == "value"
    assert result.test_metrics == []
    assert "no test split" in " ".join(tables.table_one(result).notes)
    assert all(run.best_value == min(t.value for t in run.trials) for run in result.runs)


def test_maximize(tmp_path):
    result = compare(problem(direction="maximize"), TWO, 4, 2, out=tmp_path)
    for run in result.runs:
        assert run.best_value == max(t.value for t in run.trials)
        assert run.best_so_far("maximize")[-1] == run.best_value


# -- resuming --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return compare(problem(), TWO, trials=4, repeats=2, out=tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop_at", [1, 2, 6, 11, 16])
def test_interrupted_and_run_again_does_only_what_is_missing(tmp_path, uninterrupted, stop_at):
    first = Objective(stop_at)
    with pytest.raises(KeyboardInterrupt):
        compare(problem(first), TWO, trials=4, repeats=2, out=tmp_path)
    partial = ComparisonResult.load(tmp_path)
    assert not partial.complete
    assert sum(len(run.trials) for run in partial.runs) == stop_at - 1
    tables.print_tables(partial)  # a partial result can be shown
    second = Objective()
    result = compare(problem(second), TWO, trials=4, repeats=2, out=tmp_path)
    assert len(second.calls) == 16 - (stop_at - 1)  # the interrupted one again, and the rest
    assert len(first.tests) + len(second.tests) == 4
    assert same(result, uninterrupted)


def test_a_finished_comparison_is_not_touched(tmp_path, uninterrupted):
    compare(problem(), TWO, trials=4, repeats=2, out=tmp_path)
    log = (tmp_path / "studies.jsonl").read_bytes()
    objective = Objective()
    result = compare(problem(objective), TWO, trials=4, repeats=2, out=tmp_path)
    assert objective.calls == objective.tests == []
    assert (tmp_path / "studies.jsonl").read_bytes() == log
    assert same(result, uninterrupted)


def test_repeats_methods_and_trials_may_be_added(tmp_path):
    compare(problem(), ["random"], trials=2, repeats=1, out=tmp_path)
    objective = Objective()
    result = compare(problem(objective), {"random": "random", "two": "random"}, trials=4, repeats=2, out=tmp_path)
    assert len(objective.calls) == 2 * 2 * 4 - 2
    assert same(result, compare(problem(), {"random": "random", "two": "random"}, 4, 2, out=tmp_path / "anew"))
    smaller = compare(problem(Objective(stop_at=1)), ["random"], trials=3, repeats=1, out=tmp_path)
    assert [t.number for t in smaller.runs[0].trials] == [0, 1, 2]  # a smaller budget is a look at the first trials


def test_the_outcome_does_not_depend_on_n_jobs(tmp_path, uninterrupted):
    assert same(compare(problem(), TWO, trials=4, repeats=2, out=tmp_path, n_jobs=3), uninterrupted)


def test_interrupting_parallel_studies_stops_all_of_them(tmp_path, uninterrupted):
    first = Objective(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        compare(problem(first), TWO, trials=4, repeats=2, out=tmp_path, n_jobs=2)
    assert not [t for t in threading.enumerate() if t.name.startswith("compare-")]
    assert len(first.calls) < 16
    second = Objective()
    assert same(compare(problem(second), TWO, trials=4, repeats=2, out=tmp_path, n_jobs=2), uninterrupted)
    assert len(second.calls) < 16


def test_ctrl_c_in_the_main_thread_waits_for_the_workers(tmp_path, uninterrupted):
    def press(objective):
        if len(objective.calls) == 3:
            _thread.interrupt_main()
        time.sleep(0.02)

    first = Objective(hook=press)
    with pytest.raises(KeyboardInterrupt):
        compare(problem(first), TWO, trials=4, repeats=2, out=tmp_path, n_jobs=2)
    assert not [t for t in threading.enumerate() if t.name.startswith("compare-")]
    assert len(first.calls) < 16
    assert not ComparisonResult.load(tmp_path).complete
    assert same(compare(problem(), TWO, trials=4, repeats=2, out=tmp_path), uninterrupted)


# -- failures --------------------------------------------------------------------------------------------------


def test_a_method_that_fails_wholly_is_shown_and_the_rest_goes_on(tmp_path):
    def picky(trial):
        x = trial.suggest_float("x", -5, 5)
        if trial.suggest_float("y", 1e-3, 10, log=True) == 1.0:
            raise ValueError("y must not be 1")
        return x**2

    result = compare(picky, {"count": CountingSampler(), "random": "random"}, 3, 2, out=tmp_path, space=SPACE)
    assert [run.best for run in result.of("count")] == [None, None]
    assert all(t.state == "FAIL" and "y must not be 1" in t.error for t in result.run("count", 0).trials)
    assert all(run.n_failed == 0 for run in result.of("random"))
    text = " ".join(tables.table_one(result).notes)
    assert "6 of 12 trials failed" in text
    assert "Failed trials are not repeated in this folder." in text
    assert "The first: ValueError: y must not be 1." in text
    assert analysis.pair_tests(result).tests[0].n == 0
    report.write_all(result, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_trial_that_is_given_up_is_no_reason_for_one_too_many(tmp_path):
    def die(objective):
        if len(objective.calls) == 2:
            os._exit(7)

    compare(problem(), ["random"], 1, 1, out=tmp_path)
    for _ in range(3):  # the second trial kills its process three times
        child = os.fork()
        if not child:
            objective = Objective(hook=die)
            objective.calls.append("the first one")
            try:
                compare(problem(objective), ["random"], 2, 1, out=tmp_path)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    objective = Objective()
    result = compare(problem(objective), ["random"], 2, 1, out=tmp_path)
    assert objective.calls == []
    assert [t.state for t in result.runs[0].trials] == ["COMPLETE", "FAIL"]
    assert len(load_study(study_name="random/repeat-00", storage=str(tmp_path / "studies.jsonl")).trials) == 2


def test_nan_is_a_failed_trial(tmp_path):
    result = compare(lambda trial: math.nan, ["random"], 2, 1, out=tmp_path, space=SPACE)
    assert [t.state for t in result.runs[0].trials] == ["FAIL", "FAIL"]


def test_a_failing_test_evaluation_is_told_and_tried_again(tmp_path):
    _data = []  # an underscore: what changes is no part of the objective

    def test(params, seed):
        if not _data:
            raise OSError("no test data")
        return {"accuracy": 1.0}

    result = compare(problem(test=test), ["random"], 2, 1, out=tmp_path)
    assert "no test data" in result.runs[0].test_error
    notes = " ".join(tables.table_one(result).notes)
    assert "no test data" in notes
    assert "No test value is there yet" in notes
    assert "no test split" not in notes
    _data.append(1)
    again = compare(problem(test=test), ["random"], 2, 1, out=tmp_path)
    assert again.runs[0].test_error == ""
    assert set(again.runs[0].test) == {"accuracy"}


def test_test_metrics_with_labels_check_that_training_is_reproducible(tmp_path):
    def retrain(params, seed):
        return {"test_accuracy": 0.5, "loss": 123.0}

    result = compare(problem(test=retrain), ["random"], 2, 1, out=tmp_path)
    assert result.test_metrics == ["test_accuracy"]
    assert result.runs[0].retrained == 123.0
    assert "Training is not reproducible here: in 1 of 1 runs" in " ".join(tables.table_one(result).notes)


# -- adapters --------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(monkeypatch):
    """An integration of its own, found by name, whose package may be missing."""
    import tunesmith.integrations as room

    module = types.ModuleType("tunesmith.integrations.borrowed")

    def sampler(name, **options):
        if name == "absent":
            raise MissingDependencyError("Borrowed is not installed; `pip install borrowed` brings it.")
        if name == "unimportable":
            import a_package_nobody_has  # noqa: F401
        return CountingSampler(**options)

    module.sampler = sampler
    monkeypatch.setitem(sys.modules, module.__name__, module)
    import pkgutil

    real = pkgutil.iter_modules
    found = types.SimpleNamespace(name="borrowed")
    monkeypatch.setattr(
        pkgutil, "iter_modules", lambda p, *a: [*real(p, *a), found] if p == room.__path__ else real(p, *a)
    )


def test_adapters_take_part_and_unavailable_ones_are_skipped(tmp_path, adapter):
    events = []
    methods = ["random", "borrowed:count(most=9)", "borrowed:absent", "borrowed:unimportable"]
    result = compare(problem(), methods, 3, 1, out=tmp_path, on_progress=events.append)
    assert result.labels == ["random", "borrowed:count(most=9)"]
    assert [t.params["x"] for t in result.run("borrowed:count(most=9)").trials] == [0.0, 1.0, 2.0]
    assert result.skipped["borrowed:absent"] == "Borrowed is not installed; `pip install borrowed` brings it."
    assert "a_package_nobody_has" in result.skipped["borrowed:unimportable"]
    assert [e.method for e in events if e.event == "skip"] == ["borrowed:absent", "borrowed:unimportable"]
    assert "borrowed:absent took no part: Borrowed is not installed" in " ".join(tables.table_one(result).notes)
    with pytest.raises(MissingDependencyError, match="No method is left"):
        compare(problem(), ["borrowed:absent"], 3, 1, out=tmp_path / "x")


@pytest.mark.parametrize("method", ["optuna:random", "optuna:tpe"])
def test_optuna_takes_part(tmp_path, method):
    pytest.importorskip("optuna")
    pytest.importorskip("tunesmith.integrations.optuna")
    result = compare(problem(), [method, "random"], 4, 1, out=tmp_path)
    assert not result.skipped
    assert all(len(run.trials) == 4 and run.best is not None for run in result.runs)
    assert same(compare(problem(Objective(1)), [method, "random"], 4, 1, out=tmp_path), result)


def test_grid_takes_part_and_another_budget_is_another_grid(tmp_path):
    pytest.importorskip("tunesmith.samplers.grid")
    result = compare(problem(), ["grid", "random"], 7, 2, out=tmp_path)
    run = result.run("grid", 1)
    assert len({(t.params["x"], t.params["y"]) for t in run.trials}) == len(run.trials) == 6
    assert run.finished
    text = " ".join(tables.table_one(result).notes)
    assert "3 x 2 = 6 cells" in text
    assert "a budget of 7 trials in each of 2 repeats; nothing was left to propose for grid after 6." in text
    assert "Every method had 7 trials" not in text
    objective = Objective()
    larger = compare(problem(objective), ["grid", "random"], 9, 2, out=tmp_path)
    assert len(larger.run("grid", 0).trials) == 9
    assert len(objective.calls) == 2 * (9 + 2)  # the grid anew, two more for random
    objective = Objective()
    assert same(compare(problem(objective), ["grid", "random"], 7, 2, out=tmp_path), result)
    assert objective.calls == []


# -- progress and bad arguments --------------------------------------------------------------------------------


def test_progress_counts_to_the_total(tmp_path):
    events: list[Progress] = []
    compare(problem(), TWO, trials=2, repeats=2, out=tmp_path, on_progress=events.append)
    told = [e for e in events if e.event == "told"]
    assert [e.done for e in told] == list(range(1, 9))
    assert {e.total for e in events} == {8}
    assert all(e.value is not None for e in told)
    epochs = [e for e in events if e.event == "epoch"]
    assert [(e.trial, e.step) for e in epochs[:4]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert epochs[0].value == pytest.approx(epochs[1].value + 1)
    assert [e.event for e in events].count("test") == 4
    assert [e.event for e in events].count("done") == 4


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trials": 0}, InvalidValueError, "trials"),
        ({"repeats": -1}, InvalidValueError, "-1"),
        ({"trials": 2.5}, InvalidTypeError, "2.5"),
        ({"n_jobs": 0}, InvalidValueError, "n_jobs"),
        ({"seed": -3}, InvalidValueError, "-3"),
        ({"seed": None}, InvalidTypeError, "None"),
        ({"methods": ["nonsense"]}, InvalidValueError, "nonsense"),
        ({"problem": 5}, InvalidTypeError, "5"),
        ({"problem": lambda trial: 1.0}, InvalidTypeError, "space"),
        ({"space": SPACE}, InvalidValueError, "space of its own"),
    ],
)
def test_bad_arguments(tmp_path, arguments, error, words):
    call = {
        "problem": problem(),
        "methods": ["random"],
        "trials": 1,
        "repeats": 1,
        "out": tmp_path / "out",
        **arguments,
    }
    with pytest.raises(error, match=words):
        compare(call.pop("problem"), call.pop("methods"), **call)
    assert not (tmp_path / "out").exists()


def test_bad_problems():
    for given, error, words in (
        ({"accuracy": "up"}, InvalidValueError, "'up'"),
        ({"test_loss": "maximize"}, InvalidValueError, "the objective 'loss' is to be minimized"),
        (["accuracy"], InvalidTypeError, "must be a mapping"),
    ):
        with pytest.raises(error, match=words):
            problem(metric_directions=given)
        other = problem()
        other.metric_directions = given
        with pytest.raises(error, match=words):
            compare(other, ["random"], 1, 1)
    with pytest.raises(InvalidTypeError, match="callable"):
        FunctionProblem(3, SPACE)
    with pytest.raises(InvalidValueError, match="empty"):
        FunctionProblem(lambda trial: 1.0, {})
    with pytest.raises(InvalidValueError, match="sideways"):
        FunctionProblem(lambda trial: 1.0, SPACE, direction="sideways")


def test_several_objectives_are_refused(tmp_path):
    two = problem()
    two.directions = ["minimize", "minimize"]
    with pytest.raises(InvalidValueError, match="one objective"):
        compare(two, ["random"], 1, 1, out=tmp_path)
