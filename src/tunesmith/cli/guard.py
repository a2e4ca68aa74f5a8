"""What happens to errors: one clear message on standard error, and an exit code that scripts can rely on."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from tunesmith.exceptions import (
    CLIUsageError,
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    NotALogError,
    StudyNotFoundError,
    TunesmithError,
)

#: Exit codes: a failure, bad input (as for unknown options), Ctrl-C (128 + SIGINT), and SIGTERM.
FAILURE, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143
#: What the parser of the command line raises: unknown and missing options and arguments.
_UsageError: Any = typer.BadParameter.__mro__[1]
_BAD_INPUT = (
    CLIUsageError, InvalidValueError, InvalidTypeError, StudyNotFoundError, DuplicatedStudyError, NotALogError,
)  # fmt: skip
DEBUG_VARIABLE = "TUNESMITH_DEBUG"


def debugging() -> bool:
    """Whether tracebacks are wanted (``--debug``, or the environment variable)."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def say(message: str) -> None:
    """A line for people, on standard error."""
    print(clean(message), file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """Without control characters except newlines, which could rewrite the reader's terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def exit_code(error: BaseException) -> int:
    """2 for bad input, 1 for a failure."""
    return BAD_INPUT if isinstance(error, _BAD_INPUT) else FAILURE


@contextmanager
def guarded(debug: bool = False) -> Iterator[None]:
    """Turn the library's errors, and those of files, into a message and an exit code; with ``debug`` let them pass."""
    before = warnings.showwarning
    warnings.showwarning = _show_warning
    messages = _Messages()
    try:
        with messages:
            yield
    except BrokenPipeError:
        _no_more_output()
        raise typer.Exit(FAILURE) from None
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError" or debug or debugging():
            raise
        say(f"error: {_usage(error)}")
        raise typer.Exit(BAD_INPUT) from None
    except (TunesmithError, OSError) as error:
        if debug or debugging():
            raise
        say(f"error: {_message(error)}")
        raise typer.Exit(exit_code(error)) from None
    except KeyboardInterrupt:
        if debug or debugging():
            raise
        say("\nInterrupted.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        warnings.showwarning = before


class _Messages(logging.Handler):
    """While it is entered, the library's messages are lines like all others here: ``warning: ...``."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        say(prefix + record.getMessage())

    def __enter__(self) -> None:
        from tunesmith import logging as own

        self._root = own.get_logger("tunesmith")
        self._others = [h for h in self._root.handlers if type(h).__module__ == own.__name__]
        for handler in self._others:
            self._root.removeHandler(handler)
        self._root.addHandler(self)

    def __exit__(self, *error: object) -> None:
        self._root.removeHandler(self)
        for handler in self._others:
            self._root.addHandler(handler)


@contextmanager
def stopped_by_sigterm() -> Iterator[list[bool]]:
    """Let SIGTERM do what Ctrl-C does; the list that it gives is empty until then."""
    found: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def stop(number: int, frame: Any) -> None:
        if found:
            return  # timeout(1) and others send it twice: the same request
        found.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage(error: Any) -> str:
    text = " ".join(error.format_message().split())
    path = error.ctx.command_path if error.ctx is not None else "tunesmith"
    return f"{text.rstrip('.')}. See `{path} --help`."


def _message(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, TunesmithError) else f"{type(error).__name__}: {text}"


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    say(f"warning: {message}")


def _no_more_output() -> None:
    """The reader of the pipe has gone (``| head``): say no more, not even when Python flushes at its end."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor behind it: a test's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
