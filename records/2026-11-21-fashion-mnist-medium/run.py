"""Two families on Fashion-MNIST, spaces of size medium, 50 trials of a Sobol sequence, and what the winners are worth.

    TUNESMITH_DATA=... python records/2026-11-21-fashion-mnist-medium/run.py

Writes the studies (studies.jsonl, every trial with every epoch) and summary.json beside this file; run again, it goes
on where it was interrupted.
"""

import json
import platform
import time
from pathlib import Path

import torch

import tunesmith as ts
from tunesmith import train

HERE = Path(__file__).parent
TRIALS, REPEATS = 50, 5
#: The CNN has a reduced run: 20,000 of the 48,000 training images, 3 epochs.
RUNS = {"mlp": {"epochs": 10}, "cnn": {"epochs": 3, "n_train": 20_000}}


def main():
    summary = {"torch": torch.__version__, "machine": platform.machine(), "python": platform.python_version()}
    for model, size in RUNS.items():
        problem = train.Problem(data="fashion-mnist", model=model, space="medium", device="cpu", **size)
        study = ts.create_study(
            study_name=model, storage=str(HERE / "studies.jsonl"), space=problem.space, sampler="sobol", pruner="nop",
            seed=0, load_if_exists=True,
        )
        study.set_metric_names(["val_loss"]) if study.metric_names is None else None
        done = len(study.get_trials(states=[ts.TrialState.COMPLETE, ts.TrialState.FAIL]))
        begin = time.monotonic()
        study.optimize(problem, TRIALS - done, lanes="auto")
        confirmation = study.confirm(problem, top=1, repeats=REPEATS)
        states = [t.state.name for t in study.trials]
        summary[model] = {
            "problem": problem.describe(),
            "states": {state: states.count(state) for state in sorted(set(states))},
            "best": {"number": study.best_trial.number, "value": study.best_value, "params": study.best_params},
            "confirmation": confirmation.to_dict(),
            "text": str(confirmation),
            "seconds": time.monotonic() - begin,
            "lane_seconds": sum(t.user_attrs.get("lane_seconds", 0.0) for t in study.trials),
        }
        print(confirmation, flush=True)
        (HERE / "summary.json").write_text(json.dumps(summary, indent=1))


main()
