"""Search methods, one a file, found by name: ``samplers.RandomSampler``, ``create_study(sampler="random")``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from tunesmith._plugins import classes_of, discover, plugin_modules
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers._base import BaseSampler, Proposal

__all__ = ["BaseSampler", "Proposal", "available", "from_spec", "get_sampler", "known_names"]


def available() -> dict[str, type[BaseSampler]]:
    """Class name -> class, of every sampler in this room."""
    return discover(__name__, BaseSampler)


def known_names() -> dict[str, tuple[type[BaseSampler], Mapping[str, Any]]]:
    """Short name -> (class, arguments): aliases that a class declares, and its name without ``Sampler``, lower case."""
    names: dict[str, tuple[type[BaseSampler], Mapping[str, Any]]] = {}
    for class_name, cls in available().items():
        names[class_name.removesuffix("Sampler").lower()] = (cls, {})
        names.update({alias: (cls, args) for alias, args in cls.aliases.items()})
    return names


def get_sampler(sampler: str | BaseSampler | None, **options: Any) -> BaseSampler:
    """An instance from an instance, a short name such as ``"sobol"``, or ``None`` (random search).

    Args:
        sampler: what the user gave.
        options: arguments of the class, on top of those its short name stands for.

    Raises:
        InvalidValueError: unknown name (the message lists the known ones) or impossible options.
    """
    if isinstance(sampler, BaseSampler):
        return sampler
    if sampler is None:
        sampler = "random"
    if not isinstance(sampler, str):
        raise InvalidTypeError(
            f"`sampler` must be a name or an instance of tunesmith.samplers.BaseSampler, but is {sampler!r}."
        )
    names = known_names()
    key = re.sub(r"[\s_]", "-", sampler.strip().lower())
    if key not in names:
        hint = " Guests such as 'optuna:tpe' come from tunesmith.integrations.get_sampler." if ":" in key else ""
        raise InvalidValueError(f"Unknown sampler {sampler!r}; known: {', '.join(sorted(names))}.{hint}")
    cls, args = names[key]
    try:
        return cls(**{**args, **options})
    except TypeError as error:
        raise InvalidValueError(f"The sampler {sampler!r} cannot be made with {options!r}: {error}.") from error


def from_spec(spec: Mapping[str, Any]) -> BaseSampler:
    """The sampler that a log describes. Only classes of this room are made; nothing else is imported.

    Raises:
        InvalidValueError: the class is not one of this room, or its arguments were not JSON-able.
    """
    cls = available().get(spec["name"])
    reason = "which cannot be rebuilt from the log"
    if cls is not None and "module" not in spec and spec.get("args") is not None:
        try:
            return cls(**spec["args"])
        except (TypeError, ValueError) as error:
            reason += f" ({error})"
    raise InvalidValueError(
        f"This study was made with the sampler {spec['name']!r}, {reason}; pass `sampler=` (the same one) when you "
        "load the study."
    )


def __getattr__(name: str) -> Any:
    if name.endswith("Sampler"):
        for module in plugin_modules(__name__):
            for cls in classes_of(importlib.import_module(f"{__name__}.{module}"), BaseSampler):
                if cls.__name__ == name:
                    return cls
    if name.endswith("Sampler"):
        raise AttributeError(f"There is no {name} (yet); the samplers are {', '.join(sorted(available()))}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *available()])
