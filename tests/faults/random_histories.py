"""Random histories of a store: it answers as a plain dict would, after each of them also to a handle opened anew.

Figure 11 of "Nothing lost": 10,000 histories of 50 steps, on SQLite and on the file log.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from crew import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.storages import BaseStorage, JournalStorage, RDBStorage

sys.path.append(str(Path(__file__).parents[1]))  # pytest has it, a command has not
from storages.test_model import check, steps


def run(_: str = "", examples: int = 20, length: int = 50) -> dict[str, Any]:
    """An error of the store ends the run with the shortest history that shows it."""
    result: dict[str, Any] = {"examples": examples, "steps": length, "violations": 0}
    for backend in (RDBStorage, JournalStorage):
        begin = time.monotonic()
        _try(backend, examples, length)
        result[f"{backend.__name__}_seconds"] = round(time.monotonic() - begin, 1)
    return result


def _try(backend: type[BaseStorage], examples: int, length: int) -> None:
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    @given(history=st.lists(steps, min_size=length, max_size=length))
    def tried(history: list[tuple[Any, ...]]) -> None:
        check(backend, {}, history)

    tried()


if __name__ == "__main__":
    command(__doc__ or "", run, {"examples": 10_000})
