"""What must happen around ``os.fork``: locks are made anew in the child, and descriptors are let go."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that has to be mended in a forked child. A fork waits until its ``_lock``, if it has one, is free."""

    def _after_fork(self) -> None:
        """Called in the child, where only the thread that forked goes on."""


_guard = threading.Lock()
_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch_forks(handle: Forkable) -> None:
    """Call ``handle._after_fork()`` in every child that ``os.fork`` makes, before any other code runs there.

    A child that noticed a changed process id at its first call would be too late: until then it holds a copy of the
    parent's descriptor, and with it the parent's file lock, even after the parent died.
    """
    with _guard:
        _forkables.add(handle)


def _all() -> list[Forkable]:
    with _guard:  # other threads make handles meanwhile
        return list(_forkables)


#: How long a fork waits for other threads to leave all handles, in seconds; then it goes ahead.
PATIENCE = 1.0
_here = threading.local()  # what this thread holds while it forks


def _before() -> None:
    """Let no other thread be inside of a handle: the libraries below (SQLite) have locks that a child cannot renew."""
    held = _here.held = []
    _here.interrupted = False
    end = time.monotonic() + PATIENCE
    try:
        for handle in _all():
            lock = getattr(handle, "_lock", None)
            if lock is not None and lock.acquire(timeout=max(0.0, end - time.monotonic())):
                held.append(lock)
    except KeyboardInterrupt:  # would be lost here
        _here.interrupted = True


def _release() -> None:
    for lock in _here.held:
        lock.release()
    _here.held = []


def _in_parent() -> None:
    _release()
    if _here.interrupted:  # again, when this hook is over: what is raised in a hook is only printed
        threading.Timer(0.01, os.kill, args=(os.getpid(), signal.SIGINT)).start()


def _in_child() -> None:
    global _guard
    _guard = threading.Lock()
    _release()
    for handle in _all():
        handle._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
