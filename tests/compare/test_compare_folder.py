"""What may share a comparison's folder, and what a method must be able to do before anything is computed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest
from compare.objectives import SPACE, CountingSampler, Objective, problem

from tunesmith import Float, load_study
from tunesmith.compare import FunctionProblem, compare
from tunesmith.exceptions import InvalidValueError
from tunesmith.samplers import BaseSampler, PSOSampler, RandomSampler
from tunesmith.testing._logged import logged

# -- the folder ------------------------------------------------------------------------------------------------


def edited(factor):
    """Objectives that differ in a number of their source only."""
    text = f"def bowl(trial):\n    return {factor} * trial.suggest_float('x', -5, 5) ** 2\n"
    names = {}
    exec(text, names)  # no source at hand: told by the code
    return names["bowl"]


def test_an_edited_objective_is_refused(tmp_path):
    compare(edited(1.0), ["random"], 2, 1, out=tmp_path / "a", space=SPACE)
    compare(edited(1.0), ["random"], 3, 1, out=tmp_path / "a", space=SPACE)
    with pytest.raises(InvalidValueError, match=r"another comparison:\s+problem.source.objective: there '[0-9a-f]+'"):
        compare(edited(2.0), ["random"], 3, 1, out=tmp_path / "a", space=SPACE)
    compare(problem(), ["random"], 1, 1, out=tmp_path / "b")
    with pytest.raises(InvalidValueError, match=r"problem\.source\.test: there"):
        compare(problem(test=lambda params, seed: {"accuracy": 1.0}), ["random"], 1, 1, out=tmp_path / "b")


def test_nothing_computed_is_said(tmp_path):
    with logged() as messages:
        compare(problem(), ["random"], 2, 1, out=tmp_path)
        assert not any("Nothing was computed" in message for message in messages)
        compare(problem(), ["random"], 2, 1, out=tmp_path)
    assert any(
        f"Nothing was computed: all results come from the folder {str(tmp_path)!r}." in message for message in messages
    )


def test_a_plain_function_may_be_given_a_name(tmp_path):
    result = compare(lambda trial: 1.0, ["random"], 1, 1, out=tmp_path, space=SPACE, name="a flat one")
    assert result.title == "a flat one"
    with pytest.raises(InvalidValueError, match="leave `name='x'` out"):
        compare(problem(), ["random"], 1, 1, out=tmp_path, name="x")


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    compare(problem(), ["random"], trials=2, repeats=1, out=tmp_path)
    other = Objective()
    with pytest.raises(InvalidValueError, match=r"problem.name: there 'bowl', now 'dish'[\s\S]*Use another folder"):
        compare(problem(other, name="dish"), ["random"], trials=2, repeats=1, out=tmp_path)
    with pytest.raises(InvalidValueError, match="seed: there 0, now 5"):
        compare(problem(other), ["random"], trials=2, repeats=1, out=tmp_path, seed=5)
    with pytest.raises(InvalidValueError, match="direction: there 'minimize', now 'maximize'"):
        compare(problem(other, direction="maximize"), ["random"], trials=2, repeats=1, out=tmp_path)
    with pytest.raises(InvalidValueError, match="method random: there 'random'"):
        compare(problem(other), {"random": CountingSampler()}, trials=2, repeats=1, out=tmp_path)
    wider = FunctionProblem(other, {**SPACE, "x": Float(-9, 5)}, name="bowl", metric_names=["loss", "accuracy"])
    with pytest.raises(InvalidValueError, match=r"space.parameters.x.low: there -5.0, now -9.0"):
        compare(wider, ["random"], trials=2, repeats=1, out=tmp_path)
    assert other.calls == []


def test_a_folder_with_other_content_is_refused(tmp_path):
    (tmp_path / "studies.jsonl").write_text("something else\n")
    with pytest.raises(InvalidValueError, match="no comparison"):
        compare(problem(), ["random"], 1, 1, out=tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "comparison.json").write_text("{}")
    with pytest.raises(InvalidValueError, match="does not describe a comparison"):
        compare(problem(), ["random"], 1, 1, out=tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match="is a file"):
        compare(problem(), ["random"], 1, 1, out=tmp_path / "file")


def test_one_comparison_at_a_time_in_a_folder(tmp_path):
    pytest.importorskip("fcntl")

    def nested(trial):
        compare(problem(), ["random"], 1, 1, out=tmp_path)

    # the inner call is refused inside a trial, so that trial fails, and says why
    result = compare(nested, ["random"], 1, 1, out=tmp_path, space=SPACE)
    assert "StorageInternalError: Another comparison is running" in result.runs[0].trials[0].error


def test_the_description_is_plain_json(tmp_path):
    compare(problem(), ["random"], 1, 1, out=tmp_path)
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert data["methods"] == {"random": "random"}
    described = data["fixed"]["problem"]
    assert {"kind": "function", "name": "bowl", "seed": 0}.items() <= described.items()
    assert all(re.fullmatch("[0-9a-f]{16}", described["source"][key]) for key in ("objective", "test"))
    assert len(data["sessions"]) == 1


# -- what a method needs -----------------------------------------------------------------------------------------


def test_seeds_of_methods_are_refused(tmp_path):
    for method in ("random(seed=3)", RandomSampler(seed=3), {"grid": {"seed": 3}}, PSOSampler(seed=3)):
        with pytest.raises(InvalidValueError, match="follow from compare's seed; leave seed=3 out"):
            compare(problem(), [method], 1, 1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    compare(problem(), ["random(seed=null)"], 1, 1, out=tmp_path / "out")


def test_a_budget_reaches_the_methods_that_use_it(tmp_path):
    methods = {"falling": "pso(inertia=[0.9, 0.1])", "steady": "pso(inertia=0.9)"}
    result = compare(problem(), methods, 12, 1, out=tmp_path)
    assert result.run("falling").study == "falling[12 trials]/repeat-00"
    assert result.run("steady").study == "steady/repeat-00"
    assert [t.state for t in result.run("falling").trials] == ["COMPLETE"] * 12
    x = {label: [t.params["x"] for t in result.run(label).trials] for label in methods}
    objective = Objective()
    longer = compare(problem(objective), methods, 16, 1, out=tmp_path)
    assert len(objective.calls) == 16 + 4  # the falling one anew: its inertia falls more slowly
    assert [t.params["x"] for t in longer.run("steady").trials][:12] == x["steady"]
    assert [t.params["x"] for t in longer.run("falling").trials][:12] != x["falling"]
    study = load_study(study_name="falling[16 trials]/repeat-00", storage=str(tmp_path / "studies.jsonl"))
    assert study.history.budget == 16


@dataclass(frozen=True)
class ImpossibleSampler(BaseSampler):
    """Refuses every space."""

    def propose(self, space, history, rng, n):
        raise InvalidValueError("this space is too large")


def test_an_impossible_method_fails_before_any_training(tmp_path):
    objective = Objective()
    with pytest.raises(InvalidValueError, match="'impossible' cannot search this problem: this space is too large"):
        compare(problem(objective), ["random", ImpossibleSampler()], 3, 1, out=tmp_path / "out")
    assert objective.calls == []
    assert not (tmp_path / "out").exists()
