"""Checks of arguments that stopping rules have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError


def whole(name: str, value: Any, least: int) -> None:
    """``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"`{name}` must be an integer, but is {value!r}.")
    if value < least:
        raise InvalidValueError(f"`{name}` must be at least {least}, but is {value}.")


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, finite: bool = True) -> None:
    """``value`` is a number in ``[low, high]``, and no infinity unless ``finite`` is false."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"`{name}` must be a number, but is {value!r}.")
    if not low <= value <= high or (finite and math.isinf(value)):
        raise InvalidValueError(f"`{name}` must be a number between {low:g} and {high:g}, but is {value}.")
