"""What other processes do in ``test_core_leases``: ``python lease_worker.py JOB URL ...``; it prints results."""

from __future__ import annotations

import sys
import time
from typing import Any

import tunesmith
from tunesmith.study import _signals, _worker


def say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # in one piece, also when it is not buffered
    sys.stdout.flush()


def load(url: str) -> Any:
    tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)
    return tunesmith.load_study(study_name="s", storage=url)


def job_slow(url: str, where: str, seconds: str, n: str = "1") -> None:
    """Trials that take long and have a value nobody else gives; ``elsewhere``: as if on another machine."""
    if where == "elsewhere":
        _worker._host = lambda: "elsewhere/boot/pid"  # type: ignore[assignment]

    def slow(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        say(trial.number, repr(x))
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            time.sleep(0.02)
        return 100.0 + trial.number

    load(url).optimize(slow, n_trials=int(n), lease=1.0)
    say("ended")


def job_yield(url: str, kind: str) -> None:
    """Epochs of 0.1 s that save; or one that never ends, in this thread or in two others."""
    if kind != "epochs":
        _signals.PATIENCE, _signals.LIMIT = 0.3, 0.8

    def epochs(trial: Any) -> Any:
        trial.suggest_float("x", 0, 1)
        state = trial.load() or {"epoch": 0}
        for epoch in range(state["epoch"] + 1, 100):
            time.sleep(0.1)
            trial.save({"epoch": epoch})
            say(trial.number, epoch)
            yield float(epoch)
            if kind != "epochs":
                while True:
                    time.sleep(3600)

    load(url).optimize(epochs, n_trials=2, n_jobs=2 if kind == "threads" else 1)


if __name__ == "__main__":
    globals()[f"job_{sys.argv[1]}"](*sys.argv[2:])
