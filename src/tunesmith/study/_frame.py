"""Trials as a data frame, with Optuna's column names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidValueError, MissingDependencyError
from tunesmith.trial import FrozenTrial

if TYPE_CHECKING:
    import pandas as pd

    from tunesmith.study._study import Study

_KNOWN = {
    "number", "value", "values", "state", "datetime_start", "datetime_complete", "duration", "params", "distributions",
    "user_attrs", "system_attrs", "intermediate_values", "constraints", "last_step",
}  # fmt: skip


def trials_dataframe(study: Study, attrs: tuple[str, ...], multi_index: bool) -> pd.DataFrame:
    """One row a trial.

    Args:
        study: the study.
        attrs: fields of :class:`~tunesmith.trial.FrozenTrial`; dictionaries become one column a key.
        multi_index: two-level columns ``("params", "x")`` instead of ``"params_x"``.

    Raises:
        MissingDependencyError: pandas is not installed. InvalidValueError: an unknown field.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError("Data frames need pandas: pip install 'tunesmith[pandas]'.") from error
    if unknown := sorted(set(attrs) - _KNOWN):
        raise InvalidValueError(f"Unknown trial fields {unknown}; known: {sorted(_KNOWN)}.")
    names = study.metric_names
    several = len(study.directions) > 1
    rows = [_row(trial, attrs, several, names) for trial in study.get_trials()]
    columns: dict[tuple[str, str], None] = {}
    for attr in attrs:  # columns grouped by field, in the order of the first trial that has them
        for row in rows:
            columns.update({key: None for key in row if key[0] == _column(attr, several)})
    frame = pd.DataFrame([[row.get(key) for key in columns] for row in rows])
    if len(columns):
        if multi_index:
            frame.columns = pd.MultiIndex.from_tuples(list(columns))
        else:
            frame.columns = pd.Index(["_".join(part for part in key if part) for key in columns])
    return frame


def _column(attr: str, several: bool) -> str:
    return "values" if attr == "value" and several else attr


def _row(trial: FrozenTrial, attrs: tuple[str, ...], several: bool, names: list[str] | None) -> dict[Any, Any]:
    row: dict[tuple[str, str], Any] = {}
    for attr in attrs:
        column = _column(attr, several)
        value = trial.state.name if attr == "state" else getattr(trial, column)
        if column == "values":
            for i, v in enumerate(value or []):
                row["values", names[i] if names else str(i)] = v
        elif column == "value" and names:
            row["value", names[0]] = value
        elif isinstance(value, dict):
            row.update({(column, str(k)): v for k, v in value.items()})
        else:
            row[column, ""] = value
    return row
