"""Stopping rules, one a file, found by name: ``pruners.MedianPruner``, ``create_study(pruner="median")``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith._plugins import Room
from tunesmith.pruners._base import BasePruner, Continue, Idle, Schedule, Start, Stop, Verdict

__all__ = [
    "BasePruner", "Continue", "Idle", "Schedule", "Start", "Stop", "Verdict", "available", "from_spec", "get_pruner",
    "known_names",
]  # fmt: skip

_room = Room(__name__, BasePruner, "Pruner")  # type: ignore[type-abstract]


def __getattr__(name: str) -> Any:  # Any: type checkers cannot look into the folder, and there is no list to keep
    return _room.attribute(name)


def available() -> dict[str, type[BasePruner]]:
    """Class name -> class, of every stopping rule in this room."""
    return _room.available()


def known_names() -> dict[str, tuple[type[BasePruner], Mapping[str, Any]]]:
    """Short name -> (class, arguments): aliases that a class declares, and its name without ``Pruner``, lower case."""
    return _room.known_names()


def get_pruner(pruner: str | BasePruner | None, **options: Any) -> BasePruner:
    """An instance from an instance, a short name such as ``"median"``, or ``None`` (the median rule, as in Optuna).

    Args:
        pruner: what the user gave.
        options: arguments of the class, on top of those its short name stands for.

    Raises:
        InvalidTypeError: ``pruner`` is none of these.
        InvalidValueError: unknown name (the message lists the known ones) or impossible options.
    """
    return _room.get("median" if pruner is None else pruner, options)


def from_spec(spec: Mapping[str, Any]) -> BasePruner:
    """The rule that a log describes; only classes of this room are made.

    Raises:
        InvalidValueError: the class is not one of this room, or its arguments were not JSON-able.
    """
    return _room.rebuild(spec)


def __dir__() -> list[str]:
    return sorted([*__all__, *available()])
