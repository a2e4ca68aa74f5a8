"""From a study in the store to a run in the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from tunesmith.compare.result import Run, TrialRow, best_number
from tunesmith.study import Study
from tunesmith.trial import FrozenTrial

#: Trial attribute with the seconds its evaluation took (the log's own times would include a night between attempts).
SECONDS = "compare.seconds"
#: Study attributes: seconds spent so far; number of trials at which its sampler had nothing left.
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
    best = best_number(rows, direction)
    attrs = study.user_attrs
    test = attrs.get(key_of_test(best), {}) if best is not None else {}
    again = test.get("metrics", {})
    labelled = any(name.startswith("test_") for name in again)  # then the others are validation metrics once more
    end = attrs.get(EXHAUSTED)
    return Run(
        method=label, repeat=repeat, study=study.study_name, seed=study.seed, trials=rows, best=best,
        test={name: value for name, value in again.items() if name.startswith("test_") or not labelled},
        retrained=again.get(metrics[0]) if labelled else None,
        test_seconds=test.get("seconds"), wall_seconds=attrs.get(WALL),
        finished=len(rows) >= trials or (end is not None and len(rows) >= end),
    )  # fmt: skip


def _row(trial: FrozenTrial, objective: str, initial: bool) -> TrialRow:
    curves = {objective: _curve(trial.intermediate_values)} if trial.intermediate_values else {}
    curves |= {name: _curve(values) for name, values in trial.metrics.items()}
    value = trial.value
    metrics = {} if value is None else {objective: value}
    metrics |= {name: values[max(values)] for name, values in trial.metrics.items() if values and value is not None}
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
