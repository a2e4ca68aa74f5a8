"""Finding the files of a data set: the folder ``TUNESMITH_DATA`` first, then the cache, then a download.

Every file is checked by a hash of its content before it is parsed. Downloads need pooch (extra ``tunesmith[train]``)
and go to the user's cache folder, never into ``TUNESMITH_DATA``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tunesmith.exceptions import MissingDependencyError
from tunesmith.logging import get_logger
from tunesmith.train.errors import DataDamagedError, DataNotFoundError

VARIABLE = "TUNESMITH_DATA"
_log = get_logger(__name__)


def data_folder() -> Path | None:
    """The folder that the environment variable names, or None when it is unset or empty.

    Raises:
        DataNotFoundError: the variable names something that is no folder.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise DataNotFoundError(f"{VARIABLE}={value!r} is no folder; set it to the folder that holds the data sets.")
    return folder


def find(names: Sequence[str], places: Sequence[str]) -> Path | None:
    """The first file or folder ``TUNESMITH_DATA/<place>/<name>`` that exists, or None."""
    folder = data_folder()
    if folder is not None:
        for place in places:
            for name in names:
                if (path := folder / place / name).exists():
                    return path
    return None


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataDamagedError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataDamagedError(f"{path} cannot be read: {error}.") from None


def check(content: bytes, expected: str, source: str) -> None:
    """Compare with a hash ``"sha256:..."`` or ``"md5:..."``.

    Raises:
        DataDamagedError: they differ.
    """
    algorithm, _, digest = expected.partition(":")
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != digest:
        raise DataDamagedError(
            f"{source} is not the official file: its {algorithm} is {found} and should be {digest}. "
            "Delete it and fetch it again."
        )


def download(data_set: str, name: str, urls: Sequence[str], known_hash: str, wanted: str) -> Path:
    """The file ``name`` in the cache folder, downloaded first if it is not there yet.

    Args:
        data_set: the data set's name; also the sub-folder of the cache.
        name: the file's name.
        urls: where it can be had, tried in turn.
        known_hash: ``"sha256:..."`` of the file as downloaded.
        wanted: what to put into ``TUNESMITH_DATA`` instead, for the message.

    Raises:
        DataNotFoundError: no address answered; the message names ``TUNESMITH_DATA`` and what to put there.
        DataDamagedError: what came is not the official file.
        MissingDependencyError: pooch is not installed.
    """
    try:
        import pooch
    except ImportError:
        raise MissingDependencyError(
            f"The data set {data_set!r} is not in {VARIABLE} ({os.environ.get(VARIABLE) or 'not set'}), and "
            f"downloading it needs pooch: pip install 'tunesmith[train]'; or put {wanted} into {VARIABLE}."
        ) from None
    cache = Path(pooch.os_cache("tunesmith")) / data_set
    reasons = []
    for url in urls:
        try:
            with _quiet(pooch):
                return Path(pooch.retrieve(url, known_hash=known_hash, fname=name, path=cache))
        except ValueError as error:  # pooch: the hash differs
            _log.debug("%s: %s", url, error)
            reasons.append(f"{url}: wrong content")
        except Exception as error:  # requests raises its own classes, which are not imported for this alone
            _log.debug("%s: %s", url, error)
            reasons.append(f"{url}: {type(error).__name__}")
    kind = DataDamagedError if all("wrong content" in reason for reason in reasons) else DataNotFoundError
    raise kind(
        f"The data set {data_set!r} is not at hand. {VARIABLE} is {os.environ.get(VARIABLE) or 'not set'}; the "
        f"download of {name} failed ({'; '.join(reasons)}). Without a network, set {VARIABLE} to a folder with "
        f"{wanted}; 'fashion-mnist-small' and 'digits' need no download."
    )


class _quiet:
    """Keep pooch from printing a line for each file."""

    def __init__(self, pooch: object) -> None:
        self._logger = pooch.get_logger()  # type: ignore[attr-defined]

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel("ERROR")

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
