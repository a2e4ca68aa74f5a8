"""A study as it was: the same view on fewer records."""

from __future__ import annotations

import datetime
from typing import Any, NoReturn

from tunesmith.events import Event
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, ReadOnlyStudyError
from tunesmith.study._log import StudyLog
from tunesmith.study._reader import StudyReader


class PastStudy(StudyReader):
    """A study as it was after some records of its log (see :meth:`Study.at`). It shows everything that a study shows,
    and has none of the methods that change one.

    Attributes:
        position: how many records of the log it shows.
    """

    def __init__(self, study_name: str, log: StudyLog, records: list[list[Event]]) -> None:
        super().__init__(study_name, _PastLog(log, records))
        self.position = len(records)

    def _records(self) -> list[list[Event]]:
        return super()._records()[: self.position]

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._name, self._log.storage, self._log.study, self.position)

    def __getattr__(self, name: str) -> NoReturn:
        from tunesmith.study._study import Study

        if not name.startswith("_") and hasattr(Study, name):
            raise ReadOnlyStudyError(
                f"`{name}` is for studies that go on, but this is {self._name!r} as it was after {self.position} "
                "records of its log. Use the study itself."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class _PastLog(StudyLog):
    """The first records of a log; nothing comes after them."""

    def __init__(self, log: StudyLog, records: list[list[Event]]) -> None:
        super().__init__(log.storage, log.study)
        self.fold.registered = log.fold.registered
        self._take(records)

    def sync(self) -> None:
        """There is nothing new in what has been."""

    def append(self, events: list[Event]) -> list[bool]:
        raise ReadOnlyStudyError(f"This is a study as it was after {self.position} records; it cannot be changed.")


def _again(name: str, storage: Any, study: str, position: int) -> PastStudy:
    return PastStudy(name, StudyLog(storage, study), storage.read(study, 0)[:position])


def n_records(records: list[list[Event]], n: int | None, time: datetime.datetime | None) -> int:
    """How many of the records :meth:`StudyReader.at` means.

    Raises:
        InvalidTypeError, InvalidValueError: see there.
    """
    if (n is None) == (time is None):
        raise InvalidValueError(f"Say either after how many records, or at which time: got n={n!r} and time={time!r}.")
    if n is None:
        n = _until(records, time)
    elif isinstance(n, bool) or not isinstance(n, int):
        raise InvalidTypeError(f"`n` counts records of the log and must be an integer, but is {n!r}.")
    first = next((i for i, record in enumerate(records, 1) if any(e["e"] == "study" for e in record)), 1)
    if not first <= n <= len(records):
        raise InvalidValueError(f"The study has records {first} to {len(records)}; it cannot be shown after {n}.")
    return n


def _until(records: list[list[Event]], time: Any) -> int:
    """The number of records before the first one that says it is later."""
    if not isinstance(time, datetime.datetime):
        raise InvalidTypeError(f"`time` must be a datetime, but is {time!r}.")
    latest = time.timestamp() * 1e6
    later = (i for i, record in enumerate(records) if any(e.get("t", 0) > latest for e in record))
    found = next(later, len(records))
    if found == 0:
        raise InvalidValueError(f"The study did not exist yet at {time}.")
    return found
