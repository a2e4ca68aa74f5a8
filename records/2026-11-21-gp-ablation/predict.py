"""How well the model of GPSampler ranks configurations that other methods' histories do not contain.

    python predict.py VARIANT ...     # names as in ablate.py; adds a line to predictions.jsonl for each

The model is fitted to the first 10, 20 and 40 trials of runs of other methods on the seven development tables, and its
posterior mean is compared with the truth on 1,500 random configurations and 200 of the best hundredth. Unlike a whole
search this has little noise: 315 fits a variant. Needs runs.jsonl of the record 2026-11-21-search-efficiency.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ablate import VARIANTS
from scipy.stats import spearmanr

from benchmarks.efficiency import tables
from tunesmith import Categorical, Int, Space
from tunesmith.numerics import gp
from tunesmith.samplers import _gp_model as model
from tunesmith.samplers._gp_features import Features

HERE = Path(__file__).parent
RUNS = HERE.parent / "2026-11-21-search-efficiency" / "runs.jsonl"
METHODS = ("optuna:tpe", "rustuna", "hyperopt")


def histories(table: str) -> list[dict]:
    lines = map(json.loads, RUNS.read_text().splitlines())
    return [x for x in lines if x["table"] == table and x["method"] in METHODS and x["seed"] < 5 and "rows" in x]


def evaluate(name: str) -> dict:
    VARIANTS[name]()
    found: dict[int, list[tuple[float, float, float]]] = {10: [], 20: [], 40: []}
    for table in map(tables.load, tables.DEV):
        sizes = [len(axis.values) for axis in table.axes]
        space = Space({a.name: Int(0, len(a.values) - 1) if a.ordered else Categorical(list(a.values)) for a in table.axes})
        regret = (table.mean - table.best) / (table.median - table.best)
        order = np.argsort(regret)
        top = order[: len(order) // 100 : max(1, len(order) // 20000)]

        def unit(rows: np.ndarray, sizes: list[int] = sizes) -> np.ndarray:
            return (np.array(np.unravel_index(rows, sizes)).T + 0.5) / np.array(sizes)

        for line in histories(table.name):
            rng = np.random.default_rng(line["seed"])
            candidates = np.concatenate([rng.choice(len(regret), 1500, replace=False), top])
            for n, results in found.items():
                rows, losses = np.array(line["rows"][:n]), np.array(line["noisy"][:n])
                features = Features(space, unit(rows))
                x = features(unit(rows))
                evidence = gp.Evidence(features.group, gp.Prior.scaled(features.n_parameters), x, model.half_ranked(losses))
                mode = gp.fit(evidence, [evidence.start], model.EVALUATIONS)
                thetas, weights = gp.mixture(evidence, mode, model.MEMBERS)
                posterior = gp.Posterior(features.group, thetas, x, evidence.y)
                new = np.setdiff1d(candidates, rows)
                mean = np.exp(weights) @ posterior.predict(features(unit(new)))[0]
                first, true = np.argsort(mean), np.minimum(regret[new], 2.0)
                good = regret[new] < 1.0
                rank = spearmanr(mean[good], true[good])[0] if np.ptp(mean[good]) > 0 else 0.0
                results.append((true[first[0]], true[first[:10]].mean(), rank))
    per_n = {str(n): np.mean(results, axis=0).round(4).tolist() for n, results in found.items()}
    return {"variant": name, "n: regret of the first, of the first ten, rank correlation in the better half": per_n,
            "mean": np.mean(list(per_n.values()), axis=0).round(4).tolist(), "fits": sum(map(len, found.values()))}


if __name__ == "__main__":
    if len(sys.argv) == 2:
        with (HERE / "predictions.jsonl").open("a") as file:
            file.write(json.dumps(evaluate(sys.argv[1])) + "\n")
    else:
        for variant in sys.argv[1:]:  # a variant changes modules, so each has a process of its own
            subprocess.run([sys.executable, __file__, variant], check=True)
