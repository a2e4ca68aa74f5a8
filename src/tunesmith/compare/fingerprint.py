"""A short hash of what a function does, to tell an edited objective from the one whose results are in a folder."""

from __future__ import annotations

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
    ``functools.partial`` that of the function and its plain arguments. A lambda (whose source lines hold more than
    itself), and a function whose source is not at hand, are hashed by their code, which another version of Python
    compiles to another one. What the function calls, and values it finds outside of itself, are not looked at.
    """
    if func is None:
        return None
    return hashlib.sha256(_content(func).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _content(func: Any) -> str:
    if isinstance(func, functools.partial):
        plain = [*enumerate(func.args), *sorted(func.keywords.items())]
        bound = [(k, v) for k, v in plain if v is None or isinstance(v, (bool, int, float, str))]
        return f"{_content(func.func)}{bound!r}"
    func = inspect.unwrap(func)
    func = getattr(func, "__func__", func)
    call = inspect.unwrap(type(func).__call__)
    if not inspect.isclass(func) and not hasattr(func, "__code__") and hasattr(call, "__code__"):
        func = call
    file = getattr(getattr(func, "__code__", None), "co_filename", "")
    if getattr(func, "__name__", "") != "<lambda>" and file != "<string>":  # from Python 3.13 on that is `python -c`'s
        try:
            return textwrap.dedent(inspect.getsource(func))
        except (OSError, TypeError):  # compiled, or the file is gone
            pass
    code = getattr(func, "__code__", None)
    return _of_code(code) if code is not None else str(getattr(func, "__qualname__", type(func).__qualname__))


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
