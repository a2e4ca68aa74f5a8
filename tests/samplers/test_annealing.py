"""Simulated annealing: against a plain loop, and what is particular about it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study, load_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import SimulatedAnnealingSampler
from tunesmith.samplers.annealing import _Walk
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})


def bowl(u: np.ndarray) -> float:
    return float(np.sum((u - 0.3) ** 2) + 0.05 * np.sum(1 - np.cos(20 * (u - 0.3))))


def unit(space: Space, params: dict[str, Any]) -> np.ndarray:
    return space.encode(space.from_params(params)[None])[0]


def search(trials: int, seed: int = 3, budget: int | None = None, factor: float = 1.0, **options: Any) -> Study:
    study = create_study(sampler=SimulatedAnnealingSampler(**options), space=CUBE, seed=seed, budget=budget)
    study.optimize(lambda t: factor * bowl(unit(CUBE, suggest_all(t, CUBE))), n_trials=trials)
    return study


def visited(study: Study) -> np.ndarray:
    return np.array([unit(CUBE, t.params) for t in study.trials])


def plain(trials: int, budget: int | None, seed: int = 3) -> tuple[np.ndarray, int]:
    """The walk as it stands in textbooks; also how often something worse was accepted."""
    path, values, worse = [], [], 0
    for i in range(10):
        path.append(stream(seed, i).random(3))
        values.append(bowl(path[-1]))
    here = best = int(np.argmin(values))
    heat = float(np.median(np.abs(values - np.median(values))))
    k = 0
    for i in range(10, trials):
        tau = 0.001 ** min(1, k / (budget - 11)) if budget else 0.97**k
        x = path[here] + 0.3 * math.sqrt(tau) * stream(seed, i).standard_normal((1, 3))[0]
        while (x < 0).any() or (x > 1).any():
            x = np.where(x < 0, -x, np.where(x > 1, 2 - x, x))
        path.append(x)
        values.append(bowl(x))
        rise = values[i] - values[here]
        if rise <= 0 or stream(seed, i, "annealing").random() < math.exp(-rise / (heat * tau)):
            worse += rise > 0
            here = i
        best = i if values[i] < values[best] else best
        k += 1
        if budget is None and 0.97**k < 0.001:
            k, here = 0, best
    return np.array(path), worse


@pytest.mark.parametrize("budget", [None, 60])
def test_equals_a_plain_walk(budget: int | None) -> None:
    trials = 300 if budget is None else 60  # without a budget it is heated up again after 227 moves
    path, worse = plain(trials, budget)
    assert 1 < worse < trials - 20
    np.testing.assert_allclose(visited(search(trials, budget=budget)), path, atol=1e-7)


def test_the_scale_of_the_objective_does_not_matter() -> None:
    expected = visited(search(60))
    for factor in (1e-200, 1e250):
        np.testing.assert_allclose(visited(search(60, factor=factor)), expected, atol=1e-9)


def test_temperature() -> None:
    walk = _Walk(SimulatedAnnealingSampler(), CUBE)
    walk.moves = 45
    assert walk.tau(101) == pytest.approx(math.sqrt(1e-3))
    assert walk.tau(None) == pytest.approx(0.97**45)
    walk.moves = 500
    assert (walk.tau(101), walk.tau(11), walk.tau(None)) == (1e-3, 1e-3, 1e-3)


def test_what_is_accepted() -> None:
    """By the Metropolis rule among results of the same feasibility; failures never."""
    walk = _Walk(SimulatedAnnealingSampler(temperature=2.0), CUBE)
    walk._here, walk._scale = (False, 0.0, 1.0), 0.5
    count = sum(walk._accepted((False, 0.0, 1.3), 0.5, 0, i) for i in range(4000))
    assert count / 4000 == pytest.approx(math.exp(-0.3 / (2.0 * 0.5 * 0.5)), abs=0.03)
    assert walk._accepted((False, 0.0, 1.0), 0.5, 0, 0)
    assert not any(walk._accepted((True, math.inf, math.inf), 1.0, 0, i) for i in range(50))
    assert not any(walk._accepted((False, 1.0, -5.0), 1.0, 0, i) for i in range(50))
    assert not walk._accepted((False, 0.0, math.inf), 1.0, 0, 0)
    walk._here = (False, 1.0, -5.0)
    assert walk._accepted((False, 0.5, 100.0), 1.0, 0, 0)
    assert walk._accepted((False, 0.0, 1e300), 1.0, 0, 0)


def test_enqueued_points_are_moves() -> None:
    study = search(20)
    study.enqueue_trial({"a": 0.3, "b": 0.3, "c": 0.3})
    study.optimize(lambda t: bowl(unit(CUBE, suggest_all(t, CUBE))), n_trials=1)
    walk = _Walk(study.sampler, CUBE)  # type: ignore[arg-type]
    walk.extend(study.history)
    np.testing.assert_allclose(walk.place, 0.3)


def test_failures_at_the_start_put_it_off() -> None:
    """The walk begins when there is a result."""
    study = create_study(sampler=SimulatedAnnealingSampler(n_startup_trials=3), space=CUBE, seed=0)
    for _ in range(5):
        study.tell(study.ask(CUBE), state=TrialState.FAIL)
    study.tell(study.ask(CUBE), 1.0)
    walk = _Walk(study.sampler, CUBE)  # type: ignore[arg-type]
    walk.extend(study.history)
    np.testing.assert_allclose(walk.place, visited(study)[5])
    assert walk.moves == 0


def test_grown_and_made_at_once() -> None:
    sampler = SimulatedAnnealingSampler()
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    for n in (5, 30, 260):
        study.optimize(lambda t: bowl(unit(CUBE, suggest_all(t, CUBE))), n_trials=n - study.history.n)
        fresh = load_study(study_name=study.study_name, storage=study.storage).history
        assert sampler.propose(CUBE, fresh, stream(1, n), 3) == sampler.propose(CUBE, study.history, stream(1, n), 3)


def test_neighbours() -> None:
    """Choices are kept more often the colder it is; integers always reach the next bin."""
    space = Space({"c": Categorical(list("pqrs")), "k": Int(1, 10), "x": Float(0, 1)})
    sampler = SimulatedAnnealingSampler()
    place = np.array([0.375, 0.55, 0.5])
    moved = {}
    for tau in (1.0, 1e-4):
        rows = space.decode(sampler._neighbours(space, place, tau, np.random.default_rng(0), 4000))
        moved[tau] = [(rows[:, 0] != 1).mean(), (rows[:, 1] != 6).mean(), rows[:, 2].std()]
        assert ((rows[:, 0] >= 0) & (rows[:, 0] <= 3) & (rows[:, 1] >= 1) & (rows[:, 1] <= 10)).all()
    assert moved[1.0][0] == pytest.approx(0.5 * 3 / 4, abs=0.03)
    assert moved[1e-4][0] == pytest.approx(1 / 3 * 3 / 4, abs=0.03)
    assert moved[1e-4][1] == pytest.approx(0.317, abs=0.03)  # half a bin is one standard deviation
    assert moved[1.0][2] > 0.2
    assert moved[1e-4][2] == pytest.approx(0.003, rel=0.1)


def test_discrete_spaces() -> None:
    space = Space({"c": Categorical(list("pqr")), "k": Int(1, 6), "s": Float(0, 1, step=0.25)})
    study = create_study(sampler="annealing", space=space, seed=0)
    study.optimize(lambda t: bowl(unit(space, suggest_all(t, space))), n_trials=90)
    assert len({tuple(t.params.values()) for t in study.trials}) == 90


def test_much_better_than_random() -> None:
    def median(sampler: Any) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=sampler, space=CUBE, seed=seed, budget=100)
            study.optimize(lambda t: bowl(unit(CUBE, suggest_all(t, CUBE))), n_trials=100)
            found.append(study.best_value)
        return float(np.median(found))

    assert median("annealing") < 0.4 * median("random")


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"step": 2.0}, {"cooling": 1.0}, {"final": 1.0}, {"n_startup_trials": 0}]
)
def test_impossible_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(options))):
        SimulatedAnnealingSampler(**options)


def test_arguments_of_another_type() -> None:
    with pytest.raises(InvalidTypeError, match="cooling"):
        SimulatedAnnealingSampler(cooling="slowly")  # type: ignore[arg-type]


def test_several_objectives() -> None:
    with pytest.raises(InvalidValueError, match="single objective"):
        create_study(sampler="annealing", directions=["minimize", "minimize"], space=CUBE).ask()
