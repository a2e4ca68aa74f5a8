"""TPE: what is good, what the model does with it, odd input, and that it finds optima."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from samplers.tpe_studies import JOINT, PLANE, propose, rows_of, study_of

import tunesmith as ts
from tunesmith.history import OpenRow
from tunesmith.numerics.streams import stream
from tunesmith.samplers import RandomSampler, TPESampler
from tunesmith.samplers._tpe_rows import Standing
from tunesmith.space import Space
from tunesmith.study import create_study, suggest_all
from tunesmith.trial import TrialPruned, TrialState

# -- which trials are good ------------------------------------------------------------------------------------------


def troubled(trial: Any) -> float:
    """Complete, pruned with 0 to 3 reports, infeasible and failed trials, with ties."""
    value = round(suggest_all(trial, PLANE)["x"], 1)
    k = trial.number % 7
    if k == 1:
        trial.set_constraint("c", round(value, 1) + 0.1)
    if k == 2:
        raise RuntimeError("on purpose")
    if k in (3, 4, 5):
        for step in range(trial.number % 4):
            trial.report(float("nan") if trial.number % 11 == 0 else value + step, step)
        raise TrialPruned
    return value


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_order_is_optunas(direction: str) -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.samplers._tpe.sampler import _split_trials

    study = create_study(sampler="random", space=PLANE, direction=direction, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(troubled, n_trials=70, catch=(RuntimeError,))
    theirs = optuna.create_study(direction=direction)
    trials = []
    for t in study.trials:
        if t.state != TrialState.FAIL:
            state = optuna.trial.TrialState[t.state.name]
            value = t.value if t.state == TrialState.COMPLETE else None
            made = optuna.trial.create_trial(
                state=state, value=value, intermediate_values=t.intermediate_values, constraints=t.constraints
            )
            made.number = t.number
            trials.append(made)
    standing = Standing(PLANE, 1)
    standing.extend(study.history)
    assert standing.judged == len(trials)
    for n_below in (1, 5, 20, 35, 50, len(trials)):
        below, _ = _split_trials(theirs, trials, n_below)
        chosen = study.history.number[standing.split(n_below, 0).below]
        assert sorted(chosen.tolist()) == [t.number for t in below]


def test_a_memo_that_grew_is_one_made_at_once() -> None:
    study = create_study(sampler="random", space=PLANE, seed=1)
    grown = Standing(PLANE, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            study.optimize(troubled, n_trials=1, catch=(RuntimeError,))
            grown.extend(study.history)
    whole = Standing(PLANE, 1)
    whole.extend(study.history)
    assert grown.order == whole.order
    np.testing.assert_array_equal(grown.counts.numbers, whole.counts.numbers)


def test_several_objectives_take_the_front_then_pruned_and_infeasible_ones() -> None:
    study = create_study(space=PLANE, sampler="random", directions=["minimize", "maximize"], seed=0)
    for k in range(12):
        trial = study.ask()
        suggest_all(trial, PLANE)
        if k >= 10:
            trial.set_constraint("c", 12.0 - k)
        study.tell(trial, [k % 5, -(k // 5)])  # in losses: the grid {0..4} x {0, 1}, then two infeasible ones
    standing = Standing(PLANE, 2)
    standing.extend(study.history)
    assert standing.split(1, 0).below.tolist() == [0]
    assert standing.split(3, 9).below.tolist() == [0, 1, 5]
    assert standing.split(11, 9).below.tolist() == [*range(10), 11]
    assert standing.split(11, 9).above.tolist() == [10]


def test_above_is_cut_into_strata() -> None:
    study = study_of(PLANE, [({"x": k / 100, "y": 0.5}, float(99 - k)) for k in range(100)], sampler="random")
    standing = Standing(PLANE, 1)
    standing.extend(study.history)
    split = standing.split(10, 9)
    assert split.below.tolist() == list(range(90, 100))
    assert split.above.tolist() == [89 - 10 * k for k in range(9)]
    assert split.weight == 10


# -- what is proposed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multivariate", JOINT)
def test_proposals_are_near_good_trials_and_away_from_bad_ones(multivariate: bool) -> None:
    study = study_of(PLANE, rows_of(lambda x, y: (x - 0.2) ** 2 + (y - 0.8) ** 2, 60), sampler="random")
    found = [propose(study, PLANE, multivariate=multivariate, seed=None)[0]]
    found += propose(study, PLANE, 8, multivariate=multivariate)
    assert np.median([abs(p["x"] - 0.2) for p in found]) < 0.15
    assert np.median([abs(p["y"] - 0.8) for p in found]) < 0.15


def test_a_joint_density_knows_which_values_go_together() -> None:
    """Good where y = x: marginals cannot tell, a joint density can."""
    study = study_of(PLANE, rows_of(lambda x, y: abs(x - y), 120), sampler="random")
    gaps = {
        joint: np.mean([abs(p["x"] - p["y"]) for p in propose(study, PLANE, 20, multivariate=joint)]) for joint in JOINT
    }
    assert gaps[True] < 0.6 * gaps[False]


@pytest.mark.parametrize("multivariate", JOINT)
def test_running_trials_repel(multivariate: bool) -> None:
    study = study_of(PLANE, rows_of(lambda x, y: (x - 0.5) ** 2 + (y - 0.5) ** 2, 40), sampler="random")
    crowd = [OpenRow(100 + k, TrialState.RUNNING, {"x": 0.5, "y": 0.5}) for k in range(200)]
    history = study.history.expecting(crowd)

    def distance(sampler: TPESampler, history: Any) -> float:
        found = [sampler.propose(PLANE, history, stream(1, k), 1)[0].params for k in range(20)]
        return float(np.mean([abs(p["x"] - 0.5) + abs(p["y"] - 0.5) for p in found]))

    liar, blind = (TPESampler(multivariate=multivariate, constant_liar=liar) for liar in (True, False))
    assert distance(liar, history) > 1.5 * distance(liar, study.history)
    assert distance(blind, history) == distance(blind, study.history)


@pytest.mark.parametrize("multivariate", JOINT)
def test_failures_repel(multivariate: bool) -> None:
    """The lower half of x fails; of what succeeds, the value is the same everywhere."""
    points = np.random.default_rng(0).random((60, 2))
    rows = [({"x": float(x), "y": float(y)}, None if x < 0.5 else 1.0) for x, y in points]
    study = study_of(PLANE, rows, sampler="random")
    found = propose(study, PLANE, 30, multivariate=multivariate)
    assert np.mean([p["x"] > 0.5 for p in found]) > 0.85


@pytest.mark.parametrize("multivariate", JOINT)
def test_branches_learn_from_each_other(multivariate: bool) -> None:
    """lr matters in both branches alike; each branch's own parameter only there."""
    space = Space(
        {
            "net": ts.Categorical(["a", "b"]),
            "lr": ts.Float(0, 1),
            "width": ts.Int(1, 9),
            "depth": ts.Float(0, 1),
        },
        {"width": "net == 'a'", "depth": "net == 'b'"},
    )

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        return (p["lr"] - 0.3) ** 2 + (p["width"] - 5) ** 2 / 64 if p["net"] == "a" else (p["lr"] - 0.3) ** 2 + 1

    study = create_study(sampler="random", space=space, seed=3)
    study.optimize(objective, n_trials=80)
    found = propose(study, space, 30, multivariate=multivariate)
    assert np.mean([p["net"] == "a" for p in found]) > 0.7
    assert all(("width" in p) == (p["net"] == "a") and ("depth" in p) == (p["net"] == "b") for p in found)
    assert np.median([abs(p["lr"] - 0.3) for p in found]) < 0.12
    assert np.median([abs(p["width"] - 5) for p in found if "width" in p]) <= 1


def test_what_is_left_open_fits_what_is_given() -> None:
    """Two islands of good trials; given x on one of them, y is on the same."""
    study = study_of(
        PLANE,
        rows_of(lambda x, y: min(abs(x - 0.2) + abs(y - 0.8), abs(x - 0.8) + abs(y - 0.2)), 100),
        sampler="random",
    )
    sampler = TPESampler(multivariate=True)
    for x, y in ((0.2, 0.8), (0.8, 0.2)):
        found = [sampler.complete({"x": x}, PLANE, study.history, stream(1, k)) for k in range(15)]
        assert all(set(p) == {"y"} for p in found)
        assert np.median([abs(p["y"] - y) for p in found]) < 0.15
    assert set(sampler.complete({"x": 7}, PLANE, study.history, stream(1, 2))) == {"y"}


def test_a_late_parameter_is_drawn_from_its_marginal() -> None:
    study = study_of(PLANE, rows_of(lambda x, y: (x - 0.2) ** 2, 60), sampler="random")
    sampler = TPESampler()
    found = [sampler.independent("x", ts.Float(0, 1), study.history, stream(1, k)) for k in range(20)]
    assert np.median(np.abs(np.array(found) - 0.2)) < 0.1
    new = [sampler.independent("z", ts.Int(1, 3), study.history, stream(1, k)) for k in range(20)]
    assert set(new) == {1, 2, 3}


def test_starts_with_a_sobol_sequence() -> None:
    study = create_study(sampler=TPESampler(n_startup_trials=16), space=PLANE, seed=4)
    for _ in range(16):
        trial = study.ask()
        study.tell(trial, sum(suggest_all(trial, PLANE).values()))
    x = study.history.X
    assert (np.histogram2d(x[:, 0], x[:, 1], bins=4, range=[[0, 1], [0, 1]])[0] == 1).all()
    batch = TPESampler().propose(PLANE, create_study(space=PLANE, seed=4).history, stream(1, 2), 16)
    np.testing.assert_array_equal([list(p.params.values()) for p in batch], x)


@pytest.mark.parametrize("multivariate", JOINT)
def test_nothing_twice_while_something_is_untried(multivariate: bool) -> None:
    space = Space({"c": ts.Categorical(["a", "b", "c"]), "i": ts.Int(1, 4), "b": ts.Categorical([True, False])})
    study = create_study(sampler=TPESampler(n_startup_trials=4, multivariate=multivariate), space=space, seed=0)
    study.optimize(lambda trial: suggest_all(trial, space)["i"], n_trials=24)
    assert len({tuple(t.params.values()) for t in study.trials}) == 24
    batch = TPESampler(n_startup_trials=4).propose(space, create_study(space=space).history, stream(1, 2), 24)
    assert len({tuple(p.params.values()) for p in batch}) == 24


@pytest.mark.parametrize("multivariate", JOINT)
def test_finds_optima_that_random_search_does_not(multivariate: bool) -> None:
    space = Space(
        {
            "x": ts.Float(0, 1),
            "lr": ts.Float(1e-5, 1, log=True),
            "n": ts.Int(1, 512, log=True),
            "k": ts.Int(1, 9),
            "c": ts.Categorical(list("abcd")),
        }
    )

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        smooth = (p["x"] - 0.7) ** 2 + (np.log10(p["lr"]) + 3) ** 2 / 25 + (np.log2(p["n"]) - 5) ** 2 / 81
        return float(smooth + (p["k"] - 6) ** 2 / 81 + 0.2 * (p["c"] != "c"))

    def best(sampler: Any, seed: int) -> float:
        study = create_study(sampler=sampler, space=space, seed=seed)
        study.optimize(objective, n_trials=60)
        return study.best_value

    ours = [best(TPESampler(multivariate=multivariate), seed) for seed in range(5)]
    others = [best(RandomSampler(), seed) for seed in range(5)]
    assert np.median(ours) < 0.4 * np.median(others)


def test_finds_a_front() -> None:
    def spread(sampler: Any) -> float:
        study = create_study(sampler=sampler, space=PLANE, directions=["minimize", "minimize"], seed=1)
        study.optimize(lambda t: ((p := suggest_all(t, PLANE))["x"], 1 - np.sqrt(p["x"]) + p["y"]), n_trials=80)
        f1, f2 = np.array(sorted(study.history.Y[study.history.pareto_rows].tolist())).T
        return float((np.diff(np.append(f1, 1.1)) * (2.0 - f2)).sum())  # hypervolume below (1.1, 2)

    assert spread(TPESampler()) > spread(RandomSampler()) + 0.1
