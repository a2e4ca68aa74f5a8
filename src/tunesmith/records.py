"""Fold -> :class:`FrozenTrial`: the records a user sees are views that are made when asked for."""

from __future__ import annotations

import datetime
from collections.abc import Container
from typing import Any

import numpy as np

from tunesmith._gc import paused
from tunesmith._table import DELETED
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import TrialDeletedError
from tunesmith.fold import Fold
from tunesmith.open_trials import OpenTrial
from tunesmith.trial import FrozenTrial, TrialState
from tunesmith.trial._base import own_attrs

_STATES = tuple(TrialState(i) for i in range(len(TrialState)))


def local_time(microseconds: int) -> datetime.datetime | None:
    """Naive local time, as Optuna's fields hold it; ``None`` for 0."""
    return datetime.datetime.fromtimestamp(microseconds / 1e6) if microseconds else None


def frozen_trials(fold: Fold, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
    """All trials by number, optionally only those in ``states``."""
    made: dict[int, FrozenTrial] = {}
    numbers = range(fold.n_trials)
    rows = [fold.where[n] for n in numbers if fold.where[n] >= 0]
    if states is not None:
        rows = [r for r in rows if TrialState(int(fold.table.ints.data[r, 1])) in states]
    with paused(len(rows)):
        for trial in frozen_rows(fold, rows):
            made[trial.number] = trial
    for number, held in fold.open.items():
        if states is None or held.state in states:
            made[number] = _open(fold, held)
    return [made[n] for n in numbers if n in made]


def frozen_trial(fold: Fold, number: int) -> FrozenTrial:
    """The record of one trial.

    Raises:
        IndexError: there is no such number. TrialDeletedError: there is none any more.
    """
    row = fold.where[number]
    if row == DELETED:
        raise deleted(number)
    return frozen_rows(fold, [row])[0] if row >= 0 else _open(fold, fold.open[number])


def deleted(number: int) -> TrialDeletedError:
    """The error for a trial that was deleted."""
    return TrialDeletedError(f"Trial {number} was deleted; its number is not given out again.")


def frozen_rows(fold: Fold, rows: list[int]) -> list[FrozenTrial]:
    """Records of finished rows; columns are turned into Python objects in one go."""
    if not rows:
        return []
    index = np.array(rows)
    X, Y = fold.table.X.data[index].tolist(), fold.table.Y.data[index].tolist()
    columns = zip(rows, X, Y, fold.table.ints.data[index].tolist(), strict=True)
    layouts: dict[int, list[tuple[str, int, BaseDistribution]]] = {}
    reports = _reports_by_row(fold, index)
    further = objective_names(fold)
    trials = []
    for row, x, y, (number, state, start, complete, spaces) in columns:
        layout = layouts.get(spaces)
        if layout is None:
            layout = layouts[spaces] = _layout(fold, spaces)
        params, distributions = _params(fold, layout, row, x)
        tags = _tags(fold, row)
        system = own_attrs(fold.table.system_attrs.get(row) or {})
        if tags:
            system["tags"] = tags
        intermediate, metrics = reports.get(row, ({}, {}))
        if metrics and further:
            metrics = {further.get(name, name): values for name, values in metrics.items()}
        trials.append(
            FrozenTrial(
                number,
                _STATES[state],
                None,
                local_time(start),
                local_time(complete),
                params,
                distributions,
                own_attrs(fold.table.user_attrs.get(row) or {}),
                system,
                intermediate,
                number,
                values=y if y[0] == y[0] else None,
                constraints=dict(fold.table.constraints.get(row, ())),
                metrics=metrics,
            )
        )
    return trials


def _layout(fold: Fold, spaces: int) -> list[tuple[str, int, BaseDistribution]]:
    """(name, column, distribution) of the merged spaces; the last distribution of a name counts."""
    found: dict[str, tuple[str, int, BaseDistribution]] = {}
    for space_id in fold.table.spaces[spaces]:
        columns = fold.table.layout(fold.spaces[space_id]).columns.tolist()
        for (name, dist), column in zip(fold.spaces[space_id].items(), columns, strict=True):
            found[name] = (name, column, dist)
    return list(found.values())


def _params(
    fold: Fold, layout: list[tuple[str, int, BaseDistribution]], row: int, x: list[float]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, column, dist in layout:
        value = x[column]
        if value != value:
            continue
        distributions[name] = dist
        if dist.kind == "float":
            params[name] = value
        elif dist.kind == "int":
            params[name] = fold.table.big.get((row, column), int(value)) if fold.table.big else int(value)
        else:
            params[name] = fold.table.categories[fold.table.names[column]][int(value)]
    return params, distributions


def _tags(fold: Fold, row: int) -> dict[str, Any]:
    tags = {}
    for name, column in fold.table.tags.items():
        if row < column.n:
            values = column.data[row].tolist()
            while values and values[-1] != values[-1]:  # filled up to the longest list of this tag
                values.pop()
            if values:
                tags[name] = values if name in fold.table.vectors else values[0]
    return tags


def _reports_by_row(fold: Fold, index: np.ndarray[Any, Any]) -> dict[int, tuple[dict[int, float], Any]]:
    n = fold.table.reports[0].n
    rows, steps, metrics, values, _ = (c.data[:n] for c in fold.table.reports)
    if n and len(index) < fold.table.ints.n:
        wanted = np.isin(rows, index)
        rows, steps, metrics, values = rows[wanted], steps[wanted], metrics[wanted], values[wanted]
    found: dict[int, tuple[dict[int, float], dict[str, dict[int, float]]]] = {}
    for row, step, metric, value in zip(rows.tolist(), steps.tolist(), metrics.tolist(), values.tolist(), strict=True):
        main, others = found.setdefault(row, ({}, {}))
        target = main if metric == 0 else others.setdefault(fold.table.metrics[metric], {})
        target.setdefault(step, value)
    return found


def objective_names(fold: Fold) -> dict[str, str]:
    """The name in columns -> the user's name, of the objectives after the first."""
    names = fold.metric_names
    return dict(zip(fold.table.metrics[1 : len(names)], names[1:], strict=True)) if names else {}


def _open(fold: Fold, trial: OpenTrial) -> FrozenTrial:
    params, distributions = fold.params(trial.parts)
    intermediate, metrics = fold.reports(trial)
    further = objective_names(fold)
    metrics = {further.get(name, name): values for name, values in metrics.items()}
    system = own_attrs(trial.system_attrs)
    if trial.enqueued is not None:
        system["fixed_params"] = dict(trial.enqueued)
    if trial.tags:
        system["tags"] = dict(trial.tags)
    if trial.attempt > 1:
        system["attempt"] = trial.attempt
    return FrozenTrial(
        trial.number, trial.state, None, local_time(trial.start), None, params, distributions,
        own_attrs(trial.user_attrs), system, intermediate, trial.number, constraints=dict(trial.constraints),
        metrics=metrics,
    )  # fmt: skip
