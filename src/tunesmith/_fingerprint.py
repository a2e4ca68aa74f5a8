"""A short hash of what a function does, to tell an edited one from the one whose results are at hand."""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import inspect
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

#: Hexadecimal digits that are kept.
DIGITS = 16

#: Methods that change a list, a dictionary or a set.
_CHANGE = {
    "add",
    "append",
    "appendleft",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "setdefault",
    "update",
}


def fingerprint(func: Callable[..., Any] | None) -> str | None:
    """A hash of a function's source and of the values it holds; None for no function.

    The source of a method is that of its function, of a callable object that of its class's ``__call__``; a decorated
    function is that and what is around it. What they hold counts too: arguments of a ``functools.partial``, attributes
    of an object, defaults, and what a function has from the function around it, as far as these are numbers, texts,
    truth values, None, paths, members of enumerations, functions, or tuples, lists, dictionaries and sets of them.

    What changes while it runs must not count: names that begin with an underscore, attributes and variables that the
    code itself assigns to, and lists, dictionaries and sets if it changes any.

    A lambda (whose source lines hold more than itself), and a function whose source is not at hand, are hashed by their
    code, which another version of Python compiles to another one. What the function calls, and global values, are not
    looked at.
    """
    if func is None:
        return None
    try:
        text = _content(func, set())
    except Exception:  # an object that does not let itself be looked at
        text = _name(func)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _name(func: Any) -> str:
    return str(getattr(type(func), "__qualname__", "") if not inspect.isroutine(func) else func.__qualname__)


def _content(func: Any, seen: set[int]) -> str:
    if id(func) in seen:
        return "again"
    seen.add(id(func))
    if isinstance(func, functools.partial):
        held = [*enumerate(func.args), *sorted(func.keywords.items())]
        return f"{_content(func.func, seen)}{_values(held, seen, None)}"
    return "".join(_link(link, seen) for link in _chain(func))


def _chain(func: Any) -> Iterator[Any]:
    """A function and what it decorates."""
    for _ in range(50):
        yield func
        func = getattr(func, "__wrapped__", None)
        if func is None:
            return


def _link(func: Any, seen: set[int]) -> str:
    held: list[tuple[Any, Any]] = []
    if hasattr(func, "__func__"):  # a bound method
        held = _attributes(func.__self__)
        func = func.__func__
    call = inspect.unwrap(type(func).__call__)
    if not inspect.isclass(func) and not hasattr(func, "__code__") and hasattr(call, "__code__"):
        held = _attributes(func)
        func = call
    code = getattr(func, "__code__", None)
    return f"{_source(func, code)}{_values([*_surroundings(func, code), *held], seen, code)}"


def _source(func: Any, code: CodeType | None) -> str:
    typed_in = code is not None and code.co_filename == "<string>"  # from Python 3.13 on that is `python -c`'s
    if getattr(func, "__name__", "") != "<lambda>" and not typed_in:
        try:
            return textwrap.dedent(inspect.getsource(func))
        except (OSError, TypeError):  # compiled, or the file is gone
            pass
    return _of_code(code) if code is not None else _name(func)


# -- what it holds -------------------------------------------------------------------------------------------------


def _attributes(thing: Any) -> list[tuple[Any, Any]]:
    """What an object holds; nothing of a class or a module."""
    if inspect.isclass(thing) or inspect.ismodule(thing):
        return []
    found = dict(getattr(thing, "__dict__", {}))
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                found.setdefault(name, getattr(thing, name))
    return sorted(found.items(), key=lambda item: str(item[0]))


def _surroundings(func: Any, code: CodeType | None) -> list[tuple[Any, Any]]:
    """Defaults, and what a function has from the function around it."""
    found: list[tuple[Any, Any]] = [*enumerate(getattr(func, "__defaults__", None) or ())]
    found += (getattr(func, "__kwdefaults__", None) or {}).items()
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(func, "__closure__", None) or (), strict=False):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:  # not filled yet
            continue
    return found


def _values(pairs: list[tuple[Any, Any]], seen: set[int], code: CodeType | None) -> str:
    """The pairs that count, as text; ``code`` is the one that may change them."""
    assigned, changes = _stores(code) if code is not None else (set(), False)
    found = []
    for name, value in pairs:
        if str(name).startswith("_") or name in assigned or (changes and isinstance(value, (list, dict, set))):
            continue
        text = _canonical(value, seen)
        if text is not None:
            found.append(f"{name}={text}")
    return f"[{', '.join(found)}]"


def _stores(code: CodeType) -> tuple[set[str], bool]:
    """Names of attributes and outer variables that code assigns to, and whether it changes containers."""
    assigned: set[str] = set()
    changes = bool(_CHANGE & set(code.co_names))
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_ATTR", "DELETE_ATTR", "STORE_DEREF"):
            assigned.add(str(step.argval))
        changes |= step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names, more = _stores(inner)
            assigned, changes = assigned | names, changes or more
    return assigned, changes


def _canonical(value: Any, seen: set[int]) -> str | None:
    """A value as text that is the same in every process and with every version of NumPy; None if it does not count."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or isinstance(value, bool):
        return repr(value)
    for kind in (int, float, str, bytes, complex):
        if isinstance(value, kind):
            return kind.__repr__(value)
    if isinstance(value, pathlib.PurePath):
        return repr(str(value))
    if isinstance(value, (tuple, list)):
        return f"[{_several(value, seen)}]"
    if isinstance(value, dict):
        return f"{{{_several((item for pair in value.items() for item in pair), seen)}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_canonical(v, seen) or '?' for v in value))}}}"
    if inspect.isfunction(value) or isinstance(value, functools.partial):
        return _content(value, seen)
    return None


def _several(values: Iterable[Any], seen: set[int]) -> str:
    return ", ".join(_canonical(v, seen) or "?" for v in values)


# -- code ----------------------------------------------------------------------------------------------------------


def _of_code(code: CodeType) -> str:
    return f"{code.co_code.hex()}{[_constant(c) for c in code.co_consts]}{code.co_names}"


def _constant(value: Any) -> str:
    """A constant as text that is the same in every process."""
    if isinstance(value, CodeType):
        return _of_code(value)
    if isinstance(value, frozenset):
        return f"frozenset{sorted(map(_constant, value))}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return repr(value)
