"""Every call by which SQLite touches the disk fails, once or from then on: what was acknowledged is intact.

Figure 6 of "Nothing lost", for the calls that SQLite makes: a small library, loaded before the C library, fails them
(``failing_disk.c``, which needs a C compiler). Its shared memory is a mapped file, which nothing here can fail.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crew import command
from failing_steps import JOBS, MEMORY, checked, do_job, prepared

from tunesmith.exceptions import StorageInternalError

ERRORS = ("EIO", "ENOSPC")


def run(
    _: str = "", jobs: Sequence[str] = ("open", "append"), durabilities: Sequence[str] = ("process",)
) -> dict[str, Any]:
    """Fail every call.

    Args:
        jobs: of :data:`failing_steps.JOBS`.
        durabilities: with ``"power"`` SQLite calls fsync for each record.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/failing_disk.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
        return {durability: _run(library, jobs, durability) for durability in durabilities}


def _run(library: str, jobs: Sequence[str], durability: str) -> dict[str, Any]:
    """In a process that has the library."""
    command = [sys.executable, __file__, "--child", library, durability, *jobs]
    environment = {**os.environ, "LD_PRELOAD": library}
    outcome = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


def _child(library: str, durability: str, *jobs: str) -> None:
    disk = ctypes.CDLL(library)
    disk.arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
    disk.disarm.restype = ctypes.c_long
    found, calls = Counter[str](), dict.fromkeys(jobs, 0)
    for job in jobs:
        for error in ERRORS:
            for lasting in (False, True):
                k = 0
                while (outcome := _fail(disk, job, k, getattr(errno, error), lasting, durability)) != "not reached":
                    found[outcome] += 1
                    k += 1
                calls[job] = max(k, calls[job])
    print(json.dumps({"calls": calls, "outcomes": dict(found)}))


def _fail(disk: Any, job: str, k: int, error: int, lasting: bool, durability: str) -> str:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        url = f"sqlite:///{folder}/log.db"
        study = prepared(url)
        done = False
        disk.arm(folder.encode(), k, error, lasting)
        try:
            do_job(job, url, study, durability)
            done = True
        except StorageInternalError:
            pass
        except Exception as wrong:
            return f"untyped {type(wrong).__name__}: {wrong}"
        finally:
            calls = disk.disarm()
        return checked(url, study, job, done) if calls > k else "not reached"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:])
    else:
        every = [job for job in JOBS if "torn" not in job]
        command(__doc__ or "", run, {"jobs": every, "durabilities": ("process", "power")})
