"""A nested state as bytes: a safetensors file, with the structure as JSON in its header. Nothing is ever pickled.

Arrays and tensors are the file's entries ``"0"``, ``"1"``, ... in the order in which they are met. A PyTorch type that
NumPy does not have (bfloat16, the 8-bit floats) is kept as integers of its width, and its name with the structure. The
header's CRC-32 covers the structure and all entries, because safetensors has no checksum of its own.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    NewerFormatError,
    StorageInternalError,
)

#: Of the file.
FORMAT = 1
_KEY = "tunesmith"
_KINDS = "?bhilqBHILQefdF"  # what safetensors has, as NumPy's type characters

Arrays = dict[str, NDArray[Any]]


class StateDamagedError(StorageInternalError):
    """The file of a state is not there, is damaged, or belongs to another trial."""


def pack(state: Any, about: Mapping[str, Any]) -> bytes:
    """A state as the content of a file; later changes of the state do not reach it.

    Args:
        state: nested dictionaries (their keys texts or integers), lists and tuples of numbers, texts, truth values,
            None, NumPy arrays and scalars, and PyTorch tensors, which may be on any device. Of a tensor the values are
            kept, not its graph nor its device.
        about: what it belongs to, as plain values; :func:`unpack` gives it back.

    Raises:
        InvalidTypeError: the state holds something else; the message says where.
        InvalidValueError: it is nested too deeply, or contains itself.
        MissingDependencyError: safetensors is not installed.
    """
    arrays: Arrays = {}
    try:
        structure = json.dumps(_plain(state, "state", arrays))
    except RecursionError:
        raise InvalidValueError(
            "The state is nested too deeply, or contains itself; save a flat dictionary of it."
        ) from None
    header = {"format": FORMAT, "about": dict(about), "state": structure, "crc": _checksum(structure, arrays)}
    return bytes(_safetensors().save(arrays, metadata={_KEY: json.dumps(header)}))


def unpack(content: bytes, source: str) -> tuple[dict[str, Any], Any]:
    """Inverse of :func:`pack`: what the state belongs to, and the state; tensors are on the CPU.

    Args:
        content: of the file.
        source: what errors call it.

    Raises:
        StateDamagedError: it is no such file, or damaged. NewerFormatError: a newer tunesmith wrote it.
        MissingDependencyError: safetensors, or PyTorch for a state with tensors, is not installed.
    """
    library = _safetensors()
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
        version = int(header["format"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StateDamagedError(f"{source} is not the state of a trial, or it is damaged.") from None
    if version > FORMAT:
        raise NewerFormatError(f"{source} has format {version}, this version reads up to {FORMAT}; update tunesmith.")
    try:
        arrays = library.load(content)
        structure, about = header["state"], dict(header["about"])
        whole = header["crc"] == _checksum(structure, arrays)
        return about, _nested(json.loads(structure), arrays) if whole else _fail("its checksum is wrong")
    except MissingDependencyError:
        raise
    except Exception as error:  # safetensors does not export its own in all versions
        raise StateDamagedError(f"{source} is damaged: {error}.") from None


def _fail(reason: str) -> Any:
    raise ValueError(reason)


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise MissingDependencyError(
            "States of trials are kept as safetensors, which is not installed: pip install safetensors."
        ) from None
    return safetensors.numpy


def _checksum(structure: str, arrays: Arrays) -> int:
    crc = zlib.crc32(structure.encode())
    for i in range(len(arrays)):
        array = arrays[str(i)]
        if array.size:
            crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return crc


def _plain(value: Any, path: str, arrays: Arrays) -> Any:
    """The JSON-able form: scalars are themselves, all else a list that begins with its kind."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return ["dict", *([_key(key, path), _plain(v, f"{path}[{key!r}]", arrays)] for key, v in value.items())]
    if type(value) in (list, tuple):
        entries = (_plain(v, f"{path}[{i}]", arrays) for i, v in enumerate(value))
        return [type(value).__name__, *entries]
    if type(value) in (np.ndarray, np.memmap):
        return ["array", _kept(value, path, arrays)]
    if isinstance(value, np.generic):
        return ["scalar", _kept(np.asarray(value), path, arrays)]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return ["tensor", *_of_tensor(torch, value, path, arrays)]
    raise _refused(value, path)


def _refused(value: Any, path: str, detail: str = "") -> InvalidTypeError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return InvalidTypeError(
        f"A state holds numbers, texts, None, arrays, tensors, and dictionaries, lists and tuples of them, but {path} "
        f"is of type {kind}{detail}; save what it is made of (a state_dict(), a list, a float)."
    )


def _key(key: Any, path: str) -> str | int:
    if type(key) in (str, int):
        return key  # type: ignore[no-any-return]
    raise _refused(key, f"a key of {path}, {key!r},")


def _kept(array: NDArray[Any], path: str, arrays: Arrays) -> str:
    """Put an array aside under a number: an own copy, contiguous, in the machine's byte order."""
    if array.dtype.char not in _KINDS:
        raise _refused(array, path, f" with elements of type {array.dtype}")
    name = str(len(arrays))
    arrays[name] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
    return name


def _of_tensor(torch: Any, tensor: Any, path: str, arrays: Arrays) -> list[str]:
    """``[name]``, and the PyTorch type if it is one that NumPy does not have."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise _refused(tensor, path, " without plain dense values")
    whole = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    try:
        return [_kept(whole.numpy(), path, arrays)]
    except (TypeError, RuntimeError):  # no such type in NumPy
        width = {1: torch.uint8, 2: torch.int16}.get(whole.element_size())
        if width is None:
            raise _refused(tensor, path, f" with elements of type {tensor.dtype}") from None
        return [_kept(whole.view(width).numpy(), path, arrays), str(tensor.dtype).removeprefix("torch.")]


def _nested(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, list):
        return value
    kind, *rest = value
    return _READERS[kind](rest, arrays)


def _tensor(rest: list[Any], arrays: Arrays) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "The state holds tensors, and PyTorch is not installed: pip install 'tunesmith[train]'."
        ) from None
    tensor = torch.from_numpy(arrays[rest[0]])
    return tensor.view(getattr(torch, rest[1])) if len(rest) > 1 else tensor


_READERS: dict[str, Callable[[list[Any], Arrays], Any]] = {
    "dict": lambda rest, arrays: {key: _nested(entry, arrays) for key, entry in rest},
    "list": lambda rest, arrays: [_nested(entry, arrays) for entry in rest],
    "tuple": lambda rest, arrays: tuple(_nested(entry, arrays) for entry in rest),
    "array": lambda rest, arrays: arrays[rest[0]],
    "scalar": lambda rest, arrays: arrays[rest[0]][()],
    "tensor": _tensor,
}
