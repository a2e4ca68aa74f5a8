"""What other processes do in ``test_core_processes``: ``python process_worker.py JOB URL ...``; it prints results."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import tunesmith
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Idle, Schedule, Start, Verdict
from tunesmith.trial import TrialState


def objective(trial: Any) -> float:
    """Two or three parameters, one late; a report; takes a few milliseconds."""
    x = trial.suggest_float("x", 0, 1)
    n = trial.suggest_int("n", 0, 2**60) if x < 0.6 else 1
    c = trial.suggest_categorical("c", ["a", None, True, 1])
    trial.report(x, 1)
    time.sleep(0.002)
    trial.set_user_attr("pid", os.getpid())
    return x + n / 2**60 + (0 if c is None else 1)


def say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # in one piece, also when it is not buffered
    sys.stdout.flush()


def announce(study: Any, trial: Any) -> None:
    say(trial.number, repr(trial.value))


def load(url: str) -> Any:
    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    return tunesmith.load_study(study_name="s", storage=url)


def job_optimize(url: str, n: str) -> None:
    study = load(url)
    say("ready")
    study.optimize(objective, n_trials=int(n), callbacks=[announce])


def job_hang(url: str) -> None:
    """Suggests, says so, and never ends."""
    study = load(url)

    def endless(trial: Any) -> float:
        say(trial.number, repr(trial.suggest_float("x", 0, 1)))
        while True:
            time.sleep(1)

    study.optimize(endless, n_trials=1)


def job_ask(url: str, how: str) -> None:
    study = load(url)
    trial = study.ask()
    say(trial.number, repr(trial.suggest_float("x", 0, 1)))
    if how == "kill":
        os.kill(os.getpid(), 9)


def job_fork(url: str, n: str) -> None:
    """A handle that was used before the fork is used by both after it."""
    study = load(url)
    study.optimize(objective, n_trials=1)
    child = os.fork()
    study.optimize(objective, n_trials=int(n), callbacks=[announce])
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    say("status", status)


@dataclass(frozen=True)
class OneAtATime(BasePruner):
    """Starts a trial when none is running, in whatever process."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO

    def schedule(self, history: History) -> Schedule:
        return Idle.WAIT if any(t.state == TrialState.RUNNING for t in history.open) else Start()


if __name__ == "__main__":
    globals()[f"job_{sys.argv[1]}"](*sys.argv[2:])
