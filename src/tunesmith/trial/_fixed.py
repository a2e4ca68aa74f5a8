"""A trial with given parameters, to run an objective by hand."""

from __future__ import annotations

import datetime
from typing import Any

from tunesmith.distributions import BaseDistribution, check_same_kind
from tunesmith.exceptions import InvalidValueError
from tunesmith.trial._base import BaseTrial, check_constraint, check_report, clean_attr, given_value


class FixedTrial(BaseTrial):
    """Answers every ``suggest_*`` from ``params``: ``objective(FixedTrial({"x": 1.0}))``.

    Args:
        params: name -> value; a name that is asked for and missing is a ``ValueError``.
        number: what ``trial.number`` says.
    """

    def __init__(self, params: dict[str, Any], number: int = 0) -> None:
        self._params = params
        self._number = number
        self._suggested: dict[str, Any] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._user_attrs: dict[str, Any] = {}
        self._constraints: dict[str, float] = {}
        self._start = datetime.datetime.now()

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params:
            raise InvalidValueError(
                f"The parameter {name!r} is not among the fixed ones {sorted(self._params)}; add it."
            )
        if name in self._distributions:
            check_same_kind(name, self._distributions[name], distribution)
        value = self._suggested[name] = given_value(name, self._params[name], distribution)
        self._distributions[name] = distribution
        return value

    def report(self, value: float, step: int) -> None:
        check_report(value, step)

    def should_prune(self) -> bool:
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        self._user_attrs[key] = clean_attr(key, value)

    def set_constraint(self, key: str, value: float) -> None:
        number = check_constraint(key, value, self._constraints)
        if number is not None:
            self._constraints[key] = number

    @property
    def number(self) -> int:
        """The number given."""
        return self._number

    @property
    def params(self) -> dict[str, Any]:
        """What was suggested so far."""
        return dict(self._suggested)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> distribution of what was suggested so far."""
        return dict(self._distributions)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """What :meth:`set_user_attr` kept."""
        return dict(self._user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Always empty: no study runs this trial."""
        return {}

    @property
    def constraints(self) -> dict[str, float]:
        """What :meth:`set_constraint` recorded."""
        return dict(self._constraints)

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """Naive local time at which this object was made."""
        return self._start
