"""Database servers for tests: PostgreSQL and MariaDB as Debian's packages install them, on loopback, in a temporary
folder, under a password.

``shared(kind, place)`` is one server for all processes of a test run. ``python servers.py KIND PID FILE`` is what keeps
it: a process of its own, which stops the server when the test run has ended, however it did.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PASSWORD = "v3ry-s3cret"
_PATIENCE = 60  # seconds for a server to start or stop


class Missing(Exception):
    """The server's programs are not installed here."""


class Server:
    """A server of its own, stopped until :meth:`start`.

    Attributes:
        url: as users would write it, with the password.
        folder: all that belongs to it.
    """

    user: str
    scheme: str

    def __init__(self, folder: Path, safe: bool = True) -> None:
        """``safe``: as it is by default. Else it writes nothing to the disk in time, which is faster."""
        self.folder, self.safe = folder, safe
        self.process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # servers refuse to run as root
            self._as = {"user": self.user, "group": self.user, "extra_groups": []}
            shutil.chown(folder, self.user, self.user)
        self._make()

    @property
    def url(self) -> str:
        return f"{self.scheme}://tunesmith:{PASSWORD}@127.0.0.1:{self.port}/{self._database}"

    _database = ""

    def _make(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _run(self, *command: str | Path, **options: Any) -> None:
        done = subprocess.run(
            [str(word) for word in command], cwd=self.folder, capture_output=True, text=True, **self._as, **options
        )
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self._command(), cwd=self.folder, stdout=log, stderr=log, **self._as)
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        import sqlalchemy as sa

        from tunesmith.storages._urls import parse_url

        engine = sa.create_engine(parse_url(self.url)[1], poolclass=sa.NullPool, connect_args={"connect_timeout": 2})
        with contextlib.suppress(sa.exc.DBAPIError):
            engine.connect().close()
            return True
        return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """Send the signal, and wait until it is down."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_PATIENCE)
            self.process = None

    def remove(self) -> None:
        """Stop it, and delete its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Server):
    """Signals: SIGINT is a fast shutdown, SIGQUIT an immediate one (as a crash), SIGTERM waits for the clients."""

    user, scheme, _database = "postgres", "postgresql", "postgres"

    def __init__(self, folder: Path, safe: bool = True) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
        initdb = found[-1] if found else shutil.which("initdb")
        if initdb is None:
            raise Missing("PostgreSQL is not installed here (apt-get install postgresql)")
        self._programs = Path(initdb).parent
        super().__init__(folder, safe)

    def _make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        os.chmod(self.folder / "password", 0o644)  # the folder itself is private
        self._run(
            self._programs / "initdb", "--pgdata=data", "--username=tunesmith", "--auth=scram-sha-256",
            "--pwfile=password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip

    def _command(self) -> list[str]:
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
            "max_connections": 200, "shared_buffers": "64MB", "min_wal_size": "32MB", "max_wal_size": "256MB",
        }  # fmt: skip
        if not self.safe:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", "data", *options]


class MariaDB(Server):
    """SIGTERM is a shutdown in good order; there is no other that is not a kill."""

    user, scheme = "mysql", "mysql"

    def __init__(self, folder: Path, safe: bool = True) -> None:
        self._program, self._installer = shutil.which("mariadbd", path=_PATH), shutil.which("mariadb-install-db")
        if self._program is None or self._installer is None:
            raise Missing("MariaDB is not installed here (apt-get install mariadb-server)")
        super().__init__(folder, safe)

    _database = "tests"

    def _make(self) -> None:
        (self.folder / "init.sql").write_text(
            f"CREATE OR REPLACE USER tunesmith@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO tunesmith@'127.0.0.1' WITH GRANT OPTION;\nCREATE DATABASE IF NOT EXISTS tests;\n"
        )
        assert self._installer is not None
        small = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M"]
        self._run(
            self._installer, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--innodb-flush-method=nosync", *small,
        )  # fmt: skip

    def _command(self) -> list[str]:
        assert self._program is not None
        settings = {
            "datadir": self.folder / "data", "port": self.port, "bind-address": "127.0.0.1",
            "socket": self.folder / "socket", "pid-file": self.folder / "pid", "init-file": self.folder / "init.sql",
            "max-connections": 200, "innodb-buffer-pool-size": "64M", "innodb-log-file-size": "16M",
        }  # fmt: skip
        if not self.safe:
            settings |= {"innodb-flush-log-at-trx-commit": 0, "innodb-flush-method": "nosync", "innodb-doublewrite": 0}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self._program, "--no-defaults", "--skip-name-resolve", "--skip-log-bin", *options]

    def stop(self, how: int = signal.SIGTERM) -> None:
        super().stop(signal.SIGKILL if how == signal.SIGQUIT else signal.SIGTERM)


KINDS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mysql": MariaDB}
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def started(kind: str, safe: bool = True) -> Server:
    """A new server of a kind, started; to be removed by the caller.

    Raises:
        Missing: its programs are not installed.
    """
    memory = Path("/dev/shm")  # a file system that needs no disk
    where = memory if not safe and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=f"tunesmith-{kind}-", dir=where))
    try:
        server = KINDS[kind](folder, safe)
        server.start()
        return server
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def shared(kind: str, place: Path) -> str:
    """The URL of the one server of a kind that the processes of a test run share; whoever is first starts it.

    Args:
        kind: ``"postgresql"`` or ``"mysql"``.
        place: a folder that the processes share.

    Raises:
        Missing: its programs are not installed.
    """
    note = place / f"{kind}.json"
    with open(place / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            with open(place / f"{kind}.log", "wb") as log:
                keeper = subprocess.Popen(
                    [sys.executable, __file__, kind, str(run), str(note)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            keeper.returncode = 0  # it outlives this process, which is not told so as a warning
            end = time.monotonic() + 2 * _PATIENCE
            while not note.exists():
                if time.monotonic() > end:
                    raise RuntimeError(f"no {kind} server:\n{(place / f'{kind}.log').read_text()[-3000:]}")
                time.sleep(0.02)
    said = json.loads(note.read_text())
    if "missing" in said:
        raise Missing(said["missing"])
    if "failed" in said:
        raise RuntimeError(said["failed"])
    return str(said["url"])


def _keep(kind: str, run: int, note: Path) -> None:
    """Start a server, say where it is, and stop it when the process ``run`` has ended."""
    server = None
    try:
        try:
            server = started(kind, safe=False)
            said = {"url": server.url}
        except Missing as error:
            said = {"missing": str(error)}
        except Exception as error:
            said = {"failed": repr(error)}
        note.with_suffix(".new").write_text(json.dumps(said))
        note.with_suffix(".new").rename(note)
        while server is not None and _alive(run):
            time.sleep(0.25)
    finally:
        if server is not None:
            server.remove()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    _keep(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
