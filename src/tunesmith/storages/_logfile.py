"""The file under a journal: locking it, appending whole lines, reading blocks of them. ``file.py`` has the format."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import zlib
from array import array
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from tunesmith._forks import watch_forks
from tunesmith.exceptions import (
    InvalidTypeError,
    LogDamagedError,
    MissingDependencyError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.storages._common import (
    Durability,
    check_durability,
    encode,
    is_closed,
    made_by_optuna,
    no_folder,
    sync_folder,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FORMAT = "tunesmith log"
_VERSION = 1
_BLOCK = 8 << 20  # bytes read at once
_GAP = 64 << 10  # bytes of other studies that are read over rather than skipped


def seal(body: bytes) -> bytes:
    """A line of the log: checksum, blank, body, newline."""
    return b"%08x %b\n" % (zlib.crc32(body), body)


HEADER = seal(encode({"format": _FORMAT, "version": _VERSION}).encode())


@runtime_checkable
class _Lock(Protocol):
    def acquire(self) -> Any: ...

    def release(self) -> Any: ...


class JournalFileBackend:
    """The file under a :class:`JournalStorage`: locking, appending whole lines, reading blocks of them.

    Args:
        file_path: Path of the log. Made if there is none, readable by its owner alone (``chmod`` shares it; later
            handles leave its permissions as they are); its folder must exist.
        lock_obj: Anything with ``acquire()`` and ``release()`` that excludes the other processes, for file systems
            without ``flock``. Every process must use the same kind. Default: ``flock`` on the log itself.
        durability: ``"process"`` (default): an acknowledged line survives the death of the process, it is in the
            kernel's hands. ``"power"``: it is on the disk (fsync), which costs about a hundred times as much.

    Raises:
        InvalidValueError: The folder does not exist.
        NotALogError: The file exists and is something else. It is left as it is.
        NewerFormatError: The file was written by a newer tunesmith.
        LogDamagedError: The first line is damaged.
        StorageInternalError: The file cannot be opened or written.
    """

    def __init__(
        self, file_path: str | os.PathLike[str], lock_obj: _Lock | None = None, *, durability: Durability = "process"
    ) -> None:
        check_durability(durability)
        if not isinstance(file_path, (str, os.PathLike)):
            raise InvalidTypeError(f"file_path must be a path, not {file_path!r} ({type(file_path).__name__}).")
        if lock_obj is not None and not isinstance(lock_obj, _Lock):
            raise InvalidTypeError(f"lock_obj must have acquire() and release(), which {lock_obj!r} has not.")
        if not hasattr(os, "pread") or (fcntl is None and lock_obj is None):
            raise MissingDependencyError("A log in a file needs flock and pread (POSIX). Use a sqlite:/// URL here.")
        self.path = os.path.abspath(os.fspath(file_path))
        self.durability = durability
        self.mutex = threading.Lock()  # flock does not tell the threads apart that share a descriptor
        self._lock_obj = lock_obj
        self._held = False  # whether lock_obj is
        self._fd = -1
        self._identity: tuple[int, int] | None = None
        self._closed = False
        self._read_only = False
        watch_forks(self)
        with self.mutex:
            self._open()
            try:
                self.acquire()
                self._check_header()
            except BaseException:
                os.close(self._fd)
                self._fd = -1
                raise
            finally:
                self.release()

    def _open(self) -> None:
        if self._closed:
            raise is_closed(f"The log {self.path!r}")
        new = self._identity is None
        try:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if new else 0), 0o600)
            except PermissionError:
                fd = os.open(self.path, os.O_RDONLY)  # enough to look at it
                self._read_only = True
            try:
                status = os.fstat(fd)
            except OSError:
                os.close(fd)
                raise
        except FileNotFoundError as error:
            raise no_folder(self.path) if new else self._gone() from error
        except IsADirectoryError as error:
            raise NotALogError(f"{self.path!r} is a folder. Give the path of a file.") from error
        except OSError as error:
            raise StorageInternalError(f"Cannot open the log {self.path!r}: {error.strerror}.") from error
        identity = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode) or not (new or identity == self._identity):
            os.close(fd)
            raise NotALogError(f"{self.path!r} is not a regular file. Give another path.") if new else self._gone()
        self._fd, self._identity = fd, identity

    def _gone(self) -> StorageInternalError:
        return StorageInternalError(
            f"The log {self.path!r} was removed or replaced while it was open. Put it back, or open the storage again "
            "to use what is there now."
        )

    def _check_header(self) -> None:
        head = self._pread(0, 4096)
        first, newline, _ = head.partition(b"\n")
        if first + newline == HEADER:
            return
        if not newline and HEADER.startswith(head):  # new, or its creator died at once
            self.append(HEADER, 0, len(head))
            if self.durability == "power":
                sync_folder(self.path)
            return
        body = first[9:]
        if newline and first + newline == seal(body):
            try:
                header = json.loads(body)
                version = header["version"] if header["format"] == _FORMAT else None
            except (ValueError, KeyError, TypeError):
                version = None
            if isinstance(version, int) and version > _VERSION:
                raise NewerFormatError(
                    f"The log {self.path!r} has format version {version}; this tunesmith reads up to {_VERSION}. "
                    "Upgrade tunesmith."
                )
        elif _FORMAT.encode() in first or (newline and first.startswith(HEADER[:9])):
            raise LogDamagedError(f"The log {self.path!r} is damaged in line 1, its header: {first[:60]!r}.", 1)
        raise NotALogError(
            f"{self.path!r} is not a tunesmith log; it begins with {head[:40]!r}. Give the path of a log, or of a file "
            f"that does not exist yet.{made_by_optuna(first.startswith(b'{') and b'op_code' in first)}"
        )

    def acquire(self, shared: bool = False) -> None:
        """Lock out the other processes; :attr:`mutex` must be held. ``shared``: only the writers among them."""
        if self._fd < 0:
            self._open()
        if self._lock_obj is not None:
            self._held = self._lock_obj.acquire() is not False
            if not self._held:
                raise StorageInternalError(f"{self._lock_obj!r} did not grant the lock of the log {self.path!r}.")
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except OSError as error:
            raise StorageInternalError(
                f"Cannot lock the log {self.path!r}: {error.strerror}. If the file system has no flock, pass lock_obj."
            ) from error

    def release(self) -> None:
        """Undo :meth:`acquire`; harmless without one, so it may stand in a ``finally``."""
        if self._lock_obj is None:
            if self._fd >= 0:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        elif self._held:
            self._held = False
            self._lock_obj.release()

    def size(self) -> int:
        """Length in bytes of the file at the path, which must be the one that was opened."""
        if self._closed:
            raise is_closed(f"The log {self.path!r}")
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise self._gone() from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise self._gone()
        return status.st_size

    def append(self, line: bytes, end: int, size: int) -> int:
        """Write a line behind the last complete one; the exclusive lock must be held.

        Args:
            line: Bytes that end with a newline.
            end: Offset behind the last complete line.
            size: Length of the file; what it has beyond ``end`` is a torn line and is cut off.

        Returns:
            The new end.

        Raises:
            StorageInternalError: The disk is full or failed. The file is as before.
        """
        if self._read_only:
            raise StorageInternalError(f"The log {self.path!r} may only be read. Change its permissions to write.")
        try:
            if size > end:
                os.ftruncate(self._fd, end)
            done = os.write(self._fd, line)
            while done < len(line):  # interrupted, or the disk is full, which the next call tells
                done += os.write(self._fd, line[done:])
            if self.durability == "power":
                os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):  # else a torn line is left, or a complete one that the next reader finds
                os.ftruncate(self._fd, end)
            raise StorageInternalError(
                f"Cannot append to the log {self.path!r}: {error.strerror}. Nothing was lost; free some space or check "
                "the permissions and the disk, then go on."
            ) from error
        return end + len(line)

    def blocks(self, start: int, size: int) -> Iterator[bytes]:
        """The complete lines between two offsets, in blocks of many; what follows the last newline is left out."""
        if self._fd < 0:
            self._open()
        rest = b""
        while start < size:
            data = self._pread(start, min(_BLOCK, size - start))
            if not data:
                return
            start += len(data)
            whole, newline, tail = data.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = tail
            else:
                rest += data

    def fetch(self, spans: array[int]) -> Iterator[list[bytes]]:
        """The lines at the given offsets, in groups of a few MB; neighbours are read in one go.

        Args:
            spans: start, end, start, end, ... in ascending order.
        """
        if self._fd < 0:
            self._open()
        first = 0
        while first < len(spans):
            start, last = spans[first], first + 2
            while last < len(spans) and spans[last] - spans[last - 1] <= _GAP and spans[last + 1] - start <= _BLOCK:
                last += 2
            data = self._pread(start, spans[last - 1] - start)
            yield [data[spans[i] - start : spans[i + 1] - start] for i in range(first, last, 2)]
            first = last

    def line_number(self, offset: int) -> int:
        """Which line begins at the offset, counted from 1."""
        return 1 + sum(block.count(b"\n") for block in self.blocks(0, offset))

    def _pread(self, start: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, start)
            while data and len(data) < length:
                more = os.pread(self._fd, length - len(data), start + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise StorageInternalError(f"Cannot read the log {self.path!r}: {error.strerror}.") from error
        return data

    def damaged(self, number: int, reason: str) -> LogDamagedError:
        """The error for a complete line (counted from 1) that is not as it was written."""
        return LogDamagedError(
            f"The log {self.path!r} is damaged in line {number}: {reason}. Restore the file from a copy, or cut it "
            f"before that line (head -n {number - 1}) if what follows may be lost.",
            number,
        )

    def close(self) -> None:
        """Release the file."""
        with self.mutex:
            self._closed = True
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _after_fork(self) -> None:
        # The child's descriptor shares the parent's lock: unlocking here would unlock there.
        fd, self._fd = self._fd, -1
        self.mutex = threading.Lock()
        self._held = False
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self._lock_obj, self.durability)


def _reopen(path: str, lock_obj: _Lock | None, durability: Durability) -> JournalFileBackend:
    return JournalFileBackend(path, lock_obj, durability=durability)
