"""What a live trial holds back."""

from __future__ import annotations

from typing import Any

from tunesmith.distributions import BaseDistribution


class Pending:
    """What a live trial knows and the log does not yet.

    Attributes:
        late: name -> distribution of values drawn after the joint proposal was written.
        reports: ``[step, value]``, or ``[step, value, metric]`` rows; the metric is a name or an objective's index.
        user_attrs: key -> value.
        constraints: key -> value.
        saved: the step of a state that was written.
    """

    __slots__ = ("constraints", "late", "reports", "saved", "user_attrs")

    def __init__(self) -> None:
        self.late: dict[str, BaseDistribution] = {}
        self.reports: list[list[Any]] = []
        self.user_attrs: dict[str, Any] = {}
        self.constraints: dict[str, float] = {}
        self.saved: int | None = None

    def __bool__(self) -> bool:
        changes = self.late or self.reports or self.user_attrs or self.constraints
        return bool(changes) or self.saved is not None

    def after(self, earlier: Pending) -> Pending:
        """Both together, ``earlier`` first."""
        both = Pending()
        both.late = {**earlier.late, **self.late}
        both.reports = [*earlier.reports, *self.reports]
        both.user_attrs = {**earlier.user_attrs, **self.user_attrs}
        both.constraints = {**earlier.constraints, **self.constraints}
        both.saved = earlier.saved if self.saved is None else self.saved
        return both
