"""How a study talks to evaluations that are tasks of Ray: through a mailbox, which is an actor.

An actor, because it goes wherever Ray goes: over firewalls that know Ray's ports, and from a Ray client. It lives on
the node of the study's process and ends with it. Each side makes one call a turn, ``exchange``: what I have to say, for
what the other one says next. One question of an objective and its answer are therefore four messages; they took 3 to 5
ms on a loaded machine of two cores (a pipe between two processes: 0.1 ms).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Any, NamedTuple

from tunesmith import logging
from tunesmith.executors._messages import Disconnected, Ready, Setup, pack, raised, unpack
from tunesmith.executors._remote_worker import Evaluator

#: How long a message may be on its way after the task that has sent it is gone, in seconds.
_LAST_WORD_SECONDS = 0.2
STUDY, TASK = "study", "task"


class Mailbox:
    """The actor: a queue for each side of each conversation."""

    def __init__(self) -> None:
        self._queues: dict[tuple[int, str], asyncio.Queue[bytes | None]] = {}

    def _queue(self, conversation: int, side: str) -> asyncio.Queue[bytes | None]:
        return self._queues.setdefault((conversation, side), asyncio.Queue())

    async def put(self, conversation: int, side: str, messages: list[bytes]) -> None:
        """Give messages to a side."""
        for message in messages:
            self._queue(conversation, side).put_nowait(message)

    async def exchange(self, conversation: int, side: str, messages: list[bytes]) -> list[bytes]:
        """Give messages to the other side, and wait for one to this; all that are there, none after the end."""
        await self.put(conversation, STUDY if side == TASK else TASK, messages)
        queue = self._queue(conversation, side)
        found = [await queue.get()]
        while not queue.empty():
            found.append(queue.get_nowait())
        return [message for message in found if message is not None]

    async def end(self, conversation: int) -> None:
        """Nobody listens any more."""
        for side in (STUDY, TASK):
            self._queue(conversation, side).put_nowait(None)
            del self._queues[conversation, side]


class RayChannel:
    """A task of Ray that evaluates, and the way to it, seen from the study's process.

    Args:
        mailbox: the actor.
        conversation: a number that no other task has.
        task: the reference to its result.
        patience: the least time, in seconds, for which ``receive`` waits: each wait asks Ray, and there may be a
            thousand threads that do.
    """

    def __init__(self, mailbox: Any, conversation: int, task: Any, patience: float = 0.0) -> None:
        self._mailbox, self._conversation, self._task, self._patience = mailbox, conversation, task, patience
        self._turn: Any = None  # the reference to what comes next
        self._found: list[bytes] = []
        self._lock = threading.Lock()
        self._ended = False

    def send(self, data: bytes) -> None:
        if self._turn is None:
            self._turn = self._mailbox.exchange.remote(self._conversation, STUDY, [data])
        else:
            self._mailbox.put.remote(self._conversation, TASK, [data])

    def receive(self, timeout: float) -> bytes | None:
        import ray

        if not self._found:
            if self._turn is None:
                self._turn = self._mailbox.exchange.remote(self._conversation, STUDY, [])
            done, _ = ray.wait([self._turn, self._task], num_returns=1, timeout=max(timeout, self._patience))
            if not done:
                return None
            if self._turn not in done and not ray.wait([self._turn], timeout=_LAST_WORD_SECONDS)[0]:
                raise Disconnected
            turn, self._turn = self._turn, None
            with contextlib.suppress(ray.exceptions.RayError):  # the mailbox is gone
                self._found = ray.get(turn)
            if not self._found:
                self.kill()  # what nobody can hear must not go on computing
                raise Disconnected
        return self._found.pop(0)

    def alive(self) -> bool:
        import ray

        return not ray.wait([self._task], timeout=0)[0]

    def memory(self) -> None:
        """Not known here; Ray watches its nodes itself."""

    def kill(self) -> None:
        import ray

        ray.cancel(self._task, force=True)
        self.end()

    def end(self) -> None:
        """Nothing more is said."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._mailbox.end.remote(self._conversation)

    def close(self, patience: float = 0.0) -> None:
        """Nothing more is said; a task that was told to end does so."""
        self.end()

    def failure(self) -> Exception | None:
        """What Ray says of the end of the task; None if it has returned."""
        import ray

        try:
            ray.get(self._task, timeout=_LAST_WORD_SECONDS)
        except Exception as error:
            return error
        return None

    def epitaph(self) -> str:
        failure = self.failure()
        if failure is None:
            return "ended"
        lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
        return f"was lost by Ray ({type(failure).__name__}: {lines[0][:200] if lines else ''})"


class _TaskChannel:
    """The way to the study's process, seen from the task. What needs no answer goes along with what does."""

    def __init__(self, mailbox: Any, conversation: int) -> None:
        self._mailbox, self._conversation = mailbox, conversation
        self._unsent: list[bytes] = []
        self._found: list[bytes] = []

    def send(self, data: bytes) -> None:
        self._unsent.append(data)

    def receive(self) -> bytes:
        import ray

        if not self._found:
            unsent, self._unsent = self._unsent, []
            try:
                self._found = ray.get(self._mailbox.exchange.remote(self._conversation, TASK, unsent))
            except ray.exceptions.RayError:
                raise Disconnected from None
            if not self._found:
                raise Disconnected
        return self._found.pop(0)


class Run(NamedTuple):
    """What the tasks of one run have in common.

    Attributes:
        name: that no other run has.
        mailbox: the actor.
        setup: a reference to the :class:`Setup`, which is fetched only where it is needed.
        path: ``sys.path`` of the study's process, for what is on file systems that the nodes share.
    """

    name: str
    mailbox: Any
    setup: Any
    path: list[str]


#: The objective of the last run; Ray uses a worker process for many tasks, and each process loads it once.
_loaded: list[tuple[str, Any, bool]] = []


def evaluate_one(run: Run, conversation: int) -> None:
    """The task: one attempt of one trial, which the study's side chooses when this runs."""
    channel = _TaskChannel(run.mailbox, conversation)
    with contextlib.suppress(Disconnected):
        try:
            objective, collect = _load(run)
        except BaseException as error:
            channel.send(pack(raised(error)))
            channel.receive()  # until nobody listens
            return
        channel.send(pack(Ready()))
        Evaluator(channel, objective, collect).run()


def _load(run: Run) -> tuple[Any, bool]:
    if not _loaded or _loaded[0][0] != run.name:
        import ray

        setup: Setup = ray.get(run.setup)
        sys.path += [folder for folder in run.path if folder not in sys.path]
        sys.argv = setup.arguments
        logging.set_verbosity(setup.verbosity)
        _loaded[:] = [(run.name, unpack(setup.objective), setup.collect)]
    return _loaded[0][1:]
