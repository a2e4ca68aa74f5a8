"""Messages over a stream socket: eight bytes of length, then as many of the message."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from tunesmith.executors._messages import Disconnected

_LENGTH = struct.Struct("!Q")
#: Up to so many bytes a message goes in one piece with its length; of a larger one no copy is made.
_SMALL = 1 << 14
#: How often whoever cannot get rid of a message looks whether the other side is there, in seconds.
_LOOK_SECONDS = 0.1


class MessageStream:
    """One end of a pair of sockets, for one thread at a time.

    A wait that ends in the middle of a message loses nothing: the next one goes on there. multiprocessing's
    ``Connection`` waits for the rest of a message for ever, if its sender is dead and a child of it keeps the socket.

    Args:
        end: the socket.
        there: whether the other side is; asked while a message cannot be sent. None: who reads no more has closed it.
    """

    def __init__(self, end: socket.socket, there: Callable[[], bool] | None = None) -> None:
        self._socket, self._there = end, there
        self._part, self._received = bytearray(_LENGTH.size), 0  # what is being received: a length, or a message
        self._is_length = True

    def send(self, data: bytes) -> None:
        """Raises :class:`Disconnected`."""
        length = _LENGTH.pack(len(data))
        for part in (length + data,) if len(data) <= _SMALL else (length, data):
            rest = memoryview(part)
            while rest:
                rest = rest[self._sent(rest) :]

    def _sent(self, data: memoryview) -> int:
        """How many bytes the socket has taken."""
        self._socket.settimeout(None if self._there is None else _LOOK_SECONDS)
        try:
            return self._socket.send(data)
        except TimeoutError:
            if self._there is not None and not self._there():
                raise Disconnected from None
            return 0
        except OSError:
            raise Disconnected from None

    def receive(self, timeout: float | None = None) -> bytearray | None:
        """The next message; None if nothing of it came for ``timeout`` seconds. Raises :class:`Disconnected`."""
        self._socket.settimeout(timeout)
        while True:
            while self._received < len(self._part):
                try:
                    received = self._socket.recv_into(memoryview(self._part)[self._received :])
                except TimeoutError:
                    return None
                except OSError:
                    raise Disconnected from None
                if not received:
                    raise Disconnected
                self._received += received
            whole, self._received = self._part, 0
            self._is_length = not self._is_length
            if self._is_length:
                self._part = bytearray(_LENGTH.size)
                return whole
            self._part = bytearray(_LENGTH.unpack(whole)[0])

    def close(self) -> None:
        """The other side sees it."""
        self._socket.close()

    def leave(self) -> None:
        """Let the end of the process close it, and not before."""
        self._socket.detach()
