"""Search methods, one a file, found by name: ``samplers.RandomSampler``, ``create_study(sampler="random")``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith._plugins import Room
from tunesmith.samplers._base import BaseSampler, Proposal

__all__ = ["BaseSampler", "Proposal", "available", "from_spec", "get_sampler", "known_names"]

_room = Room(__name__, BaseSampler, "Sampler")  # type: ignore[type-abstract]


def __getattr__(name: str) -> Any:  # Any: type checkers cannot look into the folder, and there is no list to keep
    return _room.attribute(name)


def available() -> dict[str, type[BaseSampler]]:
    """Class name -> class, of every sampler in this room."""
    return _room.available()


def known_names() -> dict[str, tuple[type[BaseSampler], Mapping[str, Any]]]:
    """Short name -> (class, arguments): aliases that a class declares, and its name without ``Sampler``, lower case."""
    return _room.known_names()


def get_sampler(sampler: str | BaseSampler | None, **options: Any) -> BaseSampler:
    """An instance from an instance, a short name such as ``"sobol"``, or ``None`` (TPE, as in Optuna).

    Args:
        sampler: what the user gave.
        options: arguments of the class, on top of those its short name stands for.

    Raises:
        InvalidTypeError: ``sampler`` is none of these.
        InvalidValueError: unknown name (the message lists the known ones) or impossible options.
    """
    guest = isinstance(sampler, str) and ":" in sampler
    hint = " Guests such as 'optuna:tpe' come from tunesmith.integrations.get_sampler." if guest else ""
    if any(base.__module__.startswith("optuna.") for base in type(sampler).__mro__):
        hint = " Classes in Optuna's style: tunesmith.integrations.optuna.OptunaSampler(the class, {its arguments})."
    return _room.get("tpe" if sampler is None else sampler, options, hint)


def from_spec(spec: Mapping[str, Any]) -> BaseSampler:
    """The sampler that a log describes. Only classes of this room are made; nothing else is imported.

    Raises:
        InvalidValueError: the class is not one of this room, or its arguments were not JSON-able.
    """
    return _room.rebuild(spec)


def __dir__() -> list[str]:
    return sorted([*__all__, *available()])
