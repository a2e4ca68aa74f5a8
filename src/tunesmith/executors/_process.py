"""Worker processes of this machine: started, watched and killed; what travels goes over a pair of sockets."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tunesmith.exceptions import InvalidValueError
from tunesmith.executors._messages import Disconnected, Setup, pack
from tunesmith.executors._stream import MessageStream

#: One core for each: the variables that the libraries of array programs read when they are imported.
ONE_THREAD = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip
#: The path is set before anything of ours is imported, which may be found only by it.
_START = "import sys; sys.path[:] = sys.argv[3:]; from tunesmith.executors._process_main import main; main()"
#: How long a process may take to be gone when its socket is closed, in seconds.
_GONE_SECONDS = 1.0


class ProcessChannel:
    """A process of its own, and the way to it.

    A fresh interpreter, not a fork or multiprocessing's spawn: threads and devices of this process are not in the way,
    and ``__main__`` is not imported again, so a script needs no ``if __name__ == "__main__"``. That is how loky does
    it, too (https://github.com/joblib/loky). Its executor is not used: paused generators stay in the process that has
    begun them, so a task must go to a certain process, and a process that is killed must take one trial with it, not
    the pool.

    The process leads a process group, so that what it has started is killed with it, and a Ctrl-C of the terminal
    reaches this process alone.
    """

    def __init__(self, setup: Setup) -> None:
        if not hasattr(select, "poll"):
            raise InvalidValueError(
                'backend="processes" needs a POSIX system; use threads here, or start this script several times with '
                "the same study_name and storage."
            )
        ours, theirs = socket.socketpair()
        options = [f"-W{option}" for option in sys.warnoptions]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *options, "-c", _START, str(theirs.fileno()), str(os.getpid()), *sys.path],
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        self._stream = MessageStream(ours, self.alive)
        self._killed = self._closed = False
        with contextlib.suppress(Disconnected):  # it is found out by who waits for it
            self.send(pack(setup))

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def send(self, data: bytes) -> None:
        self._stream.send(data)

    def receive(self, timeout: float) -> bytearray | None:
        """Raises :class:`Disconnected` also if something that the process has started keeps the socket open."""
        data = self._stream.receive(timeout)
        if data is None and not self.alive():
            raise Disconnected
        return data

    def alive(self) -> bool:
        return not self._killed and self._process.poll() is None

    def memory(self) -> int | None:
        return group_memory(self.pid)

    def kill(self) -> None:
        self._killed = True  # from now on, although it takes a moment
        if not self._closed:  # later its id may be another's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def epitaph(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return _how_it_ended(self._process.wait(_GONE_SECONDS))
        self.kill()
        self._process.wait()
        return "closed its connection"

    def close(self, patience: float = 0.0) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self.kill()  # also of what it has started
        self._process.wait()
        self._closed = True
        self._stream.close()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (kill -9, or out of memory)" if -code == signal.SIGKILL else "")


# -- memory ------------------------------------------------------------------------------------------------------------


def group_memory(leader: int) -> int | None:
    """Bytes of main memory that a process and its descendants take; None where there is no /proc.

    Of a single process the resident set. Processes that it has forked share pages with it, so of several each has its
    proportional set size, in which a page counts once.
    """
    if not Path("/proc/self/statm").exists():
        return None
    processes = _with_descendants(leader)
    resident = sum(map(_resident, processes))
    return resident if len(processes) < 2 else sum(map(_proportional, processes)) or resident


def _with_descendants(process: int) -> list[int]:
    found = [process]
    for one in found:  # grows meanwhile
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def _resident(process: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _proportional(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
