"""Comparisons with stopping rules: equal budgets of training, exact resume, and what is told of it."""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter

import pytest
from compare.objectives import same

from tunesmith import Float, Space, TrialPruned, TrialState, load_study
from tunesmith.compare import (
    ComparisonResult,
    FunctionProblem,
    analysis,
    compare,
    figures,
    plotdata,
    report,
    tables,
    tidy,
)
from tunesmith.compare.course import Course
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners import HyperbandPruner, MedianPruner, TopKPruner
from tunesmith.testing._logged import logged

SPACE = Space({"x": Float(0, 1), "rate": Float(0.02, 0.5, log=True)})
WHOLE = 9
METHODS = {
    "asha": "tpe+asha(reduction_factor=3)",
    "random": "random",
    "hyperband": "random+hyperband(promote_first=false)",
    "median": "sobol+median(n_startup_trials=2)",
    "sha": "random+sha(n_configurations=9)",
}


class Objective:
    """Curves that fall to a bowl, with some noise; it counts its epochs, and can be interrupted.

    With ``wild`` an epoch says nothing about the next one.
    """

    def __init__(self, stop_at=None, hook=None, wild=False):
        self._stop_at, self._hook, self.wild = stop_at, hook, wild
        self._epochs = []

    def __call__(self, trial, seed):
        x, rate = trial.suggest_float("x", 0, 1), trial.suggest_float("rate", 0.02, 0.5, log=True)
        for epoch in range(1, WHOLE + 1):
            if len(self._epochs) + 1 == self._stop_at:
                raise KeyboardInterrupt
            self._epochs.append((trial.number, epoch))
            if self._hook is not None:
                self._hook(len(self._epochs))
            loss = (x - 0.3) ** 2 + (1 - rate) ** epoch + (seed % 1000) / 1e4
            if self.wild:
                loss = random.Random(seed + epoch).random()
            yield {"loss": loss, "accuracy": 1 / (1 + loss)}


def problem(objective=None, **options):
    return FunctionProblem(
        objective or Objective(), SPACE, **{"name": "curves", **options}, metric_names=["loss", "accuracy"]
    )


def run(out, objective=None, methods=METHODS, trials=5, repeats=2, **options):
    return compare(problem(objective), methods, trials, repeats, **{"out": out, "steps": WHOLE, **options})


def epochs(result, method):
    return [sum(len(trial.curves["loss"]) for trial in found.trials) for found in result.of(method)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


# -- the budget --------------------------------------------------------------------------------------------------


def test_every_method_spends_the_same_training(tmp_path):
    objective = Objective()
    result = run(tmp_path, objective)
    assert {label: epochs(result, label) for label in result.labels} == {label: [45, 45] for label in METHODS}
    assert len(objective._epochs) == len(METHODS) * 2 * 45
    assert analysis.steps_spent(result) == {label: [45, 45] for label in METHODS}
    assert all(found.finished for found in result.runs)
    assert result.ruled == ["asha", "hyperband", "median", "sha"]
    assert (result.steps, result.unit) == (9, "step")
    for label in ("asha", "hyperband", "sha"):
        for found in result.of(label):
            assert len(found.trials) > 5
            assert {len(t.curves["loss"]) for t in found.trials if t.state == "COMPLETE"} <= {WHOLE}
            best = min((t.value, t.number) for t in found.trials if t.state == "COMPLETE")
            assert (found.best_value, found.best) == best
            assert max(t.spent for t in found.trials) == 45


def test_methods_without_a_rule_are_as_without_the_others(tmp_path, whole):
    alone = compare(problem(), {"random": "random"}, 5, 2, out=tmp_path)
    assert alone.steps is None
    for repeat in range(2):
        assert alone.run("random", repeat).trials == _untimed(whole, alone, repeat)


def _untimed(whole, alone, repeat):
    found = ComparisonResult.from_dict(whole.to_dict()).run("random", repeat).trials
    for trial, own in zip(found, alone.run("random", repeat).trials, strict=True):
        trial.duration = own.duration
    return found


def test_the_rule_does_what_it_does_in_a_study(whole, tmp_path):
    """The trials of a method are those of a study with this sampler and this rule, as far as the budget goes."""
    import tunesmith

    own = whole.run("asha", 1)
    study = tunesmith.create_study(
        sampler="tpe", pruner=tunesmith.pruners.get_pruner("asha", reduction_factor=3, max_resource=9), seed=own.seed,
        space=SPACE,
    )  # fmt: skip
    repeat = problem().for_repeat(1)
    study.optimize(repeat, n_trials=len(own.trials), keep_paused=True)
    for trial in own.trials:
        other = study.trials[trial.number]
        assert trial.params == other.params
        curve = dict(map(tuple, trial.curves["loss"]))
        assert curve.items() <= other.intermediate_values.items()


def test_a_trial_in_the_middle_is_stopped_and_not_complete(tmp_path):
    result = run(tmp_path, methods=["random+nop"], trials=2, repeats=1, steps=WHOLE)
    assert [(t.state, len(t.curves["loss"])) for t in result.runs[0].trials] == [("COMPLETE", 9)] * 2
    long = Objective()
    short = run(tmp_path / "b", long, methods=["random+asha(reduction_factor=2)"], trials=1, repeats=1)
    found = short.runs[0]
    assert len(long._epochs) == 9
    assert found.best is None
    assert Counter(t.state for t in found.trials) == {"PRUNED": len(found.trials)}
    assert all(t.value == t.curves["loss"][-1][1] for t in found.trials)
    text = tables.to_markdown(short)
    assert "random+asha(reduction\\_factor=2) has no complete trial in any repeat." in text
    assert "too small for it; give more trials" in text
    assert tables.table_one(short).rows[0][1].text == "-"
    assert report.to_html(short)


def test_trials_that_fail_use_up_the_budget(tmp_path):
    def picky(trial):
        if trial.suggest_float("x", 0, 1) > 0.2:
            raise ValueError("too large")
        yield from [3.0, 2.0, 1.0]

    with logged():
        result = compare(picky, ["random+asha"], 4, 1, out=tmp_path, space={"x": Float(0, 1)}, steps=3)
    found = result.runs[0]
    assert found.finished
    assert analysis.steps_spent(result) == {"random+asha": [12]}
    assert found.n_failed > 4
    assert f"{found.n_failed} of {len(found.trials)} trials failed" in tables.to_markdown(result)


def test_trials_that_end_without_a_report(tmp_path):
    def silent(trial):
        x = trial.suggest_float("x", 0, 1)
        if x > 0.5:
            raise TrialPruned
        return x
        yield

    result = compare(silent, ["random+median"], 3, 1, out=tmp_path, space={"x": Float(0, 1)}, steps=4)
    counts = Counter(t.state for t in result.runs[0].trials)
    assert 4 * counts["COMPLETE"] + counts["PRUNED"] >= 12
    assert result.runs[0].finished


def test_methods_that_run_out(tmp_path):
    """A grid has no more configurations: the rule finishes what it has paused."""
    result = run(tmp_path, methods=["grid+sha(n_configurations=9)", "random"], trials=4, repeats=1)
    found = result.runs[0]
    assert found.finished
    assert len(found.trials) == 4
    assert found.best is not None
    spent = epochs(result, found.method)[0]
    assert 4 < spent < 36
    text = " ".join(tables.table_one(result).notes)
    assert f"Nothing was left to do for {found.method} after {spent} steps." in text
    headers = [c.header for c in tables.table_one(result).columns]
    assert headers[-4:] == ["complete", "steps", "training time", "runs"]
    objective = Objective()
    assert same(
        run(tmp_path, objective, methods=["grid+sha(n_configurations=9)", "random"], trials=4, repeats=1), result
    )
    assert objective._epochs == []


def test_top_k_compares_as_many_as_the_budget_allows(tmp_path):
    result = run(tmp_path, methods=["random+topk(k=2)"], trials=5, repeats=1)
    found = result.runs[0]
    assert len(found.trials) == 45 - 2 * 8
    assert Counter(t.state for t in found.trials) == {"COMPLETE": 2, "PRUNED": 27}
    assert epochs(result, found.method) == [45]
    assert found.study == "random+topk(k=2)[5 trials]/repeat-00"


def test_rules_are_told_how_long_a_whole_training_is(tmp_path):
    run(tmp_path, methods=["random+hyperband", ("random", MedianPruner())], trials=2, repeats=1)
    studies = {name: load_study(study_name=f"{name}/repeat-00", storage=str(tmp_path / "studies.jsonl"))
               for name in ("random+hyperband", "random+median")}  # fmt: skip
    assert studies["random+hyperband"].pruner == HyperbandPruner(max_resource=9)
    assert studies["random+median"].pruner == MedianPruner()


# -- going on ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [1, 2, 30, 77, 131, 222, 300, 371, 449, 450])
def test_interrupted_and_run_again_it_is_what_it_would_have_been(tmp_path, whole, stop_at):
    first = Objective(stop_at)
    with pytest.raises(KeyboardInterrupt), logged():
        run(tmp_path, first)
    partial = ComparisonResult.load(tmp_path)
    assert not partial.complete
    assert "UNFINISHED" in tables.to_markdown(partial)
    assert same(run(tmp_path), whole)


@pytest.mark.parametrize("every", [13, 20, 31])
def test_interrupted_again_and_again(tmp_path, every):
    """Paused trials are trained again when others have come that are better; what the rule said then still holds."""
    options = {"methods": ["random+asha(reduction_factor=2)"], "trials": 20, "repeats": 1}
    whole = run(tmp_path / "whole", Objective(wild=True), **options)
    for _ in range(60):
        try:
            with logged():
                result = run(tmp_path / "cut", Objective(stop_at=every, wild=True), **options)
        except KeyboardInterrupt:
            continue
        assert same(result, whole)
        return
    raise AssertionError("it does not come to its end")


def test_the_outcome_does_not_depend_on_n_jobs(tmp_path, whole):
    assert same(run(tmp_path, n_jobs=3), whole)


def test_a_killed_process_spends_nothing_twice(tmp_path, whole):
    for at in (9, 57, 101, 20):  # the trials of the sixth and of the last are trained again
        child = os.fork()
        if not child:
            run(tmp_path, Objective(hook=lambda n, at=at: n == at and os._exit(7)))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    result = run(tmp_path)
    assert same(result, whole)
    assert {label: epochs(result, label) for label in result.labels} == {label: [45, 45] for label in METHODS}


def test_what_another_machine_held_is_trained_again(tmp_path, whole, monkeypatch):
    child = os.fork()
    if not child:
        monkeypatch.setattr("tunesmith.study._worker._host", lambda: "elsewhere/boot/namespace")
        run(tmp_path, Objective(hook=lambda n: n == 40 and os._exit(7)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    study = load_study(study_name="asha/repeat-00", storage=str(tmp_path / "studies.jsonl"))
    assert {t.state for t in study.trials} > {TrialState.RUNNING, TrialState.PAUSED}
    result = run(tmp_path)
    assert {label: epochs(result, label) for label in result.labels} == {label: [45, 45] for label in METHODS}
    assert same(result, whole)


def test_more_trials_go_on_and_fewer_are_a_look_at_the_first(tmp_path, whole):
    methods = {**METHODS, "topk": "random+topk"}
    small = run(tmp_path / "a", methods=methods)
    objective = Objective()
    larger = run(tmp_path / "a", objective, methods=methods, trials=8)
    assert same(larger, run(tmp_path / "b", methods=methods, trials=8))
    assert len(objective._epochs) < 2 * (6 * 8 * 9)  # what was paused is trained again, what was ended is not
    objective = Objective()
    again = run(tmp_path / "a", objective, methods=methods, trials=5)
    assert objective._epochs == []
    assert same(again, small)
    assert same(run(tmp_path / "b", methods=METHODS, trials=3), run(tmp_path / "c", trials=3))


def test_paused_trials_wait_in_the_store(tmp_path):
    run(tmp_path, methods=["random+asha"], repeats=1)
    study = load_study(study_name="random+asha/repeat-00", storage=str(tmp_path / "studies.jsonl"))
    assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.PAUSED, TrialState.WAITING}


def test_a_rule_may_join_an_older_comparison(tmp_path):
    compare(problem(), ["random"], 3, 1, out=tmp_path)
    old = json.loads((tmp_path / "result.json").read_text())
    for name in ("steps", "unit"):
        del old[name]
    del old["methods"][0]["rule"]
    for trial in old["runs"][0]["trials"]:
        del trial["spent"]
    (tmp_path / "result.json").write_text(json.dumps(old))
    assert ComparisonResult.load(tmp_path).ruled == []
    objective = Objective()
    result = run(tmp_path, objective, methods=["random", "random+asha"], trials=3, repeats=1)
    assert len(objective._epochs) == 27
    assert epochs(result, "random") == epochs(result, "random+asha") == [27]
    assert ComparisonResult.load(tmp_path) == result
    with pytest.raises(InvalidValueError, match=r"method random\+asha: there '.*, 9 steps', now '.*, 11 steps'"):
        run(tmp_path, methods=["random+asha"], trials=3, repeats=1, steps=11)


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "error", "words"),
    [
        ("random+asha", {"steps": None}, InvalidValueError, r"does not say how many .*compare\(\.\.\., steps=10\)"),
        ("random+asha", {"steps": 0}, InvalidValueError, "at least 1"),
        ("random+asha", {"steps": 2.5}, InvalidTypeError, "2.5"),
        ("random+pbt", {}, InvalidValueError, "schedule of hyperparameters over several trials"),
        ("random+pb2", {}, InvalidValueError, "PB2Pruner"),
        ("random+ahsa", {}, InvalidValueError, r"'random\+ahsa': Unknown pruner 'ahsa'; known: .*asha"),
        ("random+asha(speed=3)", {}, InvalidValueError, "speed"),
        ("random+asha(min_resource=20)", {}, InvalidValueError, "does not fit trainings of 9 steps"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, method, options, error, words):
    objective = Objective()
    with pytest.raises(error, match=words):
        run(tmp_path / "out", objective, methods=["random", method], **options)
    assert objective._epochs == []
    assert not (tmp_path / "out").exists()


def test_functions_that_do_not_yield_are_refused(tmp_path):
    def plain(trial):
        trial.report(1.0, 1)
        return trial.suggest_float("x", 0, 1)

    with pytest.raises(InvalidTypeError, match="`yield value`"):
        compare(plain, ["random", "random+asha"], 3, 1, out=tmp_path, space={"x": Float(0, 1)}, steps=3)


def test_trainings_that_are_longer_than_said_are_refused(tmp_path):
    for methods in (["random", "random+asha"], ["random+median"]):
        with pytest.raises(InvalidValueError, match="reported more than 4 times"):
            run(tmp_path / methods[0], methods=methods, steps=4)


def test_rules_are_refused_in_lanes(tmp_path):
    from compare.test_compare_lanes import Problem

    with pytest.raises(InvalidValueError, match=r"\(random\+asha\) cannot be compared in lanes.*leave `lanes` out"):
        compare(Problem(), ["sobol", "random+asha"], 2, 1, out=tmp_path, lanes=2, steps=3)


def test_a_problem_that_knows_its_steps(tmp_path):
    known = problem()
    known.steps = WHOLE
    assert compare(known, ["random+asha"], 2, 1, out=tmp_path).steps == WHOLE
    with pytest.raises(InvalidValueError, match="reports 9 times; leave `steps` out"):
        compare(known, ["random+asha"], 2, 1, out=tmp_path / "b", steps=5)


# -- what is told ------------------------------------------------------------------------------------------------


def test_notes_and_columns(whole):
    table = tables.table_one(whole)
    headers = [c.header for c in table.columns]
    assert "complete" in headers
    assert "steps" not in headers  # all the same
    text = " ".join(table.notes)
    assert (
        "Every method had the same budget of training in each of 2 repeats: 45 steps, which 5 whole trainings of 9 "
        "steps take."
    ) in text
    begun, complete = analysis.trial_counts(whole)["asha"], analysis.complete_counts(whole)["asha"]
    assert f"asha began {min(begun)} to {max(begun)} trials in a run" in text or f"asha began {begun[0]} trials" in text
    assert f"{sum(begun) - sum(complete)} trials in all were stopped by its rule" in text
    assert "random began" not in text
    assert "were stopped early" not in text
    assert "each as much training as 5 whole trainings of 9 steps, 2 repeats" in report._subtitle(whole)
    two = tables.table_two(whole, "asha", 0)
    assert [c.header for c in two.columns][2] == "steps"
    assert [row[2].value for row in two.rows] == [len(t.curves["loss"]) for t in whole.run("asha", 0).trials]
    assert any(note.startswith("pruned: stopped by the rule") for note in two.notes)
    assert "steps" not in [c.header for c in tables.table_two(whole, "random", 0).columns]


def test_files(whole):
    rows = tidy.trials_csv(whole).splitlines()
    assert rows[0].endswith(",seconds,steps")
    assert sum(int(row.rsplit(",", 1)[1]) for row in rows[1:]) == 450
    runs = tidy.runs_csv(whole).splitlines()
    assert runs[0].endswith(",complete,steps")
    assert {row.rsplit(",", 1)[1] for row in runs[1:]} == {"45"}


def test_the_curve_is_drawn_over_steps(whole):
    curves = plotdata.best_so_far(whole)
    random = curves["random"]
    own = {r: whole.run("random", r).best_so_far("minimize") for r in (0, 1)}
    for at, mean in zip(random.at, random.mean, strict=True):
        assert at % 9 == 0
        assert mean == pytest.approx((own[0][at // 9 - 1] + own[1][at // 9 - 1]) / 2)
    asha = curves["asha"]
    assert asha.at[-1] == 45
    values = [whole.run("asha", r).best_value for r in (0, 1)]
    assert asha.mean[-1] == pytest.approx(sum(values) / 2)
    first = [min(t.spent for t in whole.run("asha", r).trials if t.state == "COMPLETE") for r in (0, 1)]
    known = [at for at, mean in zip(asha.at, asha.mean, strict=True) if mean is not None]
    assert known[0] == max(first)
    drawn = figures.curves(whole)
    assert drawn["layout"]["xaxis"]["title"]["text"] == "steps of training, over all trials"
    assert drawn["layout"]["xaxis"]["range"][1] >= 45
    assert {trace["line"]["shape"] for trace in drawn["data"]} == {"hv"}  # a value is there from its last step on


def test_points_that_a_rule_has_stopped_are_told_apart(whole):
    axes = plotdata.point_axes(whole)
    found = whole.run("asha", 0)
    points = plotdata.points(whole, found, axes)
    assert {found.trials[i].state for i in points.stopped} == {"PRUNED"}
    assert len(points.stopped) == sum(t.state == "PRUNED" for t in found.trials)
    assert "Small grey circles were stopped by a rule." in report.to_html(whole)


def test_playing_back_rules_leaves_ruled_methods_out(whole):
    assert {o.trials for o in whole.stopping} == {10}
    assert {o.runs for o in whole.stopping} == {2}


def test_progress_counts_steps(tmp_path):
    events = []
    methods = ["random+asha", "random", "grid+median"]
    run(tmp_path, methods=methods, trials=3, repeats=2, on_progress=events.append)
    assert {(e.total, e.unit) for e in events} == {(3 * 2 * 27, "steps")}
    assert [e.done for e in events] == sorted(e.done for e in events)
    assert events[-1].done == events[-1].total
    again = []
    run(tmp_path, methods=methods, trials=3, repeats=2, on_progress=again.append)
    assert {e.done for e in again} == {3 * 2 * 27}


# -- with networks -----------------------------------------------------------------------------------------------


def test_a_real_training_under_asha(tmp_path):
    train = pytest.importorskip("tunesmith.train")
    own = train.Problem(
        data="digits", model="mlp", epochs=4, n_train=100, n_validation=50, n_test=50, device="cpu",
        space={"lr": Float(1e-3, 1.0, log=True), "momentum": Float(0.0, 0.9)},
    )  # fmt: skip
    result = compare(own, ["tpe+asha(reduction_factor=2)", "random"], 3, 2, out=tmp_path)
    assert (result.steps, result.unit) == (4, "epoch")
    for found in result.runs:
        assert sum(len(t.curves["val_loss"]) for t in found.trials) == 12
        assert found.best is not None
        assert found.retrained == found.best_value  # paused and continued it is the same training
        assert "test_accuracy" in found.test
    assert "12 epochs, which 3 whole trainings of 4 epochs take" in tables.to_markdown(result)


def test_folds_are_the_steps_of_a_cross_validation():
    train = pytest.importorskip("tunesmith.train")
    from tunesmith.compare.rules import step_name, training_steps

    folds = train.Problem(data="digits", folds=3, fold_repeats=2, epochs=5)
    assert (training_steps(folds), step_name(folds)) == (6, "step")
    plain = train.Problem(data="digits", epochs=5)
    assert (training_steps(plain), step_name(plain)) == (5, "epoch")
    searched = train.Problem(data="digits", epochs=5, space={"epochs": {"type": "int", "low": 2, "high": 5}})
    assert training_steps(searched) is None
    assert training_steps(searched, 4) == 4
    fixed = train.Problem(data="digits", epochs=5, space={"epochs": {"type": "int", "low": 3, "high": 3}})
    assert training_steps(fixed) == 3


# -- the course of a study ---------------------------------------------------------------------------------------


def events(*given):
    course = Course(3)
    for kind, number, steps, *state in given:
        event = {"e": kind, "n": number, "r": [[k, 1.0] for k in steps] + [[k, 2.0, "acc"] for k in steps]}
        course.take({**event, "st": int(state[0])} if state else event)
    return course


def test_a_course_counts_what_is_trained_again_once():
    course = events(("pause", 0, [1]), ("up", 1, [1, 2]), ("release", 1, []), ("up", 1, [1, 2, 3]))
    assert course.trials == [0, 1, 1, 1]
    assert (course.decided(0), course.decided(1), course.decided(7)) == (1, 2, 0)
    assert course.unsettled
    course.take({"e": "tell", "n": 1, "st": int(TrialState.COMPLETE)})
    assert not course.unsettled


def test_a_part_of_a_course():
    course = events(
        ("pause", 0, [1]), ("tell", 1, [], TrialState.FAIL), ("tell", 2, [1, 2, 3], TrialState.COMPLETE),
        ("tell", 0, [2], TrialState.PRUNED), ("tell", 3, [1], TrialState.FAIL),
    )  # fmt: skip
    assert course.trials == [0, 1, 2, 2, 2, 0, 3]
    part = course.until(4)
    assert (part.steps, part.ended) == ({0: 1, 1: 1, 2: 2}, {1})
    assert course.until(5).ended == {1, 2}
    assert course.until(6).ended == {0, 1, 2}
    assert course.until(7).ended == {0, 1, 2}  # the next epoch, in which trial 3 failed, is beyond
    assert course.until(99).ended == {0, 1, 2, 3}
    assert course.until(6).last == {0: 6, 1: 2, 2: 5}
    assert course.until(0).steps == {}


def test_top_k_of_a_short_training():
    from tunesmith.compare.rules import rule_for

    rule, planned = rule_for(TopKPruner(first=50), {}, "m", 2, 9)
    assert (rule.n_configurations, planned) == (3, True)
    assert math.isfinite(rule.n_configurations)
