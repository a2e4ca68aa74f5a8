"""Checking what an objective returned, or what ``tell`` was given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.exceptions import InvalidValueError
from tunesmith.trial import TrialState


def as_values(result: Any) -> list[Any] | None:
    """The result as a list of values, ``None`` for none."""
    if result is None:
        return None
    if isinstance(result, Sequence) and not isinstance(result, (str, bytes, bytearray)):
        return list(result)
    if type(result).__module__ == "numpy" and getattr(result, "ndim", 0) == 1:
        return list(result)
    return [result]


def infeasible(values: list[Any] | None, n_objectives: int) -> str | None:
    """Why these values cannot be the result of a COMPLETE trial, or ``None`` when they can."""
    if values is None:
        return "The value None could not be cast to float; return a number."
    problems = []
    for value in values:
        try:
            if isinstance(value, (str, bytes, bytearray)):  # float() would read "1.5", and objectives mean no text
                raise TypeError(f"it is a {type(value).__name__}")
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            shown = repr(value) if len(repr(value)) < 100 else repr(value)[:97] + "..."
            problems.append(f"The value {shown} could not be cast to float ({error}).")
            continue
        if math.isnan(number):
            problems.append(f"The value {number} is not acceptable.")
    if problems:
        return " ".join(problems)
    if len(values) != n_objectives:
        return (
            f"The number of the values {len(values)} did not match the number of the objectives {n_objectives}; "
            "state the directions at create_study(directions=[...])."
        )
    return None


def check_told(state: TrialState | None, values: list[Any] | None) -> None:
    """The state and values given to ``tell`` must fit each other.

    Raises:
        InvalidValueError: they do not.
    """
    if state is None:
        return
    if not isinstance(state, TrialState) or not state.is_finished():
        raise InvalidValueError(f"Cannot tell with state {state!r}; use COMPLETE, PRUNED or FAIL.")
    if state == TrialState.COMPLETE and values is None:
        raise InvalidValueError("No values were told; values are required when state is TrialState.COMPLETE.")
    if state != TrialState.COMPLETE and values is not None:
        raise InvalidValueError(f"Values {values} were told, but a {state.name} trial takes none.")


def last_report(reports: Mapping[int, float], n_objectives: int) -> list[float] | None:
    """The value a PRUNED trial gets: its last report, unless that is NaN or there are several objectives."""
    if not reports or n_objectives != 1:
        return None
    value = reports[max(reports)]
    return [value] if value == value else None
