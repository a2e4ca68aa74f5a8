"""What TPESampler's choices are worth, on development tables and test functions; one JSON line a method and problem set.

python measure.py tables|functions SEEDS OUT '{"label": ..., "optuna": bool, "random": bool, "uniform_start": bool, ...arguments}' ...
Ordered values are integers (their index), others choices. Functions have 4 and 8 parameters in the unit cube.
"""

import json
import sys
import time
import warnings

import numpy as np

import tunesmith as ts
from tunesmith.samplers import RandomSampler, TPESampler, tpe
from tunesmith.samplers._sobol import first_rows
from tunesmith.study import suggest_all

FIRST_TRIALS, TABLE_TRIALS, FUNCTION_TRIALS = (20, 40, 60), 60, 150


def rotation(d):
    return np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))[0]


ROTATIONS = {d: rotation(d) for d in (4, 8)}


def sphere(x):
    return ((x - 0.3) ** 2).sum()


def rosenbrock(x):
    z = x * 4 - 1.5
    return (100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum()


def rastrigin(x):
    z = (x - 0.37) * 6
    return (z**2 - 4 * np.cos(2 * np.pi * z) + 4).sum()


def ellipsoid(x):
    z = ROTATIONS[len(x)] @ (x - 0.4)
    return (z**2 * 10.0 ** (2 * np.arange(len(x)) / (len(x) - 1))).sum()


def ackley(x):
    z = (x - 0.45) * 10
    return -20 * np.exp(-0.2 * np.sqrt((z**2).mean())) - np.exp(np.cos(2 * np.pi * z).mean()) + 20 + np.e


def few(x):
    """Two parameters matter, and interact."""
    a, b = x[0] - 0.7, x[1] - 0.2
    return a**2 + 0.5 * b**2 + a * b + 0.01 * np.abs(x[2:] - 0.5).sum()


def uniform_rows(space, history, method, rng, n):
    return rng.random((n, len(space)))


FUNCTIONS = [(f, d) for f in (sphere, rosenbrock, rastrigin, ellipsoid, ackley, few) for d in (4, 8)]


def ours(space, options, seed):
    """ask() -> values, tell(value)."""
    tpe.first_rows = uniform_rows if options.pop("uniform_start", False) else first_rows
    sampler = RandomSampler() if options.pop("random", False) else TPESampler(**options)
    study = ts.create_study(sampler=sampler, space=space, seed=seed)

    def ask():
        trial = study.ask()
        params = suggest_all(trial, space)
        return list(params.values()), lambda value: study.tell(trial, value)

    return ask


def theirs(space, options, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, **options))

    def ask():
        trial = study.ask()
        values = []
        for name, d in space.items():
            if d.kind == "categorical":
                values.append(trial.suggest_categorical(name, d.choices))
            elif d.kind == "int":
                values.append(trial.suggest_int(name, d.low, d.high))
            else:
                values.append(trial.suggest_float(name, d.low, d.high))
        return values, lambda value: study.tell(trial, value)

    return ask


def searcher(space, options, seed):
    options = {k: v for k, v in options.items() if k != "label"}
    return theirs(space, options, seed) if options.pop("optuna", False) else ours(space, options, seed)


def on_table(table, options, seed):
    kinds = zip(table.sizes, table.cat, strict=True)
    space = ts.Space(
        {f"x{j}": ts.Categorical(list(range(m))) if c else ts.Int(0, m - 1) for j, (m, c) in enumerate(kinds)}
    )
    ask, noise = searcher(space, options, seed), np.random.default_rng([seed, 77])
    cells, values = [], []
    for _ in range(TABLE_TRIALS):
        index, tell = ask()
        cell = int(np.ravel_multi_index(index, table.sizes))
        value = float(table.vals[cell, noise.integers(table.reps[cell])])
        tell(value)
        cells.append(cell)
        values.append(value)
    return table.regret(cells, np.array(values))[[n - 1 for n in FIRST_TRIALS]]


def on_function(function, d, options, seed):
    ask = searcher(ts.Space({f"x{j}": ts.Float(0, 1) for j in range(d)}), options, seed)
    values = []
    for _ in range(FUNCTION_TRIALS):
        x, tell = ask()
        values.append(float(function(np.array(x))))
        tell(values[-1])
    return np.log10([min(values[:50]), min(values)])


def main():
    what, seeds, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    warnings.simplefilter("ignore")
    ts.logging.set_verbosity(ts.logging.ERROR)
    if what == "tables":
        from tables import development

        problems = [(t.name, lambda o, s, t=t: on_table(t, o, s)) for t in development()]
    else:
        problems = [(f"{f.__name__}-{d}", lambda o, s, f=f, d=d: on_function(f, d, o, s)) for f, d in FUNCTIONS]
    for text in sys.argv[4:]:
        options, begin = json.loads(text), time.perf_counter()
        found = {name: np.array([run(options, seed) for seed in range(seeds)]) for name, run in problems}
        whole = np.array(list(found.values()))
        line = {
            "what": what, "options": options, "seeds": seeds, "seconds": round(time.perf_counter() - begin, 1),
            "mean": whole.mean((0, 1)).round(4).tolist(),
            "standard_error": (whole.mean(0).std(0, ddof=1) / seeds**0.5).round(4).tolist(),
            "by_problem": {name: v.mean(0).round(4).tolist() for name, v in found.items()},
        }  # fmt: skip
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")
        print(what, text, line["mean"], "+-", line["standard_error"], flush=True)


if __name__ == "__main__":
    main()
