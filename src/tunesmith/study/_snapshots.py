"""The state of a long study beside its log, so that it opens without reading all of it; that of a study on a server, in
each user's folder for caches.

A snapshot is a cache: the log is the truth. It is used if this very code has written it (its key holds a hash of the
modules that turn events into state), for this very log (it holds a hash of the last record that it has seen, which is
read again), and if it is whole. In any other case the log is read from its beginning, as if there were none.

It is a NumPy archive (``.npz``): the columns are arrays, and everything else is JSON in an array of bytes. Nothing in
it is executed; pickled arrays are refused. ``zipfile`` checks the CRC-32 of each entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith import (
    _choices,
    _columns,
    _expressions,
    _table,
    distributions,
    events,
    fold,
    folded,
    logging,
    open_trials,
    space,
)
from tunesmith._choices import choice_from_json, choice_to_json
from tunesmith._machine import cache_folder
from tunesmith.events import Event
from tunesmith.fold import Fold
from tunesmith.storages import BaseStorage

_logger = logging.get_logger("tunesmith.study")
_FORMAT = 2
_HEAD, _STATE = "head", "state"

#: Seconds after which a snapshot that nobody has used leaves the folder for caches: a month.
UNUSED = 30 * 86_400.0

#: What decides which state a log leads to.
_CODE = (_choices, _columns, _expressions, _table, distributions, events, fold, folded, open_trials, space)


class Snapshots:
    """The snapshot of one study; that of a study in memory is nowhere.

    Args:
        storage, study: where the log is.
    """

    def __init__(self, storage: BaseStorage, study: str) -> None:
        self._storage, self._study = storage, study
        folder = folder_of(storage)
        self._path = None if folder is None else folder / f"{study}.npz"
        self._void = -1  # the position of one that is of another log

    def position(self) -> int:
        """How many records the one that is there has seen, whoever wrote it; 0 if it is of no use."""
        try:
            if self._path is not None and self._path.exists():
                with self._path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    head = json.loads(archive[_HEAD].tobytes())
                if head["key"] == _key() and head["position"] != self._void:
                    return int(head["position"])
        except Exception as error:
            _logger.debug("The snapshot %s is of no use: %r", self._path, error)
        return 0

    def read(self, registered: dict[str, Any]) -> tuple[Fold, int] | None:
        """The state, and the number of records it has seen; None if there is no good one.

        Args:
            registered: the caller's own spaces, as :class:`Fold` has them.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                head = json.loads(archive[_HEAD].tobytes())
                if head["key"] != _key():
                    return None
                values = json.loads(archive[_STATE].tobytes())
                arrays = {name: archive[name] for name in archive.files if name not in (_HEAD, _STATE)}
            state = Fold()
            state.registered = registered
            state.load(_nested(values), arrays)
            position = int(head["position"])
        except Exception as error:  # whatever is wrong with it, the log has everything
            _logger.debug("The snapshot %s is not used: %r", self._path, error)
            return None
        records = self._storage.read(self._study, position - 1, 1)
        if not records or _digest(records[0]) != head["record"]:
            self._void = position  # of another log: this one was put back from a copy
            return None
        if self._storage.file is None:
            with contextlib.suppress(OSError):
                os.utime(self._path)
        return state, position

    def write(self, state: Fold, position: int) -> None:
        """Keep the state after so many records; without one, if that is not possible, the log is read from its
        beginning."""
        if self._path is None or _key() is None:
            return
        part = self._path.with_name(f"{self._study}.{uuid.uuid4().hex}.part")
        try:
            self._write(self._path, part, state, position)
        except Exception as error:  # a full disk, say: what was to be appended is in the log all the same
            _logger.debug("The snapshot %s is not written: %r", self._path, error)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()

    def _write(self, path: Path, part: Path, state: Fold, position: int) -> None:
        (last,) = self._storage.read(self._study, position - 1, 1)
        values, arrays = state.dump()
        entries: dict[str, Any] = {
            _HEAD: _bytes({"key": _key(), "position": position, "record": _digest(last)}),
            _STATE: _bytes(_plain(values)),
            **arrays,
        }
        if self._storage.file is None:
            mode = 0o600
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            _tidy(path.parent)
        else:
            mode = os.stat(self._storage.file).st_mode & 0o666  # who may read the log may read this
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(0o700)
                path.parent.chmod(mode | 0o300 | (mode & 0o444) >> 2)
        with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            np.savez(file, **entries)
        part.chmod(mode)
        os.replace(part, path)

    def remove(self) -> None:
        """Remove it, and what killed processes have left of others."""
        if self._path is not None:
            for path in (self._path, *self._path.parent.glob(f"{self._study}.*.part")):
                with contextlib.suppress(OSError):
                    path.unlink()
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()  # if it is empty


def folder_of(storage: BaseStorage) -> Path | None:
    """Where the snapshots of a storage's studies are: beside its file; if it is a server, on this machine."""
    if storage.file is not None:
        return Path(f"{storage.file}.snapshots")
    base = cache_folder() if storage.persistent else None
    return None if base is None else base / "snapshots"


def _tidy(folder: Path) -> None:
    """Remove what nobody has used for long; their studies may be gone from their servers."""
    for path in [*folder.glob("*.npz"), *folder.glob("*.part")]:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNUSED:
                path.unlink()


@lru_cache(maxsize=1)
def _key() -> str | None:
    """A hash of the code; None where it cannot be read."""
    digest = hashlib.blake2b(str(_FORMAT).encode(), digest_size=16)
    try:
        for file in map(Path, [str(module.__file__) for module in _CODE]):
            for part in sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]:
                digest.update(part.read_bytes())
    except OSError:
        return None
    return digest.hexdigest()


def _digest(record: list[Event]) -> str:
    return hashlib.blake2b(json.dumps(record).encode(), digest_size=16).hexdigest()


def _bytes(value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(json.dumps(value, allow_nan=False).encode(), np.uint8)


def _plain(value: Any) -> Any:
    """Values that a fold holds as JSON. Objects that only have a name in a log have only that here."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else choice_to_json(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, tuple):
        return {"$tuple": [_plain(v) for v in value]}
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _plain(v) for key, v in value.items()}
        return {"$dict": [[_plain(key), _plain(v)] for key, v in value.items()]}
    return choice_to_json(value)


def _nested(value: Any) -> Any:
    """Inverse of :func:`_plain`."""
    if isinstance(value, list):
        return [_nested(v) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        if "$tuple" in value:
            return tuple([_nested(v) for v in value["$tuple"]])
        if "$dict" in value:
            return {_nested(key): _nested(v) for key, v in value["$dict"]}
        if "$float" in value or "$object" in value:
            return choice_from_json(value)
    return {key: _nested(v) for key, v in value.items()}
