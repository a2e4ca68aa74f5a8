"""Putting trials into a study by hand: whole records, or configurations to be evaluated next."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tunesmith import events as ev
from tunesmith.distributions import BaseDistribution, check_same_kind, choice_key, choice_to_json
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.records import objective_names
from tunesmith.space import Space
from tunesmith.study._log import StudyLog
from tunesmith.trial import FrozenTrial
from tunesmith.trial._base import check_number, check_report, clean_attr


def add_events(log: StudyLog, trials: list[FrozenTrial]) -> None:
    """Append the trials as one record, so that all or none are added.

    Raises:
        InvalidValueError: a record contradicts itself or the study (number of values, kind of a parameter).
    """
    for trial in trials:
        if not isinstance(trial, FrozenTrial):
            raise InvalidTypeError(f"A FrozenTrial is needed (see create_trial), not {trial!r}.")
        trial.validate()
    if not trials:
        return
    with log.lock:
        log.sync()
        known = dict(log.fold.distributions)
        for trial in trials:
            _check(log, trial)
            check_kinds(known, trial.distributions)
            known.update(trial.distributions)
        fate = False
        while not fate:
            new, added = fields_of(log, trials)
            fate = log.append([*new, {"e": "add", "n": log.fold.n_trials, "trials": added}])[-1]


def fields_of(log: StudyLog, trials: list[FrozenTrial]) -> tuple[list[ev.Event], list[dict[str, Any]]]:
    """The trials of an ``add`` event, and the events that must stand before it."""
    spaces: dict[str, ev.Event] = {}
    further = log.fold.table.metrics[1 : len(log.fold.directions)]
    objectives = {name: i for i, name in enumerate(further, 1)}
    objectives.update({own: objectives[name] for name, own in objective_names(log.fold).items()})
    added = [_fields(trial, spaces, objectives) for trial in trials]
    return [e for space_id, e in spaces.items() if space_id not in log.fold.spaces], added


def _check(log: StudyLog, trial: FrozenTrial) -> None:
    if trial.values is not None and len(trial.values) != len(log.fold.directions):
        raise InvalidValueError(
            f"The added trial has {len(trial.values)} values, but the study has {len(log.fold.directions)} objectives."
        )


def check_kinds(known: Mapping[str, BaseDistribution], new: Mapping[str, BaseDistribution]) -> None:
    """No parameter may be of another kind than before (see :func:`check_same_kind`)."""
    for name, distribution in new.items():
        if name in known:
            check_same_kind(name, known[name], distribution)


def _microseconds(time: datetime.datetime) -> int:
    """Since 1970 in UTC, exactly (a naive time is local)."""
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond


def _fields(trial: FrozenTrial, spaces: dict[str, ev.Event], objectives: Mapping[str, int]) -> dict[str, Any]:
    """One trial of an ``add`` event; the space it refers to is put into ``spaces``.

    Args:
        trial: the record.
        spaces: space id -> event.
        objectives: name of a further objective among the metrics -> its index.
    """
    reports: list[list[Any]] = []
    for metric, values in ((0, trial.intermediate_values), *trial.metrics.items()):
        which = objectives.get(metric, metric) if isinstance(metric, str) else metric
        for at, reported in values.items():
            value, step = check_report(reported, at)
            reports.append([step, value, which] if which else [step, value])
    user_attrs = {k: clean_attr(k, v) for k, v in trial.user_attrs.items()}
    fields: dict[str, Any] = {"st": int(trial.state), **ev.changes_to_json(reports, user_attrs, trial.constraints)}
    if trial.params:
        space = Space({name: trial.distributions[name] for name in trial.params})
        spaces[space.id] = ev.space_event(space)
        fields["s"] = space.id
        fields["p"] = space.to_event(trial.params)
    if trial.values is not None:
        fields["y"] = [ev.number_to_json(check_number(v, "A value of an added trial")) for v in trial.values]
    if trial.datetime_start is not None:
        fields["t0"] = _microseconds(trial.datetime_start)
    fields["t"] = _microseconds(trial.datetime_complete) if trial.datetime_complete is not None else 0
    fields.update(_system_fields(dict(trial.system_attrs)))
    return fields


def _system_fields(attrs: dict[str, Any]) -> dict[str, Any]:
    """Fields for the system attributes; those that this library sets (see ``FrozenTrial``) have fields of their own."""
    fields: dict[str, Any] = {}
    tags, attempt, fixed = attrs.pop("tags", {}), attrs.pop("attempt", 1), attrs.pop("fixed_params", None)
    if not isinstance(tags, Mapping):
        raise InvalidTypeError(f"The system attribute 'tags' of an added trial must be a dictionary, but is {tags!r}.")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
        raise InvalidTypeError(
            f"The system attribute 'attempt' of an added trial must count from 1, but is {attempt!r}."
        )
    if fixed is not None and not isinstance(fixed, Mapping):
        raise InvalidTypeError(
            f"The system attribute 'fixed_params' of an added trial must be a dictionary, but is {fixed!r}."
        )
    if tags:
        fields["g"] = ev.tags_to_json(tags)
    if attempt > 1:
        fields["a"] = attempt
    if fixed is not None:
        fields["f"] = {k: choice_to_json(clean_param(k, v)) for k, v in fixed.items()}
    if attrs:
        fields["sa"] = {k: ev.attr_to_json(clean_attr(k, v)) for k, v in attrs.items()}
    return fields


def enqueue(log: StudyLog, params: Mapping[str, Any], user_attrs: Mapping[str, Any] | None) -> None:
    """Append a WAITING trial with these parameters.

    Raises:
        InvalidTypeError: parameters or attributes that cannot be kept.
    """
    if not isinstance(params, Mapping):
        raise InvalidTypeError(f"`params` must be a dictionary, but is {params!r}.")
    if user_attrs is not None and not isinstance(user_attrs, Mapping):
        raise InvalidTypeError(f"`user_attrs` must be a dictionary, but is {user_attrs!r}.")
    attrs = {k: ev.attr_to_json(clean_attr(k, v)) for k, v in (user_attrs or {}).items()}
    fixed = {k: choice_to_json(clean_param(k, v)) for k, v in params.items()}
    with log.lock:
        log.sync()
        fate = False
        while not fate:
            event: ev.Event = {"e": "wait", "n": log.fold.n_trials, "p": fixed, "t": ev.now()}
            if attrs:
                event["ua"] = attrs
            fate = log.append([event])[-1]


def is_known(trials: Iterable[FrozenTrial], params: Mapping[str, Any]) -> bool:
    """Whether a trial has just these parameters, or was enqueued with just these."""
    if not isinstance(params, Mapping):
        return False
    for trial in trials:
        known = trial.system_attrs.get("fixed_params", trial.params)
        if known.keys() == params.keys() and all(_alike(known[n], clean_param(n, v)) for n, v in params.items()):
            return True
    return False


def _alike(a: Any, b: Any) -> bool:
    """Numbers are the same up to rounding, as in Optuna."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and isinstance(a, bool) == isinstance(b, bool):
        return math.isclose(a, b, rel_tol=1e-5) or (a != a and b != b)
    return choice_key(a) == choice_key(b)


def clean_param(name: Any, value: Any) -> Any:
    """A parameter value as it can be kept: NumPy scalars as Python numbers, lists as tuples."""
    if not isinstance(name, str) or not name:
        raise InvalidTypeError(f"A parameter name must be a non-empty string, but is {name!r}.")
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple(clean_param(name, v) for v in value)
    if isinstance(value, complex):
        raise InvalidTypeError(f"The value {value!r} of {name!r} is complex; parameters are real numbers or choices.")
    return value
