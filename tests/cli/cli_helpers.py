"""What the tests of the command line share: running it in this process, in another one, and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from tunesmith.cli.app import app

COMMAND = [sys.executable, "-m", "tunesmith.cli"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def cli(*args: str, env: Mapping[str, str | None] | None = None, stdin: str | None = None) -> Result:
    """Run the command line in this process; an unexpected exception is raised, not hidden."""
    clean = {"TUNESMITH_STORAGE": None, "TUNESMITH_DEBUG": None, "COLUMNS": None}
    result = CliRunner().invoke(app, list(args), prog_name="tunesmith", env={**clean, **(env or {})}, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*args: str, env: Mapping[str, str | None] | None = None) -> str:
    """Run it, expect success, return what it printed."""
    result = cli(*args, env=env)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def bad(*args: str, code: int = 2) -> str:
    """Run it, expect this exit code, nothing on standard output and one message; return the message."""
    result = cli(*args)
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("error: ").rstrip("\n")


def environment(**more: str) -> dict[str, str]:
    """A plain environment for another process."""
    unwanted = {"TUNESMITH_STORAGE", "TUNESMITH_DEBUG", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}
    return {**{k: v for k, v in os.environ.items() if k not in unwanted}, "PYTHONIOENCODING": "utf-8", **more}


def process(*args: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it in another process, its output piped."""
    return subprocess.run(
        [*COMMAND, *args], cwd=cwd, env=environment(**options.pop("env", {})), capture_output=True, text=True,
        encoding="utf-8", timeout=90, **options,
    )  # fmt: skip


def terminal(
    *args: str, cwd: Path, columns: int = 80, answer: tuple[str, str] | None = None, **env: str
) -> tuple[int, str]:
    """Run it on a pseudo terminal.

    Args:
        args: of the command.
        cwd: where.
        columns: of the terminal.
        answer: (text to wait for, what to type then).
        env: of the process.

    Returns:
        Exit code, and everything the terminal was sent.
    """
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(COMMAND[0], [*COMMAND, *args], environment(TERM="xterm-256color", **env))
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    sent = b""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        sent += data
        if answer is not None and answer[0].encode() in sent:
            os.write(master, answer[1].encode())
            answer = None
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), sent.decode()


def seen(sent: str) -> list[str]:
    """The lines a terminal was sent, without escape sequences; every redrawn frame is there."""
    return [line for line in re.split(r"[\r\n]+", ESCAPES.sub("", sent)) if line.strip()]
