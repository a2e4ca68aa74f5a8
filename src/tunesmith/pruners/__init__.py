"""Stopping rules, one a file, found by name: ``pruners.MedianPruner``, ``create_study(pruner="median")``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from tunesmith._plugins import classes_of, discover, plugin_modules
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners._base import BasePruner, Continue, Idle, Schedule, Start, Verdict

__all__ = [
    "BasePruner", "Continue", "Idle", "Schedule", "Start", "Verdict", "available", "from_spec", "get_pruner",
]  # fmt: skip


def available() -> dict[str, type[BasePruner]]:
    """Class name -> class, of every stopping rule in this room."""
    return discover(__name__, BasePruner)


def get_pruner(pruner: str | BasePruner | None) -> BasePruner:
    """An instance from an instance, a short name such as ``"median"``, or ``None`` (the median rule, as in Optuna).

    Raises:
        InvalidValueError: unknown name; the message lists the known ones.
    """
    if isinstance(pruner, BasePruner):
        return pruner
    if pruner is not None and not isinstance(pruner, str):
        raise InvalidTypeError(
            f"`pruner` must be a name or an instance of tunesmith.pruners.BasePruner, but is {pruner!r}."
        )
    names = {name.removesuffix("Pruner").lower(): cls for name, cls in available().items()}
    key = "median" if pruner is None else "nop" if pruner == "none" else pruner.strip().lower()
    if key not in names:
        raise InvalidValueError(f"Unknown pruner {pruner!r}; known: {', '.join(sorted(names))}.")
    return names[key]()


def from_spec(spec: Mapping[str, Any]) -> BasePruner:
    """The rule that a log describes; only classes of this room are made."""
    cls = available().get(spec["name"])
    reason = "which cannot be rebuilt from the log"
    if cls is not None and "module" not in spec and spec.get("args") is not None:
        try:
            return cls(**spec["args"])
        except (TypeError, ValueError) as error:
            reason += f" ({error})"
    raise InvalidValueError(
        f"This study was made with the pruner {spec['name']!r}, {reason}; pass `pruner=` (the same one) when you "
        "load the study."
    )


def __getattr__(name: str) -> Any:
    if name.endswith("Pruner"):
        for module in plugin_modules(__name__):
            for cls in classes_of(importlib.import_module(f"{__name__}.{module}"), BasePruner):
                if cls.__name__ == name:
                    return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *available()])
