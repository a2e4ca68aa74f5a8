"""What runs in a worker process: ``main`` is called with the socket and the parent's id as the program's arguments."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from tunesmith import logging
from tunesmith.executors._messages import Disconnected, Ready, Setup, pack, raised, unpack
from tunesmith.executors._remote_worker import Evaluator
from tunesmith.executors._stream import MessageStream

#: How often it is checked that the parent lives, in seconds, beside waiting for the socket to be closed.
_LOOK_SECONDS = 1.0
#: After so many seconds SIGTERM was meant for this process alone: those that the study's has to end in good order.
_TERM_SECONDS = 10.0


class SocketChannel:
    """The way to the study's process.

    Args:
        descriptor: of the socket, which no child is to inherit over an exec.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._stream = MessageStream(socket.socket(fileno=descriptor))

    def send(self, data: bytes) -> None:
        self._stream.send(data)

    def receive(self) -> bytearray:
        data = self._stream.receive()
        assert data is not None  # which only a timeout gives
        return data

    def leave(self) -> None:
        """The process ends. Its watch looks at the descriptor until then."""
        self._stream.leave()


def main() -> None:
    """Evaluate trials until the study says that there are no more, or its process is gone."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    _Watch(descriptor, parent).begin()
    channel = SocketChannel(descriptor)
    for stream in (sys.stdout, sys.stderr):  # what is printed is to be seen now, and not lost when this is killed
        with contextlib.suppress(AttributeError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        setup: Setup = unpack(channel.receive())
        sys.argv = setup.arguments
        logging.set_verbosity(setup.verbosity)
        try:
            objective = unpack(setup.objective)
        except BaseException as error:
            return channel.send(pack(raised(error)))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        channel.send(pack(Ready()))
        Evaluator(channel, objective, setup.collect).run()
    except Disconnected:
        _vanish()
    finally:
        channel.leave()


class _Watch:
    """Ends this process when the study's process is gone, or wants that.

    Ctrl-C and SIGTERM are for that process to decide on. SIGTERM reaches all processes of a job (of Slurm and systemd,
    for example); the study's lets objectives come to their next yield, and ends this one then. If it does not, this
    one alone was meant. The signals are handled and not ignored, as programs that an objective starts would inherit
    that. Its forked children end by SIGTERM, as libraries expect of theirs.

    Args:
        descriptor: of the socket; its other end is closed when the study's process ends.
        parent: the id of that process, whose forked children may keep the other end open.
    """

    def __init__(self, descriptor: int, parent: int) -> None:
        self._parent = parent
        self._deadline = math.inf
        self._closed = select.poll()
        self._closed.register(descriptor, 0)  # nothing but its end

    def begin(self) -> None:
        """In a thread. It needs Python's lock for a moment: a function in C that keeps it delays the end."""
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._terminated)
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_renew)
        threading.Thread(target=self._run, name="tunesmith-watch", daemon=True).start()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._deadline = min(self._deadline, time.monotonic() + _TERM_SECONDS)

    def _run(self) -> None:
        while os.getppid() == self._parent and time.monotonic() < self._deadline:
            if self._closed.poll(_LOOK_SECONDS * 1000):
                break
        _vanish()


def _block() -> None:
    """SIGTERM waits while this process forks: Python forgets what reaches a child before that knows that it is one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _renew() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _unblock()


def _vanish() -> NoReturn:
    """End at once, with everything that was started from here."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
