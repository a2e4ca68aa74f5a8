"""Where to compute, and global settings of torch that are put back afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

#: "float32", or mixed precision: weights in float32, most of the arithmetic in this type.
PRECISIONS = ("float32", "bfloat16", "float16")

_lock = threading.Lock()
_inside = 0
_before = (False, False)


def choose(device: str) -> torch.device:
    """The device of this name; "auto" takes CUDA if there is one, else Apple's MPS, else the CPU.

    Raises:
        InvalidTypeError, InvalidValueError: no such device on this machine; the message says what there is.
    """
    if not isinstance(device, str):
        raise InvalidTypeError(f"A device is named by a string such as 'auto', 'cpu' or 'cuda:0', not {device!r}.")
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if has_cuda else "mps" if has_mps else "cpu")
    here = ["auto", "cpu", *(["mps"] if has_mps else []), *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in here and not (device == "cuda" and has_cuda):
        raise InvalidValueError(f"There is no device {device!r} on this machine; there are: {', '.join(here)}.")
    return torch.device(device)


def check_precision(precision: str, device: torch.device) -> None:
    """Whether trainings can have this precision on this device.

    Raises:
        InvalidValueError: they cannot; the message says which they can have.
    """
    if precision not in PRECISIONS:
        raise InvalidValueError(f"Unknown precision {precision!r}; known: {', '.join(PRECISIONS)}.")
    if precision == "float16" and device.type != "cuda":
        raise InvalidValueError(
            f"float16 needs CUDA, where the loss can be scaled; on {device.type!r} use 'bfloat16' or 'float32'."
        )


@contextmanager
def working(device: torch.device, threads: int | None) -> Iterator[None]:
    """Compute with so many threads, and on CUDA with cuDNN's deterministic algorithms; restore both at the end.

    torch keeps the number of threads per calling thread, so trials in several threads do not disturb each other. The
    cuDNN settings belong to the process: they are set while at least one trial computes.
    """
    before = torch.get_num_threads()
    if threads is not None and threads != before:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        _deterministic(True)
    try:
        yield
    finally:
        if device.type == "cuda":
            _deterministic(False)
        if threads is not None and threads != before:
            torch.set_num_threads(before)


def _deterministic(enter: bool) -> None:
    global _inside, _before
    with _lock:
        cudnn = torch.backends.cudnn
        if enter and _inside == 0:
            _before = (cudnn.deterministic, cudnn.benchmark)
            cudnn.deterministic, cudnn.benchmark = True, False
        _inside += 1 if enter else -1
        if not enter and _inside == 0:
            cudnn.deterministic, cudnn.benchmark = _before
