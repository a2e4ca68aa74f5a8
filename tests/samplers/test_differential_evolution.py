"""Differential evolution: against a textbook loop and against SciPy, and what is particular about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.differential import crossed, inside, towards
from tunesmith.numerics.streams import stream
from tunesmith.numerics.variation import Genome
from tunesmith.samplers import DifferentialEvolutionSampler, get_sampler
from tunesmith.samplers._differential import Slots
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})
SIZE = 6


def rosenbrock(u: np.ndarray) -> float:
    x = 4 * np.asarray(u) - 1.5
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def search(sampler: DifferentialEvolutionSampler, trials: int, seed: int = 3) -> Study:
    study = create_study(sampler=sampler, space=CUBE, seed=seed)
    study.optimize(lambda t: rosenbrock(np.array(list(suggest_all(t, CUBE).values()))), n_trials=trials)
    return study


def visited(study: Study) -> np.ndarray:
    return np.array([[t.params[name] for name in CUBE] for t in study.trials])


def textbook(strategy: str, scales: tuple[float, float], cr: float, trials: int, seed: int = 3) -> np.ndarray:
    """Storn and Price's loop, one coordinate after the other; a trial takes its slot as soon as it is evaluated."""
    d, x, values, path = 3, [], [], []
    for t in range(trials):
        rng, i = stream(seed, t), t % SIZE
        if t < SIZE:
            x.append(list(rng.random(d)))
            values.append(rosenbrock(np.array(x[-1])))
            path.append(x[-1])
            continue
        trial = path[0]
        while trial in path:  # what was tried is made again
            f = scales[0] if scales[0] == scales[1] else rng.uniform(*scales)
            others = [k for k in range(SIZE) if k != i]
            r = [others[k] for k in rng.permutation(SIZE - 1)]
            best = int(np.argmin(values))
            take, sure = rng.random(d), int(rng.integers(d))
            trial = list(x[i])
            for j in range(d):
                match strategy:
                    case "rand/1":
                        v = x[r[0]][j] + f * (x[r[1]][j] - x[r[2]][j])
                    case "best/1":
                        v = x[best][j] + f * (x[r[0]][j] - x[r[1]][j])
                    case _:
                        v = x[i][j] + f * (x[best][j] - x[i][j]) + f * (x[r[0]][j] - x[r[1]][j])
                if v < 0:
                    v = x[i][j] / 2
                if v > 1:
                    v = (x[i][j] + 1) / 2
                if take[j] < cr or j == sure:
                    trial[j] = v
        value = rosenbrock(np.array(trial))
        if value <= values[i]:
            x[i], values[i] = trial, value
        path.append(trial)
    return np.array(path)


@pytest.mark.parametrize(
    ("strategy", "mutation", "cr"),
    [("rand/1", 0.8, 0.9), ("best/1", (0.5, 1.0), 0.7), ("current-to-best/1", 0.5, 0.3), ("rand/1", 0.5, 0.0)],
)
def test_equals_the_textbook(strategy: str, mutation: Any, cr: float) -> None:
    sampler = DifferentialEvolutionSampler(
        population_size=SIZE, strategy=strategy, mutation=mutation, recombination=cr, init="random"
    )
    scales = mutation if isinstance(mutation, tuple) else (mutation, mutation)
    expected = textbook(strategy, scales, cr, 12 * SIZE)
    np.testing.assert_allclose(visited(search(sampler, 12 * SIZE)), expected, rtol=1e-9, atol=1e-12)


def test_is_as_good_as_scipys() -> None:
    """The same strategy and numbers, 240 evaluations, medians of five seeds, within a factor of each other."""

    def bowl(u: np.ndarray) -> float:
        return float(np.sum(np.array([1.0, 10.0, 100.0]) * (np.asarray(u) - [0.2, 0.5, 0.7]) ** 2))

    ours, theirs = [], []
    for seed in range(5):
        sampler = DifferentialEvolutionSampler(population_size=16, strategy="rand/1", mutation=0.6, recombination=0.9)
        study = create_study(sampler=sampler, space=CUBE, seed=seed)
        study.optimize(lambda t: bowl(np.array(list(suggest_all(t, CUBE).values()))), n_trials=240)
        ours.append(study.best_value)
        found = differential_evolution(
            bowl, [(0, 1)] * 3, strategy="rand1bin", popsize=5, mutation=0.6, recombination=0.9, init="sobol",
            maxiter=14, tol=0, polish=False, seed=seed,
        )  # fmt: skip
        assert found.nfev == 240
        theirs.append(found.fun)
    assert 0.1 < np.median(ours) / np.median(theirs) < 10
    assert np.median(ours) < 0.05


# -- the population ---------------------------------------------------------------------------------------------


def holders(study: Study, size: int) -> list[int | None]:
    """Trial numbers in the slots."""
    with study.history.memo(("test", size), lambda: Slots(CUBE, size)) as slots:
        return [None if v is None else int(study.history.number[v.row]) for v in slots.holders]


def test_slots_in_any_order() -> None:
    """Trials that finish late compete for their own slot; a failed one leaves it as it was; equals replace."""
    sampler = DifferentialEvolutionSampler(population_size=4, strategy="best/1")
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    first = [study.ask(CUBE) for _ in range(4)]
    for trial, value in zip(reversed(first), (1.0, 2.0, 3.0), strict=False):
        study.tell(trial, value)
    study.tell(first[0], state=TrialState.FAIL)
    assert holders(study, 4) == [None, 1, 2, 3]
    second = [study.ask(CUBE) for _ in range(5)]
    assert [t.system_attrs["tags"]["de.i"] for t in study.trials[4:]] == [0, 1, 2, 3, 0]
    study.tell(second[4], 9.0)
    study.tell(second[0], 9.0)
    study.tell(second[1], 3.5)
    study.tell(second[3], 1.0)
    assert holders(study, 4) == [4, 1, 2, 7]


def test_enqueued_trials_take_the_worst_slot() -> None:
    sampler = DifferentialEvolutionSampler(population_size=4, strategy="best/1")
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    study.optimize(lambda t: 1.0 + t.number + 0 * suggest_all(t, CUBE)["a"], n_trials=4)
    study.enqueue_trial({"a": 0.1, "b": 0.2, "c": 0.3})
    study.optimize(lambda t: 0.5 + 0 * suggest_all(t, CUBE)["a"], n_trials=1)
    assert holders(study, 4) == [0, 1, 2, 4]
    study.enqueue_trial({"a": 0.5, "b": 0.2, "c": 0.3})
    study.optimize(lambda t: 100.0 + 0 * suggest_all(t, CUBE)["a"], n_trials=1)
    assert holders(study, 4) == [0, 1, 2, 4]


def test_infeasible_ones_lose() -> None:
    sampler = DifferentialEvolutionSampler(population_size=3, strategy="best/1")
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    for violation, value in ((0.0, 9.0), (2.0, 0.0), (1.0, 0.0), (1.0, 0.0), (3.0, -5.0), (0.0, 99.0)):
        trial = study.ask(CUBE)
        trial.set_constraint("c", violation)
        study.tell(trial, value)
    assert holders(study, 3) == [0, 1, 5]


def test_grown_and_made_at_once_are_equal() -> None:
    study = search(DifferentialEvolutionSampler(population_size=5), 40)
    grown = holders(study, 5)
    study.history._shape.memos._found.clear()
    assert holders(study, 5) == grown


def test_exact_genes_of_integers_are_kept() -> None:
    """Two vectors in the same bin differ all the same, and the population moves by that difference."""
    space = Space({"k": Int(1, 3), "x": Float(0, 1)})
    study = create_study(sampler=DifferentialEvolutionSampler(population_size=4), space=space, seed=0)
    study.optimize(lambda t: suggest_all(t, space)["x"], n_trials=30)
    genes = {t.system_attrs["tags"]["de.x"][0] for t in study.trials}
    assert len(genes) > 10
    for trial in study.trials:
        assert trial.params["k"] == 1 + min(2, int(3 * trial.system_attrs["tags"]["de.x"][0]))


# -- steps ------------------------------------------------------------------------------------------------------


def test_choices_have_no_differences() -> None:
    genome = Genome(np.array([4, 4, 0]), np.arange(3))
    rng = np.random.default_rng(0)
    base, end, start = np.array([0.125, 0.125, 0.5]), np.array([0.875, 0.625, 0.9]), np.array([0.875, 0.375, 0.4])
    found = np.array([towards(base, end, start, 0.6, genome, rng) for _ in range(2000)])
    assert (found[:, 0] == 0.125).all()
    assert set(found[:, 1]) == {0.125, 0.625}
    assert abs((found[:, 1] == 0.625).mean() - 0.6) < 0.04
    np.testing.assert_allclose(found[:, 2], 0.8)


def test_bounds_and_crossover() -> None:
    target = np.array([0.2, 0.2, 0.2])
    np.testing.assert_allclose(inside(np.array([-3.0, 0.9, 1.5]), target), [0.1, 0.9, 0.6])
    mutant = np.array([0.7, 0.8, 0.9])
    rng = np.random.default_rng(0)
    taken = np.array([crossed(target, mutant, 0.5, rng) == mutant for _ in range(3000)])
    assert taken.any(axis=1).all()
    np.testing.assert_allclose(taken.mean(axis=0), 1 / 3 + 2 / 3 * 0.5, atol=0.04)


def test_a_population_of_equals_goes_on() -> None:
    """No differences are left, so random configurations are tried, none twice."""
    study = create_study(sampler=DifferentialEvolutionSampler(population_size=4), space=CUBE, seed=0)
    for _ in range(6):
        study.enqueue_trial({"a": 0.5, "b": 0.5, "c": 0.5})
    study.optimize(lambda t: float(sum(abs(v - 0.5) for v in suggest_all(t, CUBE).values())), n_trials=20)
    assert len({tuple(t.params.values()) for t in study.trials}) == 15


# -- the search -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["rand/1", "best/1", "current-to-best/1"])
def test_beats_random_search(strategy: str) -> None:
    space = Space({**{f"x{i}": Float(0, 1) for i in range(4)}, "c": Categorical(["a", "b", "c"]), "k": Int(1, 9)})

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        return sum((p[f"x{i}"] - 0.2 - 0.15 * i) ** 2 for i in range(4)) + 0.3 * (p["c"] != "b") + abs(p["k"] - 3) / 9

    def median(sampler: Any) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=sampler, space=space, seed=seed)
            study.optimize(objective, n_trials=120)
            found.append(study.best_value)
        return float(np.median(found))

    assert median(DifferentialEvolutionSampler(strategy=strategy)) < 0.8 * median(get_sampler("random"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strategy": "rand/2"}, InvalidValueError, "rand/1, best/1, current-to-best/1"),
        ({"strategy": "rand/1", "population_size": 3}, InvalidValueError, "at least 4"),
        ({"mutation": 2.5}, InvalidValueError, "mutation"),
        ({"mutation": (0.9, 0.5)}, InvalidValueError, "pair"),
        ({"mutation": (0.9, 0.5, 1.0)}, InvalidValueError, "pair"),
        ({"mutation": "dither"}, InvalidTypeError, "mutation"),
        ({"recombination": 1.1}, InvalidValueError, "recombination"),
        ({"init": "lhs"}, InvalidValueError, "sobol, random"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DifferentialEvolutionSampler(**options)


def test_several_objectives() -> None:
    study = create_study(sampler="de", directions=["minimize", "minimize"], space=CUBE)
    with pytest.raises(InvalidValueError, match="single objective"):
        study.ask(CUBE)


def test_a_pair_comes_back_from_a_log() -> None:
    from tunesmith.samplers import from_spec

    sampler = DifferentialEvolutionSampler(mutation=[0.5, 1.0])
    assert sampler.mutation == (0.5, 1.0)
    assert from_spec({**sampler.spec(), "args": {**sampler.spec()["args"], "mutation": [0.5, 1.0]}}) == sampler
