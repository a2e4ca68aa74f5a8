"""Finding the plug-ins of a room: the public classes its modules define. There is no registry to edit."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Generic, TypeVar

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

T = TypeVar("T")


def plugin_modules(package: str) -> tuple[str, ...]:
    """Names of the public modules in ``package``, without importing them."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def classes_of(module: ModuleType, base: type[T]) -> list[type[T]]:
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


class Room(Generic[T]):
    """A package whose plug-ins are chosen by name, given as instances, and rebuilt from the log.

    Args:
        package: its name.
        base: the contract; its attribute ``aliases`` maps short names to the arguments they stand for.
        suffix: what class names end with; ``"Sampler"`` makes ``RandomSampler`` known as ``random``.
    """

    def __init__(self, package: str, base: type[T], suffix: str) -> None:
        self.package, self.base, self.suffix, self.kind = package, base, suffix, suffix.lower()

    def available(self) -> dict[str, type[T]]:
        """Class name -> class, of all plug-ins. Imports every module of the room."""
        return {cls.__name__: cls for cls in self._classes()}

    def known_names(self) -> dict[str, tuple[type[T], Mapping[str, Any]]]:
        """Short name -> (class, arguments)."""
        return {name: meaning for cls in self._classes() for name, meaning in self._names_of(cls).items()}

    def _classes(self, wanted: str = "") -> Iterator[type[T]]:
        """All plug-ins; first those of modules whose name is in the one that is wanted, which saves most imports."""
        modules = plugin_modules(self.package)
        for name in sorted(modules, key=lambda name: name.replace("_", "") not in wanted.lower()):
            yield from classes_of(importlib.import_module(f"{self.package}.{name}"), self.base)

    def _names_of(self, cls: type[T]) -> dict[str, tuple[type[T], Mapping[str, Any]]]:
        own = cls.__name__.removesuffix(self.suffix).lower()
        aliases: Mapping[str, Mapping[str, Any]] = cls.aliases  # type: ignore[attr-defined]
        return {own: (cls, {}), **{alias: (cls, args) for alias, args in aliases.items()}}

    def get(self, given: str | T, options: Mapping[str, Any], hint: str = "") -> T:
        """The instance itself, or the one that a short name stands for.

        Raises:
            InvalidTypeError, InvalidValueError: neither an instance nor a known name (the message lists them, with
                ``hint``), or impossible options.
        """
        if isinstance(given, self.base):
            return given
        if not isinstance(given, str):
            raise InvalidTypeError(
                f"`{self.kind}` must be a name or an instance of {self.package}.{self.base.__name__}, but is {given!r}."
                f"{hint}"
            )
        key = re.sub(r"[\s_]", "-", given.strip().lower())
        found = next((names[key] for cls in self._classes(key) if key in (names := self._names_of(cls))), None)
        if found is None:
            known = ", ".join(sorted(self.known_names()))
            raise InvalidValueError(f"Unknown {self.kind} {given!r}; known: {known}.{hint}")
        cls, args = found
        try:
            return cls(**{**args, **options})
        except TypeError as error:
            raise InvalidValueError(f"The {self.kind} {given!r} cannot be made with {options!r}: {error}.") from error

    def rebuild(self, spec: Mapping[str, Any]) -> T:
        """What a log describes (see :func:`component_spec`). Only classes of this room are made.

        Raises:
            InvalidValueError: the class is not one of this room, or its arguments are unknown or not its own.
        """
        cls = self._named(spec["name"])
        reason = "which cannot be rebuilt from the log"
        if cls is not None and "module" not in spec and spec.get("args") is not None:
            try:
                return cls(**spec["args"])
            except (TypeError, ValueError) as error:
                reason += f" ({error})"
        raise InvalidValueError(
            f"This study was made with the {self.kind} {spec['name']!r}, {reason}; pass `{self.kind}=` (the same one) "
            "when you load the study."
        )

    def attribute(self, name: str) -> type[T]:
        """For the module's ``__getattr__``: a class by its name, importing no more modules than needed."""
        if name.endswith(self.suffix):
            cls = self._named(name)
            if cls is not None:
                return cls
            raise AttributeError(f"There is no {name} (yet); there are {', '.join(sorted(self.available()))}.")
        raise AttributeError(f"module {self.package!r} has no attribute {name!r}")

    def _named(self, name: str) -> type[T] | None:
        return next((cls for cls in self._classes(name) if cls.__name__ == name), None)


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
