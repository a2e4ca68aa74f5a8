"""What all distributions are: immutable values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from tunesmith.exceptions import InvalidValueError


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
