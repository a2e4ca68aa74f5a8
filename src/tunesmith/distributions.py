"""What one hyperparameter may be: a float, an integer, or one of several choices.

Names, arguments and the JSON form are Optuna's. ``Float``, ``Int`` and ``Categorical`` are short aliases.
Distributions are immutable values: equal when all their fields are equal (for choices: also of equal types).
"""

from __future__ import annotations

import decimal
import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from tunesmith._choices import OpaqueChoice, choice_from_json, choice_key, choice_to_json, clean_choice
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

__all__ = [
    "BaseDistribution", "Categorical", "CategoricalChoiceType", "CategoricalDistribution", "Float", "FloatDistribution",
    "Int", "IntDistribution", "OpaqueChoice", "check_distribution_compatibility", "check_same_kind", "choice_from_json",
    "choice_key", "choice_to_json", "distribution_from_dict", "distribution_to_dict", "distribution_to_json",
    "json_to_distribution",
]  # fmt: skip

CategoricalChoiceType = None | bool | int | float | str | tuple

#: A value is on the grid of a step when it is this close to a whole number of steps (relative to one step).
_STEP_TOLERANCE = 1.0e-8

#: Enough digits for the widest range of floats divided by the smallest step.
_DECIMAL = decimal.Context(prec=700)


def _real(value: Any, name: str) -> float:
    """``value`` as a finite float, or a typed error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"`{name}` must be a real number, but is {value!r} ({type(value).__name__}).")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidValueError(f"`{name}` = {value!r} is too large for a float; use a smaller bound.") from None
    if not math.isfinite(number):
        raise InvalidValueError(f"`{name}` must be finite, but is {number}.")
    return number


def _integer(value: Any, name: str) -> int:
    """``value`` as an int; integral floats such as 8.0 are understood, 1.5 is an error."""
    number = _real(value, name)
    if isinstance(value, Integral):
        return int(value)
    if number != int(number):
        raise InvalidValueError(f"`{name}` of an integer parameter must be a whole number, but is {value!r}.")
    return int(number)


def _adjusted_high(low: Any, high: Any, step: Any) -> Any:
    """The largest value ``low + k * step <= high``, in exact arithmetic; warns when it is not ``high``."""
    if isinstance(high, int):
        adjusted = low + (high - low) // step * step
    elif math.isfinite(k := (high - low) / step) and abs(k - round(k)) < _STEP_TOLERANCE:
        return high  # on the grid as far as floats can tell; so cutting again cuts nothing
    else:
        with decimal.localcontext(_DECIMAL):
            d_low, d_high, d_step = (decimal.Decimal(str(v)) for v in (low, high, step))
            adjusted = high if (d_high - d_low) % d_step == 0 else float((d_high - d_low) // d_step * d_step + d_low)
    if adjusted == high:
        return high
    warnings.warn(
        f"The range [{low}, {high}] is not divisible by step {step}; the upper end becomes {adjusted}.",
        stacklevel=4,
    )
    return adjusted


class BaseDistribution(ABC):
    """The set of values of one hyperparameter and the scale on which it is searched."""

    kind: ClassVar[str]
    __slots__ = ("_hash",)
    _hash: int

    @abstractmethod
    def single(self) -> bool:
        """Whether the set holds exactly one value."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether ``value`` (as the user sees it) belongs to the set."""

    @abstractmethod
    def to_internal_repr(self, value: Any) -> float:
        """The number that stands for ``value`` in a History column (for a choice: its index)."""

    @abstractmethod
    def to_external_repr(self, value: float) -> Any:
        """The user's value for a number of a History column."""

    @abstractmethod
    def _asdict(self) -> dict[str, Any]: ...

    def _contains(self, value: float) -> bool:  # Optuna's spelling, on the internal representation
        return self.contains(self.to_external_repr(value))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new one to change `{name}`.")

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", hash((type(self).__name__, *self._identity())))

    def _identity(self) -> tuple[Any, ...]:
        """Equal for equal distributions."""
        return tuple(self._asdict().values())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._asdict())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, BaseDistribution):
            return NotImplemented
        return type(self) is type(other) and self._asdict() == other._asdict()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"


def _rebuild(cls: type[BaseDistribution], fields: dict[str, Any]) -> BaseDistribution:
    return cls(**fields)


class FloatDistribution(BaseDistribution):
    """A real number in ``[low, high]``, both ends included.

    Args:
        low: lower end, finite.
        high: upper end, finite, not below ``low``.
        log: search on a logarithmic scale (needs ``low > 0``, excludes ``step``).
        step: distance between neighbouring values, or ``None`` for a continuum.

    Raises:
        InvalidValueError: (a ``ValueError``) for an impossible range; InvalidTypeError for non-numbers.
    """

    kind = "float"
    __slots__ = ("high", "log", "low", "step")
    low: float
    high: float
    log: bool
    step: float | None

    def __init__(self, low: float, high: float, log: bool = False, step: float | None = None) -> None:
        low, high = _real(low, "low"), _real(high, "high")
        if low > high:
            raise InvalidValueError(f"`low <= high` must hold, but low={low} and high={high}. Swap them?")
        if log and step is not None:
            raise InvalidValueError(f"`step` ({step}) cannot be combined with log=True; drop one of them.")
        if log and low <= 0.0:
            raise InvalidValueError(f"log=True needs `low > 0`, but low={low}; use a small positive number.")
        if step is not None:
            step = _real(step, "step")
            if step <= 0:
                raise InvalidValueError(f"`step > 0` must hold, but step={step}.")
            high = _adjusted_high(low, high, step)
        self._set(low=low, high=high, log=bool(log), step=step)

    def single(self) -> bool:
        return self.low == self.high

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        if not self.low <= value <= self.high:  # type: ignore[operator]  # also an int too large for a float
            return False
        if self.step is None:
            return True
        k = (float(value) - self.low) / self.step
        return abs(k - round(k)) < _STEP_TOLERANCE

    def to_internal_repr(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidValueError(f"{value!r} cannot be read as a float.") from None
        if not math.isfinite(number) or (self.log and number <= 0.0):
            raise InvalidValueError(f"{value!r} is not a value of {self!r}.")
        return number

    def to_external_repr(self, value: float) -> float:
        return float(value)

    def _asdict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


class IntDistribution(BaseDistribution):
    """A whole number in ``[low, high]``, both ends included.

    Args:
        low: smallest value.
        high: largest value, not below ``low``.
        log: search on a logarithmic scale (needs ``low >= 1``, excludes ``step != 1``).
        step: distance between neighbouring values.
    """

    kind = "int"
    __slots__ = ("high", "log", "low", "step")
    low: int
    high: int
    log: bool
    step: int

    def __init__(self, low: int, high: int, log: bool = False, step: int = 1) -> None:
        low, high, step = _integer(low, "low"), _integer(high, "high"), _integer(step, "step")
        if low > high:
            raise InvalidValueError(f"`low <= high` must hold, but low={low} and high={high}. Swap them?")
        if step <= 0:
            raise InvalidValueError(f"`step > 0` must hold, but step={step}.")
        if log and step != 1:
            raise InvalidValueError(f"`step` ({step}) cannot be combined with log=True; drop one of them.")
        if log and low < 1:
            raise InvalidValueError(f"log=True needs `low >= 1`, but low={low}.")
        self._set(low=low, high=_adjusted_high(low, high, step), log=bool(log), step=step)

    def single(self) -> bool:
        return self.low == self.high

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or value != value:
            return False
        number: Any = value  # int or float; an int stays exact
        return bool(self.low <= number <= self.high and (number - self.low) % self.step == 0)

    def to_internal_repr(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidValueError(f"{value!r} cannot be read as an integer.") from None
        if not math.isfinite(number) or (self.log and number <= 0.0):
            raise InvalidValueError(f"{value!r} is not a value of {self!r}.")
        return number

    def to_external_repr(self, value: float) -> int:
        return int(value)

    def _asdict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


class CategoricalDistribution(BaseDistribution):
    """One of several choices, without order.

    Args:
        choices: at least one of None, bool, int, float, str or (nested) sequences of these; lists become tuples.
            Other objects work within the process and are kept in the log by name only (with a warning).
    """

    kind = "categorical"
    __slots__ = ("_index", "_keys", "choices")
    choices: tuple[Any, ...]
    _index: dict[tuple[Any, ...], int]
    _keys: tuple[tuple[Any, ...], ...]

    def __init__(self, choices: Sequence[Any]) -> None:
        if isinstance(choices, (str, bytes)) or not hasattr(choices, "__iter__"):
            raise InvalidTypeError(f"`choices` must be a sequence of values, but is {choices!r}.")
        cleaned = tuple(clean_choice(c) for c in choices)
        if not cleaned:
            raise InvalidValueError("`choices` must hold at least one value, but is empty.")
        keys = tuple(choice_key(c) for c in cleaned)
        index: dict[tuple[Any, ...], int] = {}
        for i, key in enumerate(keys):
            first = cleaned[index.setdefault(key, i)]
            if first is not cleaned[i] and _has_object(key) and not _equal(first, cleaned[i]):
                raise InvalidValueError(
                    f"Two different choices would have the same name in the log, {choice_to_json(first)!r}. Use "
                    "strings as choices, and a dictionary from them to the objects."
                )
        object.__setattr__(self, "_keys", keys)
        self._set(choices=cleaned, _index=index)

    def single(self) -> bool:
        return len(self.choices) == 1

    def contains(self, value: Any) -> bool:
        return self._find(value) is not None

    def _find(self, value: Any) -> int | None:
        if isinstance(value, list):
            value = clean_choice(value)
        found = self._index.get(choice_key(value))
        if found is not None:
            return found
        for i, choice in enumerate(self.choices):  # 1 finds 1.0, as Python's == would
            if _equal(choice, value):
                return i
        return None

    def to_internal_repr(self, value: Any) -> float:
        found = self._find(value)
        if found is None:
            raise InvalidValueError(f"{value!r} is not among the choices {self.choices!r}.")
        return found

    def to_external_repr(self, value: float) -> Any:
        return self.choices[int(value)]

    def _asdict(self) -> dict[str, Any]:
        return {"choices": self.choices}

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, CategoricalDistribution) and self._keys == other._keys)

    __hash__ = BaseDistribution.__hash__

    def _identity(self) -> tuple[Any, ...]:
        return self._keys


def _equal(a: Any, b: Any) -> bool:
    """``a == b``; an exotic object's ``==`` must not break a look-up."""
    try:
        return bool(a == b)
    except Exception:
        return False


def _has_object(key: tuple[Any, ...]) -> bool:
    """Whether the value behind a choice's key is, or holds, something kept by its name only."""
    return key[0] == "object" or (key[0] == "tuple" and any(_has_object(k) for k in key[1:]))


Float = FloatDistribution
Int = IntDistribution
Categorical = CategoricalDistribution
_CLASSES: tuple[type[BaseDistribution], ...] = (FloatDistribution, IntDistribution, CategoricalDistribution)


def distribution_to_dict(distribution: BaseDistribution) -> dict[str, Any]:
    """The short readable form used in logs, YAML files and spaces: ``{"type": "float", "low": ..., ...}``."""
    if isinstance(distribution, CategoricalDistribution):
        return {"type": "categorical", "choices": [choice_to_json(c) for c in distribution.choices]}
    fields = {k: v for k, v in distribution._asdict().items() if v is not None and v is not False}
    if fields.get("step") == 1 and distribution.kind == "int":
        del fields["step"]
    return {"type": distribution.kind, **fields}


def distribution_from_dict(fields: Mapping[str, Any]) -> BaseDistribution:
    """Inverse of :func:`distribution_to_dict`.

    Raises:
        InvalidValueError: for an unknown type or key, with the known ones.
    """
    if not isinstance(fields, Mapping):
        raise InvalidTypeError(
            f"A parameter is described by a mapping such as {{type: float, low: 0, high: 1}}, not by {fields!r}."
        )
    allowed = {"float": _CLASSES[0], "int": _CLASSES[1], "categorical": _CLASSES[2]}
    kind = fields.get("type", "categorical" if "choices" in fields else None)
    if not isinstance(kind, str) or kind not in allowed:
        raise InvalidValueError(f"Unknown parameter type {kind!r}; known: {', '.join(allowed)}.")
    known = {"choices"} if kind == "categorical" else {"low", "high", "log", "step"}
    required = known - {"log", "step"}
    rest = {k: v for k, v in fields.items() if k != "type"}
    if unknown := sorted(map(str, set(rest) - known)):
        raise InvalidValueError(f"Unknown keys {unknown} for a {kind} parameter; known: {sorted(known)}.")
    if missing := sorted(required - set(rest)):
        raise InvalidValueError(f"A {kind} parameter needs {missing}, but got only {sorted(rest)}.")
    if kind == "categorical":
        choices = rest["choices"]
        rest["choices"] = [choice_from_json(c) for c in choices] if isinstance(choices, list) else choices
    return allowed[kind](**rest)


def distribution_to_json(dist: BaseDistribution) -> str:
    """Optuna's JSON form: ``{"name": "FloatDistribution", "attributes": {...}}``."""
    attributes = dist._asdict()
    if isinstance(dist, CategoricalDistribution):
        attributes = {"choices": [choice_to_json(c) for c in dist.choices]}
    return json.dumps({"name": type(dist).__name__, "attributes": attributes})


def json_to_distribution(json_str: str) -> BaseDistribution:
    """Read a distribution in Optuna's JSON form or in the short form ``{"type": "float", ...}``."""
    try:
        fields = json.loads(json_str)
    except ValueError as error:
        raise InvalidValueError(f"The distribution {json_str!r} is not JSON: {error}.") from error
    if not isinstance(fields, dict) or "name" not in fields:
        return distribution_from_dict(fields)
    for cls in _CLASSES:
        if cls.__name__ == fields["name"]:
            return distribution_from_dict({"type": cls.kind, **fields.get("attributes", {})})
    raise InvalidValueError(f"Unknown distribution class {fields['name']!r}; known: {[c.__name__ for c in _CLASSES]}.")


def _article(distribution: BaseDistribution) -> str:
    return f"{'an' if distribution.kind == 'int' else 'a'} {distribution.kind}"


def check_same_kind(name: str, known: BaseDistribution, new: BaseDistribution) -> None:
    """Ranges and choices may change between trials; the kind of a parameter may not.

    Raises:
        InvalidValueError: when ``name`` was another kind of parameter before.
    """
    if known.kind != new.kind:
        raise InvalidValueError(
            f"The parameter {name!r} is {_article(known)} in this study ({known!r}) and cannot become {_article(new)} "
            f"({new!r}); use another name, or another study."
        )


def check_distribution_compatibility(dist_old: BaseDistribution, dist_new: BaseDistribution) -> None:
    """Raise ``ValueError`` when the two are of different kinds (changed ranges and choices are allowed here)."""
    check_same_kind("?", dist_old, dist_new)
