"""What goes wrong around a comparison and must not end up in its numbers: lost hosts, missing data, displays, names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from compare.objectives import SPACE, Objective, problem, same

import tunesmith
from tunesmith.compare import ComparisonResult, FunctionProblem, compare
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.study import _worker
from tunesmith.train.errors import DataNotFoundError

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from compare.objectives import Objective, problem
    from tunesmith.compare import compare
    from tunesmith.study import _worker

    _worker._host = lambda: "a machine that is lost"

    def dies(objective):
        if len(objective.calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    compare(problem(Objective(hook=dies)), "random, sobol", 4, 2, out=sys.argv[1])
    """
)


def test_killed_on_one_machine_and_resumed_on_another(tmp_path):
    """Whoever ran a trial in the folder is gone, since the folder has one owner: the trial is attempted again."""
    tests = os.path.dirname(os.path.dirname(__file__))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    found = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "cut"], env=env, check=False, timeout=60)
    assert found.returncode == -signal.SIGKILL
    assert _worker._host() != "a machine that is lost"
    whole = compare(problem(), "random, sobol", 4, 2, out=tmp_path / "whole")
    resumed = compare(problem(), "random, sobol", 4, 2, out=tmp_path / "cut")
    assert [len(run.trials) for run in resumed.runs] == [4] * 4
    assert same(resumed, whole)


@pytest.mark.parametrize("error", [DataNotFoundError, MissingDependencyError])
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("when", ["at once", "while it yields"])
def test_what_the_machine_lacks_is_no_result(error, n_jobs, when, tmp_path):
    """The comparison ends with the error; when it is mended, the result is that of an untroubled one."""
    _lacking = [True]

    def trained(trial, seed):
        x = trial.suggest_float("x", -5, 5)
        if when == "at once" and _lacking and trial.number == 2:
            raise error("it is not here")

        def epochs():
            if _lacking and trial.number == 2:
                raise error("it is not here")
            yield x * x + seed % 7

        return epochs()

    methods = {"out": tmp_path / "cut", "n_jobs": n_jobs, "space": {"x": SPACE["x"]}}
    with pytest.raises(error, match="it is not here"):
        compare(trained, "random, halton", 4, 2, **methods)
    _lacking.clear()
    mended = compare(trained, "random, halton", 4, 2, **methods)
    assert mended.complete
    assert {t.state for run in mended.runs for t in run.trials} == {"COMPLETE"}
    assert same(mended, compare(trained, "random, halton", 4, 2, **{**methods, "out": tmp_path / "whole"}))


@pytest.mark.parametrize("event", ["study", "trial", "epoch", "told", "test", "done"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_display_that_fails_ends_the_comparison_and_no_trial(event, n_jobs, tmp_path):
    def show(progress):
        if progress.event == event:
            raise ValueError(f"cannot show {progress.value:.3f}" if progress.value else "cannot show that")

    with pytest.raises(ValueError, match="cannot show"):
        compare(problem(), "random", 3, 2, out=tmp_path / "cut", on_progress=show, n_jobs=n_jobs)
    again = compare(problem(), "random", 3, 2, out=tmp_path / "cut")
    assert same(again, compare(problem(), "random", 3, 2, out=tmp_path / "whole"))


def test_interrupted_in_every_epoch_it_comes_to_the_same(tmp_path):
    """Ctrl-C does not count as an attempt, however often it comes."""
    objective = Objective()
    for _ in range(5):
        objective._stop_at = len(objective.calls) + 1
        with pytest.raises(KeyboardInterrupt):
            compare(problem(objective), "random", 3, 1, out=tmp_path / "cut")
    objective._stop_at = None
    again = compare(problem(objective), "random", 3, 1, out=tmp_path / "cut")
    assert same(again, compare(problem(), "random", 3, 1, out=tmp_path / "whole"))


class TestNames:
    def test_a_name_that_is_not_yielded_fails_with_what_is(self, tmp_path):
        bowl = problem(metric_names=["precision"], test=None)
        result = compare(bowl, "random", 2, 1, out=tmp_path)
        trials = result.runs[0].trials
        assert [t.state for t in trials] == ["FAIL", "FAIL"]
        assert "yielded 'loss', 'accuracy', but in this study it is called 'precision'" in trials[0].error

    def test_without_names_the_first_one_counts(self, tmp_path):
        bowl = FunctionProblem(Objective(), SPACE, name="bowl")
        result = compare(bowl, "random", 2, 1, out=tmp_path)
        assert result.objective == "value"
        assert result.runs[0].best_value < 100

    @pytest.mark.parametrize(
        ("names", "error"),
        [([], InvalidTypeError), ([""], InvalidTypeError), ([1], InvalidTypeError), (["a", "a"], InvalidValueError)],
    )
    def test_impossible_ones(self, names, error):
        with pytest.raises(error, match="`metric_names`"):
            FunctionProblem(Objective(), SPACE, metric_names=names)

    def test_one_name_is_one_name(self):
        assert FunctionProblem(Objective(), SPACE, metric_names="loss").metric_names == ["loss"]


def test_an_object_that_is_nearly_a_problem_is_told_what_it_lacks():
    class Nearly:
        space = SPACE

        def __call__(self, trial):
            return 0.0

        def for_repeat(self, repeat):
            return self

    with pytest.raises(InvalidTypeError, match="it lacks to_dict, training_seed"):
        compare(Nearly(), "random", 1, 1)


def test_numpy_s_integers_count(tmp_path):
    result = compare(problem(), "random", np.int64(2), np.int32(1), seed=np.uint8(3), out=tmp_path)
    assert (result.trials, result.repeats, result.seed) == (2, 1, 3)
    assert json.loads((tmp_path / "result.json").read_text())["trials"] == 2
    assert ComparisonResult.load(tmp_path).trials == 2


def test_every_data_set_of_an_axis_is_looked_for_before_the_first_trial(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from tunesmith.train import Problem

    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    monkeypatch.setattr("tunesmith.train.data._files.download", _no_network)
    space = {"data": tunesmith.Categorical(["digits", "mnist"]), "lr": tunesmith.Float(1e-3, 1e-1, log=True)}
    trained = Problem(data="digits", model="cnn", space=space, epochs=1, n_train=20, n_validation=20)
    with pytest.raises(DataNotFoundError, match="no network here"):
        compare(trained, "random", 2, 1, out=tmp_path / "out")
    store = str(tmp_path / "out" / "studies.jsonl")
    studies = [tunesmith.load_study(study_name=n, storage=store) for n in tunesmith.get_all_study_names(store)]
    assert [s.trials for s in studies] == [[]]


def _no_network(*args, **options):
    raise DataNotFoundError("no network here")
