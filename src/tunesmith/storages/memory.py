"""Logs in the memory of one process: the fastest storage, gone when the process ends."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from typing import Any

from tunesmith._forks import watch_forks
from tunesmith.storages._base import BaseStorage, Record, StudyRecord
from tunesmith.storages._common import check_name, check_range, check_worker, duplicated, not_found


class InMemoryStorage(BaseStorage):
    """Keeps the events as given, in lists. What ``storage=None`` means.

    Nothing is serialised, so an event that JSON cannot hold is not noticed here.

    Pickled or copied, it is a snapshot: the copy holds the records of that moment and is independent afterwards.
    """

    persistent = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}  # id -> name, in order of creation
        self._records: dict[str, list[Record]] = {}  # id -> records
        self._beats: dict[str, dict[str, float]] = {}  # id -> worker -> time.monotonic()
        watch_forks(self)

    @classmethod
    def for_testing(cls, directory: Path, **options: Any) -> InMemoryStorage:
        """A new, empty storage."""
        return cls(**options)

    def studies(self) -> list[StudyRecord]:
        """See :meth:`BaseStorage.studies`."""
        with self._lock:
            return [StudyRecord(study, name) for study, name in self._names.items()]

    def create(self, name: str) -> str:
        """See :meth:`BaseStorage.create`."""
        check_name(name)
        study = uuid.uuid4().hex
        with self._lock:
            if name in self._names.values():
                raise duplicated(name)
            self._records[study], self._beats[study] = [], {}
            self._names[study] = name
        return study

    def delete(self, study: str) -> None:
        """See :meth:`BaseStorage.delete`."""
        with self._lock:
            if study not in self._names:
                raise not_found(study)
            del self._names[study], self._records[study], self._beats[study]

    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """See :meth:`BaseStorage.read`. The events are shared with the log: do not change them."""
        try:
            records = self._records[study]
        except KeyError:
            raise not_found(study) from None
        if after == len(records):
            return []
        check_range(after, limit)
        return records[after : None if limit is None else after + limit]

    def append(self, study: str, events: Record) -> int:
        """See :meth:`BaseStorage.append`. The events are kept, not copied: do not change them afterwards."""
        with self._lock:
            try:
                records = self._records[study]
            except KeyError:
                raise not_found(study) from None
            records.append(list(events))
            return len(records)

    def heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.heartbeat`."""
        check_worker(worker)
        with self._lock:
            try:
                self._beats[study][worker] = time.monotonic()
            except KeyError:
                raise not_found(study) from None

    def heartbeats(self, study: str) -> dict[str, float]:
        """See :meth:`BaseStorage.heartbeats`."""
        with self._lock:
            try:
                beats, now = self._beats[study], time.monotonic()
            except KeyError:
                raise not_found(study) from None
            return {worker: now - beat for worker, beat in beats.items()}

    def end_heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.end_heartbeat`."""
        check_worker(worker)
        with self._lock:
            self._beats.get(study, {}).pop(worker, None)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"names": dict(self._names), "records": {k: list(v) for k, v in self._records.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self._names, self._records = state["names"], state["records"]
        self._beats = {study: {} for study in self._names}  # the workers are with the original
        watch_forks(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
