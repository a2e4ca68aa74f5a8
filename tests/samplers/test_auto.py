"""Which method is chosen when, and that it is that method that proposes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import AutoSampler, get_sampler
from tunesmith.samplers.auto import n_cells, plan
from tunesmith.study import suggest_all

PLANE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def methods(space: Space, **situation: Any) -> list[tuple[int, str]]:
    return [(stage.first, stage.method) for stage in plan(space, **situation)]


@pytest.mark.parametrize(
    ("space", "situation", "expected"),
    [
        (Space(), {}, ["random"]),
        (Space({"x": Float(1, 1)}), {}, ["random"]),
        (Space({"i": Int(1, 5), "c": Categorical([*"ab"])}), {}, ["random"]),
        (Space({"i": Int(1, 5), "c": Categorical([*"ab"])}), {"budget": 9}, ["gp"]),
        (PLANE, {"budget": 50}, ["gp"]),
        (PLANE, {}, ["gp", "tpe"]),
        (PLANE, {"budget": 2000}, ["gp", "cmaes"]),
        (Space({"x": Float(0, 1), "c": Categorical([*"ab"])}), {"budget": 2000}, ["gp", "tpe"]),
        (Space({f"x{k}": Float(0, 1) for k in range(100)}), {"budget": 50}, ["tpe"]),
        (Space({"x": Float(0, 1), "c": Categorical(list(range(1000)))}), {"budget": 50}, ["tpe"]),
        (PLANE, {"budget": 200, "jobs": 100}, ["tpe"]),
        (PLANE, {"budget": 60, "objectives": 2}, ["tpe"]),
        (PLANE, {"budget": 1000, "objectives": 2}, ["tpe", "nsgaii"]),
    ],
)
def test_the_plan(space: Space, situation: dict[str, Any], expected: list[str]) -> None:
    stages = plan(space, **situation)
    assert [stage.method for stage in stages] == expected
    assert stages[0].first == 0
    assert all(stage.reason.endswith(".") and get_sampler(stage.method, **stage.options) for stage in stages)


def test_cells_are_counted_under_conditions() -> None:
    space = {"n": Int(1, 2), "a": Categorical([*"xyz"]), "b": Int(1, 7, step=3)}
    assert n_cells(Space(space)) == 18
    assert n_cells(Space(space, conditions={"b": "n >= 2"})) == 12
    assert n_cells(PLANE) == n_cells(Space({"i": Int(0, 10**9)})) == math.inf


def test_it_proposes_what_the_chosen_method_proposes() -> None:
    def search(sampler: Any) -> list[dict[str, Any]]:
        study = create_study(sampler=sampler, space=PLANE, seed=3, budget=20)
        study.optimize(lambda t: sum(v * v for v in suggest_all(t, PLANE).values()), n_trials=12)
        return [t.params for t in study.trials]

    assert search("auto") == search("gp")


def test_the_method_changes_with_the_number_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.samplers.auto.GP_TRIALS", 6)
    study = create_study(sampler="auto", space=PLANE, seed=3)
    chosen = []
    for _ in range(9):
        chosen.append(type(study.sampler.chosen(PLANE, study.history)).__name__)
        study.optimize(lambda t: sum(suggest_all(t, PLANE).values()), n_trials=1)
    assert chosen == ["GPSampler"] * 6 + ["TPESampler"] * 3


@pytest.mark.parametrize(("jobs", "error"), [(0, InvalidValueError), (1.5, InvalidTypeError), (True, InvalidTypeError)])
def test_jobs(jobs: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="jobs"):
        AutoSampler(jobs=jobs)
