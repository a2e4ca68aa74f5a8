"""How soon a search on real trainings is as good as random search after 50 whole trainings.

    TUNESMITH_DATA=DIR python benchmarks/time_to_accuracy.py --out FILE [--seeds 0 1 2] [--methods tpe+asha ...]
                                                             [--trials 50] [--epochs 16] [--images 3000]

The CNN of ``tunesmith.train`` and its medium space on Fashion-MNIST, 3,000 images to train with and 5,000 to validate
by default. For each seed random search trains ``trials`` configurations to the end; the best validation accuracy that
any epoch has reported is the target. Then each method searches until an epoch reports the target, or until as many
epochs are spent. A method is a sampler and a stopping rule by their short names, options in JSON behind each as in
``random+asha{"reduction_factor":3}``.

What is counted: epochs, and processor seconds of the process (the search included), which other work on the machine
changes less than wall clock. FILE has a line for each run, with every epoch that improved; runs that are there are not
repeated. The last lines printed are ratios to random search.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tunesmith
from tunesmith import train
from tunesmith.pruners import get_pruner
from tunesmith.samplers import get_sampler

RANDOM = "random+nop"


class Race:
    """Trainings of a problem until one is good enough.

    Args:
        problem: what is trained.
        target: validation accuracy.
        budget: epochs in all.
    """

    def __init__(self, problem: train.Problem, target: float, budget: int) -> None:
        self.problem, self.target, self.budget = problem, target, budget
        self.epochs, self.best = 0, -1.0
        self.improved: list[tuple[int, float, float]] = []
        self._began = time.process_time()

    def __call__(self, trial: Any) -> Iterator[Any]:
        """A generator objective."""
        for report in self.problem(trial):
            self.epochs += 1
            value = next(iter(report.values())) if isinstance(report, dict) else float(report)
            if value > self.best:
                self.best = value
                self.improved.append((self.epochs, round(time.process_time() - self._began, 2), value))
            if self.best >= self.target or self.epochs >= self.budget:
                trial.study.stop()
                yield report
                return
            yield report

    def line(self, study: Any) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "epochs": self.epochs, "seconds": round(time.process_time() - self._began, 2), "best": self.best,
            "trials": len(study.trials), "improved": self.improved, "reached": self.best >= self.target,
        }  # fmt: skip


def component(text: str) -> tuple[str, dict[str, Any]]:
    """``name{"option": 1}`` -> name, options."""
    name, brace, options = text.partition("{")
    return name, json.loads(brace + options) if brace else {}


def run(method: str, problem: train.Problem, seed: int, target: float, trials: int) -> dict[str, Any]:
    """One search."""
    sampler, rule = (component(part) for part in method.split("+", 1))
    study = tunesmith.create_study(
        directions=problem.directions, space=problem.space, seed=seed,
        sampler=get_sampler(sampler[0], **sampler[1]), pruner=get_pruner(rule[0], **rule[1]),
    )  # fmt: skip
    race = Race(problem, target, trials * problem.epochs)
    study.optimize(race, n_trials=trials if method == RANDOM else None)
    return {"method": method, "seed": seed, "target": target if method != RANDOM else race.best, **race.line(study)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["tpe+asha", "random+asha"])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--images", type=int, default=3000)
    given = parser.parse_args()
    tunesmith.logging.set_verbosity(tunesmith.logging.WARNING)
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    problem = train.Problem(
        data="fashion-mnist", model="cnn", space="medium", epochs=given.epochs, n_train=given.images, n_validation=5000,
        n_test=1000, objective="val_accuracy", device="cpu",
    )  # fmt: skip
    for seed in given.seeds:
        for method in [RANDOM, *given.methods]:
            if any((line["method"], line["seed"]) == (method, seed) for line in lines):
                continue
            target = next((line["best"] for line in lines if (line["method"], line["seed"]) == (RANDOM, seed)), 2.0)
            line = run(method, problem.for_repeat(seed), seed, target, given.trials)
            lines.append(line)
            with given.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print({key: value for key, value in line.items() if key != "improved"}, flush=True)
    for method in given.methods:
        for what in ("epochs", "seconds"):
            shares = [
                line[what] / base[what]
                for line in lines for base in lines
                if (line["method"], base["method"]) == (method, RANDOM) and line["seed"] == base["seed"]
            ]  # fmt: skip
            print(f"{method}: {statistics.mean(shares):.3f} of random search's {what} ({len(shares)} seeds)")


if __name__ == "__main__":
    main()
