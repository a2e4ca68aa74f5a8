"""Genetic algorithm: how the population is rebuilt, what children are made of, and that it searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.streams import stream
from tunesmith.numerics.variation import GaussianMutation, SBXCrossover
from tunesmith.samplers import GeneticSampler, from_spec, get_sampler
from tunesmith.samplers._population import chromosomes
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})
MIXED = Space(
    {"x": Float(0, 1), "k": Int(1, 64, log=True), "c": Categorical(["a", "b", "c", "d"]), "deep": Float(0, 1)},
    {"deep": "c == 'b'"},
)


def bowl(params: dict[str, Any]) -> float:
    return sum((v - 0.3) ** 2 for v in params.values())


def search(sampler: GeneticSampler, trials: int, seed: int = 3, space: Space = CUBE) -> Study:
    study = create_study(sampler=sampler, space=space, seed=seed)
    study.optimize(lambda t: bowl(suggest_all(t, space)), n_trials=trials)
    return study


def members(study: Study, sampler: GeneticSampler) -> list[int]:
    """Trial numbers of the population."""
    space = study.history
    with space.memo(*sampler._memo(CUBE)) as population:
        return [int(study.history.number[m.row]) for m in population.members]


def tell(study: Study, values: list[float | None]) -> None:
    """Ask for as many trials as there are values, and tell them; None fails."""
    for value in values:
        trial = study.ask(CUBE)
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)


# -- the population ---------------------------------------------------------------------------------------------


def test_elitist_replacement_keeps_the_best() -> None:
    sampler = GeneticSampler(population_size=3)
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    tell(study, [5.0, 1.0, None, 4.0, 3.0, 9.0, 2.0, float("nan")])
    assert members(study, sampler) == [1, 6, 4]


def test_ageing_keeps_the_youngest() -> None:
    sampler = GeneticSampler(population_size=3, replacement="ageing")
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    tell(study, [0.0, 1.0, None, 4.0, 3.0, 9.0, 2.0])
    assert members(study, sampler) == [4, 5, 6]


def test_generations_keep_their_elites() -> None:
    sampler = GeneticSampler(population_size=3, replacement="generational", n_elites=2)
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    tell(study, [1.0, 2.0, 3.0, 9.0, 8.0])
    assert members(study, sampler) == [0, 1, 2]  # the second generation is not complete
    tell(study, [None, 7.0])
    assert members(study, sampler) == [0, 1, 6]
    assert members(study, GeneticSampler(population_size=3, replacement="generational", n_elites=0)) == [6, 4, 3]


def test_infeasible_ones_are_worse_and_the_pruned_have_their_value() -> None:
    sampler = GeneticSampler(population_size=3)
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    for violation, value in ((2.0, 0.0), (1.0, 0.5), (-1.0, 7.0)):
        trial = study.ask(CUBE)
        trial.set_constraint("c", violation)
        study.tell(trial, value)
    pruned = study.ask(CUBE)
    pruned.report(6.0, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    assert members(study, sampler) == [3, 2, 1]


def test_enqueued_trials_are_members() -> None:
    sampler = GeneticSampler(population_size=3)
    study = create_study(sampler=sampler, space=CUBE, seed=0)
    study.enqueue_trial({"a": 0.3, "b": 0.3, "c": 0.3})
    study.optimize(lambda t: bowl(suggest_all(t, CUBE)), n_trials=8)
    assert members(study, sampler)[0] == 0


def test_grown_and_made_at_once_are_equal() -> None:
    for replacement in ("elitist", "generational", "ageing"):
        sampler = GeneticSampler(population_size=4, replacement=replacement)
        study = search(sampler, 30)
        grown = members(study, sampler)
        study.history._shape.memos._found.clear()
        assert members(study, sampler) == grown


# -- children ---------------------------------------------------------------------------------------------------


def test_a_child_by_hand() -> None:
    """Tournament, uniform crossover and Gaussian mutation, draw by draw."""
    sampler = GeneticSampler(
        population_size=4, tournament_size=2, crossover="uniform", crossover_prob=1.0, mutation_prob=0.4,
        mutation=GaussianMutation(0.1), init="random",
    )  # fmt: skip
    study = search(sampler, 4)
    x = np.array([[t.params[n] for n in CUBE] for t in study.trials])
    ranked = sorted(range(4), key=lambda k: study.trials[k].value)
    rng = stream(3, 4)
    first = ranked[min(rng.integers(4, size=2))]
    others = [k for k in ranked if k != first]
    second = others[min(rng.integers(3, size=2))]
    assert rng.random() < 1.0
    child = np.where(rng.random(3) < 0.5, x[second], x[first])
    mutates = rng.random(3) < 0.4
    if not mutates.any():
        mutates[rng.integers(3)] = True
    moved = np.abs(np.mod(child + 0.1 * rng.normal(size=3) + 1, 2) - 1)
    trial = study.ask(CUBE)
    np.testing.assert_allclose([trial.params[n] for n in CUBE], np.where(mutates, moved, child))


def test_regularized_evolution_changes_one_parameter_of_one_parent() -> None:
    sampler = get_sampler("regularized-evolution", population_size=5, mutation_prob=0.0)
    study = search(sampler, 40)
    rows = np.array([[t.params[n] for n in CUBE] for t in study.trials])
    for k in range(5, 40):
        changed = (rows[k] != rows[k - 5 : k]).sum(axis=1)
        assert changed.min() == 1


def test_elitist_selection_breeds_the_best_alone() -> None:
    sampler = GeneticSampler(selection="elitist", n_elites=1, crossover_prob=0.0, mutation_prob=0.0, population_size=5)
    study = search(sampler, 30)
    rows = np.array([[t.params[n] for n in CUBE] for t in study.trials])
    values = np.array([t.value for t in study.trials])
    for k in range(5, 30):
        assert (rows[k] != rows[np.argmin(values[:k])]).sum() == 1


def test_nothing_is_tried_twice() -> None:
    """Neither where all is countable, nor where only choices change between copies."""
    small = Space({"c": Categorical(["a", "b", "c"]), "k": Int(1, 6), "m": Int(1, 16, log=True)})
    half = Space({"x": Float(0, 1), "c": Categorical(["a", "b"]), "k": Int(1, 3)})
    for space, trials, mutation in ((small, 150, "gaussian"), (half, 120, "uniform")):
        sampler = GeneticSampler(crossover="uniform", mutation=mutation, crossover_prob=0.5, population_size=3)
        study = create_study(sampler=sampler, space=space, seed=1)
        study.optimize(lambda t, s=space: float(len(str(suggest_all(t, s)))), n_trials=trials)
        assert len({tuple(t.params.values()) for t in study.trials}) == trials


def test_everything_is_tried() -> None:
    space = Space({"c": Categorical(["a", "b", "c"]), "k": Int(1, 4)})
    study = create_study(sampler="ga", space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["k"]), n_trials=15)
    assert len({tuple(t.params.values()) for t in study.trials[:12]}) == 12


def test_a_batch_has_no_child_twice() -> None:
    space = Space({"c": Categorical(list("abcdefgh")), "k": Int(1, 8)})
    study = create_study(sampler="ga", space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["k"]), n_trials=12)
    batch = study.sampler.propose(space, study.history, stream(0, 1), 40)
    tried = {tuple(t.params.values()) for t in study.trials}
    assert len({tuple(p.params.values()) for p in batch} | tried) == 52


def test_inactive_genes_are_carried_on() -> None:
    """A child that switches a condition on has its parent's value, which the parent did not use."""
    sampler = GeneticSampler(
        population_size=3, crossover_prob=0.0, mutation="uniform", mutation_prob=0.0, init="random"
    )
    study = create_study(sampler=sampler, space=MIXED, seed=2)
    study.optimize(lambda t: float(suggest_all(t, MIXED)["c"] != "b") + t.number, n_trials=60)
    latent = {t.number: t.system_attrs["tags"]["ga.x"] for t in study.trials}
    assert all(len(x) == 4 for x in latent.values())
    for t in study.trials[3:]:
        genes = np.array(latent[t.number])
        parents = [n for n in range(3) if (np.abs(np.array(latent[n]) - genes) > 0.01).sum() <= 1]
        assert parents or t.number > 3
        if "deep" in t.params:
            assert t.params["deep"] == pytest.approx(genes[3])
        else:
            assert chromosomes(MIXED).active(genes).tolist() == [True, True, True, False]
    switched = [
        (a, b)
        for a in study.trials
        for b in study.trials[3:]
        if "deep" not in a.params and "deep" in b.params and latent[a.number][3] == latent[b.number][3]
    ]
    assert switched


def test_an_enqueued_configuration_is_completed_by_a_child() -> None:
    study = create_study(sampler=GeneticSampler(population_size=4), space=MIXED, seed=2)
    study.optimize(lambda t: bowl({"x": suggest_all(t, MIXED)["x"]}), n_trials=30)
    study.enqueue_trial({"c": "b"})
    trial = study.ask(MIXED)
    assert trial.params["c"] == "b"
    assert set(trial.params) == set(MIXED)
    assert abs(trial.params["x"] - 0.3) < 0.2


# -- the search -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"replacement": "generational"},
        {"crossover": "sbx", "mutation": "polynomial"},
        {"crossover": "undx"},
        {"replacement": "ageing", "population_size": 10, "tournament_size": 5, "crossover_prob": 0.0},
    ],
    ids=str,
)
def test_beats_random_search(options: dict[str, Any]) -> None:
    space = Space({**{f"x{i}": Float(0, 1) for i in range(4)}, "c": Categorical(["a", "b", "c"]), "k": Int(1, 9)})

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        return sum((p[f"x{i}"] - 0.2 - 0.15 * i) ** 2 for i in range(4)) + 0.3 * (p["c"] != "b") + abs(p["k"] - 3) / 9

    def median(sampler: str, **options: Any) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=get_sampler(sampler, **options), space=space, seed=seed)
            study.optimize(objective, n_trials=80)
            found.append(study.best_value)
        return float(np.median(found))

    assert median("ga", **options) < 0.8 * median("random")


def test_swap_mutation_trades_layers() -> None:
    space = Space({"w0": Int(1, 100), "w1": Int(1, 100), "lr": Float(0, 1)})
    sampler = GeneticSampler(mutation="swap", crossover_prob=0.0, mutation_prob=0.0, population_size=3)
    study = create_study(sampler=sampler, space=space, seed=0)
    study.optimize(lambda t: suggest_all(t, space)["lr"], n_trials=25)
    pairs = [(t.params["w0"], t.params["w1"]) for t in study.trials]
    assert any((b, a) in pairs[:k] for k, (a, b) in enumerate(pairs) if a != b)


# -- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        Space({f"x{i}": Float(0, 1) for i in range(500)}),
        Space({"c": Categorical(range(10_000)), "x": Float(-1e300, 1e300)}),
        Space({"x": Float(2, 2), "c": Categorical(["only"])}),
        Space({"x": Float(2, 2), "y": Float(0, 1)}),
    ],
    ids=["500", "10000", "single", "half"],
)
@pytest.mark.parametrize("value", [1.0, 1e300, -1.7e308, float("nan")])
@pytest.mark.filterwarnings("error")
def test_bad_input(space: Space, value: float) -> None:
    study = create_study(sampler="ga", space=space, seed=0)
    for _ in range(14):
        trial = study.ask(space)
        assert all(space[name].contains(v) for name, v in trial.params.items())
        if value == value:
            study.tell(trial, value)
        else:
            study.tell(trial, state=TrialState.FAIL)


def test_several_objectives() -> None:
    study = create_study(sampler="ga", directions=["minimize", "minimize"], space=CUBE)
    with pytest.raises(InvalidValueError, match="NSGAIISampler"):
        study.ask(CUBE)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"replacement": "none"}, InvalidValueError, "elitist, generational, ageing"),
        ({"selection": "roulette"}, InvalidValueError, "tournament, elitist"),
        ({"population_size": 1}, InvalidValueError, "at least 2"),
        ({"population_size": 2, "crossover": "undx"}, InvalidValueError, "at least 3"),
        ({"population_size": 2.5}, InvalidTypeError, "integer"),
        ({"selection": "elitist", "n_elites": 0}, InvalidValueError, "n_elites"),
        ({"crossover_prob": 1.5}, InvalidValueError, "crossover_prob"),
        ({"mutation_prob": "x"}, InvalidTypeError, "mutation_prob"),
        ({"crossover": "two-point"}, InvalidValueError, "blx-alpha, sbx"),
        ({"crossover": {"eta": 3}}, InvalidTypeError, "mapping with such a name"),
        ({"mutation": {"name": "gaussian", "width": 3}}, InvalidValueError, "width"),
        ({"mutation": 3}, InvalidTypeError, "gaussian, polynomial"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GeneticSampler(**options)


def test_operators_come_back_from_a_log() -> None:
    sampler = GeneticSampler(crossover=SBXCrossover(eta=3.0), mutation={"name": "gaussian", "sigma": 0.3})
    assert sampler.mutation == GaussianMutation(0.3)
    assert from_spec(sampler.spec()) == sampler
    assert GeneticSampler(crossover={"name": "sbx", "eta": 3.0}).crossover == sampler.crossover

    class Own(GaussianMutation):
        pass

    assert GeneticSampler(mutation=Own()).spec()["args"] is None
