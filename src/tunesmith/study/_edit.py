"""Changing what a trial has left behind: edits and deletions are events too, so that the history stays readable."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tunesmith import events as ev
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.records import deleted, frozen_trial
from tunesmith.study._log import StudyLog
from tunesmith.study._states import TrialStates
from tunesmith.study._values import as_values, infeasible
from tunesmith.study._worker import new_worker
from tunesmith.trial import FrozenTrial, TrialState
from tunesmith.trial._base import check_constraint, clean_attr

_LONGEST_REASON = 2000  # characters, as of a trial that failed


def delete_trial(log: StudyLog, states: TrialStates, number: Any, reason: str | None) -> None:
    """See :meth:`tunesmith.study.Study.delete_trial`."""
    event: ev.Event = {"e": "delete", **_why(reason)}
    with log.lock:
        log.sync()
        held = log.fold.open.get(_existing(log, number))
        _append(log, int(number), event)
        if held is not None and held.state_of:
            states.tidy(int(number), held.source)


def edit_trial(
    log: StudyLog,
    number: Any,
    values: float | Sequence[float] | None,
    state: TrialState | None,
    user_attrs: Mapping[str, Any] | None,
    constraints: Mapping[str, float] | None,
    reason: str | None,
) -> FrozenTrial:
    """See :meth:`tunesmith.study.Study.edit_trial`."""
    event: ev.Event = {"e": "edit", **_why(reason)}
    if user_attrs:
        given = _mapping("user_attrs", user_attrs)
        event["ua"] = {k: ev.attr_to_json(clean_attr(k, v)) for k, v in given.items()}
    if constraints:
        numbers = {k: check_constraint(k, v, {}) for k, v in _mapping("constraints", constraints).items()}
        event["c"] = {k: ev.number_to_json(v) for k, v in numbers.items() if v is not None}
    if values is None and state is None and "ua" not in event and "c" not in event:
        raise InvalidValueError(f"Nothing to change in trial {number}: give values, state, user_attrs or constraints.")
    with log.lock:
        log.sync()
        held = log.fold.open.get(_existing(log, number))
        if held is not None and ("c" in event or values is not None or state is not None):
            raise InvalidValueError(
                f"Trial {number} is {held.state.name}: only its user_attrs can be edited. End it with tell(), or "
                "delete_trial() it."
            )
        if values is not None or state is not None:
            event |= _result(frozen_trial(log.fold, int(number)), as_values(values), state, len(log.fold.directions))
        _append(log, int(number), event)
        return frozen_trial(log.fold, int(number))


def _existing(log: StudyLog, number: Any) -> int:
    """The number of a trial that there is.

    Raises:
        InvalidTypeError, InvalidValueError, TrialDeletedError: it is none.
    """
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise InvalidTypeError(f"A trial is named by its number, as in trial.number, not by {number!r}.")
    if log.fold.is_deleted(int(number)):
        raise deleted(int(number))
    if not 0 <= number < log.fold.n_trials:
        raise InvalidValueError(f"There is no trial {number} in this study; it has had {log.fold.n_trials}.")
    return int(number)


def _why(reason: Any) -> dict[str, str]:
    if reason is None:
        return {}
    if not isinstance(reason, str):
        raise InvalidTypeError(f"`reason` must be a text, but is {reason!r}.")
    return {"why": reason[:_LONGEST_REASON]}


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidTypeError(f"`{name}` must be a dictionary, but is {value!r}.")
    return value


def _result(trial: FrozenTrial, values: list[Any] | None, state: TrialState | None, objectives: int) -> dict[str, Any]:
    """State and values after the edit, of which at least one is given.

    Raises:
        InvalidValueError: they do not fit each other, or are no result.
    """
    ends = trial.state if state is None else state
    if not isinstance(ends, TrialState) or not ends.is_finished():
        raise InvalidValueError(f"A finished trial can become COMPLETE, PRUNED or FAIL, but not {ends!r}.")
    if ends is TrialState.FAIL:
        if values is not None:
            remedy = "" if state is not None else " Say state=TrialState.COMPLETE if it has succeeded after all."
            raise InvalidValueError(
                f"A FAIL trial has no values, but {values} are given for trial {trial.number}.{remedy}"
            )
        return {"st": int(ends)}
    kept = trial.values if values is None else values
    if kept is None and ends is TrialState.PRUNED:
        return {"st": int(ends)}
    if kept is None:
        raise InvalidValueError(f"Trial {trial.number} has no values; a COMPLETE trial needs them.")
    if why := infeasible(kept, objectives):
        raise InvalidValueError(why)
    return {"st": int(ends), "y": [ev.number_to_json(float(v)) for v in kept]}


def _append(log: StudyLog, number: int, event: ev.Event) -> None:
    """Write an event with who has made it, and when.

    Raises:
        TrialDeletedError: another process has deleted the trial in this moment.
    """
    worker = _editor(os.getpid())
    before = [] if worker["w"] in log.fold.workers else [worker]
    signed = {**event, "ver": 2, "n": number, "w": worker["w"], "t": ev.now()}
    fate = log.append([*before, signed])[-1]
    log.changed.notify_all()
    if not fate:
        raise deleted(number)


@lru_cache(maxsize=1)
def _editor(pid: int) -> ev.Event:
    """This process in the log, as one who changes what others have written."""
    return new_worker()
