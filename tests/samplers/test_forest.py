"""The random forest: mean and variance against scikit-learn's own, the neighbourhood, and that it finds things."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestRegressor

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.numerics.forest import Forest
from tunesmith.numerics.streams import stream
from tunesmith.samplers import RandomForestSampler, get_sampler
from tunesmith.samplers._exchange import Exchange, descend, first_new, snapped
from tunesmith.samplers._forest_coder import INACTIVE, Coder
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._results import thinned, transformed, usable
from tunesmith.study import suggest_all

MIXED = Space(
    {
        "c": Categorical(["a", "b", "c", "d"]),
        "k": Int(1, 64, log=True),
        "x": Float(1e-4, 1, log=True),
        "m": Float(0, 1),
    },
    {"m": "c == 'a'"},
)


def mixed(trial: Any) -> float:
    p = suggest_all(trial, MIXED)
    return (p["c"] != "b") + 0.5 * abs(np.log2(p["k"]) - 4) + abs(np.log10(p["x"]) + 2) + p.get("m", 0.0)


def reached(sampler: Any, trials: int = 40, seeds: int = 5) -> float:
    found = []
    for seed in range(seeds):
        study = create_study(sampler=sampler, space=MIXED, seed=seed)
        study.optimize(mixed, n_trials=trials)
        found.append(study.best_value)
    return float(np.median(found))


def test_it_finds_more_than_random_search() -> None:
    assert reached("random-forest") < 0.6 * reached("random")


DATA = np.random.default_rng(0).random((80, 3))
OUTCOMES = DATA[:, 0] + (DATA[:, 1] > 0.5) + 0.1 * np.random.default_rng(1).standard_normal(80)


def grown(rng: int = 0, **options: Any) -> Forest:
    usual = {"n_trees": 20, "max_features": 1.0, "min_leaf": 3, "bootstrap": True, "splitter": "best"}
    return Forest(DATA, OUTCOMES, np.random.default_rng(rng), **{**usual, **options})  # type: ignore[arg-type]


def test_means_are_those_of_scikit_learn() -> None:
    """Of one tree without randomness; of many, on average."""
    points = np.random.default_rng(2).random((200, 3))
    one = grown(n_trees=1, bootstrap=False).predict(points)[0]
    options = {"min_samples_leaf": 3, "random_state": 0}
    tree = RandomForestRegressor(1, bootstrap=False, **options).fit(DATA, OUTCOMES)
    np.testing.assert_allclose(one, tree.predict(points))
    forest = RandomForestRegressor(200, **options).fit(DATA, OUTCOMES)
    assert np.abs(grown(n_trees=200).predict(points)[0] - forest.predict(points)).max() < 0.15


def test_variance_is_the_total_one() -> None:
    """Of the mixture of the leaves' outcomes, each tree counting alike (without a bootstrap, the leaves' rows)."""
    forest = grown(bootstrap=False, splitter="random", min_leaf=10)
    point = np.array([[0.4, 0.6, 0.2]])
    mean, variance = forest.predict(point)
    values, weights = [], []
    for tree in forest._trees:
        rows = np.flatnonzero(tree.apply(DATA.astype(np.float32)) == tree.apply(point.astype(np.float32))[0])
        values += OUTCOMES[rows].tolist()
        weights += [1 / len(rows)] * len(rows)
    assert mean[0] == pytest.approx(np.average(values, weights=weights))
    assert variance[0] == pytest.approx(np.average((np.array(values) - mean[0]) ** 2, weights=weights))


def test_the_generator_is_all_the_randomness() -> None:
    assert (grown(3).predict(DATA)[0] == grown(3).predict(DATA)[0]).all()
    assert (grown(3).predict(DATA)[0] != grown(4).predict(DATA)[0]).any()


def test_choices_have_no_order() -> None:
    """They stand in the order of their means, an untried one between; other orders of naming change nothing."""
    space = Space({"c": Categorical(["a", "b", "c", "d"]), "x": Float(0, 1)})
    X = space.encode(np.array([[0, 0.1], [1, 0.2], [1, 0.3], [3, 0.4], [np.nan, 0.5]]))
    z = np.array([0.5, -1.0, -1.5, 2.0, 0.0])
    coder = Coder(space, X, z)
    units = (np.arange(4) + 0.5) / 4
    coded = coder(np.column_stack([units, units]))
    assert coded[:, 0].tolist() == [2, 0, 1, 3]
    assert coded[:, 1].tolist() == units.tolist()
    assert coder(X)[4].tolist() == [INACTIVE, 0.5]


def test_neighbours_differ_in_one_column() -> None:
    row = np.array([[0.375, 0.4, 0.5, 0.6], [0.875, 0.99, 0.01, 0.0]])
    near = Exchange(MIXED).of(row, np.random.default_rng(0))
    assert near.shape == (2, 3 + 3 * 4, 4)
    assert ((near != row[:, None]).sum(axis=2) == 1).all()
    assert ((near >= 0) & (near <= 1)).all()
    assert sorted(near[0, :3, 0]) == [0.125, 0.625, 0.875]
    many = Space({"c": Categorical(list(range(10_000))), "x": Float(0, 1), "s": Float(2, 2)})
    near = Exchange(many).of(np.array([[0.5, 0.5, 0.5]]), np.random.default_rng(0))
    assert near.shape == (1, 16 + 4, 3)
    assert (near[0, :16, 0] != 0.5).all()
    wide = Space({f"x{k}": Float(0, 1) for k in range(600)})
    assert Exchange(wide).of(np.full((4, 600), 0.5), np.random.default_rng(0)).shape == (4, 500, 600)


def test_snapped_rows_are_those_of_a_history() -> None:
    """Against conditions that are looked at row by row, among them one that reads a continuum."""
    space = Space({**MIXED, "z": Float(0, 1), "n": Int(0, 3)}, {"m": "c == 'a'", "z": "m > 0.5", "n": "c != 'b'"})
    rows = np.random.default_rng(0).random((100, 6))
    expected = [space.from_params(space.active(space.to_params(raw))) for raw in space.decode(rows)]
    np.testing.assert_array_equal(snapped(space, rows), space.encode(np.array(expected)))


def test_descent_finds_the_lowest_point() -> None:
    space = Space({f"c{k}": Categorical(list(range(5))) for k in range(6)})
    target = (np.array([4, 0, 2, 1, 3, 0]) + 0.5) / 5

    def value(rows: np.ndarray) -> np.ndarray:
        return (snapped(space, rows) != target).sum(axis=1).astype(float)

    rng = np.random.default_rng(0)
    rows = descend(value, Exchange(space), rng.random((20, 6)), 3, 8, rng)
    np.testing.assert_allclose(snapped(space, rows[:1])[0], target)
    assert (np.diff(value(rows)) >= 0).all()


def test_what_is_inactive_makes_no_new_configuration() -> None:
    """A step of an inactive parameter is refused although there is a continuum."""
    study = create_study(sampler="random", space=MIXED, seed=0)
    study.optimize(mixed, n_trials=20)
    known = study.history.encode(MIXED)
    row = int(np.flatnonzero(np.isnan(known[:, 3]))[0])
    same, other = known[row].copy(), known[row].copy()
    same[3], other[3], other[2] = 0.7, 0.7, 0.123
    found = first_new(MIXED, np.array([same, other]), known, Novel(MIXED, study.history), np.random.default_rng(0))
    assert found.tolist() == other.tolist()


def test_transforms() -> None:
    y = np.array([1.0, 2.0, 3.0, 1e9, 2.0])
    for how in ("log", "rank", "none"):
        z = transformed(y, how)
        assert (z.mean(), z.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
        assert (np.argsort(z, kind="stable") == np.argsort(y, kind="stable")).all()
        assert transformed(np.full(3, 7.0), how).tolist() == [0, 0, 0]
        assert len(transformed(np.empty(0), how)) == 0
        np.testing.assert_allclose(transformed(np.array([-1.7e308, 1.7e308]), how), [-1, 1])
    ranks = stats.norm.ppf((stats.rankdata(y) - 0.375) / 5.25)
    np.testing.assert_allclose(transformed(y, "rank"), (ranks - ranks.mean()) / ranks.std())


def test_results() -> None:
    """Failures are left out, infinite ones as bad as the worst, infeasible ones worse than that."""
    space = Space({"x": Float(0, 1)})
    study = create_study(space=space, sampler="random", seed=0)
    for value, violation in [(1.0, 0), (3.0, 0), (None, 0), (float("inf"), 0), (0.0, 2.0), (-5.0, 1.0)]:
        trial = study.ask()
        trial.set_constraint("c", violation)
        study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
    rows, losses = usable(study.history)
    assert rows.tolist() == [0, 1, 3, 4, 5]
    assert losses[:3].tolist() == [1, 3, 3]
    assert losses[3] > losses[4] > 3
    kept, some = thinned(np.arange(8), np.array([8.0, 1, 7, 2, 6, 3, 5, 4]), 4)
    assert (kept.tolist(), some.tolist()) == ([1, 3, 6, 7], [1, 2, 5, 4])


def test_running_trials_are_avoided() -> None:
    """With eight asked for at once, in a space of few values and without results for them, none comes twice."""
    space = Space({"c": Categorical(["a", "b", "c"]), "k": Int(0, 9)})
    study = create_study(sampler="random-forest", space=space, seed=0)
    study.optimize(lambda t: abs(suggest_all(t, space)["k"] - 4) + (t.params["c"] != "b"), n_trials=10)
    batch = RandomForestSampler().propose(space, study.history, stream(0, 10), 8)
    assert len({tuple(p.params.values()) for p in batch}) == 8


def test_random_interval() -> None:
    study = create_study(sampler=RandomForestSampler(random_interval=3, n_startup_trials=4), space=MIXED, seed=0)
    study.optimize(mixed, n_trials=13)
    expected = MIXED.to_params(MIXED.decode(stream(0, 12).random((1, 4)))[0])
    assert study.trials[12].params == MIXED.active(expected)
    assert RandomForestSampler(n_startup_trials=4).n_initial(MIXED) == 4


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        RandomForestSampler()


@pytest.mark.parametrize(
    "options",
    [{"n_estimators": 0}, {"max_features": 1.5}, {"splitter": "worst"}, {"transform": "sqrt"}, {"random_interval": -1}],
)
def test_errors(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(options))):
        get_sampler("forest", **options)
    with pytest.raises(InvalidTypeError):
        RandomForestSampler(n_startup_trials=2.5)  # type: ignore[arg-type]
