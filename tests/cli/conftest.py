"""Studies to look at, in both kinds of storage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from tunesmith import logging
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.trial import TrialState, create_trial

SPACE: dict[str, Any] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "opt": CategoricalDistribution(["adam", "sgd", "8", None]),
    "n": IntDistribution(1, 9),
}


@pytest.fixture(autouse=True)
def _verbosity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = logging.get_verbosity()
    monkeypatch.delenv("NO_COLOR", raising=False)
    logging.set_verbosity(logging.WARNING)
    yield
    logging.set_verbosity(before)


@pytest.fixture(params=["sqlite", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage string; the file does not exist yet."""
    return f"sqlite:///{tmp_path}/s.db" if request.param == "sqlite" else f"{tmp_path}/s.jsonl"


@pytest.fixture
def filled(storage: str) -> str:
    """A storage with the studies "digits" (3 complete, number 2 the best, 1 pruned, 1 failed, 1 running, 1 waiting),
    "two" (two objectives), and "empty"."""
    study = tunesmith.create_study(study_name="digits", storage=storage, seed=7)
    params = [
        ({"lr": 0.01, "opt": "adam", "n": 3}, TrialState.COMPLETE, 0.5),
        ({"lr": 0.02, "opt": "8", "n": 4}, TrialState.PRUNED, 0.9),
        ({"lr": 0.03, "opt": None, "n": 5}, TrialState.COMPLETE, 0.125),
        ({"lr": 0.04, "opt": "sgd", "n": 6}, TrialState.FAIL, None),
        ({"lr": 0.05, "opt": "sgd", "n": 7}, TrialState.COMPLETE, math.inf),
    ]
    attrs = {"note": [1, math.nan], "text": 'a,"b"\nc'}
    study.add_trials(
        create_trial(state=state, value=value, params=p, distributions=SPACE, user_attrs=attrs)
        for p, state, value in params
    )
    study.ask(SPACE)
    study.enqueue_trial({"lr": 0.06})
    two = tunesmith.create_study(study_name="two", storage=storage, directions=["minimize", "maximize"], seed=8)
    for values in ([1.0, 5.0], [2.0, 6.0], [3.0, 4.0]):
        two.tell(two.ask({"x": FloatDistribution(0, 1)}), values)
    tunesmith.create_study(study_name="empty", storage=storage, seed=9)
    for s in (study, two):
        s.storage.close()
    return storage
