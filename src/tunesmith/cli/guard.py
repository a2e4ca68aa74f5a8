"""What happens to errors: one clear message on standard error, and an exit code that scripts can rely on."""

from __future__ import annotations

import contextlib
import os
import sys
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

#: Exit codes: a failure, bad input (as for unknown options), Ctrl-C (128 + SIGINT).
FAILURE, BAD_INPUT, INTERRUPTED = 1, 2, 130
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
    try:
        yield
    except BrokenPipeError:
        _no_more_output()
        raise typer.Exit(FAILURE) from None
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


def _message(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, TunesmithError) else f"{type(error).__name__}: {text}"


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    say(f"warning: {message}")


def _no_more_output() -> None:
    """The reader of the pipe has gone (``| head``): say no more, not even when Python flushes at its end."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor behind it: a test's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
