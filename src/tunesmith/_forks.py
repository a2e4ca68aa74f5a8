"""What must happen around ``os.fork``: locks are made anew in the child, and descriptors are let go."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that has to be mended in a forked child. A fork waits until its ``_lock``, if it has one, is free."""

    def _after_fork(self) -> None:
        """Called in the child, where only the thread that forked goes on."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch_forks(handle: Forkable) -> None:
    """Call ``handle._after_fork()`` in every child that ``os.fork`` makes, before any other code runs there.

    A child that noticed a changed process id at its first call would be too late: until then it holds a copy of the
    parent's descriptor, and with it the parent's file lock, even after the parent died.
    """
    _forkables.add(handle)


#: How long a fork waits for another thread to leave a handle, in seconds.
PATIENCE = 5.0
_here = threading.local()  # what this thread holds while it forks


def _before() -> None:
    """Let no other thread be inside of a handle: the libraries below (SQLite) have locks that a child cannot renew."""
    held = _here.held = []
    for handle in list(_forkables):
        lock = getattr(handle, "_lock", None)
        if lock is not None and lock.acquire(timeout=PATIENCE):
            held.append(lock)


def _release() -> None:
    for lock in _here.held:
        lock.release()


def _in_child() -> None:
    _release()
    for handle in list(_forkables):
        handle._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_release, after_in_child=_in_child)
