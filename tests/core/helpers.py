"""What the core's tests share: a store of every kind, and random distributions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import tunesmith
from tunesmith.distributions import BaseDistribution, Categorical, Float, Int
from tunesmith.storages import BaseStorage, InMemoryStorage, JournalFileBackend, JournalStorage, RDBStorage

KINDS = ("memory", "sqlite", "jsonl")
ON_DISK = KINDS[1:]


def open_storage(kind: str, folder: Path) -> BaseStorage:
    """A handle on the storage of a folder (a fresh one, for memory)."""
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{folder}/study.db")
    if kind == "jsonl":
        return JournalStorage(JournalFileBackend(str(folder / "study.jsonl")))
    return InMemoryStorage()


class Place:
    """One store: :meth:`open` gives a handle, a new one each time if the store outlives its handles."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.url = {"sqlite": f"sqlite:///{folder}/study.db", "jsonl": f"{folder}/study.jsonl"}.get(kind)
        self._handles: list[BaseStorage] = []

    def open(self) -> BaseStorage:
        if self.kind == "memory" and self._handles:
            return self._handles[0]
        self._handles.append(open_storage(self.kind, self.folder))
        return self._handles[-1]

    def close(self) -> None:
        for handle in self._handles:
            handle.close()


def study_in(place: Place, **options: Any) -> tunesmith.Study:
    """A handle on the study ``s`` of a store, made if there is none."""
    return tunesmith.create_study(study_name="s", storage=place.open(), load_if_exists=True, **options)


def spawning(script: str, url: str) -> Iterator[Any]:
    """For a fixture: starts jobs of a script on a store (``script JOB URL ...``); what is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(job: str, *arguments: Any) -> subprocess.Popen[str]:
        command = [sys.executable, script, job, url, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> list[str]:
    """The words that a job says first."""
    assert process.stdout is not None
    return process.stdout.readline().split()


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
choices = st.lists(
    st.recursive(plain, lambda s: st.lists(s, max_size=3).map(tuple), max_leaves=4), min_size=1, max_size=6
)


@st.composite
def distributions(draw: st.DrawFn) -> BaseDistribution:
    """Distributions of every kind, ordinary and extreme."""
    kind = draw(st.sampled_from(["float", "log", "step", "int", "logint", "choice"]))
    if kind == "choice":
        return Categorical(draw(choices))
    if kind in ("int", "logint"):
        low = draw(st.integers(1 if kind == "logint" else -(2**70), 2**70))
        high = low + draw(st.integers(0, 2**66) | st.integers(0, 5))
        if kind == "logint":
            return Int(low, high, log=True)
        step = draw(st.integers(1, 7))
        return Int(low, low + (high - low) // step * step, step=step)
    if kind == "step":
        low, k, step = (
            draw(st.integers(-20, 20)),
            draw(st.integers(0, 1000)),
            draw(st.sampled_from([0.1, 0.25, 1.0, 3.0])),
        )
        return Float(low, low + k * step, step=step) if step != 0.1 else Float(low / 10, (low + k) / 10, step=step)
    bounds = st.floats(1e-300, 1e300) if kind == "log" else st.floats(-1e300, 1e300)
    low, high = sorted((draw(bounds), draw(bounds)))
    return Float(low, high, log=kind == "log")
