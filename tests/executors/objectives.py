"""Objectives that worker processes find by name, and what their tests share."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.study import Study


def plain(trial: Any) -> float:
    """Everything an ordinary function asks of a trial."""
    x = trial.suggest_float("x", 1e-3, 1.0, log=True)
    n = trial.suggest_int("n", 0, 2**60) if x < 0.5 else 1
    c = trial.suggest_categorical("c", ["a", None, True, 1, (2.5, "b")])
    for step in range(3):
        trial.report(x + step, step)
        trial.report_metric("m", float(n), step)
    trial.set_user_attr("c", repr(c))
    trial.set_constraint("k", x - 0.5)
    if trial.number == 3:
        return float("nan")
    return x + n / 2**60


def yielding(trial: Any) -> Iterator[dict[str, float]]:
    """Nine epochs; a late parameter."""
    x = trial.suggest_float("x", 0.0, 1.0)
    for epoch in range(9):
        if epoch == 2:
            x += trial.suggest_float("late", 0.0, 0.1)
        yield {"loss": x / (epoch + 1), "other": float(epoch)}


def saving(trial: Any) -> Iterator[float]:
    """Four epochs, saved after each one; says where each attempt began."""
    state = trial.load()
    epoch = 0 if state is None else state["epoch"]
    trial.set_user_attr(f"from_{trial.attempt}", epoch)
    while epoch < 4:
        epoch += 1
        trial.save({"epoch": epoch})
        yield float(epoch)
        if epoch == 2 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    """As a broken extension would."""
    ctypes.string_at(0)


class Dying:
    """Ends its process; ``deaths`` says in which trial, how, and how often."""

    def __init__(self, deaths: dict[int, tuple[Callable[[], Any], int]]) -> None:
        self.deaths = deaths

    def __call__(self, trial: Any) -> float:
        x: float = trial.suggest_float("x", 0, 1)
        how, times = self.deaths.get(trial.number, (None, 0))
        if how is not None and trial.attempt <= times:
            how()
            time.sleep(60)
        return x


class TwoArguments(Exception):
    """Cannot be made from its ``args``."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Counting:
    """A bound method is an objective, too."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def value(self, trial: Any) -> float:
        return self.factor * float(trial.suggest_float("x", 0, 1))


class Device:
    """A tensor whose computation has failed, which shows when it is read."""

    def detach(self) -> Device:
        return self

    def numel(self) -> int:
        return 1

    def item(self) -> float:
        raise RuntimeError("device-side assert")


def events(study: Study) -> list[list[dict[str, Any]]]:
    """The log but for times, tokens and processes."""
    volatile = {"t", "k", "w", "host", "machine", "pid", "start", "versions"}

    def stripped(event: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in event.items() if key not in volatile}

    return [[stripped(event) for event in record] for record in study.storage.read(study._log.study)]


def is_alive(pid: int) -> bool:
    """Whether a process computes (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(happened: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
