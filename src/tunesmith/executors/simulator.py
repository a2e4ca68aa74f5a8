"""Virtual time: any number of workers that cost nothing, for comparing search methods on recorded curves.

The objective is a generator that looks its epochs up (or computes them, which takes no virtual time). Each report takes
the time that ``duration`` says, and is heard when the virtual clock has got there; between two events nothing happens.
So a method sees at each moment what it would see on a cluster: what has been reported until then, and the other trials
as running. Runs do not depend on the machine or its load.
"""

from __future__ import annotations

import heapq
import inspect
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors._base import BaseExecutor, Host
from tunesmith.executors._evaluate import close, pause
from tunesmith.pruners import Verdict
from tunesmith.trial import Trial


def unit(trial: Trial, item: Any) -> float:
    """One second a report."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A report in the trace.

    Attributes:
        seconds: virtual time at which it was heard.
        reports: how many were heard until then from all trials, this one included: the epochs spent.
        number: of the trial.
        item: what the objective yielded, such as ``(step, value)``.
    """

    seconds: float
    reports: int
    number: int
    item: Any


@dataclass(frozen=True, slots=True)
class _Run:
    """A trial on a worker: its generator, and the report that will be heard next."""

    trial: Trial
    generator: Generator[Any, Any, Any]
    item: Any


class SimulatorExecutor(BaseExecutor):
    """Evaluates generator objectives on ``n_workers`` virtual workers, in virtual time and in the calling thread.

    Of several reports at the same moment that of the worker with the lowest number is heard first. A paused trial keeps
    its generator, so going on with it costs nothing before its next report. The end of a generator takes no time.

    Where a rule counts in seconds, the objective should report them itself (``{"loss": ..., "seconds": ...}``): those
    that the loop would add are of the real clock.

    Args:
        n_workers: trials that may run at a time.
        duration: ``(trial, item) -> seconds`` that a report takes, at least 0; by default each takes one.
        max_reports: end when so many have been heard; ``None``: no limit.
        max_seconds: end when nothing more can be heard until this virtual time; ``None``: no limit. Trials that still
            run at the end are given back.

    Attributes:
        trace: the reports in the order in which they were heard.
        seconds: the virtual clock.

    Raises:
        InvalidValueError: a limit that is negative, or no worker.
    """

    def __init__(
        self,
        n_workers: int = 1,
        duration: Callable[[Trial, Any], float] = unit,
        max_reports: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        if n_workers < 1:
            raise InvalidValueError(f"`n_workers` must be at least 1, but is {n_workers}.")
        for name, limit in (("max_reports", max_reports), ("max_seconds", max_seconds)):
            if limit is not None and not limit >= 0:
                raise InvalidValueError(f"`{name}` must not be negative, but is {limit}.")
        self.n_workers, self.duration = n_workers, duration
        self.max_reports = math.inf if max_reports is None else max_reports
        self.max_seconds = math.inf if max_seconds is None else max_seconds
        self._begin()

    def _begin(self) -> None:
        self.trace: list[Heard] = []
        self.seconds = 0.0
        self._coming: list[tuple[float, int]] = []  # a heap of (time of the next report, worker)
        self._running: dict[int, _Run] = {}  # by worker

    def run(self, host: Host) -> None:
        self._begin()
        try:
            with host.worker():
                while not self._spent and self._fill(host) and self._coming[0][0] <= self.max_seconds:
                    self._next(host)
                    if host.stopping:
                        break
        except BaseException:
            host.stop()
            raise
        finally:
            for _, run in sorted(self._running.items()):
                close(run.generator, run.trial)
                host.released(run.trial)

    @property
    def _spent(self) -> bool:
        return len(self.trace) >= self.max_reports

    def _fill(self, host: Host) -> bool:
        """Give work to idle workers, one after the other, so that each proposal knows of those before it; any at work?

        A trial that ends without a report leaves its worker idle, which is why a worker may take several.
        """
        for worker in range(self.n_workers):
            while worker not in self._running and not host.stopping:
                works = host.take(1, wait=not self._running)
                if not works:
                    return bool(self._running)
                self._advance(host, worker, works[0].trial, works[0].kept)
        return bool(self._running)

    def _advance(self, host: Host, worker: int, trial: Trial, generator: Generator[Any, Any, Any] | None) -> None:
        """Find out what will be heard next from a trial, and when; or it has ended."""
        try:
            if generator is None:
                generator = _opened(host, trial)
            item = next(generator)
            duration = float(self.duration(trial, item))
            if not duration >= 0:
                raise InvalidValueError(f"A report takes 0 or more seconds, but `duration` said {duration}.")
        except StopIteration as end:
            return host.ended(trial, end.value)
        except Exception as error:
            if generator is not None:
                close(generator, trial)
            return host.ended(trial, error=error)
        except BaseException as interrupt:
            host.stop()
            host.released(trial, interrupt)
            raise
        self._running[worker] = _Run(trial, generator, item)
        return heapq.heappush(self._coming, (self.seconds + duration, worker))

    def _next(self, host: Host) -> None:
        """Go on to the next moment at which a report is heard."""
        self.seconds, worker = heapq.heappop(self._coming)
        run = self._running[worker]
        self.trace.append(Heard(self.seconds, len(self.trace) + 1, run.trial.number, run.item))
        try:
            verdict = host.reported(run.trial, run.item)
        except Exception as error:
            del self._running[worker]
            close(run.generator, run.trial)
            return host.ended(run.trial, error=error)
        if host.stopping:
            return None  # it is given back with the others
        del self._running[worker]
        if verdict is Verdict.GO:
            return self._advance(host, worker, run.trial, run.generator)
        if verdict is Verdict.PAUSE:
            return pause(host, run.trial, run.generator)
        close(run.generator, run.trial)
        return host.pruned(run.trial)


def _opened(host: Host, trial: Trial) -> Generator[Any, Any, Any]:
    """The objective's generator for a trial."""
    generator = host.objective(trial)
    if not inspect.isgenerator(generator):
        raise InvalidTypeError(
            f"Virtual time needs an objective that yields after each epoch, but this one returned {generator!r}; a "
            "function is evaluated by threads or in the calling thread."
        )
    trial._yields = True
    return generator
