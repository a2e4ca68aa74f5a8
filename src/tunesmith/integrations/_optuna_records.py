"""What is read from a file of Optuna, before it becomes events: plain studies and trials."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, distribution_from_dict
from tunesmith.exceptions import LogDamagedError, StorageInternalError
from tunesmith.trial import TrialState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The states of Optuna, which knows no PAUSED.
STATES = tuple(state for state in TrialState if state != TrialState.PAUSED)

#: Distributions of Optuna 2 -> what they are called since version 3 (with the fields that this implies).
_OLD: dict[str, dict[str, Any]] = {
    "UniformDistribution": {"type": "float"},
    "LogUniformDistribution": {"type": "float", "log": True},
    "DiscreteUniformDistribution": {"type": "float"},
    "IntUniformDistribution": {"type": "int"},
    "IntLogUniformDistribution": {"type": "int", "log": True},
}
_NEW = {"FloatDistribution": "float", "IntDistribution": "int", "CategoricalDistribution": "categorical"}


@dataclass(slots=True)
class TheirTrial:
    """One trial.

    Attributes:
        number: as Optuna counts it.
        state: one of :data:`STATES`.
        order: what finished trials are sorted by to find the order in which they finished.
        start, complete: microseconds since 1970 in UTC, or ``None``.
        values: of the objectives, or ``None``.
        params: name -> (distribution, internal representation: a number, of a choice its index).
        reports: step -> value.
    """

    number: int
    state: TrialState
    order: tuple[int, int] = (0, 0)
    start: int | None = None
    complete: int | None = None
    values: list[float] | None = None
    params: dict[str, tuple[BaseDistribution, float]] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, number: int, state: Any, start: Any, complete: Any, *, utc: bool) -> TheirTrial:
        """As it is stored; see :func:`state_of` and :func:`microseconds`."""
        return cls(number, state_of(state), start=microseconds(start, utc), complete=microseconds(complete, utc))

    def set_param(self, name: str, distribution: BaseDistribution, value: Any) -> None:
        """A parameter as Optuna writes it, checked.

        Raises:
            ValueError, TypeError: it is no number, or no index of a choice. A number may be outside of its range:
                Optuna takes what was enqueued.
        """
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"a parameter is {value!r}")
        if isinstance(distribution, CategoricalDistribution) and not 0 <= number < len(distribution.choices):
            raise ValueError(f"there is no choice {value!r}")
        self.params[name] = distribution, number

    def report(self, step: Any, value: Any) -> None:
        """An intermediate value; ValueError for a step that is none."""
        if not 0 <= int(step) < 2**63:
            raise ValueError(f"a report has the step {step!r}")
        self.reports[int(step)] = float(value)


@dataclass(slots=True)
class TheirStudy:
    """One study; ``directions`` are 1 (minimize) or -1, its trials in the order of their numbers."""

    name: str
    directions: list[int]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    trials: list[TheirTrial] = field(default_factory=list)


class Distributions:
    """Distributions from their JSON form in any version of Optuna; equal texts give one object."""

    def __init__(self) -> None:
        self._known: dict[str, BaseDistribution] = {}

    def read(self, text: str) -> BaseDistribution:
        """The distribution behind a text.

        Raises:
            ValueError, TypeError, KeyError: there is none.
        """
        found = self._known.get(text)
        if found is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about ranges and choices that were accepted long ago
                found = self._known[text] = _distribution(json.loads(text))
        return found


def _distribution(fields: Mapping[str, Any]) -> BaseDistribution:
    if "name" not in fields:
        return distribution_from_dict({k: v for k, v in fields.items() if v is not None})
    name, attributes = fields["name"], dict(fields["attributes"])
    if name in _OLD:
        if "q" in attributes:
            attributes["step"] = attributes.pop("q")
        if name == "IntLogUniformDistribution":
            attributes.pop("step", None)  # never had an effect
        return distribution_from_dict({**attributes, **_OLD[name]})
    return distribution_from_dict({**attributes, "type": _NEW[name]})


def state_of(state: Any) -> TrialState:
    """A state by its name or number, checked (ValueError)."""
    for known in STATES:
        if state in (known.name, known.value):
            return known
    raise ValueError(f"there is no state {state!r}")


def microseconds(time: datetime | str | None, utc: bool) -> int | None:
    """Since 1970 in UTC, exactly; ``None`` where there is no time.

    Args:
        time: as it is stored; with a time zone that counts, without one see ``utc``.
        utc: whether naive times are in UTC; else they are local.
    """
    if time is None:
        return None
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC) if utc else time.astimezone(UTC)
    return (time - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def understanding(place: str, what: str, line: int | None = None) -> Iterator[None]:
    """Turn whatever goes wrong with contents that contradict themselves into a :class:`LogDamagedError`.

    Args:
        place: the file, as in "The journal 'optuna.log'".
        what: the part of it that is being read.
        line: its number, from 1, if the file has lines.
    """
    try:
        yield
    except StorageInternalError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise LogDamagedError(
            f"{place} is damaged: {what} cannot be understood ({type(error).__name__}: {str(error)[:200]}). Nothing "
            "was imported. Restore it from a copy, or name the studies that are intact with study_names.",
            line,
        ) from error
