"""Successive halving: many trials get a little, the best part of them more, and so on.

Jamieson, K. and Talwalkar, A. (2016): Non-stochastic best arm identification and hyperparameter optimization. AISTATS
(the synchronous rule).
Li, L. et al. (2020): A system for massively parallel hyperparameter tuning. MLSys (ASHA, the asynchronous one).
Schmucker, R. et al. (2021): Multi-objective asynchronous successive halving. arXiv:2106.12639.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunesmith._arguments import whole
from tunesmith.curves import STEP
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Schedule, Start, Verdict
from tunesmith.pruners._rungs import geometric, lengths
from tunesmith.pruners._rungs_arguments import AUTO, amount, flag, named
from tunesmith.pruners._rungs_asynchronous import AsynchronousRungs
from tunesmith.pruners._rungs_synchronous import Bracket, SynchronousRungs


@dataclass(frozen=True)
class SuccessiveHalvingPruner(BasePruner):
    """Asynchronous successive halving (ASHA).

    The rungs are at ``min_resource * reduction_factor**(min_early_stopping_rate + k)``, k = 0, 1, ... A generator is
    paused on a rung and goes on when it belongs to the best ``1 / reduction_factor`` of all trials that have come
    there; a free worker prefers that to starting a new configuration. A function is stopped on a rung unless it
    belongs to them at that moment (Optuna's behaviour). Of equal trials the earlier one is better. Trials that report
    NaN or an infinite loss on a rung are stopped. With several objectives the best are those of the first fronts.

    Args:
        min_resource: of the lowest rung. ``"auto"``: a hundredth of what the first COMPLETE trial has used, at least
            one step; until there is one, trials run to their end.
        reduction_factor: eta, at least 2.
        min_early_stopping_rate: s; the lowest rungs that are left out.
        bootstrap_count: nobody goes on from a rung before more trials than this have come to it.
        resource: ``"step"``, the name of a reported metric, or ``"seconds"``.
        max_resource: of a whole training; no trial is paused there. ``"auto"``: what the longest COMPLETE one used.
        promote_first: whether the best of fewer than ``reduction_factor`` trials on a rung goes on, as in Optuna, or
            waits until there are so many, as in the paper. When no more trials may be started and none has come to
            its end, the one that has come farthest does.

    ``pruner="halving"`` has these defaults, ``"asha"`` the paper's: the lowest rung at 1, and ``promote_first=False``.
    """

    aliases: ClassVar = {"halving": {}, "asha": {"min_resource": 1, "promote_first": False}}
    several_objectives: ClassVar[bool] = True
    min_resource: int | float | str = AUTO
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0
    resource: str = STEP
    max_resource: int | float | str = AUTO
    promote_first: bool = True

    def __post_init__(self) -> None:
        named(self.resource)
        amount("min_resource", self.min_resource, self.resource)
        amount("max_resource", self.max_resource, self.resource)
        whole("reduction_factor", self.reduction_factor, 2)
        whole("min_early_stopping_rate", self.min_early_stopping_rate, 0)
        whole("bootstrap_count", self.bootstrap_count, 0)
        flag("promote_first", self.promote_first)
        if self.bootstrap_count and self.min_resource == AUTO:
            raise InvalidValueError(
                f"`bootstrap_count` is {self.bootstrap_count}, but `min_resource` is 'auto'; give a number for it."
            )
        if not isinstance(self.min_resource, str) and not isinstance(self.max_resource, str):
            lowest = self.min_resource * self.reduction_factor**self.min_early_stopping_rate
            if lowest > self.max_resource:
                raise InvalidValueError(
                    f"The lowest rung, `min_resource * reduction_factor**min_early_stopping_rate` = {lowest}, is above "
                    f"`max_resource` = {self.max_resource}."
                )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        rungs = self._rungs(history)
        return Verdict.GO if rungs is None else rungs.verdict(history, trial)

    def schedule(self, history: History) -> Schedule:
        rungs = self._rungs(history)
        return Start() if rungs is None else rungs.schedule(history)

    def _rungs(self, history: History) -> AsynchronousRungs | None:
        """``None`` while nothing is known of the resource."""
        known = lengths(history, self.resource)
        if not isinstance(self.min_resource, str):
            lowest = float(self.min_resource)
        elif known.first is None:
            return None
        else:
            lowest = max(known.first[1] // 100, 1.0) if self.resource == STEP else known.first[1] / 100
        levels = geometric(lowest * self.reduction_factor**self.min_early_stopping_rate, self.reduction_factor)
        most = known.longest if isinstance(self.max_resource, str) else float(self.max_resource)
        return AsynchronousRungs(
            levels, self.reduction_factor, self.bootstrap_count, self.promote_first, self.resource, most
        )


@dataclass(frozen=True)
class SynchronousHalvingPruner(BasePruner):
    """Successive halving in brackets of ``n_configurations``: on each rung all are evaluated before the best continue.

    From rung i, at ``min_resource * reduction_factor**i``, the best ``n_configurations // reduction_factor**(i + 1)``
    go on, at least one. There are rungs below ``max_resource`` while more than one trial is left; who is left then runs
    to the end. When a bracket has no work for a worker, the next one begins; when no more trials may be started, one
    that is not full is halved as it is. A rung waits for running trials only; one that has failed is worse than all
    others. It is meant for generators, whose survivors continue; functions are stopped and judged among those who came
    before. The tag ``halving.bracket`` counts the brackets.

    Args:
        n_configurations: n, how many trials a bracket begins with.
        min_resource: r, of the lowest rung.
        max_resource: R, a whole training, if rungs end before one trial is left.
        reduction_factor: eta, at least 2.
        resource: ``"step"``, the name of a reported metric, or ``"seconds"``.
    """

    aliases: ClassVar = {"sha": {}, "synchronous-halving": {}}
    several_objectives: ClassVar[bool] = True
    n_configurations: int = 27
    min_resource: int | float = 1
    max_resource: int | float | None = None
    reduction_factor: int = 3
    resource: str = STEP

    def __post_init__(self) -> None:
        named(self.resource)
        whole("n_configurations", self.n_configurations, 1)
        amount("min_resource", self.min_resource, self.resource, auto=False)
        whole("reduction_factor", self.reduction_factor, 2)
        if self.max_resource is not None:
            amount("max_resource", self.max_resource, self.resource, auto=False)
            if self.min_resource > self.max_resource:
                raise InvalidValueError(
                    f"`min_resource` must be at most `max_resource`, but {self.min_resource} > {self.max_resource}."
                )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return self._rungs().verdict(history, trial)

    def schedule(self, history: History) -> Schedule:
        return self._rungs().schedule(history)

    def _rungs(self) -> SynchronousRungs:
        last = self.min_resource * self.n_configurations  # a rung at n * r or beyond would have one trial
        levels = geometric(self.min_resource, self.reduction_factor, min(last, self.max_resource or last))
        bracket = Bracket(0, self.n_configurations, len(levels), self.reduction_factor)
        return SynchronousRungs(levels, lambda _: bracket, "halving.bracket", self.resource)
