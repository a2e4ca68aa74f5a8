"""The contracts of this room, and the rows that its evaluators look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History

Rows = NDArray[np.int64]


class Judged(Protocol):
    """What a terminator asks of a study."""

    @property
    def history(self) -> History: ...

    def stop(self) -> None: ...


class BaseImprovementEvaluator(ABC):
    """How much better the best value may still become. Hashable, and without state."""

    @abstractmethod
    def evaluate(self, history: History, rows: Rows | None = None) -> float:
        """A bound or an estimate, in the units that the paired error evaluator has; infinite while nothing is known.

        Args:
            history: of one objective.
            rows: finished rows; only these count. All by default.
        """


class BaseErrorEvaluator(ABC):
    """What an improvement must exceed in order to matter."""

    @abstractmethod
    def evaluate(self, history: History) -> float:
        """A value of the objective, or of whatever the paired improvement evaluator computes."""


class BaseTerminator(ABC):
    """Whether a study has learned enough."""

    @abstractmethod
    def should_terminate(self, study: Judged) -> bool:
        """Judge a study by its history."""


def results(history: History, rows: Rows | None = None) -> Rows:
    """The feasible COMPLETE ones among ``rows`` (all by default), by the numbers of their trials.

    Raises:
        RuntimeError: the study has several objectives.
    """
    if len(history.directions) != 1:
        raise RuntimeError(f"A terminator judges by one objective, but this study has {len(history.directions)}.")
    rows = np.arange(history.n) if rows is None else rows
    rows = rows[history.is_complete[rows] & (history.violation[rows] <= 0)]
    return rows[np.argsort(history.number[rows], kind="stable")]


def some_results(history: History, rows: Rows | None = None) -> Rows:
    """As :func:`results`.

    Raises:
        InvalidValueError: there is none.
    """
    found = results(history, rows)
    if not len(found):
        raise InvalidValueError("No trial is COMPLETE (and feasible) yet, so there is nothing to judge the study by.")
    return found
