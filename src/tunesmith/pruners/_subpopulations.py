"""The evaluations of DEHB's brackets, and the population of differential evolution that each level of the resource has.

A bracket has rungs, and a rung has so many *jobs*, numbered from 0: each is the evaluation of a configuration at the
rung's level, and competes for one of the *places* of that level's population. Rungs are of two kinds:

- *evolved*: each job is a trial of its own, trained from its start.
- *promoted*: job k continues the k-th best trial of the rung below. Where that trial cannot be continued (a function
  that was stopped on the rung, a generator that was given up), the job is another trial with its configuration, a
  *copy*.

The first rung of a bracket is evolved; of the others all are promoted up to some bracket, and evolved from then on. All
is read from the tags below and from the reports. Indices of trials count the rows of the history and
then its open trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.history import History
from tunesmith.pruners._rungs import arrivals, best
from tunesmith.trial._state import TrialState

Indices = NDArray[np.int64]

#: Tags: the bracket, the level that the trial was begun for, and its job there, all from 0; of a copy, the number of
#: the original.
BRACKET, LEVEL, JOB, COPIED = "dehb.bracket", "dehb.level", "dehb.job", "dehb.copied"
NONE = -1
#: No more levels, and no more jobs in a rung, than this. Nobody comes to the end of such a bracket.
_MOST_LEVELS, _MOST_JOBS = 40, 2**40


class Entries(NamedTuple):
    """Evaluations: indices of their trials, their levels, and the places that they compete for; all (k,)."""

    trial: Indices
    level: Indices
    place: Indices


class Job(NamedTuple):
    """Where an evaluation belongs; the fields are whole numbers from 0."""

    bracket: int
    level: int
    job: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The brackets of a round of Hyperband, which come again and again in the same order.

    Args:
        levels: resources, ascending; the last is a whole training.
        sizes: (brackets of a round, levels) how many jobs each bracket has at each level; 0 below its first.
        factor: eta.
    """

    levels: tuple[float, ...]
    sizes: Indices
    factor: int

    @property
    def round(self) -> int:
        """How many brackets a round has."""
        return len(self.sizes)

    @cached_property
    def places(self) -> Indices:
        """(levels,) sizes of the populations: the most jobs that a bracket has there."""
        return self.sizes.max(axis=0)

    def first(self, bracket: int) -> int:
        """The level of a bracket's first rung."""
        return bracket % self.round

    def size(self, bracket: int, level: int) -> int:
        """How many jobs a bracket has at a level."""
        return int(self.sizes[bracket % self.round, level])

    def place(self, bracket: Indices, level: Indices, job: Indices) -> Indices:
        """Which places of their populations jobs compete for: one after the other, over and over."""
        rounds, within = np.divmod(bracket, self.round)
        before = np.cumsum(self.sizes, axis=0) - self.sizes
        return (rounds * self.sizes.sum(axis=0)[level] + before[within, level] + job) % self.places[level]


@lru_cache(64)
def rounds_of_hyperband(low: float, high: float, factor: int, whole_steps: bool) -> Plan:
    """The brackets of Li et al. (2018, algorithm 1), from that with the lowest first rung on.

    Args:
        low, high: the least resource and that of a whole training.
        factor: eta.
        whole_steps: whether levels are rounded.
    """
    s_max = 0
    while s_max < _MOST_LEVELS and high / float(factor) ** (s_max + 1) >= low:
        s_max += 1
    levels = [high / factor**s for s in range(s_max, -1, -1)]
    if whole_steps:
        levels = [float(max(1, round(level))) for level in levels]
    sizes = np.zeros((s_max + 1, s_max + 1), np.int64)
    for first in range(s_max + 1):
        s = s_max - first
        n = -(-(s_max + 1) * factor**s // (s + 1))  # rounded up
        sizes[first, first:] = [min(n // factor**i, _MOST_JOBS) for i in range(s + 1)]
    return Plan(tuple(levels), sizes, factor)


@dataclass(frozen=True, eq=False)
class Rung:
    """The jobs of a bracket at a level.

    Attributes:
        bracket, level: which.
        jobs: (k,) those that have begun, ascending.
        trials: (k,) indices of their trials.
        size: how many there will be.
        promoted: (size,) indices of the trials that the jobs continue; None in an evolved rung.
        over: whether all jobs have ended.
    """

    bracket: int
    level: int
    jobs: Indices
    trials: Indices
    size: int
    promoted: Indices | None
    over: bool

    @property
    def next(self) -> Job | None:
        """The first job that has not begun."""
        if len(self.jobs) >= self.size:
            return None
        gaps = np.flatnonzero(self.jobs != np.arange(len(self.jobs)))
        return Job(self.bracket, self.level, int(gaps[0]) if len(gaps) else len(self.jobs))


class Evaluations:
    """What became of all jobs so far.

    Args:
        history: the study, with one objective.
        plan: the brackets.
        resource: what levels are counted in.
        promoting: so many brackets, from the first on, have promoted rungs.
        closed: without the open trials.

    Attributes:
        number, state: (m,) of all trials.
        bracket: (m,) where they belong; ``NONE`` for trials of others.
        loss: (m, levels) infinite for NaN reports, NaN where a trial has not come to a level. A trial that has ended
            by itself has its last loss at the levels above.
    """

    def __init__(self, history: History, plan: Plan, resource: str, promoting: int, *, closed: bool = False) -> None:
        self.plan, self.promoting = plan, promoting
        self._history, self._resource = history, resource
        table, n = arrivals(history, plan.levels, resource, BRACKET), history.n if closed else None
        self.number, self.state = table.number[:n], table.state[:n]
        self.loss = np.full((len(self.number), len(plan.levels)), np.nan)
        self.loss[:, : table.loss.shape[1]] = table.loss[:n, :, 0]
        whole = np.flatnonzero(history.is_complete)
        self.loss[whole] = np.where(np.isnan(self.loss[whole]), history.loss[whole], self.loss[whole])
        self._left_at = np.where(table.fresh & (table.state == TrialState.PRUNED), table.reached - 1, NONE)[:n]
        self._finished = np.isin(self.state, (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        self.bracket, self._level, self._job, self._copied = (
            _whole_tag(history, name)[:n] for name in (BRACKET, LEVEL, JOB, COPIED)
        )
        self._forget_unknown()

    def _forget_unknown(self) -> None:
        """Jobs that the plan does not have, because the rule's arguments were others, are those of trials of others."""
        level = np.clip(self._level, 0, len(self.plan.levels) - 1)
        sizes = self.plan.sizes[self.bracket % self.plan.round, level]
        known = (self._level == level) & (self._job >= 0) & (self._job < sizes)
        self.bracket = np.where(known, self.bracket, NONE)

    # -- brackets -----------------------------------------------------------------------------------------------

    @cached_property
    def over(self) -> dict[int, Entries]:
        """The evaluations of brackets that are over, as far as all of their trials have finished."""
        arguments = self.plan, self._resource, self.promoting
        key = ("dehb", self.plan.levels, self.plan.factor, self._resource, self.promoting)
        with self._history.memo(key, lambda: _Over(*arguments)) as memo:
            return dict(memo.brackets)

    @cached_property
    def live(self) -> dict[int, list[Rung]]:
        """The rungs of the other brackets, the oldest first; the last of them has not begun."""
        beyond = int(self.bracket.max(initial=NONE)) + 1
        return {bracket: self.rungs(bracket) for bracket in range(beyond + 1) if bracket not in self.over}

    def is_over(self, rungs: list[Rung]) -> bool:
        """Whether a bracket with these rungs is."""
        return rungs[-1].over and rungs[-1].level == len(self.plan.levels) - 1

    def rungs(self, bracket: int, *, filled: bool = True) -> list[Rung]:
        """The rungs of a bracket from the first to the one that has jobs to begin or to end.

        Args:
            bracket: which.
            filled: whether its first rung will be filled; else the jobs that have begun are all, and the rungs above
                are so much smaller.
        """
        mine, first = np.flatnonzero(self.bracket == bracket), self.plan.first(bracket)
        found: list[Rung] = []
        for level in range(first, len(self.plan.levels)):
            here = mine[self._level[mine] == level]
            size = self.plan.size(bracket, level)
            if found and not filled:
                size = max(1, found[0].size // self.plan.factor ** (level - first))
            elif not filled:
                size = len(here)
            if found and bracket < self.promoting:
                rung = self._promoted(found[-1], here, size)
            else:
                here = here[np.argsort(self._job[here], kind="stable")]
                rung = self._rung(bracket, level, self._job[here], here, size)
            found.append(rung)
            if not rung.over:
                break
        return found

    def _promoted(self, below: Rung, here: Indices, size: int) -> Rung:
        """The rung above; ``here`` are the trials that were begun for it, which are copies."""
        chosen = best(self.loss[below.trials, below.level, None], self.number[below.trials], size)
        originals = below.trials[chosen]
        copies = dict(zip(self._copied[here].tolist(), here.tolist(), strict=True))
        copied = np.array([copies.get(number, NONE) for number in self.number[originals].tolist()], np.int64)
        trials = np.where(self._left_at[originals] == below.level, copied, originals)
        jobs = np.flatnonzero(trials != NONE)
        return self._rung(below.bracket, below.level + 1, jobs, trials[jobs], len(originals), originals)

    def _rung(
        self, bracket: int, level: int, jobs: Indices, trials: Indices, size: int, promoted: Indices | None = None
    ) -> Rung:
        ended = self._finished[trials] | ~np.isnan(self.loss[trials, level])
        return Rung(bracket, level, jobs, trials, size, promoted, len(trials) >= size and bool(ended.all()))

    # -- populations --------------------------------------------------------------------------------------------

    def entries(self, rungs: list[Rung]) -> Entries:
        """The evaluations of a bracket."""
        trial, job = np.concatenate([r.trials for r in rungs]), np.concatenate([r.jobs for r in rungs])
        level = np.repeat([r.level for r in rungs], [len(r.jobs) for r in rungs])
        return Entries(trial, level, self.plan.place(np.full_like(job, rungs[0].bracket), level, job))

    @cached_property
    def _ranked(self) -> Entries:
        """All evaluations with a finite loss, the best first; of equals the one with the largest number."""
        parts = [*self.over.values(), *(self.entries(rungs) for rungs in self.live.values())]
        trial, level, place = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        loss = self.loss[trial, level]
        order = np.lexsort((-self.number[trial], loss))
        order = order[loss[order] < np.inf]
        return Entries(trial[order], level[order], place[order])

    def holders(self, level: int) -> tuple[Indices, Indices]:
        """Places that are held, and the indices of the trials that hold them, the best first.

        A trial takes a place at once if it is no worse than the one that holds it. So the holder is the best of all
        that were made for the place, and of equals the last, in whatever order they have ended.
        """
        here = np.flatnonzero(self._ranked.level == level)
        _, firsts = np.unique(self._ranked.place[here], return_index=True)
        chosen = here[np.sort(firsts)]
        return self._ranked.place[chosen], self._ranked.trial[chosen]

    def known_at(self, level: int) -> Indices:
        """Indices of the trials that have come to a level or were begun for it."""
        begun = (self.bracket != NONE) & (self._level == level)
        return np.flatnonzero(begun | ~np.isnan(self.loss[:, level]))


class _Over:
    """Memo: brackets that are over, by the finished trials alone."""

    def __init__(self, plan: Plan, resource: str, promoting: int) -> None:
        self._arguments = plan, resource, promoting
        self.n = 0
        self.brackets: dict[int, Entries] = {}

    def extend(self, history: History) -> None:
        found = Evaluations(history, *self._arguments, closed=True)
        for bracket in np.unique(found.bracket[self.n :]).tolist():
            rungs = found.rungs(bracket) if bracket != NONE else []
            if rungs and found.is_over(rungs):
                self.brackets[bracket] = found.entries(rungs)
            else:
                self.brackets.pop(bracket, None)
        self.n = history.n


def _whole_tag(history: History, name: str) -> Indices:
    """(m,) a tag of all trials; ``NONE`` where there is none."""
    values = np.append(history.tag(name), [trial.tags.get(name, np.nan) for trial in history.open])
    return np.where(np.isnan(values), NONE, values).astype(np.int64)


def losers(below: Rung, rung: Rung) -> Iterator[int]:
    """Indices of the trials that do not go on from the rung below."""
    if rung.promoted is not None:
        yield from np.setdiff1d(below.trials, rung.promoted).tolist()
