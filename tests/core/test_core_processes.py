"""Several processes and one study: killed, forked, working side by side."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, first_line, spawning, study_in
from core.process_worker import OneAtATime, objective

import tunesmith
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState

WORKER = str(Path(__file__).with_name("process_worker.py"))

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")


@pytest.fixture
def spawn(disk: Place) -> Iterator[Any]:
    yield from spawning(WORKER, str(disk.url))


def lines(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.split("\n")[:-1]


def without_kills(n: int) -> list[tuple[int, dict[str, Any], float]]:
    study = tunesmith.create_study(seed=5)
    study.optimize(objective, n_trials=n)
    return [(t.number, t.params, t.value) for t in study.trials]


@pytest.mark.slow
def test_killed_again_and_again(disk: Place, spawn: Any) -> None:
    """Six times ``kill -9`` at a random moment: nothing acknowledged is lost, and in the end no kill is to be seen."""
    study = study_in(disk, seed=5)
    acknowledged: dict[int, float] = {}
    chance = random.Random(disk.kind)
    for _ in range(6):
        process = spawn("optimize", 500)
        assert process.stdout is not None
        for _ in range(chance.randint(2, 6)):  # "ready", then a line a trial
            line = process.stdout.readline()
            if line != "ready\n":
                acknowledged[int(line.split()[0])] = float(line.split()[1])
        time.sleep(chance.uniform(0, 0.006))
        process.kill()
        for line in process.stdout.read().split("\n")[:-1]:
            if line != "ready":
                acknowledged[int(line.split()[0])] = float(line.split()[1])
        process.wait()
        found = {t.number: t.value for t in study.trials}
        assert found.items() >= acknowledged.items()
        assert sum(t.state == TrialState.RUNNING for t in study.trials) <= 1
        check_reload(study)
    done = sum(t.state == TrialState.COMPLETE for t in study.trials)
    study.optimize(objective, n_trials=3)
    trials = study.trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * (done + 3)
    assert [(t.number, t.params, t.value) for t in trials] == without_kills(done + 3)
    assert len(acknowledged) >= 6
    check_reload(study)


def test_a_dead_process_gives_its_trial_back_a_living_one_does_not(disk: Place, spawn: Any) -> None:
    study = study_in(disk, seed=5)
    process = spawn("hang")
    number, x = first_line(process)
    assert number == "0"
    study.optimize(objective, n_trials=1)
    assert [t.state.name for t in study.trials] == ["RUNNING", "COMPLETE"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    study.optimize(objective, n_trials=1)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].params["x"] == float(x)  # though it was not written yet, and the study knows "x" by now
    assert study.trials[0].system_attrs["attempt"] == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_other_signals(disk: Place, spawn: Any, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM release at once."""
    study = study_in(disk, seed=5)
    process = spawn("hang")
    first_line(process)
    time.sleep(0.05)
    process.send_signal(how)
    process.wait()
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}[how]
    assert study.trials[0].state == TrialState.WAITING
    study.optimize(objective, n_trials=2)
    assert [(t.number, t.params, t.value) for t in study.trials] == without_kills(2)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_asked_trials_belong_to_whoever_tells_them(disk: Place, spawn: Any, how: str) -> None:
    """Their process may be gone: they are told by number from another one."""
    study = study_in(disk, seed=5)
    process = spawn("ask", how)
    number, x = first_line(process)
    process.wait()
    study.optimize(objective, n_trials=2)
    assert [t.state.name for t in study.trials] == ["RUNNING", "COMPLETE", "COMPLETE"]
    told = study.tell(int(number), 0.5)
    assert (told.params, told.value) == ({"x": float(x)}, 0.5)
    check_reload(study)


def test_two_processes_side_by_side(disk: Place, spawn: Any) -> None:
    """Numbers without gaps, each trial run once, those of the queue exactly once."""
    study = study_in(disk, seed=5)
    for k in range(6):
        study.enqueue_trial({"x": k / 10})
    processes = [spawn("optimize", 12) for _ in range(2)]
    told = [line.split() for process in processes for line in lines(process) if line != "ready"]
    assert sorted(int(number) for number, _ in told) == list(range(24))
    trials = study.trials
    assert [t.number for t in trials] == list(range(24))
    assert {t.number: t.value for t in trials} == {int(number): float(value) for number, value in told}
    assert [t.params["x"] for t in trials[:6]] == [k / 10 for k in range(6)]
    assert len({t.params["x"] for t in trials}) == 24
    assert all("attempt" not in t.system_attrs for t in trials)
    assert len({t.user_attrs["pid"] for t in trials}) <= 2
    check_reload(study)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_study(disk: Place, spawn: Any) -> None:
    study = study_in(disk, seed=5)
    *told, status = lines(spawn("fork", 6))
    assert status == "status 0"
    assert sorted(int(line.split()[0]) for line in told) == list(range(1, 13))
    assert [t.number for t in study.trials] == list(range(13))
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert len({t.user_attrs["pid"] for t in study.trials}) == 2
    assert len({t.params["x"] for t in study.trials}) == 13
    check_reload(study)


def test_waiting_for_a_process_that_dies(disk: Place, spawn: Any) -> None:
    """A worker that waits for another one's trial notices that it is dead, and takes it over."""
    study_in(disk, seed=5)
    process = spawn("hang")
    first_line(process)
    study = study_in(disk, pruner=OneAtATime())
    timer = threading.Timer(0.3, process.kill)
    timer.start()
    waiter = threading.Thread(target=process.wait)  # a zombie is dead, too
    waiter.start()
    study.optimize(objective, n_trials=2, timeout=20)
    waiter.join()
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].system_attrs["attempt"] == 2


def test_a_queue_filled_from_another_process(disk: Place, spawn: Any) -> None:
    """What is enqueued while a process works is what it takes next."""
    study = study_in(disk, seed=5)
    process = spawn("optimize", 40)
    for _ in range(3):
        first_line(process)
    study.enqueue_trial({"x": 0.125})
    lines(process)
    found = [t.number for t in study.trials if t.params["x"] == 0.125]
    assert len(found) == 1
    assert 1 < found[0] < 39
    assert len(study.trials) == 40
