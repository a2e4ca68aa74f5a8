"""Transfer: portfolios against a search over all of them, and what becomes of them in another space."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, create_study, load_study, minimize
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import GridSampler, PSOSampler, TransferSampler, from_spec
from tunesmith.samplers._portfolio import Task, portfolio
from tunesmith.samplers.transfer import fit
from tunesmith.storages import InMemoryStorage
from tunesmith.study import Study, suggest_all
from tunesmith.testing.samplers import SamplerKit

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1), "c": Categorical(["a", "b"])})


def earlier(centre: float, seed: int, trials: int = 40, direction: str = "minimize", scale: float = 1.0) -> Study:
    """A study of a bowl around ``x = y = centre``; choice b costs more."""
    sign = 1 if direction == "minimize" else -1
    study = create_study(sampler="random", space=SPACE, seed=seed, direction=direction)

    def objective(trial: Any) -> float:
        p = suggest_all(trial, SPACE)
        return sign * scale * ((p["x"] - centre) ** 2 + (p["y"] - centre) ** 2 + (p["c"] == "b"))

    study.optimize(objective, n_trials=trials)
    return study


class TestKit(SamplerKit):
    """With a portfolio that fits some of the kit's spaces, in part."""

    sampler_class = TransferSampler
    options = {  # noqa: RUF012
        "portfolio": [
            {"x": 0.5, "y": 0.003, "z": 0.25, "a": "tanh", "layers": 2, "lr": 0.05, "f2": 200, "c": "none"},
            {"x": 70, "y": 0.02, "i": 2, "model": "net", "b": True, "optimizer": "sgd", "j": 4.0},
        ],
        "base": "pso",
    }


def test_the_portfolio_comes_first() -> None:
    configurations = [{"x": 0.1, "y": 0.2, "c": "a"}, {"x": 0.3, "y": 0.4, "c": "b"}]
    study = create_study(sampler=TransferSampler(configurations, "sobol"), space=SPACE, seed=0)
    study.optimize(lambda t: float(suggest_all(t, SPACE)["x"]), n_trials=5)
    assert [t.params for t in study.trials[:2]] == configurations
    assert [t.system_attrs["tags"] for t in study.trials] == [
        {"transfer.i": 0}, {"transfer.i": 1}, {"qmc.i": 0}, {"qmc.i": 1}, {"qmc.i": 2}
    ]  # fmt: skip


def test_define_by_run() -> None:
    """It begins when the first trial has shown the names."""

    def objective(trial: Any) -> float:
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("k", 1, 5)

    study = create_study(sampler=TransferSampler([{"unknown": 1}, {"x": 0.25, "k": 3, "other": 1}], "random"), seed=0)
    study.optimize(objective, n_trials=3)
    assert study.trials[1].params == {"x": 0.25, "k": 3}
    assert study.trials[0].params["x"] != 0.25 != study.trials[2].params["x"]


def test_what_does_not_fit() -> None:
    space = Space(
        {"x": Float(0, 1), "k": Int(1, 9, step=2), "lr": Float(1e-3, 1, log=True), "c": Categorical([None, True, 1])}
    )
    given = {"x": 7.0, "k": 4, "lr": -2, "c": "gone", "unknown": 3}
    study = create_study(sampler=TransferSampler([given], "random"), space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["x"]), n_trials=1)
    params = study.trials[0].params
    assert (params["x"], params["lr"]) == (1.0, pytest.approx(1e-3))
    assert params["k"] in (3, 5)
    assert fit(space["c"], True) == (True,)
    assert fit(space["c"], "gone") == fit(space["x"], "gone") == fit(space["x"], float("nan")) == ()
    assert fit(space["k"], 5.0) == (5,)


def test_what_was_tried_is_left_out() -> None:
    space = Space({"k": Int(0, 9)})
    study = create_study(sampler=TransferSampler([{"k": 3}, {"k": 3}, {"k": 4}], "random"), space=space, seed=0)
    study.enqueue_trial({"k": 4})
    study.optimize(lambda t: float(suggest_all(t, space)["k"]), n_trials=10)
    assert [t.params["k"] for t in study.trials[:2]] == [4, 3]
    assert sorted(t.params["k"] for t in study.trials) == list(range(10))


def test_several_at_once() -> None:
    configurations = [{"x": 0.1 * k, "y": 0.2, "c": "a"} for k in range(4)]
    study = create_study(sampler=TransferSampler(configurations, "sobol"), space=SPACE, seed=0)
    trials = [study.ask() for _ in range(6)]
    assert [t.relative_params["x"] for t in trials[:4]] == [c["x"] for c in configurations]
    assert len({t.relative_params["x"] for t in trials}) == 6


def test_a_portfolio_covers_the_studies() -> None:
    """Three bowls in two places: the first is good for the two alike, the second for the third."""
    studies = [earlier(0.2, 1), earlier(0.22, 2, scale=1e6), earlier(0.9, 3, direction="maximize")]
    found = TransferSampler.from_studies(studies, "random", n=2).portfolio
    assert [p["c"] for p in found] == ["a", "a"]
    assert max(abs(found[0][k] - 0.2) for k in "xy") < 0.3
    assert max(abs(found[1][k] - 0.9) for k in "xy") < 0.25


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_near_the_best(seed: int) -> None:
    """Against all pairs: at most 1/e of what can be gained is lost (Nemhauser et al. 1978)."""
    rng = np.random.default_rng(seed)
    histories = [earlier(float(rng.random()), 10 * seed + k, trials=12).history for k in range(4)]
    tasks = [Task(history) for history in histories]
    candidates = [params for task in tasks for params in task.best]
    ranks = np.array([task.ranks(candidates) for task in tasks])

    def gained(chosen: Any) -> float:
        return float((1 - ranks[:, list(chosen)].min(axis=1)).sum())

    best = max(gained(pair) for pair in itertools.combinations(range(len(candidates)), 2))
    found = [candidates.index(params) for params in portfolio(histories, 2)]
    assert gained(found) >= (1 - 1 / np.e) * best
    assert gained(found[:1]) == pytest.approx(max(gained([k]) for k in range(len(candidates))))


def test_ranks() -> None:
    """Tried configurations have their own rank, equal results share one, others that of their neighbourhood."""
    space = Space({"k": Int(0, 4)})
    study = create_study(space=space, sampler=GridSampler({"k": [0, 1, 2, 3, 4]}, shuffle=False), seed=0)
    study.optimize(lambda t: [3.0, 1.0, 1.0, 5.0, 9.0][suggest_all(t, space)["k"]], n_trials=5)
    task = Task(study.history)
    assert [params["k"] for params in task.best] == [1, 2, 0, 3, 4]
    ranks = task.ranks([{"k": k} for k in range(5)])
    np.testing.assert_allclose(ranks, [0.5, 0.125, 0.125, 0.75, 1.0], atol=1e-9)
    assert 0.3 < float(task.ranks([{"unknown": 1}])[0]) < 0.7


def test_it_helps() -> None:
    """After five trials of a related problem, against the other method alone."""
    sampler = TransferSampler.from_studies([earlier(0.30, 1), earlier(0.36, 2)], PSOSampler())

    def reached(sampler: Any, seed: int) -> float:
        found = minimize(
            lambda x, y, c: (x - 0.33) ** 2 + (y - 0.33) ** 2 + (c == "b"), dict(SPACE), n_trials=5, sampler=sampler,
            seed=seed,
        )  # fmt: skip
        return found.best_value

    ours, alone = (np.median([reached(s, seed) for seed in range(9)]) for s in (sampler, PSOSampler()))
    assert ours < 0.25 * alone


def test_the_log_keeps_the_values() -> None:
    store = InMemoryStorage()
    sampler = TransferSampler(
        [{"c": (1, (None, float("inf"))), "x": np.float64(0.5)}], PSOSampler(swarm_size=3), seed=8
    )
    study = create_study(storage=store, sampler=sampler, study_name="s")
    assert study.history.seed == 8
    assert load_study(study_name="s", storage=store).sampler == sampler
    again = from_spec(json.loads(json.dumps(TransferSampler.from_studies([earlier(0.5, 0)], "pso").spec())))
    assert again == TransferSampler.from_studies([earlier(0.5, 0).history], "pso")
    assert TransferSampler([{"c": object()}], "random").spec()["args"] is None
    assert sampler.n_initial(SPACE) == 1 + 3


def test_errors() -> None:
    with pytest.raises(InvalidTypeError, match="list of configurations"):
        TransferSampler({"x": 1}, "random")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="name -> value, but holds 3"):
        TransferSampler([3], "random")  # type: ignore[list-item]
    with pytest.raises(InvalidValueError, match="nothing to transfer"):
        TransferSampler.from_studies([create_study()])
    two = create_study(directions=["minimize", "maximize"])
    with pytest.raises(InvalidValueError, match="one objective"):
        TransferSampler.from_studies([two])
    with pytest.raises(InvalidValueError, match="`n`"):
        TransferSampler.from_studies([earlier(0.5, 0)], n=0)
