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

from tunesmith._arguments import number
from tunesmith._machine import cores
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialKilledError
from tunesmith.executors import BaseExecutor, InlineExecutor, LaneExecutor, ThreadExecutor
from tunesmith.executors.lanes import LaneObjective, check_lanes
from tunesmith.study._attempts import Attempts
from tunesmith.study._direction import StudyDirection
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
    catch: tuple[type[Exception], ...]
    callbacks: tuple[Callback, ...]
    gc_after_trial: bool
    keep_paused: bool
    max_paused: int | None
    attempts: Attempts
    lease: float | None


def check_lease(value: Any) -> float | None:
    """``lease`` in seconds, or None.

    Raises:
        InvalidTypeError, InvalidValueError: it is no number, or too short for heartbeats.
    """
    if value is None:
        return None
    number("lease", value, 0.5)
    return float(value)


def check_max_paused(value: Any) -> int | None:
    """``max_paused`` as an integer, or None.

    Raises:
        InvalidTypeError, InvalidValueError: it is neither.
    """
    if value is not None and not _is_whole(value):
        raise InvalidTypeError(f"`max_paused` must be an integer or None, but is {value!r}.")
    if value is not None and value < 0:
        raise InvalidValueError(f"`max_paused` must not be negative, but is {value}.")
    return None if value is None else int(value)


def check_settings(
    func: Any, n_trials: Any, timeout: Any, n_jobs: Any, catch: Any, callbacks: Iterable[Callback] | None
) -> tuple[int | None, tuple[type[Exception], ...], tuple[Callback, ...]]:
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
    if n_jobs is not None:
        if not _is_whole(n_jobs) or n_jobs == 0 or n_jobs < -1:
            raise InvalidValueError(f"`n_jobs` must be a positive integer, or -1 for all cores, but is {n_jobs!r}.")
        n_jobs = (os.cpu_count() or 1) if n_jobs == -1 else int(n_jobs)
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
    catch = (*catch, TrialKilledError)  # said by a limit of the user's, who means that trial and no other
    if bad := [c for c in callbacks if not callable(c)]:
        raise InvalidTypeError(f"`callbacks` must be callables, but {bad[0]!r} is not.")
    return n_jobs, catch, callbacks


def check_directions(func: Any, directions: list[StudyDirection]) -> None:
    """Whether an objective that says where it wants to go (``train.Problem`` does) fits the study.

    Raises:
        InvalidValueError: it does not: its worst trials would be taken for the best.
    """
    wanted = getattr(func, "directions", None)
    if not isinstance(wanted, list) or not all(w in ("minimize", "maximize") for w in wanted):
        return
    found = [direction.name.lower() for direction in directions]
    if wanted != found:
        raise InvalidValueError(
            f"This objective is to be {wanted} but the study's directions are {found}; make the study with "
            f"create_study(directions={wanted})."
        )


def choose_executor(
    func: Any, n_jobs: int | None, lanes: Any, backend: Any, *, n_trials: Any = None, trial_timeout: Any = None,
    trial_memory: Any = None, collect: bool = False,
) -> BaseExecutor:  # fmt: skip
    """Who evaluates: lanes, threads, the calling thread, processes, Ray, or an executor that the user has made.

    Args:
        func, n_jobs, lanes, backend, trial_timeout, trial_memory: see :meth:`Study.optimize`.
        n_trials: no more processes are started.
        collect: garbage after each trial, where that is not in this process.

    Raises:
        InvalidTypeError: ``func`` offers no lanes; ``backend`` is no executor and no name. InvalidValueError: an
            impossible number of lanes, an unknown name, an executor together with ``n_jobs`` or ``lanes``, a limit for
            trials that cannot be killed.
    """
    if backend == "processes":
        if lanes is not None:
            raise InvalidValueError("`lanes` train in threads of one process; leave out `lanes` or `backend`.")
        n = n_jobs or cores()
        n = n if n_trials is None else max(1, min(n, int(n_trials)))
        from tunesmith.executors import ProcessExecutor

        return ProcessExecutor(n, trial_timeout=trial_timeout, trial_memory=trial_memory, collect=collect)
    if backend == "ray":
        if lanes is not None or trial_memory is not None:
            raise InvalidValueError(
                "backend='ray' offers neither `lanes` nor `trial_memory`; leave them out. RayExecutor(memory=...) "
                "reserves memory for a task."
            )
        from tunesmith.executors import RayExecutor

        return RayExecutor(n_jobs, trial_timeout=trial_timeout, collect=collect)
    if trial_timeout is not None or trial_memory is not None:
        raise InvalidValueError(
            "`trial_timeout` and `trial_memory` need trials that can be killed, each in a process: say "
            "backend='processes' (an executor of your own takes them itself)."
        )
    if isinstance(backend, BaseExecutor):
        if n_jobs is not None or lanes is not None:
            raise InvalidValueError(
                f"{type(backend).__name__} says itself how many trials it evaluates; leave out n_jobs and lanes."
            )
        return backend
    if not isinstance(backend, (str, type(None))):
        raise InvalidTypeError(f"`backend` must be 'threads', 'processes', 'ray' or an executor, but is {backend!r}.")
    if backend not in (None, "threads"):
        raise InvalidValueError(f"`backend` must be 'threads', 'processes', 'ray' or an executor, but is {backend!r}.")
    if lanes is None:
        return InlineExecutor() if n_jobs in (None, 1) else ThreadExecutor(n_jobs or 1)
    if not isinstance(func, LaneObjective):
        raise InvalidTypeError(
            f"`lanes` need an objective that offers them, such as tunesmith.train.Problem, but this is {func!r}; use "
            "n_jobs for trials side by side in threads."
        )
    return LaneExecutor(func, check_lanes(lanes), n_jobs)


def _is_whole(value: Any) -> bool:
    """An integer, NumPy's too, or a float such as 2.0; no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()


def warn_endless(n_trials: int | None, timeout: float | None) -> None:
    """Running without an end is allowed (Optuna does), but said."""
    if n_trials is None and timeout is None and sys.stderr.isatty():
        warnings.warn("No n_trials and no timeout: the loop runs until study.stop() or Ctrl-C.", stacklevel=4)
