"""From a study in the store to a run in the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tunesmith.compare.course import Course, Part
from tunesmith.compare.result import Run, TrialRow, best_number
from tunesmith.study import Study
from tunesmith.trial import FrozenTrial, TrialState

Reports = dict[int, float]

#: Trial attribute with the seconds its evaluation took (the log's own times would include a night between attempts).
SECONDS = "compare.seconds"
#: Study attributes: seconds spent so far; number of trials (with a rule: steps) at which there was nothing left to do.
WALL, EXHAUSTED = "compare.wall_seconds", "compare.exhausted"


def key_of_test(number: int) -> str:
    """The study attribute that holds the test metrics of a trial's configuration."""
    return f"compare.test.{number}"


def count_finished(study: Study, trials: int) -> int:
    """How many of the first ``trials`` trials have ended."""
    return sum(t.number < trials and t.state.is_finished() for t in study.get_trials(deepcopy=False))


def collect_run(
    study: Study,
    label: str,
    repeat: int,
    trials: int,
    metrics: list[str],
    direction: Any,
    *,
    n_initial: int,
) -> Run:
    """The finished ones among the first ``trials`` trials of a study, and what is known about its best one.

    Args:
        study: the study.
        label: of the method.
        repeat: from 0.
        trials: the budget; later trials (from a larger budget) are left out.
        metrics: names of the validation metrics, the objective first.
        direction: of the objective.
        n_initial: trials below this number are initial ones.
    """
    found = sorted(study.get_trials(deepcopy=False), key=lambda t: t.number)
    rows = [_row(t, metrics[0], t.number < n_initial) for t in found if t.number < trials and t.state.is_finished()]
    end = study.user_attrs.get(EXHAUSTED)
    finished = len(rows) >= trials or (end is not None and len(rows) >= end)
    return _run(study, label, repeat, rows, metrics, direction, finished)


def collect_ruled_run(
    study: Study,
    label: str,
    repeat: int,
    course: Course,
    budget: int,
    metrics: list[str],
    direction: Any,
    *,
    n_initial: int,
) -> Run:
    """As :func:`collect_run` for a method with a stopping rule: all trials that were begun within the budget.

    Those that had not ended when it was spent (they ran, or were paused) are PRUNED, with their last value.

    Args:
        study, label, repeat, metrics, direction, n_initial: as there.
        course: of the study.
        budget: in steps; what was done with more (from a larger budget) is left out.
    """
    part = course.until(budget)
    found = sorted(study.get_trials(deepcopy=False), key=lambda t: t.number)
    rows = [_ruled_row(t, metrics[0], t.number < n_initial, part) for t in found if t.number in part.steps]
    finished = (course.spent >= budget and not course.unsettled) or EXHAUSTED in study.user_attrs
    return _run(study, label, repeat, rows, metrics, direction, finished)


def _run(
    study: Study, label: str, repeat: int, rows: list[TrialRow], metrics: list[str], direction: Any, finished: bool
) -> Run:
    best = best_number(rows, direction)
    attrs = study.user_attrs
    test = attrs.get(key_of_test(best), {}) if best is not None else {}
    again = test.get("metrics", {})
    labelled = any(name.startswith("test_") for name in again)  # then the others are validation metrics once more
    return Run(
        method=label, repeat=repeat, study=study.study_name, seed=study.seed, trials=rows, best=best,
        test={name: value for name, value in again.items() if name.startswith("test_") or not labelled},
        retrained=again.get(metrics[0]) if labelled else None,
        test_seconds=test.get("seconds"), wall_seconds=attrs.get(WALL), finished=finished,
    )  # fmt: skip


def _ruled_row(trial: FrozenTrial, objective: str, initial: bool, part: Part) -> TrialRow:
    """What a trial was within a part of its study's budget."""
    last = part.last[trial.number]
    if trial.number in part.ended:
        return replace(_row(trial, objective, initial), spent=last)
    steps = sorted(trial.intermediate_values)[: part.steps[trial.number]]
    reached = {step: trial.intermediate_values[step] for step in steps}
    metrics = {name: {k: v for k, v in found.items() if k in reached} for name, found in trial.metrics.items()}
    value = reached[steps[-1]] if steps and not math.isnan(reached[steps[-1]]) else None
    row = _described(trial, objective, initial, value, reached, metrics)
    return replace(row, state=TrialState.PRUNED.name, error="", spent=last)


def _row(trial: FrozenTrial, objective: str, initial: bool) -> TrialRow:
    return _described(trial, objective, initial, trial.value, trial.intermediate_values, trial.metrics)


def _described(
    trial: FrozenTrial, objective: str, initial: bool, value: float | None, reports: Reports, others: dict[str, Reports]
) -> TrialRow:
    curves = {objective: _curve(reports)} if reports else {}
    curves |= {name: _curve(values) for name, values in others.items()}
    metrics = {} if value is None else {objective: value}
    metrics |= {name: values[max(values)] for name, values in others.items() if values and value is not None}
    duration = trial.user_attrs.get(SECONDS)
    if duration is None and trial.duration is not None:
        duration = trial.duration.total_seconds()
    return TrialRow(
        trial.number, trial.state.name, dict(trial.params), value, metrics, curves,
        None if duration is None or math.isnan(duration) else float(duration), initial,
        str(trial.user_attrs.get("fail_reason") or trial.system_attrs.get("fail_reason", "")),
    )  # fmt: skip


def _curve(values: dict[int, float]) -> list[list[float]]:
    return [[step, values[step]] for step in sorted(values)]


def union(first: Sequence[str], groups: Iterable[Iterable[str]]) -> list[str]:
    """All names in the order they are met."""
    names = dict.fromkeys(first)
    for group in groups:
        names.update(dict.fromkeys(group))
    return list(names)


def remarks(sessions: list[dict[str, Any]]) -> list[str]:
    """Whether the sessions ran on different versions or machines, which pairs survive but times do not."""
    lines = []
    for group, word in (("versions", "versions"), ("hardware", "hardware")):
        seen: dict[str, set[str]] = {}
        for session in sessions:
            for name, value in session.get(group, {}).items():
                seen.setdefault(name, set()).add(str(value))
        if changed := [f"{name} {' / '.join(sorted(values))}" for name, values in seen.items() if len(values) > 1]:
            lines.append(f"Several sessions with different {word}: {', '.join(changed)}.")
    return lines


def utc() -> str:
    """Now, as an ISO time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
