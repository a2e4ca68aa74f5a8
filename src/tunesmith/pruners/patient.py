"""The patience rule: as long as a trial improves, nothing stops it.

Argument names, defaults and the cases are those of Optuna's class of the same name; on its own it is early stopping
(Prechelt, L. 1998: Early stopping - but when? Neural Networks: Tricks of the Trade, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunesmith._arguments import number, whole
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.pruners._wrapped import Wrapper, resolved


@dataclass(frozen=True)
class PatientPruner(Wrapper):
    """Let another rule stop or pause a trial only when the trial has stopped to improve.

    It has when the best of its last ``patience + 1`` reports is worse than its best report before them by more than
    ``min_delta``. NaN does not count; while all reports on one of the two sides are NaN, the trial goes on.

    Args:
        wrapped_pruner: the other rule, an instance or a short name; ``None`` stops a trial at once.
        patience: how many reports may follow the best one before the rule is asked.
        min_delta: how much worse the newer reports must be.
    """

    _field: ClassVar = "wrapped_pruner"
    wrapped_pruner: BasePruner | str | None
    patience: int
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.wrapped_pruner is not None:
            object.__setattr__(self, "wrapped_pruner", resolved("wrapped_pruner", self.wrapped_pruner))
        whole("patience", self.patience, 0)
        number("min_delta", self.min_delta, 0.0)

    @property
    def several_objectives(self) -> bool:  # type: ignore[override]
        """What improves must be one number."""
        return False

    @property
    def invariant(self) -> bool:
        """As the wrapped rule, if any worsening counts."""
        return self.min_delta == 0.0 and all(getattr(rule, "invariant", False) for rule in self.inner)

    @property
    def may_stop_best(self) -> bool:
        """On its own it looks at nobody else."""
        return not self.inner or super().may_stop_best

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if self._improves(history.directions[0], trial):
            return Verdict.GO
        return next((rule.verdict(history, trial) for rule in self.inner), Verdict.STOP)

    def _improves(self, sign: int, trial: OpenRow) -> bool:
        reports = sorted(trial.reports.items())
        cut = len(reports) - self.patience - 1
        if cut <= 0:
            return True
        before, after = ([v * sign for _, v in part if v == v] for part in (reports[:cut], reports[cut:]))
        return not before or not after or not min(before) + self.min_delta < min(after)
