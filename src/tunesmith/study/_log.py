"""A study's log bound to its fold: read what is new, append, learn the fate of what was appended."""

from __future__ import annotations

import threading

from tunesmith._gc import WORTH, paused
from tunesmith.events import Event
from tunesmith.fold import Fold
from tunesmith.storages import BaseStorage


class StudyLog:
    """Keeps a :class:`Fold` equal to the log. All methods are thread-safe; ``lock`` may be held around several calls.

    Attributes:
        fold: the state after ``position`` records.
        position: number of records folded so far.
    """

    def __init__(self, storage: BaseStorage, study: str) -> None:
        self.storage = storage
        self.study = study
        self.lock = threading.RLock()
        self.fold = Fold()
        self.position = 0

    def sync(self) -> None:
        """Fold what others have appended since."""
        with self.lock:
            if self.position:
                records = self.storage.read(self.study, self.position)
                if records:
                    self._take(records)
                return
            with paused(WORTH):  # the first read may be the whole log
                self._take(self.storage.read(self.study, 0))

    def append(self, events: list[Event]) -> list[bool]:
        """Append one record and return, event by event, whether it was valid.

        When other writers came in between, their records are read back first, so the fold stays in log order.
        """
        with self.lock:
            position = self.storage.append(self.study, events)
            if position == self.position + 1:
                return self._take([events])
            return self._take(self.storage.read(self.study, self.position), position)

    def _take(self, records: list[list[Event]], wanted: int | None = None) -> list[bool]:
        """Fold records in order; return the fates in the one at position ``wanted`` (default: the last)."""
        fates: list[bool] = []
        apply = self.fold.apply
        position = self.position
        try:
            for record in records:
                position += 1
                result = [apply(event) for event in record]
                if wanted is None or position == wanted:
                    fates = result
        except BaseException:  # an interrupt between two events: half a record must not count, so start afresh
            self._restart()
            raise
        self.position = position
        return fates

    def _restart(self) -> None:
        spaces = self.fold.spaces
        self.fold = Fold()
        self.fold.spaces.update(spaces)  # they may hold the caller's own objects
        self.position = 0
