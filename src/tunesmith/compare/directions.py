"""Whether larger or smaller values of a metric are better: as stated, else as its name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

Direction = Literal["minimize", "maximize"]

#: Words in a metric's name. One of the first is enough: a dice loss is a loss, a Brier score is an error.
SMALLER = {
    "loss", "error", "err", "brier", "mape", "mse", "rmse", "mae", "nll", "perplexity", "risk", "regret", "cost",
    "time",
}  # fmt: skip
LARGER = {
    "accuracy", "acc", "auc", "f1", "score", "precision", "recall", "dice", "iou", "map", "return", "reward", "r2",
    "gain",
}  # fmt: skip
#: Words that turn the meaning of the others round (scikit-learn's ``neg_log_loss``).
NEGATED = {"neg", "negative", "minus"}
#: Words that leave it open: spreads, differences, and names in which the others mean something else.
UNSURE = {
    "bouldin", "change", "code", "delta", "diff", "difference", "drop", "fid", "free", "gap", "left", "reduction",
    "saved", "sd", "size", "std", "timeout", "var", "variance",
}  # fmt: skip


def split_of(name: str) -> str:
    """``"val"``, ``"test"`` or ``"train"`` when a metric's name begins so, else ""."""
    first, _, rest = name.lower().partition("_")
    return first if first in ("val", "test", "train") and rest else ""


def bare_name(name: str) -> str:
    """A metric's name without the split it was measured on, in lower case: ``val_loss``, ``Loss`` -> ``loss``."""
    split = split_of(name)
    return name.lower()[len(split) + 1 :] if split else name.lower()


def checked_directions(given: Any, objective: str, direction: str) -> dict[str, Direction]:
    """What a problem states about its metrics, in its final form.

    Args:
        given: name -> ``"minimize"`` or ``"maximize"``; None for nothing. A name counts for all splits.
        objective: name of the objective.
        direction: of the objective.

    Raises:
        InvalidTypeError: no such mapping.
        InvalidValueError: another direction than these, or one that contradicts the objective's.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise InvalidTypeError(
            f"`metric_directions` must be a mapping such as {{'accuracy': 'maximize'}}, but is {given!r}."
        )
    known = get_args(Direction)
    for name, value in given.items():
        if value not in known:
            raise InvalidValueError(f"metric_directions[{name!r}] must be 'minimize' or 'maximize', but is {value!r}.")
        if bare_name(name) == bare_name(objective) and value != direction:
            raise InvalidValueError(
                f"metric_directions[{name!r}] is {value!r}, but the objective {objective!r} is to be {direction}d; "
                "state the same direction, or leave it out."
            )
    return dict(given)


def direction_by_name(name: str) -> Direction | None:
    """What the words of a name tell; None when they tell nothing.

    Words end at every character that is no letter and no digit, and at digits (``top5``, ``map50``).
    """
    whole = set(re.findall(r"[a-z0-9]+", name.lower()))
    words = whole | {part for word in whole for part in re.findall(r"[a-z]+", word)}
    if words & UNSURE:
        return None
    smaller = bool(words & SMALLER)
    larger = not smaller and (bool(words & LARGER) or re.search(r"(^|[^a-z])top_?\d", name.lower()) is not None)
    if words & NEGATED:
        smaller, larger = larger, smaller
    return "minimize" if smaller else "maximize" if larger else None


def find_direction(
    name: str, objective: str, direction: Direction, stated: Mapping[str, Direction]
) -> Direction | None:
    """The direction of a metric: the objective's own, else as stated, else by its name; None when unknown.

    Args:
        name: of the metric.
        objective: name of the objective; the same metric on another split has its direction.
        direction: of the objective.
        stated: what the problem says about its metrics.
    """
    if bare_name(name) == bare_name(objective):
        return direction
    if name in stated:
        return stated[name]
    by_bare = {bare_name(key): value for key, value in stated.items()}
    return by_bare.get(bare_name(name)) or direction_by_name(name)
