"""Search in a slice of the space: some parameters have fixed values, another method searches the others.

As Optuna's sampler of this name (Akiba, T. et al. 2019: Optuna: a next-generation hyperparameter optimization
framework. KDD, 2623-2631).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from tunesmith.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    choice_key,
)
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._wrapped import Wrapper, as_json, plain
from tunesmith.space import Space


@dataclass(frozen=True)
class PartialFixedSampler(Wrapper):
    """Some parameters are fixed, the others are searched by another method.

    That method sees the space with a fixed parameter as one of a single value. So conditions hold or not as they do
    with that value, what was tried with another one is not taken for tried, a grid or an exhaustive search has only the
    cells of the slice, and models still learn from all trials, as in Optuna: from those outside of the slice as if they
    were in it (of a choice: as if they did not have that parameter).

    A fixed parameter whose condition does not hold is not part of a configuration; a name that the space does not have
    waits until the objective asks for it. What a user enqueues comes before what is fixed.

    Args:
        fixed_params: name -> value. A number outside the objective's range is used, with a warning, as in Optuna.
        base_sampler: what searches the others: an instance or a short name; ``None`` is the default method.

    Raises:
        InvalidTypeError: ``fixed_params`` is no mapping, or a number is to be fixed at something else.
        InvalidValueError: a choice is to be fixed at a value it does not have.

    Example:
        >>> from tunesmith.samplers import PartialFixedSampler
        >>> sampler = PartialFixedSampler({"optimizer": "adam"}, "random")
    """

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"partial-fixed": {}}
    _inner: ClassVar[str] = "base_sampler"

    fixed_params: Mapping[str, Any] = field(default_factory=dict)
    base_sampler: BaseSampler | str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.fixed_params, Mapping) or not all(isinstance(k, str) for k in self.fixed_params):
            raise InvalidTypeError(f"`fixed_params` must be a mapping name -> value, but is {self.fixed_params!r}.")
        known = {name: plain(value) for name, value in self.fixed_params.items()}
        object.__setattr__(self, "fixed_params", known)
        self._resolve()

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        fixed = self._fixed(space)
        proposals = self.inner.propose(_slice(space, fixed), history, rng, n)
        return [Proposal({**p.params, **fixed}, p.tags) for p in proposals]

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        fixed = {name: value for name, value in self._fixed(space).items() if name not in given}
        found = self.inner.complete({**fixed, **given}, _slice(space, fixed), history, rng)
        return {**found, **fixed}

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if name in self.fixed_params:
            return _checked(name, distribution, self.fixed_params[name])
        return self.inner.independent(name, distribution, history, rng)

    def _fixed(self, space: Space) -> dict[str, Any]:
        """What is fixed of this space, as values of its types."""
        return {name: _checked(name, space[name], v) for name, v in self.fixed_params.items() if name in space}

    def _own_spec(self) -> dict[str, Any]:
        found = super()._own_spec()
        fixed = as_json(self.fixed_params)
        return {**found, "args": None if fixed is None else {"fixed_params": fixed}}


def _checked(name: str, distribution: BaseDistribution, value: Any) -> Any:
    """A fixed value as one of the parameter's type. The same warning each time, so that Python shows it once."""
    if isinstance(distribution, CategoricalDistribution):
        if not distribution.contains(value):
            raise InvalidValueError(
                f"{name!r} cannot be fixed at {value!r}, which is not among its choices {distribution.choices!r}."
            )
        return distribution.choices[int(distribution.to_internal_repr(value))]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTypeError(f"{name!r} is a number ({distribution!r}) and cannot be fixed at {value!r}.")
    exact = distribution.to_internal_repr(value)  # an error for what no number of this kind can be
    if not distribution.contains(value):
        warnings.warn(f"The fixed value {value!r} of {name!r} is outside {distribution!r}; it is used.", stacklevel=2)
    return int(value) if distribution.kind == "int" else exact


def _slice(space: Space, fixed: Mapping[str, Any]) -> Space:
    """The space in which the fixed parameters have one value."""
    return _sliced(space, _Values(fixed)) if fixed else space


class _Values(dict[str, Any]):
    """Values by name, hashable; as among choices, 1, 1.0 and True differ."""

    def _key(self) -> frozenset[tuple[str, tuple[Any, ...]]]:
        return frozenset((name, choice_key(value)) for name, value in self.items())

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Values) and self._key() == other._key()


@lru_cache(maxsize=16)
def _sliced(space: Space, fixed: _Values) -> Space:
    """A cache of a pure function: clearing it changes nothing."""
    return Space(
        {**space.distributions, **{name: _single(space[name], v) for name, v in fixed.items()}}, space.conditions
    )


def _single(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    """A parameter of the same kind that has this value only."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([value])
    if isinstance(distribution, IntDistribution):
        return IntDistribution(value, value)
    return FloatDistribution(value, value, step=1.0)  # with a step it is countable, which a continuum is not
