"""Where the logs of studies live, one backend a file. What a backend must do is said in :class:`BaseStorage`.

Backends are found by looking into this package; importing it imports none of them, so SQLAlchemy is loaded only by
those who use it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tunesmith._plugins import classes_of, plugin_modules
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.storages._base import BaseStorage, StudyRecord
from tunesmith.storages._common import without_password
from tunesmith.storages._retry import RetryFailedTrialCallback, RetryHeartbeatStaleTrialCallback

if TYPE_CHECKING:
    from tunesmith.storages.file import JournalFileBackend, JournalStorage
    from tunesmith.storages.memory import InMemoryStorage
    from tunesmith.storages.sql import RDBStorage

__all__ = [
    "BaseStorage",
    "InMemoryStorage",
    "JournalFileBackend",
    "JournalStorage",
    "RDBStorage",
    "RetryFailedTrialCallback",
    "RetryHeartbeatStaleTrialCallback",
    "StudyRecord",
    "discover",
    "get_storage",
]


#: How URLs begin that Optuna understands, and nobody here.
NOT_SUPPORTED = ("redis", "mssql", "oracle")


def discover() -> Iterator[type[BaseStorage]]:
    """The backend classes in this package, in alphabetical order of modules, each imported when its turn comes."""
    for name in plugin_modules(__name__):
        yield from _classes(importlib.import_module(f"{__name__}.{name}"))


def _classes(module: ModuleType) -> list[type[BaseStorage]]:
    return classes_of(module, BaseStorage)  # type: ignore[type-abstract]


def get_storage(storage: str | BaseStorage | None) -> BaseStorage:
    """The storage that an argument ``storage=`` means.

    Args:
        storage: None is a new :class:`InMemoryStorage`; a path ending in ``.jsonl`` is a :class:`JournalStorage`; a
            ``sqlite:``, ``postgresql:`` or ``mysql:`` URL is an :class:`RDBStorage`; a storage is itself.

    Raises:
        InvalidValueError: A string that no backend understands, or a path in a folder that does not exist.
        InvalidTypeError: Anything else.
        StorageInternalError: What is at the place cannot be opened; NotALogError, NewerFormatError and LogDamagedError
            say why.
    """
    if isinstance(storage, BaseStorage):
        return storage
    if storage is None:
        from tunesmith.storages.memory import InMemoryStorage

        return InMemoryStorage()
    if not isinstance(storage, str):
        hint = " Write JournalStorage(...) around it." if type(storage).__name__ == "JournalFileBackend" else ""
        raise InvalidTypeError(f"storage must be None, a str or a storage, not {storage!r}.{hint}")
    known = []
    for backend in discover():
        opened = backend.from_string(storage)
        if opened is not None:
            return opened
        if backend.understands:
            known.append(backend.understands)
    shown = without_password(storage)
    if "://" in storage and storage.lower().startswith(NOT_SUPPORTED):
        raise InvalidValueError(f"The storage {shown!r} is of a kind that is not supported. Give {' or '.join(known)}.")
    raise InvalidValueError(f"The storage {shown!r} is not understood. Give None (memory), {', '.join(known)}.")


def __getattr__(name: str) -> Any:
    """Public names of the backends, imported when they are asked for."""
    if not name.startswith("_"):
        modules = plugin_modules(__name__)
        if name in modules:
            return importlib.import_module(f"{__name__}.{name}")
        for found in modules:
            if found == "journal":  # which asks here
                continue
            module = importlib.import_module(f"{__name__}.{found}")
            if name in getattr(module, "__all__", ()) or name in {c.__name__ for c in _classes(module)}:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
