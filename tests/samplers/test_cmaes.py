"""CMA-ES: against the package driven by hand, and what is added to it."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import cmaes
import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study, load_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import CmaEsSampler, from_spec, get_sampler
from tunesmith.samplers._cmaes_coordinates import Coordinates, promising
from tunesmith.samplers._cmaes_engine import Engine, Start
from tunesmith.samplers._cmaes_replay import Replay
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})
LATTICE = Space({"x": Float(0, 1), "i": Int(0, 4), "s": Float(0, 1, step=0.125)})
MIXED = Space({"c": Categorical(list("pqr")), "x": Float(0, 1), "i": Int(1, 6), "d": Categorical([True, False])})


def unit(space: Space, params: dict[str, Any]) -> np.ndarray:
    return space.encode(space.from_params(params)[None])[0]


def sphere(space: Space, params: dict[str, Any], target: Any = 0.35) -> float:
    return float(np.sum((unit(space, params) - target) ** 2))


def search(sampler: CmaEsSampler, space: Space, trials: int, seed: int = 3, target: Any = 0.35) -> Study:
    study = create_study(sampler=sampler, space=space, seed=seed)
    study.optimize(lambda t: sphere(space, suggest_all(t, space), target), n_trials=trials)
    return study


def state(study: Study, space: Space) -> Replay:
    """The strategy after the study's trials, made from nothing."""
    sampler = study.sampler
    assert isinstance(sampler, CmaEsSampler)
    coordinates, code = sampler._coordinates(space), sampler._code(space)
    replay = Replay(sampler._plan(space, study.history, coordinates, code), space)
    replay.extend(study.history)
    return replay


def tags(study: Study) -> list[dict[str, Any]]:
    return [t.system_attrs.get("tags", {}) for t in study.trials]


# -- against the package ----------------------------------------------------------------------------------------------


def by_hand(kind: str, trials: int, seed: int, target: Any) -> list[tuple[np.ndarray, float]]:
    """CMA-ES in the unit cube with clipped evaluations and ranks plus a penalty, without tunesmith's sampler."""
    optimizer: Any = (cmaes.CMA if kind == "cma" else cmaes.SepCMA)(mean=np.full(3, 0.5), sigma=1 / 6)
    found: list[tuple[np.ndarray, float]] = []
    while len(found) < trials:
        drawn = []
        for k in range(optimizer.population_size):
            optimizer.reseed_rng(int(stream(seed, len(found) + k).integers(2**32)))
            x = optimizer.ask()
            drawn.append((x, float(np.sum((np.clip(x, 0, 1) - target) ** 2))))
        found += drawn
        order = np.argsort(np.argsort([f for _, f in drawn]))
        variance = optimizer._sigma**2 * (np.diag(optimizer._C) if kind == "cma" else optimizer._C)
        beyond = [float(np.sum((np.clip(x, 0, 1) - x) ** 2 / variance)) for x, _ in drawn]
        keys = order + np.array(beyond) * len(drawn) / 3
        optimizer.tell([(x, key) for (x, _), key in zip(drawn, keys, strict=True)])
    return found[:trials]


@pytest.mark.parametrize("kind", ["cma", "separable"])
@pytest.mark.parametrize("target", [0.35, np.array([0.02, 0.5, 0.98])], ids=["inside", "at the bounds"])
def test_equals_the_package(kind: str, target: Any) -> None:
    study = search(CmaEsSampler(use_separable_cma=kind == "separable"), CUBE, 70, target=target)
    expected = by_hand(kind, 70, 3, target)
    assert sum((x < 0).any() for x, _ in expected) > 10 or np.isscalar(target)  # there the penalty is needed
    np.testing.assert_allclose([t["cmaes.x"] for t in tags(study)], [x for x, _ in expected], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose([t.value for t in study.trials], [f for _, f in expected], rtol=1e-6, atol=1e-9)
    assert [t["cmaes.g"] for t in tags(study)] == [k // 7 for k in range(70)]


def test_integers_have_a_margin() -> None:
    """Equals the package's CMAwM in the cube: an integer of 5 values is a lattice of step 1/5."""
    study = search(CmaEsSampler(sigma0=0.1), LATTICE, 42, seed=4)
    half = np.array([0.1, 1 / 18])
    bounds = np.array([[-np.inf, np.inf], *zip(half, 1 - half, strict=True)])
    optimizer = cmaes.CMAwM(mean=np.full(3, 0.5), sigma=0.1, bounds=bounds, steps=np.array([0, 0.2, 1 / 9]))
    trials = study.trials
    for g in range(6):
        told = []
        for t in trials[7 * g : 7 * g + 7]:
            optimizer.reseed_rng(int(stream(4, t.number).integers(2**32)))
            point, x = optimizer.ask()
            np.testing.assert_allclose(unit(LATTICE, t.params), np.clip(point, 0, 1), atol=1e-9)
            np.testing.assert_allclose(tags(study)[t.number]["cmaes.x"], x, atol=1e-9)
            assert 0 < x[0] < 1  # so there is no penalty in this run
            told.append((x, t.value))
        optimizer.tell([(x, float(rank)) for rank, (x, _) in enumerate(sorted(told, key=lambda s: s[1]))])


def test_a_margin_keeps_integers_moving() -> None:
    """The last tenth of a long search still tries other values; rounded continua are stuck."""

    def variety(with_margin: bool) -> int:
        study = search(CmaEsSampler(with_margin=with_margin, restart_strategy=None), LATTICE, 300)
        return len({t.params["i"] for t in study.trials[250:]})

    assert variety(True) > variety(False) == 1


def test_choices_are_learnt() -> None:
    """CatCMA: the probabilities of the best values grow, and mixed spaces are searched better than at random."""

    def objective(trial: Any) -> float:
        p = suggest_all(trial, MIXED)
        return (p["c"] != "q") + 0.5 * p["d"] + abs(p["i"] - 5) / 5 + (p["x"] - 0.2) ** 2

    study = create_study(sampler="cmaes", space=MIXED, seed=1)
    study.optimize(objective, n_trials=150)
    chances = state(study, MIXED).engine.optimizer._q
    assert chances[0, 1] > 0.6
    assert chances[1, 1] > 0.6
    assert [t.params["c"] for t in study.trials[100:]].count("q") > 35
    found = {name: [] for name in ("cmaes", "random")}
    for name, values in found.items():
        for seed in range(5):
            other = create_study(sampler=name, space=MIXED, seed=seed)
            other.optimize(objective, n_trials=60)
            values.append(other.best_value)
    assert np.median(found["cmaes"]) < 0.5 * np.median(found["random"])


def test_only_choices() -> None:
    space = Space({c: Categorical(list("abcd")) for c in "xyzuvw"})
    study = create_study(sampler="cmaes", space=space, seed=0)
    study.optimize(lambda t: float(sum(v != "b" for v in suggest_all(t, space).values())), n_trials=150)
    assert study.best_value <= 1.0
    with pytest.raises(InvalidValueError, match=r"at least one numerical parameter.*use_separable_cma"):
        create_study(sampler=CmaEsSampler(use_separable_cma=True), space=space).ask()


@pytest.mark.parametrize(
    ("options", "space", "kind"),
    [
        ({}, CUBE, "cma"),
        ({}, LATTICE, "margin"),
        ({}, MIXED, "mixed"),
        ({"with_margin": False}, LATTICE, "cma"),
        ({"with_margin": True}, CUBE, "margin"),
        ({"use_separable_cma": True}, MIXED, "separable"),
        ({"use_separable_cma": True}, Space({"x": Float(0, 1), "y": Float(1, 1)}), "cma"),
        ({"lr_adapt": True}, LATTICE, "cma"),
        ({}, Space({"x": Float(0, 1), "k": Int(1, 512, log=True)}), "cma"),
    ],
)
def test_which_variant(options: dict[str, Any], space: Space, kind: str) -> None:
    study = search(CmaEsSampler(**options), space, 20)
    assert state(study, space).engine.kind == kind


# -- a function of the history ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [CUBE, LATTICE, MIXED], ids=["cube", "lattice", "mixed"])
def test_replayed_from_nothing(space: Space) -> None:
    """A memo that has grown with a study, over restarts, proposes bitwise what a new one does."""
    sampler = CmaEsSampler(popsize=4, restart_strategy="bipop")
    study = create_study(sampler=sampler, space=space, seed=2)
    for n in (3, 40, 161, 300):
        study.optimize(lambda t: sphere(space, suggest_all(t, space)), n_trials=n - study.history.n)
        fresh = load_study(study_name=study.study_name, storage=study.storage).history
        assert sampler.propose(space, fresh, stream(1, n), 3) == sampler.propose(space, study.history, stream(1, n), 3)


def test_other_arguments_begin_anew() -> None:
    sampler = CmaEsSampler()
    study = search(sampler, CUBE, 30)
    (again,) = CmaEsSampler(popsize=9).propose(CUBE, study.history, stream(1, 1), 1)
    (same,) = CmaEsSampler(seed=5).propose(CUBE, study.history, stream(1, 1), 1)
    assert (again.tags["cmaes.g"], same.tags["cmaes.g"]) == (0, 4)  # 30 = 4 x 7 + 2
    assert again.tags["cmaes.s"] != same.tags["cmaes.s"] == tags(study)[0]["cmaes.s"]


def test_late_results_count() -> None:
    """Whoever is slow counts in the generation in which he finishes, shortened to a plausible length."""
    study = create_study(sampler=CmaEsSampler(popsize=4, sigma0=0.1), space=CUBE, seed=0)
    slow = study.ask(CUBE)
    for _ in range(2):
        for _ in range(4):
            trial = study.ask(CUBE)
            study.tell(trial, sphere(CUBE, trial.params))
    replay = state(study, CUBE)
    assert replay.generation == 2
    study.tell(slow, 0.0)
    for _ in range(3):
        trial = study.ask(CUBE)
        study.tell(trial, sphere(CUBE, trial.params))
    assert [t["cmaes.g"] for t in tags(study)] == [0] * 5 + [1] * 4 + [2] * 3
    assert state(study, CUBE).generation == 3
    engine = replay.engine
    rows = [engine.shortened(np.array(tags(study)[0]["cmaes.x"])), *(np.array(t["cmaes.x"]) for t in tags(study)[9:])]
    engine.tell(
        np.array([rows[i] for i in np.argsort([study.trials[j].value for j in (0, 9, 10, 11)])]), np.arange(4.0)
    )
    np.testing.assert_array_equal(engine.optimizer.mean, state(study, CUBE).engine.optimizer.mean)


@pytest.mark.parametrize("kind", ["cma", "separable", "margin", "mixed"])
def test_shortened(kind: str) -> None:
    """Along the line to the mean, to a Mahalanobis distance of sqrt(d) + 2 d / (d + 2); nearer ones stay."""
    space = MIXED if kind == "mixed" else LATTICE
    coordinates = Coordinates(space, kind in ("margin", "mixed"), kind == "mixed")
    d = coordinates.d
    engine = Engine(kind, coordinates, Start(np.full(d, 0.5), 0.1), None)
    rng = np.random.default_rng(0)
    for _ in range(5):  # away from the identity
        drawn = np.array([engine.draw(int(rng.integers(2**32)))[0] for _ in range(engine.population)])
        engine.tell(drawn[np.argsort(drawn[:, 0])], np.arange(len(drawn), dtype=float))
    core = engine._core
    matrix = np.diag(core._C) if kind == "separable" else core._C
    stretch = np.diag(core._A) if kind == "mixed" else np.eye(d)
    covariance = core._sigma**2 * stretch @ matrix @ stretch
    far = np.concatenate([core._mean + 50.0, np.zeros(coordinates.k)])
    way = engine.shortened(far)[:d] - core._mean
    assert math.sqrt(way @ np.linalg.solve(covariance, way)) == pytest.approx(math.sqrt(d) + 2 * d / (d + 2))
    np.testing.assert_allclose(way / way[0], 1.0)
    near = np.concatenate([core._mean + 1e-3 * core._sigma, np.zeros(coordinates.k)])
    np.testing.assert_array_equal(engine.shortened(near), near)


@pytest.mark.parametrize("space", [CUBE, LATTICE, MIXED], ids=["cube", "lattice", "mixed"])
def test_guests_lead(space: Space) -> None:
    """An enqueued good configuration pulls the mean; a bad one does not."""

    def mean(value: float) -> np.ndarray:
        study = create_study(sampler=CmaEsSampler(), space=space, seed=0)
        guest = space.to_params(space.decode(np.full((1, len(space)), 0.95))[0])
        study.enqueue_trial(guest)
        study.optimize(lambda t: value if suggest_all(t, space) == guest else sphere(space, t.params), n_trials=12)
        return state(study, space).engine._mean.copy()

    assert (mean(-1.0) - mean(100.0) > 0.02).all()


def test_failed_pruned_and_infeasible() -> None:
    """Complete before pruned before failed; feasible before infeasible; only the order matters."""
    orders = []
    for pruned in (False, True):
        study = create_study(sampler=CmaEsSampler(popsize=6, consider_pruned_trials=pruned), space=CUBE, seed=0)
        trials = [study.ask(CUBE) for _ in range(6)]
        study.tell(trials[0], state=TrialState.FAIL)
        trials[1].report(-50.0, 1)
        study.tell(trials[1], state=TrialState.PRUNED)
        trials[2].set_constraint("c", 1.0)
        study.tell(trials[2], -70.0)
        study.tell(trials[3], math.inf)
        study.tell(trials[4], 1e300)
        study.tell(trials[5], 1.0)
        order = [1, 5, 4, 3, 2, 0] if pruned else [5, 4, 3, 2, 1, 0]
        expected = Engine("cma", Coordinates(CUBE, True, True), Start(np.full(3, 0.5), 1 / 6), 6)
        expected.tell(np.array([tags(study)[i]["cmaes.x"] for i in order]), np.arange(6.0))
        found = state(study, CUBE).engine
        np.testing.assert_array_equal(found.optimizer.mean, expected.optimizer.mean)
        orders.append(found.optimizer.mean)
    assert not np.array_equal(*orders)


def test_nothing_but_failures_changes_nothing() -> None:
    study = create_study(sampler=CmaEsSampler(), space=CUBE, seed=0)
    study.optimize(lambda t: len(suggest_all(t, CUBE)) * float("nan"), n_trials=20)
    replay = state(study, CUBE)
    assert replay.generation == 2
    np.testing.assert_array_equal(replay.engine.optimizer.mean, 0.5)
    assert len({tuple(t.params.values()) for t in study.trials}) == 20


# -- bounds, restarts, repeats ----------------------------------------------------------------------------------------


def test_an_optimum_in_a_corner() -> None:
    """It is found, and not evaluated again and again."""
    space = Space({f"x{i}": Float(-2, 3) for i in range(4)})
    study = search(CmaEsSampler(), space, 150, target=-0.2)
    assert study.best_value == pytest.approx(4 * 0.2**2)
    found = [tuple(t.params.values()) for t in study.trials]
    assert len(set(found)) == len(found)


def test_no_known_configuration_comes_again() -> None:
    space = Space({"c": Categorical(list("abc")), "k": Int(1, 6), "s": Float(0, 1, step=0.25)})
    study = search(CmaEsSampler(), space, 90)
    assert len({tuple(t.params.values()) for t in study.trials}) == 90 == 3 * 6 * 5
    assert any(t["cmaes.g"] == -1 for t in tags(study))  # where the distribution had nothing new


@pytest.mark.parametrize("strategy", ["ipop", "bipop", None])
def test_restarts(strategy: str | None) -> None:
    """Populations double; BIPOP has small ones between; without a strategy the search goes on."""
    space = Space({"x": Float(0, 1)})
    study = search(CmaEsSampler(popsize=4, restart_strategy=strategy), space, 700)
    replay, x = state(study, space), np.array([t["cmaes.x"][0] for t in tags(study)])
    if strategy is None:
        assert replay.engine.population == 4
        assert np.ptp(x[300:400]) < 1e-4
        return
    assert replay.runs >= 3
    assert replay._large == 4 * 2 ** (replay.runs - 1) if strategy == "ipop" else replay._spent["small"] > 0
    spread = np.array([np.ptp(x[i : i + 4]) for i in range(0, 700, 4)])
    assert spread.min() < 1e-5
    assert (spread[np.argmin(spread) :] > 0.05).any()  # wide again


def test_flat_objectives() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for space in (CUBE, LATTICE, MIXED):
            study = create_study(sampler=CmaEsSampler(restart_strategy=None), space=space, seed=0)
            study.optimize(lambda t, s=space: 0.0 * len(suggest_all(t, s)), n_trials=200)
            assert study.history.n == 200


# -- where it begins --------------------------------------------------------------------------------------------------


def test_start() -> None:
    space = Space({"x": Float(1e-4, 1, log=True), "y": Float(0, 10), "z": Float(0, 1)})
    study = search(CmaEsSampler(x0={"x": 1e-2, "y": 2.0}, sigma0=1e-6, popsize=5), space, 5)
    np.testing.assert_allclose([unit(space, t.params) for t in study.trials], [[0.5, 0.2, 0.5]] * 5, atol=1e-4)


def test_startup_trials() -> None:
    study = search(CmaEsSampler(n_startup_trials=5), CUBE, 20)
    assert [bool(t) for t in tags(study)] == [False] * 5 + [True] * 15
    assert CmaEsSampler(n_startup_trials=5).n_initial(CUBE) == 12


def test_warm_start_equals_the_package() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((57, 4))
    loss = ((x - [0.2, 0.4, 0.6, 0.8]) ** 2).sum(axis=1)
    mean, sigma, cov, best = promising(x, loss.tolist(), 0.1, 0.1)
    expected = cmaes.get_warm_start_mgd(list(zip(x, loss, strict=True)))
    for one, other in zip((mean, sigma, cov), expected, strict=True):
        np.testing.assert_allclose(one, other)
    assert sorted(best) == sorted(np.argsort(loss)[:5])
    assert np.isfinite(promising(rng.random((20, 500)), list(range(20)), 0.1, 0.1)[1])  # no underflow


@pytest.mark.parametrize("space", [CUBE, LATTICE, MIXED], ids=["cube", "lattice", "mixed"])
def test_warm_start(space: Space) -> None:
    """From a similar task: the first trials are better than without; directions are the study's."""
    source = search(CmaEsSampler(), space, 80, target=0.8).trials
    warm = CmaEsSampler(source_trials=source)
    assert from_spec(json.loads(json.dumps(warm.spec()))) == warm
    first = {
        name: np.mean([t.value for t in search(sampler, space, 8, target=0.75).trials])
        for name, sampler in (("cold", CmaEsSampler()), ("warm", warm))
    }
    assert first["warm"] < 0.7 * first["cold"]
    study = create_study(sampler=warm, space=space, direction="maximize", seed=0)
    study.optimize(lambda t: sphere(space, suggest_all(t, space), 0.8), n_trials=8)
    assert np.mean([t.value for t in study.trials]) > 2 * first["warm"]


def test_warm_start_from_pairs() -> None:
    pairs = [({"a": 0.9, "b": 0.1, "other": 3}, 1.0), ({"a": 0.8, "b": 0.2}, 2.0), ({"c": 0.5}, float("nan"))]
    sampler = CmaEsSampler(source_trials=pairs)
    start = sampler._start(CUBE, create_study(space=CUBE).history, sampler._coordinates(CUBE))
    np.testing.assert_allclose(start.mean, [0.9, 0.1, 0.5])
    with pytest.raises(InvalidValueError, match="not among those of this study"):
        create_study(sampler=sampler, space=Space({"z": Float(0, 1)})).ask()


# -- how well ---------------------------------------------------------------------------------------------------------


def test_much_better_than_random() -> None:
    space = Space({f"x{i}": Float(-5, 5) for i in range(5)})

    def median(sampler: str) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=sampler, space=space, seed=seed)
            study.optimize(lambda t: sum((v - 1) ** 2 for v in suggest_all(t, space).values()), n_trials=200)
            found.append(study.best_value)
        return float(np.median(found))

    assert median("cmaes") < 0.02 * median("random")


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"popsize": 1}, "popsize"),
        ({"sigma0": 0.0}, "sigma0"),
        ({"sigma0": float("nan")}, "sigma0"),
        ({"n_startup_trials": -1}, "n_startup_trials"),
        ({"inc_popsize": 0}, "inc_popsize"),
        ({"restart_strategy": "often"}, "'ipop', 'bipop' or None"),
        ({"use_separable_cma": True, "with_margin": True}, "exclude each other"),
        ({"use_separable_cma": True, "lr_adapt": True}, "exclude each other"),
        ({"source_trials": [({"a": 1}, 1.0)], "sigma0": 0.1}, "leave out"),
        ({"source_trials": []}, "no complete trial"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        CmaEsSampler(**options)


@pytest.mark.parametrize(
    "options",
    [{"x0": [1.0]}, {"popsize": 2.5}, {"sigma0": "x"}, {"source_trials": [3]}, {"independent_sampler": "random"}],
)
def test_arguments_of_another_type(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTypeError, match=next(iter(options))):
        CmaEsSampler(**options)


def test_optunas_order_of_arguments() -> None:
    random = get_sampler("random")
    found = CmaEsSampler({"a": 0.2}, 0.1, 3, random, False, 7)
    assert (found.x0, found.sigma0, found.n_startup_trials, found.independent_sampler) == ({"a": 0.2}, 0.1, 3, random)
    assert (found.warn_independent_sampling, found.seed) == (False, 7)
    assert from_spec(json.loads(json.dumps(found.spec()))) == found


def test_several_objectives() -> None:
    with pytest.raises(InvalidValueError, match="single objective"):
        create_study(sampler="cmaes", directions=["minimize", "minimize"], space=CUBE).ask()
