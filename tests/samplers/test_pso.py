"""Particle swarm: against a textbook loop, and what is particular about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.low_discrepancy import points
from tunesmith.numerics.streams import stream
from tunesmith.samplers import PSOSampler, get_sampler
from tunesmith.samplers._swarm import Latent
from tunesmith.samplers.pso import bounded, constriction
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})


def rosenbrock(u: np.ndarray) -> float:
    x = 4 * u - 1.5
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def search(sampler: PSOSampler, trials: int, seed: int = 3, space: Space = CUBE, **options: Any) -> Study:
    study = create_study(sampler=sampler, space=space, seed=seed, **options)
    study.optimize(lambda t: rosenbrock(space.encode(space.from_params(suggest_all(t, space)))), n_trials=trials)
    return study


def visited(study: Study) -> np.ndarray:
    return np.array([[t.params[name] for name in CUBE] for t in study.trials])


def textbook(
    seed: int, size: int, generations: int, informants: Any, w: float, c1: float, c2: float, chi: float, v_max: float
) -> np.ndarray:
    """Particle swarm as it stands in textbooks, one particle and one coordinate after the other."""
    d = len(CUBE)
    draws = [stream(seed, t).random((2, d)) for t in range(size * generations)]
    x = [list(draws[i][0]) for i in range(size)]
    v = [[draws[i][1][j] - x[i][j] for j in range(d)] for i in range(size)]
    best_x, best_f = [list(p) for p in x], [float("inf")] * size
    path = []
    for g in range(generations):
        if g:
            leaders = [min(informants(i), key=lambda k: best_f[k]) for i in range(size)]
            for i in range(size):
                r1, r2 = draws[g * size + i]
                for j in range(d):
                    own, social = best_x[i][j] - x[i][j], best_x[leaders[i]][j] - x[i][j]
                    v[i][j] = chi * (w * v[i][j] + c1 * r1[j] * own + c2 * r2[j] * social)
                    v[i][j] = max(-v_max, min(v_max, v[i][j]))
            for i in range(size):
                for j in range(d):
                    x[i][j] += v[i][j]
                    if x[i][j] < 0:
                        x[i][j], v[i][j] = -x[i][j], -v[i][j] / 2
                    elif x[i][j] > 1:
                        x[i][j], v[i][j] = 2 - x[i][j], -v[i][j] / 2
        for i in range(size):
            path.append(list(x[i]))
            value = rosenbrock(np.array(x[i]))
            if value < best_f[i]:
                best_f[i], best_x[i] = value, list(x[i])
    return np.array(path)


SIZE = 6
CASES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "global": ({}, (lambda i: range(SIZE), 0.7298, 1.49618, 1.49618, 1.0, 0.5)),
    "ring": ({"topology": "ring"}, (lambda i: [i, (i - 1) % SIZE, (i + 1) % SIZE], 0.7298, 1.49618, 1.49618, 1.0, 0.5)),
    "wide ring": (
        {"topology": "ring", "neighbors": 4},
        (lambda i: [(i + k) % SIZE for k in range(-2, 3)], 0.7298, 1.49618, 1.49618, 1.0, 0.5),
    ),
    "constriction": (
        {"variant": "constriction", "v_max": 0.1},
        (lambda i: range(SIZE), 1.0, 2.05, 2.05, 0.7298437881283576, 0.1),
    ),
    "weights": (
        {"inertia": 0.9, "cognitive": 0.5, "social": 2.5, "v_max": 0.8},
        (lambda i: range(SIZE), 0.9, 0.5, 2.5, 1.0, 0.8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_textbook(case: str) -> None:
    options, numbers = CASES[case]
    study = search(PSOSampler(swarm_size=SIZE, init="random", **options), 10 * SIZE)
    expected = textbook(3, SIZE, 10, *numbers)
    assert np.any((expected[SIZE:] < 0.2).any() or (expected[SIZE:] > 0.8).any())
    np.testing.assert_allclose(visited(study), expected, rtol=1e-9, atol=1e-12)


def test_a_generation_at_once_equals_one_by_one() -> None:
    """Synchronous: what a generation does is decided when the one before has ended."""
    sampler = PSOSampler(swarm_size=SIZE)
    one = search(sampler, 5 * SIZE)
    batch = create_study(sampler=sampler, space=CUBE, seed=3)
    for _ in range(5):
        trials = [batch.ask(CUBE) for _ in range(SIZE)]
        for trial in reversed(trials):
            batch.tell(trial, rosenbrock(np.array([trial.params[n] for n in CUBE])))
    np.testing.assert_array_equal(visited(batch), visited(one))


def test_a_particle_that_is_still_running_has_not_improved() -> None:
    """Its next step is drawn by its last memory, from its new position."""
    sampler = PSOSampler(swarm_size=2, init="random")
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    first = [study.ask(CUBE) for _ in range(2)]
    for trial in first:
        study.tell(trial, float(trial.number))  # particle 0 is the best
    second = [study.ask(CUBE) for _ in range(2)]
    study.tell(second[1], 5.0)
    third = study.ask(CUBE)
    tags = [t.system_attrs["tags"] for t in study.trials]
    assert (tags[4]["pso.g"], tags[4]["pso.i"]) == (2, 0)
    r1, r2 = stream(0, 4).random((2, 3))
    x, v, leader = (np.array(t) for t in (tags[2]["pso.x"], tags[2]["pso.v"], tags[0]["pso.x"]))
    velocity = 0.7298 * v + 1.49618 * (r1 + r2) * (leader - x)
    expected = bounded(x + np.clip(velocity, -0.5, 0.5), velocity, "reflect")[0]
    np.testing.assert_allclose([third.params[n] for n in CUBE], expected)


def test_failed_pruned_and_infeasible_particles() -> None:
    """A failure is no memory, a pruned trial is one with its last value, and feasible trials come before others."""
    study = create_study(sampler=PSOSampler(swarm_size=4, init="random"), space=CUBE, seed=0)
    trials = [study.ask(CUBE) for _ in range(4)]
    study.tell(trials[0], state=TrialState.FAIL)
    trials[1].report(0.5, 1)
    study.tell(trials[1], state=TrialState.PRUNED)
    trials[2].set_constraint("c", 1.0)
    study.tell(trials[2], -7.0)
    study.tell(trials[3], 1.0)
    step = study.ask(CUBE)  # of particle 0, which has no memory of its own
    x, v = np.array([trials[0].params[n] for n in CUBE]), np.array(study.trials[0].system_attrs["tags"]["pso.v"])
    leader = np.array([trials[1].params[n] for n in CUBE])
    r2 = stream(0, 4).random((2, 3))[1]
    velocity = np.clip(0.7298 * v + 1.49618 * r2 * (leader - x), -0.5, 0.5)
    np.testing.assert_allclose([step.params[n] for n in CUBE], bounded(x + velocity, velocity, "reflect")[0])


@pytest.mark.parametrize("topology", ["global", "ring"])
def test_enqueued_points_lead(topology: str) -> None:
    """Trial 0, which a user gave, is the memory of particle 0: all are drawn to it, or its neighbours in the ring."""
    study = create_study(sampler=PSOSampler(swarm_size=5, topology=topology, init="random"), space=CUBE, seed=0)
    study.enqueue_trial(dict.fromkeys(CUBE, 0.6))
    study.optimize(lambda t: float(t.number + (suggest_all(t, CUBE)["a"] != 0.6)), n_trials=11)
    tags = [t.system_attrs.get("tags") for t in study.trials]
    assert tags[0] is None
    for i in range(5):  # values grow with the number: own memories are the first positions, lower numbers lead
        led_by = 0 if topology == "global" or i in (0, 1, 4) else i - 1
        memories = {k: np.array(tags[1 + k]["pso.x"]) for k in range(5)} | {0: np.full(3, 0.6)}
        x, v = np.array(tags[1 + i]["pso.x"]), np.array(tags[1 + i]["pso.v"])
        r1, r2 = stream(0, 6 + i).random((2, 3))
        v = np.clip(0.7298 * v + 1.49618 * (r1 * (memories[i] - x) + r2 * (memories[led_by] - x)), -0.5, 0.5)
        np.testing.assert_allclose(tags[6 + i]["pso.x"], bounded(x + v, v, "reflect")[0])


def test_first_positions() -> None:
    sobol = search(PSOSampler(swarm_size=8), 8)
    index = [t.system_attrs["tags"]["pso.i"] for t in sobol.trials]
    assert index == list(range(8))
    halves = visited(sobol) > 0.5
    assert (halves.sum(axis=0) == 4).all()  # a scrambled Sobol' sequence is balanced
    assert not np.allclose(visited(sobol), visited(search(PSOSampler(swarm_size=8, init="random"), 8)))
    x, v = (np.array([t.system_attrs["tags"][k] for t in sobol.trials]) for k in ("pso.x", "pso.v"))
    assert ((x + v >= 0) & (x + v <= 1)).all()
    assert PSOSampler(swarm_size=8).n_initial(CUBE) == 8
    assert points("sobol", 3, np.arange(8), scramble=True, seed=0).shape == (8, 3)


def test_inertia_falls_over_the_budget() -> None:
    sampler = PSOSampler(swarm_size=5, inertia=(0.9, 0.4))
    with pytest.raises(InvalidValueError, match="budget"):
        search(sampler, 6)
    study = search(sampler, 25, budget=25)
    weights = [sampler._weight(g, study.history.budget) for g in range(7)]
    np.testing.assert_allclose(weights, [0.9, 0.775, 0.65, 0.525, 0.4, 0.4, 0.4])
    assert visited(study)[7:].tolist() != visited(search(PSOSampler(swarm_size=5, inertia=0.9), 25))[7:].tolist()


def test_constriction_factor() -> None:
    """Clerc and Kennedy (2002): 0.729844 for phi = 4.1; as inertia weight and 1.49618."""
    assert constriction(4.1) == pytest.approx(0.729844, abs=1e-6)
    assert constriction(4.1) * 2.05 == pytest.approx(1.49618, abs=1e-5)


def test_bounds() -> None:
    x, v = np.array([-0.2, 0.5, 1.3, 2.4, -1.0]), np.array([-0.4, 0.1, 0.4, 1.9, -1.2])
    reflected, back = bounded(x, v, "reflect")
    np.testing.assert_allclose(reflected, [0.2, 0.5, 0.7, 0.4, 1.0])
    np.testing.assert_allclose(back, [0.2, 0.1, -0.2, -0.95, 0.6])
    absorbed, back = bounded(x, v, "absorb")
    np.testing.assert_allclose(absorbed, [0.0, 0.5, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(back, [0.2, 0.1, -0.2, -0.95, 0.6])


def test_choices_have_no_order() -> None:
    """Naming the choices in another order permutes the swarm's coordinates and nothing else."""
    space = Space({"c": Categorical(["a", "b", "c", "d"]), "x": Float(0, 1), "k": Int(1, 3)})
    latent = Latent(space)
    assert latent.size == 6
    unit = latent.decode(np.array([0.1, 0.9, 0.3, 0.2, 0.4, 0.5]))
    assert space.to_params(space.decode(unit)) == {"c": "b", "x": 0.4, "k": 2}
    rows = np.array([[0.375, 0.4, 0.5], [np.nan, 0.4, np.nan]])
    coded = latent.encode(rows)
    np.testing.assert_array_equal(coded[0], [0, 1, 0, 0, 0.4, 0.5])
    np.testing.assert_array_equal(coded[1], [np.nan, np.nan, np.nan, np.nan, 0.4, np.nan])
    np.testing.assert_allclose(latent.decode(coded[0]), rows[0])
    uniform = np.random.default_rng(0).random((4000, 6))
    chosen = [space.to_params(space.decode(latent.decode(u)))["c"] for u in uniform]
    assert all(abs(chosen.count(c) - 1000) < 120 for c in "abcd")


def test_mixed_space_is_searched() -> None:
    space = Space({"c": Categorical(["a", "b", "c"]), "k": Int(1, 64, log=True), "x": Float(1e-4, 1, log=True)})

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        return (p["c"] != "b") + abs(np.log2(p["k"]) - 4) + abs(np.log10(p["x"]) + 2)

    def median(sampler: str) -> float:
        found = []
        for seed in range(9):
            study = create_study(sampler=sampler, space=space, seed=seed)
            study.optimize(objective, n_trials=60)
            found.append(study.best_value)
        return float(np.median(found))

    assert median("pso") < 0.6 * median("random")


DISCRETE = Space(
    {"c": Categorical(["a", "b", "c"]), "k": Int(1, 6), "m": Int(1, 64, log=True), "s": Float(0, 1, step=0.25)}
)


def discrete(trial: Any) -> float:
    p = suggest_all(trial, DISCRETE)
    return (p["c"] != "b") + abs(p["k"] - 4) + abs(np.log2(p["m"]) - 4) + p["s"]


def repeated(trials: int, seed: int) -> int:
    study = create_study(sampler="pso", space=DISCRETE, seed=seed)
    study.optimize(discrete, n_trials=trials)
    return trials - len({tuple(t.params.values()) for t in study.trials})


def test_no_known_configuration_comes_again() -> None:
    assert [repeated(60, seed) for seed in range(4)] == [0] * 4


def test_a_redrawn_step_is_the_first_new_one() -> None:
    """Position and velocity in the tags follow from the k-th pair of draws of the trial's generator."""
    study = create_study(sampler=PSOSampler(swarm_size=3, init="random"), space=DISCRETE, seed=2)
    study.optimize(discrete, n_trials=45)
    tags = [t.system_attrs["tags"] for t in study.trials]
    latent, known, draws = Latent(DISCRETE), set(), []
    for t in study.trials:
        key = tuple(t.params.values())
        if t.number >= 3:
            x, v = np.array(tags[t.number - 3]["pso.x"]), np.array(tags[t.number - 3]["pso.v"])
            past = [study.trials[k] for k in range(3 * (t.number // 3))]
            own = min((o for o in past if o.number % 3 == t.number % 3), key=lambda o: (o.value, o.number)).number
            best = min(past, key=lambda o: (o.value, o.number)).number
            rng = stream(2, t.number)
            for k in range(11):
                r1, r2 = rng.random((2, latent.size))
                pull = r1 * (np.array(tags[own]["pso.x"]) - x) + r2 * (np.array(tags[best]["pso.x"]) - x)
                velocity = np.clip(0.7298 * v + 1.49618 * pull, -0.5, 0.5)
                step = bounded(x + velocity, velocity, "reflect")
                params = DISCRETE.to_params(DISCRETE.decode(latent.decode(step[0])))
                if tuple(params.values()) not in known:
                    np.testing.assert_allclose(tags[t.number]["pso.x"], step[0])
                    np.testing.assert_allclose(tags[t.number]["pso.v"], step[1])
                    draws.append(k)
                    break
        known.add(key)
    assert max(draws) > 0
    assert draws.count(0) > 20


def test_uses_its_budget_only_when_the_inertia_falls() -> None:
    assert PSOSampler(inertia=(0.9, 0.4)).uses_budget
    assert PSOSampler(inertia=[0.9, 0.4]).uses_budget
    assert not PSOSampler().uses_budget
    assert not get_sampler("random").uses_budget


def test_a_changed_space_begins_anew_and_remembers() -> None:
    """Positions start again, but what earlier trials found still leads."""
    sampler = PSOSampler(swarm_size=3, init="random")
    study = create_study(sampler=sampler, seed=0)

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        y = trial.suggest_float("y", 0, 1 if trial.number < 8 else 2)
        return (x - 0.3) ** 2 + (y - 0.3) ** 2

    study.optimize(objective, n_trials=20)
    ids = [t.system_attrs.get("tags", {}).get("pso.s") for t in study.trials]
    assert ids[0] is None
    assert ids[1] is not None
    # trial 8 still has the old range as its proposal; the new one is known from trial 9 on
    assert len(set(ids[1:9])) == 1 == len(set(ids[9:]))
    assert ids[9] != ids[1]
    steps = [(t.system_attrs["tags"]["pso.g"], t.system_attrs["tags"]["pso.i"]) for t in study.trials[1:]]
    assert steps == [divmod(k, 3) for k in range(19)]
    begun = study.trials[9]  # particle 2 of generation 2: anew, at the first draw of its generator
    assert begun.params["x"] == pytest.approx(stream(0, 9).random((2, 2))[0][0])


def test_several_objectives() -> None:
    study = create_study(sampler="pso", directions=["minimize", "minimize"], space=CUBE)
    with pytest.raises(InvalidValueError, match="single objective"):
        study.ask()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topology": "star"}, "global, ring"),
        ({"variant": "x"}, "inertia, constriction"),
        ({"boundary": "wrap"}, "reflect, absorb"),
        ({"init": "lhs"}, "sobol, random"),
        ({"swarm_size": 0}, "swarm_size"),
        ({"neighbors": 3}, "even"),
        ({"inertia": (0.9, 0.4, 0.1)}, "pair"),
        ({"inertia": float("nan")}, "finite"),
        ({"cognitive": -1.0}, "`cognitive` must be a finite number of at least 0"),
        ({"v_max": 0.0}, "positive"),
        ({"variant": "constriction", "cognitive": 1.0}, "> 4"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        PSOSampler(**options)


@pytest.mark.parametrize("options", [{"inertia": "big"}, {"swarm_size": 2.5}, {"swarm_size": True}, {"v_max": None}])
def test_arguments_of_another_type(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTypeError, match=next(iter(options))):
        PSOSampler(**options)


def test_short_names() -> None:
    assert get_sampler("pso-ring") == PSOSampler(topology="ring")
    assert get_sampler("PSO constriction", swarm_size=7) == PSOSampler(variant="constriction", swarm_size=7)


def test_more_coordinates_than_sobol_has() -> None:
    wide: dict[str, BaseDistribution] = {"c": Categorical(range(21202))}
    study = create_study(sampler="pso", space=wide, seed=1)
    study.optimize(lambda t: float(t.suggest_categorical("c", range(21202))), n_trials=2)
    assert study.history.n == 2
