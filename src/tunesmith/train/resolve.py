"""From what a user says about a search space to a space, and a value for everything that is not searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith._expressions import Condition
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import hyperparameters
from tunesmith.train.dataset import check_dataset_name
from tunesmith.train.model_families import find_model

#: Parameters of a space that choose what is trained instead of how.
AXES = ("data", "model", "seed")


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
    data: str, model: str, space: Space | str | Mapping[str, Any] | None, fixed: Mapping[str, Any]
) -> tuple[Space, FrozenMapping]:
    """The space to search, and the values of everything else.

    Args:
        data: name of the data set, unless it is an axis of the space.
        model: name of the model family, unless it is an axis of the space.
        space: a :class:`Space`, one in its JSON-able form, None for nothing to search, or ``"small"``, ``"medium"``,
            ``"large"`` for the ready spaces of the training loop and of the family together.
        fixed: hyperparameter -> value. A ready space leaves these out.

    Returns:
        The space; and ``fixed`` completed with the defaults of the loop and, when the model is no axis, the family.

    Raises:
        InvalidTypeError, InvalidValueError: unknown names (the message lists the known ones), values that are not
            allowed, or a hyperparameter that is both fixed and searched.
    """
    if not isinstance(fixed, Mapping):
        raise InvalidTypeError(f"fixed must be a mapping hyperparameter -> value, not {fixed!r}.")
    check_dataset_name(data)
    find_model(model)
    if isinstance(space, str):
        found = without(_ready(model, space, fixed.get("optimizer")), fixed)
    else:
        found = space if isinstance(space, Space) else Space.from_dict(space or {})
        if both := sorted(set(found) & set(fixed)):
            raise InvalidValueError(f"{both} are both fixed and parameters of the space; decide for one.")
    models = _check_axes(found, model)
    _check_names(found, fixed, models)
    for name, distribution in found.items():
        if name in hyperparameters.NAMES:
            _check_range(name, distribution)
    for name, value in fixed.items():
        if name in hyperparameters.NAMES:
            hyperparameters.check(name, value)
        elif not isinstance(value, (bool, int, float, str, type(None))):
            raise InvalidTypeError(f"fixed[{name!r}] must be a plain value, not {value!r}.")
    if fixed.get("optimizer") == "adam" and ("momentum" in found or "momentum" in fixed):
        raise InvalidValueError("Adam has no momentum to set; leave 'momentum' out, or use the optimizer 'sgd'.")
    return found, FrozenMapping(_completed(found, fixed, models))


def _ready(model: str, size: str, optimizer: Any) -> Space:
    loop, family = hyperparameters.space(size, optimizer), find_model(model).space(size)
    if both := sorted(set(loop) & set(family)):
        raise InvalidValueError(f"The model {model!r} calls {both} like the training loop does; rename them.")
    return Space({**loop, **family}, {**loop.conditions, **family.conditions})


def without(space: Space, fixed: Mapping[str, Any]) -> Space:
    """``space`` when some of its parameters have fixed values.

    A condition that reads only fixed parameters is decided: if it holds it goes, if not its parameter goes.

    Raises:
        InvalidValueError: a condition reads both fixed and searched parameters.
    """
    parameters = {name: distribution for name, distribution in space.items() if name not in fixed}
    conditions = {}
    for name, text in space.conditions.items():
        condition = Condition(text)
        if name not in parameters:
            continue
        if not condition.names & set(fixed):
            conditions[name] = text
        elif not condition.names <= set(fixed):
            raise InvalidValueError(
                f"The condition {text!r} of {name!r} reads fixed and searched parameters; write a space without "
                f"{sorted(condition.names & set(fixed))}."
            )
        elif not condition(dict(fixed)):
            del parameters[name]
    return Space(parameters, conditions)


def _check_axes(space: Space, model: str) -> list[str]:
    """The names of the models that trials may have."""
    for name in ("data", "model"):
        if name in space and not isinstance(space[name], CategoricalDistribution):
            raise InvalidTypeError(f"{name!r} in a space must be a choice of names, not {space[name]!r}.")
    for value in _choices(space, "data", ()):
        check_dataset_name(value)
    if "seed" in space:
        values = _corners(space["seed"])
        if any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in values):
            raise InvalidValueError(f"'seed' in a space must be non-negative integers, not {space['seed']!r}.")
    models = list(_choices(space, "model", (model,)))
    for value in models:
        find_model(value)
    return models


def _choices(space: Space, name: str, default: tuple[str, ...]) -> tuple[Any, ...]:
    distribution = space.get(name)
    return distribution.choices if isinstance(distribution, CategoricalDistribution) else default


def _check_names(space: Space, fixed: Mapping[str, Any], models: list[str]) -> None:
    architecture = {name for model in models for name in find_model(model).DEFAULTS}
    known = [*hyperparameters.NAMES, *sorted(architecture)]
    if unknown := [name for name in space if name not in known and name not in AXES]:
        raise InvalidValueError(
            f"The space has parameters that {' and '.join(models)} cannot use: {unknown}; known: "
            f"{', '.join([*known, *AXES])}."
        )
    if unknown := [name for name in fixed if name not in known]:
        raise InvalidValueError(f"fixed has unknown hyperparameters {unknown}; known: {', '.join(known)}.")


def _check_range(name: str, distribution: BaseDistribution) -> None:
    for value in _corners(distribution):
        try:
            hyperparameters.check(name, value)
        except (InvalidTypeError, InvalidValueError) as error:
            raise type(error)(f"The space allows {distribution!r} for {name!r}: {error}") from None


def _corners(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return distribution.low, distribution.high
    raise InvalidTypeError(f"Not a distribution: {distribution!r}.")


def _completed(space: Space, fixed: Mapping[str, Any], models: list[str]) -> dict[str, Any]:
    defaults = dict(hyperparameters.DEFAULTS)
    if fixed.get("optimizer") == "adam":
        del defaults["momentum"]
    if len(models) == 1:
        defaults |= find_model(models[0]).DEFAULTS
    given = {**defaults, **fixed}
    return {name: value for name, value in given.items() if name not in space}
