"""Logs in one file of checksummed lines, which needs no server and no library, and can be read with a pager.

The format, version 1. Every line ends with a newline and begins with the CRC-32 of what stands between the blank after
it and the newline, as 8 lower-case hexadecimal digits::

    95062db4 {"format":"tunesmith log","version":1}        the header, always the first line
    f0f4a9c2 1 create {"id":"8d0e","name":"digits"}        makes study 1: the n-th create makes study n
    da58f17f 1 1 [{"k":1},{"k":2}]                         record 1 of study 1, two events
    442cc806 1 2 [{"k":3}]                                 record 2 of study 1
    ff9dfb1a 1 delete {"id":"8d0e"}                        study 1 is no more

A line without its newline is *torn*: its writer died before the append returned. Readers ignore it; the next writer
cuts it off. A complete line with a wrong checksum, position or JSON is *damage* and is refused by its line number.
Lines are never changed, so the space of deleted studies is not given back.

Writers hold an exclusive ``flock`` on the file, which the kernel frees when the holder dies. Readers that find the file
longer than what they know take a shared one, so nobody sees half a line, or one whose fsync may still fail.

Heartbeats are the modification times of files in a folder beside the log, ``<log>.alive/<study>/<worker>``.
"""

from __future__ import annotations

import json
import uuid
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tunesmith._forks import watch_forks
from tunesmith.exceptions import InvalidTypeError, LogDamagedError
from tunesmith.storages._base import BaseStorage, Record, StudyRecord
from tunesmith.storages._common import check_name, check_range, check_worker, decode, duplicated, encode, not_found
from tunesmith.storages._heartbeats import Heartbeats
from tunesmith.storages._logfile import HEADER, JournalFileBackend, seal

__all__ = ["JournalFileBackend", "JournalStorage"]


class _Study:
    """Where the records of one study stand in the file: start, end, start, end, ..."""

    __slots__ = ("id", "name", "ordinal", "spans")

    def __init__(self, ordinal: int, id: str, name: str) -> None:
        self.ordinal, self.id, self.name = ordinal, id, name
        self.spans = array("q")


class JournalStorage(BaseStorage):
    """Several studies in one file: ``JournalStorage(JournalFileBackend("studies.jsonl"))``.

    A handle keeps 16 bytes per record in memory and parses a record when it is read.

    Args:
        log_storage: The file. One backend may be shared by several storages.
    """

    persistent = True
    understands: ClassVar[str] = "a path ending in .jsonl (a log in one file)"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"durability": "power"})

    def __init__(self, log_storage: JournalFileBackend) -> None:
        if not isinstance(log_storage, JournalFileBackend):
            raise InvalidTypeError(
                f"JournalStorage takes a JournalFileBackend, not {log_storage!r}. Write "
                "JournalStorage(JournalFileBackend('studies.jsonl'))."
            )
        self._backend = log_storage
        self._end: int  # offset behind the last line known
        self._number: int  # of that line, counted from 1
        self._created: int  # studies, deleted ones included
        self._studies: dict[str, _Study]  # by id, those that exist
        self._ordinals: dict[bytes, _Study]
        self._heartbeats = Heartbeats(f"{log_storage.path}.alive", log_storage.path)
        self._forget()
        watch_forks(self)
        with self._backend.mutex:
            self._catch_up()

    @property
    def file(self) -> str:
        """See :attr:`BaseStorage.file`."""
        return self._backend.path

    @classmethod
    def from_string(cls, storage: str) -> JournalStorage | None:
        """A path ending in ``.jsonl``."""
        return cls(JournalFileBackend(storage)) if storage.endswith(".jsonl") and "://" not in storage else None

    @classmethod
    def for_testing(cls, directory: Path, **options: Any) -> JournalStorage:
        """The log ``log.jsonl`` in the folder."""
        return cls(JournalFileBackend(directory / "log.jsonl", **options))

    def studies(self) -> list[StudyRecord]:
        """See :meth:`BaseStorage.studies`."""
        with self._backend.mutex:
            self._catch_up()
            return [StudyRecord(study.id, study.name) for study in self._studies.values()]

    def create(self, name: str) -> str:
        """See :meth:`BaseStorage.create`."""
        check_name(name)
        with self._backend.mutex:
            try:
                self._backend.acquire()
                size = self._refresh()
                if any(study.name == name for study in self._studies.values()):
                    raise duplicated(name)
                study = _Study(self._created + 1, uuid.uuid4().hex, name)
                body = f"{study.ordinal} create {encode({'id': study.id, 'name': name})}"
                self._write(body.encode(), size)
            finally:
                self._backend.release()
        return study.id

    def delete(self, study: str) -> None:
        """See :meth:`BaseStorage.delete`. The space in the file is not given back."""
        with self._backend.mutex:
            try:
                self._backend.acquire()
                size = self._refresh()
                ordinal = self._find(study).ordinal
                self._write(f"{ordinal} delete {encode({'id': study})}".encode(), size)
            finally:
                self._backend.release()
        self._heartbeats.forget(study)

    def read(self, study: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """See :meth:`BaseStorage.read`."""
        with self._backend.mutex:
            self._catch_up()
            spans = self._find(study).spans
            if 2 * after >= len(spans):
                return []
            check_range(after, limit)
            spans = spans[2 * after : None if limit is None else 2 * (after + limit)]
            groups = list(self._backend.fetch(spans))
        records: list[Record] = []
        for lines in groups:
            parsed = _parse(lines)
            if isinstance(parsed, int):
                with self._backend.mutex:
                    number = self._backend.line_number(spans[2 * (len(records) + parsed)])
                raise self._backend.damaged(number, "it changed after it was checked, or it is not JSON")
            records += parsed
        return records

    def append(self, study: str, events: Record) -> int:
        """See :meth:`BaseStorage.append`."""
        text = encode(events)
        with self._backend.mutex:
            try:
                self._backend.acquire()
                size = self._refresh()
                found = self._find(study)
                position = len(found.spans) // 2 + 1
                line = seal(f"{found.ordinal} {position} {text}".encode())
                end = self._backend.append(line, self._end, size)
                try:
                    found.spans.extend((self._end, end))
                    self._number, self._end = self._number + 1, end
                except BaseException:  # Ctrl-C: the next call reads the file from the beginning
                    self._forget()
                    raise
            finally:
                self._backend.release()
        return position

    def heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.heartbeat`."""
        check_worker(worker)
        self._look_for(study)
        self._heartbeats.beat(study, worker)

    def heartbeats(self, study: str) -> dict[str, float]:
        """See :meth:`BaseStorage.heartbeats`."""
        self._look_for(study)
        return self._heartbeats.ages(study)

    def end_heartbeat(self, study: str, worker: str) -> None:
        """See :meth:`BaseStorage.end_heartbeat`."""
        check_worker(worker)
        self._backend.size()  # refuses when the handle was closed
        self._heartbeats.end(study, worker)

    def _look_for(self, study: str) -> None:
        """Raise StudyNotFoundError unless the study is there now."""
        with self._backend.mutex:
            self._catch_up()
            self._find(study)

    def close(self) -> None:
        """See :meth:`BaseStorage.close`. Closes the backend."""
        self._backend.close()

    def _forget(self) -> None:
        """Know nothing but the header, which the backend checked."""
        self._end, self._number, self._created = len(HEADER), 1, 0
        self._studies, self._ordinals = {}, {}

    def _find(self, study: str) -> _Study:
        try:
            return self._studies[study]
        except KeyError:
            raise not_found(study) from None

    def _catch_up(self) -> None:
        """Learn what the others wrote. The mutex must be held. With nothing new this is one ``stat``."""
        if self._backend.size() != self._end:
            try:
                self._backend.acquire(shared=True)
                self._refresh()
            finally:
                self._backend.release()

    def _refresh(self) -> int:
        """The same for one who holds the file's lock already; returns the length of the file."""
        size = self._backend.size()
        if size < self._end:
            raise LogDamagedError(
                f"The log {self._backend.path!r} was cut to {size} bytes while it was open; {self._end} were read. "
                "Restore the file from a copy, or open the storage again to go on with what is left."
            )
        if size > self._end:
            try:
                for block in self._backend.blocks(self._end, size):
                    self._index(block)
            except BaseException:
                self._forget()
                raise
        return size

    def _write(self, body: bytes, size: int) -> None:
        """Append a line that is not a record."""
        line = seal(body)
        self._backend.append(line, self._end, size)
        try:
            self._index(line)
        except BaseException:
            self._forget()
            raise

    def _index(self, block: bytes) -> None:
        """Check the complete lines that follow the last one known, and note where they are."""
        end = self._end
        for line in block[:-1].split(b"\n"):
            self._number += 1
            start, end = end, end + len(line) + 1
            body = line[9:]
            if line != b"%08x %b" % (zlib.crc32(body), body):
                raise self._backend.damaged(self._number, f"its checksum is wrong ({line[:40]!r}...)")
            ordinal, _, rest = body.partition(b" ")
            kind, blank, rest = rest.partition(b" ")
            study = self._ordinals.get(ordinal)
            if study is not None and blank and kind == b"%d" % (len(study.spans) // 2 + 1):
                study.spans.extend((start, end))
            elif not self._index_other(study, ordinal, kind, rest):
                raise self._backend.damaged(self._number, f"it is out of order ({line[:40]!r}...)")
        self._end = end

    def _index_other(self, study: _Study | None, ordinal: bytes, kind: bytes, rest: bytes) -> bool:
        """Note the creation or deletion of a study; False if the line is neither or cannot come here."""
        if kind == b"delete" and study is not None:
            del self._ordinals[ordinal], self._studies[study.id]
            return True
        if kind != b"create" or ordinal != b"%d" % (self._created + 1):
            return False
        try:
            made = json.loads(rest)
            study = _Study(self._created + 1, made["id"], made["name"])
        except (ValueError, KeyError, TypeError):
            return False
        self._created += 1
        self._ordinals[ordinal] = self._studies[study.id] = study
        return True

    def _after_fork(self) -> None:
        self._forget()  # another thread may have been in the middle of a change


def _parse(lines: list[bytes]) -> list[Record] | int:
    """The records in lines that were checked before; or the index of the first line that is damaged."""
    texts = []
    for index, line in enumerate(lines):
        body = line[9:-1]
        if line != seal(body):
            return index
        try:
            texts.append(body.split(b" ", 2)[2].decode())
        except UnicodeDecodeError:
            return index
    return decode(texts)
