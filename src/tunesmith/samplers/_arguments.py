"""Checks of arguments that search methods have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History


def one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """``value`` is one of the texts ``known``, or an error says which there are."""
    if value not in known:
        raise InvalidValueError(f"`{name}` must be one of {', '.join(known)}, but is {value!r}.")


def whole(name: str, value: Any, least: int) -> None:
    """``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"`{name}` must be an integer, but is {value!r}.")
    if value < least:
        raise InvalidValueError(f"`{name}` must be an integer of at least {least}, but is {value}.")


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> None:
    """``value`` is a finite number in ``[low, high]``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"`{name}` must be a number, but is {value!r}.")
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidValueError(f"`{name}` must be a finite number in [{low:g}, {high:g}], but is {value}.")


def single_objective(method: str, history: History) -> None:
    """The study has one objective."""
    if len(history.directions) != 1:
        raise InvalidValueError(
            f"{method} needs a single objective, but this study has {len(history.directions)}; take NSGAIISampler."
        )
