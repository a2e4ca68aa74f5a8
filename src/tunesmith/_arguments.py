"""Checks of arguments that search methods, stopping rules and their parts have in common."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """``value`` is one of the texts ``known``, or an error says which there are."""
    if value not in known:
        raise InvalidValueError(f"`{name}` must be one of {', '.join(known)}, but is {value!r}.")


def whole(name: str, value: Any, least: int) -> None:
    """``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"`{name}` must be an integer, but is {value!r}.")
    if value < least:
        raise InvalidValueError(f"`{name}` must be an integer of at least {least}, but is {value}.")


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, finite: bool = True) -> None:
    """``value`` is a number in ``[low, high]``; NaN is none, and infinities are none unless ``finite`` is false."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"`{name}` must be a number, but is {value!r}.")
    if not low <= value <= high or (finite and math.isinf(value)):
        kind = "a finite number" if finite else "a number"
        raise InvalidValueError(f"`{name}` must be {kind}{_within(low, high)}, but is {value}.")


def _within(low: float, high: float) -> str:
    if high < math.inf:
        return f" between {low:g} and {high:g}"
    return f" of at least {low:g}" if low > -math.inf else ""
