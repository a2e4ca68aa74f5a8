"""A short hash of what a function does, to tell an edited objective from the one whose results are in a folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

#: Hexadecimal digits that are kept.
DIGITS = 16


def fingerprint(func: Callable[..., Any] | None) -> str | None:
    """A hash of a function's source; None for no function.

    Of a method it is that of its function, of a callable object that of its class's ``__call__``, of a
    ``functools.partial`` that of the function. Plain values (None, truth values, numbers, texts, and tuples of them)
    that these hold count too: arguments of a partial, attributes of an object, defaults, and what a function has from
    the function around it. Names that begin with an underscore do not: they are for what may change.

    A lambda (whose source lines hold more than itself), and a function whose source is not at hand, are hashed by their
    code, which another version of Python compiles to another one. What the function calls, and global values, are not
    looked at.
    """
    if func is None:
        return None
    return hashlib.sha256(_content(func).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _content(func: Any) -> str:
    if isinstance(func, functools.partial):
        return f"{_content(func.func)}{_plain([*enumerate(func.args), *sorted(func.keywords.items())])}"
    func = inspect.unwrap(func)
    held = ""
    if hasattr(func, "__func__"):  # a bound method
        held = _plain(_attributes(func.__self__))
        func = inspect.unwrap(func.__func__)
    call = inspect.unwrap(type(func).__call__)
    if not inspect.isclass(func) and not hasattr(func, "__code__") and hasattr(call, "__code__"):
        held = _plain(_attributes(func))
        func = call
    return f"{_source(func)}{_plain(_surroundings(func))}{held}"


def _source(func: Any) -> str:
    file = getattr(getattr(func, "__code__", None), "co_filename", "")
    if getattr(func, "__name__", "") != "<lambda>" and file != "<string>":  # from Python 3.13 on that is `python -c`'s
        try:
            return textwrap.dedent(inspect.getsource(func))
        except (OSError, TypeError):  # compiled, or the file is gone
            pass
    code = getattr(func, "__code__", None)
    return _of_code(code) if code is not None else str(getattr(func, "__qualname__", type(func).__qualname__))


def _attributes(thing: Any) -> list[tuple[str, Any]]:
    """What an object holds; nothing of a class or a module."""
    return [] if inspect.isclass(thing) or inspect.ismodule(thing) else sorted(getattr(thing, "__dict__", {}).items())


def _surroundings(func: Any) -> list[tuple[str, Any]]:
    """Defaults, and what a function has from the function around it."""
    found: list[tuple[Any, Any]] = [*enumerate(getattr(func, "__defaults__", None) or ())]
    found += (getattr(func, "__kwdefaults__", None) or {}).items()
    names = getattr(getattr(func, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(func, "__closure__", None) or (), strict=False):
        with contextlib.suppress(ValueError):  # not filled yet
            found.append((name, cell.cell_contents))
    return found


def _plain(pairs: list[tuple[Any, Any]]) -> str:
    """The pairs whose value is plain, as text."""
    return repr([(name, value) for name, value in pairs if not str(name).startswith("_") and _is_plain(value)])


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


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
