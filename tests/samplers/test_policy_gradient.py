"""Policy gradient: rewards, what the agent learns from whom, and that it searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, TrialState, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import PolicyGradientSampler, get_sampler
from tunesmith.samplers.policy_gradient import _Agent
from tunesmith.study import Study, suggest_all

SPACE = Space(
    {"c": Categorical(["a", "b", "c"]), "k": Int(1, 5), "x": Float(0, 1), "deep": Float(0, 1)}, {"deep": "c == 'b'"}
)


def agent(study: Study, **options: Any) -> _Agent:
    made = _Agent(SPACE, PolicyGradientSampler(**options))
    made.extend(study.history)
    return made


def probabilities(made: _Agent) -> list[np.ndarray]:
    return np.split(made.policy.p, np.cumsum(made.policy._sizes)[:-1])


def told(values: list[Any], **options: Any) -> tuple[Study, list[float]]:
    """A study with these results (a pair is a violation and a value, None a failure), and the rewards they earn."""
    study = create_study(sampler=PolicyGradientSampler(**options), space=SPACE, seed=0)
    for value in values:
        trial = study.ask(SPACE)
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
            continue
        if isinstance(value, tuple):
            trial.set_constraint("c", value[0])
            value = value[1]
        study.tell(trial, value)
    made, rewards = _Agent(SPACE, study.sampler), []  # type: ignore[arg-type]
    made._hear = lambda row, reward: rewards.append(reward)  # type: ignore[method-assign]
    made.extend(study.history)
    return study, rewards


def test_rewards_are_ranks() -> None:
    _, rewards = told([5.0, 3.0, 4.0, 9.0, None, 4.0, 1e300, -1e300])
    assert rewards == pytest.approx([0.0, 1.0, 0.0, -1.0, -1.0, 0.25, -1.0, 1.0])
    assert told([2.0] * 5)[1] == [0.0] * 5
    assert told([(1.0, 0.0), (2.0, -9.0), (-1.0, 50.0)])[1] == [0.0, -1.0, 1.0]


def test_values_that_did_well_become_probable() -> None:
    study = create_study(sampler="rl", space=SPACE, seed=0)

    def objective(trial: Any) -> float:
        p = suggest_all(trial, SPACE)
        return 3 * abs(p["x"] - 0.7) + (p["c"] != "b") + abs(p["k"] - 2)

    study.optimize(objective, n_trials=150)
    c, k, x, _ = probabilities(agent(study))
    assert np.argmax(c) == 1
    assert np.argmax(k) == 1
    assert 11 <= np.argmax(x) <= 16
    assert all(abs(p.sum() - 1) < 1e-12 for p in (c, k, x))


def test_inactive_parameters_teach_nothing() -> None:
    study = create_study(sampler="random", space=SPACE, seed=0)
    for k in range(6):
        study.enqueue_trial({"c": "a", "k": 1 + k % 5, "x": 0.1})
    study.optimize(lambda t: float(t.number + suggest_all(t, SPACE)["k"]), n_trials=6)
    *_, deep = probabilities(agent(study))
    np.testing.assert_allclose(deep, 1 / 20)


def test_a_batch_is_one_step() -> None:
    study, _ = told([3.0, 2.0, 1.0, 5.0, 0.5])
    np.testing.assert_allclose(agent(study, batch_size=6).policy.logits, 0.0)
    after = agent(study, batch_size=2).policy.logits
    assert not np.allclose(after, agent(study, batch_size=1).policy.logits)
    assert np.ptp(after) > 0


def test_grown_and_made_at_once_are_equal() -> None:
    for options in ({}, {"batch_size": 3, "clip": 0.2, "epochs": 4}):
        sampler = PolicyGradientSampler(**options)
        study = create_study(sampler=sampler, space=SPACE, seed=0)
        study.optimize(lambda t: suggest_all(t, SPACE)["x"], n_trials=25)
        rng = [np.random.default_rng(1) for _ in range(2)]
        grown = sampler.propose(SPACE, study.history, rng[0], 4)
        study.history._shape.memos._found.clear()
        assert sampler.propose(SPACE, study.history, rng[1], 4) == grown


def test_no_known_configuration_comes_again() -> None:
    space = Space({"c": Categorical(["a", "b", "c"]), "k": Int(1, 5)})
    study = create_study(sampler=PolicyGradientSampler(learning_rate=5.0), space=space, seed=0)
    study.optimize(lambda t: float(suggest_all(t, space)["k"]), n_trials=15)
    assert len({tuple(t.params.values()) for t in study.trials}) == 15


@pytest.mark.parametrize("name", ["rl", "ppo"])
def test_beats_random_search(name: str) -> None:
    space = Space({**{f"x{i}": Float(0, 1) for i in range(3)}, "c": Categorical(["a", "b", "c"]), "k": Int(1, 9)})

    def objective(trial: Any) -> float:
        p = suggest_all(trial, space)
        return sum((p[f"x{i}"] - 0.2 - 0.15 * i) ** 2 for i in range(3)) + 0.3 * (p["c"] != "b") + abs(p["k"] - 3) / 9

    def median(sampler: str) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=sampler, space=space, seed=seed)
            study.optimize(objective, n_trials=80)
            found.append(study.best_value)
        return float(np.median(found))

    assert median(name) < 0.6 * median("random")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": -1.0}, InvalidValueError, "learning_rate"),
        ({"baseline_decay": 1.5}, InvalidValueError, "baseline_decay"),
        ({"batch_size": 0}, InvalidValueError, "batch_size"),
        ({"epochs": 3}, InvalidValueError, "need a `clip`"),
        ({"clip": "x"}, InvalidTypeError, "clip"),
        ({"bins": 0}, InvalidValueError, "bins"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PolicyGradientSampler(**options)


def test_several_objectives_and_names() -> None:
    study = create_study(sampler="reinforce", directions=["minimize", "minimize"], space=SPACE)
    with pytest.raises(InvalidValueError, match="single objective"):
        study.ask(SPACE)
    assert get_sampler("ppo") == PolicyGradientSampler(learning_rate=4.0, batch_size=5, clip=0.2, epochs=4)
