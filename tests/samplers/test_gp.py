"""What the Gaussian process sees, where it looks, and what it finds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from threadpoolctl import threadpool_info

import tunesmith as ts
from tunesmith import Categorical, Float, Int, Space
from tunesmith.numerics.blas import one_thread
from tunesmith.numerics.streams import stream
from tunesmith.samplers import GPSampler, RandomSampler
from tunesmith.samplers import _gp_model as model
from tunesmith.samplers import _gp_search as search
from tunesmith.samplers._gp_features import Activity, Features
from tunesmith.study import Study, suggest_all
from tunesmith.trial import TrialState

MIXED = Space(
    {
        "x": Float(-2, 2),
        "lr": Float(1e-5, 1e-1, log=True),
        "k": Int(1, 5),
        "w": Int(16, 512, log=True),
        "c": Categorical(["a", "b", "c"]),
        "m": Float(0, 1),
    },
    conditions={"m": "c == 'b'"},
)


def worth(params: dict[str, Any]) -> float:
    found = (params["x"] - 0.7) ** 2 + (np.log10(params["lr"]) + 3) ** 2 / 2 + abs(params["k"] - 4) / 3
    return float(
        found + abs(np.log2(params["w"] / 100)) / 3 + {"a": 1.0, "b": params.get("m", 0), "c": 2.0}[params["c"]]
    )


def searched(space: Space, f: Callable[[dict[str, Any]], float], n: int, seed: int = 0, **options: Any) -> Study:
    study = ts.create_study(space=space, sampler=GPSampler(**options), seed=seed)
    study.optimize(lambda trial: f(suggest_all(trial, space)), n_trials=n, catch=(RuntimeError,))
    return study


# -- what the kernel sees -------------------------------------------------------------------------------------------


def distances(space: Space, *configurations: dict[str, Any]) -> np.ndarray:
    """Squared, by lengthscale: (lengthscales, configurations, configurations)."""
    rows = space.encode(np.array([space.from_params(c) for c in configurations]))
    features = Features(space, rows)
    x = features(rows)
    square = (x[:, None] - x) ** 2
    return np.array([square[:, :, features.group == g].sum(axis=2) for g in range(features.group.max() + 1)])


def test_choices_are_equal_or_at_distance_one() -> None:
    space = Space({"c": Categorical(["a", "b", "c", "d"])})
    (found,) = distances(space, {"c": "a"}, {"c": "b"}, {"c": "d"}, {"c": "a"})
    np.testing.assert_allclose(found, [[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]], atol=1e-12)


def test_a_choice_that_was_not_tried_is_none_of_those_that_were() -> None:
    space = Space({"c": Categorical(list(range(10_000)))})
    rows = space.encode(np.array([[3.0], [77.0]]))
    features = Features(space, rows)
    assert len(features.group) == 3
    new = features(space.encode(np.array([[5.0]])))
    np.testing.assert_allclose(((features(rows) - new) ** 2).sum(axis=1), [1, 1])


def test_configurations_without_a_parameter_are_equal_in_it() -> None:
    space = Space({"n": Int(1, 2), "x": Float(0, 1)}, conditions={"x": "n == 2"})
    _, value, absence = distances(space, {"n": 1}, {"n": 1}, {"n": 2, "x": 0.5}, {"n": 2, "x": 0.9})
    np.testing.assert_allclose(absence, [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    assert value[0, 1] == 0
    assert value[2, 3] == pytest.approx(0.16)


def test_integers_are_seen_as_they_are_rounded() -> None:
    space = Space({"k": Int(1, 4), "w": Int(1, 100, log=True)})
    moves = search.Moves(space, np.zeros(2, bool), np.random.default_rng(0))
    rows = moves.snap(np.array([[0.26, 0.501], [0.49, 0.5]]))
    assert rows[0].tolist() == rows[1].tolist()
    assert space.encode(space.decode(rows)).tolist() == rows.tolist()


def test_branches_of_an_objective_are_recognised() -> None:
    """Without declared conditions: who lacks what is read off the trials, also in a chain."""
    space = Space({"model": Categorical(["linear", "net"]), "layers": Int(1, 3), "u2": Float(0, 1), "new": Float(0, 1)})
    nan = np.nan
    raw = np.array([[0, nan, nan, nan], [1, 1, nan, nan], [1, 3, 0.3, 0.1], [1, 2, 0.2, nan], [0, nan, nan, 0.4]])
    activity = Activity(space, space.encode(raw))
    probe = space.encode(np.array([[0, 3, 0.5, 0.5], [1, 1, 0.5, 0.5], [1, 2, 0.5, 0.5]]))
    assert activity(probe).tolist() == [
        [True, False, False, True], [True, True, False, True], [True, True, True, True],
    ]  # fmt: skip
    assert activity.optional.tolist() == [False, True, True, False]


# -- the search -----------------------------------------------------------------------------------------------------


def test_the_local_searches_find_the_best_of_a_mixed_space() -> None:
    def value(rows: np.ndarray) -> np.ndarray:
        return np.array([-worth(MIXED.active(MIXED.to_params(raw))) for raw in MIXED.decode(rows)])

    def slopes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient = [approx_fprime(np.clip(row, 1e-6, 1 - 1e-6), lambda r: value(r[None])[0], 1e-7) for row in rows]
        return value(rows), np.array(gradient)

    rng = np.random.default_rng(0)
    moves = search.Moves(MIXED, np.zeros(6, bool), rng)
    first = search.pool(moves, np.full(6, 0.5), np.empty((0, 6)), rng)
    best = MIXED.active(MIXED.to_params(MIXED.decode(search.maximise(value, slopes, moves, first, rng)[:1])[0]))
    assert (best["k"], best["c"]) == (4, "b")
    assert best["w"] in range(97, 104)
    assert worth(best) < 0.05


def test_neighbours_differ_in_one_countable_parameter() -> None:
    rng = np.random.default_rng(0)
    moves = search.Moves(MIXED, np.array([False, False, False, False, False, True]), rng)
    row = moves.snap(rng.random((1, 6)))
    near = MIXED.decode(moves.neighbours(row, rng)[0])
    changed = ~np.isclose(near, MIXED.decode(row))
    assert changed.sum(axis=1).max() == 1
    assert changed.any(axis=0).tolist() == [False, False, True, True, True, False]
    for j, values in ((2, {1, 2, 3, 4, 5}), (4, {0, 1, 2})):
        assert set(near[:, j]) == values
    assert moves.smooth.tolist() == [0, 1, 3]


def test_the_gradient_of_the_acquisition() -> None:
    history = searched(MIXED, worth, 12).history
    fitted = model.Model(MIXED, history, deterministic=False)
    for row in np.random.default_rng(3).random((4, 6)):
        value, gradient = fitted.slopes(row[None])
        assert value[0] == pytest.approx(fitted.value(row[None])[0], rel=1e-12)
        for j in (0, 1, 3, 5):
            step = 1e-5 * np.eye(6)[j]
            numeric = (fitted.value((row + step)[None]) - fitted.value((row - step)[None]))[0] / 2e-5
            assert gradient[0, j] == pytest.approx(numeric, rel=1e-3, abs=1e-5)
        assert gradient[0, 2] != 0
        assert gradient[0, 4] == 0


# -- what it finds --------------------------------------------------------------------------------------------------


def test_it_beats_random_search_clearly() -> None:
    ours, theirs = [], []
    for seed in range(3):
        ours.append(searched(MIXED, worth, 30, seed).best_value)
        study = ts.create_study(space=MIXED, sampler=RandomSampler(), seed=seed)
        study.optimize(lambda trial: worth(suggest_all(trial, MIXED)), n_trials=120)
        theirs.append(study.best_value)
    assert np.median(ours) < 0.6 * np.median(theirs)


def test_a_smooth_function_is_found_to_two_digits() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    found = searched(space, lambda p: (p["x"] - 0.3) ** 2 + 2 * (p["y"] - 0.6) ** 2, 25).best_params
    assert found["x"] == pytest.approx(0.3, abs=0.02)
    assert found["y"] == pytest.approx(0.6, abs=0.02)


def test_neither_scale_nor_outliers_matter() -> None:
    """The worse half counts by rank: an increasing change of it leaves the search as it is."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def plain(p: dict[str, Any]) -> float:
        return float((p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2)

    def found(f: Callable[[dict[str, Any]], float]) -> list[dict[str, Any]]:
        return [t.params for t in searched(space, f, 10).trials]

    expected = found(plain)
    assert found(lambda p: plain(p) * 2.0**900) == expected
    assert found(lambda p: plain(p) if plain(p) < 0.3 else 1e300 * plain(p)) == expected


def test_what_failed_is_left_alone() -> None:
    """Half of the space fails, the better one by what can be learnt from the other."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def f(p: dict[str, Any]) -> float:
        if p["x"] > 0.6:
            raise RuntimeError("out of memory")
        return 1 - p["x"] + p["y"] ** 2

    study = searched(space, f, 30)
    late = study.history.state[-15:]
    assert (late == TrialState.FAIL).sum() <= 7
    assert study.best_params["x"] > 0.5


def test_constraints_are_kept() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    study = ts.create_study(space=space, sampler=GPSampler(), seed=1)

    def objective(trial: ts.Trial) -> float:
        p = suggest_all(trial, space)
        trial.set_constraint("c", p["x"] + p["y"] - 1.0)
        return 2.0 - p["x"] - 0.5 * p["y"]

    study.optimize(objective, n_trials=35)
    assert (study.history.violation[-15:] == 0).mean() >= 0.5
    row = study.history.best_row
    assert row is not None
    assert study.history.loss[row, 0] < 1.2  # 1 at x = 1, y = 0


def test_an_enqueued_configuration_is_completed_by_the_model() -> None:
    """The best k depends on c, which is given."""
    space = Space({"c": Categorical(["low", "high"]), "k": Int(1, 9)})

    def f(p: dict[str, Any]) -> float:
        return abs(p["k"] - {"low": 2, "high": 8}[p["c"]])

    study = ts.create_study(space=space, sampler=GPSampler(), seed=0)
    for c, k in itertools.product(["low", "high"], [1, 4, 6, 9]):
        study.enqueue_trial({"c": c, "k": k})
    study.optimize(lambda trial: f(suggest_all(trial, space)), n_trials=8)
    completed = {}
    for c in ("low", "high"):
        params = study.sampler.complete({"c": c, "unknown": 3}, space, study.history, stream(0, 1))
        assert set(params) == {"k"}
        completed[c] = params["k"]
    assert completed["low"] <= 3
    assert completed["high"] >= 7


def test_a_batch_spreads() -> None:
    """Believing that the first gives what is expected sends the others elsewhere; likewise for what is running."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    study = searched(space, lambda p: (p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2, 12)
    batch = study.sampler.propose(space, study.history, stream(0, 12), 6)
    rows = np.array([[p.params["x"], p.params["y"]] for p in batch])
    apart = np.linalg.norm(rows[:, None] - rows, axis=2)[~np.eye(6, dtype=bool)]
    assert apart.min() > 1e-3
    asked = [study.ask().relative_params for _ in range(3)]
    assert len({(p["x"], p["y"]) for p in asked}) == 3


# -- its state ------------------------------------------------------------------------------------------------------


def test_hyperparameters_travel_with_the_trials() -> None:
    study = searched(MIXED, worth, 9)
    theta = study.history.tag(model.THETA)
    assert np.isnan(theta[:5]).all()
    assert np.isfinite(theta[5:]).all()
    assert theta.shape[1] == 6 + 1 + 2  # lengthscales, that of absence, signal and noise
    last = model.last_theta(study.history, MIXED, theta.shape[1])
    assert last is not None
    assert last.tolist() == theta[-1].tolist()
    assert model.last_theta(study.history, MIXED.extended("x", Float(-3, 3)), theta.shape[1]) is None
    pending = study.ask()
    last = model.last_theta(study.history, MIXED, theta.shape[1])
    assert last is not None
    assert last.tolist() == study.history.open[0].tags[model.THETA]
    assert pending.number == 9


def test_a_fit_begins_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    study = searched(MIXED, worth, 9)
    starts: list[list[float]] = []
    fit = model.gp.fit

    def spy(evidence: Any, given: Any, evaluations: int) -> Any:
        starts.extend(start.tolist() for start in given)
        return fit(evidence, given, evaluations)

    monkeypatch.setattr(model.gp, "fit", spy)
    study.ask()
    assert study.history.tag(model.THETA)[-1].tolist() in starts


def test_long_studies_are_thinned() -> None:
    space = Space({"x": Float(0, 1)})
    study = ts.create_study(space=space, sampler=GPSampler(), seed=0)
    for x in np.random.default_rng(0).random(model.MOST + 50).tolist():
        study.add_trial(ts.create_trial(params={"x": x}, distributions=dict(space), value=(x - 0.25) ** 2))
    fitted = model.Model(space, study.history, deterministic=True)
    assert len(fitted.rows) == model.MOST
    assert study.ask().relative_params["x"] == pytest.approx(0.25, abs=0.02)


def test_a_deterministic_objective_has_no_noise() -> None:
    history = searched(MIXED, worth, 12).history
    noise = [model.Model(MIXED, history, deterministic=d).theta[-1] for d in (True, False)]
    assert noise[0] < -11 < -9 < noise[1]


# -- arguments ------------------------------------------------------------------------------------------------------


def test_impossible_arguments() -> None:
    with pytest.raises(ValueError, match="`n_startup_trials` must be an integer of at least 1, but is 0"):
        GPSampler(n_startup_trials=0)
    with pytest.raises(ValueError, match=r"call `trial\.set_constraint"):
        GPSampler(constraints_func=lambda trial: [0.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`independent_sampler` must be a sampler"):
        GPSampler(independent_sampler="random")  # type: ignore[arg-type]
    study = ts.create_study(space=MIXED, sampler=GPSampler(), directions=["minimize", "minimize"])
    with pytest.raises(ValueError, match="GPSampler needs a single objective"):
        study.ask()


def test_an_independent_sampler_survives_the_log() -> None:
    sampler = GPSampler(independent_sampler=RandomSampler(seed=3), n_startup_trials=2)
    assert ts.samplers.from_spec(sampler.spec()) == sampler


def test_the_start_is_as_long_as_it_says() -> None:
    for n in (1, 3):
        tags = searched(MIXED, worth, n + 1, n_startup_trials=n).history.tag(model.SPACE)
        assert np.isnan(tags).tolist() == [True] * n + [False]
        assert GPSampler(n_startup_trials=n).n_initial(MIXED) == n


def test_one_thread_and_then_as_many_as_before() -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with one_thread():
        with one_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before
