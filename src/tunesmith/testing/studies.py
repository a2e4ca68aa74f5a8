"""Checks that hold for every study, whatever its sampler, pruner and storage: the log is the truth, objects are views.

For tests of plug-ins: call :func:`check_reload` after whatever the plug-in did.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tunesmith.distributions import choice_key
from tunesmith.fold import Fold
from tunesmith.history import History
from tunesmith.records import frozen_trials
from tunesmith.study import Study
from tunesmith.trial import FrozenTrial


def refolded(study: Study) -> Fold:
    """The study's log, written as JSON text and read back, folded from its first event."""
    study.get_trials()  # what live trials hold back is written first
    fold = Fold()
    for record in json.loads(json.dumps(study.storage.read(study._log.study), allow_nan=False)):
        for event in record:
            fold.apply(event)
    return fold


def check_reload(study: Study) -> None:
    """Reading the log from its beginning gives the very trials and columns that the study shows now.

    Raises:
        AssertionError: they differ; the message says where.
    """
    fold = refolded(study)
    check_same_trials(study.get_trials(), frozen_trials(fold))
    check_same_history(study.history, fold.history())
    assert study.user_attrs == fold.user_attrs
    assert study._log.fold.distributions == fold.distributions
    assert study._log.fold.config == fold.config


def check_same_trials(one: list[FrozenTrial], other: list[FrozenTrial]) -> None:
    """Equal trial by trial, and the types of parameter values as well (``True``, 1 and 1.0 differ)."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a == b, f"trial {a.number} differs:\n{a}\n{b}"
        assert _keys(a.params) == _keys(b.params), f"trial {a.number} differs: {a.params} and {b.params}"


def check_same_history(one: History, other: History) -> None:
    """Equal column by column, bit by bit."""
    for name in ("n", "n_trials", "names", "directions", "seed", "budget", "metrics"):
        assert getattr(one, name) == getattr(other, name), name
    assert {k: [choice_key(v) for v in t] for k, t in one.categories.items()} == {
        k: [choice_key(v) for v in t] for k, t in other.categories.items()
    }
    for name in ("X", "Y", "state", "number", "start", "complete", "violation"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in one.reports._fields:
        np.testing.assert_array_equal(getattr(one.reports, name), getattr(other.reports, name), err_msg=name)
    assert sorted(one._tags) == sorted(other._tags)
    for tag in one._tags:
        np.testing.assert_array_equal(one.tag(tag), other.tag(tag), err_msg=tag)
    assert len(one.open) == len(other.open)
    for a, b in zip(one.open, other.open, strict=True):
        assert (a.number, a.state, a.start, dict(a.tags)) == (b.number, b.state, b.start, dict(b.tags))
        assert _keys(a.params) == _keys(b.params)
        assert {k: repr(v) for k, v in a.reports.items()} == {k: repr(v) for k, v in b.reports.items()}


def _keys(params: Any) -> dict[str, Any]:
    return {name: choice_key(value) for name, value in params.items()}
