"""Progress of ``optimize``: a rich bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.study._study import Study

#: Seconds between plain lines when standard error is no terminal.
PLAIN_SECONDS = 10.0


class NoProgress:
    """Shows nothing."""

    def __enter__(self) -> NoProgress:
        return self

    def __exit__(self, *error: object) -> None: ...

    def trial_started(self, number: int) -> None: ...

    def reported(self, number: int, steps: int) -> None: ...

    def trial_ended(self, study: Study) -> None: ...


class Progress(NoProgress):
    """Trials done, this trial's epoch, reports per second and time to finish.

    Args:
        n_trials: how many trials are planned, or ``None``.
        timeout: seconds planned, or ``None``; the bar then shows time instead of trials.
        console: a ``rich`` console to draw on; standard error by default.
    """

    def __init__(self, n_trials: int | None, timeout: float | None, console: Any = None) -> None:
        from rich.console import Console

        self._n_trials, self._timeout = n_trials, timeout
        self._console = console or Console(file=sys.stderr)
        self._lock = threading.Lock()
        self._begin = self._last_line = time.monotonic()
        self._done = self._reports = 0
        self._epoch = ""
        self._best = ""
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"), progress.BarColumn(),
                progress.TextColumn("{task.fields[count]}"),
                progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[note]}"), console=self._console,
            )  # fmt: skip
            total = self._n_trials if self._n_trials is not None else self._timeout
            self._task = self._bar.add_task("trials", total=total, count="0", note="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()

    def trial_started(self, number: int) -> None:
        with self._lock:
            self._epoch = f"trial {number}"
            self._draw()

    def reported(self, number: int, steps: int) -> None:
        with self._lock:
            self._reports += 1
            self._epoch = f"trial {number} step {steps}"
            self._draw()

    def trial_ended(self, study: Study) -> None:
        with self._lock:
            self._done += 1
            if len(study.directions) == 1:
                row = study.history.best_row
                if row is not None:
                    self._best = f"best {study.history.Y[row, 0]:.6g}"
            self._draw()

    def _note(self) -> str:
        seconds = max(time.monotonic() - self._begin, 1e-9)
        rate = f"{self._reports / seconds:.2f} it/s" if self._reports else f"{self._done / seconds:.2f} trials/s"
        return "  ".join(part for part in (rate, self._epoch, self._best) if part)

    def _draw(self) -> None:
        count = f"{self._done}/{self._n_trials}" if self._n_trials is not None else str(self._done)
        seconds = time.monotonic() - self._begin
        if self._bar is not None:
            completed = (
                self._done if self._n_trials is not None or self._timeout is None else min(seconds, self._timeout)
            )
            self._bar.update(self._task, completed=completed, count=count, note=self._note())
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            print(f"{count} trials  {seconds:.0f} s  {self._note()}", file=sys.stderr, flush=True)
