"""Logging of the library, with Optuna's functions. Messages go to standard error at level INFO by default."""

from __future__ import annotations

import logging
import sys
import threading
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, WARN, WARNING
from typing import TextIO

__all__ = [
    "CRITICAL", "DEBUG", "ERROR", "FATAL", "INFO", "WARN", "WARNING",
    "disable_default_handler", "disable_propagation", "enable_default_handler", "enable_propagation",
    "get_logger", "get_verbosity", "set_verbosity",
]  # fmt: skip

_ROOT = "tunesmith"
_lock = threading.Lock()
_handler: logging.Handler | None = None


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is now, so that redirection and notebooks work."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _root() -> logging.Logger:
    global _handler
    root = logging.getLogger(_ROOT)
    with _lock:
        if _handler is None:
            _handler = _StandardError()
            _handler.setFormatter(logging.Formatter("[%(levelname).1s %(asctime)s] %(message)s"))
            root.addHandler(_handler)
            root.setLevel(logging.INFO)
            root.propagate = False
    return root


def get_logger(name: str) -> logging.Logger:
    """The logger ``name`` below the library's root logger.

    ``"tunesmith"``, and ``"optuna"`` for scripts that were written for it, are the root logger itself: a handler added
    there receives the message of every trial. ``"optuna.x"`` is ``"tunesmith.x"``, and so is ``"x"``.
    """
    _root()
    if not isinstance(name, str):
        raise TypeError(f"`name` must be the name of a logger such as 'tunesmith', but is {name!r}.")
    first, _, rest = name.partition(".")
    below = rest if first in (_ROOT, "optuna") else name
    return logging.getLogger(f"{_ROOT}.{below}" if below else _ROOT)


def get_verbosity() -> int:
    """The current level of the library's root logger."""
    return _root().getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Set the level, e.g. ``tunesmith.logging.WARNING`` to silence the line of every trial."""
    _root().setLevel(verbosity)


def disable_default_handler() -> None:
    """Write nothing to standard error."""
    root = _root()
    if _handler is not None:
        root.removeHandler(_handler)


def enable_default_handler() -> None:
    """Write to standard error again."""
    root = _root()
    if _handler is not None:
        root.addHandler(_handler)


def disable_propagation() -> None:
    """Do not pass messages on to the root logger of Python (the default)."""
    _root().propagate = False


def enable_propagation() -> None:
    """Pass messages on to the root logger of Python, e.g. for pytest's caplog or a log file of your own."""
    _root().propagate = True
