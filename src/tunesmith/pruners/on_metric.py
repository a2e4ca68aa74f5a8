"""Another rule, applied to a reported metric instead of the objective."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Schedule, Verdict
from tunesmith.pruners._metric_view import OBJECTIVE, metric_index, seen, view
from tunesmith.pruners._wrapped import Wrapper, resolved

_OBJECTIVE = re.compile(r"values_(\d+)")
_SIGNS = {"minimize": 1, "maximize": -1}


@dataclass(frozen=True)
class OnMetricPruner(Wrapper):
    """Apply a rule to a metric that the objective reports, as if that were what the study is about.

    It is also how a study of several objectives is judged, by one of them or, in ``AnyOfPruner``, by each. A report
    without the metric changes nothing.

    Args:
        pruner: the rule, an instance or a short name.
        metric: the metric's name; ``"values_0"`` is the (first) objective, ``"values_1"`` the second.
        direction: ``"minimize"`` or ``"maximize"``; may be left out for an objective, which has one.
    """

    aliases: ClassVar = {"on-metric": {}}
    _field: ClassVar = "pruner"
    pruner: BasePruner | str
    metric: str
    direction: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pruner", resolved("pruner", self.pruner))
        if not isinstance(self.metric, str):
            raise InvalidTypeError(f"`metric` must be the name of a metric, but is {self.metric!r}.")
        if self.direction is None and not _OBJECTIVE.fullmatch(self.metric):
            raise InvalidValueError(
                f"Say with `direction` whether {self.metric!r} is to be minimized or maximized ('minimize' or "
                "'maximize'); only an objective ('values_0', 'values_1') has a direction of its own."
            )
        if self.direction is not None and self.direction not in _SIGNS:
            raise InvalidValueError(f"`direction` must be 'minimize' or 'maximize', but is {self.direction!r}.")

    @property
    def several_objectives(self) -> bool:  # type: ignore[override]
        """The rule sees one number."""
        return True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric, and what the rule looks at beside it."""
        return tuple(dict.fromkeys([*([] if self.metric == OBJECTIVE else [self.metric]), *super().metrics]))

    @property
    def invariant(self) -> bool:
        """As the rule; a metric does not change when the objective does."""
        return self.metric != OBJECTIVE or all(getattr(rule, "invariant", False) for rule in self.inner)

    @property
    def absolute(self) -> bool:
        """As the rule, on the objective."""
        return self.metric == OBJECTIVE and super().absolute

    @property
    def may_stop_best(self) -> bool:
        """What is best by the objective may be poor by the metric."""
        return self.metric != OBJECTIVE or super().may_stop_best

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        own = seen(trial, self.metric)
        if not own.reports or max(own.reports) < max(trial.reports, default=0):
            return Verdict.GO  # nothing new
        return self.inner[0].verdict(self._view(history), own)

    def schedule(self, history: History) -> Schedule:
        return self.inner[0].schedule(self._view(history))

    def _view(self, history: History) -> History:
        """
        Raises:
            InvalidValueError: the metric is an objective that the study does not have.
        """
        if self.direction is not None:
            return view(history, self.metric, _SIGNS[self.direction])
        index = metric_index(history, self.metric)
        if not 0 <= index < len(history.directions):
            raise InvalidValueError(
                f"{self.metric!r} is no objective of this study, which has {len(history.directions)}; if it is another "
                "metric, say with `direction` whether it is to be minimized or maximized."
            )
        return view(history, self.metric, history.directions[index])
