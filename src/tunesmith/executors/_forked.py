"""Children that an objective has forked: they end with what they were forked for, and tell nobody of the trial."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType


class OwnProcess:
    """Entered around code of the user's, which a forked child does not leave: its parent evaluates the trial.

    Without this a child that ends by ``sys.exit()`` would give back the trial of its parent, and go on with the study.
    """

    __slots__ = ("_process",)

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            _end(error)


def _end(error: BaseException | None) -> None:
    """As Python ends: the status is that of SystemExit, an exception is shown."""
    status: object = 0
    if isinstance(error, SystemExit):
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
    elif error is not None and not isinstance(error, (StopIteration, GeneratorExit)):
        traceback.print_exception(error)
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF if isinstance(status, int) else 1)
