"""The states of a trial."""

from __future__ import annotations

import enum


class TrialState(enum.IntEnum):
    """Optuna's states with Optuna's numbers, plus PAUSED.

    Attributes:
        RUNNING: claimed by a worker.
        COMPLETE: finished with values.
        PRUNED: stopped early; its value is the last one it reported.
        FAIL: ended without an acceptable value.
        WAITING: enqueued, or released by an interrupted worker, and not claimed yet.
        PAUSED: interrupted by a stopping rule on purpose; may be continued, so it is not finished.
    """

    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3
    WAITING = 4
    PAUSED = 5

    def is_finished(self) -> bool:
        """Whether the trial will never change again."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

    def __repr__(self) -> str:
        return f"TrialState.{self.name}"

    __str__ = enum.Enum.__str__
