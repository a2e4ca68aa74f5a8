"""Output transforms of GPSampler on smooth functions: median of the best value after 50 trials, five seeds.

    python functions.py                # adds a line to functions.jsonl for each transform
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ablate import VARIANTS

import tunesmith as ts

A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
WEIGHTS = np.array([1.0, 0.1, 2.0, 0.5, 1.0, 1.0, 0.3, 1.0])


def branin(u: np.ndarray) -> float:
    x, y = 15 * u[0] - 5, 15 * u[1]
    inner = y - 5.1 / (4 * np.pi**2) * x * x + 5 / np.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10 - 0.397887


def rosenbrock(u: np.ndarray) -> float:
    x = 4 * u - 2
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


#: name -> (dimension, function on the unit cube; the minimum is 0).
FUNCTIONS = {
    "Hartmann 6": (6, lambda u: 3.322368 - (np.array([1, 1.2, 3, 3.2]) * np.exp(-(A * (u - P) ** 2).sum(axis=1))).sum()),
    "Branin 2": (2, branin),
    "Rosenbrock 4": (4, rosenbrock),
    "ellipsoid 8": (8, lambda u: ((u - 0.3 - 0.05 * np.arange(8)) ** 2 * WEIGHTS).sum()),
    "sphere with a cliff 4": (4, lambda u: ((u - 0.6) ** 2).sum() + 5 * (u[0] > 0.7)),
}


def evaluate(variant: str) -> dict:
    VARIANTS[variant]()
    ts.logging.set_verbosity(ts.logging.ERROR)
    found = {}
    for name, (d, f) in FUNCTIONS.items():
        space = ts.Space({f"x{i}": ts.Float(0, 1) for i in range(d)})
        best = []
        for seed in range(5):
            study = ts.create_study(space=space, sampler="gp", seed=seed)
            study.optimize(lambda t, f=f, d=d: float(f(np.array([t.suggest_float(f"x{i}", 0, 1) for i in range(d)]))), n_trials=50)
            best.append(study.best_value)
        found[name] = float(f"{np.median(best):.2g}")
    return {"variant": variant, **found}


if __name__ == "__main__":
    if len(sys.argv) == 2:
        with (Path(__file__).parent / "functions.jsonl").open("a") as file:
            file.write(json.dumps(evaluate(sys.argv[1])) + "\n")
    else:
        for name in ("default", "outputs: normal scores", "outputs: logarithm", "outputs: standardised"):
            subprocess.run([sys.executable, __file__, name], check=True)
