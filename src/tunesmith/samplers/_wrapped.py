"""What samplers that wrap another one have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tunesmith.distributions import choice_from_json, choice_to_json
from tunesmith.exceptions import InvalidTypeError
from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler
from tunesmith.space import Space


class Wrapper(BaseSampler):
    """A sampler with another one in a field, whose nature it shares.

    ``_inner`` is that field's name. An instance, a short name, ``None`` (the default method) or what a log keeps of a
    sampler is accepted there.
    """

    _inner: ClassVar[str] = "base"

    @property
    def inner(self) -> BaseSampler:
        """The wrapped sampler."""
        found = getattr(self, self._inner)
        assert isinstance(found, BaseSampler)
        return found

    def _resolve(self) -> None:
        """For ``__post_init__``: make the field an instance."""
        from tunesmith.samplers import from_spec, get_sampler

        given = getattr(self, self._inner)
        if not isinstance(given, (BaseSampler, Mapping, str, type(None))):
            raise InvalidTypeError(f"`{self._inner}` must be a sampler or the name of one, but is {given!r}.")
        found = from_spec(given) if isinstance(given, Mapping) else get_sampler(given)
        object.__setattr__(self, self._inner, found)

    def _check_objectives(self, space: Space, history: History) -> None:
        """Let a wrapped sampler that cannot search for several objectives say so at once, not when its turn comes."""
        if len(history.directions) > 1 and not history.n_trials:
            self.inner.propose(space, history, np.random.Generator(np.random.PCG64(0)), 1)

    def spec(self) -> dict[str, Any]:
        """With the wrapped sampler's own spec; ``args`` is None when one of the two has no JSON form."""
        found = dataclasses.replace(self, **{self._inner: None})._own_spec()  # type: ignore[type-var]
        inner = self.inner.spec()
        whole = found["args"] is not None and inner["args"] is not None and "module" not in inner
        return {**found, "args": {**found["args"], self._inner: inner} if whole else None}

    def _own_spec(self) -> dict[str, Any]:
        """The spec without the wrapped sampler."""
        return super().spec()

    @property
    def singly(self) -> bool:  # type: ignore[override]
        """As the wrapped sampler."""
        return self.inner.singly

    @property
    def by_level(self) -> bool:  # type: ignore[override]
        """As the wrapped sampler."""
        return self.inner.by_level

    @property
    def finite(self) -> bool:
        """As the wrapped sampler."""
        return self.inner.finite

    @property
    def deterministic(self) -> bool:
        """As the wrapped sampler."""
        return self.inner.deterministic

    @property
    def may_repeat(self) -> bool:
        """As the wrapped sampler."""
        return self.inner.may_repeat

    @property
    def with_replacement(self) -> bool:
        """As the wrapped sampler."""
        return self.inner.with_replacement

    @property
    def uses_budget(self) -> bool:
        """As the wrapped sampler."""
        return self.inner.uses_budget

    @property
    def study_seed(self) -> int | None:
        """Its own seed if it has one, else that of the wrapped sampler."""
        own = super().study_seed
        return self.inner.study_seed if own is None else own

    def n_initial(self, space: Space) -> int:
        """How many configurations the wrapped sampler chooses before it looks at any result (0 if it does not say)."""
        count = getattr(self.inner, "n_initial", None)
        return int(count(space)) if callable(count) else 0


def plain(value: Any) -> Any:
    """A value as a choice is kept: sequences as tuples, NumPy's scalars as Python's; also from the form of a log."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    return choice_from_json(dict(value)) if isinstance(value, Mapping) and set(value) == {"$float"} else value


def as_json(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name -> value in the form of a log, which :func:`plain` reads back; ``None`` if an object is among the values."""
    found = {name: choice_to_json(value) for name, value in params.items()}
    return None if any(map(_opaque, found.values())) else found


def _opaque(value: Any) -> bool:
    return any(map(_opaque, value)) if isinstance(value, list) else isinstance(value, dict) and "$object" in value
