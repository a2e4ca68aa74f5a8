"""Given the log, the same proposals come out: of parallel runs, too."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.history import History
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.study._replay import Replayed

WORKER = str(Path(__file__).with_name("process_worker.py"))
SPACE = {"x": Float(0, 1), "n": Int(1, 64, log=True), "c": Categorical(["a", None, True])}


def declared(trial: Any) -> float:
    x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 64, log=True)
    time.sleep(0.001 * (trial.number % 5))  # so that the trials of several threads end in another order
    return (x - 0.3) ** 2 + n / 64 + (trial.suggest_categorical("c", ["a", None, True]) is None)


def define_by_run(trial: Any) -> Any:
    x = trial.suggest_float("x", 0, 1)
    for epoch in range(1, 5):
        time.sleep(0.0005)
        yield x / epoch
    if x < 0.5:
        yield trial.suggest_float("y", -1, 1)


@pytest.mark.parametrize("name", ["random", "tpe", "gp", "cmaes", "pso", "genetic", "qmc", "grid"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_every_kind_of_method(name: str, n_jobs: int) -> None:
    study = tunesmith.create_study(sampler=name, space=SPACE, seed=3, pruner="nop")
    study.optimize(declared, n_trials=24, n_jobs=n_jobs)
    assert study.replay() == Replayed(tuple(range(24)), (), ())


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
def test_growing_spaces_and_paused_trials(pruner: str) -> None:
    study = tunesmith.create_study(sampler="tpe", seed=3, pruner=pruner)
    study.optimize(define_by_run, n_trials=30, n_jobs=3)
    found = study.replay()
    assert found.differing == ()
    assert len(found.same) == 30


def test_several_processes(disk: Place) -> None:
    study = study_in(disk, seed=5, sampler="tpe")
    command = [sys.executable, WORKER, "optimize", str(disk.url), "15"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert study.replay() == Replayed(tuple(range(45)), (), ())


def test_what_no_sampler_proposed() -> None:
    study = tunesmith.create_study(space=SPACE, seed=3, sampler="pso")
    study.enqueue_trial({"x": 0.5})
    study.add_trial(tunesmith.create_trial(value=1.0, params={"x": 0.1}, distributions={"x": Float(0, 1)}))
    study.optimize(declared, n_trials=9)
    assert study.replay() == Replayed(tuple(range(2, 10)), (), (0, 1))


class Drifting(BaseSampler):
    """No function of the history: it counts its calls."""

    calls = 0

    def propose(self, space: Any, history: History, rng: Any, n: int) -> list[Proposal]:
        Drifting.calls += 1
        return [Proposal({"x": 1 / (Drifting.calls + 1), "n": 1, "c": "a"})] * n


def test_a_sampler_with_a_state_is_found_out() -> None:
    study = tunesmith.create_study(space=SPACE, seed=3, sampler=Drifting())
    study.optimize(declared, n_trials=4)
    assert study.replay().not_asked == (0, 1, 2, 3)  # the log cannot make one
    assert study.replay(Drifting()).differing == (0, 1, 2, 3)
    other = tunesmith.create_study(space=SPACE, seed=3, sampler="random")
    other.optimize(declared, n_trials=4)
    assert other.replay(tunesmith.samplers.QMCSampler()).differing == (0, 1, 2, 3)
