"""What several backends need: records as JSON, the errors of the contract, private files, and survival of ``fork``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any, Literal

from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.storages._base import Record

Durability = Literal["process", "power"]

# Cycles are left to the recursion limit: looking for them costs a tenth of the encoding.
_FORMAT: dict[str, Any] = {"separators": (",", ":"), "allow_nan": False, "check_circular": False}
_encode = json.JSONEncoder(ensure_ascii=False, **_FORMAT).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, **_FORMAT).encode


def encode(value: Any) -> str:
    """Compact JSON on one line, always encodable as UTF-8 (text with lone surrogates is escaped to ASCII).

    Raises:
        InvalidTypeError, InvalidValueError: JSON has no such value.
    """
    try:
        text = _encode(value)
    except TypeError as error:
        raise InvalidTypeError(f"An event cannot be written as JSON: {error}. Convert it before appending.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"An event cannot be written as JSON: {error}. Convert it before appending.") from error
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _encode_ascii(value)
    return text


def decode(texts: Sequence[str]) -> list[Record] | int:
    """Parse one JSON list per text; all in one call of the parser, which is several times faster than one by one.

    Returns:
        The lists; or, if one of the texts is not a JSON list, the index of the first such text.
    """
    try:
        records = json.loads("[" + ",".join(texts) + "]")
        if len(records) == len(texts) and all(type(record) is list for record in records):
            return records
    except (ValueError, TypeError, RecursionError):
        pass
    records = []
    for index, text in enumerate(texts):
        try:
            record = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            return index
        if type(record) is not list:
            return index
        records.append(record)
    return records


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a study in every backend."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"The name of a study must be a str, not {name!r} ({type(name).__name__}).")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"The study name {name!r} is not valid Unicode: {error.reason}. Rename it.") from error
    if "\0" in name:
        raise InvalidValueError(f"The study name {name!r} contains a NUL character. Rename it.")


_WORKER = re.compile("[0-9a-f]{1,64}")


def check_worker(worker: str) -> None:
    """Refuse what cannot identify a worker: it is the name of a file in one backend."""
    if not isinstance(worker, str):
        raise InvalidTypeError(f"A worker is identified by a str, not {worker!r} ({type(worker).__name__}).")
    if not _WORKER.fullmatch(worker):
        raise InvalidValueError(
            f"A worker is identified by 1 to 64 of the characters 0123456789abcdef, such as uuid4().hex, not "
            f"{worker!r}."
        )


def check_durability(durability: str) -> None:
    """Refuse anything but the two modes."""
    if durability not in ("process", "power"):
        raise InvalidValueError(f"durability must be 'process' or 'power', not {durability!r}.")


def check_patience(patience: float | None) -> None:
    """Refuse what is no time to wait."""
    if patience is not None and not (isinstance(patience, (int, float)) and 0 <= patience < float("inf")):
        raise InvalidValueError(f"patience must be a number of seconds, at least 0, not {patience!r}.")


def check_range(after: int, limit: int | None) -> None:
    """Refuse a negative number of known records, and a limit that lets nothing through."""
    if after < 0:
        raise InvalidValueError(f"after counts the records already read and must be >= 0, not {after!r}.")
    if limit is not None and limit < 1:
        raise InvalidValueError(f"limit must be at least 1, or None for all records, not {limit!r}.")


_SECRETS = (
    # An @ within a password should have been written %40; so the last one counts, and rather too much is hidden.
    (re.compile(r"(://[^:/@?]*:).*@", re.DOTALL), r"\1***@"),
    (re.compile(r"((?:password|passwd|passphrase|pwd|secret|token)\w*=)[^&\s]*", re.IGNORECASE), r"\1***"),
)


def without_password(text: str) -> str:
    """A URL, or text that contains one, fit to be shown."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def made_by_optuna(is_so: bool) -> str:
    """What is added to the message that somebody else's file is refused."""
    remedy = " It was made by Optuna: `tunesmith import-optuna`, or tunesmith.integrations.import_optuna, brings its "
    return remedy + "studies along." if is_so else ""


def not_found(study: str) -> StudyNotFoundError:
    """The error for an id that no study has."""
    return StudyNotFoundError(
        f"There is no study with the id {study!r} in this storage: it was deleted, or it is in another storage."
    )


def duplicated(name: str) -> DuplicatedStudyError:
    """The error for a name that is taken."""
    return DuplicatedStudyError(
        f"A study named {name!r} is already in this storage: load it (load_if_exists=True), delete it, or use "
        "another name."
    )


def is_closed(what: str) -> StorageInternalError:
    """The error for a handle that was closed."""
    return StorageInternalError(f"{what} was closed: open it again.")


def damaged(place: str, study: str, reason: str) -> LogDamagedError:
    """The error for what is not as it was written."""
    return LogDamagedError(
        f"{place} is damaged in study {study!r}: {reason}. Nothing was changed. Restore it from a copy."
    )


def no_folder(path: str) -> InvalidValueError:
    """The error for a path whose parent folder does not exist."""
    folder = os.path.dirname(path)
    return InvalidValueError(
        f"Cannot create {path!r}: there is no folder {folder!r}. Create it (mkdir -p) or give another path."
    )


def sync_folder(path: str) -> None:
    """Make the directory entry of a new file survive the loss of power."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
