"""Brute force: everything once, in declared spaces and in those an objective spans while it runs."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.exceptions import InvalidValueError, SearchSpaceExhaustedError
from tunesmith.samplers import BruteForceSampler
from tunesmith.samplers._brute_force_tree import Node
from tunesmith.study import Study, suggest_all
from tunesmith.testing import _elsewhere, _hardship, _purity, _searches
from tunesmith.testing import samplers as kit

#: As many values as the kit runs trials, and more.
LATTICE = Space({"x": Float(-3, 5, step=0.5), "y": Float(0, 0.2, step=0.005), "z": Float(0, 1, step=0.125)})
COUNTABLE = {
    "floats": Space({"x": Float(-3, 5, step=0.25), "z": Float(0, 1, step=0.1)}),
    "conditional": Space(
        {
            "lr": Float(0, 1, step=0.01),
            "layers": Int(1, 3),
            "f2": Int(8, 64, log=True),
            "f3": Int(8, 64),
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0, 1, step=0.125),
        },
        {"f2": "layers >= 2", "f3": "layers >= 3", "momentum": "optimizer == 'sgd'"},
    ),
}
COUNTABLE = {**{k: _searches.SPACES[k] for k in ("integers", "choices", "single")}, **COUNTABLE}
COUNTABLE["single"] = Space({"i": Int(7, 7), "c": Categorical(["only"]), "k": Int(1, 40)})


def branching(trial: Any) -> float:
    total = trial.suggest_float("lr", 0, 1, step=0.01)
    if trial.suggest_categorical("model", ["linear", "net"]) == "net":
        for layer in range(trial.suggest_int("layers", 1, 3)):
            total += abs(trial.suggest_int(f"units_{layer}", 4, 64) - 20) / 60
    else:
        total += 1 + trial.suggest_float("ridge", 0, 1, step=0.25)
    return float(total)


def changing(trial: Any) -> float:
    n = trial.number
    step = {"step": 1 / 64}
    x = trial.suggest_float("x", 0, 1, **step) if n <= 5 else trial.suggest_float("x", 0.5, 3, **step)
    c = trial.suggest_categorical("c", ["a", "b"] if n <= 8 else ["b", "new", "a"])
    total = (x - 0.7) ** 2 + (c != "b")
    if n > 11:
        total += trial.suggest_int("k", 1, 9, log=True) / 10
    return float(total)


class TestKit(kit.SamplerKit):
    """The conformance kit, in countable spaces."""

    sampler_class = BruteForceSampler

    @pytest.fixture(autouse=True)
    def countable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = {"CONTINUOUS": LATTICE, "branching": branching, "changing": changing}
        for module in (kit, _hardship, _purity, _searches, _elsewhere):
            for name, value in here.items():
                monkeypatch.setattr(module, name, value, raising=False)
        for name in list(_searches.SPACES):
            monkeypatch.delitem(_searches.SPACES, name)
        for name, space in COUNTABLE.items():
            monkeypatch.setitem(_searches.SPACES, name, space)

    @pytest.mark.parametrize("name", COUNTABLE)
    @pytest.mark.parametrize("declared", [True, False], ids=["declared", "define-by-run"])
    def test_in_domain(self, sampler: Any, name: str, declared: bool) -> None:
        super().test_in_domain(sampler, name, declared)

    def test_another_process(self, sampler: Any) -> None:
        """Its spaces there are continuous ones; see test_another_process below."""


def tried(study: Study) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(sorted(t.params.items())) for t in study.trials)


def program(trial: Any) -> float:
    """Branches whose names come in different orders, and ends of different depths."""
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    if kind == "a":
        return trial.suggest_float("x", 1, 3, step=0.5)
    if kind == "b":
        late = trial.suggest_int("late", 0, 1)
        return late + (trial.suggest_int("x2", 1, 3) + trial.suggest_int("early", 4, 6) if late else 0)
    early = trial.suggest_int("early", 4, 6)
    return early + (trial.suggest_int("late", 0, 1) if early == 5 else 0)


#: a: 5; b: 1 + 9; c: 4 + 1 - 1 + 1
EVERYTHING = 5 + (1 + 9) + (2 + 2)


@pytest.mark.parametrize("seed", range(6))
def test_everything_an_objective_can_ask_for(seed: int) -> None:
    study = create_study(sampler="brute-force", seed=seed)
    study.optimize(program, n_trials=100)
    found = tried(study)
    assert set(found.values()) == {1}
    assert len(found) == EVERYTHING
    with pytest.raises(SearchSpaceExhaustedError):
        study.ask()


@pytest.mark.parametrize("seed", range(6))
def test_ranges_that_depend_on_values(seed: int) -> None:
    """The example of Optuna's documentation, and ranges without branches."""

    def objective(trial: Any) -> float:
        if trial.suggest_categorical("c", ["float", "int"]) == "float":
            return trial.suggest_float("x", 1, 3, step=0.5)
        return ranges(trial)

    def ranges(trial: Any) -> float:
        a = trial.suggest_int("a", 1, 3)
        return a + trial.suggest_int("b", a, 3)

    for program, everything in ((objective, 5 + 3 + 2 + 1), (ranges, 3 + 2 + 1)):
        study = create_study(sampler="brute-force", seed=seed)
        study.optimize(program, n_trials=60)
        assert set(tried(study).values()) == {1}
        assert len(tried(study)) == everything


@pytest.mark.parametrize("seed", range(6))
def test_choices_that_depend_on_values(seed: int) -> None:
    """A proposal cannot hold a choice that the latest range has not, so some of these come twice; none is left."""

    def objective(trial: Any) -> float:
        a = trial.suggest_int("a", 1, 3)
        return a + len(trial.suggest_categorical("d", ["u", "v", "w"][: 4 - a]))

    study = create_study(sampler="brute-force", seed=seed)
    study.optimize(objective, n_trials=60)
    assert len(tried(study)) == 3 + 2 + 1
    assert len(study.trials) < 15


@pytest.mark.parametrize("seed", range(4))
def test_several_workers_try_everything(seed: int) -> None:
    """Workers that find all known branches taken end, or join; the others try the rest."""
    for avoid in (False, True):
        study = create_study(sampler=BruteForceSampler(avoid_premature_stop=avoid), seed=seed)
        program(trial := study.ask())
        study.tell(trial, 0.0)
        open_trials: list[Any] = []
        while True:
            try:
                open_trials.append(study.ask())
                assert len(open_trials) < 500
            except SearchSpaceExhaustedError:
                if not open_trials:
                    break
            else:
                if len(open_trials) < 4:
                    continue
            study.tell(open_trials[0], program(open_trials.pop(0)))
        found = tried(study)
        assert len(found) == EVERYTHING
        repeated = sum(found.values()) - EVERYTHING
        assert repeated <= (8 if avoid else 3)  # before the branches are known, four workers may meet in one


def test_a_declared_space_with_conditions() -> None:
    space = Space(
        {"n": Int(1, 3), "c": Categorical([None, True, 1]), "f": Float(0, 1, step=0.25)}, {"f": "n >= 2 and c == None"}
    )
    study = create_study(sampler="brute-force", space=space, seed=1)
    assert [t.number for t in (study.ask() for _ in range(5))] == list(range(5))
    study.optimize(lambda t: float(len(suggest_all(t, space))), n_trials=100)
    assert len(study.trials) == 1 * 3 + 2 * 2 + 2 * 5
    everything = {repr(sorted(t.system_attrs["tags"].items())) for t in study.trials}
    assert len(everything) == len(study.trials)


def test_the_order_is_the_seeds() -> None:
    space = Space({"i": Int(0, 9), "j": Int(0, 9)})

    def order(seed: int) -> list[int]:
        study = create_study(sampler="brute-force", space=space, seed=seed)
        study.optimize(lambda t: float(sum(suggest_all(t, space).values())), n_trials=100)
        return [10 * t.params["i"] + t.params["j"] for t in study.trials]

    assert sorted(order(0)) == list(range(100))
    assert order(0) == order(0) != order(1)
    assert abs(np.corrcoef(order(0), np.arange(100))[0, 1]) < 0.3


def test_trials_of_others_count() -> None:
    space = Space({"i": Int(0, 5)})
    study = create_study(sampler="random", space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["i"]), n_trials=2)
    study.sampler = BruteForceSampler()
    study.enqueue_trial({"i": 3})
    study.optimize(lambda t: float(suggest_all(t, space)["i"]), n_trials=20)
    assert {t.params["i"] for t in study.trials} == set(range(6))
    assert len(study.trials) <= 7


def test_a_declared_name_that_is_new() -> None:
    """Trials without it are other configurations."""
    small, large = Space({"i": Int(0, 3)}), Space({"i": Int(0, 3), "k": Int(0, 2)})
    study = create_study(sampler="brute-force", seed=0)
    for space in (small, large):
        for _ in range(len(list(itertools.product(*(range(d.low, d.high + 1) for d in space.values()))))):
            trial = study.ask(space)
            study.tell(trial, float(suggest_all(trial, space)["i"]))
    assert len(tried(study)) == 4 + 12


def test_what_fails_before_it_asks_tells_nothing() -> None:
    def objective(trial: Any) -> float:
        if trial.number < 2:
            raise RuntimeError("on purpose")
        return program(trial)

    study = create_study(sampler="brute-force", seed=0)
    study.optimize(objective, n_trials=60, catch=(RuntimeError,))
    assert len([t for t in study.trials if t.params]) == EVERYTHING


def test_refusals() -> None:
    study = create_study(sampler="brute-force", space=Space({"x": Float(0, 1)}))
    with pytest.raises(InvalidValueError, match=r"'x', which is a continuum.*`step`"):
        study.ask()
    with pytest.raises(InvalidValueError, match="continuum"):
        create_study(sampler="brute-force").optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
    for space in (Space({"i": Int(0, 2**70)}), Space({f"i{k}": Int(0, 99) for k in range(4)})):
        with pytest.raises(InvalidValueError, match="more than 10,000,000"):
            create_study(sampler="brute-force", space=space).ask()


def shape(node: Node) -> Any:
    """A tree as nested tuples."""
    below = {k: shape(child) for k, child in sorted(node.children.items())}
    return node.name, node.size, node.left, tuple(below.items())


def suggested(kinds: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """What :func:`program` asks for, at random; now and then it stops early or is another program."""
    row: dict[str, Any] = {}
    for name in ("kind", "late", "x2", "early"):
        if name not in row and rng.random() < 0.85 + 0.15 * (name == "kind"):
            row[name] = (kinds[name], kinds[name].choices[int(rng.integers(len(kinds[name].choices)))])
    return row


@pytest.mark.parametrize("seed", range(10))
def test_a_tree_that_grew_is_the_one_made_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = {name: Categorical(list(range(k))) for name, k in (("kind", 3), ("late", 2), ("x2", 3), ("early", 4))}
    order, rows = tuple(kinds), [suggested(kinds, rng) for _ in range(40)]
    grown = Node([], order)
    for k, row in enumerate(rows):
        grown.add(row, order)
        assert shape(grown) == shape(Node(rows[: k + 1], order))
    assert grown.left == grown.free([])
