"""From what a user says about a search space to a space, and a value for everything that is not searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from tunesmith._expressions import Condition
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import hyperparameters, spaces
from tunesmith.train.dataset import AbsentData, Dataset, check_dataset_name
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.model_families import Family, build_model, family_of, find_model

#: Parameters of a space that choose what is trained, and how long, instead of how.
AXES = ("data", "model", "seed", "epochs")


class FrozenMapping(Mapping[str, Any]):
    """A mapping that cannot be changed, can be pickled, and shows itself as a dict."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return repr(self._entries)


def resolve(
    data: str | Dataset, model: str | Family, space: Space | str | Mapping[str, Any] | None, fixed: Mapping[str, Any]
) -> tuple[Space, FrozenMapping]:
    """The space to search, and the values of everything else.

    Args:
        data: the data set or its name, unless it is an axis of the space.
        model: the model family or its name, unless it is an axis of the space.
        space: a :class:`Space`, one in its JSON-able form, None for nothing to search, or ``"small"``, ``"medium"``,
            ``"all"`` for the ready spaces of the training loop and of the family together.
        fixed: hyperparameter -> value. A ready space leaves these out.

    Returns:
        The space; and ``fixed`` completed with the defaults of the loop, as far as they are used, and, when the model
        is no axis, of the family.

    Raises:
        InvalidTypeError, InvalidValueError: unknown names (the message lists the known ones), values that are not
            allowed, a hyperparameter that is both fixed and searched, or one that would have no effect.
    """
    if not isinstance(fixed, Mapping):
        raise InvalidTypeError(f"fixed must be a mapping hyperparameter -> value, not {fixed!r}.")
    if not isinstance(data, Dataset):
        check_dataset_name(data)
    _check_values(fixed)
    if isinstance(space, str):
        found = without(_ready(family_of(model), space, fixed.get("optimizer")), fixed)
    else:
        found = space if isinstance(space, Space) else Space.from_dict(space or {})
        if both := sorted(set(found) & set(fixed)):
            raise InvalidValueError(f"{both} are both fixed and parameters of the space; decide for one.")
    families = _check_axes(found, model, isinstance(data, AbsentData))
    _check_names(found, fixed, families)
    for name, distribution in found.items():
        if name in hyperparameters.NAMES:
            _check_range(name, distribution)
    if len(families) == 1:
        _check_architecture(Space() if isinstance(space, str) else found, fixed, families[0])
    decided = _decided(found, fixed)
    for name in (*found, *fixed):
        if reason := hyperparameters.unused(name, decided):
            raise InvalidValueError(f"{reason[0].upper()}{reason[1:]}. Leave it out.")
    return found, FrozenMapping(_completed(found, fixed, families, decided))


def _check_values(fixed: Mapping[str, Any]) -> None:
    for name, value in fixed.items():
        if name in hyperparameters.NAMES:
            hyperparameters.check(name, value)
        elif not isinstance(value, (bool, int, float, str, type(None))):
            raise InvalidTypeError(f"fixed[{name!r}] must be a plain value, not {value!r}.")


def _ready(family: Family, size: str, optimizer: Any) -> Space:
    loop, architecture = spaces.space(size, optimizer), family.space(size)
    if both := sorted(set(loop) & set(architecture)):
        raise InvalidValueError(f"The model {family.name!r} calls {both} like the training loop does; rename them.")
    return Space({**loop, **architecture}, {**loop.conditions, **architecture.conditions})


def without(space: Space, fixed: Mapping[str, Any]) -> Space:
    """``space`` when some of its parameters have fixed values.

    What remains of a condition reads searched parameters only; a parameter goes when its condition cannot hold.
    """
    parameters = {name: distribution for name, distribution in space.items() if name not in fixed}
    conditions: dict[str, str] = {}
    for name, text in space.conditions.items():
        rest = Condition(text).given(fixed) if name in parameters else True
        if isinstance(rest, str):
            conditions[name] = rest
        elif not rest:
            del parameters[name]
    while gone := [name for name, text in conditions.items() if not Condition(text).names <= parameters.keys()]:
        for name in gone:  # it reads one that can never be active
            del parameters[name], conditions[name]
    return Space(parameters, conditions)


def _check_axes(space: Space, model: str | Family, absent: bool) -> list[Family]:
    """The model families that trials may have; ``absent``: data sets need not be at hand."""
    for name in ("data", "model"):
        if name in space and not isinstance(space[name], CategoricalDistribution):
            raise InvalidTypeError(f"{name!r} in a space must be a choice of names, not {space[name]!r}.")
    for value in () if absent else _choices(space, "data", ()):
        check_dataset_name(value)
    for name, lowest, what in (("seed", 0, "non-negative"), ("epochs", 1, "positive")):
        values = corners(space[name]) if name in space else ()
        if any(isinstance(v, bool) or not isinstance(v, int) or v < lowest for v in values):
            raise InvalidValueError(f"{name!r} in a space must be {what} integers, not {space[name]!r}.")
    if "model" not in space:
        return [family_of(model)]
    return [find_model(name) for name in _choices(space, "model", ())]


def _choices(space: Space, name: str, default: tuple[str, ...]) -> tuple[Any, ...]:
    distribution = space.get(name)
    return distribution.choices if isinstance(distribution, CategoricalDistribution) else default


def _check_names(space: Space, fixed: Mapping[str, Any], families: list[Family]) -> None:
    architecture = {name for family in families for name in family.DEFAULTS}
    known = [*hyperparameters.NAMES, *sorted(architecture)]
    if unknown := [name for name in space if name not in known and name not in AXES]:
        raise InvalidValueError(
            f"The space has parameters that {' and '.join(family.name for family in families)} cannot use: {unknown}; "
            f"known: {', '.join([*known, *AXES])}."
        )
    if unknown := [name for name in fixed if name not in known]:
        raise InvalidValueError(f"fixed has unknown hyperparameters {unknown}; known: {', '.join(known)}.")


def _check_architecture(space: Space, fixed: Mapping[str, Any], family: Family) -> None:
    """Whether the family has the values that the space allows, each at the ends of its range."""
    own = {name: value for name, value in fixed.items() if name in family.DEFAULTS}
    _try(family, tuple(own.items()))
    for name in (name for name in space if name in family.DEFAULTS):
        for value in corners(space[name]):
            try:
                _try(family, (*own.items(), (name, value)))
            except (InvalidTypeError, InvalidValueError) as error:
                raise type(error)(f"The space allows {space[name]!r} for {name!r}: {error}") from None


@lru_cache(maxsize=1024)
def _try(family: Family, values: tuple[tuple[str, Any], ...]) -> None:
    """Build one of our networks for a common image; what only depends on the image is found out later."""
    if family.source is not None:
        return  # a user's factory may be slow, and knows best what it takes
    with suppress(InvalidArchitectureError, RuntimeError, MemoryError):
        build_model(family, dict(values), (3, 32, 32), 10, 0)


def _check_range(name: str, distribution: BaseDistribution) -> None:
    for value in corners(distribution):
        try:
            hyperparameters.check(name, value)
        except (InvalidTypeError, InvalidValueError) as error:
            raise type(error)(f"The space allows {distribution!r} for {name!r}: {error}") from None


def corners(distribution: BaseDistribution) -> tuple[Any, ...]:
    """The ends of a range, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return distribution.low, distribution.high
    raise InvalidTypeError(f"Not a distribution: {distribution!r}.")


def _decided(space: Space, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of the loop that are the same in all trials."""
    return {**{name: v for name, v in hyperparameters.DEFAULTS.items() if name not in space}, **fixed}


def _completed(
    space: Space, fixed: Mapping[str, Any], families: list[Family], decided: Mapping[str, Any]
) -> dict[str, Any]:
    used = {name: v for name, v in hyperparameters.DEFAULTS.items() if not hyperparameters.unused(name, decided)}
    architecture = families[0].DEFAULTS if len(families) == 1 else {}
    return {name: value for name, value in {**used, **architecture, **fixed}.items() if name not in space}
