"""Freeze-thaw: a model of learning curves says which paused trial goes on, and when a new one is worth more.

Swersky, K., Snoek, J. and Adams, R. P. (2014): Freeze-thaw Bayesian optimization. arXiv:1406.3896.
Rakotoarison, H. et al. (2024): In-context freeze-thaw Bayesian optimization for hyperparameter optimization. ICML,
arXiv:2404.16795 (a prior of curves instead of a Gaussian process).
Whittle, P. (1980): Multi-armed bandits and the Gittins index. J. R. Stat. Soc. B 42, 143-149 (several workers take the
projects with the largest indices).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tunesmith._arguments import whole
from tunesmith.curves import STEP
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.curve_ensemble import Ensemble
from tunesmith.numerics.gittins import index
from tunesmith.pruners._base import BasePruner, Continue, Schedule, Start, Verdict
from tunesmith.pruners._rungs import Arrivals, arrivals, lengths, new_rung
from tunesmith.pruners._rungs_arguments import AUTO, amount, named
from tunesmith.space import FloatArray
from tunesmith.trial._state import TrialState

#: Levels are half a power of two apart, so that a curve is a dozen numbers.
_FACTOR = 2.0**0.5
#: While it is not known how long a training is, it is taken to have so many levels, or so many more than any had yet.
_LEVELS, _FURTHER = 13, 4
#: The model learns from so many trials, the newest; so many of the paused ones, the best, may go on.
_REMEMBERED, _CANDIDATES = 256, 12
#: Futures of each candidate that are looked at.
_PATHS = 64


@dataclass(frozen=True)
class FreezeThawPruner(BasePruner):
    """Pause every trial at levels that are about a factor of root two apart, and go on with whom it pays most.

    How curves go on is a sample of power laws, exponentials and logarithms, with pauses and early ends, weighted by the
    curves of the study (:mod:`tunesmith.numerics.curve_ensemble`). What a trial is worth is its Gittins index: by how
    much it may improve on the least loss reported so far, for each unit of the resource, if it is given up again where
    it disappoints. A worker continues the paused trial with the largest index, or begins a new configuration if that is
    worth more; several workers take the largest ones. The configuration itself is left to the sampler, and the model
    does not look at it: it works with every sampler and space.

    It is made for budgets of very few whole trainings: on recorded curves it was ahead of ``asha`` at one and two,
    level at five and behind at ten (``docs/stopping.md``). A decision takes some 20 ms.

    No training is ended for its own sake, except the best one: when no more trials may be started, those go on that
    are worth more than a new one would be, and at last the trial with the least loss, to its end. A function, which
    cannot be paused, is stopped at a level unless it is worth more than a new trial, or is the best one there. Trials
    that report NaN or an infinite loss at a level are stopped.

    Args:
        min_resource: of the first level.
        max_resource: of a whole training; no trial is paused there. ``"auto"``: what the longest COMPLETE one used.
        n_startup_trials: nobody goes on before so many trials have come to the first level.
        resource: ``"step"``, the name of a reported metric, or ``"seconds"``.
    """

    aliases: ClassVar = {"freeze-thaw": {}}
    invariant: ClassVar[bool] = True
    min_resource: int | float = 1
    max_resource: int | float | str = AUTO
    n_startup_trials: int = 8
    resource: str = STEP

    def __post_init__(self) -> None:
        named(self.resource)
        amount("min_resource", self.min_resource, self.resource, auto=False)
        amount("max_resource", self.max_resource, self.resource)
        whole("n_startup_trials", self.n_startup_trials, 2)
        if not isinstance(self.max_resource, str) and self.min_resource > self.max_resource:
            raise InvalidValueError(
                f"`min_resource` must be at most `max_resource`, but {self.min_resource} > {self.max_resource}."
            )

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        """GO where the trial would be continued at once, else PAUSE at a level."""
        levels, most = self._levels(history)
        level = new_rung(trial, levels, self.resource)
        if level < 0 or levels[level] >= most:
            return Verdict.GO
        table = arrivals(history, levels, self.resource, trial=trial)
        mine = int(np.flatnonzero(table.number == trial.number)[-1])
        if not np.isfinite(table.loss[mine, level, 0]):
            return Verdict.STOP
        paused = table.state == TrialState.PAUSED
        paused[mine] = True
        better = self._better(table, levels, most, paused)
        if better[:1] == [mine]:
            return Verdict.GO
        leads = table.loss[mine, level, 0] <= np.nanmin(table.loss[:, level, 0])
        return Verdict.GO if leads and table.stopped(np.arange(len(table.number))) else Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        """Paused trials that are worth more than a new one, the best first; then a new one; then the leader."""
        levels, most = self._levels(history)
        table = arrivals(history, levels, self.resource)
        better = self._better(table, levels, most, table.state == TrialState.PAUSED)
        last = [] if better or (table.state == TrialState.RUNNING).any() else _leader(table)
        return [*map(Continue, table.number[better].tolist()), Start(), *map(Continue, table.number[last].tolist())]

    def _levels(self, history: History) -> tuple[tuple[float, ...], float]:
        """Where trials pause, ascending, and how much a whole training is (infinite while that is not known)."""
        if isinstance(self.max_resource, str):
            most = lengths(history, self.resource).longest
        else:
            most = float(self.max_resource)
        return levels_below(float(self.min_resource), most, self.resource == STEP), most

    def _better(self, table: Arrivals, levels: tuple[float, ...], most: float, paused: NDArray[np.bool_]) -> list[int]:
        """Indices of those of the paused trials that are worth more than a new one, the best first.

        Args:
            table: of all trials.
            levels, most: see :meth:`_levels`.
            paused: (m,) who may go on.
        """
        reached, least = table.reached, np.minimum.accumulate(table.loss[:, :, 0], axis=1)  # NaN where it has not come
        stray = paused & ((reached == 0) | (reached >= len(levels)))  # it is not this rule that has paused them
        able = np.flatnonzero(paused & ~stray)
        able = able[np.lexsort((table.number[able], least[able, reached[able] - 1]))][:_CANDIDATES]
        started = np.flatnonzero(reached > 0)
        worth = None
        if len(able) and len(started) >= self.n_startup_trials:
            known = started[np.argsort(table.number[started])][-_REMEMBERED:]
            horizon = levels if most < np.inf else levels[: max(least.shape[1] + _FURTHER, _LEVELS)]
            worth = _worth(least[known], least[able], horizon)
        if worth is None:
            return np.flatnonzero(stray).tolist()
        order = np.argsort(-worth[:-1], kind="stable")
        return [*np.flatnonzero(stray).tolist(), *able[order[worth[order] > worth[-1]]].tolist()]


def _leader(table: Arrivals) -> list[int]:
    """The paused trial with the least loss, if that is below those of all COMPLETE ones: else a study would end
    without having seen the end of its best training."""
    score = np.fmin.reduce(table.loss[:, :, 0], axis=1, initial=np.inf)
    paused = np.flatnonzero(table.state == TrialState.PAUSED)
    if not len(paused):
        return []
    first = paused[np.lexsort((table.number[paused], score[paused]))][:1]
    complete = score[table.state == TrialState.COMPLETE]
    return first.tolist() if not len(complete) or score[first[0]] < complete.min() else []


@lru_cache(64)
def levels_below(lowest: float, most: float, whole_steps: bool) -> tuple[float, ...]:
    """Levels from ``lowest`` on, half a power of two apart, and as the last one ``most``, unless that is infinite.

    Args:
        lowest: positive.
        most: at least ``lowest``; infinite for as many levels as a large integer has.
        whole_steps: whether they are rounded to integers (and those that are equal put together).
    """
    found = [lowest * _FACTOR**k for k in range(126)]
    if whole_steps:
        found = sorted({float(round(level)) for level in found})
    return tuple([level for level in found if level < most] + ([most] if most < np.inf else []))


def _worth(known: FloatArray, able: FloatArray, levels: tuple[float, ...]) -> FloatArray | None:
    """(a + 1,) Gittins indices of ``a`` paused trials, and of a new one, in units of the study's best fall.

    Args:
        known: (n, R) least losses up to each level of the trials to learn from; NaN where one has not come.
        able: (a, R) those of the paused trials, each between its first level and the last one.
        levels: H of them, at least R.

    Returns:
        ``None`` while no trial has fallen below the others.
    """
    flat, unit = _scale(known)
    if unit == 0.0:
        return None
    (seen, count), (mine, reached) = (_falls(rows, flat, unit, len(levels)) for rows in (known, able))
    ensemble = Ensemble.learn(levels, seen, count)
    at, futures = np.array(levels), [(ensemble.paths(ensemble.weight, _PATHS), np.array(levels))]
    for weight, fall, k in zip(ensemble.posterior(mine, reached), mine, reached.tolist(), strict=True):
        paths = ensemble.paths(weight, _PATHS)
        futures.insert(-1, (fall[k - 1] + paths[:, k:] - paths[:, k - 1 : k], at[k:] - at[k - 1]))
    gain, cost = np.empty((len(futures), _PATHS, len(at))), np.empty((len(futures), len(at)))
    for i, (paths, paid) in enumerate(futures):  # the end of a shorter one is repeated, at no cost to speak of
        ahead = len(paid)
        gain[i, :, :ahead], gain[i, :, ahead:] = np.maximum(paths - 1.0, 0.0), np.maximum(paths[:, -1:] - 1.0, 0.0)
        cost[i, :ahead], cost[i, ahead:] = paid, paid[-1] * (1.0 + 1e-9 * np.arange(1, len(at) - ahead + 1))
    return index(gain, cost)


def _scale(least: FloatArray) -> tuple[float, float]:
    """The loss of a training that has learnt nothing yet, and by how much the best one is below it.

    The first is the median at the first level. The second is 0 if no trial is below it, or infinitely far."""
    first = least[:, 0][np.isfinite(least[:, 0])]
    if not len(first):
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        flat = float(np.median(first))
        unit = flat - float(np.nanmin(least))
    return flat, unit if 0.0 < unit < np.inf else 0.0


def _falls(least: FloatArray, flat: float, unit: float, size: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """(n, size) falls in units of the best one, 0 where there is no report; (n,) at how many levels there is one."""
    count = (~np.isnan(least)).sum(axis=1)
    falls = np.zeros((len(least), size))
    with np.errstate(over="ignore"):
        falls[:, : least.shape[1]] = np.nan_to_num(np.maximum((flat - least) / unit, 0.0))
    return falls, count
