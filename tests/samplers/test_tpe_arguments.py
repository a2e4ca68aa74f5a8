"""TPE's arguments, and odd input."""

from __future__ import annotations

import inspect
import json
import warnings
from typing import Any

import numpy as np
import pytest
from samplers.tpe_studies import JOINT, PLANE, propose, rows_of, study_of

import tunesmith as ts
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import TPESampler
from tunesmith.samplers._tpe_rows import axes_of
from tunesmith.space import Space
from tunesmith.study import create_study, suggest_all
from tunesmith.trial import TrialState

# -- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (None, {1: 1, 10: 2, 60: 9, 5000: 25}),
        (0.3, {1: 1, 10: 3, 5000: 25}),
        ("linear", {11: 2, 300: 25}),
        ("sqrt", {16: 1, 17: 2, 6400: 20}),
        (lambda n: n // 2, {1: 0, 400: 200}),
    ],
)
def test_how_many_are_good(gamma: Any, expected: dict[int, int]) -> None:
    sampler = TPESampler(gamma=gamma)
    assert {n: sampler._n_below(n, 1) for n in expected} == expected


def test_several_objectives_have_more_good_ones() -> None:
    assert [TPESampler()._n_below(n, 2) for n in (1, 60, 900, 5000)] == [1, 6, 90, 100]


@pytest.mark.parametrize("multivariate", JOINT)
def test_weights_say_which_trials_count(multivariate: bool) -> None:
    """Late bad trials that weigh nothing repel nothing."""
    rows = [({"x": 0.5, "y": 0.5}, 1.0)]
    rows += [({"x": 0.1, "y": k / 40}, 0.0) for k in range(40)] + [({"x": 0.9, "y": k / 40}, 0.0) for k in range(40)]
    rows += [({"x": 0.1 + k / 1000, "y": k / 40}, 1.0) for k in range(40)]
    study = study_of(PLANE, rows, sampler="random")

    def share(weights: Any) -> float:
        found = propose(study, PLANE, 40, multivariate=multivariate, gamma=lambda n: 80, weights=weights)
        return float(np.mean([p["x"] < 0.5 for p in found]))

    def blind(n: int) -> np.ndarray:
        return np.ones(n) if n == 80 else np.where(np.arange(n) == 0, 1.0, 0.0)

    assert share("uniform") < 0.35
    assert share("recent") < 0.35
    assert share(blind) > share("uniform") + 0.1


def test_recent_weights_are_optunas() -> None:
    pytest.importorskip("optuna")
    from optuna.samplers._tpe.sampler import default_weights

    for n in (1, 24, 25, 26, 60):
        np.testing.assert_allclose(TPESampler(weights="recent")._weights(n), default_weights(n))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"n_startup_trials": -1}, InvalidValueError),
        ({"n_ei_candidates": 0}, InvalidValueError),
        ({"n_ei_candidates": 2.5}, InvalidTypeError),
        ({"gamma": 1.5}, InvalidValueError),
        ({"gamma": "cubic"}, InvalidValueError),
        ({"weights": "old"}, InvalidValueError),
        ({"weights": 3}, InvalidTypeError),
        ({"prior_weight": -1.0}, InvalidValueError),
        ({"group": True, "multivariate": False}, InvalidValueError),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="`"):
        TPESampler(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"gamma": lambda n: 2.5}, InvalidTypeError),
        ({"weights": lambda n: np.zeros(n)}, InvalidValueError),
        ({"weights": lambda n: np.ones(n // 2)}, InvalidValueError),
        ({"weights": lambda n: np.full(n, np.nan)}, InvalidValueError),
    ],
)
def test_impossible_functions(arguments: dict[str, Any], error: type[Exception]) -> None:
    study = study_of(PLANE, rows_of(lambda x, y: x, 20), sampler="random")
    with pytest.raises(error, match="must return"):
        propose(study, PLANE, **arguments)


def test_functions_are_not_in_the_log_names_are() -> None:
    assert TPESampler(gamma=lambda n: 3).spec()["args"] is None
    spec = json.loads(json.dumps(TPESampler(gamma="sqrt", weights="recent").spec()))
    assert spec["args"]["gamma"] == "sqrt"
    assert TPESampler(**spec["args"]) == TPESampler(gamma="sqrt", weights="recent")


def test_optunas_arguments_are_known() -> None:
    optuna = pytest.importorskip("optuna")
    theirs = set(inspect.signature(optuna.samplers.TPESampler.__init__).parameters) - {"self", "constraints_func"}
    assert theirs <= set(inspect.signature(TPESampler).parameters)
    study = study_of(PLANE, rows_of(lambda x, y: x, 20), sampler="random")
    plain = propose(study, PLANE, 5)
    assert propose(study, PLANE, 5, consider_prior=True, consider_magic_clip=True, consider_endpoints=False) == plain
    assert propose(study, PLANE, 5, consider_magic_clip=False) != plain
    assert propose(study, PLANE, 5, consider_endpoints=True) != plain
    assert propose(study, PLANE, 5, prior_weight=0.0) != plain


# -- odd input ------------------------------------------------------------------------------------------------------


def test_integers_share_cells_only_where_they_are_dense() -> None:
    space = Space(
        {"k": ts.Int(1, 512, log=True), "h": ts.Int(1, 2**60, log=True), "i": ts.Int(1, 64), "j": ts.Int(1, 65)}
    )
    axes = axes_of(space)
    k, h = axes.number_cells[0], axes.number_cells[1]
    bounds = np.log(np.arange(1, 514) - 0.5) - np.log(0.5)
    assert np.isin(np.round(k.edges, 9), np.round(bounds / bounds[-1], 9)).all()
    assert k.m <= 64
    assert h.m == 64
    np.testing.assert_allclose(k.edges[:5], (bounds / bounds[-1])[:5])  # 1 to 4 have a cell each
    assert axes.ordered.tolist() == [0, 1, 2]
    assert axes.continua.tolist() == [3]


@pytest.mark.parametrize("multivariate", JOINT)
@pytest.mark.parametrize(
    "space",
    [
        Space({f"x{k}": ts.Float(0, 1) for k in range(500)}),
        Space({"c": ts.Categorical(list(range(10_000))), "x": ts.Float(0, 1)}),
        Space({"x": ts.Float(2, 2), "c": ts.Categorical(["only"]), "i": ts.Int(3, 3), "y": ts.Float(0, 1)}),
        Space({"x": ts.Float(-1.7e308, 1.7e308), "i": ts.Int(-(2**62), 2**62), "k": ts.Int(1, 2**60, log=True)}),
    ],
    ids=["500-parameters", "10000-choices", "zero-width", "huge"],
)
@pytest.mark.parametrize("values", ["constant", "failed", "huge", "one-feasible"])
def test_odd_studies(space: Space, values: str, multivariate: bool) -> None:
    sampler = TPESampler(n_startup_trials=3, multivariate=multivariate)
    study = create_study(sampler=sampler, space=space, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(7):
            trial = study.ask()
            suggest_all(trial, space)
            if values == "one-feasible":
                trial.set_constraint("c", float(k != 2))
            value = {"constant": 1.0, "huge": (-1) ** k * 1e300, "one-feasible": float(k)}.get(values)
            study.tell(trial, value, state=TrialState.FAIL if value is None else None)
        for proposal in sampler.propose(space, study.history, stream(1, 2), 2):
            assert all(space[name].contains(value) for name, value in proposal.params.items())
            assert set(proposal.params) == set(space)


@pytest.mark.parametrize("multivariate", JOINT)
def test_a_changed_space_is_still_informed(multivariate: bool) -> None:
    study = study_of(PLANE, rows_of(lambda x, y: (x - 0.6) ** 2, 60), sampler="random")
    changed = Space({"x": ts.Float(0.5, 1), "new": ts.Int(1, 5), "y": ts.Float(-1, 1)})
    found = propose(study, changed, 20, multivariate=multivariate)
    assert np.median([abs(p["x"] - 0.6) for p in found]) < 0.08
    assert len({p["new"] for p in found}) > 2


def test_no_parameters_yet() -> None:
    study = create_study(sampler=TPESampler(), seed=0)
    assert [p.params for p in TPESampler().propose(Space(), study.history, stream(1, 2), 2)] == [{}, {}]
