"""Population-based bandits: what the model is shown, what it chooses, and that a small population is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.pruners import BasePruner
from tunesmith.pruners._population import lives_of
from tunesmith.pruners.pb2 import PB2Pruner, observations
from tunesmith.pruners.pbt import lineage
from tunesmith.space import Space
from tunesmith.storages import InMemoryStorage
from tunesmith.testing.studies import check_reload

STEPS = 50
BOTH = Space({"h0": Float(0, 1), "h1": Float(0, 1)})


def toy(trial: Any) -> Iterator[float]:
    """That of figure 2 of the PBT paper; see ``test_pbt.Toy``."""
    h = np.array([trial.suggest_float("h0", 0, 1), trial.suggest_float("h1", 0, 1)])
    state = trial.load() or {"step": 0, "theta": np.array([0.9, 0.9])}
    theta = state["theta"]
    for step in range(state["step"] + 1, STEPS + 1):
        theta = theta - 0.04 * h * theta
        trial.save({"step": step, "theta": theta})
        yield 1.2 - float(theta @ theta)


def run(seed: int = 0, pruner: BasePruner | str | None = None, **options: Any) -> tunesmith.Study:
    rule = pruner or PB2Pruner(steps=STEPS)
    study = tunesmith.create_study(direction="maximize", sampler="random", pruner=rule, seed=seed, **options)
    study.optimize(toy, n_trials=4 if pruner else None)
    return study


def facts(study: tunesmith.Study) -> list[Any]:
    return [(t.number, t.state, t.params, t.intermediate_values) for t in study.trials]


def test_it_beats_the_best_of_as_many_trainings() -> None:
    gains = [run(seed).best_value - run(seed, "nop").best_value for seed in range(4)]
    assert min(gains) > -0.02
    assert np.mean(gains) > 0.05


def test_what_the_model_is_shown() -> None:
    study = run()
    history: History = study.history
    x, t, gain = observations(history, BOTH, lives_of(history, 5))
    expected = []
    for trial in study.trials:
        tags, reports = trial.system_attrs["tags"], trial.intermediate_values
        before = study.trials[int(tags["pbt.parent"])].intermediate_values if "pbt.parent" in tags else {}
        for step in range(10, STEPS + 1, 5):
            if step in reports:
                last = reports.get(step - 5, before.get(step - 5))
                expected.append((step // 5, trial.number, reports[step] - last, trial.params))
    expected.sort(key=lambda entry: entry[:2])
    assert np.allclose(gain, [entry[2] for entry in expected])
    assert t.tolist() == [entry[0] for entry in expected]
    assert np.allclose(x, [[entry[3]["h0"], entry[3]["h1"]] for entry in expected])
    assert (gain >= 0).all()


def test_the_same_seed_gives_the_same_also_after_every_reload() -> None:
    study = run(seed=2)
    assert facts(study) == facts(run(seed=2))
    assert facts(study) != facts(run(seed=3))
    check_reload(study)

    def interrupted(trial: Any) -> Iterator[float]:
        for value in toy(trial):
            calls.append(1)
            if len(calls) % 23 == 0:
                raise KeyboardInterrupt
            yield value

    calls: list[int] = []
    storage = InMemoryStorage()
    tunesmith.create_study(
        direction="maximize", sampler="random", pruner=PB2Pruner(steps=STEPS), seed=2, storage=storage, study_name="s"
    )
    for _ in range(40):
        other = tunesmith.load_study(study_name="s", storage=storage)
        try:
            other.optimize(interrupted)
            break
        except KeyboardInterrupt:
            continue
    assert facts(other) == facts(study)


def test_children_of_one_round_are_not_the_same() -> None:
    """The model believes that those which run already will give what it expects."""
    study = tunesmith.create_study(
        direction="maximize", pruner=PB2Pruner(population=8, quantile=0.5, steps=STEPS), seed=0, sampler="random"
    )
    study.optimize(toy, n_jobs=2)
    made = [(t.system_attrs["tags"]["pbt.round"], *t.params.values()) for t in study.trials]
    assert len(set(made)) > 0.85 * len(made)
    assert len(made) > 30
    assert lineage(study)[-1].last == STEPS
    check_reload(study)


def test_integers_choices_and_parameters_that_stay() -> None:
    def objective(trial: Any) -> Iterator[float]:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        lr, depth = trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_int("depth", 1, 9)
        width = trial.suggest_int("width", 16, 64, step=16)
        for step in range((trial.load() or 0) + 1, 31):
            trial.save(step)
            yield abs(np.log(lr) + 3) + depth + (kind == "b") - width - step

    rule = PB2Pruner(population=6, steps=30, params=["lr", "depth", "kind"], resample_probability=0.5)
    study = tunesmith.create_study(pruner=rule, seed=0)
    study.optimize(objective)
    children = [t for t in study.trials if "pbt.parent" in t.system_attrs["tags"]]
    parents = [study.trials[int(t.system_attrs["tags"]["pbt.parent"])] for t in children]
    assert all(c.params["width"] == p.params["width"] for c, p in zip(children, parents, strict=True))
    assert any(c.params["kind"] != p.params["kind"] for c, p in zip(children, parents, strict=True))
    ranges = {"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical(["a", "b"])}
    assert all(distribution.contains(c.params[name]) for c in children for name, distribution in ranges.items())
    check_reload(study)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"population": 1}, InvalidValueError),
        ({"interval": 0.5}, InvalidTypeError),
        ({"quantile": 0.7}, InvalidValueError),
        ({"resample_probability": -1}, InvalidValueError),
        ({"params": "lr"}, InvalidTypeError),
        ({"steps": 0}, InvalidValueError),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        PB2Pruner(**options)
