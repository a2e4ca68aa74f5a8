"""The same reports told to Optuna and to tunesmith."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna

import tunesmith
from tunesmith.pruners import BasePruner

Curve = Sequence[tuple[int, float]]


def verdicts(
    ours: BasePruner, theirs: Any, curves: Sequence[Curve], result: Callable[[list[float]], float], direction: str
) -> tuple[list[bool], list[bool]]:
    """Whether a trial is to stop, after each report of each trial, by either library.

    Trials go on after a STOP, so that every report is judged, and are COMPLETE with ``result`` of their values; every
    fifth is PRUNED and every seventh FAIL.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    found: list[list[bool]] = []
    for library, rule in ((tunesmith, ours), (optuna, theirs)):
        study: Any = library.create_study(pruner=rule, direction=direction)  # type: ignore[attr-defined]
        states: Any = library.trial.TrialState  # type: ignore[attr-defined]
        said = []
        for k, curve in enumerate(curves):
            trial = study.ask()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                said.append(trial.should_prune())
                for step, value in curve:
                    trial.report(value, step)
                    said.append(trial.should_prune())
                if k % 5 == 4 or k % 7 == 6 or not curve:
                    study.tell(trial, state=states.PRUNED if k % 5 == 4 else states.FAIL)
                else:
                    study.tell(trial, result([value for _, value in curve]))
        found.append([bool(v) for v in said])
    return found[0], found[1]


def random_curves(seed: int, trials: int, steps: int, kind: str) -> list[Curve]:
    """``"smooth"``: reals at every step; ``"ties"``: a few values, steps left out or in any order; ``"odd"``: also NaN
    and infinities."""
    rng = np.random.default_rng(seed)
    curves: list[Curve] = []
    for _ in range(trials):
        if kind == "smooth":
            values = rng.normal() + np.exp(-np.arange(steps)) + 0.2 * rng.normal(size=steps)
            curves.append(list(enumerate(values.tolist())))
            continue
        at = rng.permutation(2 * steps)[: rng.integers(0, steps + 1)]
        at = at if rng.random() < 0.5 else np.sort(at)
        known = [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0] + ([float("nan"), float("inf"), -float("inf")] * (kind == "odd"))
        curves.append([(int(step), float(rng.choice(known))) for step in at])
    return curves
