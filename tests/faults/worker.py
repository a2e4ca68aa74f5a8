"""What workers do in the fault tests: ``python worker.py JOB URL OUT ...``.

They say what they do in files of their own, line by line and unbuffered, because they may be killed at any moment.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tunesmith
from tunesmith.study._log import StudyLog


class Diary:
    """A file to which one process appends lines, each by one write."""

    def __init__(self, folder: str, kind: str) -> None:
        path = Path(folder) / f"{kind}-{os.getpid()}-{time.time_ns()}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: Any) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def study_at(url: str) -> Any:
    tunesmith.logging.set_verbosity(tunesmith.logging.CRITICAL)
    return tunesmith.load_study(study_name="faults", storage=url)


def job_optimize(url: str, out: str, seconds: str, lease: str, attempts: str = "3") -> None:
    """Trials without end; each one that is acknowledged is written down."""
    begun, done = Diary(out, "begun"), Diary(out, "done")

    def objective(trial: Any) -> float:
        begun.write(trial.number, trial.attempt)
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 1)
        time.sleep(float(seconds))
        return x

    def acknowledged(study: Any, trial: Any) -> None:
        done.write(trial.number, repr(trial.value))

    study_at(url).optimize(objective, lease=float(lease), attempts=int(attempts), callbacks=[acknowledged])


def job_queue(url: str, out: str) -> None:
    """What is enqueued, and nothing else."""
    begun = Diary(out, "begun")

    def objective(trial: Any) -> float:
        begun.write(trial.number, trial.attempt)
        return trial.suggest_float("x", 0, 1e9)

    def stop_at_the_end(study: Any, trial: Any) -> None:
        if study._log.fold.next_waiting() is None:
            study.stop()

    study = study_at(url)
    study._log.sync()
    if study._log.fold.next_waiting() is not None:
        study.optimize(objective, callbacks=[stop_at_the_end])


def job_mine(url: str, out: str, seconds: str, lease: str) -> None:
    """Trials whose value says who has made them: the process id."""
    begun = Diary(out, "begun")

    def objective(trial: Any) -> float:
        trial.suggest_float("x", 0, 1)
        begun.write(trial.number, trial.attempt)
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            time.sleep(0.05)
        return float(os.getpid())

    study_at(url).optimize(objective, lease=float(lease))


def job_fragile(url: str, out: str, seconds: str, lease: str, seed: str) -> None:
    """Dies at the moment when it gives back, or attempts again, what a dead worker has left; or in a trial."""
    begun, chance = Diary(out, "begun"), random.Random(seed)
    killed = Diary(out, "killed")
    append: Callable[..., Any] = StudyLog.append

    def deadly(log: StudyLog, events: list[dict[str, Any]]) -> Any:
        critical = any(e["e"] == "release" or (e["e"] == "ask" and e.get("a", 0) > 1) for e in events)
        when = chance.choice(["before", "after", "never"]) if critical else "never"
        if when == "before":
            _die(killed, when)
        fates = append(log, events)
        if when == "after":
            _die(killed, when)
        return fates

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        begun.write(trial.number, trial.attempt)
        time.sleep(float(seconds))
        if chance.random() < 0.2:
            _die(killed, "inside")
        return x

    StudyLog.append = deadly  # type: ignore[method-assign]
    study_at(url).optimize(objective, lease=float(lease), attempts=1000)


def _die(diary: Diary, when: str) -> None:
    diary.write(when)
    os.kill(os.getpid(), signal.SIGKILL)


def job_exact(url: str, out: str, total: str, when: str = "never", appends: str = "0") -> None:
    """A search up to so many trials in all; dies before or after its n-th append."""
    killed, count = Diary(out, "killed"), 0
    append: Callable[..., Any] = StudyLog.append

    def deadly(log: StudyLog, events: list[dict[str, Any]]) -> Any:
        nonlocal count
        count += 1
        if when == "before" and count == int(appends):
            _die(killed, when)
        fates = append(log, events)
        if when == "after" and count == int(appends):
            _die(killed, when)
        return fates

    StudyLog.append = deadly  # type: ignore[method-assign]
    study = study_at(url)
    done = sum(t.state.is_finished() for t in study.get_trials(deepcopy=False))
    study.optimize(exact_objective, n_trials=int(total) - done, attempts=1000)  # the same trial may be hit often


def exact_objective(trial: Any) -> Any:
    """Every kind of parameter, conditional ones, reports; a generator."""
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    loss = abs(lr - 0.01) + trial.suggest_int("width", 1, 64, log=True) / 640
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        loss += 0.1 * trial.suggest_float("momentum", 0, 1)
    yield 2 * loss
    yield loss


if __name__ == "__main__":
    globals()[f"job_{sys.argv[1]}"](*sys.argv[2:])
