"""What an objective may ask of a trial, whoever answers."""

from __future__ import annotations

import copy
import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError


class BaseTrial(ABC):
    """The interface shared by :class:`Trial`, :class:`FixedTrial` and :class:`FrozenTrial`."""

    @abstractmethod
    def _suggest(self, name: str, distribution: BaseDistribution) -> Any: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A float in ``[low, high]``; see :class:`~tunesmith.distributions.FloatDistribution` for the arguments."""
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer in ``[low, high]``; see :class:`~tunesmith.distributions.IntDistribution` for the arguments."""
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``; see :class:`~tunesmith.distributions.CategoricalDistribution`."""
        return self._suggest(name, CategoricalDistribution(choices))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Older spelling of :meth:`suggest_float`."""
        _warn_old("suggest_uniform", "suggest_float(name, low, high)")
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Older spelling of :meth:`suggest_float` with ``log=True``."""
        _warn_old("suggest_loguniform", "suggest_float(name, low, high, log=True)")
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Older spelling of :meth:`suggest_float` with a ``step``."""
        _warn_old("suggest_discrete_uniform", "suggest_float(name, low, high, step=q)")
        return self.suggest_float(name, low, high, step=q)

    @abstractmethod
    def report(self, value: float, step: int) -> None:
        """Record the objective's value at a step (an epoch, a fold) so that a stopping rule can judge it."""

    @abstractmethod
    def should_prune(self) -> bool:
        """Whether the stopping rule wants this trial to end now."""

    def save(self, state: Any, step: int | None = None) -> None:  # noqa: B027  # nothing to do is right
        """Keep what the evaluation needs to go on later; only a running trial of a study does."""

    def load(self) -> Any:
        """What was saved in an earlier attempt; None if there is nothing."""
        return None

    @abstractmethod
    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON-able value with the trial."""

    @abstractmethod
    def set_constraint(self, key: str, value: float) -> None:
        """Record a constraint; the trial is feasible when all of its constraints are <= 0."""


def _warn_old(name: str, new: str) -> None:
    warnings.warn(f"`{name}` is deprecated; write {new}.", FutureWarning, stacklevel=3)


def check_name(name: Any) -> None:
    """A parameter name must be a non-empty string."""
    if not isinstance(name, str) or not name:
        raise InvalidTypeError(f"A parameter name must be a non-empty string, but is {name!r}.")


def check_report(value: Any, step: Any) -> tuple[float, int]:
    """The pair as (float, int), or a typed error. NaN and infinities are allowed: they are information."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidTypeError(
            f"`value` of a report must be a float, but is {value!r} ({type(value).__name__})."
        ) from None
    try:
        step = int(step)
    except (TypeError, ValueError, OverflowError):
        raise InvalidTypeError(f"`step` of a report must be an integer, but is {step!r}.") from None
    if not 0 <= step < 2**63:
        raise InvalidValueError(f"`step` of a report must be in [0, 2**63), but is {step}.")
    return number, step


def check_number(value: Any, what: str) -> float:
    """``value`` as a float (NaN allowed), or a typed error that says what it was meant to be."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidTypeError(f"{what} must be a float, but is {value!r} ({type(value).__name__}).") from None


def given_value(name: str, value: Any, distribution: BaseDistribution) -> Any:
    """The value a fixed or finished trial answers with; outside the range it stands, with a warning."""
    distribution.to_internal_repr(value)  # a ValueError for what is no value at all
    if not distribution.contains(value):
        warnings.warn(f"The value {value!r} of {name!r} is outside {distribution!r}; it is used.", stacklevel=4)
    return value


def check_constraint(key: Any, value: Any, known: Mapping[str, float]) -> float | None:
    """``value`` as a float; ``None``, with a warning, when the constraint was set before: the first value stands."""
    if not isinstance(key, str):
        raise InvalidTypeError(f"The key of a constraint must be a string, but is {key!r}.")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidTypeError(
            f"The constraint {key!r} must be a float, but is {value!r} ({type(value).__name__})."
        ) from None
    if math.isnan(number):
        raise InvalidValueError(f"The constraint {key!r} is NaN; a constraint is a number, feasible when it is <= 0.")
    if key in known:
        warnings.warn(f"The constraint {key!r} was set to {known[key]} before; {number} is ignored.", stacklevel=3)
        return None
    return number


def clean_attr(key: Any, value: Any) -> Any:
    """``value`` as it will read back from any storage: tuples as lists, NumPy scalars as Python numbers.

    Raises:
        InvalidTypeError: when the key is no string or the value has no JSON form.
    """
    if not isinstance(key, str):
        raise InvalidTypeError(f"The key of an attribute must be a string, but is {key!r}.")
    if value is None or isinstance(value, (bool, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    try:
        return json.loads(json.dumps(value, default=_numpy_scalar))  # NaN and Infinity survive Python's own JSON
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTypeError(
            f"The attribute {key!r} cannot be stored: {error}. Store numbers, strings, lists and dictionaries; "
            "put anything else in a file and store its path."
        ) from None


def own_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that belongs to the caller, with everything inside it."""
    return {k: copy.deepcopy(v) if isinstance(v, (list, dict)) else v for k, v in attrs.items()}


def _numpy_scalar(value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON-able")


def warn_changed(number: int, name: str, first: BaseDistribution, now: BaseDistribution) -> None:
    """Within one trial the first distribution of a name stands."""
    warnings.warn(
        f"Trial {number} asked for {name!r} before as {first!r}; the value of that first call stands and {now!r} is "
        "ignored. Use another name for another parameter.",
        RuntimeWarning,
        stacklevel=4,
    )
