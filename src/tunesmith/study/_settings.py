"""The arguments of ``optimize``: what they are, and what they may be."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.trial import FrozenTrial, Trial

if TYPE_CHECKING:
    from tunesmith.study._study import Study

Objective = Callable[[Trial], Any]
Callback = Callable[["Study", FrozenTrial], None]


@dataclass
class Settings:
    """The arguments of ``optimize``."""

    objective: Objective
    n_trials: int | None
    timeout: float | None
    n_jobs: int
    catch: tuple[type[Exception], ...]
    callbacks: tuple[Callback, ...]
    gc_after_trial: bool
    keep_paused: bool


def check_settings(
    func: Any, n_trials: Any, timeout: Any, n_jobs: Any, catch: Any, callbacks: Iterable[Callback] | None
) -> tuple[int, tuple[type[Exception], ...], tuple[Callback, ...]]:
    """Check the arguments of ``optimize``; return n_jobs, catch and callbacks in their final form.

    Raises:
        InvalidTypeError: for a wrong type (a ``TypeError``); InvalidValueError: for an impossible value.
    """
    if not callable(func):
        raise InvalidTypeError(f"The objective must be callable, but is {func!r}.")
    if n_trials is not None and not _is_whole(n_trials):
        raise InvalidTypeError(f"`n_trials` must be an integer or None, but is {n_trials!r}.")
    if n_trials is not None and n_trials < 0:
        raise InvalidValueError(f"`n_trials` must not be negative, but is {n_trials}.")
    if timeout is not None and not (isinstance(timeout, Real) and float(timeout) >= 0):
        raise InvalidValueError(f"`timeout` must be a number of seconds or None, but is {timeout!r}.")
    if not _is_whole(n_jobs) or n_jobs == 0 or n_jobs < -1:
        raise InvalidValueError(f"`n_jobs` must be a positive integer, or -1 for all cores, but is {n_jobs!r}.")
    n_jobs = int(n_jobs)
    if n_jobs == -1:
        n_jobs = os.cpu_count() or 1
    if inspect.isclass(catch) and issubclass(catch, Exception):
        catch = (catch,)
    try:
        catch = tuple(catch)
    except TypeError:
        catch = (catch,)
    if not all(inspect.isclass(c) and issubclass(c, Exception) for c in catch):
        raise InvalidTypeError(f"`catch` must be exception classes, but is {catch!r}.")
    if callbacks is not None and not isinstance(callbacks, Iterable):
        raise InvalidTypeError(f"`callbacks` must be a list of callables, but is {callbacks!r}.")
    callbacks = tuple(callbacks or ())
    if bad := [c for c in callbacks if not callable(c)]:
        raise InvalidTypeError(f"`callbacks` must be callables, but {bad[0]!r} is not.")
    return n_jobs, catch, callbacks


def _is_whole(value: Any) -> bool:
    """An integer, NumPy's too, or a float such as 2.0; no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()


def warn_endless(n_trials: int | None, timeout: float | None) -> None:
    """Running without an end is allowed (Optuna does), but said."""
    if n_trials is None and timeout is None and sys.stderr.isatty():
        warnings.warn("No n_trials and no timeout: the loop runs until study.stop() or Ctrl-C.", stacklevel=4)
