"""Compiling with numba, keeping what was compiled, and calls from one compiled function to another by address.

When a numba function calls another, the machine code of both is made again for the caller. The kernels here would be
compiled a dozen times over. So the larger ones are compiled by themselves, each when it is first needed, and call each
other by address; addresses stand in the records that the program reads.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import types as python_types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import ir
from numba import extending, njit, types
from numba.core.typing import signature

from tunesmith import logging

_logger = logging.get_logger("tunesmith.train")
_OPTIONS: Any = {"nogil": True, "error_model": "numpy"}  # divisions by zero give infinities, as in NumPy

#: numba's decorators; their types say nothing of what is made of a function, so they are not used.
intrinsic: Any = extending.intrinsic
_cfunc: Any = numba.cfunc
#: Decorates small functions that become a part of the kernels that call them.
kernel: Any = functools.partial(njit, no_cpython_wrapper=True, **_OPTIONS)

#: The types that stand for a number of lanes; see :mod:`vectors`.
_TOKENS: Any = {8: types.int8, 16: types.int16}

_compiled: dict[tuple[str, str, int], Any] = {}
_lock = threading.RLock()


def address(function: Callable[..., Any], width: int) -> int:
    """Where the machine code of a kernel is; it is compiled if need be, or loaded from numba's cache.

    Args:
        function: of the module level, with integer arguments, the last of which is the token of the width.
        width: number of lanes.
    """
    return int(_entry(function, width).address)


def function(kernel: Callable[..., Any], width: int) -> Callable[..., None]:
    """The same for a call from Python: takes integers, and runs without the interpreter's lock."""
    return _entry(kernel, width).ctypes  # type: ignore[no-any-return]


def _entry(function: Callable[..., Any], width: int) -> Any:
    """numba looks at the file of a function alone to see whether what it kept is still right, and two processes that
    compile different things under one name at the same time may mix them up. So the name has everything in it that
    decides the machine code: another source, library, processor or width is another file.
    """
    key = function.__module__, function.__name__, width
    wanted: Any = types.void(*[types.int64] * (function.__code__.co_argcount - 1), _TOKENS[width])
    with _lock:
        if key not in _compiled:
            name = f"{function.__name__}_{width}_{_sources()}"
            copy = python_types.FunctionType(function.__code__, function.__globals__, name)
            copy.__qualname__, copy.__module__ = name, function.__module__
            try:
                _compiled[key] = _cfunc(wanted, cache=True, **_OPTIONS)(copy)
            except RuntimeError:  # numba found no folder that it may write to
                _logger.info("No folder for compiled kernels (see NUMBA_CACHE_DIR): each process compiles its own.")
                _compiled[key] = _cfunc(wanted, **_OPTIONS)(copy)
        return _compiled[key]


@functools.cache
def _sources() -> str:
    """A hash of all files of this package and of what they are compiled with and for."""
    found = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    target = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    found.update(repr((numba.__version__, llvmlite.__version__, target)).encode())
    return found.hexdigest()


@intrinsic
def call(typing_context, address, *args):  # type: ignore[no-untyped-def]
    """Call the kernel at ``address``; the last argument is the token of the width."""
    wanted = [types.int64] * (len(args) - 1) + [args[-1]]
    given = types.StarArgTuple.from_types(tuple(args))

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, values: Any) -> Any:
        arguments = [
            context.cast(b, b.extract_value(values[1], i), found, wanted[i]) for i, found in enumerate(given.types)
        ]
        kind = ir.FunctionType(ir.VoidType(), [context.get_value_type(t) for t in wanted])
        b.call(b.inttoptr(values[0], kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature(types.void, types.int64, given), codegen


def record_at(dtype: Any) -> Any:
    """A compiled function that gives the record at an address.

    Args:
        dtype: NumPy's type of the record.
    """
    record = numba.from_dtype(dtype)

    def build(typing_context, address):  # type: ignore[no-untyped-def]
        def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
            return b.inttoptr(args[0], context.get_value_type(record))

        return record(types.int64), codegen

    return intrinsic(build)
