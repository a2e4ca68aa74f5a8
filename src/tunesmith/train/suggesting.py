"""The values of a space's parameters, from a trial or as given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tunesmith._expressions import Condition
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space


class SuggestingTrial(Protocol):
    """What a problem needs of a trial."""

    @property
    def number(self) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...

    def set_user_attr(self, key: str, value: Any) -> None: ...


def suggest(space: Space, trial: SuggestingTrial) -> dict[str, Any]:
    """Ask a trial for every active parameter; in the order of the space."""
    return _walk(space, lambda name: _suggested(trial, name, space[name]))


def complete(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` in the order of the space.

    Raises:
        InvalidValueError: an active parameter is missing, or one is not active or not in the space.
    """
    if not isinstance(params, Mapping):
        raise InvalidTypeError(f"params must be a mapping name -> value, not {params!r}.")

    def value(name: str) -> Any:
        if name not in params:
            raise InvalidValueError(f"The parameter {name!r} is missing in {dict(params)!r}.")
        return params[name]

    expected = _walk(space, value)
    if unknown := [name for name in params if name not in expected]:
        raise InvalidValueError(f"{unknown} are no active parameters here; active: {list(expected)}.")
    return expected


def _walk(space: Space, value: Callable[[str], Any]) -> dict[str, Any]:
    """Give each active parameter a value, each one after all that its condition reads."""
    reads = {name: Condition(text).names for name, text in space.conditions.items()}
    found: dict[str, Any] = {}
    decided: set[str] = set()
    waiting = list(space)
    while waiting:
        name = next(name for name in waiting if reads.get(name, set()) <= decided)
        waiting.remove(name)
        decided.add(name)
        if name in space.active({**found, name: None}):
            found[name] = value(name)
    return {name: found[name] for name in space if name in found}


def _suggested(trial: SuggestingTrial, name: str, distribution: BaseDistribution) -> Any:
    d = distribution
    if isinstance(d, FloatDistribution):
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(d, IntDistribution):
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(d, CategoricalDistribution):
        return trial.suggest_categorical(name, d.choices)
    raise InvalidTypeError(f"The parameter {name!r} has an unknown distribution {d!r}.")
