"""Reasons to end a search, as callbacks: ``study.optimize(objective, callbacks=[TargetCallback(0.02)])``.

Each is a function of the study's history, not of what this process has seen: with several processes every one of them
stops after the next trial that it finishes, and a study that is loaded again is judged as if it had never been closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith import logging
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.space import FloatArray
from tunesmith.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from tunesmith.study._study import Study

_logger = logging.get_logger("tunesmith.study")


class StopCallback(ABC):
    """Stop ``optimize`` as soon as :meth:`reached` says so; trials that run elsewhere at that moment are finished."""

    @abstractmethod
    def reached(self, history: History) -> bool:
        """Whether the study has come to its end; asked after each finished trial."""

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        if self.reached(study.history):
            _logger.info("The study %r is stopped by %r.", study.study_name, self)
            study.stop()


@dataclass(frozen=True)
class MaxTrialsCallback(StopCallback):
    """Stop ``optimize`` when the study has ``n_trials`` trials in the given states, over all processes.

    Args:
        n_trials: how many.
        states: the states that count; ``None`` counts all.
    """

    n_trials: int
    states: Container[TrialState] | None = (TrialState.COMPLETE,)

    def reached(self, history: History) -> bool:
        if self.states is None:
            return history.n_trials >= self.n_trials
        found = np.bincount(history.state, minlength=len(TrialState)).tolist()
        for trial in history.open:
            found[trial.state] += 1
        return sum(found[state] for state in TrialState if state in self.states) >= self.n_trials


@dataclass(frozen=True)
class TargetCallback(StopCallback):
    """Stop ``optimize`` when a feasible COMPLETE trial is as good as wished.

    Args:
        target: the value that is to be reached (at most it when minimising, at least it when maximising); with several
            objectives one for each, and a single trial must reach all of them.

    Raises:
        InvalidValueError: a target is NaN, or there are more or fewer of them than objectives.
    """

    target: float | Sequence[float]

    def __post_init__(self) -> None:
        _checked("target", self.target)

    def reached(self, history: History) -> bool:
        target = _one_each("target", self.target, history) * np.array(history.directions, float)
        return bool((history.loss[_results(history)] <= target).all(axis=1).any())


@dataclass(frozen=True)
class NoImprovementCallback(StopCallback):
    """Stop ``optimize`` when nothing better has been found for some trials, or for some time.

    An improvement is a feasible COMPLETE trial that is better, by more than ``min_delta``, than the last one that was
    an improvement, so many small steps count once they add up. With several objectives it is one that no earlier
    improvement, made better by ``min_delta`` in every objective, equals or dominates: a trial that widens the front.
    Before the first result the search goes on.

    Args:
        n_trials: stop after this many trials without an improvement.
        seconds: stop after this much time without one. What counts is the time in which some trial of the study was
            being evaluated, by the log: not the night between two sessions, and not more with several workers.
        min_delta: see above; one number, or one for each objective.
        states: the trials that ``n_trials`` counts. Failed ones are not among them by default: they say nothing about
            whether there is something better.

    Raises:
        InvalidValueError: neither ``n_trials`` nor ``seconds`` is given, or one of them is not positive.
    """

    n_trials: int | None = None
    seconds: float | None = None
    min_delta: float | Sequence[float] = 0.0
    states: Container[TrialState] = (TrialState.COMPLETE, TrialState.PRUNED)

    def __post_init__(self) -> None:
        if self.n_trials is None and self.seconds is None:
            raise InvalidValueError("Nothing would ever stop the search: give `n_trials` or `seconds`, or both.")
        for name in ("n_trials", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidValueError(f"`{name}` must be positive, but is {value!r}.")
        delta = _checked("min_delta", self.min_delta)
        if not ((delta >= 0) & np.isfinite(delta)).all():
            raise InvalidValueError(f"`min_delta` must be finite and not negative, but is {self.min_delta!r}.")

    def reached(self, history: History) -> bool:
        delta = _one_each("min_delta", self.min_delta, history)
        with history.memo(("improvements", delta.tobytes()), lambda: _Improvements(delta)) as improvements:
            last = improvements.last
        if last < 0:
            return False
        if self.n_trials is not None:
            found = np.bincount(history.state[last + 1 :], minlength=len(TrialState)).tolist()
            if sum(found[state] for state in TrialState if state in self.states) >= self.n_trials:
                return True
        return self.seconds is not None and _busy_seconds(history, last) >= self.seconds


class _Improvements:
    """Memo: the last trial that was an improvement over all before it.

    Attributes:
        last: its row, -1 before the first.
    """

    def __init__(self, delta: FloatArray) -> None:
        self._delta = delta
        self._front = np.empty((0, len(delta)))
        self.n, self.last = 0, -1

    def extend(self, history: History) -> None:
        rows = _results(history, self.n)
        for row, loss in zip(rows.tolist(), history.loss[rows], strict=True):
            if not (self._front - self._delta <= loss).all(axis=1).any():
                worse = (loss <= self._front).all(axis=1)
                self._front = np.concatenate([self._front[~worse], loss[None]])
                self.last = row
        self.n = history.n


def _results(history: History, first: int = 0) -> np.ndarray:
    """Rows of the feasible COMPLETE trials from ``first`` on."""
    return first + np.flatnonzero(history.is_complete[first:] & (history.violation[first:] <= 0))


def _busy_seconds(history: History, row: int) -> float:
    """For how long some trial was evaluated after the trial of ``row`` had ended: the union of their times.

    Trials whose times are unknown (those that were added by hand without them) take none.
    """
    since = int(history.complete[row])
    begin, end = np.maximum(history.start[row + 1 :], since), history.complete[row + 1 :]
    known = (history.start[row + 1 :] > 0) & (end > begin)
    order = np.argsort(begin[known], kind="stable")
    begin, end = begin[known][order], end[known][order]
    before = np.maximum.accumulate(np.concatenate([[since], end[:-1]])) if len(end) else end
    return float(np.maximum(end - np.maximum(begin, before), 0).sum()) / 1e6


def _checked(name: str, value: float | Sequence[float]) -> FloatArray:
    try:
        found = np.atleast_1d(np.asarray(value, float))
    except (TypeError, ValueError):
        raise InvalidTypeError(f"`{name}` must be a number, or one for each objective, but is {value!r}.") from None
    if found.ndim != 1 or not len(found) or np.isnan(found).any():
        raise InvalidValueError(f"`{name}` must be a number, or one for each objective, but is {value!r}.")
    return found


def _one_each(name: str, value: float | Sequence[float], history: History) -> FloatArray:
    """(objectives,) of a setting that may be one number for all, if there is one objective or it is no target."""
    found, n = _checked(name, value), len(history.directions)
    if len(found) == n:
        return found
    if len(found) == 1 and name == "min_delta":
        return np.repeat(found, n)
    raise InvalidValueError(f"The study has {n} objectives, but `{name}` is {value!r}: give one number for each.")
