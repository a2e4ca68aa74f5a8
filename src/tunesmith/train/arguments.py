"""Checks of a problem's arguments; each returns the argument in its final form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import metrics
from tunesmith.train.dataset import data_of
from tunesmith.train.evaluation import SPREAD
from tunesmith.train.loop import TRAIN_METRICS
from tunesmith.train.metrics import VALIDATION
from tunesmith.train.model_families import Family, family_of
from tunesmith.train.splitting import OFFICIAL

#: What every problem measures on the validation part, whatever its objective is.
_ALWAYS = ("val_loss", "val_accuracy")
#: How :attr:`Family.id` names what a user has handed in.
_USERS = re.compile(r".+-[0-9a-f]{16}")


def merged(fixed: Mapping[str, Any] | None, **short: Any) -> Mapping[str, Any]:
    """``fixed`` with the arguments that are short for its entries."""
    given = {name: value for name, value in short.items() if value is not None}
    if not isinstance(fixed, (Mapping, type(None))):
        raise InvalidTypeError(f"fixed must be a mapping hyperparameter -> value, not {fixed!r}.")
    if both := sorted(set(given) & set(fixed or {})):
        raise InvalidValueError(f"{both} are given twice: as arguments and in fixed.")
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in {**(fixed or {}), **given}.items()}


def from_fields(fields: Any, known: Iterable[str], model: Any, data: Any) -> dict[str, Any]:
    """The arguments of a problem that ``fields`` stand for; see :meth:`tunesmith.train.Problem.from_dict`."""
    if not isinstance(fields, Mapping):
        raise InvalidTypeError(f"A problem is described by a mapping, not by {fields!r}.")
    if unknown := [key for key in fields if key not in known]:
        raise InvalidValueError(f"Unknown keys {unknown} of a problem; known: {', '.join(known)}.")
    found = dict(fields)
    if "model" in found:
        found["model"] = model_of(found["model"], model)
    if "data" in found:
        found["data"] = data_of(found["data"], data)
    return found


def whole(name: str, value: Any, lowest: int, optional: bool = False) -> Any:
    """``value`` as an int of at least ``lowest`` (or None), or a typed error."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{name} must be an integer{' or None' if optional else ''}, not {value!r}.")
    if value < lowest:
        raise InvalidValueError(f"{name} must be at least {lowest}, but is {value}.")
    return int(value)


def model_of(given: Any, known: Any = None) -> str | Family:
    """The name of a family that has a file, else the family.

    Args:
        given: see :func:`~tunesmith.train.model_families.family_of`; or the id of a family that a user has handed in,
            as :meth:`Problem.to_dict` writes it.
        known: such a family, or what it is made of.

    Raises:
        InvalidTypeError, InvalidValueError: no such family; one whose code must be handed in, or is not the same.
    """
    if isinstance(given, str) and _USERS.fullmatch(given):
        if known is None:
            raise InvalidValueError(
                f"The model {given!r} is a function or class of your own, whose code is not kept; hand it in: "
                "Problem.from_dict(fields, model=...) or train.load(path, model=...)."
            )
        family = family_of(known)
        if family.id != given:
            raise InvalidValueError(f"The model is {family.id!r}, not {given!r}: its source differs.")
        return family
    family = family_of(given)
    return family.name if family.source is None else family


def metric_name(given: Any) -> str:
    """``"f1"`` or ``"val_f1"`` as ``"val_f1"``.

    Raises:
        InvalidTypeError, InvalidValueError: no such metric; the message lists the known ones.
    """
    bare = given.removeprefix(VALIDATION) if isinstance(given, str) else given
    metrics.check_name(bare)
    return VALIDATION + bare


def metrics_of(objective: Any, more: Any, several: bool) -> tuple[str, ...]:
    """The names of what a trial reports, the objective first; ``several``: whether it has several trainings.

    ``more`` may also hold what is measured anyway, so that what comes out can be put in again.
    """
    if isinstance(more, str) or not isinstance(more, Iterable):
        raise InvalidTypeError(f"metrics must be a list of names such as ['f1', 'ece'], not {more!r}.")
    first = metric_name(objective)
    own = [name for name in more if name not in TRAIN_METRICS and name != first + SPREAD]
    found = dict.fromkeys([first, *_ALWAYS, *map(metric_name, own), *TRAIN_METRICS])
    return (*found, first + SPREAD) if several else tuple(found)


def validation_of(
    validation: Any, folds: int | None, fold_repeats: int, split_seed: int | None, n_test: int | None
) -> Any:
    """The size of the validation part, or "official", or None.

    Raises:
        InvalidTypeError, InvalidValueError: impossible, or together with other arguments.
    """
    if folds is None and fold_repeats != 1:
        raise InvalidValueError(f"fold_repeats={fold_repeats} needs folds, for example 5.")
    if folds is not None and (validation is not None or split_seed is None):
        what = f"validation={validation!r}" if validation is not None else "split_seed=None"
        raise InvalidValueError(f"folds={folds} cuts the training images by a seed; leave {what} out.")
    if validation is None:
        return None
    if isinstance(validation, str) and validation == OFFICIAL:
        if n_test is not None:
            raise InvalidValueError(f"n_test={n_test!r} is of no use with validation='official': no test part is left.")
        return validation
    if split_seed is None:
        raise InvalidValueError("The validation part that a data set ships with has a fixed size; give a split_seed.")
    if isinstance(validation, (str, bool)) or not isinstance(validation, (Integral, float)):
        raise InvalidValueError(
            f"validation must be a number of images, a share in (0, 1) or {OFFICIAL!r}, not {validation!r}."
        )
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise InvalidValueError(f"A share must be in (0, 1), but validation is {validation!r}.")
        return float(validation)
    return whole("validation", validation, 1)
