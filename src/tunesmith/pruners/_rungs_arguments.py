"""Checks of resources as arguments."""

from __future__ import annotations

from typing import Any

from tunesmith._arguments import number, whole
from tunesmith.curves import STEP
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

#: Learned from complete trials.
AUTO = "auto"


def amount(name: str, value: Any, resource: str, *, auto: bool = True) -> None:
    """``value`` is a positive amount of the resource, a whole number if that is the step; or ``"auto"``.

    Args:
        name: of the argument.
        value: what was given.
        resource: what the rule counts in.
        auto: whether ``"auto"`` is allowed.
    """
    if isinstance(value, str):
        if not auto or value != AUTO:
            allowed = "a positive number or 'auto'" if auto else "a positive number"
            raise InvalidValueError(f"`{name}` must be {allowed}, but is {value!r}.")
    elif resource == STEP:
        whole(name, value, 1)
    else:
        number(name, value, 0.0)
        if not value > 0:
            raise InvalidValueError(f"`{name}` must be positive, but is {value}.")


def named(resource: Any) -> None:
    """``resource`` is a name."""
    if not isinstance(resource, str):
        raise InvalidTypeError(f"`resource` must be 'step', 'seconds' or a metric's name, but is {resource!r}.")
    if not resource:
        raise InvalidValueError("`resource` must be 'step', 'seconds' or a metric's name, but is empty.")


def flag(name: str, value: Any) -> None:
    """``value`` is True or False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"`{name}` must be True or False, but is {value!r}.")
