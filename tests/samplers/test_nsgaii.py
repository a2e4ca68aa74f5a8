"""NSGA-II: survival by the paper, selection, and that it finds fronts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.dominance import crowding_distance, nondomination_ranks
from tunesmith.numerics.streams import stream
from tunesmith.samplers import NSGAIISampler, from_spec, get_sampler
from tunesmith.samplers.nsgaii import PolynomialMutation, SBXCrossover, _Generations, _selected
from tunesmith.study import Study, suggest_all

PLANE = Space({"x": Float(0, 1), "y": Float(0, 1)})
TWO = ["minimize", "maximize"]


def generations(study: Study, size: int) -> _Generations:
    with study.history.memo(("test", size), lambda: _Generations(PLANE, size)) as found:
        return found


def schaffer(trial: Any) -> tuple[float, float]:
    p = suggest_all(trial, PLANE)
    return p["x"] ** 2 + p["y"], -((p["x"] - 0.5) ** 2) - p["y"]


def searched(sampler: NSGAIISampler, trials: int, seed: int = 1) -> Study:
    study = create_study(sampler=sampler, directions=TWO, space=PLANE, seed=seed)
    study.optimize(schaffer, n_trials=trials)
    return study


def test_survivors_are_those_of_the_paper() -> None:
    """Whole fronts, then the loneliest of the last one; from the whole population of parents and children."""
    size = 10
    study = searched(NSGAIISampler(population_size=size), 40)
    x = np.array([[t.params["x"], t.params["y"]] for t in study.trials])
    loss = study.history.loss
    alive = np.arange(size)
    for begin in range(size, 40, size):
        pool = np.concatenate([alive, np.arange(begin, begin + size)])
        ranks = nondomination_ranks(loss[pool])
        alive = np.empty(0, np.int64)
        for front in range(int(ranks.max()) + 1):
            members = pool[ranks == front]
            lonely = np.argsort(-crowding_distance(loss[members]), kind="stable")
            alive = np.concatenate([alive, members[lonely][: size - len(alive)]])
    found = generations(study, size)
    assert {tuple(g) for g in found.genes.round(12)} == {tuple(g) for g in x[alive].round(12)}
    assert (np.diff(found.place) >= 0).all()


def test_a_generation_is_complete_before_it_counts() -> None:
    study = searched(NSGAIISampler(population_size=6), 17)
    assert generations(study, 6).genes.shape == (6, 2)
    parents = generations(study, 6).genes.copy()
    study.tell(study.ask(PLANE), state=TrialState.FAIL)  # has no result, so it is not one of the six
    np.testing.assert_array_equal(generations(study, 6).genes, parents)
    study.optimize(schaffer, n_trials=1)
    assert (generations(study, 6).genes != parents).any()


def test_grown_and_made_at_once_are_equal() -> None:
    study = searched(NSGAIISampler(population_size=6), 33)
    grown = generations(study, 6)
    other = _Generations(PLANE, 6)
    other.extend(study.history)
    np.testing.assert_array_equal(grown.genes, other.genes)
    np.testing.assert_array_equal(grown.place, other.place)


def test_parents_win_their_tournaments() -> None:
    """The better of two, never the same one twice; of k members in their order the i-th wins with (2(k-i)-1) / k^2."""
    study = searched(NSGAIISampler(population_size=4), 12)
    found = generations(study, 4)
    rng = np.random.default_rng(0)
    pairs = [_selected(found, 2, rng) for _ in range(3000)]
    assert all(pair is not None and (pair[0] != pair[1]).any() for pair in pairs)
    if len(set(found.place.tolist())) == 4:
        first = [int(np.flatnonzero((found.genes == pair[0]).all(axis=1))[0]) for pair in pairs if pair is not None]
        np.testing.assert_allclose(np.bincount(first, minlength=4) / 3000, np.array([7, 5, 3, 1]) / 16, atol=0.03)


def test_feasible_ones_survive() -> None:
    study = create_study(sampler=NSGAIISampler(population_size=4), directions=TWO, space=PLANE, seed=0)
    violations = [3.0, -1.0, 2.0, 1.0, 0.5, -1.0, 4.0, 5.0]
    for violation in violations:
        trial = study.ask(PLANE)
        trial.set_constraint("c", violation)
        study.tell(trial, (violation, 0.0))
    alive = {tuple(g) for g in generations(study, 4).genes}
    assert alive == {tuple(study.trials[k].params.values()) for k in (1, 5, 4, 3)}


def test_finds_the_front() -> None:
    """ZDT1 in six dimensions (Zitzler, Deb and Thiele 2000): hypervolume against random search."""
    space = Space({f"x{i}": Float(0, 1) for i in range(6)})

    def zdt1(trial: Any) -> tuple[float, float]:
        x = list(suggest_all(trial, space).values())
        g = 1 + 9 * sum(x[1:]) / 5
        return x[0], g * (1 - (x[0] / g) ** 0.5)

    def volume(sampler: Any, seed: int) -> float:
        study = create_study(sampler=sampler, directions=["minimize", "minimize"], space=space, seed=seed)
        study.optimize(zdt1, n_trials=200)
        front = study.history.loss[study.history.pareto_rows]
        total, height = 0.0, 6.0
        for a, b in front[np.argsort(front[:, 0])]:
            if b < height and a < 1.1:
                total, height = total + (1.1 - a) * (height - b), b
        return total

    ours = [volume(NSGAIISampler(population_size=20), seed) for seed in range(3)]
    paper = [volume(NSGAIISampler(population_size=20, crossover="sbx", mutation="polynomial"), s) for s in range(3)]
    random = [volume(get_sampler("random"), seed) for seed in range(3)]
    assert min(ours) > max(random)
    assert min(paper) > max(random)


def test_three_objectives_and_one() -> None:
    space = Space({"x": Float(0, 1), "k": Int(1, 4), "c": Categorical(["a", "b"])})
    study = create_study(sampler=NSGAIISampler(population_size=5), directions=["minimize"] * 3, space=space, seed=0)
    study.optimize(
        lambda t: (lambda p: (p["x"], p["k"] * 1.0, float(p["c"] == "a")))(suggest_all(t, space)), n_trials=22
    )
    assert len({tuple(t.params.values()) for t in study.trials}) == 22
    one = create_study(sampler=NSGAIISampler(population_size=5), space=PLANE, seed=0)
    one.optimize(lambda t: (suggest_all(t, PLANE)["x"] - 0.3) ** 2, n_trials=60)
    assert one.best_value < 1e-3


def test_sbx_is_narrower_for_several_objectives() -> None:
    sampler = NSGAIISampler(crossover="sbx")
    assert (sampler._breeder(1).crossover, sampler._breeder(2).crossover) == (SBXCrossover(2.0), SBXCrossover(20.0))
    assert NSGAIISampler(crossover=SBXCrossover(7.0))._breeder(2).crossover == SBXCrossover(7.0)


def test_operators_come_back_from_a_log() -> None:
    sampler = NSGAIISampler(crossover=SBXCrossover(), mutation={"name": "polynomial", "eta": 5.0})
    assert sampler.mutation == PolynomialMutation(5.0)
    assert from_spec(sampler.spec()) == sampler


@pytest.mark.parametrize("value", [1e300, -1.7e308, float("inf")])
@pytest.mark.filterwarnings("error")
def test_extreme_values(value: float) -> None:
    study = create_study(sampler=NSGAIISampler(population_size=4), directions=TWO, space=PLANE, seed=0)
    for k in range(14):
        trial = study.ask(PLANE)
        study.tell(trial, (value, float(k % 3)) if k % 2 else (0.0, value))
    batch = study.sampler.propose(PLANE, study.history, stream(0, 1), 5)
    assert len({tuple(p.params.values()) for p in batch}) == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"population_size": 1}, InvalidValueError, "at least 2"),
        ({"population_size": 2, "crossover": "spx"}, InvalidValueError, "at least 3"),
        ({"crossover_prob": -0.1}, InvalidValueError, "crossover_prob"),
        ({"swapping_prob": None}, InvalidTypeError, "swapping_prob"),
        ({"mutation_prob": 2}, InvalidValueError, "mutation_prob"),
        ({"mutation": "shift"}, InvalidValueError, "gaussian, polynomial"),
        ({"init": "grid"}, InvalidValueError, "sobol, random"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NSGAIISampler(**options)
