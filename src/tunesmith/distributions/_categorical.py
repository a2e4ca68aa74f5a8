"""One of several choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith._choices import OpaqueChoice, choice_key, choice_to_json, clean_choice
from tunesmith.distributions._base import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError


class CategoricalDistribution(BaseDistribution):
    """One of several choices, without order.

    Args:
        choices: at least one of None, bool, int, float, str or (nested) sequences of these; lists become tuples.
            Other objects work within the process and are kept in the log by name only (with a warning). A copy that
            was pickled goes by the names of the original, whatever its objects are called where it is.
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

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied, (self.choices, self.logged())

    def logged(self) -> tuple[Any, ...]:
        """The choices as a log knows them: objects by their names."""
        return tuple(map(_named, self.choices, self._keys))

    def single(self) -> bool:
        return len(self.choices) == 1

    def contains(self, value: Any) -> bool:
        return self._find(value) is not None

    def _find(self, value: Any) -> int | None:
        if isinstance(value, list):
            value = clean_choice(value)
        key = choice_key(value)
        if key[0] == "object":  # first, as an object of a copy may be called what another one was called elsewhere
            for i, choice in enumerate(self.choices):
                if choice is value:
                    return i
        found = self._index.get(key)
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


def _copied(choices: tuple[Any, ...], logged: tuple[Any, ...]) -> CategoricalDistribution:
    made = CategoricalDistribution(logged)  # all of it but the objects
    made._set(choices=choices)
    return made


def _named(choice: Any, key: tuple[Any, ...]) -> Any:
    """A choice in which objects are replaced by the names in its key."""
    if key[0] == "object":
        return OpaqueChoice(key[1])
    return tuple(map(_named, choice, key[1:])) if key[0] == "tuple" else choice


def _equal(a: Any, b: Any) -> bool:
    """``a == b``; an exotic object's ``==`` must not break a look-up."""
    try:
        return bool(a == b)
    except Exception:
        return False


def _has_object(key: tuple[Any, ...]) -> bool:
    """Whether the value behind a choice's key is, or holds, something kept by its name only."""
    return key[0] == "object" or (key[0] == "tuple" and any(_has_object(k) for k in key[1:]))
