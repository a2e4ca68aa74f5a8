"""A study's log bound to its fold: read what is new, append, learn the fate of what was appended."""

from __future__ import annotations

import threading

from tunesmith._forks import watch_forks
from tunesmith._gc import WORTH, paused
from tunesmith.events import Event
from tunesmith.fold import Fold
from tunesmith.storages import BaseStorage
from tunesmith.study._snapshots import Snapshots

#: Records that are read at once: of a long log there is no more in memory than this, beside what has become of it.
CHUNK = 20_000

#: A writer keeps a snapshot after so many records, and again when there are an eighth more: so opening reads little
#: of a log of any length, and the snapshots of its life cost as much as nine of the last one.
SNAPSHOT_AFTER = 20_000


class StudyLog:
    """Keeps a :class:`Fold` equal to the log. All methods are thread-safe; ``lock`` may be held around several calls.

    Only those who append keep snapshots: looking at a study changes nothing.

    Attributes:
        lock: of this object and of all that stands on it.
        changed: notified when a trial of this process changes.
        fold: the state after ``position`` records.
        position: number of records folded so far.
    """

    def __init__(self, storage: BaseStorage, study: str) -> None:
        self.storage = storage
        self.study = study
        self._new_lock()
        watch_forks(self)
        self.fold = Fold()
        self.position = 0
        self._broken = False  # the fold stopped in the middle of a record
        self._snapshots = Snapshots(storage, study)
        self._kept = 0  # position of the last snapshot

    def _new_lock(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)

    def _after_fork(self) -> None:
        if not self.lock.acquire(blocking=False):  # by a thread that is not there any more; it may have been folding
            self._broken = True
        self._new_lock()

    def sync(self) -> None:
        """Fold what others have appended since."""
        with self.lock:
            if self._broken:
                self._restart()
            if self.position:
                self._catch_up()
                return
            with paused(WORTH):  # the first read may be the whole log
                self._open()
                self._catch_up()

    def _open(self) -> None:
        found = self._snapshots.read(self.fold.registered)
        if found is not None:
            self._broken = True
            self.fold, self.position = found
            self._kept = self.position
            self._broken = False

    def _catch_up(self, wanted: int | None = None) -> list[bool]:
        """Fold what is new; return the fates in the record at position ``wanted``."""
        fates: list[bool] = []
        while True:
            records = self.storage.read(self.study, self.position, CHUNK)
            if records:
                fates += self._take(records, wanted)
            if len(records) < CHUNK:
                return fates

    def append(self, events: list[Event]) -> list[bool]:
        """Append one record and return, event by event, whether it was valid.

        When other writers came in between, their records are read back first, so the fold stays in log order.
        """
        with self.lock:
            if self._broken:
                self._restart()
            position = self.storage.append(self.study, events)
            if position == self.position + 1:
                fates = self._take([events])
            else:
                fates = self._catch_up(position)
            if self._is_old(self._kept):
                self._kept = self._snapshots.position()  # perhaps another worker's
                if self._is_old(self._kept):
                    self._kept = self.position
                    self._snapshots.write(self.fold, self.position)
            return fates

    def _is_old(self, snapshot: int) -> bool:
        return self.position - snapshot >= max(SNAPSHOT_AFTER, snapshot // 8)

    def _take(self, records: list[list[Event]], wanted: int | None = None) -> list[bool]:
        """Fold records in order; return the fates in the one at position ``wanted`` (default: the last), if it is here.

        An interrupt (Ctrl-C) may come between any two instructions. Half a record must not count, nor a record twice,
        so the fold counts as broken until the position is that of what it holds; a broken one is made anew.
        """
        fates: list[bool] = []
        apply = self.fold.apply
        position = self.position
        self._broken = True
        for record in records:
            position += 1
            result = [apply(event) for event in record]
            if wanted is None or position == wanted:
                fates = result
        self.position = position
        self._broken = False
        return fates

    def _restart(self) -> None:
        fold = Fold()
        fold.registered = self.fold.registered
        self.fold = fold
        self.position = 0
        self._broken = False
