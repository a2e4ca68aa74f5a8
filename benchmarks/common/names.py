"""What is written on a command line."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Sequence


def one_thread() -> None:
    """Linear algebra with one thread; to be called before NumPy is imported, which reads the variables then."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def numbers(text: str) -> list[int]:
    """``"0-4"``, ``"3"``, ``"0,2,5-7"``."""
    bounds = [part.partition("-")[::2] for part in text.split(",")]
    return [number for low, high in bounds for number in range(int(low), int(high or low) + 1)]


def split(texts: list[str]) -> list[str]:
    """Methods from arguments that may hold several with commas between them (those in braces do not count)."""
    return [name for text in texts for name in re.split(r",(?![^{]*\})", text) if name.strip()]


def choose(text: str, kind: str, every: Sequence[str], dev: Sequence[str], confirm: Sequence[str]) -> tuple[str, ...]:
    """``"dev"``, ``"confirm"``, ``"all"``, or, with commas between them, names and parts that names have in common.

    Args:
        text: what was asked for.
        kind: what the names are of, for the message when there is none.
        every, dev, confirm: all names, and the two halves.
    """
    halves = {"dev": dev, "confirm": confirm, "all": every}
    if text in halves:
        return tuple(halves[text])
    parts = [part.strip() for part in text.split(",")]
    partial = [part for part in parts if part not in every]
    chosen = tuple(name for name in every if name in parts or any(part in name for part in partial))
    if not chosen:
        raise SystemExit(f"No {kind} is called {text!r}; there are {', '.join(every)}.")
    return chosen


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Name -> installed version, or "-"."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str:
    if distribution == "tunesmith":  # may run from a folder
        import tunesmith

        return tunesmith.__version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "-"
