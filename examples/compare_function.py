"""Which method finds the minimum of a noisy function with the fewest trials?

python examples/compare_function.py [FOLDER]

The folder (default: function-comparison) keeps the studies, so a second run of the same command computes nothing.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console

import tunesmith as ts
from tunesmith.compare import FunctionProblem, compare
from tunesmith.compare.report import write_all
from tunesmith.compare.tables import print_tables

SPACE = ts.Space({"x": ts.Float(-2, 2), "y": ts.Float(-1, 3), "rounded": ts.Categorical([False, True])})


def rosenbrock(trial, seed):
    """A curved valley. ``seed`` is the trial's training seed: all methods meet the same noise, repeat by repeat."""
    params = ts.study.suggest_all(trial, SPACE)
    x, y = params["x"], params["y"]
    if params["rounded"]:
        x, y = round(x, 1), round(y, 1)
    noise = np.random.default_rng(seed).normal(scale=0.05)
    return (1 - x) ** 2 + 5 * (y - x**2) ** 2 + noise


def main(folder):
    problem = FunctionProblem(rosenbrock, SPACE, name="noisy Rosenbrock valley")
    result = compare(problem, ["grid", "random", "sobol", "pso(topology=ring)"], trials=24, repeats=8, out=folder)
    print_tables(result, Console(width=100))
    paths = write_all(result, folder)
    print("Written:", ", ".join(sorted(Path(path).name for path in paths.values())))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "function-comparison")
