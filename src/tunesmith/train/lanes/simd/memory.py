"""Moving lines, and reading single numbers and records."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from tunesmith.train.lanes.simd.compiling import intrinsic, kernel, record_at
from tunesmith.train.lanes.simd.products import line_bytes
from tunesmith.train.lanes.simd.records import GROUP, OPERATION, STEP
from tunesmith.train.lanes.simd.vectors import load, splat, store


def _scalar(element: types.Type, doc: str, *, unsigned: bool = False) -> Any:
    def build(typing_context, address, k):  # type: ignore[no-untyped-def]
        def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
            value_type = context.get_value_type(element)
            pointer = b.gep(b.inttoptr(args[0], value_type.as_pointer()), [args[1]])
            value = b.load(pointer)
            return b.zext(value, ir.IntType(64)) if unsigned else value

        return (types.int64 if unsigned else element)(types.int64, types.int64), codegen

    build.__doc__ = doc
    return intrinsic(build)


load_int = _scalar(types.int64, "Entry k of the int64 array at an address.")
load_float = _scalar(types.float32, "Entry k of the float32 array at an address.")
load_byte = _scalar(types.uint8, "Entry k of the uint8 array at an address.", unsigned=True)


def _store(element: types.Type, doc: str) -> Any:
    def build(typing_context, address, k, value):  # type: ignore[no-untyped-def]
        def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
            pointer = b.inttoptr(args[0], context.get_value_type(element).as_pointer())
            b.store(args[2], b.gep(pointer, [args[1]]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, element), codegen

    build.__doc__ = doc
    return intrinsic(build)


store_int = _store(types.int64, "Write entry k of the int64 array at an address.")
store_float = _store(types.float32, "Write entry k of the float32 array at an address.")


operation_at, group_at, step_record_at = record_at(OPERATION), record_at(GROUP), record_at(STEP)


@kernel
def copy_lines(source, target, n, w):  # type: ignore[no-untyped-def]
    """``n`` lines from one address to another."""
    line = line_bytes(w)
    for i in range(n):
        store(target + i * line, load(source + i * line, w))


@kernel
def zero_lines(target, n, w):  # type: ignore[no-untyped-def]
    """``n`` lines of zeros."""
    line = line_bytes(w)
    for i in range(n):
        store(target + i * line, splat(0.0, w))
