"""Values of one SIMD register for numba: 8 or 16 lanes, each of which belongs to another network.

numba compiles scalar Python; left to its auto-vectoriser these kernels are up to ten times slower. So the vector is a
type here. ``load`` and ``store`` move one register, operators and functions become single LLVM instructions on
``<16 x float>``, and whatever is computed in a lane stays in that lane.

Three conventions hold for all kernels of this package:

- Memory is addressed by integers (bytes). An array is ``(n, lanes)`` float32; one row of it, a *line*, is one register:
  64 or 32 bytes, aligned to its size.
- ``w`` is a token whose *type* says how many lanes there are: an ``int16`` stands for 16, an ``int8`` for 8. Its value
  is not read. So one source serves both widths, and numba's own cache tells them apart.
- There is no contraction and no reassociation: ``a * b + c`` rounds twice, ``fma(a, b, c)`` once. So 8 lanes and 16
  lanes give the same bits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from tunesmith.train.lanes.simd.compiling import intrinsic

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_ELEMENTS = {"float": _F32, "int": _I32, "mask": ir.IntType(1)}


class Vector(types.Type):
    """A register: ``kind`` is "float" (float32), "int" (int32), or "mask" (one bit a lane)."""

    def __init__(self, kind: str, width: int) -> None:
        self.kind, self.width = kind, width
        super().__init__(name=f"lanes_{kind}x{width}")

    @property
    def llvm(self) -> ir.VectorType:
        """Its type in LLVM."""
        return ir.VectorType(_ELEMENTS[self.kind], self.width)

    def like(self, kind: str) -> Vector:
        """The vector of another kind with as many lanes."""
        return Vector(kind, self.width)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


# -- building blocks for code that is written in LLVM's own terms --------------------------------------------------


def width_of(token: types.Type) -> int:
    """How many lanes the type of ``w`` stands for."""
    width = getattr(token, "bitwidth", 0)
    if width not in (8, 16):
        raise TypeError(f"The token of the width must be an int8 (8 lanes) or an int16 (16 lanes), not {token}.")
    return int(width)


def emit_load(b: ir.IRBuilder, address: ir.Value, width: int) -> ir.Value:
    """The line at an address."""
    pointer = b.inttoptr(address, ir.VectorType(_F32, width).as_pointer())
    return b.load(pointer, align=4 * width)


def emit_store(b: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    """Write a line to an address."""
    b.store(value, b.inttoptr(address, value.type.as_pointer()), align=4 * value.type.count)


def emit_call(b: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """LLVM's own function ``name`` ("fma", "sqrt", ...) of float vectors of one width."""
    vector = args[0].type
    function_type = ir.FunctionType(vector, [vector] * len(args))
    function = cgutils.get_or_insert_function(b.module, function_type, f"llvm.{name}.v{vector.count}f32")
    return b.call(function, args)


def emit_splat(b: ir.IRBuilder, scalar: ir.Value, width: int) -> ir.Value:
    """All lanes the same."""
    vector = ir.VectorType(scalar.type, width)
    one = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, _I32(0))
    return b.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, width), [0] * width)
    )


def _operand(context: Any, b: ir.IRBuilder, value: ir.Value, found: types.Type, wanted: Vector) -> ir.Value:
    """A vector as it is; a number as a vector with this number in every lane."""
    if isinstance(found, Vector):
        return value
    scalar = types.float32 if wanted.kind == "float" else types.int32
    return emit_splat(b, context.cast(b, value, found, scalar), wanted.width)


# -- operators -----------------------------------------------------------------------------------------------------


def _register(op: Any, kinds: dict[str, Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]], result: str) -> None:
    """Define ``vector op vector``, ``vector op number`` and ``number op vector``; ``result`` "" is the same kind."""

    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vectors = [a for a in args if isinstance(a, Vector)]
            if len(args) != 2 or not vectors or vectors[0].kind not in kinds:
                return None
            vector = vectors[0]
            if any(a != vector if isinstance(a, Vector) else not isinstance(a, types.Number) for a in args):
                return None
            return signature(vector.like(result) if result else vector, *args)

    def lower(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        vector = next(a for a in sig.args if isinstance(a, Vector))
        x, y = (_operand(context, b, value, found, vector) for value, found in zip(args, sig.args, strict=True))
        return kinds[vector.kind](b, x, y)

    for left, right in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, left, right)(lower)


def _compared(method: str, sign: str) -> Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]:
    return lambda b, x, y: getattr(b, method)(sign, x, y)


_register(operator.add, {"float": ir.IRBuilder.fadd, "int": ir.IRBuilder.add}, "")
_register(operator.sub, {"float": ir.IRBuilder.fsub, "int": ir.IRBuilder.sub}, "")
_register(operator.mul, {"float": ir.IRBuilder.fmul, "int": ir.IRBuilder.mul}, "")
_register(operator.truediv, {"float": ir.IRBuilder.fdiv}, "")
_register(operator.and_, {"mask": ir.IRBuilder.and_, "int": ir.IRBuilder.and_}, "")
_register(operator.or_, {"mask": ir.IRBuilder.or_, "int": ir.IRBuilder.or_}, "")
_register(operator.xor, {"int": ir.IRBuilder.xor}, "")
_register(operator.lshift, {"int": ir.IRBuilder.shl}, "")
_register(operator.rshift, {"int": ir.IRBuilder.lshr}, "")  # the integers here are bit patterns: zeros come in
for _op, _sign in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="), (operator.eq, "=="),
):  # fmt: skip
    _register(_op, {"float": _compared("fcmp_ordered", _sign), "int": _compared("icmp_signed", _sign)}, "mask")
_register(operator.ne, {"float": _compared("fcmp_unordered", "!=")}, "mask")  # True with NaN, the others are False


# -- functions -----------------------------------------------------------------------------------------------------


@intrinsic
def load(typing_context, address, w):  # type: ignore[no-untyped-def]
    """The line at ``address``."""
    vector = Vector("float", width_of(w))

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return emit_load(b, args[0], vector.width)

    return vector(types.int64, w), codegen


@intrinsic
def store(typing_context, address, value):  # type: ignore[no-untyped-def]
    """Write ``value`` to ``address``."""
    if not isinstance(value, Vector) or value.kind != "float":
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        emit_store(b, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def load_bytes(typing_context, address, w):  # type: ignore[no-untyped-def]
    """One byte a lane from ``address`` on, as int32; the address needs no alignment."""
    vector = Vector("int", width_of(w))

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        packed = ir.VectorType(ir.IntType(8), vector.width)
        return b.zext(b.load(b.inttoptr(args[0], packed.as_pointer()), align=1), vector.llvm)

    return vector(types.int64, w), codegen


@intrinsic
def store_bytes(typing_context, address, value):  # type: ignore[no-untyped-def]
    """Write the lowest byte of each lane of an int vector."""
    if not isinstance(value, Vector) or value.kind != "int":
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        packed = b.trunc(args[1], ir.VectorType(ir.IntType(8), value.width))
        b.store(packed, b.inttoptr(args[0], packed.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def splat(typing_context, number, w):  # type: ignore[no-untyped-def]
    """A float vector with the same number in all lanes."""
    vector = Vector("float", width_of(w))
    if not isinstance(number, types.Number):
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return _operand(context, b, args[0], sig.args[0], vector)

    return vector(number, w), codegen


@intrinsic
def splat_int(typing_context, number, w):  # type: ignore[no-untyped-def]
    """An int vector with the lowest 32 bits of an integer in all lanes."""
    vector = Vector("int", width_of(w))
    if not isinstance(number, types.Integer):
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return emit_splat(b, b.trunc(args[0], _I32), vector.width)

    return vector(types.int64, w), codegen


@intrinsic
def select(typing_context, mask, x, y):  # type: ignore[no-untyped-def]
    """``x`` where the mask is set, else ``y``; one of them may be a number."""
    vectors = [v for v in (x, y) if isinstance(v, Vector)]
    if not isinstance(mask, Vector) or mask.kind != "mask" or not vectors:
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        values = [_operand(context, b, args[i], sig.args[i], vectors[0]) for i in (1, 2)]
        return b.select(args[0], *values)

    return vectors[0](mask, x, y), codegen


@intrinsic
def fma(typing_context, x, y, z):  # type: ignore[no-untyped-def]
    """``x * y + z``, rounded once; ``y`` and ``z`` may be numbers."""
    if not isinstance(x, Vector) or x.kind != "float":
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        values = [_operand(context, b, value, found, x) for value, found in zip(args, sig.args, strict=True)]
        return emit_call(b, "fma", *values)

    return x(x, y, z), codegen


def _unary(name: str, emit: Callable[[ir.IRBuilder, ir.Value], ir.Value], kind: str, result: str, doc: str) -> Any:
    def build(typing_context, x):  # type: ignore[no-untyped-def]
        if not isinstance(x, Vector) or x.kind != kind:
            return None
        return x.like(result)(x), lambda context, b, sig, args: emit(b, args[0])

    build.__name__, build.__doc__ = name, doc
    return intrinsic(build)


def _cast(method: str, element: ir.Type) -> Callable[[ir.IRBuilder, ir.Value], ir.Value]:
    return lambda b, x: getattr(b, method)(x, ir.VectorType(element, x.type.count))


sqrt = _unary("sqrt", lambda b, x: emit_call(b, "sqrt", x), "float", "float", "The square root.")
absolute = _unary("absolute", lambda b, x: emit_call(b, "fabs", x), "float", "float", "The absolute value.")
as_int = _unary("as_int", _cast("bitcast", _I32), "float", "int", "The bit pattern of a float.")
as_float = _unary("as_float", _cast("bitcast", _F32), "int", "float", "The float with this bit pattern.")
to_float = _unary("to_float", _cast("sitofp", _F32), "int", "float", "The float nearest to an integer.")


@intrinsic
def like(typing_context, x, number):  # type: ignore[no-untyped-def]
    """A vector of the kind and width of ``x`` with a number in all lanes."""
    if not isinstance(x, Vector) or not isinstance(number, types.Number):
        return None

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return _operand(context, b, args[1], sig.args[1], x)

    return x(x, number), codegen
