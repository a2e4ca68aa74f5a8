"""Finding data sets and model families by their file names; there is no registry to edit.

A module ``fashion_mnist.py`` in the package is the entry ``"fashion-mnist"``; names that begin with an underscore are
helpers. Nothing is imported until an entry is asked for. A package of your own takes part by adding its folder to
the ``__path__`` of ``tunesmith.train.data`` or ``tunesmith.train.families``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from tunesmith.exceptions import InvalidTypeError, InvalidValueError


def names(package: ModuleType) -> list[str]:
    """The entries of a package, sorted, with hyphens for underscores."""
    found = {info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")}
    return sorted(name.replace("_", "-") for name in found)


def find(package: ModuleType, name: str, kind: str, functions: tuple[str, ...]) -> ModuleType:
    """Import the entry ``name`` (hyphens and underscores are the same).

    Args:
        package: where to look.
        name: e.g. ``"fashion-mnist"``.
        kind: what to call it in messages, e.g. ``"data set"``.
        functions: what the module must define.

    Raises:
        InvalidTypeError: ``name`` is no string, or the module does not define one of ``functions``.
        InvalidValueError: no such entry; the message lists the known ones.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(
            f"A {kind} is chosen by its name, but got {_short(name)} ({type(name).__name__}). One of your own is a new "
            "file beside the others, see docs/pattern.md, or an objective function that does not use this package."
        )
    known = names(package)
    wanted = name.strip().lower().replace("_", "-")
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidValueError(f"Unknown {kind} {name!r}; known: {', '.join(known)}.{hint}")
    module = importlib.import_module(f"{package.__name__}.{wanted.replace('-', '_')}")
    if missing := [f for f in functions if not hasattr(module, f)]:
        raise InvalidTypeError(f"The {kind} file {module.__file__} must define {', '.join(missing)}.")
    return module


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
