"""Who holds a trial: a worker's identity in the log, and whether another one on this machine is dead."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path

from tunesmith.events import Event


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _host() -> str:
    """This machine since its last boot, and this process-id namespace (containers may share a host name)."""
    boot = _text("/proc/sys/kernel/random/boot_id")
    return "/".join((socket.gethostname(), boot, _link("/proc/self/ns/pid")))


@lru_cache(maxsize=1)
def _machine() -> str:
    """The installation, through boots: a hash of /etc/machine-id, which is not to leave the machine; "" if unknown."""
    text = _text("/etc/machine-id")
    return hashlib.sha256(f"tunesmith {text}".encode()).hexdigest()[:16] if text else ""


def _started(pid: int) -> str:
    """When the process started (clock ticks since boot), so that a recycled id is not taken for the old process."""
    stat = _text(f"/proc/{pid}/stat")
    if not stat:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def new_worker() -> Event:
    """The ``worker`` event of this process; ``w`` is fresh."""
    pid = os.getpid()
    worker = {"e": "worker", "w": uuid.uuid4().hex[:8], "host": _host(), "pid": pid, "start": _started(pid)}
    return {**worker, "machine": _machine()} if _machine() else worker


def same_process(a: Event, b: Event) -> bool:
    """Whether two workers are handles in one process."""
    return all(a.get(key) == b.get(key) for key in ("host", "pid", "start"))


def same_host(worker: Event) -> bool:
    """Whether a worker runs on this machine, where its process can be looked up."""
    return worker.get("host") == _host()


def is_dead(worker: Event) -> bool:
    """Whether the process behind a ``worker`` event is gone. Of other machines a heartbeat tells (``_leases.py``)."""
    if not same_host(worker):
        return _before_boot(worker)
    pid = int(worker["pid"])
    if worker.get("start"):
        return _started(pid) != worker["start"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _before_boot(worker: Event) -> bool:
    """Whether it ran on this very machine before the last boot.

    A machine is told by its name and installation, so clones must differ in their name or machine id, as they should.
    """
    name, boot = (*worker.get("host", "").split("/"), "", "")[:2]
    own_name, own_boot = (*_host().split("/"), "", "")[:2]
    same = name == own_name and bool(_machine()) and worker.get("machine") == _machine()
    return same and bool(boot) and bool(own_boot) and boot != own_boot
