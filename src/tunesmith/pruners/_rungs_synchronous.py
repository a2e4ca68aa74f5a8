"""Synchronous brackets: a rung is judged when all of its trials have come to it (Jamieson and Talwalkar 2016; Li 2018).

A bracket begins with a number of trials. Those who are best on a rung *continue* from it; the others stay paused. A
rung waits for running trials only: one that has failed, or has ended before it, is worse than all that came. A worker
for whom no bracket has work begins the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.curves import STEP
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import Continue, Idle, Schedule, Start, Verdict
from tunesmith.pruners._rungs import Arrivals, arrivals, best, new_rung
from tunesmith.trial._state import TrialState


@dataclass(frozen=True)
class Bracket:
    """How a bracket goes.

    Attributes:
        lowest: its first rung, as an index into all levels.
        size: how many trials begin.
        rungs: on how many they are judged.
        factor: from rung i the best ``size // factor**(i + 1)`` continue, at least one.
        top: so many continue from its only rung instead.
    """

    lowest: int
    size: float
    rungs: int
    factor: int = 0
    top: int = 0

    def kept(self, members: int, rung: int) -> int:
        """How many of so many members continue from a rung (the bracket's first is 0)."""
        return self.top or max(1, members // self.factor ** (rung + 1))

    def kept_at_once(self, there: int) -> int:
        """How many of those who have come to a rung so far would continue, if nobody could wait."""
        if not self.top:
            return max(1, there // self.factor)
        return self.top if np.isinf(self.size) else max(1, int(self.top * there // self.size))


@dataclass(frozen=True)
class SynchronousRungs:
    """One bracket after the other.

    Args:
        levels: resources of the rungs, ascending.
        plan: the i-th bracket.
        tag: the column that says in which bracket a trial is. Trials without it run to their end.
        resource: what levels are counted in.
    """

    levels: tuple[float, ...]
    plan: Callable[[int], Bracket]
    tag: str
    resource: str = STEP

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        """PAUSE on a rung, unless this report was the last that the rung waited for and the trial is to continue; STOP
        for NaN and infinite losses. Functions, which would end there, go on if they are among the best so far."""
        rung = new_rung(trial, self.levels, self.resource)
        if rung < 0 or self.tag not in trial.tags:
            return Verdict.GO
        table = self._table(history, trial)
        mine = int(np.flatnonzero(table.number == trial.number)[-1])
        bracket = self.plan(int(table.bracket[mine]))
        stage = rung - bracket.lowest
        if not 0 <= stage < bracket.rungs or table.reached[mine] <= rung:  # an objective is missing in this report
            return Verdict.GO
        if not (table.loss[mine, rung] < np.inf).all():
            return Verdict.STOP
        members = np.flatnonzero(table.bracket == table.bracket[mine])
        if table.stopped(members):
            there = members[table.reached[members] > rung]
            return Verdict.GO if mine in _best(table, there, rung, bracket.kept_at_once(len(there))) else Verdict.PAUSE
        groups = _groups(table, members, bracket) if len(members) >= bracket.size else [members]
        return Verdict.GO if len(groups) > stage + 1 and mine in groups[stage + 1] else Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        """Who is to continue, the oldest bracket and the best trial first; a new trial; and when none may be started,
        those who are to continue from brackets that will not be filled."""
        table = self._table(history)
        due: list[int] = []
        late: list[int] = []
        inside = np.flatnonzero(~np.isnan(table.bracket))
        of, state = table.bracket[inside].astype(np.int64), table.state[inside]
        brackets = [self.plan(i) for i in range(of.max() + 1 if len(of) else 0)]
        counts = np.bincount(of, minlength=len(brackets))
        for i in np.flatnonzero((counts > 0) & ~self._over(table, inside, brackets, counts)).tolist():
            found = _due(table, inside[of == i], brackets[i])
            (due if counts[i] >= brackets[i].size else late).extend(found)
        first_open = (i for i, bracket in enumerate(brackets) if counts[i] < bracket.size)
        wait = [Idle.WAIT] if (state == TrialState.RUNNING).any() else []
        return [*map(Continue, table.number[due].tolist()), Start({self.tag: next(first_open, len(brackets))}),
                *map(Continue, table.number[late].tolist()), *wait]  # fmt: skip

    def _table(self, history: History, trial: OpenRow | None = None) -> Arrivals:
        return arrivals(history, self.levels, self.resource, self.tag, trial)

    def _over(
        self, table: Arrivals, inside: NDArray[np.int64], brackets: list[Bracket], counts: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which brackets have certainly nobody to continue: none is paused, or as many as may have ended beyond the
        last rung, and nobody runs."""
        of, state = table.bracket[inside].astype(np.int64), table.state[inside]
        paused, running = state == TrialState.PAUSED, state == TrialState.RUNNING
        closed = ~paused & ~running & (state != TrialState.WAITING)
        beyond = closed & (~table.fresh[inside] | (state == TrialState.COMPLETE))
        beyond &= table.reached[inside] >= np.array([bracket.lowest + bracket.rungs for bracket in brackets])[of]
        many = np.array([b.kept(n, b.rungs - 1) for b, n in zip(brackets, counts.tolist(), strict=True)])
        none_runs = np.bincount(of[running], minlength=len(brackets)) == 0
        enough = np.bincount(of[beyond], minlength=len(brackets)) >= many
        return (np.bincount(of[paused], minlength=len(brackets)) == 0) | (none_runs & enough)


def _best(table: Arrivals, there: NDArray[np.int64], rung: int, size: int) -> NDArray[np.int64]:
    if len(there) == 0:  # perhaps nobody at all has come so far
        return there
    return there[best(table.loss[there, rung], table.number[there], size)]


def _groups(table: Arrivals, members: NDArray[np.int64], bracket: Bracket) -> list[NDArray[np.int64]]:
    """The members, and those of them who continue from each rung that nobody has still to come to."""
    groups = [members]
    for stage in range(bracket.rungs):
        rung, group = bracket.lowest + stage, groups[-1]
        here = table.reached[group] > rung
        state = table.state[group]
        to_come = ((state == TrialState.RUNNING) | (state == TrialState.PAUSED)) & ~here
        if to_come.any():
            break
        groups.append(_best(table, group[here], rung, bracket.kept(len(members), stage)))
    return groups


def _due(table: Arrivals, members: NDArray[np.int64], bracket: Bracket) -> list[int]:
    """Those of the last group who are paused below its rung, the best first."""
    groups = _groups(table, members, bracket)
    group = groups[-1]
    paused = table.state[group] == TrialState.PAUSED
    if len(groups) <= bracket.rungs:
        paused &= table.reached[group] <= bracket.lowest + len(groups) - 1
    return group[paused].tolist()
