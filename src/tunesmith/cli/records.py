"""Trials as rows of a table, as CSV and as JSON records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.cli import output

if TYPE_CHECKING:
    from tunesmith.compare.render import Table
    from tunesmith.study import Study
    from tunesmith.trial import FrozenTrial


def value_names(study: Study) -> list[str]:
    """What the objectives are called: their names if set, else ``value``, or ``values_0``, ``values_1``, ..."""
    n = len(study.directions)
    return study.metric_names or (["value"] if n == 1 else [f"values_{i}" for i in range(n)])


def state_name(state: str) -> str:
    """A state for people: ``COMPLETE`` -> complete, ``FAIL`` -> failed."""
    return "failed" if state == "FAIL" else state.lower()


def as_record(trial: FrozenTrial) -> dict[str, Any]:
    """Everything known about a trial; ``value`` only when there is one objective."""
    values = trial.values
    record: dict[str, Any] = {"number": trial.number, "state": trial.state.name}
    if values is None or len(values) == 1:
        record["value"] = values[0] if values else None
    record |= {
        "values": values,
        "params": trial.params,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
        "seconds": seconds(trial),
        "intermediate_values": trial.intermediate_values,
        "metrics": trial.metrics,
        "constraints": trial.constraints,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
    }
    return record


def seconds(trial: FrozenTrial) -> float | None:
    """How long a finished trial took."""
    return None if trial.duration is None else trial.duration.total_seconds()


def as_csv(study: Study, trials: Sequence[FrozenTrial]) -> str:
    """One row a trial. Columns: number, state, the value(s), params_*, metrics_* (last value), times, attributes."""
    names = value_names(study)
    groups = ("params", "metrics", "constraints", "user_attrs", "system_attrs")
    keys = {g: list(dict.fromkeys(key for t in trials for key in getattr(t, g))) for g in groups}
    headers = ["number", "state", *(f"value_{n}" for n in names)] if study.metric_names else ["number", "state", *names]
    headers += [f"{group}_{key}" for group in groups[:2] for key in keys[group]]
    headers += ["datetime_start", "datetime_complete", "seconds"]
    headers += [f"{group}_{key}" for group in groups[2:] for key in keys[group]]
    rows = []
    for trial in trials:
        values: list[Any] = trial.values or [None] * len(names)  # type: ignore[list-item]
        row: list[Any] = [trial.number, trial.state.name, *values]
        row += [_cell(trial, group, key) for group in groups[:2] for key in keys[group]]
        row += [output.utc(trial.datetime_start), output.utc(trial.datetime_complete), seconds(trial)]
        row += [_cell(trial, group, key) for group in groups[2:] for key in keys[group]]
        rows.append(row)
    return output.csv_text(headers, rows)


def _cell(trial: FrozenTrial, group: str, key: str) -> Any:
    """A field. A value None is written ``null``, because an empty field means that the trial has no such entry."""
    fields = getattr(trial, group)
    if key not in fields:
        return None
    value = fields[key]
    if group == "metrics":
        return value[max(value)] if value else None
    return "null" if value is None else value


def as_table(study: Study, trials: Sequence[FrozenTrial], title: str = "") -> Table:
    """Trials for people: number, state, value(s), parameters, last metrics, duration; the best one is marked."""
    from tunesmith.compare import formatting
    from tunesmith.compare.render import Cell, Column, Table

    names = value_names(study)
    best = best_numbers(study)
    shown = [params_of(t) for t in trials]
    params = list(dict.fromkeys(name for given in shown for name in given))
    metrics = list(dict.fromkeys(name for t in trials for name in t.metrics))
    columns = [Column("#"), Column("state", "left"), *(Column(name) for name in names)]
    columns += [Column(name, rank=20 + i) for i, name in enumerate(params)]
    columns += [Column(name, rank=60 + i) for i, name in enumerate(metrics)] + [Column("time", rank=50)]
    rows = []
    for trial, given in zip(trials, shown, strict=True):
        values = trial.values or [float("nan")] * len(names)
        row = [Cell(str(trial.number), trial.number), Cell(state_name(trial.state.name))]
        row += [Cell(formatting.number(v), v, trial.number in best) for v in values]
        row += [Cell(_shown(given[n]) if n in given else formatting.NOTHING) for n in params]
        row += [Cell(formatting.number(_cell(trial, "metrics", n))) for n in metrics]
        row += [Cell(formatting.seconds(seconds(trial)))]
        rows.append(row)
    return Table(title, columns, rows)


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial has, or, before it runs, what was enqueued."""
    return trial.params or trial.system_attrs.get("fixed_params", {})


def _shown(value: Any) -> str:
    from tunesmith.compare import formatting

    return "None" if value is None else formatting.number(value)


def best_numbers(study: Study) -> set[int]:
    """The numbers of the best trial, or of the Pareto front; empty when no trial is complete."""
    return {trial.number for trial in best_trials(study)}


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best trial, or the Pareto front; empty when no trial is complete."""
    if len(study.directions) > 1:
        return study.best_trials
    return [] if study.history.best_row is None else [study.best_trial]


def as_markdown(study: Study, trials: Sequence[FrozenTrial]) -> str:
    """The trials as a Markdown table, with a heading."""
    from tunesmith.compare.render import markdown

    return markdown(as_table(study, trials, f"Study {study.study_name}: {len(trials)} trials"))


def as_text(study: Study, trials: Sequence[FrozenTrial], kind: str) -> str:
    """The trials in a file's format: ``csv``, ``json`` (one list), ``jsonl`` (one record a line) or ``md``."""
    if kind == "csv":
        return as_csv(study, trials)
    if kind == "md":
        return as_markdown(study, trials)
    if kind == "jsonl":
        return "".join(output.to_json(as_record(t)) + "\n" for t in trials)
    return output.to_json([as_record(t) for t in trials], indent=2) + "\n"
