"""Asynchronous promotion.

Li, L. et al. (2020): A system for massively parallel hyperparameter tuning. MLSys (algorithm 2).

Of n trials on a rung the best floor(n / eta) may go on. A free worker continues the best of them that is paused there,
on the highest rung that has one, and starts a new configuration if there is none.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.curves import STEP
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import Continue, Schedule, Start, Verdict
from tunesmith.pruners._rungs import Arrivals, arrivals, best, new_rung
from tunesmith.trial._state import TrialState

#: Multiples of the golden ratio's fraction are spread evenly in [0, 1), however many there are.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class AsynchronousRungs:
    """The rungs of one or several brackets. Bracket b begins at rung b; trials compete within their bracket.

    Args:
        levels: resources of the rungs, ascending.
        factor: eta.
        bootstrap: nobody goes on from a rung before more trials than this have come to it.
        promote_first: the best of fewer than ``factor`` trials goes on, too.
        resource: what levels are counted in.
        maximum: a whole training; rungs from there on are no place to pause.
        shares: which part of the trials each bracket gets, if there are several.
        tag: name of the column of brackets; trials without it belong where their number puts them.
    """

    levels: tuple[float, ...]
    factor: int
    bootstrap: int = 0
    promote_first: bool = True
    resource: str = STEP
    maximum: float = np.inf
    shares: tuple[float, ...] = ()
    tag: str = ""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        """GO where the trial may go on at once, PAUSE on a rung where it may not, STOP for NaN and infinite losses."""
        rung = new_rung(trial, self.levels, self.resource)
        if not 0 <= rung < self._top:
            return Verdict.GO
        table = self._table(history, trial)
        mine = int(np.flatnonzero(table.number == trial.number)[-1])
        brackets = self._brackets(table)
        if rung < brackets[mine] or table.reached[mine] <= rung:  # an objective is missing in this report
            return Verdict.GO
        if not (table.loss[mine, rung] < np.inf).all():
            return Verdict.STOP
        return Verdict.GO if mine in self._winners(table, rung, brackets == brackets[mine]) else Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        """Promotions that are due, the highest rung first; then a new trial. When none may be started and no trial is
        complete, the one that has come farthest goes on, so that the study has a result."""
        table = self._table(history)
        paused = table.state == TrialState.PAUSED
        brackets = self._brackets(table)
        wishes: list[int] = []
        for rung in range(table.loss.shape[1] - 1, -1, -1):
            here = paused & (table.reached == rung + 1)
            if not here.any():
                continue
            if rung >= self._top:
                wishes += np.flatnonzero(here).tolist()
                continue
            for bracket in np.unique(brackets[here]):
                winners = self._winners(table, rung, brackets == bracket)
                wishes += winners[here[winners]].tolist()
        last: list[int] = []
        if not wishes and not ((table.state == TrialState.COMPLETE) | (table.state == TrialState.RUNNING)).any():
            last = self._farthest(table, paused)
        return [*map(Continue, table.number[wishes].tolist()), self._start(history),
                *map(Continue, table.number[last].tolist())]  # fmt: skip

    @property
    def _top(self) -> int:
        """How many rungs are places to pause."""
        return bisect_left(self.levels, self.maximum)

    def _table(self, history: History, trial: OpenRow | None = None) -> Arrivals:
        return arrivals(history, self.levels, self.resource, self.tag, trial)

    def _start(self, history: History) -> Start:
        if not self.shares:
            return Start()
        return Start({self.tag: int(self._assigned(np.array([history.n_trials]))[0])})

    def _assigned(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """The brackets of trial numbers, so that any run of them is shared out as it should be."""
        bounds = np.cumsum(self.shares)[:-1] / np.sum(self.shares)
        return np.searchsorted(bounds, number * _GOLDEN % 1.0, side="right")

    def _brackets(self, table: Arrivals) -> NDArray[np.int64]:
        if not self.shares:
            return np.zeros(len(table.number), np.int64)
        return np.where(np.isnan(table.bracket), self._assigned(table.number), table.bracket).astype(np.int64)

    def _winners(self, table: Arrivals, rung: int, among: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Indices of those who may go on from a rung, the best first."""
        there = np.flatnonzero(among & (table.reached > rung))
        size = len(there) // self.factor
        if size == 0 and (self.promote_first or table.stopped(among)):
            size = 1
        if len(there) <= self.bootstrap:
            size = 0
        return there[best(table.loss[there, rung], table.number[there], size)]

    def _farthest(self, table: Arrivals, paused: NDArray[np.bool_]) -> list[int]:
        """Paused trials of the highest rung that has any, the best first."""
        if not paused.any() or not table.reached[paused].max():
            return []
        rung = int(table.reached[paused].max()) - 1
        there = np.flatnonzero(paused & (table.reached == rung + 1))
        return there[best(table.loss[there, rung], table.number[there], len(there))].tolist()
