"""Nelder-Mead as a function of the history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study, load_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.nelder_mead import Coefficients, nelder_mead
from tunesmith.numerics.streams import stream
from tunesmith.samplers import NelderMeadSampler
from tunesmith.samplers._nelder_mead_runs import Axes
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abc"})
DISCRETE = Space(
    {"c": Categorical(list("pqr")), "k": Int(1, 6), "m": Int(1, 64, log=True), "s": Float(0, 1, step=0.25)}
)


def bowl(u: np.ndarray) -> float:
    return float(np.sum(np.arange(1, len(u) + 1) * (u - 0.3) ** 2) + (u[0] - u[-1]) ** 2)


def unit(space: Space, params: dict[str, Any]) -> np.ndarray:
    return space.encode(space.from_params(params)[None])[0]


def search(trials: int, space: Space = CUBE, seed: int = 3, **options: Any) -> Study:
    study = create_study(sampler=NelderMeadSampler(**options), space=space, seed=seed)
    study.optimize(lambda t: bowl(unit(space, suggest_all(t, space))), n_trials=trials)
    return study


def visited(study: Study, space: Space = CUBE) -> np.ndarray:
    return np.array([unit(space, t.params) for t in study.trials])


def test_walks_the_methods_way() -> None:
    """Point by point what the bare method asks for, from the middle, a quarter of the range in random directions."""
    study = search(60, tolerance=1e-9, adaptive=True)
    path = visited(study)
    np.testing.assert_array_equal(path[0], 0.5)
    steps = path[1:4] - path[0]
    np.testing.assert_allclose(np.abs(steps), 0.25 * np.eye(3), atol=1e-12)
    method = nelder_mead(path[:4], np.full(3, 1e-9), Coefficients.adaptive(3))
    request, expected = next(method), []
    while len(expected) < 60:
        expected += list(request.needed)
        request = method.send([bowl(x) for x in request.needed])
    np.testing.assert_allclose(path, expected[:60], atol=1e-9)
    assert study.best_value < 1e-3
    others = {tuple(np.sign(visited(search(4, seed=seed))[1:4].mean(axis=0) - 0.5)) for seed in range(12)}
    assert len(others) > 3


def test_in_parallel_it_walks_the_same_way() -> None:
    """Eight at once are enough for any step: the point it begins with, and all that may follow from it."""
    study = create_study(sampler=NelderMeadSampler(), space=CUBE, seed=3)
    alone = visited(search(40))
    for _ in range(12):
        trials = [study.ask(CUBE) for _ in range(8)]
        assert len({tuple(t.params.values()) for t in trials}) == 8
        for trial in reversed(trials):
            study.tell(trial, bowl(unit(CUBE, trial.params)))
    together = {tuple(x.round(9)) for x in visited(study)}
    assert all(tuple(x.round(9)) in together for x in alone[:15])


def test_grown_and_made_at_once() -> None:
    sampler = NelderMeadSampler(tolerance=1e-2)
    study = create_study(sampler=sampler, space=DISCRETE, seed=0)
    for n in (3, 17, 60, 110):
        study.optimize(lambda t: bowl(unit(DISCRETE, suggest_all(t, DISCRETE))), n_trials=n - study.history.n)
        fresh = load_study(study_name=study.study_name, storage=study.storage).history
        grown = sampler.propose(DISCRETE, study.history, stream(1, n), 5)
        assert sampler.propose(DISCRETE, fresh, stream(1, n), 5) == grown


def test_nothing_is_evaluated_twice() -> None:
    study = search(120, space=DISCRETE)
    assert len({tuple(t.params.values()) for t in study.trials}) == 120
    optimum = min(bowl(unit(DISCRETE, {"c": c, "k": k, "m": m, "s": s / 4}))
                  for c in "pqr" for k in range(1, 7) for m in range(1, 65) for s in range(5))  # fmt: skip
    assert study.best_value == pytest.approx(optimum)


def test_an_enqueued_trial_is_where_it_begins() -> None:
    study = create_study(sampler="nelder-mead", space=CUBE, seed=0)
    study.enqueue_trial({"a": 0.9, "b": 0.2, "c": 0.4})
    study.optimize(lambda t: bowl(unit(CUBE, suggest_all(t, CUBE))), n_trials=5)
    steps = visited(study)[1:4] - [0.9, 0.2, 0.4]
    np.testing.assert_allclose(np.abs(steps), 0.25 * np.eye(3), atol=1e-9)
    assert steps[0, 0] < 0 < steps[1, 1]  # there is no room in the other direction


def test_restarts() -> None:
    """At a better point from elsewhere, else at a random one; two valleys are both found."""
    plane = Space({"a": Float(0, 1), "b": Float(0, 1)})

    def valleys(u: np.ndarray) -> float:
        return float(min(np.sum((u - 0.35) ** 2) + 0.1, 5 * np.sum((u - 0.9) ** 2)))

    study = create_study(sampler=NelderMeadSampler(tolerance=1e-2), space=plane, seed=1)
    study.optimize(lambda t: valleys(unit(plane, suggest_all(t, plane))), n_trials=30)
    assert study.best_value == pytest.approx(0.1, abs=1e-3)
    study.enqueue_trial({"a": 0.8, "b": 0.8})
    study.optimize(lambda t: valleys(unit(plane, suggest_all(t, plane))), n_trials=60)
    assert study.best_value < 1e-3
    path = visited(study, plane)
    assert np.ptp(path[60:], axis=0).max() > 0.3


def test_an_optimum_in_a_corner() -> None:
    """The simplex lies flat on one bound after the other, and begins anew there."""
    study = create_study(sampler="nelder-mead", space=CUBE, seed=0)
    study.optimize(lambda t: bowl(unit(CUBE, suggest_all(t, CUBE)) * 0.5 + 0.4), n_trials=100)
    assert study.best_value == pytest.approx(bowl(np.full(3, 0.4)), abs=1e-6)


def test_failed_pruned_and_infeasible() -> None:
    """The worst vertex, which is reflected, is the failed one; then infeasible ones."""
    for bad in ("failed", "infeasible"):
        study = create_study(sampler="nelder-mead", space=CUBE, seed=0)
        for i in range(4):
            trial = study.ask(CUBE)
            if i == 2 and bad == "failed":
                study.tell(trial, state=TrialState.FAIL)
            else:
                trial.set_constraint("c", 1.0 if i == 2 else -1.0)
                study.tell(trial, float(i) if i != 2 else -100.0)
        x = visited(study)
        reflected = study.ask(CUBE)
        expected = 2 * x[[0, 1, 3]].mean(axis=0) - x[2]
        np.testing.assert_allclose(unit(CUBE, reflected.params), np.clip(expected, 0, 1), atol=1e-9)


def test_axes() -> None:
    """Of a mixed space: the first simplex has every value of a choice, one parameter changed at a time."""
    space = Space(
        {
            "c": Categorical(list("pqr")),
            "x": Float(0, 1),
            "k": Int(1, 2),
            "one": Int(3, 3),
            "many": Categorical([*range(99)]),
        }
    )
    axes = Axes(space)
    assert axes.size == 5
    assert axes.levels.tolist() == [0, 2, 0, 0, 0]
    row = np.array([0.5, 0.5, 0.75, 0.5, 0.51])
    for seed in range(5):
        simplex = axes.simplex(axes.encode(row), 0.25, np.random.default_rng(seed))
        rows = [space.to_params(r) for r in space.decode(axes.decode(simplex, row))]
        assert rows[0] == {"c": "q", "x": 0.5, "k": 2, "one": 3, "many": 50}
        changed = [{n for n in space if r[n] != rows[0][n]} for r in rows[1:]]
        assert changed == [{"x"}, {"k"}, {"c"}, {"c"}, {"c"}]
        assert {r["c"] for r in rows} == set("pqr")
    assert NelderMeadSampler().n_initial(space) == 6


def test_constant_objectives_go_on() -> None:
    for space in (CUBE, DISCRETE, Space({"c": Categorical([0, 1]), "k": Int(0, 1)})):
        study = create_study(sampler="nelder-mead", space=space, seed=0)
        study.optimize(lambda t, s=space: 0.0 * len(suggest_all(t, s)), n_trials=40)
        assert study.history.n == 40


def test_much_better_than_random() -> None:
    assert np.median([search(100, seed=seed).best_value for seed in range(5)]) < 1e-5


@pytest.mark.parametrize("options", [{"initial_step": 0.0}, {"initial_step": 1.5}, {"tolerance": -1.0}])
def test_impossible_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(options))):
        NelderMeadSampler(**options)


def test_arguments_of_another_type() -> None:
    with pytest.raises(InvalidTypeError, match="adaptive"):
        NelderMeadSampler(adaptive="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="tolerance"):
        NelderMeadSampler(tolerance="small")  # type: ignore[arg-type]


def test_several_objectives() -> None:
    with pytest.raises(InvalidValueError, match="single objective"):
        create_study(sampler="nelder-mead", directions=["minimize", "minimize"], space=CUBE).ask()
