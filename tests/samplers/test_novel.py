"""What is known of a study's configurations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.samplers._novel import Novel
from tunesmith.study import Study, suggest_all


def evaluated(space: Space, *configurations: dict[str, object]) -> Study:
    study = create_study(space=space, seed=0)
    for params in configurations:
        study.enqueue_trial(params)
    study.optimize(lambda t: float(len(suggest_all(t, space))), n_trials=len(configurations))
    return study


def test_inactive_parameters_do_not_make_a_configuration_new() -> None:
    space = Space({"k": Int(1, 2), "x": Float(0, 1)}, conditions={"x": "k == 2"})
    study = evaluated(space, {"k": 2, "x": 0.25})
    study.enqueue_trial({"k": 1})
    assert study.ask().suggest_int("k", 1, 2) == 1
    novel = Novel(space, study.history)
    assert novel.has(np.array([0.2, 0.9]))  # k = 1 is running, whatever x would be
    assert not novel.has(np.array([0.7, 0.25]))  # with a continuum nothing comes twice


def test_what_is_added_is_known() -> None:
    space = Space({"k": Int(1, 3)})
    study = evaluated(space, {"k": 1}, {"k": 2})
    novel = Novel(space, study.history)
    assert novel.known(np.array([[0.1], [0.5], [0.9]])).tolist() == [True, True, False]
    novel.add(np.array([0.8]))
    assert novel.has(np.array([0.9]))
    assert novel.untried(np.random.default_rng(0)) is None


def test_the_first_new_row_is_taken_else_any_untried_one_else_the_first() -> None:
    space = Space({"k": Int(1, 3)})
    novel = Novel(space, evaluated(space, {"k": 2}).history)
    rng = np.random.default_rng(0)
    assert novel.new(np.array([[0.5], [0.9], [0.1]]), rng).tolist() == [0.9]
    assert space.decode(novel.new(np.array([[0.5]]), rng)).tolist() == [1.0]
    assert novel.new(np.array([[0.5]]), rng).tolist() == [0.5]


def test_the_last_untried_cell_of_many_is_found() -> None:
    """Random draws would hit it once in 1,200 times; it is listed instead."""
    space = Space({"a": Categorical([*"abcd"]), "i": Int(1, 15), "x": Float(0, 1.9, step=0.1)})
    study = create_study(space=space, sampler="random", seed=1)
    study.optimize(lambda t: suggest_all(t, space)["x"], n_trials=1199)
    everything = set(itertools.product("abcd", range(1, 16), np.round(np.arange(20) * 0.1, 10).tolist()))
    (missing,) = everything - {(t.params["a"], t.params["i"], round(t.params["x"], 10)) for t in study.trials}
    row = Novel(space, study.history).untried(np.random.default_rng(2))
    assert row is not None
    found = space.to_params(space.decode(row))
    assert (found["a"], found["i"], round(found["x"], 10)) == missing


def test_untried_cells_under_conditions() -> None:
    space = Space(
        {"n": Int(1, 2), "w1": Int(1, 4), "w2": Categorical(["a", "b", "c"])}, conditions={"w2": "n >= 2"}
    )  # 4 + 12 cells
    study = create_study(space=space, sampler="random", seed=3)
    study.optimize(lambda t: float(len(suggest_all(t, space))), n_trials=16)
    assert len({tuple(sorted(t.params.items())) for t in study.trials}) == 16
    assert Novel(space, study.history).untried(np.random.default_rng(0)) is None


@pytest.mark.parametrize("sampler", ["random", "sobol", "halton", "pso"])
def test_methods_draw_without_replacement(sampler: str) -> None:
    space = Space({"a": Categorical(["u", "v", "w"]), "i": Int(1, 4), "g": Int(1, 512, log=True)})
    study = create_study(space=space, sampler=sampler, seed=3)
    study.optimize(lambda t: float(suggest_all(t, space)["i"]), n_trials=300)
    assert len({tuple(t.params.values()) for t in study.trials}) == 300


def test_a_batch_of_random_draws_is_what_single_draws_would_be() -> None:
    space = Space({"i": Int(1, 4), "c": Categorical(["a", "b"])})
    one, many = create_study(space=space, seed=3), create_study(space=space, seed=3)
    single = [one.ask() for _ in range(8)]
    batch = many._session.claim(by_ask=True, n=8)
    values = [tuple(t.relative_params.values()) for t in single]
    assert [tuple(t.relative_params.values()) for t in batch] == values
    assert len(set(values)) == 8


def test_a_range_that_has_changed() -> None:
    """What was tried in an old range counts where it lies in the new one, and nowhere else."""
    old, new = Space({"i": Int(1, 4)}), Space({"i": Int(2, 4)})
    study = evaluated(old, {"i": 3}, {"i": 1})
    novel = Novel(new, study.history)
    assert novel.known(np.array([[0.1], [0.5], [0.9]])).tolist() == [False, True, False]
