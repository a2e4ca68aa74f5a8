"""Heartbeats as the modification times of small files, for backends that keep a study in files.

The clock is that of the file system: a file is touched without naming a time, so a server that several machines share
sets the time itself, and ages are differences to a file that was touched just now. Files are opened rather than looked
at, because that is when NFS asks its server again (close-to-open consistency).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator

from tunesmith.exceptions import StorageInternalError


class Heartbeats:
    """The folder ``<path>/<study>/<worker>``, made at the first heartbeat.

    Args:
        path: The folder.
        like: A file whose readers and writers are to be those of the folder, too.
    """

    def __init__(self, path: str, like: str) -> None:
        self._path, self._like = path, like

    def beat(self, study: str, worker: str) -> None:
        """Note that a worker is alive now."""
        with self._translated():
            file = os.path.join(self._path, study, worker)
            try:
                self._touch(file)
            except FileNotFoundError:
                for folder in (self._path, os.path.dirname(file)):
                    self._make(folder)
                self._touch(file)

    def ages(self, study: str) -> dict[str, float]:
        """Seconds since each worker's last heartbeat."""
        folder = os.path.join(self._path, study)
        found: dict[str, float] = {}
        with self._translated():
            try:
                workers = [name for name in os.listdir(folder) if "." not in name]
            except FileNotFoundError:
                return found
            for worker in workers:
                with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
                    found[worker] = _modified(os.path.join(folder, worker))
            now = self._now(folder) if found else 0.0
        return {worker: max(0.0, now - beat) for worker, beat in found.items()}

    def end(self, study: str, worker: str) -> None:
        """Forget a worker."""
        with self._translated(), contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._path, study, worker))

    def forget(self, study: str) -> None:
        """Forget all workers of a study."""
        shutil.rmtree(os.path.join(self._path, study), ignore_errors=True)

    def _mode(self) -> int:
        return os.stat(self._like).st_mode & 0o666

    def _make(self, folder: str) -> None:
        mode = self._mode()
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            os.chmod(folder, mode | (mode & 0o444) >> 2)  # who may read may also enter

    def _touch(self, file: str) -> None:
        try:
            os.utime(file)
        except FileNotFoundError:
            fd = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.fchmod(fd, self._mode())
            finally:
                os.close(fd)

    def _now(self, folder: str) -> float:
        """The file system's time; the machine's for one who may not write here."""
        clock = os.path.join(folder, f"{uuid.uuid4().hex}.clock")
        try:
            os.close(os.open(clock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError:
            return time.time()
        try:
            return _modified(clock)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(clock)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageInternalError(
                f"Cannot keep heartbeats in the folder {self._path!r}: {error.strerror}. Free some space, or give it "
                f"the permissions of {self._like!r}."
            ) from error


def _modified(file: str) -> float:
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
