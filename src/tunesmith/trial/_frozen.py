"""The record of one trial."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.distributions import BaseDistribution, check_same_kind
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.trial._base import (
    BaseTrial,
    check_constraint,
    check_name,
    check_number,
    check_report,
    clean_attr,
    given_value,
)
from tunesmith.trial._state import TrialState


class FrozenTrial(BaseTrial):
    """A trial as it was recorded: plain data that belongs to the caller (changing it changes no study).

    Attributes:
        number: its number in the study, from 0.
        state: a :class:`TrialState`.
        value: the objective value (single objective), or ``None``.
        values: the objective values, or ``None``.
        datetime_start: naive local time of the (first) claim, or ``None`` while it waits.
        datetime_complete: naive local time of its end, or ``None``.
        params: name -> value.
        distributions: name -> distribution.
        user_attrs: attributes set by the user.
        system_attrs: attributes set by the library (tags of the sampler under ``"tags"``, ``"attempt"`` when > 1).
        intermediate_values: step -> reported value of the objective.
        metrics: metric name -> step -> value, for what was reported beside the objective.
        constraints: name -> value; feasible when all are <= 0.
    """

    def __init__(
        self,
        number: int,
        state: TrialState,
        value: float | None,
        datetime_start: datetime.datetime | None,
        datetime_complete: datetime.datetime | None,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        user_attrs: dict[str, Any],
        system_attrs: dict[str, Any],
        intermediate_values: dict[int, float],
        trial_id: int,
        *,
        values: Sequence[float] | None = None,
        constraints: dict[str, float] | None = None,
        metrics: dict[str, dict[int, float]] | None = None,
    ) -> None:
        if value is not None and values is not None:
            raise InvalidValueError("Give either `value` or `values`, not both.")
        self.number = number
        self.state = state
        self.values: list[float] | None = [value] if value is not None else None if values is None else list(values)
        self.datetime_start = datetime_start
        self.datetime_complete = datetime_complete
        self.params = params
        self.distributions = distributions
        self.user_attrs = user_attrs
        self.system_attrs = system_attrs
        self.intermediate_values = intermediate_values
        self.constraints = constraints or {}
        self.metrics = metrics or {}
        self._trial_id = trial_id

    @property
    def value(self) -> float | None:
        """The objective value, ``None`` when there is none; ``RuntimeError`` for several objectives."""
        if self.values is None:
            return None
        if len(self.values) > 1:
            raise RuntimeError("This trial has several objective values; use `values`.")
        return self.values[0]

    @value.setter
    def value(self, value: float | None) -> None:
        self.values = None if value is None else [value]

    @property
    def duration(self) -> datetime.timedelta | None:
        """From claim to end, or ``None`` when either is unknown."""
        if self.datetime_start is None or self.datetime_complete is None:
            return None
        return self.datetime_complete - self.datetime_start

    @property
    def last_step(self) -> int | None:
        """The largest reported step, or ``None``."""
        return max(self.intermediate_values, default=None)

    # -- an objective can be run on a record too ----------------------------------------------------------------

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        check_name(name)
        if name not in self.params:
            raise InvalidValueError(f"The parameter {name!r} is not among those of this trial: {sorted(self.params)}.")
        value = given_value(name, self.params[name], distribution)
        check_same_kind(name, self.distributions.setdefault(name, distribution), distribution)
        return value

    def report(self, value: float, step: int) -> None:
        """Checked and ignored: a record does not change."""
        check_report(value, step)

    def should_prune(self) -> bool:
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        self.user_attrs[key] = clean_attr(key, value)

    def set_constraint(self, key: str, value: float) -> None:
        number = check_constraint(key, value, self.constraints)
        if number is not None:
            self.constraints[key] = number

    # -- a value ------------------------------------------------------------------------------------------------

    def _key(self) -> dict[str, Any]:
        return {k: v for k, v in self._fields().items() if k != "trial_id"}

    def _fields(self) -> dict[str, Any]:
        return {
            "number": self.number, "state": self.state, "values": self.values, "datetime_start": self.datetime_start,
            "datetime_complete": self.datetime_complete, "params": self.params, "distributions": self.distributions,
            "user_attrs": self.user_attrs, "system_attrs": self.system_attrs,
            "intermediate_values": self.intermediate_values, "constraints": self.constraints, "metrics": self.metrics,
            "trial_id": self._trial_id,
        }  # fmt: skip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenTrial):
            return NotImplemented
        return _same(self._key(), other._key())

    def __lt__(self, other: object) -> bool:
        return self.number < other.number if isinstance(other, FrozenTrial) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.number <= other.number if isinstance(other, FrozenTrial) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.number, self.state, self._trial_id))

    def __repr__(self) -> str:
        return f"FrozenTrial({', '.join(f'{k}={v!r}' for k, v in self._fields().items())})"

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return FrozenTrial(value=None, **copy.deepcopy(self._fields(), memo))

    def validate(self) -> None:
        """Check that the record is consistent.

        Raises:
            InvalidTypeError, InvalidValueError: with the first contradiction found.
        """
        for what in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values", "constraints"):
            if not isinstance(getattr(self, what), Mapping):
                raise InvalidTypeError(f"`{what}` must be a dictionary, but is {getattr(self, what)!r}.")
        if texts := [v for v in self.values or () if isinstance(v, (str, bytes))]:
            raise InvalidTypeError(f"A value must be a float, but is the text {texts[0]!r}.")
        if self.state != TrialState.WAITING and self.datetime_start is None:
            raise InvalidValueError("`datetime_start` is needed for a trial that is not WAITING.")
        if self.state.is_finished() and self.datetime_complete is None:
            raise InvalidValueError("`datetime_complete` is needed for a finished trial.")
        if not self.state.is_finished() and self.datetime_complete is not None:
            raise InvalidValueError(f"`datetime_complete` must be None for a {self.state.name} trial.")
        if self.state == TrialState.FAIL and self.values is not None:
            raise InvalidValueError(f"A FAIL trial has no values, but `values` is {self.values}.")
        if self.state == TrialState.COMPLETE:
            if self.values is None:
                raise InvalidValueError("A COMPLETE trial needs `value` or `values`.")
            if any(math.isnan(check_number(v, "A value")) for v in self.values):
                raise InvalidValueError(f"The values of a COMPLETE trial must not be NaN, but are {self.values}.")
        if set(self.params) != set(self.distributions):
            raise InvalidValueError(
                f"`params` {sorted(self.params)} and `distributions` {sorted(self.distributions)} must name the same."
            )
        for name, value in self.params.items():
            if not self.distributions[name].contains(value):
                raise InvalidValueError(f"The value {value!r} of {name!r} is not in {self.distributions[name]!r}.")

    _validate = validate


def _same(a: Any, b: Any) -> bool:
    """Deep equality in which NaN equals NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def create_trial(
    *,
    state: TrialState = TrialState.COMPLETE,
    value: float | None = None,
    values: Sequence[float] | None = None,
    params: dict[str, Any] | None = None,
    distributions: dict[str, BaseDistribution] | None = None,
    user_attrs: dict[str, Any] | None = None,
    system_attrs: dict[str, Any] | None = None,
    intermediate_values: dict[int, float] | None = None,
    constraints: dict[str, float] | None = None,
) -> FrozenTrial:
    """Make a record by hand, to hand it to ``study.add_trial``.

    Raises:
        InvalidTypeError: ``state`` is no :class:`TrialState`.
        InvalidValueError: the record contradicts itself (see :meth:`FrozenTrial.validate`).
    """
    if not isinstance(state, TrialState):
        raise InvalidTypeError(f"`state` must be a TrialState, but is {state!r}.")
    now = datetime.datetime.now()
    trial = FrozenTrial(
        number=-1,
        state=state,
        value=value,
        values=values,
        datetime_start=None if state == TrialState.WAITING else now,
        datetime_complete=now if state.is_finished() else None,
        params=params or {},
        distributions=distributions or {},
        user_attrs=user_attrs or {},
        system_attrs=system_attrs or {},
        intermediate_values=intermediate_values or {},
        trial_id=-1,
    )
    for key, bound in (constraints or {}).items():
        trial.set_constraint(key, bound)
    trial.validate()
    return trial
