"""How often a trial is attempted, and after which errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tunesmith._arguments import whole
from tunesmith.exceptions import InvalidTypeError
from tunesmith.open_trials import OpenTrial


@dataclass(frozen=True)
class Attempts:
    """What becomes of an attempt that was lost.

    Attributes:
        most: attempts in all; a trial that kills its process must not do so for ever. Three: one accident is common,
            two are rare, and three are the trial's fault.
        retry: exceptions of the objective after which a trial is attempted again.
    """

    most: int = 3
    retry: tuple[type[Exception], ...] = ()

    @staticmethod
    def lost(held: OpenTrial) -> int:
        """How many attempts of an open trial count, the one that it is at included."""
        return held.attempt - held.spared

    def used_up(self, held: OpenTrial) -> bool:
        """Whether the attempt that is being lost was the last one."""
        return self.lost(held) >= self.most

    def why_failed(self, held: OpenTrial, cause: str = "") -> str:
        """The reason of a trial that is not attempted again, with that of its last attempt if it is known."""
        times = self.lost(held)
        text = "interrupted" if times == 1 else f"interrupted {times} times"
        return f"{text}; no further attempt{'. ' if cause else ''}{cause}"


def check_attempts(attempts: Any, retry: Any) -> Attempts:
    """The arguments ``attempts`` and ``retry`` of ``optimize``.

    Raises:
        InvalidTypeError, InvalidValueError: they are impossible.
    """
    whole("attempts", attempts, 1)
    found = tuple(retry) if isinstance(retry, Iterable) and not inspect.isclass(retry) else (retry,)
    if not all(inspect.isclass(r) and issubclass(r, Exception) for r in found):
        raise InvalidTypeError(f"`retry` must be exception classes, such as (OSError,), but is {retry!r}.")
    return Attempts(int(attempts), found)
