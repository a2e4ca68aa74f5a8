"""Ranges of numbers, with a step or without."""

from __future__ import annotations

import decimal
import math
import warnings
from numbers import Integral, Real
from typing import Any

from tunesmith.distributions._base import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

#: A value is on the grid of a step when it is this close to a whole number of steps (relative to one step).
_STEP_TOLERANCE = 1.0e-8

#: Enough digits for the widest range of floats divided by the smallest step.
_DECIMAL = decimal.Context(prec=700)


def _real(value: Any, name: str) -> float:
    """``value`` as a finite float, or a typed error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"`{name}` must be a real number, but is {value!r} ({type(value).__name__}).")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidValueError(f"`{name}` = {value!r} is too large for a float; use a smaller bound.") from None
    if not math.isfinite(number):
        raise InvalidValueError(f"`{name}` must be finite, but is {number}.")
    return number


def _integer(value: Any, name: str) -> int:
    """``value`` as an int; integral floats such as 8.0 are understood, 1.5 is an error."""
    number = _real(value, name)
    if isinstance(value, Integral):
        return int(value)
    if number != int(number):
        raise InvalidValueError(f"`{name}` of an integer parameter must be a whole number, but is {value!r}.")
    return int(number)


def _adjusted_high(low: Any, high: Any, step: Any) -> Any:
    """The largest value ``low + k * step <= high``, in exact arithmetic; warns when it is not ``high``."""
    if isinstance(high, int):
        adjusted = low + (high - low) // step * step
    elif math.isfinite(k := (high - low) / step) and abs(k - round(k)) < _STEP_TOLERANCE:
        return high  # on the grid as far as floats can tell; so cutting again cuts nothing
    else:
        with decimal.localcontext(_DECIMAL):
            d_low, d_high, d_step = (decimal.Decimal(str(v)) for v in (low, high, step))
            adjusted = high if (d_high - d_low) % d_step == 0 else float((d_high - d_low) // d_step * d_step + d_low)
    if adjusted == high:
        return high
    warnings.warn(
        f"The range [{low}, {high}] is not divisible by step {step}; the upper end becomes {adjusted}.",
        stacklevel=4,
    )
    return adjusted


class FloatDistribution(BaseDistribution):
    """A real number in ``[low, high]``, both ends included.

    Args:
        low: lower end, finite.
        high: upper end, finite, not below ``low``.
        log: search on a logarithmic scale (needs ``low > 0``, excludes ``step``).
        step: distance between neighbouring values, or ``None`` for a continuum.

    Raises:
        InvalidValueError: (a ``ValueError``) for an impossible range; InvalidTypeError for non-numbers.
    """

    kind = "float"
    __slots__ = ("high", "log", "low", "step")
    low: float
    high: float
    log: bool
    step: float | None

    def __init__(self, low: float, high: float, log: bool = False, step: float | None = None) -> None:
        low, high = _real(low, "low"), _real(high, "high")
        if low > high:
            raise InvalidValueError(f"`low <= high` must hold, but low={low} and high={high}. Swap them?")
        if log and step is not None:
            raise InvalidValueError(f"`step` ({step}) cannot be combined with log=True; drop one of them.")
        if log and low <= 0.0:
            raise InvalidValueError(f"log=True needs `low > 0`, but low={low}; use a small positive number.")
        if step is not None:
            step = _real(step, "step")
            if step <= 0:
                raise InvalidValueError(f"`step > 0` must hold, but step={step}.")
            high = _adjusted_high(low, high, step)
        self._set(low=low, high=high, log=bool(log), step=step)

    def single(self) -> bool:
        return self.low == self.high

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        if not self.low <= value <= self.high:  # type: ignore[operator]  # also an int too large for a float
            return False
        if self.step is None:
            return True
        k = (float(value) - self.low) / self.step
        return abs(k - round(k)) < _STEP_TOLERANCE

    def to_internal_repr(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidValueError(f"{value!r} cannot be read as a float.") from None
        if not math.isfinite(number) or (self.log and number <= 0.0):
            raise InvalidValueError(f"{value!r} is not a value of {self!r}.")
        return number

    def to_external_repr(self, value: float) -> float:
        return float(value)

    def _asdict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


class IntDistribution(BaseDistribution):
    """A whole number in ``[low, high]``, both ends included.

    Args:
        low: smallest value.
        high: largest value, not below ``low``.
        log: search on a logarithmic scale (needs ``low >= 1``, excludes ``step != 1``).
        step: distance between neighbouring values.
    """

    kind = "int"
    __slots__ = ("high", "log", "low", "step")
    low: int
    high: int
    log: bool
    step: int

    def __init__(self, low: int, high: int, log: bool = False, step: int = 1) -> None:
        low, high, step = _integer(low, "low"), _integer(high, "high"), _integer(step, "step")
        if low > high:
            raise InvalidValueError(f"`low <= high` must hold, but low={low} and high={high}. Swap them?")
        if step <= 0:
            raise InvalidValueError(f"`step > 0` must hold, but step={step}.")
        if log and step != 1:
            raise InvalidValueError(f"`step` ({step}) cannot be combined with log=True; drop one of them.")
        if log and low < 1:
            raise InvalidValueError(f"log=True needs `low >= 1`, but low={low}.")
        self._set(low=low, high=_adjusted_high(low, high, step), log=bool(log), step=step)

    def single(self) -> bool:
        return self.low == self.high

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or value != value:
            return False
        number: Any = value  # int or float; an int stays exact
        return bool(self.low <= number <= self.high and (number - self.low) % self.step == 0)

    def to_internal_repr(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidValueError(f"{value!r} cannot be read as an integer.") from None
        if not math.isfinite(number) or (self.log and number <= 0.0):
            raise InvalidValueError(f"{value!r} is not a value of {self!r}.")
        return number

    def to_external_repr(self, value: float) -> int:
        return int(value)

    def _asdict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
