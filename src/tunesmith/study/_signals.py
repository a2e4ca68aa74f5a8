"""SIGTERM: whoever stops a job (Slurm, Kubernetes, systemd) means that it should leave in good order, and soon."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tunesmith import logging

_logger = logging.get_logger("tunesmith.study")

#: Seconds until objectives that have not come to their next yield are interrupted.
PATIENCE = 4.0
#: Seconds until the process ends although something in it does not; what stops jobs waits for 10 s or more.
LIMIT = 8.0
#: Exit status of a process that SIGTERM has ended.
STATUS = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """SIGTERM, as a thread sees it; it says nothing about the trial that is interrupted."""


class Terminator:
    """What SIGTERM does to a loop.

    First the loop is asked to stop, so that a generator comes to its next yield, and a state that it saves is kept.
    After :data:`PATIENCE` seconds the main thread is interrupted by SystemExit; an objective that neither yields nor
    runs in Python's main thread may outlast that, so after :data:`LIMIT` seconds the trials are given back from another
    thread, and the process ends.

    Args:
        stop: asks the loop to stop.
        waits: whether some trial may come to a yield.
        give_back: releases the trials that still run.
    """

    def __init__(self, stop: Callable[[], None], waits: Callable[[], bool], give_back: Callable[[], None]) -> None:
        self._stop, self._waits, self._give_back = stop, waits, give_back
        self.called = False
        self._ended = threading.Event()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second SIGTERM interrupts at once."""
        if self.called or not self._waits():
            self._begin()
            raise Terminated(STATUS)
        self._begin()

    def _begin(self) -> None:
        if self.called:
            return
        self.called = True
        self._stop()
        # not threading.Thread: the main thread may have been interrupted while it held a lock that this would take
        _thread.start_new_thread(self._watch, ())

    def _watch(self) -> None:
        _logger.warning("SIGTERM: the trials that run are given back, and the process ends.")  # no handler may write
        if self._ended.wait(PATIENCE):
            return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # wakes it from a sleep, too
        if self._ended.wait(LIMIT - PATIENCE):
            return
        try:
            self._give_back()
        finally:
            os._exit(STATUS)

    def end(self) -> None:
        """The loop has ended."""
        self._ended.set()


@contextmanager
def terminating(stop: Callable[[], None], waits: Callable[[], bool], give_back: Callable[[], None]) -> Iterator[None]:
    """While a loop runs in the main thread, SIGTERM ends it in good order, and then the process (SystemExit).

    A handler of the user's stays; so does everything where there are no POSIX signals.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"):
        yield
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    terminator = Terminator(stop, waits, give_back)
    signal.signal(signal.SIGTERM, terminator.handle)
    try:
        yield
    finally:
        terminator.end()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if terminator.called:
        raise Terminated(STATUS)
