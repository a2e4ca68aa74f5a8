"""Leases: the claims of a worker hold while its heart beats; whoever sees that it has stopped gives them back.

Nothing hangs on a lease but time: who holds a trial is decided by the tokens in the log, so a worker that was only
frozen, and goes on after its trial was given back, finds its writes void.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from tunesmith import logging
from tunesmith.events import Event
from tunesmith.exceptions import StorageInternalError, StudyNotFoundError
from tunesmith.study._log import StudyLog
from tunesmith.study._worker import is_dead, same_host

_logger = logging.get_logger("tunesmith.study")

#: Heartbeats in one lease. More of them would load the store, fewer would make a single late one count for more.
BEATS = 6
#: The part of a lease without a heartbeat after which it has ended; the rest is for others to notice it in.
ENDED = 2 / 3
#: The part of a lease for which a worker judges nobody that has just begun, or was itself without a heartbeat: a
#: machine that slept, or a store that was away, makes everybody late, and all are back within one interval.
PATIENCE = 1 / 3
#: After so many leases without a heartbeat a worker is not kept in mind.
FORGOTTEN = 20


class Lease:
    """The heartbeat of this process in one study, and what it knows of the others'.

    Ages are by the store's clock, so the clocks of the machines need not agree.

    Args:
        log: of the study.
        worker: the ``worker`` event of this process.
        seconds: within which the others are to notice that this worker is gone.
        look: called after each heartbeat under the log's lock, to give back what the dead have left. While others hold
            that lock for long (a sampler that computes), it has to wait for the next one: the heart beats on.
    """

    def __init__(self, log: StudyLog, worker: Event, seconds: float, look: Callable[[], object]) -> None:
        self._log = log
        self._worker: str = worker["w"]
        self.seconds = seconds
        self._look = look
        self._ages: dict[str, float] = {}
        self._judges_from = math.inf
        self._failing = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """The first heartbeat, then one after the other in a thread; to be called before the first claim.

        Raises:
            StorageInternalError: the store fails.
        """
        self._log.storage.heartbeat(self._log.study, self._worker)
        self._judges_from = time.monotonic() + PATIENCE * self.seconds
        self._thread = threading.Thread(target=self._run, name="tunesmith-lease", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No heartbeats any more, and nobody waits for them."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=self.seconds / BEATS)  # a store that hangs must not keep the process
        try:
            self._log.storage.end_heartbeat(self._log.study, self._worker)
        except (StorageInternalError, StudyNotFoundError) as error:
            _logger.debug("The last heartbeat stays: %s", error)

    def expired(self, worker: Event) -> bool:
        """Whether the heart of another worker has stopped, as far as this one may judge.

        One whose loop has ended in good order is not expired while it may be asked, which is on its own machine: it may
        keep paused trials.
        """
        lease = worker.get("lease")
        if lease is None or worker["w"] == self._worker or time.monotonic() < self._judges_from:
            return False
        if worker["w"] not in self._ages:
            self._measure()  # it may have begun since
            if time.monotonic() < self._judges_from:
                return False
        age = self._ages.get(worker["w"])
        return not same_host(worker) if age is None else age > ENDED * lease

    def _measure(self) -> None:
        ages = self._log.storage.heartbeats(self._log.study)
        if ages.get(self._worker, math.inf) > ENDED * self.seconds:
            self._judges_from = time.monotonic() + PATIENCE * self.seconds
        self._ages = ages

    def _bury(self) -> None:
        """Remove the last heartbeats of those that are gone for long; one that lives after all begins again."""
        for worker, age in self._ages.items():
            if age > FORGOTTEN * self.seconds:
                self._log.storage.end_heartbeat(self._log.study, worker)

    def _run(self) -> None:
        interval = self.seconds / BEATS
        while not self._over.wait(interval):
            try:
                self._measure()
                self._log.storage.heartbeat(self._log.study, self._worker)
                lock = self._log.lock
                if lock.acquire(timeout=interval / 2):
                    try:
                        self._look()
                    finally:
                        lock.release()
                self._bury()
            except StudyNotFoundError:
                return  # deleted; the loop will hear of it
            except Exception as error:  # a store that is away, a user's callback: the next heartbeat must come
                if not self._failing and not self._over.is_set():
                    _logger.warning("A heartbeat failed, the next ones are tried: %r", error)
                self._failing = True
            else:
                self._failing = False


def is_gone(worker: Event, lease: Lease | None) -> bool:
    """Whether the process behind a ``worker`` event is dead, or must be taken for dead.

    Args:
        worker: another worker.
        lease: this worker's own; without one, only what died on this machine is noticed.
    """
    return is_dead(worker) or (lease is not None and lease.expired(worker))
