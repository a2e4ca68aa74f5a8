"""What scripts and habits from elsewhere meet: copies of studies in memory, loggers, missing rooms, other seeds."""

from __future__ import annotations

import copy
import logging as python_logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import tunesmith
from tunesmith import create_study, load_study
from tunesmith.samplers import RandomSampler
from tunesmith.study import Study
from tunesmith.testing._logged import logged


def objective(trial: Any) -> float:
    return float(trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 3))


def again(study: Study) -> Study:
    return pickle.loads(pickle.dumps(study))


@pytest.mark.parametrize("way", [copy.deepcopy, again], ids=["deepcopy", "pickle"])
def test_a_study_in_memory_is_copied_as_a_snapshot(way: Callable[[Study], Study]) -> None:
    """The copy has all trials, is independent, and proposes what the original would have."""
    study = create_study(seed=3)
    study.optimize(objective, n_trials=4)
    twin = way(study)
    assert [t.params for t in twin.trials] == [t.params for t in study.trials]
    twin.optimize(objective, n_trials=3)
    assert (len(twin.trials), len(study.trials)) == (7, 4)
    study.optimize(objective, n_trials=3)
    assert [(t.number, t.params, t.value) for t in twin.trials] == [(t.number, t.params, t.value) for t in study.trials]


def test_the_logger_of_an_optuna_script_is_our_own() -> None:
    """A handler that a script adds to it gets our messages."""
    assert tunesmith.logging.get_logger("optuna") is python_logging.getLogger("tunesmith")
    assert tunesmith.logging.get_logger("optuna.study").name == "tunesmith.study"
    with logged(tunesmith.logging.get_logger("optuna").name) as messages:
        create_study(seed=0).optimize(objective, n_trials=2)
    assert sum("Trial 1 finished with value" in message for message in messages) == 1


def test_another_seed_for_a_study_that_has_one_is_said(tmp_path: Any) -> None:
    storage = str(tmp_path / "s.jsonl")
    create_study(study_name="s", storage=storage, sampler=RandomSampler(seed=1))

    def said(**options: Any) -> bool:
        with logged() as messages:
            study = load_study(study_name="s", storage=storage, **options)
        assert study.seed == 1
        return any("has another seed (1)" in message for message in messages)

    assert not said()
    assert not said(sampler=RandomSampler(seed=1))
    assert not said(sampler=RandomSampler())
    assert said(sampler=RandomSampler(seed=2))
    with logged() as messages:
        create_study(study_name="s", storage=storage, seed=5, load_if_exists=True)
    assert any("the given one (5) is ignored" in message for message in messages)


@pytest.mark.parametrize("name", ["visualization", "importance", "integration"])
def test_rooms_that_are_not_there_yet_say_so(name: str) -> None:
    with pytest.raises(AttributeError, match=f"tunesmith has no `{name}` yet"):
        getattr(tunesmith, name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        tunesmith.nonsense  # noqa: B018
