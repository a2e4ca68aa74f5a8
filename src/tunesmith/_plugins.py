"""Finding the plug-ins of a room: the public classes its modules define. There is no registry to edit."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import pkgutil
from types import ModuleType
from typing import Any


def plugin_modules(package: str) -> tuple[str, ...]:
    """Names of the public modules in ``package``, without importing them."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def classes_of(module: ModuleType, base: type) -> list[type]:
    """The concrete public subclasses of ``base`` that ``module`` itself defines."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.isabstract(value)
    ]


def discover(package: str, base: type) -> dict[str, type]:
    """Class name -> class, of all plug-ins in ``package``. Imports every module of the room."""
    found: dict[str, type] = {}
    for name in plugin_modules(package):
        for cls in classes_of(importlib.import_module(f"{package}.{name}"), base):
            found[cls.__name__] = cls
    return found


def component_spec(component: Any) -> dict[str, Any]:
    """``{"name", "args"}`` of a sampler or pruner that is a dataclass; ``args`` is None when it has no JSON form.

    One that does not live in a room has its ``"module"``, too: by its name alone another class might be found.
    """
    spec: dict[str, Any] = {"name": type(component).__name__, "args": None}
    if not type(component).__module__.startswith("tunesmith."):
        spec["module"] = type(component).__module__
    if dataclasses.is_dataclass(component):
        args = {f.name: getattr(component, f.name) for f in dataclasses.fields(component) if f.init}
        with contextlib.suppress(TypeError, ValueError):
            spec["args"] = json.loads(json.dumps(args, allow_nan=False))
    return spec
