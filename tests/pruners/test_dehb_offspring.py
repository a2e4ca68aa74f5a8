"""DEHB: which configurations it trains."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pruners.dehb_studies import CUBE, FIRST, LATER, NINE, generator, job, run, tags

import tunesmith
from tunesmith import Categorical, Float, Int, Space
from tunesmith.executors.simulator import SimulatorExecutor
from tunesmith.pruners._offspring import offspring, vectors
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialPruned, TrialState


@pytest.mark.parametrize(("f", "cr"), [(0.5, 0.5), (0.8, 0.9), (0.5, 0.0), (1.0, 1.0)])
def test_rand_1_bin(f: float, cr: float) -> None:
    """Gene by gene: the mutant's or the target's, one mutant's in any case, uniform where the mutant is outside."""
    rng, target = np.random.default_rng(0), np.full(4, 0.25)
    parents = np.array([[0.5, 0.9, 0.1, 0.5], [0.5, 0.9, 0.1, 0.7], [0.3, 0.1, 0.8, 0.5]])
    mutant = parents[0] + f * (parents[1] - parents[2])
    outside = (mutant < 0) | (mutant > 1)
    assert outside.tolist() == [False, True, True, False]
    found = np.array([offspring(target, parents, f, cr, rng) for _ in range(4000)])
    taken = found != target
    assert taken.any(axis=1).all()
    np.testing.assert_allclose(taken.mean(axis=0), 1 - (1 - cr) * 3 / 4, atol=0.03)  # by chance, or one in any case
    assert all(np.allclose(found[taken[:, j], j], mutant[j]) for j in np.flatnonzero(~outside))
    drawn = found[taken[:, 1], 1]
    assert ((drawn >= 0) & (drawn <= 1)).all()
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.5, 12**-0.5], atol=0.03)


#: With so many genes it is rare that all that a triple of parents cannot explain have left the cube.
MANY = Space({f"x{i}": Float(0, 1) for i in range(8)})


def bowl(trial: Any, epochs: int = 9) -> Iterator[float]:
    value = sum((trial.suggest_float(name, 0, 1) - 0.4) ** 2 for name in MANY)
    for step in range(1, epochs + 1):
        yield value + trial.params["x0"] / step


class Replay:
    """The populations of R = 9, kept with dictionaries: level -> place -> (loss, number, vector)."""

    sizes, levels, places = [[9, 3, 1], [0, 5, 1], [0, 0, 3]], (1, 3, 9), (9, 5, 3)

    def __init__(self) -> None:
        self.held: list[dict[int, tuple[float, int, list[float]]]] = [{}, {}, {}]
        self.turn = [0, 0, 0]
        self.halved: dict[int, list[Any]] = defaultdict(list)

    def at(self, trial: Any, level: int) -> float:
        """Its loss at a level; the last one if it has ended before."""
        reports = trial.intermediate_values
        return reports.get(self.levels[level], reports[max(reports)])

    def place(self, level: int) -> int:
        return self.turn[level] % self.places[level]

    def evaluated(self, trial: Any, level: int) -> None:
        place, loss = self.place(level), self.at(trial, level)
        self.turn[level] += 1
        if place not in self.held[level] or loss <= self.held[level][place][0]:
            vector = list(tags(trial).get("x", trial.params.values()))
            self.held[level][place] = (loss, trial.number, vector)

    def halve(self, bracket: int) -> None:
        """A bracket of the first round whose first rung is over."""
        group = self.halved[bracket]
        for level in range(bracket + 1, 3):
            group = sorted(group, key=lambda t, below=level - 1: self.at(t, below))[: self.sizes[bracket][level]]  # type: ignore[misc]
            for trial in group:
                self.evaluated(trial, level)

    def pool(self, bracket: int, level: int) -> list[Any]:
        """Parents of the next offspring; perhaps too few."""
        if level == bracket % 3:
            return [held for place, held in self.held[level].items() if place != self.place(level)]
        return sorted(self.held[level - 1].values())[: self.sizes[bracket % 3][level]]

    def explains(self, trial: Any) -> bool:
        """Whether some triple of parents gives all genes that are not the target's and have not left the cube."""
        bracket, level, _ = job(trial)
        child, target = np.array(tags(trial)["x"]), np.array(self.held[level][self.place(level)][2])
        pool = self.pool(bracket, level)
        known = {number for _, number, _ in pool}
        rest = {held[1]: held for held in itertools.chain(*(p.values() for p in self.held)) if held[1] not in known}
        fixed = len(pool) if len(pool) < 3 else 0  # so many of them must be parents
        vectors = [np.array(vector) for _, _, vector in (pool if not fixed else [*pool, *rest.values()])]
        own = child == target
        for triple in itertools.permutations(range(len(vectors)), 3):
            if set(range(fixed)) <= set(triple):
                a, b, c = (vectors[i] for i in triple)
                mutant = a + 0.5 * (b - c)
                if (own | np.isclose(child, mutant, rtol=0, atol=1e-12) | (mutant < 0) | (mutant > 1)).all():
                    return not own.all()
        return False


@pytest.mark.parametrize("epochs", [9, 4])
def test_every_offspring_is_made_as_the_paper_says(epochs: int) -> None:
    """In the later rounds, when no place is free any more: random vectors would not be known here. Trainings that end
    after four epochs have their last value at the level of nine."""
    study, replay = run(objective=lambda trial: bowl(trial, epochs), space=MANY), Replay()
    for trial in study.trials:
        bracket, level, index = job(trial)
        if 0 < bracket <= 3 and level == bracket % 3 and index == 0:
            replay.halve(bracket - 1)
        if bracket < 3:
            replay.halved[bracket].append(trial)
        else:
            assert [len(held) for held in replay.held] == [9, 5, 3]
            assert replay.explains(trial), trial.number
        replay.evaluated(trial, level)
    assert len(study.trials) == FIRST + 2 * LATER


def test_another_seed_another_search() -> None:
    once, again, other = (run(n=30, seed=seed) for seed in (0, 0, 1))
    assert [t.params for t in once.trials] == [t.params for t in again.trials]
    assert all(a.params != b.params for a, b in zip(once.trials, other.trials, strict=True))


MIXED = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True), "layers": Int(1, 3), "f2": Int(8, 64, log=True), "f3": Int(8, 64),
        "optimizer": Categorical(["sgd", "adam"]), "momentum": Float(0, 1),
    },
    {"f2": "layers >= 2", "f3": "layers >= 3", "momentum": "optimizer == 'sgd'"},
)  # fmt: skip


def mixed(trial: Any) -> Iterator[float]:
    value = abs(np.log10(trial.suggest_float("lr", 1e-4, 1e-1, log=True)) + 2.5)
    layers = trial.suggest_int("layers", 1, 3)
    value += trial.suggest_int("f2", 8, 64, log=True) / 100 if layers >= 2 else 0.3
    value += trial.suggest_int("f3", 8, 64) / 100 if layers >= 3 else 0.2
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        value += trial.suggest_float("momentum", 0, 1)
    for step in range(1, 10):
        yield value + 1 / step


@pytest.mark.parametrize("declared", [True, False])
def test_mixed_and_conditional_spaces(declared: bool) -> None:
    """Declared, or met on the way; vectors are whole, configurations have what their conditions say."""
    study = tunesmith.create_study(space=MIXED if declared else None, sampler="random", pruner=NINE, seed=1)
    study.optimize(mixed, n_trials=FIRST + LATER)
    made = study.trials[FIRST:]
    for trial in made:
        assert len(tags(trial)["x"]) == 6
        if declared:
            assert set(trial.params) == set(MIXED.active(trial.params))
            unit = np.array(tags(trial)["x"])
            params = MIXED.to_params(MIXED.decode(unit[None])[0])
            assert trial.params == {name: params[name] for name in trial.params}
    assert len({trial.params["optimizer"] for trial in made}) == 2
    assert len({trial.params["layers"] for trial in made}) > 1
    check_reload(study)


def test_copies_in_mixed_and_conditional_spaces() -> None:
    """The very configuration, and the vector that it was made from."""

    def function(trial: Any) -> float:
        value = np.nan
        for step, value in enumerate(mixed(trial), 1):
            trial.report(value, step)
            if trial.should_prune():
                raise TrialPruned
        return value

    study = tunesmith.create_study(space=MIXED, sampler="random", pruner=NINE, seed=1)
    study.optimize(function, n_trials=30)
    copies = [t for t in study.trials if "copied" in tags(t)]
    assert len(copies) == 5
    for copy in copies:
        original = study.trials[int(tags(copy)["copied"])]
        assert copy.params == original.params
        assert len(copy.params) == 6 or "x" not in tags(copy) or "x" in tags(original)
        assert tags(original).get("x", tags(copy).get("x")) == tags(copy).get("x")
    check_reload(study)


def test_vectors_are_finer_than_configurations() -> None:
    """Those of integers are kept between the values, also while a trial is paused; without a tag they are the bins'
    middles."""
    study = tunesmith.create_study(space=MIXED, sampler="random", pruner=NINE, seed=1)
    study.optimize(mixed, keep_paused=True, backend=SimulatorExecutor(4, max_reports=28))
    history, trials = study.history, {t.number: t for t in study.trials}
    space = Space(history.distributions)
    numbers = [*history.number.tolist(), *(row.number for row in history.open)]
    found = vectors(history, space, np.arange(len(numbers)))
    assert any("x" in tags(trials[row.number]) and row.state == TrialState.PAUSED for row in history.open)
    for number, vector in zip(numbers, found, strict=True):
        params = trials[number].params
        middles = space.encode(space.from_params(params)[None])[0]
        if "x" in tags(trials[number]):
            assert vector.tolist() == tags(trials[number])["x"]
            assert vector[1] != middles[1]
            assert np.floor(vector[1] * 3) == np.floor(middles[1] * 3)
        else:
            np.testing.assert_array_equal(vector, middles)


def test_new_names_are_the_samplers() -> None:
    """An objective that asks for more later on: offspring know what was met by then."""

    def growing(trial: Any) -> Iterator[float]:
        a = trial.suggest_float("a", 0, 1)
        b = trial.suggest_float("b", 0, 1) if trial.number >= 12 else 0.0
        for step in range(1, 10):
            yield a + b + 1 / step

    study = tunesmith.create_study(sampler="random", pruner=NINE, seed=0)
    study.optimize(growing, n_trials=FIRST + LATER)
    assert [len(tags(t).get("x", ())) for t in study.trials] == [0] * 9 + [1] * 4 + [2] * (FIRST + LATER - 13)
    assert all(set(t.params) == {"a", "b"} for t in study.trials[12:])


def test_small_spaces_are_not_gone_through_again_and_again() -> None:
    """Of 27 configurations no level sees one twice, although the populations have hardly any differences left. Where
    there is but one, the search goes on."""
    space = Space({name: Categorical(["u", "v", "w"]) for name in "abc"})

    def objective(trial: Any) -> Iterator[float]:
        value = sum("uvw".index(trial.suggest_categorical(name, ["u", "v", "w"])) for name in "abc")
        for step in range(1, 10):
            yield value + 1 / step

    for seed in range(3):
        study = run(objective=objective, space=space, seed=seed)
        whole = [tuple(t.params.values()) for t in study.trials if len(t.intermediate_values) == 9]
        assert len(set(whole)) == len(whole) == 15

    def alone(trial: Any) -> Iterator[float]:
        trial.suggest_categorical("a", ["u"])
        for step in range(1, 10):
            yield 1.0 / step

    assert len(run(n=FIRST + LATER, objective=alone, space=Space({"a": Categorical(["u"])})).trials) == FIRST + LATER


def test_trials_of_others_run_to_their_end_and_are_no_parents() -> None:
    study = run(n=FIRST)
    study.enqueue_trial({"a": 0.2, "b": 0.5, "c": 0.8})
    study.add_trial(tunesmith.create_trial(params={"a": 0.2, "b": 0.5, "c": 0.8}, distributions=dict(CUBE), value=-9.0))
    study.optimize(generator, n_trials=1 + LATER)
    queued = study.trials[FIRST]
    assert (tags(queued), len(queued.intermediate_values)) == ({}, 9)
    made = [t for t in study.trials[FIRST:] if tags(t)]
    assert [job(t)[0] for t in made] == [3] * 13 + [4] * 6 + [5] * 3
    assert not any(t.params["a"] == 0.2 for t in made)
