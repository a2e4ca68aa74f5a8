"""How long an objective waits for an answer of the study, by where it is evaluated.

    python benchmarks/questions.py [--backends threads processes ray] [--questions 300] [--rounds 5] [--json FILE]

An objective in a worker asks the study's process whenever it suggests a new parameter, reports a value, or wants to
know whether it should stop. Here it reports and asks ``should_prune`` again and again, in a study in memory with the
median rule, and takes the time: the median of a report with its question, and of the question alone (a second one after
the same report). Rounds are interleaved over the backends. Ray starts a cluster of its own on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tunesmith


class Asking:
    """The objective.

    Args:
        questions: how often it asks.
    """

    def __init__(self, questions: int) -> None:
        self.questions = questions

    def __call__(self, trial: Any) -> float:
        both, alone = [], []
        for step in range(self.questions):
            begin = time.perf_counter()
            trial.report(0.0, step)
            trial.should_prune()
            middle = time.perf_counter()
            trial.should_prune()
            both.append(middle - begin)
            alone.append(time.perf_counter() - middle)
        trial.set_user_attr("both", statistics.median(both))
        trial.set_user_attr("alone", statistics.median(alone))
        return 0.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["threads", "processes", "ray"])
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tunesmith.logging.set_verbosity(tunesmith.logging.WARNING)
    found: dict[str, dict[str, list[float]]] = {name: {"both": [], "alone": []} for name in given.backends}
    for _ in range(given.rounds):
        for name in given.backends:
            study = tunesmith.create_study(pruner="median", seed=0)
            study.optimize(Asking(given.questions), n_trials=1, backend=name)
            for what, times in found[name].items():
                times.append(study.trials[0].user_attrs[what])
    for name, kinds in found.items():
        both, alone = (1e3 * statistics.median(kinds[what]) for what in ("both", "alone"))
        print(f"{name:10} report and question {both:.3f} ms, question alone {alone:.3f} ms")
    if given.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        given.json.write_text(json.dumps({"seconds": found, "questions": given.questions, "machine": machine}) + "\n")


if __name__ == "__main__":
    main()
