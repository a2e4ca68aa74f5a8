"""What was measured on this machine, kept in a file for the next time and for other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tunesmith import logging
from tunesmith._machine import cache_folder

_logger = logging.get_logger("tunesmith.train")


class Remembered:
    """Seconds by key, in a file with a line for each measurement.

    Lines are only added, so processes that measure at the same time lose nothing of one another's; of two lines with
    one key the first counts, for everybody. Lines that cannot be read are passed over.

    Args:
        path: the file; None keeps things in this object only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        """The seconds of a key; None if they are not known."""
        if key not in self._known:
            self._known = {**self._read(), **self._known}
        return self._known.get(key)

    def keep(self, key: str, seconds: float) -> float:
        """Keep what was measured; returns what counts, which another process may have written in the meantime."""
        if self._path is not None:
            line = "\n" + json.dumps({"key": key, "seconds": seconds}) + "\n"  # whatever half a line is before it
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    os.write(file, line.encode())  # in one piece
                finally:
                    os.close(file)
            except OSError as error:
                _logger.info("What was measured for lanes could not be kept in %s: %s", self._path, error)
        self._known[key] = self._read().get(key, seconds)
        return self._known[key]

    def _read(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._path is None:
            return found
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return found
        for line in lines:
            try:
                entry = json.loads(line)
                found.setdefault(entry["key"], float(entry["seconds"]))
            except (ValueError, TypeError, KeyError):
                continue
        return found


def memory_file() -> Path | None:
    """In the folder for caches; ``TUNESMITH_LANES`` names another file, or "" for none."""
    named = os.environ.get("TUNESMITH_LANES")
    if named is not None:
        return Path(named) if named else None
    folder = cache_folder()
    return None if folder is None else folder / "lanes.jsonl"
