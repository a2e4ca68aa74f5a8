"""Evaluating one trial in the calling thread: a function, or a generator that yields after each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from tunesmith import logging
from tunesmith.exceptions import StaleTrialError
from tunesmith.executors._base import Host, Work
from tunesmith.executors._forked import OwnProcess
from tunesmith.pruners import Verdict
from tunesmith.trial import Trial

if TYPE_CHECKING:
    from tunesmith.executors._remote_trial import RemoteTrial

_logger = logging.get_logger("tunesmith.study")


def work_through(host: Host) -> None:
    """Take one trial after the other and evaluate it, until there are none left."""
    with host.worker():
        while works := host.take():
            evaluate(host, works[0])


def evaluate(host: Host, work: Work) -> None:
    """Run the objective, or go on with its generator, and tell the study what became of it."""
    trial, generator = work.trial, work.kept
    result: Any = None
    error: Exception | None = None
    verdict: Verdict | None = Verdict.GO
    try:
        if generator is None:
            with OwnProcess():
                result = host.objective(trial)
            generator = result if inspect.isgenerator(result) else None
        if generator is not None:
            trial._yields = True
            verdict, result = _drive(host, generator, trial)
    except Exception as failure:
        if generator is not None:
            close(generator, trial)
        verdict, error = Verdict.GO, failure
    except BaseException as interrupt:
        host.stop()  # first, or another worker may claim the trial at once
        try:
            if generator is not None:  # one that was not running; its files and processes are not to outlive this
                close(generator, trial)
        finally:
            host.released(trial, interrupt)
        raise
    if verdict is Verdict.GO:
        return host.ended(trial, result, error)
    if verdict is Verdict.PAUSE:
        return pause(host, trial, generator)
    close(generator, trial)
    return host.pruned(trial) if verdict is Verdict.STOP else host.released(trial)


def _drive(host: Host, generator: Generator[Any, Any, Any], trial: Trial) -> tuple[Verdict | None, Any]:
    """Resume the generator until it returns, or the rule ends or pauses it, or (None) the loop is stopped."""
    while True:
        try:
            with OwnProcess():
                item = next(generator)
        except StopIteration as end:
            return Verdict.GO, end.value
        verdict = host.reported(trial, item)
        if host.stopping:
            return None, None
        if verdict is not Verdict.GO:
            return verdict, None


def pause(host: Host, trial: Trial, kept: Any) -> None:
    """Say that a trial is paused; one that another worker has by now ends here.

    What else the host raises is no error of this trial: callbacks of others that are given up for it are called there.
    """
    try:
        host.paused(trial, kept)
    except StaleTrialError as stale:
        close(kept, trial)
        host.ended(trial, error=stale)


def close(kept: Any, trial: Trial | RemoteTrial) -> None:
    """Close a generator (or what else was kept of a trial); its errors are logged."""
    try:
        kept.close()
    except Exception as error:
        _logger.warning("Trial %d: its generator did not close cleanly: %r", trial.number, error)
