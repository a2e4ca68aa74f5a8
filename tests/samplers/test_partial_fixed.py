"""Fixed parameters: the slice that is searched, and what of the rest is still known."""

from __future__ import annotations

import json
import warnings
from typing import Any

import optuna
import pytest

import tunesmith
from tunesmith import Categorical, Float, Int, Space, create_study, load_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import BruteForceSampler, GridSampler, PartialFixedSampler, PSOSampler, QMCSampler, from_spec
from tunesmith.storages import InMemoryStorage
from tunesmith.study import suggest_all
from tunesmith.testing.samplers import SamplerKit

SPACE = Space(
    {"lr": Float(1e-4, 1, log=True), "n": Int(1, 3), "c": Categorical(["sgd", "adam"]), "m": Float(0, 1)},
    {"m": "c == 'sgd'"},
)


def distance(trial: Any, space: Space = SPACE) -> float:
    params = suggest_all(trial, space)
    return float(abs(params.get("lr", 0) - 0.1) + params.get("n", 0))


class TestKit(SamplerKit):
    """Of a space of the kit, one parameter is fixed; others do not have these names."""

    sampler_class = PartialFixedSampler
    options = {"fixed_params": {"layers": 2, "model": "net", "j": 6}, "base_sampler": "pso"}  # noqa: RUF012


@pytest.mark.parametrize("base", ["random", "sobol", "pso", GridSampler(points=3)])
def test_fixed_and_free(base: Any) -> None:
    fixed = {"n": 2, "c": "sgd", "later": 7}
    study = create_study(sampler=PartialFixedSampler(fixed, base), space=SPACE, seed=0)
    study.optimize(distance, n_trials=9)
    assert {(t.params["n"], t.params["c"]) for t in study.trials} == {(2, "sgd")}
    assert all("m" in t.params for t in study.trials)
    assert len({t.params["lr"] for t in study.trials}) == (3 if isinstance(base, GridSampler) else 9)


def test_conditions_are_those_of_the_fixed_values() -> None:
    study = create_study(sampler=PartialFixedSampler({"c": "adam", "m": 0.5}, "random"), space=SPACE, seed=0)
    study.optimize(distance, n_trials=4)
    assert all("m" not in t.params for t in study.trials)


def test_as_optuna_define_by_run() -> None:
    """The same fixed values turn up, with a warning where they are out of range."""

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", -1, 1)
        y = trial.suggest_int("y", -1, 1)
        z = trial.suggest_float("z", 0, 4) if y else 0.0
        return x**2 + y + z

    def found(package: Any, **options: Any) -> set[tuple[Any, ...]]:
        study = package.create_study(**options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            study.optimize(objective, n_trials=4)
        said = any("out of range" in str(w.message) or "outside" in str(w.message) for w in caught)
        return {(said, t.params["y"], t.params["z"]) for t in study.trials}

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fixed = {"y": 5, "z": 2.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.samplers.PartialFixedSampler(fixed, optuna.samplers.RandomSampler(seed=0))
    ours = found(tunesmith, sampler=PartialFixedSampler(fixed, "random"))
    assert ours == found(optuna, sampler=theirs) == {(True, 5, 2.5)}


def test_what_was_tried_elsewhere_is_new_here() -> None:
    """A choice, an integer and a float fixed after all of the rest was tried with other values of them."""
    fixed_at = {"c": "b", "i": 2, "f": 0.5}
    for name, value in fixed_at.items():
        axes = {"c": Categorical(["a", "b"]), "i": Int(1, 2), "f": Float(0, 0.5, step=0.5)}
        space = Space({name: axes[name], "k": Int(0, 5)})
        other = {"c": "a", "i": 1, "f": 0.0}[name]
        for base in ("random", BruteForceSampler()):
            study = create_study(sampler=PartialFixedSampler({name: other}, "random"), space=space, seed=0)
            study.optimize(lambda t, s=space: float(suggest_all(t, s)["k"]), n_trials=6)
            study.sampler = PartialFixedSampler({name: value}, base)
            study.optimize(lambda t, s=space: float(suggest_all(t, s)["k"]), n_trials=6)
            assert [t.params["k"] for t in study.trials[:6]] != list(range(6))
            for part in (study.trials[:6], study.trials[6:]):
                assert {t.params["k"] for t in part} == set(range(6))


def test_a_finite_base_ends() -> None:
    space = Space({"a": Int(0, 2), "b": Int(0, 3)})
    study = create_study(sampler=PartialFixedSampler({"a": 1}, "brute-force"), space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["b"]), n_trials=50)
    assert sorted((t.params["a"], t.params["b"]) for t in study.trials) == [(1, b) for b in range(4)]


def test_enqueued_comes_first() -> None:
    study = create_study(sampler=PartialFixedSampler({"n": 2}, "random"), space=SPACE, seed=0)
    study.enqueue_trial({"n": 3, "lr": 0.5})
    study.enqueue_trial({"lr": 0.25})
    study.optimize(distance, n_trials=2)
    assert [(t.params["n"], t.params["lr"]) for t in study.trials] == [(3, 0.5), (2, 0.25)]


def test_the_base_learns_from_trials_outside() -> None:
    """A swarm remembers the good points of the trials before anything was fixed."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1), "c": Categorical(["a", "b"])})
    study = create_study(sampler="random", space=space, seed=3)
    study.optimize(lambda t: abs(suggest_all(t, space)["x"] - 0.9), n_trials=40)
    study.sampler = PartialFixedSampler({"c": "a", "y": 0.25}, PSOSampler(swarm_size=2))
    study.optimize(lambda t: abs(suggest_all(t, space)["x"] - 0.9), n_trials=20)
    assert {(t.params["c"], t.params["y"]) for t in study.trials[40:]} == {("a", 0.25)}
    assert sum(abs(t.params["x"] - 0.9) for t in study.trials[46:]) / 14 < 0.12


def test_the_log_keeps_both() -> None:
    store = InMemoryStorage()
    sampler = PartialFixedSampler({"n": 2, "c": (1, ("a", float("inf")))}, QMCSampler(scramble=True, seed=4))
    study = create_study(storage=store, sampler=sampler, study_name="s")
    assert study.history.seed == 4
    assert load_study(study_name="s", storage=store).sampler == sampler
    spec = json.loads(json.dumps(PartialFixedSampler({"a": 1}, PartialFixedSampler({"b": 2}, "sobol")).spec()))
    assert from_spec(spec) == PartialFixedSampler({"a": 1}, PartialFixedSampler({"b": 2}, "sobol"))
    assert PartialFixedSampler({"a": object()}, "random").spec()["args"] is None


def test_nature_is_the_bases() -> None:
    assert PartialFixedSampler({}, GridSampler({"a": [1]})).finite
    assert not PartialFixedSampler({}, "random").finite
    assert PartialFixedSampler({}, "random").singly
    assert not PartialFixedSampler({}, "pso").singly
    assert PartialFixedSampler({}, PSOSampler(inertia=(0.9, 0.4))).uses_budget
    assert PartialFixedSampler({}, PSOSampler(swarm_size=7)).n_initial(SPACE) == 7
    assert PartialFixedSampler({}, "random").n_initial(SPACE) == 0


def test_errors() -> None:
    with pytest.raises(InvalidTypeError, match="mapping name -> value"):
        PartialFixedSampler([("a", 1)], "random")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="sampler or the name of one"):
        PartialFixedSampler({"a": 1}, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="not among its choices"):
        create_study(sampler=PartialFixedSampler({"c": "lion"}, "random"), space=SPACE).ask()
    with pytest.raises(InvalidTypeError, match="is a number"):
        create_study(sampler=PartialFixedSampler({"n": "two"}, "random"), space=SPACE).ask()
