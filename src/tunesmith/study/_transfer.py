"""Studies that move: copied to another storage, written to a file, read from one. Their events move as they are.

The file has a header and one line for each record of the log, each a JSON object::

    {"format": "tunesmith study", "version": 1, "name": ..., "records": 2, ..., "crc": ...}
    {"position": 1, "events": [...], "crc": ...}
    {"position": 2, "events": [...], "crc": ...}

``crc`` is the CRC-32 of the object's other fields, as compact JSON in this order. The header says how many lines
follow, so a file that was cut off is noticed too.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunesmith import events as ev
from tunesmith._version import __version__
from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
)
from tunesmith.fold import Fold
from tunesmith.storages import BaseStorage, get_storage
from tunesmith.study._create import checked_name, load_study, whole_log
from tunesmith.study._study import Study
from tunesmith.trial import TrialState

Records = list[list[ev.Event]]

_FORMAT = "tunesmith study"
_VERSION = 1
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def copy_study(
    *,
    from_study_name: str,
    from_storage: str | BaseStorage,
    to_storage: str | BaseStorage,
    to_study_name: str | None = None,
    compact: bool = False,
) -> None:
    """Copy a study's log record by record; the copy goes on exactly as the original would.

    Saved states of trials are not copied: those trials begin again. Copied is all or nothing.

    Args:
        from_study_name: its name.
        from_storage, to_storage: as for :func:`create_study`.
        to_study_name: another name for the copy.
        compact: leave out void claims: where several workers have asked for the same trial, those that came too late.
            Nothing else is left out, and all positions stay, so the copy has the same history.

    Raises:
        DuplicatedStudyError: the target name is taken.
    """
    source, target = get_storage(from_storage), get_storage(to_storage)
    name = checked_name(to_study_name if to_study_name is not None else from_study_name)
    records, folded = _records(source, from_study_name)
    _create(target, name, _compacted(records) if compact else records, folded)


def export_study(
    *,
    study_name: str,
    storage: str | BaseStorage,
    path: str | os.PathLike[str],
    hosts: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a study to a file that :func:`import_study` reads; its whole history is in there.

    Args:
        study_name: its name.
        storage: as for :func:`create_study`.
        path: of the file. JSON lines, each with a checksum; by habit it ends in ``.study``. Only its owner may read it.
        hosts: keep who the workers were: names of machines, process ids. A file that is passed on should not say.
        overwrite: replace the file if it exists.

    Returns:
        How many records were written.

    Raises:
        StudyNotFoundError: there is no such study. InvalidValueError: the file exists, or its folder does not.
        StorageInternalError: it cannot be written.
    """
    target = _path(path)
    if target.exists() and not overwrite:
        raise InvalidValueError(f"{str(target)!r} exists; say overwrite=True to replace it.")
    records, _ = _records(get_storage(storage), study_name)
    if not hosts:
        records = [[event for event in record if event["e"] != "worker"] for record in records]
    header = {
        "format": _FORMAT, "version": _VERSION, "name": study_name, "records": len(records), "written": ev.now(),
        "tunesmith": __version__,
    }  # fmt: skip
    numbered = ({"position": i, "events": record} for i, record in enumerate(records, 1))
    _write(target, (_line(fields) for fields in (header, *numbered)))
    return len(records)


def import_study(
    *, path: str | os.PathLike[str], storage: str | BaseStorage | None, study_name: str | None = None
) -> Study:
    """Make a study from a file that :func:`export_study` has written; it goes on exactly as the original would.

    The file is read and checked as a whole before anything is made. Trials that were running wait for another attempt,
    and begin anew: their saved states are not in the file.

    Args:
        path: of the file.
        storage: as for :func:`create_study`.
        study_name: another name than the study had.

    Returns:
        The study.

    Raises:
        LogDamagedError: a line is damaged, its ``line`` tells which, or some are missing. NotALogError: the file is
            something else. NewerFormatError: a newer tunesmith has written it. DuplicatedStudyError: the name is taken.
    """
    name, records = _read(_path(path))
    folded = _checked(records, str(path))
    name = checked_name(study_name if study_name is not None else name)
    target = get_storage(storage)
    _create(target, name, records, folded)
    return load_study(study_name=name, storage=target)


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidTypeError(f"`path` must be the path of a file, but is {path!r}.")
    return Path(path)


# -- records -------------------------------------------------------------------------------------------------------


def _records(source: BaseStorage, name: str) -> tuple[Records, Fold]:
    """The records of a study, and the state that they lead to; whether it was itself a copy is not a part of it."""
    log = whole_log(source, name)
    records = source.read(log.study, 0)[: log.position]
    return [[e for e in record if e["e"] != "import"] for record in records], log.fold


def _compacted(records: Records) -> Records:
    """The same without void claims; records of nothing else stay, empty, since positions are referred to."""
    fold = Fold()
    fates = [[fold.apply(event) for event in record] for record in records]
    return [
        [event for event, valid in zip(record, fate, strict=True) if valid or event["e"] != "ask"]
        for record, fate in zip(records, fates, strict=True)
    ]


def _create(target: BaseStorage, name: str, records: Records, folded: Fold) -> None:
    """Make a study with these records.

    The first record says how many there will be, and until then it is no study to anybody: a process that is killed
    here leaves a name that can be deleted, and never half of a study.
    """
    records = [*records, *_releases(folded)]
    origin = {"e": "import", "ver": 2, "records": len(records), "t": ev.now()}
    study = target.create(name)
    try:
        first = target.append(study, [origin, *records[0]])
        if first == 1:
            for record in records[1:]:
                target.append(study, record)
    except BaseException:
        with contextlib.suppress(StorageInternalError):
            target.delete(study)
        raise
    if first != 1:
        raise DuplicatedStudyError(f"Another process has made a study named {name!r} in this moment; use another name.")


def _releases(folded: Fold) -> Records:
    """Whoever runs a trial goes on with the original; in the copy it waits for another attempt."""
    held = [t for t in folded.open.values() if t.state == TrialState.RUNNING and not t.by_ask]
    return [[{"e": "release", "n": t.number, "k": t.token, "t": ev.now()} for t in held]] if held else []


# -- the file ------------------------------------------------------------------------------------------------------


def _line(fields: dict[str, Any]) -> str:
    text = _encode(fields)
    return f'{text[:-1]},"crc":{zlib.crc32(text.encode())}}}\n'


def _write(target: Path, lines: Iterable[str]) -> None:
    """All or nothing."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.writelines(lines)
        os.replace(temporary, target)
    except FileNotFoundError as error:
        raise InvalidValueError(f"Cannot write {str(target)!r}: there is no folder {str(target.parent)!r}.") from error
    except OSError as error:
        raise StorageInternalError(f"Cannot write {str(target)!r}: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _read(source: Path) -> tuple[str, Records]:
    """Name and records of a study in a file.

    Raises:
        LogDamagedError, NotALogError, NewerFormatError: see :func:`import_study`. InvalidValueError: there is no file.
    """
    try:
        with source.open("rb") as file:
            lines = _objects(file, str(source))
            header = next(lines, None)
            if header is None:
                raise _no_study(str(source))
            records = [fields["events"] for fields in lines]
    except FileNotFoundError as error:
        raise InvalidValueError(f"There is no file {str(source)!r}.") from error
    except OSError as error:
        raise StorageInternalError(f"Cannot read {str(source)!r}: {error.strerror}.") from error
    missing = header["records"] - len(records)
    if missing:
        what = f"{missing} of {header['records']} records are missing at its end" if missing > 0 else "it is too long"
        raise LogDamagedError(f"{str(source)!r} is damaged: {what}. Nothing was imported.", len(records) + 2)
    return header["name"], records


def _objects(lines: Iterable[bytes], source: str) -> Iterator[dict[str, Any]]:
    """The header, then the records; each line is checked."""
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            crc = fields.pop("crc", None)
            whole = crc == zlib.crc32(_encode(fields).encode())
        except (ValueError, TypeError, AttributeError, RecursionError):
            fields, whole = {}, False
        if number == 1:
            _check_header(fields, whole, source)
        elif not (whole and fields.get("position") == number - 1 and isinstance(fields.get("events"), list)):
            raise LogDamagedError(
                f"Line {number} of {source!r} is damaged, or not in its place. Nothing was imported.", number
            )
        yield fields


def _check_header(fields: dict[str, Any], whole: bool, source: str) -> None:
    if fields.get("format") != _FORMAT:
        raise _no_study(source)
    if isinstance(fields.get("version"), int) and fields["version"] > _VERSION:
        raise NewerFormatError(
            f"{source!r} has format {fields['version']}, this version reads up to {_VERSION}; update tunesmith."
        )
    known = isinstance(fields.get("name"), str) and isinstance(fields.get("records"), int)
    if not (whole and known):
        raise LogDamagedError(f"Line 1 of {source!r} is damaged. Nothing was imported.", 1)


def _no_study(source: str) -> NotALogError:
    return NotALogError(f"{source!r} is not a study that tunesmith has exported (export_study, tunesmith export).")


def _checked(records: Records, source: str) -> Fold:
    """The state that the records lead to.

    Raises:
        LogDamagedError, NewerFormatError: they lead to none.
    """
    fold = Fold()
    for line, record in enumerate(records, 2):
        try:
            for event in record:
                fold.apply(event)
        except LogDamagedError as error:
            raise LogDamagedError(f"Line {line} of {source!r}: {error} Nothing was imported.", line) from error
    if not fold.meta or fold.due:
        raise LogDamagedError(f"{source!r} does not hold a whole study. Nothing was imported.", 2)
    return fold
