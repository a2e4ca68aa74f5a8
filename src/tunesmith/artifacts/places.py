"""Where states are kept: in a folder beside the file of the study's log, or in memory beside a log in memory.

A state is a file of its own, with a name that nobody else writes: it holds the trial, the step, and the token of the
worker that has the trial. So machines may share a folder without locks. A file appears under its name when it is
complete and on the disk, readable by its owner alone: a state may hold what the network has seen.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
import weakref
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, StorageInternalError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class StateKey:
    """Which state: all that the log knows of it, and what its file must say of itself.

    Attributes:
        study: the study's id.
        trial: the trial's number.
        attempt: which attempt of the trial saved it, from 1.
        step: the step after which the state was as it is.
        token: of the claim under which it was saved.
    """

    study: str
    trial: int
    attempt: int
    step: int
    token: str

    @property
    def name(self) -> str:
        """Of the file; unique among those of the trial."""
        return f"{self.step}-{self.attempt}-{self.token}.safetensors"

    def about(self) -> dict[str, Any]:
        """For the header of the file."""
        return asdict(self)


class States(ABC):
    """A place for states. All methods may be called from several threads and processes at once."""

    @abstractmethod
    def write(self, key: StateKey, content: bytes) -> None:
        """Keep a state; when this returns it survives the loss of power (in a folder), and replaces one of this key.

        Raises:
            StorageInternalError: it cannot be written (the disk is full); what was there before is intact.
        """

    @abstractmethod
    def read(self, key: StateKey) -> bytes | None:
        """A state, or None if there is none."""

    @abstractmethod
    def tidy(self, study: str, trial: int, keep: Collection[str] = ()) -> None:
        """Remove the states of a trial, but those with the names ``keep``."""

    @abstractmethod
    def trials(self, study: str) -> list[int]:
        """Numbers of the trials that have states here."""

    @abstractmethod
    def remove(self, study: str) -> None:
        """Remove all states of a study."""

    def where(self, key: StateKey) -> str:
        """What messages call a state."""
        return f"The state of trial {key.trial} at step {key.step}"


class MemoryStates(States):
    """States of studies whose log is in memory; they go with it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], dict[str, bytes]] = {}

    def write(self, key: StateKey, content: bytes) -> None:
        self._kept.setdefault((key.study, key.trial), {})[key.name] = content

    def read(self, key: StateKey) -> bytes | None:
        return self._kept.get((key.study, key.trial), {}).get(key.name)

    def tidy(self, study: str, trial: int, keep: Collection[str] = ()) -> None:
        found = self._kept.get((study, trial), {})
        for name in [name for name in list(found) if name not in keep]:
            found.pop(name, None)
        if not found:
            self._kept.pop((study, trial), None)

    def trials(self, study: str) -> list[int]:
        return [number for of, number in list(self._kept) if of == study]

    def remove(self, study: str) -> None:
        for number in self.trials(study):
            self._kept.pop((study, number), None)


class FolderStates(States):
    """States in ``folder/<study's id>/<trial's number>/``; folders are made when they are needed.

    Args:
        folder: several studies, and several machines, may share it.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder).absolute()

    def _of(self, study: str, trial: int) -> Path:
        return self.folder / study / str(trial)

    def write(self, key: StateKey, content: bytes) -> None:
        target = self._of(key.study, key.trial) / key.name
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            new = not target.parent.exists()
            with open(_created(part), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
            for folder in [target.parent, *([*target.parents][1:4] if new else [])]:
                _sync(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise StorageInternalError(
                f"The state of trial {key.trial} ({len(content)} bytes) cannot be written to {str(target)!r}: "
                f"{error.strerror or error}. Free some space there, or save less often; the one before it is intact."
            ) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def read(self, key: StateKey) -> bytes | None:
        try:
            return (self._of(key.study, key.trial) / key.name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageInternalError(f"{self.where(key)} cannot be read: {error.strerror or error}.") from error

    def tidy(self, study: str, trial: int, keep: Collection[str] = ()) -> None:
        folder = self._of(study, trial)
        with contextlib.suppress(OSError):  # another worker is at it, too; what stays is removed at the next time
            for file in os.listdir(folder):
                if file not in keep:
                    (folder / file).unlink(missing_ok=True)
            if not keep:
                for empty in (folder, folder.parent, self.folder):
                    empty.rmdir()

    def trials(self, study: str) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self.folder / study) if re.fullmatch(r"\d+", name)]
        except OSError:
            return []

    def remove(self, study: str) -> None:
        shutil.rmtree(self.folder / study, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # if it is empty

    def where(self, key: StateKey) -> str:
        return f"{super().where(key)} ({str(self._of(key.study, key.trial) / key.name)!r})"


def _created(path: Path, attempts: int = 10) -> int:
    """A new file's descriptor; its folder is made, also when others remove it in this moment because it is empty."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileNotFoundError:
        if attempts == 1:
            raise
        return _created(path, attempts - 1)


def _sync(folder: Path) -> None:
    """A new name is on the disk when its folder is."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


#: Of the logs that live in the memory of this process.
_in_memory: weakref.WeakKeyDictionary[Any, MemoryStates] = weakref.WeakKeyDictionary()


def states_of(storage: Any, folder: PathLike | None = None) -> States:
    """Where the states of a storage's studies are kept.

    Args:
        storage: one that is a ``file`` has them in a folder beside it, named ``<file>.states``; one that does not
            outlive this process, in memory.
        folder: another place: for a storage that is no file, or a larger disk.

    Raises:
        InvalidTypeError: ``folder`` is no path. InvalidValueError: the storage has no place of its own, and none is
            given.
    """
    if folder is not None:
        if not isinstance(folder, (str, os.PathLike)):
            raise InvalidTypeError(f"`artifacts` must be the path of a folder, but is {folder!r}.")
        return FolderStates(folder)
    if storage.file is not None:
        return FolderStates(f"{storage.file}.states")
    if storage.persistent:
        raise InvalidValueError(
            f"{type(storage).__name__} is no file that states of trials could be kept beside. Name a folder that all "
            'workers share: create_study(..., artifacts="FOLDER"), and load_study likewise.'
        )
    return _in_memory.setdefault(storage, MemoryStates())
