"""Evaluating one trial in the calling thread: a function, or a generator that yields after each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from tunesmith import logging
from tunesmith.executors._base import Host, Work
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
            result = host.objective(trial)
            generator = result if inspect.isgenerator(result) else None
        if generator is not None:
            trial._yields = True
            verdict, result = _drive(host, generator, trial)
            if verdict is Verdict.PAUSE:
                return host.paused(trial, generator)
    except Exception as failure:
        if generator is not None:
            close(generator, trial)
        verdict, error = Verdict.GO, failure
    except BaseException as interrupt:
        host.stop()  # first, or another worker may claim the trial at once
        host.released(trial, interrupt)
        raise
    if verdict is Verdict.GO:
        return host.ended(trial, result, error)
    close(generator, trial)
    return host.pruned(trial) if verdict is Verdict.STOP else host.released(trial)


def _drive(host: Host, generator: Generator[Any, Any, Any], trial: Trial) -> tuple[Verdict | None, Any]:
    """Resume the generator until it returns, or the rule ends or pauses it, or (None) the loop is stopped."""
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return Verdict.GO, end.value
        verdict = host.reported(trial, item)
        if host.stopping:
            return None, None
        if verdict is not Verdict.GO:
            return verdict, None


def close(kept: Any, trial: Trial | RemoteTrial) -> None:
    """Close a generator (or what else was kept of a trial); its errors are logged."""
    try:
        kept.close()
    except Exception as error:
        _logger.warning("Trial %d: its generator did not close cleanly: %r", trial.number, error)
