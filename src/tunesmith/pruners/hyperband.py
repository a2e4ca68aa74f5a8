"""Hyperband: successive halving with several trade-offs between many trials and long ones.

Li, L., Jamieson, K., DeSalvo, G., Rostamizadeh, A. and Talwalkar, A. (2018): Hyperband: a novel bandit-based approach
to hyperparameter optimization. JMLR 18(185), 1-52 (algorithm 1).
Li, L. et al. (2020): A system for massively parallel hyperparameter tuning. MLSys (sec. 3.2: brackets side by side).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from tunesmith._arguments import whole
from tunesmith.curves import STEP
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Schedule, Start, Verdict
from tunesmith.pruners._rungs import lengths
from tunesmith.pruners._rungs_arguments import AUTO, amount, flag, named
from tunesmith.pruners._rungs_asynchronous import AsynchronousRungs
from tunesmith.pruners._rungs_synchronous import Bracket, SynchronousRungs

_TAG = "hyperband.bracket"


@dataclass(frozen=True)
class HyperbandPruner(BasePruner):
    """Brackets of successive halving, from the most daring (many trials, a short first rung) to plain random search.

    With R = ``max_resource`` and eta = ``reduction_factor`` there are s_max + 1 brackets, s_max = floor(log_eta(R /
    ``min_resource``)). Bracket s has n_s = ceil((s_max + 1) / (s + 1) * eta**s) trials and its rungs are at R *
    eta**-s, ..., R / eta (rounded to whole steps if the resource is the step). With R = 81 and eta = 3:

    ======  =====================================
    s       trials x epochs
    ======  =====================================
    4       81 x 1, 27 x 3, 9 x 9, 3 x 27, 1 x 81
    3       34 x 3, 11 x 9, 3 x 27, 1 x 81
    2       15 x 9, 5 x 27, 1 x 81
    1       8 x 27, 2 x 81
    0       5 x 81
    ======  =====================================

    By default all brackets run side by side: each new trial is put into one of them, so that every stretch of trials is
    shared out in proportion to the n_s, and they go on as :class:`SuccessiveHalvingPruner` tells. With
    ``synchronous=True`` the brackets are those of the table, one after the other, from s_max to 0 and round again. It
    is meant for generators, whose survivors continue; functions are stopped and judged among those who came before.

    The tag ``hyperband.bracket`` says where a trial is: in the order of the table, from 0; with ``synchronous`` it
    counts on after the last row.

    Args:
        min_resource: the least that a trial gets before it is judged.
        max_resource: R, a whole training. ``"auto"``: what the first COMPLETE trial has used (a step more if its steps
            count from 0); until there is one, trials run to their end and belong to no bracket.
        reduction_factor: eta, at least 2.
        bootstrap_count: nobody goes on from a rung before more trials than this have come to it.
        resource: ``"step"``, the name of a reported metric, or ``"seconds"``.
        synchronous: exactly the brackets of the paper.
        promote_first: see :class:`SuccessiveHalvingPruner`.
    """

    several_objectives: ClassVar[bool] = True
    min_resource: int | float = 1
    max_resource: int | float | str = AUTO
    reduction_factor: int = 3
    bootstrap_count: int = 0
    resource: str = STEP
    synchronous: bool = False
    promote_first: bool = True

    def __post_init__(self) -> None:
        named(self.resource)
        amount("min_resource", self.min_resource, self.resource, auto=False)
        amount("max_resource", self.max_resource, self.resource)
        whole("reduction_factor", self.reduction_factor, 2)
        whole("bootstrap_count", self.bootstrap_count, 0)
        flag("synchronous", self.synchronous)
        flag("promote_first", self.promote_first)
        if isinstance(self.max_resource, str):
            if self.bootstrap_count:
                raise InvalidValueError(
                    f"`bootstrap_count` is {self.bootstrap_count}, but `max_resource` is 'auto'; give a number for it."
                )
        elif self.min_resource > self.max_resource:
            raise InvalidValueError(
                f"`min_resource` must be at most `max_resource`, but {self.min_resource} > {self.max_resource}."
            )
        if self.synchronous and self.bootstrap_count:
            raise InvalidValueError(
                f"`bootstrap_count` is {self.bootstrap_count}, but synchronous rungs wait for all of their trials; "
                "leave it out."
            )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        rungs = self._rungs(history)
        return Verdict.GO if rungs is None else rungs.verdict(history, trial)

    def schedule(self, history: History) -> Schedule:
        rungs = self._rungs(history)
        return Start() if rungs is None else rungs.schedule(history)

    def _rungs(self, history: History) -> AsynchronousRungs | SynchronousRungs | None:
        """``None`` while R is not known."""
        if not isinstance(self.max_resource, str):
            most = float(self.max_resource)
        elif (found := lengths(history, self.resource).first) is None:
            return None
        else:
            most = found[1] + (self.resource == STEP and found[0] == 0)
        levels, brackets = _brackets(float(self.min_resource), most, self.reduction_factor, self.resource == STEP)
        if self.synchronous:
            return SynchronousRungs(levels, lambda i: brackets[i % len(brackets)], _TAG, self.resource)
        return AsynchronousRungs(
            levels, self.reduction_factor, self.bootstrap_count, self.promote_first, self.resource,
            shares=tuple([bracket.size for bracket in brackets]), tag=_TAG,
        )  # fmt: skip


@lru_cache(64)
def _brackets(low: float, high: float, factor: int, whole_steps: bool) -> tuple[tuple[float, ...], tuple[Bracket, ...]]:
    """Levels of the rungs, ascending, and the brackets from s_max to 0."""
    s_max = 0
    while high / factor ** (s_max + 1) >= low:
        s_max += 1
    levels = [high / factor**s for s in range(s_max, 0, -1)]
    if whole_steps:
        levels = [float(max(1, round(level))) for level in levels]
    sizes = [math.ceil((s_max + 1) * factor**s / (s + 1)) for s in range(s_max, -1, -1)]
    return tuple(levels), tuple([Bracket(i, size, s_max - i, factor) for i, size in enumerate(sizes)])
