"""Values of a categorical parameter: their identity, and their form in a log."""

from __future__ import annotations

import math
import warnings
from typing import Any

from tunesmith.exceptions import InvalidValueError


class OpaqueChoice:
    """What remains of a choice that is no plain value (a class, a function) after it is read from a log.

    Only its name is kept: nothing that is read from a store is imported or executed.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueChoice) and other.name == self.name

    def __hash__(self) -> int:
        return hash(("OpaqueChoice", self.name))

    def __repr__(self) -> str:
        return f"<{self.name}>"


def choice_key(value: Any) -> tuple[Any, ...]:
    """A key under which ``True``, ``1`` and ``1.0`` differ and ``nan`` equals itself."""
    if isinstance(value, float) and math.isnan(value):
        return ("float", "nan")
    if isinstance(value, tuple):
        return ("tuple", *(choice_key(v) for v in value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return (type(value).__name__, value)
    return ("object", choice_to_json(value)["$object"])


def choice_to_json(value: Any) -> Any:
    """The JSON form of a choice: plain values as they are, tuples as lists, everything else by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return [choice_to_json(v) for v in value]
    if isinstance(value, OpaqueChoice):
        return {"$object": value.name}
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return {"$object": f"{module}.{qualname}" if qualname else repr(value)}


def choice_from_json(value: Any) -> Any:
    """Inverse of :func:`choice_to_json`; named objects come back as :class:`OpaqueChoice`."""
    if isinstance(value, list):
        return tuple(choice_from_json(v) for v in value)
    if isinstance(value, dict):
        try:
            return float(value["$float"]) if "$float" in value else OpaqueChoice(str(value["$object"]))
        except (KeyError, TypeError, ValueError):
            raise InvalidValueError(
                f"A choice is a text, a number, true, false, null or a list of these, not {value!r}."
            ) from None
    return value


def clean_choice(value: Any) -> Any:
    """A choice as it is kept: sequences as tuples, NumPy scalars as Python values, other objects with a warning."""
    if isinstance(value, (list, tuple)):
        return tuple(clean_choice(v) for v in value)
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, OpaqueChoice)):
        return value
    warnings.warn(
        f"The choice {value!r} is a {type(value).__name__}. It is handed to the objective as it is, but the log keeps "
        f"only its name {choice_to_json(value)['$object']!r}; prefer a string and a dictionary from it to the object.",
        stacklevel=4,
    )
    return value
