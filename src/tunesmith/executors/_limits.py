"""What a trial may use before it is ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith._arguments import number
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

_UNITS = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kKMGT]i?)?B?\s*")


@dataclass(frozen=True)
class Limits:
    """Of one trial.

    Attributes:
        seconds: for which it may compute; None: any time.
        memory: bytes that its process may take; None: any amount.
    """

    seconds: float | None = None
    memory: int | None = None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self.seconds is not None or self.memory is not None


def check_limits(seconds: Any, memory: Any) -> Limits:
    """The arguments ``trial_timeout`` and ``trial_memory``.

    Args:
        seconds: a positive number, or None.
        memory: bytes, or a text such as "2 GiB" or "500 MB", or None.

    Raises:
        InvalidTypeError, InvalidValueError: they are impossible.
    """
    if seconds is not None:
        number("trial_timeout", seconds)
        if seconds <= 0:
            raise InvalidValueError(f"`trial_timeout` must be a positive number of seconds, but is {seconds}.")
    return Limits(None if seconds is None else float(seconds), None if memory is None else _bytes(memory))


def _bytes(size: Any) -> int:
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise InvalidValueError(f"`trial_memory` must be a size such as '2 GiB' or '500 MB', but is {size!r}.")
        found = float(match[1]) * _UNITS[match[2] or ""]
    elif isinstance(size, (int, float, np.integer, np.floating)) and not isinstance(size, bool):
        found = float(size)
    else:
        raise InvalidTypeError(f"`trial_memory` must be a number of bytes or a text like '2 GiB', but is {size!r}.")
    if not 1 <= found < 2**63:
        raise InvalidValueError(f"`trial_memory` must be at least one byte and less than 8 EiB, but is {size!r}.")
    return int(found)


def in_words(size: int) -> str:
    """Bytes as a text: "1.5 GiB"."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
