"""Processes that start at the same moment on an empty store: one makes it, nobody fails.

Figure 4 of "Nothing lost": 100 first starts of 16 processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from crew import command

import tunesmith

_STARTER = """
import sys, time, tunesmith
tunesmith.logging.set_verbosity(tunesmith.logging.CRITICAL)
for line in sys.stdin:
    try:
        study = tunesmith.create_study(
            study_name="faults", storage=line.strip(), sampler="random", pruner="nop", seed=1, load_if_exists=True
        )
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
        print(trial.number, flush=True)
        del study, trial
    except BaseException as error:
        print("failed", repr(error).replace(chr(10), " "), flush=True)
"""


def run(
    _: str = "", rounds: int = 5, processes: int = 6, kinds: tuple[str, ...] = ("sqlite", "jsonl")
) -> dict[str, Any]:
    """On a new store in each round, all processes open or make the study and make one trial.

    Args:
        rounds: how many.
        processes: that start together.
        kinds: ``"sqlite"``, ``"jsonl"``.
    """
    line = [sys.executable, "-c", _STARTER]
    started = [
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    result: dict[str, Any] = {"rounds": rounds, "processes": processes}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            failures: list[str] = []
            wrong = 0
            for k in range(rounds):
                path = Path(folder) / f"{kind}-{k}"
                url = f"sqlite:///{path}.db" if kind == "sqlite" else f"{path}.jsonl"
                answers = _at_once(started, url)
                failures += [answer for answer in answers if answer.startswith("failed")]
                study = tunesmith.load_study(study_name="faults", storage=url)
                wrong += [trial.number for trial in study.trials] != list(range(processes))
            result[kind] = {"failures": len(failures), "rounds_with_a_wrong_log": wrong, "examples": failures[:3]}
    for process in started:
        process.communicate()
    return result


def _at_once(processes: list[Any], url: str) -> list[str]:
    """Tell all where the store is to be; their answers."""
    for process in processes:
        process.stdin.write(url + "\n")
    for process in processes:
        process.stdin.flush()
    return [process.stdout.readline() for process in processes]


if __name__ == "__main__":
    command(__doc__ or "", run, {"rounds": 100, "processes": 16})
