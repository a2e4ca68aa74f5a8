"""Trials as a data frame, with Optuna's column names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.trial import FrozenTrial

if TYPE_CHECKING:
    import pandas as pd

    from tunesmith.study._reader import StudyReader

_KNOWN = {
    "number", "value", "values", "state", "datetime_start", "datetime_complete", "duration", "params", "distributions",
    "user_attrs", "system_attrs", "intermediate_values", "metrics", "constraints", "last_step", "_trial_id",
}  # fmt: skip


def trials_dataframe(study: StudyReader, attrs: tuple[str, ...], multi_index: bool) -> pd.DataFrame:
    """One row a trial.

    Args:
        study: the study.
        attrs: fields of :class:`~tunesmith.trial.FrozenTrial`; dictionaries become one column a key, ``metrics`` the
            last value of each.
        multi_index: two-level columns ``("params", "x")`` instead of ``"params_x"``.

    Raises:
        MissingDependencyError: pandas is not installed. InvalidTypeError, InvalidValueError: no list of fields, or an
            unknown one.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError("Data frames need pandas: pip install 'tunesmith[pandas]'.") from error
    if isinstance(attrs, str) or not all(isinstance(attr, str) for attr in attrs):
        raise InvalidTypeError(f"`attrs` must be a list of trial fields such as ('number', 'value'), but is {attrs!r}.")
    if unknown := sorted(set(attrs) - _KNOWN):
        raise InvalidValueError(f"Unknown trial fields {unknown}; known: {sorted(_KNOWN)}.")
    names = study.metric_names
    several = len(study.directions) > 1
    labels: list[Any] = names or list(range(len(study.directions)))
    rows = [_row(trial, attrs, several, names, labels) for trial in study.get_trials()]
    columns: list[tuple[str, Any]] = []
    for field in dict.fromkeys(_field(attr, several) for attr in attrs) if rows else ():
        if field == "values":
            columns += [(field, label) for label in labels]
        else:  # the keys of a dictionary in their order, as in Optuna
            columns += sorted({key for row in rows for key in row if key[0] == field.removeprefix("_")})
    frame = pd.DataFrame([[row.get(key) for key in columns] for row in rows])
    if len(columns):
        if multi_index:
            frame.columns = pd.MultiIndex.from_tuples(columns)
        else:
            frame.columns = pd.Index(["_".join(str(part) for part in key if part != "") for key in columns])
    return frame


def _field(attr: str, several: bool) -> str:
    return "values" if attr == "value" and several else attr


def _row(
    trial: FrozenTrial, attrs: tuple[str, ...], several: bool, names: list[str] | None, labels: list[Any]
) -> dict[Any, Any]:
    row: dict[tuple[str, Any], Any] = {}
    for attr in attrs:
        field = _field(attr, several)
        column = field.removeprefix("_")
        value = trial.state.name if attr == "state" else getattr(trial, field)
        if field == "values":
            row.update({(column, label): v for label, v in zip(labels, value or (), strict=False)})
        elif field == "value" and names:
            row[column, names[0]] = value
        elif field == "metrics":
            row.update({(column, k): v[max(v)] for k, v in trial.metrics.items() if v})
        elif isinstance(value, dict):
            row.update({(column, k): v for k, v in value.items()})
        else:
            row[column, ""] = value
    return row
