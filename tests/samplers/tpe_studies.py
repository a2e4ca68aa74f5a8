"""Studies and questions for the tests of TPE."""

from __future__ import annotations

from typing import Any

import numpy as np

import tunesmith as ts
from tunesmith.numerics.streams import stream
from tunesmith.samplers import TPESampler
from tunesmith.space import Space
from tunesmith.study import Study, create_study, suggest_all
from tunesmith.trial import TrialState

PLANE = Space({"x": ts.Float(0, 1), "y": ts.Float(0, 1)})
JOINT = [False, True]


def study_of(space: Space, rows: list[tuple[dict[str, Any], Any]], **options: Any) -> Study:
    """A study with these complete trials (a value of None fails)."""
    study = create_study(space=space, seed=0, **options)
    for params, value in rows:
        study.enqueue_trial(params)
        trial = study.ask()
        suggest_all(trial, space)
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)
    return study


def propose(study: Study, space: Space, n: int = 1, **arguments: Any) -> list[dict[str, Any]]:
    sampler = TPESampler(**{"n_startup_trials": 1, **arguments})
    return [p.params for p in sampler.propose(space, study.history, stream(1, 2), n)]


def rows_of(function: Any, n: int, seed: int = 0) -> list[tuple[dict[str, Any], float]]:
    points = np.random.default_rng(seed).random((n, 2))
    return [({"x": float(x), "y": float(y)}, float(function(x, y))) for x, y in points]
