"""What the library logs, for tests."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def logged(name: str = "tunesmith", level: int = logging.INFO) -> Iterator[list[str]]:
    """The messages of at least ``level`` that a logger gets meanwhile, however quiet it was set."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, logger = Keep(level), logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield found
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
