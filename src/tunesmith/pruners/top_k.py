"""One epoch for everybody, all of them for the best few.

Egele, R., Guyon, I., Sun, Y. and Balaprakash, P. (2023): Is one epoch all you need for multi-fidelity hyperparameter
optimization? arXiv:2307.15422. A baseline that methods with more rungs have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tunesmith._arguments import whole
from tunesmith.curves import STEP
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Schedule, Verdict
from tunesmith.pruners._rungs_arguments import amount, named
from tunesmith.pruners._rungs_synchronous import Bracket, SynchronousRungs


@dataclass(frozen=True)
class TopKPruner(BasePruner):
    """Pause every trial after ``first``; when ``n_configurations`` have come there, the best ``k`` go on to their end.

    They go on in the order of their losses. Workers that have nothing to continue begin the next
    ``n_configurations``, so nobody waits for a slow trial; when no more may be started, the best of those there are go
    on. A function, which cannot be paused, is stopped unless it is among the best so far, in the same proportion. With
    several objectives the best are those of the first fronts.

    Args:
        k: how many go on; three in the paper.
        n_configurations: how many are compared. ``None``: all of the study, that is its planned number of trials
            (``create_study(budget=...)``) if it has one, or else as many as ``optimize`` may start. With a time limit
            alone give a number: the best would never go on.
        first: what everybody gets.
        resource: what ``first`` is counted in: ``"step"``, the name of a reported metric, or ``"seconds"``.
    """

    aliases: ClassVar = {"top-k": {}, "one-epoch": {}}
    several_objectives: ClassVar[bool] = True
    k: int = 3
    n_configurations: int | None = None
    first: int | float = 1
    resource: str = STEP

    def __post_init__(self) -> None:
        named(self.resource)
        whole("k", self.k, 1)
        amount("first", self.first, self.resource, auto=False)
        if self.n_configurations is not None:
            whole("n_configurations", self.n_configurations, self.k)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return self._rungs(history).verdict(history, trial)

    def schedule(self, history: History) -> Schedule:
        return self._rungs(history).schedule(history)

    def _rungs(self, history: History) -> SynchronousRungs:
        size = self.n_configurations or max(history.budget or np.inf, self.k)
        bracket = Bracket(0, size, 1, top=self.k)
        return SynchronousRungs((float(self.first),), lambda _: bracket, "top_k.round", self.resource)
