"""Objects as choices in worker processes, each of which has copies of its own."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import tunesmith
from tunesmith.distributions import Categorical, CategoricalDistribution
from tunesmith.study._create import on_space

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="worker processes need a POSIX system")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """That the log keeps names only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def blocks() -> list[Any]:
    """Of a class that workers get by value; nothing in their names tells them apart but their address."""

    class Block:
        def __init__(self, width: int) -> None:
            self.width = width

    return [Block(width) for width in range(8)]


def names(study: Any) -> set[tuple[str, ...]]:
    found = set()
    for trial in study.trials:
        distribution = trial.distributions["block"]
        assert isinstance(distribution, CategoricalDistribution)
        found.add(tuple(repr(choice).rpartition(".")[2] for choice in distribution.logged()))
    return found


def position(trial: Any) -> float:
    return float(trial.distributions["block"].to_internal_repr(trial.params["block"]))


def test_they_have_the_same_names_in_all_workers() -> None:
    choices = blocks()

    def objective(trial: Any) -> float:
        chosen = trial.suggest_categorical("block", choices)
        assert chosen in choices  # not a copy of it
        trial.set_user_attr("pid", os.getpid())
        if trial.attempt == 1 and trial.number % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(chosen.width)

    study = tunesmith.create_study(seed=1, sampler="random")
    study.optimize(objective, n_trials=4, n_jobs=1, backend="processes")
    assert len({t.user_attrs["pid"] for t in study.trials}) > 1
    assert names(study) == {tuple(f"Block object #{k}>>" for k in range(8))}
    assert [t.value for t in study.trials] == [position(t) for t in study.trials]


def test_an_attempt_in_another_process_has_the_same_one() -> None:
    choices = blocks()

    def objective(trial: Any) -> float:
        width = trial.suggest_categorical("block", choices).width
        trial.set_user_attr(f"attempt {trial.attempt}", width)
        if trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(width)

    study = tunesmith.create_study(seed=1, sampler="random")
    study.optimize(objective, n_trials=3, n_jobs=1, backend="processes")
    for trial in study.trials:
        assert trial.user_attrs["attempt 1"] == trial.user_attrs["attempt 2"]


def test_those_of_a_space_are_proposed() -> None:
    """A space that was sent to a worker has the study's names; so no proposal is refused, and none is drawn late."""
    choices = blocks()

    def widths(block: Any) -> float:
        return float(block.width)

    space = tunesmith.Space({"block": Categorical(choices)})
    study, here = (tunesmith.create_study(space=space, sampler="random", seed=1) for _ in range(2))
    study.optimize(on_space(widths, space), n_trials=6, n_jobs=1, backend="processes")
    assert [t.value for t in study.trials] == [position(t) for t in study.trials]
    assert len({t.value for t in study.trials}) > 1
    assert not any("l" in event for record in study.storage.read(study._log.study) for event in record)
    here.optimize(on_space(widths, space), n_trials=6)
    assert [t.value for t in here.trials] == [t.value for t in study.trials]
