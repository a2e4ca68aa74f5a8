"""Results with known numbers, made by hand."""

from __future__ import annotations

import numpy as np

from tunesmith.compare.result import ComparisonResult, Method, Run, TrialRow, best_number

SPACE = {
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99},
        "width": {"type": "int", "low": 8, "high": 512, "log": True},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    }
}


def synthetic(
    offsets: dict[str, float] | None = None, *, trials: int = 12, repeats: int = 10, seed: int = 1
) -> ComparisonResult:
    """Noisy losses around ``0.4 + offset``; repeat effects are shared by the methods, as pairing would have it."""
    offsets = {"random": 0.0, "sobol": -0.05, "pso": -0.06} if offsets is None else offsets
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.05, repeats)
    runs = []
    for label, offset in offsets.items():
        for repeat in range(repeats):
            rows = []
            for k in range(trials):
                u = rng.random(4)
                loss = 0.4 + offset + shared[repeat] + float(0.3 * (u[0] - 0.5) ** 2 + 0.1 * u[1] + rng.normal(0, 0.01))
                accuracy = 1 - loss / 2
                curve = [[e, loss + 1.0 / e] for e in (1.0, 2.0, 3.0)]
                rows.append(
                    TrialRow(
                        k, "COMPLETE",
                        {"lr": float(10 ** (-4 + 3 * u[0])), "momentum": float(0.99 * u[1]),
                         "width": int(8 * 64 ** u[2]), "optimizer": "sgd" if u[3] < 0.5 else "adam"},
                        loss, {"loss": loss, "accuracy": accuracy}, {"loss": curve}, 1.5 + 0.1 * k,
                        label == "pso" and k < 5,
                    )
                )  # fmt: skip
            best = best_number(rows, "minimize")
            assert best is not None
            test = {"loss": rows[best].value + 0.02, "accuracy": rows[best].metrics["accuracy"] - 0.01}
            runs.append(Run(label, repeat, f"{label}/repeat-{repeat:02d}", 7, rows, best, test, None, "", 0.3, 20.0))
    return ComparisonResult(
        "LeNet-5 on Fashion-MNIST (2,000 training, 500 validation, 1,000 test images)",
        {"kind": "synthetic"}, SPACE, "loss", "minimize", ["loss", "accuracy"], ["loss", "accuracy"],
        [Method(m, m, m) for m in offsets], {}, trials, repeats, 0, 1, runs,
        {"versions": {"python": "3.11"}, "hardware": {"machine": "test"}}, [], True, "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z",
    )  # fmt: skip


def known(values: dict[str, list[float | None]], **changes) -> ComparisonResult:
    """One trial a run with exactly these best values; None makes the trial a failed one."""
    runs = []
    for label, column in values.items():
        for repeat, value in enumerate(column):
            state = "FAIL" if value is None else "COMPLETE"
            metrics = {} if value is None else {"loss": value}
            row = TrialRow(0, state, {"lr": 0.01}, value, metrics, {}, 2.0)
            runs.append(Run(label, repeat, f"{label}/{repeat}", 1, [row], None if value is None else 0))
    repeats = max(map(len, values.values()))
    fields = {
        "title": "known", "problem": {}, "space": {"parameters": {"lr": {"type": "float", "low": 0, "high": 1}}},
        "objective": "loss", "direction": "minimize", "metrics": ["loss"], "test_metrics": [],
        "methods": [Method(m, m) for m in values], "skipped": {}, "trials": 1, "repeats": repeats, "seed": 0,
        "runs": runs,
    }  # fmt: skip
    return ComparisonResult(**{**fields, **changes})
