"""Continuous test functions: our evolution strategies, swarms and others against reference implementations.

    python benchmarks/test_functions.py [--dimensions 5 10] [--evaluations 100] [--instances 5] [--json FILE]

Problems are the 24 noiseless functions of COCO's bbob suite (Hansen et al. 2021: COCO: a platform for comparing
continuous optimizers in a black-box setting. Optim. Methods Softw. 36, 114-144) where ``coco-experiment`` is installed,
else seven well-known functions, shifted and (half of them) rotated at random. An instance is a seed of everything.
References, where they are installed: the packages ``cmaes`` (a plain loop with bounds by resampling and IPOP restarts)
and ``cma`` (with its own bounds and restarts), differential evolution and Nelder-Mead of SciPy, PSO of Nevergrad. All
CMA-ES begin in the middle with a sixth of the range; the rest is each implementation's default.

The precision of a run is its best value less the optimum after a fifth of the evaluations and after all of them
(``--evaluations`` times the dimension). Printed are medians over problems and, in pairs, the geometric mean of
ours / reference (below 1: ours is better) and on how many problems ours is better, equal or worse; precisions below
1e-8 are equal, as in COCO.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tunesmith as ts
from tunesmith.samplers import known_names

#: Ours -> what it is compared with.
PAIRS = {
    "cmaes": ("ref:cmaes", "ref:pycma"),
    "bipop-cmaes": ("ref:cmaes", "ref:pycma"),
    "pso": ("ref:nevergrad-pso",),
    "differentialevolution": ("ref:scipy-de",),
    "nelder-mead": ("ref:scipy-nelder-mead",),
    "annealing": ("random",),
}
SOLVED = 1e-8
SIGMA = 1 / 6


@dataclass(frozen=True)
class Problem:
    """``f`` on the unit cube of ``d`` dimensions, whose least value is ``least``."""

    name: str
    d: int
    f: Callable[[np.ndarray], float]
    least: float


class Spent(Exception):
    """The evaluations are used up."""


class Counter:
    """Counts evaluations, keeps the best value after each, and raises :class:`Spent`."""

    def __init__(self, problem: Problem, most: int) -> None:
        self.problem, self.most = problem, most
        self.best: list[float] = []

    def __call__(self, x: Any) -> float:
        if len(self.best) >= self.most:
            raise Spent
        value = float(self.problem.f(np.clip(np.asarray(x, float), 0.0, 1.0)))
        self.best.append(min(value, self.best[-1]) if self.best else value)
        return value


# -- problems ---------------------------------------------------------------------------------------------------------


def coco_problems(dimensions: list[int], instances: int) -> Iterator[Problem]:
    import cocoex

    options = f"dimensions: {','.join(map(str, dimensions))} instance_indices: 1-{instances}"
    for problem in cocoex.Suite("bbob", "", options):
        low, span = problem.lower_bounds, problem.upper_bounds - problem.lower_bounds
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # COCO says it to a file only
            problem._best_parameter("print")
            best = Path("._bbob_problem_best_parameter.txt").read_text().split()
        least = float(problem([float(x) for x in best]))
        yield Problem(problem.id, problem.dimension, lambda u, p=problem, a=low, s=span: float(p(a + s * u)), least)


def sphere(z: np.ndarray) -> float:
    return float(z @ z)


def ellipsoid(z: np.ndarray) -> float:
    return float(10.0 ** np.linspace(0, 6, len(z)) @ z**2)


def rosenbrock(z: np.ndarray) -> float:
    y = z + 1.0
    return float(np.sum(100.0 * (y[1:] - y[:-1] ** 2) ** 2 + (1.0 - y[:-1]) ** 2))


def rastrigin(z: np.ndarray) -> float:
    return float(10.0 * len(z) + np.sum(z**2 - 10.0 * np.cos(2.0 * np.pi * z)))


def ackley(z: np.ndarray) -> float:
    spread, waves = math.sqrt(float(z @ z) / len(z)), float(np.mean(np.cos(2.0 * np.pi * z)))
    return 20.0 - 20.0 * math.exp(-0.2 * spread) + math.e - math.exp(waves)


def schwefel_sums(z: np.ndarray) -> float:
    return float(np.sum(np.cumsum(z) ** 2))


def different_powers(z: np.ndarray) -> float:
    return float(np.sum(np.abs(z) ** np.linspace(2, 6, len(z))))


FUNCTIONS = (sphere, ellipsoid, rosenbrock, rastrigin, ackley, schwefel_sums, different_powers)


def own_problems(dimensions: list[int], instances: int) -> Iterator[Problem]:
    """The optimum is uniform in the middle four fifths of [-5, 5]^d; odd instances are rotated."""
    for d in dimensions:
        for function in FUNCTIONS:
            for instance in range(instances):
                rng = np.random.default_rng([d, instance])
                shift = rng.uniform(-4, 4, d)
                turn = np.linalg.qr(rng.normal(size=(d, d)))[0] if instance % 2 else np.eye(d)

                def f(u: np.ndarray, g: Any = function, s: np.ndarray = shift, q: np.ndarray = turn) -> float:
                    return float(g(q @ (10.0 * u - 5.0 - s)))

                yield Problem(f"{function.__name__}_i{instance}_d{d}", d, f, 0.0)


# -- methods ----------------------------------------------------------------------------------------------------------


def ours(name: str, f: Counter, d: int, seed: int) -> None:
    space = ts.Space({f"x{i}": ts.Float(0.0, 1.0) for i in range(d)})
    study = ts.create_study(sampler=name, space=space, seed=seed)
    study.optimize(lambda t: f([t.suggest_float(n, 0.0, 1.0) for n in space]), n_trials=f.most)


def package_cmaes(f: Counter, d: int, seed: int) -> None:
    import cmaes

    rng = np.random.default_rng(seed)
    mean, size, bounds = np.full(d, 0.5), None, np.tile([0.0, 1.0], (d, 1))
    while True:
        run = cmaes.CMA(mean=mean, sigma=SIGMA, bounds=bounds, population_size=size, seed=int(rng.integers(2**31)))
        while not run.should_stop():
            run.tell([(x, f(x)) for x in (run.ask() for _ in range(run.population_size))])
        mean, size = rng.random(d), 2 * run.population_size


def pycma(f: Counter, d: int, seed: int) -> None:
    import cma

    options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9, "maxfevals": f.most, "tolfun": 1e-12}
    cma.fmin2(f, np.full(d, 0.5), SIGMA, options, restarts=9, bipop=False)


def scipy_de(f: Counter, d: int, seed: int) -> None:
    from scipy.optimize import differential_evolution

    while True:
        seed = int(np.random.default_rng(seed).integers(2**31))
        differential_evolution(f, [(0.0, 1.0)] * d, rng=np.random.default_rng(seed), polish=False)


def scipy_nelder_mead(f: Counter, d: int, seed: int) -> None:
    from scipy.optimize import minimize

    rng, start = np.random.default_rng(seed), np.full(d, 0.5)
    while True:
        simplex = np.vstack([start, start + np.where(start > 0.75, -0.25, 0.25) * np.eye(d)])
        options = {"adaptive": True, "initial_simplex": simplex}
        minimize(f, start, method="Nelder-Mead", bounds=[(0.0, 1.0)] * d, options=options)
        start = rng.random(d)


def nevergrad_pso(f: Counter, d: int, seed: int) -> None:
    import nevergrad as ng

    cube = ng.p.Array(init=np.full(d, 0.5)).set_bounds(0.0, 1.0)
    cube.random_state.seed(seed)
    ng.optimizers.registry["PSO"](parametrization=cube, budget=f.most).minimize(f)


REFERENCES: dict[str, tuple[str, Callable[[Counter, int, int], None]]] = {
    "ref:cmaes": ("cmaes", package_cmaes),
    "ref:pycma": ("cma", pycma),
    "ref:scipy-de": ("scipy", scipy_de),
    "ref:scipy-nelder-mead": ("scipy", scipy_nelder_mead),
    "ref:nevergrad-pso": ("nevergrad", nevergrad_pso),
}


def available() -> list[str]:
    """Methods that can be run here, ours and references."""
    mine = [name for name in (*PAIRS, "random") if name in known_names()]
    return mine + [name for name, (module, _) in REFERENCES.items() if importlib.util.find_spec(module)]


def precisions(method: str, problem: Problem, evaluations: int, seed: int) -> tuple[list[float], float]:
    """After a fifth of the evaluations and after all; and the seconds it took."""
    counter, begin = Counter(problem, evaluations), time.perf_counter()
    try:
        if method in REFERENCES:
            REFERENCES[method][1](counter, problem.d, seed)
        else:
            ours(method, counter, problem.d, seed)
    except Spent:
        pass
    path = counter.best
    at = [min(math.ceil(evaluations / 5), len(path)), len(path)]
    return [max(path[k - 1] - problem.least, SOLVED) for k in at], time.perf_counter() - begin


# -- tables -----------------------------------------------------------------------------------------------------------


def medians(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "| method | median precision, 1/5 | median precision, all | solved | seconds a run |",
        "|---|---|---|---|---|",
    ]
    for method, rows in sorted(runs.items(), key=lambda item: np.median([r["precision"][1] for r in item[1]])):
        p = np.array([r["precision"] for r in rows])
        seconds = np.median([r["seconds"] for r in rows])
        solved = f"{int((p[:, 1] <= SOLVED).sum())}/{len(p)}"
        lines.append(f"| {method} | {np.median(p[:, 0]):.2e} | {np.median(p[:, 1]):.2e} | {solved} | {seconds:.2f} |")
    return lines


def pairs(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["| ours | reference | ratio, 1/5 | ratio, all | better / equal / worse |", "|---|---|---|---|---|"]
    for method, references in PAIRS.items():
        for reference in references:
            if method in runs and reference in runs:
                one, other = (np.log10([r["precision"] for r in runs[m]]) for m in (method, reference))
                less = one - other
                counts = [int(c.sum()) for c in (less[:, 1] < -0.05, abs(less[:, 1]) <= 0.05, less[:, 1] > 0.05)]
                ratios = " | ".join(f"{r:.2f}" for r in 10.0 ** less.mean(axis=0))
                lines.append(f"| {method} | {reference} | {ratios} | {' / '.join(map(str, counts))} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--evaluations", type=int, default=100, help="times the dimension")
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--functions", choices=["coco", "own"], help="default: coco, where it is installed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    ts.logging.set_verbosity(ts.logging.ERROR)
    warnings.simplefilter("ignore")
    functions = args.functions or ("coco" if importlib.util.find_spec("cocoex") else "own")
    make = coco_problems if functions == "coco" else own_problems
    methods = [m for m in available() if args.methods is None or m in args.methods]
    runs: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for k, problem in enumerate(make(args.dimensions, args.instances)):
        for method in methods:
            found, seconds = precisions(method, problem, args.evaluations * problem.d, seed=k)
            runs[method].append({"problem": problem.name, "precision": found, "seconds": seconds})
    print(f"{functions}: {len(next(iter(runs.values())))} problems, {args.evaluations} evaluations a dimension\n")
    print("\n".join([*medians(runs), "", *pairs(runs)]))
    if args.json:
        about = {"functions": functions, "arguments": {k: str(v) for k, v in vars(args).items()}}
        machine = {"python": platform.python_version(), "tunesmith": ts.__version__, "machine": platform.machine()}
        args.json.write_text(json.dumps({**about, **machine, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
