"""What lanes do for whole studies, on one core: the same 16 trials with and without them, in one run. Prints ratios.

    python benchmarks/lanes_studies.py [--rounds 3] [--json FILE]

Everything is in it: making the networks, proposals, reports, validation after each epoch. "alone" is tunesmith's own
loop, one trial after the other, which needs no DataLoader; ``benchmarks/lanes.py`` compares with a customary script.
The engine is the one that lanes choose by themselves (the choice is measured before the clock starts). Rounds are
interleaved, times are processor times, medians are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import tunesmith as ts
from tunesmith import train
from tunesmith.train.lanes.bucket import Bucket

CASES: dict[str, dict[str, Any]] = {
    "cnn": {"model": "cnn", "data": "fashion-mnist-small"},
    "mlp": {"model": "mlp", "data": "fashion-mnist-small"},
    "lenet5": {"model": "lenet5", "data": "fashion-mnist-small"},
    "lstm": {"model": "rnn", "data": "fashion-mnist-small", "fixed": {"cell": "lstm"}},
    "gru": {"model": "rnn", "data": "fashion-mnist-small", "fixed": {"cell": "gru"}},
}
LANES, EPOCHS = 16, 5


def seconds(problem: train.Problem, lanes: int | None) -> tuple[float, list[float | None]]:
    """Processor seconds of a study, and its values."""
    study = ts.create_study(space=problem.space, pruner="nop", seed=0)
    begin = time.process_time()
    study.optimize(problem, LANES, lanes=lanes, n_jobs=1)
    return time.process_time() - begin, [t.value for t in study.trials]


def engine(problem: train.Problem) -> str:
    """The name of what lanes choose."""
    runner = problem.open_lanes(LANES, 1)
    job = problem.evaluation({"lr": 0.01, "momentum": 0.9}, 0).next_job()
    assert job is not None
    kind = runner.planner.kind(job, Bucket.of(job))
    runner.close()
    return "one at a time" if kind is None else kind.name


def main() -> None:
    """Run all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ts.logging.set_verbosity(ts.logging.WARNING)
    results: dict[str, Any] = {}
    print(f"{'':8}{'engine':16}{'alone, s':>10}{'lanes, s':>10}{'ratio':>8}{'largest difference of a value':>32}")
    for name, case in CASES.items():
        problem = train.Problem(**case, epochs=EPOCHS, device="cpu")
        chosen = engine(problem)
        rounds = [(seconds(problem, None), seconds(problem, LANES)) for _ in range(options.rounds)]
        alone, lanes = (statistics.median(r[i][0] for r in rounds) for i in (0, 1))
        pairs = zip(rounds[0][0][1], rounds[0][1][1], strict=True)
        apart = max(abs(a - b) for a, b in pairs if a is not None and b is not None)
        print(f"{name:8}{chosen:16}{alone:10.2f}{lanes:10.2f}{alone / lanes:7.2f}x{apart:32.1e}")
        results[name] = {
            "engine": chosen, "alone": [r[0][0] for r in rounds], "lanes": [r[1][0] for r in rounds],
            "largest_difference": apart,
        }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
