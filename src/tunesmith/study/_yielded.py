"""What a generator yields, as a report."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.study._values import as_values


def yielded(item: Any, step: Any, names: list[str] | None) -> tuple[Any, list[Any], dict[str, Any]]:
    """The step, the value of each objective, and other metrics by name.

    Args:
        item: ``value``, ``(step, value)``, ``(step, (v1, v2))`` or a dict of metrics.
        step: if the item does not say one.
        names: of the objectives, if the study names them.

    Raises:
        InvalidTypeError: it is nothing of these. InvalidValueError: a dict without any of the objectives.
    """
    if isinstance(item, tuple):
        if len(item) != 2:
            raise InvalidTypeError(f"A yielded tuple is (step, value), but {item!r} has {len(item)} entries.")
        step, item = item
        if isinstance(step, bool) or not isinstance(step, Real) or float(step) % 1 != 0:
            raise InvalidTypeError(
                f"The first entry of a yielded tuple is the step, a whole number, but is {step!r}; several "
                "objectives are yielded as (step, (value, value))."
            )
    others: dict[str, Any] = {}
    if isinstance(item, Mapping):
        if not item:
            raise InvalidTypeError("The objective yielded an empty dictionary; yield at least its value.")
        mains = _objectives_in(item, names)
        others = {str(k): v for k, v in item.items() if k not in mains}
        values = [item[n] for n in mains]
    else:
        values = list(as_values(item) or [item])
    if texts := [v for v in values if isinstance(v, (str, bytes, bytearray))]:
        raise InvalidTypeError(f"The objective yielded the text {texts[0]!r}; yield numbers.")
    return step, values, others


def _objectives_in(item: Mapping[Any, Any], names: list[str] | None) -> list[Any]:
    """Which of the yielded metrics are objectives: those that the study names, or the first if it names none."""
    if not names:
        return [next(iter(item))]
    found = [name for name in names if name in item]
    if not found:
        raise InvalidValueError(
            f"The objective yielded {', '.join(map(repr, item))}, but in this study it is called "
            f"{', '.join(map(repr, names))}; yield it under that name, or name it otherwise (set_metric_names)."
        )
    return found
