"""Grid search: against ``itertools.product``, and what is particular about it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import Categorical, Float, Int, Space, create_study, create_trial, logging
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, SearchSpaceExhaustedError
from tunesmith.samplers import GridSampler, from_spec
from tunesmith.samplers._axes import axis
from tunesmith.samplers._cells import Cells, lattice
from tunesmith.study import Study, suggest_all

AXES: dict[str, list[Any]] = {"x": [-50, 0, 50], "c": ["a", None], "k": [1, 2, 4, 8]}


def objective(trial: Any) -> float:
    x = trial.suggest_float("x", -100, 100)
    c = trial.suggest_categorical("c", ["b", "a", None])
    return x * x + (c is None) + trial.suggest_int("k", 1, 10)


def visited(study: Study) -> list[tuple[Any, ...]]:
    return [tuple(t.params[n] for n in ("x", "c", "k")) for t in study.trials]


@pytest.mark.parametrize("declared", [True, False])
def test_every_cell_once(declared: bool) -> None:
    space = Space({"x": Float(-100, 100), "c": Categorical(["b", "a", None]), "k": Int(1, 10)}) if declared else None
    study = create_study(sampler=GridSampler(AXES), space=space, seed=1)
    study.optimize(objective)  # ends by itself
    assert sorted(visited(study), key=str) == sorted(itertools.product(*AXES.values()), key=str)
    assert all(type(x) is float and type(k) is int for x, _, k in visited(study))
    assert study.best_value == 1.0
    with pytest.raises(SearchSpaceExhaustedError):
        study.ask()


def test_order() -> None:
    def order(seed: int, **options: Any) -> list[tuple[Any, ...]]:
        study = create_study(sampler=GridSampler(AXES, **options), seed=seed)
        study.optimize(objective)
        return visited(study)

    assert order(0, shuffle=False) == [(float(x), c, k) for x, c, k in itertools.product(*AXES.values())]
    assert order(0) == order(0) != order(1)
    assert order(0) != order(0, shuffle=False)


def test_counts_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    sampler = GridSampler(AXES)
    assert sampler.n_cells == len(sampler) == 24
    assert sampler
    logging.set_verbosity(logging.INFO)
    study = create_study(sampler=sampler, seed=1)
    study.optimize(objective, n_trials=3)
    assert capsys.readouterr().err.count("The grid has 24 cells: x 3, c 2, k 4.") == 1
    with pytest.raises(InvalidValueError, match="from_space"):
        _ = GridSampler().n_cells


def test_failed_pending_and_interrupted_cells_are_taken() -> None:
    study = create_study(sampler=GridSampler({"k": [1, 2, 3, 4]}), seed=1)
    pending = study.ask()

    def fails(trial: Any) -> float:
        trial.suggest_int("k", 1, 4)
        raise ValueError

    study.optimize(fails, n_trials=1, catch=ValueError)
    study.optimize(lambda t: t.suggest_int("k", 1, 4))
    assert len(study.trials) == 4
    study.tell(pending, pending.suggest_int("k", 1, 4))
    assert sorted(t.params["k"] for t in study.trials) == [1, 2, 3, 4]


def test_a_trial_that_came_another_way_counts_as_its_cell() -> None:
    """Enqueued, added, or left by another grid; by value, so that 1 and 1.0 are the same number."""
    study = create_study(sampler=GridSampler(AXES), seed=1)
    study.enqueue_trial({"x": 50, "c": "a", "k": 4})
    study.enqueue_trial({"x": 50.5, "c": "a", "k": 4})  # on no cell
    distributions = {"x": Float(-100, 100), "c": Categorical(["b", "a", None]), "k": Int(1, 10)}
    study.add_trial(create_trial(value=1.0, params={"x": 0.0, "c": None, "k": 1}, distributions=distributions))
    study.optimize(objective)
    assert len(study.trials) == 24 + 1
    assert len(set(visited(study))) == 25
    wider = create_study(sampler=GridSampler({**AXES, "k": [1, 2, 4, 8, 9]}), seed=1)
    wider.add_trials(study.trials)
    wider.optimize(objective)
    assert len(wider.trials) == 25 + 6


def test_partly_enqueued() -> None:
    """The rest is drawn from the axes; a name off the grid is an error, as in Optuna."""
    study = create_study(sampler=GridSampler(AXES), seed=1)
    study.enqueue_trial({"x": 7})
    study.optimize(objective, n_trials=1)
    assert study.trials[0].params["x"] == 7
    assert study.trials[0].params["c"] in AXES["c"]
    assert study.trials[0].params["k"] in AXES["k"]
    with pytest.raises(ValueError, match="'z' is not found in the given grid"):
        study.optimize(lambda t: t.suggest_float("z", 0, 1), n_trials=1)


def test_values_outside_the_range_are_used_with_a_warning() -> None:
    study = create_study(sampler=GridSampler({"x": [5]}), seed=1)
    with pytest.warns(UserWarning, match="outside"):
        study.optimize(lambda t: t.suggest_float("x", 0, 1))
    assert [t.params for t in study.trials] == [{"x": 5.0}]
    study = create_study(sampler=GridSampler({"x": ["b"]}), seed=1)
    with pytest.raises(ValueError, match="'b'"):
        study.optimize(lambda t: t.suggest_categorical("x", ["a"]))


# -- cutting a space -----------------------------------------------------------------------------------------------


def test_axes() -> None:
    assert axis(Float(0, 1), 5) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert axis(Float(0, 1), 1) == (0.5,)
    assert axis(Float(1e-4, 1e-1, log=True), 4) == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1))
    assert axis(Float(1e-4, 1e-1, log=True), 4)[::3] == (1e-4, 1e-1)
    assert axis(Float(1e-4, 1e-2, log=True), 1) == pytest.approx((1e-3,))
    assert axis(Float(0, 1, step=0.25), 9) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert axis(Float(0, 1, step=0.25), 3) == (0.0, 0.5, 1.0)
    assert axis(Int(1, 3), 5) == (1, 2, 3)
    assert axis(Int(0, 10), 3) == (0, 5, 10)
    assert axis(Int(0, 20, step=10), 2) == (0, 20)
    assert axis(Int(1, 8, log=True), 4) == (1, 2, 4, 8)
    assert axis(Int(1, 8, log=True), 6) == (1, 2, 3, 4, 5, 8)
    assert axis(Int(0, 10**30), 3) == (0, 5 * 10**29, 10**30)
    assert axis(Float(-1.7e308, 1.7e308), 3) == (-1.7e308, 0.0, 1.7e308)
    assert axis(Categorical(["a", 1, None]), 3) == ("a", 1, None)
    assert axis(Float(2, 2), 4) == (2.0,)


@given(low=st.integers(1, 50), width=st.integers(0, 300), levels=st.integers(1, 40), log=st.booleans())
def test_integer_axes_have_as_many_values_as_asked_for(low: int, width: int, levels: int, log: bool) -> None:
    distribution = Int(low, low + width, log=log)
    found = axis(distribution, levels)
    assert len(set(found)) == len(found) == min(levels, width + 1)
    assert list(found) == sorted(found)
    assert all(distribution.contains(v) for v in found)
    if len(found) > 1:
        assert (found[0], found[-1]) == (low, low + width)


def test_from_space() -> None:
    space = Space({"lr": Float(1e-3, 1e-1, log=True), "k": Int(1, 2), "c": Categorical(["a", "b", "c"])})
    sampler = GridSampler.from_space(space, 3)
    assert sampler.search_space is not None
    assert sampler.search_space["lr"] == pytest.approx((1e-3, 1e-2, 1e-1))
    assert sampler.search_space["k"] == (1, 2)
    assert sampler.search_space["c"] == ("a", "b", "c")
    assert GridSampler.from_space(space, {"lr": 7}).n_cells == 7 * 2 * 3
    assert GridSampler.from_space(space).n_cells == 5 * 2 * 3
    assert GridSampler.from_space(space, {"c": 2, "k": 1}).n_cells == 5 * 1 * 2
    study = create_study(sampler=GridSampler(points={"lr": 4}), space=space)
    study.optimize(lambda t: float(len(suggest_all(t, space))))
    assert len(study.trials) == 4 * 2 * 3
    study = create_study(sampler="grid", space=space, budget=14)
    study.optimize(lambda t: float(len(suggest_all(t, space))))
    assert len(study.trials) == 2 * 2 * 3


def test_within() -> None:
    def levels(budget: int, **space: Any) -> list[int]:
        sampler = GridSampler.within(space, budget)
        assert sampler.search_space is not None
        assert sampler.n_cells <= budget
        return [len(v) for v in sampler.search_space.values()]

    x, c, k = Float(0, 1), Categorical(["a", "b", "c"]), Int(1, 2)
    assert levels(25, a=x) == [25]
    assert levels(25, a=x, b=x) == [5, 5]
    assert levels(23, a=x, b=x) == [5, 4]
    assert levels(25, a=x, b=x, c=x) == [4, 3, 2]
    assert levels(25, a=x, b=x, c=x, d=x, e=x) == [3, 2, 2, 2, 1]
    assert levels(25, a=x, c=c) == [8, 3]
    assert levels(25, a=x, k=k, c=c) == [4, 2, 3]
    assert levels(1, a=x, k=k) == [1, 1]
    assert GridSampler.within({"a": x}, 1).search_space == {"a": (0.5,)}


def test_within_less_than_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    sampler = GridSampler.within({"a": Categorical(range(4)), "b": Categorical(range(3)), "x": Float(0, 1)}, 9)
    assert sampler.search_space == {"a": (0, 1, 2, 3), "b": (0, 1), "x": (0.5,)}
    assert "leaves some of ['b'] out" in capsys.readouterr().err


@given(st.integers(1, 300), st.lists(st.sampled_from([math.inf, 2, 3, 7]), min_size=1, max_size=5))
def test_within_never_exceeds_the_budget_and_wastes_little(budget: int, sizes: list[float]) -> None:
    space = {f"p{i}": Float(0, 1) if s == math.inf else Int(1, int(s)) for i, s in enumerate(sizes)}
    sampler = GridSampler.within(space, budget)
    assert sampler.search_space is not None
    found = [len(v) for v in sampler.search_space.values()]
    assert math.prod(found) == sampler.n_cells <= budget
    for i, size in enumerate(sizes):  # no axis could be finer
        assert found[i] == size or sampler.n_cells // found[i] * (found[i] + 1) > budget
    free = [n for n, size in zip(found, sizes, strict=True) if n < size]
    assert not free or max(free) <= 2 * min(free) + 1  # even


# -- conditions ----------------------------------------------------------------------------------------------------

NET = Space(
    {"lr": Float(0.1, 1), "layers": Int(1, 3), "f1": Int(8, 16), "f2": Int(8, 16), "f3": Int(8, 16)},
    {"f2": "layers >= 2", "f3": "layers >= 3"},
)


def test_inactive_axes_make_no_duplicates() -> None:
    def run(study: Study) -> list[tuple[Any, ...]]:
        study.optimize(lambda t: float(len(suggest_all(t, NET))))
        return [tuple(sorted(t.params.items())) for t in study.trials]

    axes = {"lr": [0.1, 1.0], "layers": [1, 2, 3], "f1": [8, 16], "f2": [8, 16], "f3": [8, 12, 16]}
    expected = {
        tuple(sorted(NET.active(dict(zip(axes, values, strict=True))).items()))
        for values in itertools.product(*axes.values())
    }
    sampler = GridSampler(axes, conditions=NET.conditions)
    assert sampler.n_cells == len(expected) == 2 * (2 + 4 + 12)
    for made in (sampler, GridSampler(axes), GridSampler(axes, shuffle=False)):
        found = run(create_study(sampler=made, space=NET))
        assert len(found) == len(expected)
        assert set(found) == expected
    within = GridSampler.within(NET, 50)
    assert 40 <= within.n_cells <= 50
    assert len(set(run(create_study(sampler=within, space=NET)))) == within.n_cells


def test_conditions_on_names_off_the_grid_are_left_to_the_objective() -> None:
    study = create_study(sampler=GridSampler({"f2": [8, 16], "lr": [0.5]}), space=NET)
    with pytest.raises(ValueError, match="'layers' is not found"):
        study.optimize(lambda t: float(len(suggest_all(t, NET))))


def test_cells_are_numbered_without_being_listed() -> None:
    cells = Cells(lattice({n: tuple(range(3)) for n in "abcde"}, {"c": "a > 0", "e": "c in (1, 2)"}))
    every = [cells.params(k) for k in range(cells.n)]
    assert len({tuple(p.items()) for p in every}) == cells.n
    assert [cells.find(p) for p in every] == list(range(cells.n))
    assert cells.find({**every[0], "other": 1}) == 0
    assert cells.find({"a": 0, "b": 0}) is None
    assert cells.find({**every[0], "b": 7}) is None
    assert cells.find({**every[0], "b": 0.0}) == cells.find({**every[0], "b": 0})


def test_a_grid_of_millions_costs_no_memory() -> None:
    axes = {n: list(range(20)) for n in "abcde"}  # 3.2 million cells
    study = create_study(sampler=GridSampler(axes), seed=2)
    study.optimize(lambda t: float(sum(t.suggest_int(n, 0, 19) for n in axes)), n_trials=40)
    found = np.array([list(t.params.values()) for t in study.trials])
    assert len(np.unique(found, axis=0)) == 40
    assert (found.std(axis=0) > 3).all()  # spread over all axes: a true shuffle


# -- arguments -----------------------------------------------------------------------------------------------------


def test_wrong_arguments() -> None:
    wrong: list[tuple[type[Exception], str, Any]] = [
        (InvalidValueError, "'x' has no values", {"x": []}),
        (InvalidValueError, "is empty", {}),
        (InvalidTypeError, "mapping", [1, 2]),
        (InvalidTypeError, "sequence of values", {"x": 3}),
        (InvalidTypeError, "sequence of values", {"x": "abc"}),
        (InvalidTypeError, "holds", {"x": [object()]}),
        (InvalidTypeError, "complex", {"x": [1j]}),
        (InvalidTypeError, "parameter name", {3: [1]}),
        (InvalidValueError, "16,777,216 cells", {n: range(64) for n in "abcd"}),
    ]
    for error, message, search_space in wrong:
        with pytest.raises(error, match=message):
            GridSampler(search_space)
    with pytest.raises(InvalidValueError, match="not both"):
        GridSampler(AXES, points=3)
    with pytest.raises(InvalidValueError, match="at least 1"):
        GridSampler(points=0)
    with pytest.raises(InvalidTypeError, match="positive integer"):
        GridSampler.from_space(NET, 2.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="nothere"):
        GridSampler.from_space(NET, {"nothere": 2})
    for budget in (0, 10**9):
        with pytest.raises(InvalidValueError, match="between 1 and 10,000,000"):
            GridSampler.within(NET, budget)
    with pytest.raises(InvalidTypeError, match="budget"):
        GridSampler.within(NET, True)


def test_values_survive_the_log() -> None:
    axes = {"c": [True, 1, 1.0, None, (1, (2, 3)), [4, 5], "x", math.inf], "n": np.array([1.5, 2.5])}
    sampler = GridSampler(axes, seed=3)
    assert sampler.search_space == {"c": (True, 1, 1.0, None, (1, (2, 3)), (4, 5), "x", math.inf), "n": (1.5, 2.5)}
    again = from_spec(sampler.spec())
    assert again == sampler
    assert list(map(type, again.search_space["c"])) == list(map(type, sampler.search_space["c"]))  # type: ignore[attr-defined]
    assert GridSampler({"x": [1, 1, 2, 1]}).search_space == {"x": (1, 2)}
    assert GridSampler(AXES, 7).study_seed == 7
