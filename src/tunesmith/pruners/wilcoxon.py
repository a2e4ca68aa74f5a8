"""A paired test against the best trial, for objectives that average over instances (folds, seeds, problems).

Wilcoxon, F. (1945): Individual comparisons by ranking methods. Biometrics Bulletin 1(6), 80-83; as a rule, with the
argument names, defaults and cases, Optuna's class of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.space import FloatArray

#: Up to so many differences the test is exact, as in SciPy (which gives ties up only beyond 13).
EXACT = 50


@dataclass(frozen=True)
class WilcoxonPruner(BasePruner):
    """Stop a trial that a signed-rank test finds worse than the best trial on the instances that both have seen.

    The step is the number of an instance, the value what the objective is there; instances may come in any order, best
    in a random one. The mean of a trial's reports should be its result. Only the newest reports are new information:
    the same test again and again finds a difference more often than its level says.

    A trial with a NaN or an infinity among its reports is not judged, nor is any against a best trial with one. A
    trial whose mean is at least as good as that of the best trial is never stopped.

    Args:
        p_threshold: stop below this p-value (one-sided). Larger stops more.
        n_startup_steps: no stopping before so many instances are in common, at least 2.
    """

    invariant: ClassVar[bool] = True
    p_threshold: float = field(default=0.1, kw_only=True)
    n_startup_steps: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        number("p_threshold", self.p_threshold, 0.0, 1.0)
        whole("n_startup_steps", self.n_startup_steps, 0)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        least = max(2, self.n_startup_steps)
        if len(trial.reports) < least or history.best_row is None:
            return Verdict.GO
        steps, losses = _of_row(history, history.best_row)
        own = np.array([trial.reports.get(step, np.nan) for step in steps.tolist()]) * history.directions[0]
        common = np.array([step in trial.reports for step in steps.tolist()], bool)
        all_own = np.array([*trial.reports.values()]) * history.directions[0]
        if np.count_nonzero(common) < least or not (np.isfinite(losses).all() and np.isfinite(all_own).all()):
            return Verdict.GO
        if _mean(all_own) <= _mean(losses):
            return Verdict.GO
        with np.errstate(over="ignore"):  # an infinite difference has the largest rank
            worse = own[common] - losses[common]
        return Verdict.STOP if _p_value(worse) < self.p_threshold else Verdict.GO


def _of_row(history: History, row: int) -> tuple[Any, FloatArray]:
    """Steps and losses of a finished trial."""
    reports = history.reports
    first, last = np.searchsorted(reports.row, [row, row + 1])
    mine = first + np.flatnonzero(reports.metric[first:last] == 0)
    return reports.step[mine], reports.value[mine] * history.directions[0]


def _mean(values: FloatArray) -> float:
    """One that does not overflow."""
    return float(np.sum(values / len(values)))


def _p_value(differences: FloatArray) -> float:
    """One-sided, of the hypothesis that the differences are symmetric around a point that is not above zero.

    Zeros are ranked, and half of their ranks counts on either side. Up to ``EXACT`` differences the distribution of the
    positive ranks' sum is exact, whatever ties there are; above, it is normal, with its variance corrected for ties.

    Args:
        differences: (n,) without NaN.
    """
    n, size = len(differences), np.abs(differences)
    _, group, count = np.unique(size, return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(count) - count + 1)[group]  # twice the average ranks, which are whole then
    positive = int(doubled[differences > 0].sum())
    moving = doubled[size > 0]
    if n <= EXACT:
        chance = np.zeros(int(moving.sum()) + 1)
        chance[0] = 1.0
        for rank in moving.tolist():  # each sign is as probable as the other
            chance[rank:] = 0.5 * (chance[rank:] + chance[: len(chance) - rank])
            chance[:rank] *= 0.5
        return float(chance[positive:].sum())
    ranks = (positive + doubled[size == 0].sum() / 2) / 2
    variance = (n * (n + 1) * (2 * n + 1) - (count**3 - count).sum() / 2) / 24
    from scipy.special import ndtr  # slow to import, so only when it is needed

    return float(ndtr((n * (n + 1) / 4 - ranks) / np.sqrt(variance))) if variance > 0 else 1.0
