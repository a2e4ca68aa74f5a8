"""DEHB: Hyperband whose configurations come from differential evolution, with a population for each length of training.

Awad, N., Mallik, N. and Hutter, F. (2021): DEHB: evolutionary Hyperband for scalable, robust and efficient
hyperparameter optimization. IJCAI, 2147-2153 (arXiv:2105.09821).
Storn, R. and Price, K. (1997): Differential evolution - a simple and efficient heuristic for global optimization over
continuous spaces. J. Global Optimization 11, 341-359.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.curves import STEP
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.streams import stream
from tunesmith.pruners._base import BasePruner, Continue, Idle, Schedule, Start, Stop, Verdict, Wish
from tunesmith.pruners._offspring import SPACE, VECTOR, Parents, configurations, offspring, space_key, vectors
from tunesmith.pruners._rungs import lengths, new_rung
from tunesmith.pruners._rungs_arguments import AUTO, amount, named
from tunesmith.pruners._subpopulations import (
    BRACKET,
    COPIED,
    JOB,
    LEVEL,
    Evaluations,
    Job,
    Plan,
    Rung,
    losers,
    rounds_of_hyperband,
)
from tunesmith.space import FloatArray, Space
from tunesmith.trial._state import TrialState

#: How often an offspring whose configuration is known at its level is made again; and then, how many random ones are
#: tried.
_AGAIN = 4


@dataclass(frozen=True)
class DEHBPruner(BasePruner):
    """Brackets as in Hyperband, and a population of differential evolution for each of their levels.

    With R = ``max_resource`` and eta = ``reduction_factor`` the levels are R, R / eta, R / eta**2, ... down to
    ``min_resource`` (rounded to whole steps if the resource is the step), and the brackets are those of the table at
    :class:`~tunesmith.pruners.hyperband.HyperbandPruner`, one after the other and round again. A level's population has
    as many places as a bracket has trials there at most: 81, 34, 15, 8 and 5 for R = 81 and eta = 3.

    *The first round* is successive halving: who is best on a rung is *continued*. A function, which cannot be, is
    stopped on the rung, and its configuration trained anew for the next. The first rung of all has the configurations
    of the study's sampler.

    *After it nobody is promoted.* What a bracket evaluates at a level are offspring, new trials that are trained from
    their start to that level and end there (PRUNED, with the value that they have by then; COMPLETE at the last level).
    The places of the population are their targets in turn:

        v = x_1 + F (x_2 - x_3)

    has parents from the pool, which is the best of the population at the level below, as many as there are jobs; on the
    first rung of a bracket it is the rest of the level's own population, as it is in the first round, too. A pool of
    less than three is filled at random from all populations. Genes of v that have left the unit cube are drawn anew,
    each gene of v is taken with probability CR, one of them in any case, and the others stay the target's (rand/1/bin).
    The offspring takes the target's place if it is no worse, as soon as it is evaluated. A place that nobody has taken
    yet counts as a random vector which is worse than all.

    *Encoding.* Vectors live in the unit cube, where every parameter has its own scale (logarithms); integers, steps and
    choices are the bins, of equal width, that a gene lies in. The vector itself is kept as a tag. Genes of parameters
    that a trial does not have, because of a condition, are passed on unused, or drawn where they are not known. An
    offspring whose configuration was evaluated at its level before, or is now, is made again, up to four times; then
    (a small or exhausted space) random ones are tried as often. The paper makes no such check.

    *Unknown spaces.* The rule varies the parameters that the study knows by then: all of a declared space. Without one
    it is what trials have asked for so far, and the sampler adds what is new.

    *Many workers.* A rung waits for the one below, and meanwhile the next bracket begins. With one worker the study
    depends on its seed alone. When no more trials may be started, a bracket of the first round that is not full is
    halved as it is.

    The tags ``dehb.bracket`` (it counts on), ``dehb.level``, ``dehb.job``, ``dehb.copied`` and ``dehb.x`` keep what the
    rule must know. Trials of others (enqueued when the rule has its own configuration, added) run to their end and are
    in no population. With several objectives all trials are the sampler's and run to their end.

    The paper's package promotes in the whole first round, too, but begins every evaluation anew. Sizes of brackets are
    rounded up, as in Hyperband; the package rounds them down.

    Args:
        min_resource: of the lowest level.
        max_resource: R, a whole training. ``"auto"``: what the first COMPLETE trial has used (a step more if its steps
            count from 0); until there is one, trials are the sampler's and run to their end.
        reduction_factor: eta, at least 2.
        mutation: F, at most 2.
        recombination: CR.
        resource: ``"step"``, the name of a reported metric, or ``"seconds"``.
        promote_rounds: in so many rounds, from the first on, the best on a rung are continued. None: in all, so that
            only first rungs evolve. The paper retrains after the first round; where going on is free, None is worth
            trying.
    """

    may_stop_best: ClassVar[bool] = True
    min_resource: int | float = 1
    max_resource: int | float | str = AUTO
    reduction_factor: int = 3
    mutation: float = 0.5
    recombination: float = 0.5
    resource: str = STEP
    promote_rounds: int | None = 1

    def __post_init__(self) -> None:
        named(self.resource)
        amount("min_resource", self.min_resource, self.resource, auto=False)
        amount("max_resource", self.max_resource, self.resource)
        whole("reduction_factor", self.reduction_factor, 2)
        if self.promote_rounds is not None:
            whole("promote_rounds", self.promote_rounds, 1)
        number("mutation", self.mutation, 0.0, 2.0)
        number("recombination", self.recombination, 0.0, 1.0)
        if not isinstance(self.max_resource, str) and self.min_resource > self.max_resource:
            raise InvalidValueError(
                f"`min_resource` must be at most `max_resource`, but {self.min_resource} > {self.max_resource}."
            )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        plan = self._plan(history)
        if plan is None or BRACKET not in trial.tags:
            return Verdict.GO
        level = new_rung(trial, plan.levels[:-1], self.resource)
        if level < 0:
            return Verdict.GO
        if not _furthest(trial, self.resource) * history.directions[0] < np.inf:
            return Verdict.STOP
        if level < trial.tags[LEVEL]:
            return Verdict.GO
        return Verdict.PAUSE if trial.tags[BRACKET] < self._promoting(plan) else Verdict.STOP

    def schedule(self, history: History) -> Schedule:
        plan = self._plan(history)
        if plan is None or len(history.directions) > 1:
            return Start()
        return self._wishes(history, Evaluations(history, plan, self.resource, self._promoting(plan)))

    def _plan(self, history: History) -> Plan | None:
        """``None`` while R is not known."""
        if not isinstance(self.max_resource, str):
            most = float(self.max_resource)
        elif (found := lengths(history, self.resource).first) is None:
            return None
        else:
            most = found[1] + (self.resource == STEP and found[0] == 0)
        return rounds_of_hyperband(float(self.min_resource), most, self.reduction_factor, self.resource == STEP)

    def _promoting(self, plan: Plan) -> int:
        """How many brackets have promoted rungs."""
        return sys.maxsize if self.promote_rounds is None else plan.round * self.promote_rounds

    def _wishes(self, history: History, found: Evaluations) -> Iterator[Wish]:
        """What a free worker does next, the oldest bracket first."""
        begun = False
        for rungs in found.live.values():
            for below, rung in itertools.pairwise(rungs):
                ends = (i for i in losers(below, rung) if found.state[i] == TrialState.PAUSED)
                yield from (Stop(int(found.number[i])) for i in ends)
            yield from _on_their_way(found, rungs[-1])
            job = rungs[-1].next
            if job is not None and not begun:
                begun = True  # there is one new trial at a time
                yield self._start(history, found, job, rungs[-1])
        promoting = [bracket for bracket in found.live if bracket < found.promoting]
        for bracket in promoting:  # here no trial may be started any more
            for rung in found.rungs(bracket, filled=False):
                yield from _on_their_way(found, rung)
        if np.isin(found.bracket[found.state == TrialState.RUNNING], promoting).any():
            yield Idle.WAIT

    def _start(self, history: History, found: Evaluations, job: Job, rung: Rung) -> Start:
        """The trial of a job: the sampler's in the first rung of all, a copy in a promoted one, else an offspring."""
        tags: dict[str, Any] = {BRACKET: job.bracket, LEVEL: job.level, JOB: job.job}
        space = _space(tuple(history.distributions.items()))
        if not len(space) or (rung.promoted is None and job.bracket == 0):
            return Start(tags)
        if rung.promoted is None:
            vector = self._offspring(history, space, found, job)
            params = space.to_params(space.decode(vector[None])[0])
        else:
            original = int(rung.promoted[job.job])  # it has finished
            (vector,) = vectors(history, space, np.array([original]))
            params = {name: history.value(name)[original] for name in history.asked(original)}
            tags[COPIED] = int(found.number[original])
        if not np.isnan(vector).any():
            tags |= {VECTOR: vector.tolist(), SPACE: space_key(space)}
        return Start(tags, params)

    def _offspring(self, history: History, space: Space, found: Evaluations, job: Job) -> FloatArray:
        """(d,) the vector of a job whose configuration is not known at its level yet."""
        rng = stream(history.seed, history.n_trials, "dehb")
        known = configurations(history, space, found.known_at(job.level))
        parents = Parents(history, space, found, job)
        for again in range(2 * _AGAIN + 1):
            if again <= _AGAIN:
                child = offspring(*parents.draw(rng), self.mutation, self.recombination, rng)
            else:
                child = rng.random(len(space))
            unit = space.encode(space.decode(child[None]))
            if not (np.isnan(known) | (np.abs(known - unit) < 1e-9)).all(axis=1).any():
                break
        return child


def _on_their_way(found: Evaluations, rung: Rung) -> Iterator[Continue]:
    """Paused trials that have not come to the rung."""
    waiting = (found.state[rung.trials] == TrialState.PAUSED) & np.isnan(found.loss[rung.trials, rung.level])
    yield from map(Continue, found.number[rung.trials[waiting]].tolist())


def _furthest(trial: OpenRow, resource: str) -> float:
    """The value of the report with the largest resource."""
    if resource == STEP:
        return trial.reports[max(trial.reports)]
    used = trial.metrics[resource]
    return trial.reports[
        max((s for s in trial.reports if used.get(s, np.nan) == used.get(s, np.nan)), key=used.__getitem__)
    ]


@lru_cache(16)
def _space(parameters: tuple[tuple[str, BaseDistribution], ...]) -> Space:
    """The one of these parameters, whose codec is then made once."""
    return Space(dict(parameters))
