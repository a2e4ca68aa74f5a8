"""What runs in a worker process: ``main`` is called with the socket and the parent's id as the program's arguments."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import NoReturn

from tunesmith import logging
from tunesmith.executors._messages import Disconnected, Ready, Setup, pack, raised, unpack
from tunesmith.executors._remote_worker import Evaluator

#: How often it is checked that the parent lives, in seconds, beside waiting for the socket to be closed.
_LOOK_SECONDS = 1.0


class SocketChannel:
    """The way to the study's process."""

    def __init__(self, socket: int) -> None:
        self._connection = Connection(socket)

    def send(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:
            raise Disconnected from None

    def receive(self) -> bytes:
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise Disconnected from None


def main() -> None:
    """Evaluate trials until the study says that there are no more, or its process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study's process decides
    socket, parent = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(socket, False)
    threading.Thread(target=_watch, args=(socket, parent), name="tunesmith-watch", daemon=True).start()
    for stream in (sys.stdout, sys.stderr):  # what is printed is to be seen now, and not lost when this is killed
        with contextlib.suppress(AttributeError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    channel = SocketChannel(socket)
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


def _watch(socket: int, parent: int) -> None:
    """End this process when the other end of the socket is closed or the parent is dead, whatever is being computed.

    It needs Python's lock for a moment: a function in C that keeps it delays the end.
    """
    closed = select.poll()
    closed.register(socket, 0)  # nothing but its end
    while os.getppid() == parent:
        if closed.poll(_LOOK_SECONDS * 1000):
            break
    _vanish()


def _vanish() -> NoReturn:
    """End at once, with everything that was started from here."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
