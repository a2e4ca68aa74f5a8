"""What rules that wrap other rules have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tunesmith.curves import SECONDS, STEP
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.pruners._base import BasePruner, Schedule, Start


class Wrapper(BasePruner):
    """A rule with others in a field.

    ``_field`` is that field's name. A rule is accepted there as an instance, a short name, or what a log keeps of it.
    """

    _field: ClassVar[str]

    @property
    def inner(self) -> tuple[BasePruner, ...]:
        """The wrapped rules."""
        found = getattr(self, self._field)
        return found if isinstance(found, tuple) else () if found is None else (found,)

    def schedule(self, history: History) -> Schedule:
        """What the wrapped rule wants that schedules at all (there is at most one)."""
        for rule in self.inner:
            if schedules(rule):
                return rule.schedule(history)
        return Start()

    def spec(self) -> dict[str, Any]:
        """With the wrapped rules' own specs; ``args`` is None when one of all has no JSON form."""
        inner = [rule.spec() for rule in self.inner]
        given = getattr(self, self._field)
        found = BasePruner.spec(_without(self, () if isinstance(given, tuple) else None))
        if any(one["args"] is None or "module" in one for one in inner):
            return {**found, "args": None}
        if found["args"] is not None:
            found["args"][self._field] = inner if isinstance(given, tuple) else inner[0] if inner else None
        return found

    @property
    def resource(self) -> str:  # type: ignore[override]
        """``"seconds"`` if a wrapped rule counts in them, so that the loop reports them; else what one of them counts
        in."""
        found = [rule.resource for rule in self.inner if rule.resource != STEP]
        return SECONDS if SECONDS in found else found[0] if found else STEP

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the reported metrics that wrapped rules look at."""
        found = [name for rule in self.inner for name in getattr(rule, "metrics", ())]
        found += [rule.resource for rule in self.inner if rule.resource not in (STEP, SECONDS, self.resource)]
        return tuple(dict.fromkeys(found))

    @property
    def several_objectives(self) -> bool:  # type: ignore[override]
        """Whether all wrapped rules can judge several objectives."""
        return all(rule.several_objectives for rule in self.inner)

    @property
    def needs_states(self) -> bool:  # type: ignore[override]
        """Whether a wrapped rule needs them."""
        return any(rule.needs_states for rule in self.inner)

    @property
    def absolute(self) -> bool:
        """Whether a wrapped rule looks at the values themselves."""
        return any(getattr(rule, "absolute", False) for rule in self.inner)

    @property
    def may_stop_best(self) -> bool:
        """Whether a wrapped rule may stop a trial that is the best of all."""
        return any(getattr(rule, "may_stop_best", False) for rule in self.inner)


def _without(wrapper: Wrapper, empty: Any) -> Wrapper:
    """A copy whose field for wrapped rules is empty, made without checks."""
    other = object.__new__(type(wrapper))
    for field in dataclasses.fields(wrapper):  # type: ignore[arg-type]
        object.__setattr__(other, field.name, getattr(wrapper, field.name))
    object.__setattr__(other, wrapper._field, empty)
    return other


def schedules(rule: BasePruner) -> bool:
    """Whether the rule has something to say about what comes next, rather than "start a new trial"."""
    if isinstance(rule, Wrapper):
        return any(schedules(inner) for inner in rule.inner)
    return type(rule).schedule is not BasePruner.schedule


def resolved(name: str, given: Any) -> BasePruner:
    """An instance from an instance, a short name, or what a log keeps of a rule.

    Args:
        name: of the argument, for the error.
        given: what the user gave.

    Raises:
        InvalidTypeError: none of these.
        InvalidValueError: an unknown name.
    """
    from tunesmith.pruners import from_spec, get_pruner

    if not isinstance(given, (BasePruner, Mapping, str)):
        raise InvalidTypeError(f"`{name}` must be a stopping rule or the name of one, but is {given!r}.")
    return from_spec(given) if isinstance(given, Mapping) else get_pruner(given)


def all_resolved(name: str, given: Any) -> tuple[BasePruner, ...]:
    """As :func:`resolved`, for a list of rules.

    Raises:
        InvalidTypeError, InvalidValueError: as there; and an empty list, or one with two rules that both schedule.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise InvalidTypeError(f"`{name}` must be a list of stopping rules, but is {given!r}.")
    found = tuple(resolved(name, rule) for rule in given)
    if not found:
        raise InvalidValueError(f"`{name}` is empty; give it a rule, or use NopPruner.")
    deciding = [type(rule).__name__ for rule in found if schedules(rule)]
    if len(deciding) > 1:
        raise InvalidValueError(
            f"{' and '.join(deciding)} all decide which trial comes next; put at most one such rule into `{name}`."
        )
    return found
