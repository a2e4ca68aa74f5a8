"""Several workers: processes of this machine, one core each."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tunesmith import logging
from tunesmith._arguments import whole
from tunesmith._machine import cores
from tunesmith.exceptions import InvalidValueError
from tunesmith.executors._base import BaseExecutor, Host, Work
from tunesmith.executors._limits import check_limits
from tunesmith.executors._messages import Setup, pack_objective
from tunesmith.executors._process import ProcessChannel, group_memory
from tunesmith.executors._remote import GRACE_SECONDS, RemoteGenerator, RemoteWorker
from tunesmith.executors._threads import run_workers
from tunesmith.trial import Trial


class ProcessExecutor(BaseExecutor):
    """Evaluates in ``n`` worker processes. Only the study's process writes to the store.

    The objective is pickled by cloudpickle, once: closures, lambdas and what the script itself defines go along by
    value, modules by name. Each worker has its own copy of it. A worker that dies costs one attempt of the trial that
    it was at; the paused trials that it kept begin again, or go on from their saved states.

    Args:
        n: workers; None for one a core.
        trial_timeout: seconds for which a trial may compute; then its process is killed and it is FAIL.
        trial_memory: bytes, or a text such as ``"2 GiB"``, that a worker process may take with all that it has started
            and with the paused trials that it keeps; then it is killed and its trial is FAIL. Measured every 0.3 s.
        collect: collect garbage after each trial.

    Raises:
        InvalidTypeError, InvalidValueError: a number of workers or a limit that is impossible; ``trial_memory`` where
            memory cannot be measured (it needs Linux).
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        trial_timeout: float | None = None,
        trial_memory: int | str | None = None,
        collect: bool = False,
    ) -> None:
        if n is not None:
            whole("n", n, 1)
        self.n = cores() if n is None else int(n)
        self.limits = check_limits(trial_timeout, trial_memory)
        self.collect = collect
        if self.limits.memory is not None and group_memory(0) is None:
            raise InvalidValueError("`trial_memory` needs Linux: /proc says how much a process takes. Leave it out.")

    def resumes(self, kept: Any) -> bool:
        """With a generator that a living worker keeps."""
        return isinstance(kept, RemoteGenerator) and kept.alive

    def stops(self, trial: Trial) -> bool:
        """A worker that does not come to an end is killed."""
        return True

    def run(self, host: Host) -> None:
        setup = Setup(pack_objective(host.objective), logging.get_verbosity(), self.collect, sys.argv)

        def start() -> RemoteWorker:
            worker = RemoteWorker(ProcessChannel(setup), self.limits)
            try:
                worker.get_ready(lambda: host.stopping)
            except BaseException:
                worker.channel.close()
                raise
            return worker

        pool = _Pool(self.n, start)
        try:
            run_workers(self.n, lambda: _work_through(host, pool), host.stop, here=False)
        finally:
            pool.end()


def _work_through(host: Host, pool: _Pool) -> None:
    """Take one trial after the other and have it evaluated, until there are none left."""
    with host.worker():
        while True:
            pool.fill()  # first, so that an objective that no process can load costs no trial
            work, worker = pool.take(host)
            if work is None or worker is None:
                return
            outcome = worker.evaluate(host, work, pool.give_up)
            pool.put(worker)
            outcome()


class _Pool:
    """The workers, and which of them are idle.

    There are as many as threads that use them, and each thread uses one at a time. So a thread that looks for work
    finds an idle one; which, depends on the work: a paused trial goes on where its generator is.

    Args:
        n: how many.
        start: gives one that is ready.
    """

    def __init__(self, n: int, start: Callable[[], RemoteWorker]) -> None:
        self._n, self._start = n, start
        self._lock = threading.Lock()
        self._idle: list[RemoteWorker] = []
        self._all: list[RemoteWorker] = []
        self._starting = 0
        self._ended = False

    def fill(self) -> None:
        """Start one if there are too few, because one has died or this is the beginning."""
        with self._lock:
            self._bury()
            if self._ended or len(self._all) + self._starting >= self._n:
                return
            self._starting += 1
        try:
            worker = self._start()
        except BaseException:
            with self._lock:
                self._starting -= 1
            raise
        with self._lock:
            self._starting -= 1
            if not self._ended:
                self._all.append(worker)
                self._idle.append(worker)
                return
        worker.channel.close()  # the loop has ended without waiting for this thread

    def _bury(self) -> None:
        for worker in [w for w in self._idle if not w.channel.alive()]:
            self._idle.remove(worker)
            self._all.remove(worker)
            worker.channel.close()  # and what it had started

    def take(self, host: Host) -> tuple[Work | None, RemoteWorker | None]:
        """A trial and a worker for it; None when there are no more."""
        reserved: list[RemoteWorker] = []

        def reach(kept: Any) -> bool:
            """Whether the worker that keeps this is free; then it is reserved, until the trial comes or another one."""
            with self._lock:
                if kept.worker in reserved:
                    return True
                if kept.worker not in self._idle:
                    return False
                self._idle.remove(kept.worker)
                self._idle += reserved
                reserved[:] = [kept.worker]
                return True

        try:
            works = host.take(1, reach=reach)
        except BaseException:
            self._put_all(reserved)
            raise
        if works and works[0].kept is not None:
            return works[0], works[0].kept.worker
        self._put_all(reserved)
        return (works[0], self._any(host, works[0])) if works else (None, None)

    def _any(self, host: Host, work: Work) -> RemoteWorker | None:
        """An idle worker, that with the fewest paused trials, which would have to wait for it."""
        while not host.stopping:
            with self._lock:
                self._bury()
                if self._idle:
                    worker = min(self._idle, key=lambda w: len(w.paused))
                    self._idle.remove(worker)
                    return worker
            try:
                self.fill()
            except BaseException:
                host.released(work.trial)
                raise
        host.released(work.trial)
        return None

    def _put_all(self, workers: list[RemoteWorker]) -> None:
        with self._lock:
            self._idle += workers

    def put(self, worker: RemoteWorker) -> None:
        """It is idle again."""
        self._put_all([worker])

    def give_up(self, kept: RemoteGenerator) -> None:
        """Close a paused trial's generator: now if its worker is idle, else as soon as that is."""
        worker, number = kept.worker, kept.trial.number
        with self._lock:
            if worker not in self._idle:
                worker.unwanted.append(number)
                return
            self._idle.remove(worker)
        worker.close(number)
        self.put(worker)

    def end(self) -> None:
        """Let the idle ones close what they keep and end; the others are in the way, and killed."""
        with self._lock:
            self._ended = True
            idle, self._idle = self._idle, []
        try:
            for worker in idle:
                worker.end()
            patience = time.monotonic() + GRACE_SECONDS
            for worker in idle:
                worker.channel.close(max(0.0, patience - time.monotonic()))
        finally:
            for worker in self._all:
                worker.channel.kill()
