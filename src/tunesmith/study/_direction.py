"""Directions of objectives."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from tunesmith.exceptions import InvalidValueError


class StudyDirection(enum.IntEnum):
    """Whether smaller or larger values are better."""

    NOT_SET = 0
    MINIMIZE = 1
    MAXIMIZE = 2

    @property
    def sign(self) -> int:
        """+1 to minimise, -1 to maximise."""
        return -1 if self is StudyDirection.MAXIMIZE else 1

    __str__ = enum.Enum.__str__


def parse_directions(direction: Any, directions: Sequence[Any] | None) -> list[StudyDirection]:
    """The directions given to ``create_study``, as a list.

    Raises:
        InvalidValueError: for both arguments at once, none at all, or an unknown word.
    """
    if direction is not None and directions is not None:
        raise InvalidValueError("Give either `direction` or `directions`, not both.")
    if isinstance(directions, (str, StudyDirection)) or not (directions is None or hasattr(directions, "__iter__")):
        raise InvalidValueError(
            f"`directions` must be a list, but is {directions!r}; use `direction` for one objective."
        )
    given = [direction if direction is not None else "minimize"] if directions is None else list(directions)
    if not given:
        raise InvalidValueError("`directions` must name at least one objective, but is empty.")
    found: list[StudyDirection] = []
    for word in given:
        if isinstance(word, StudyDirection) and word is not StudyDirection.NOT_SET:
            found.append(word)
        elif isinstance(word, str) and word in ("minimize", "maximize"):
            found.append(StudyDirection.MINIMIZE if word == "minimize" else StudyDirection.MAXIMIZE)
        else:
            raise InvalidValueError(f"A direction is 'minimize' or 'maximize', not {word!r}.")
    return found
