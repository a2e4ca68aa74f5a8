"""A search space as a table to read: each parameter with its values, its scale, when it is there, and what it is."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass
from typing import Any

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.space import Space
from tunesmith.train import hyperparameters
from tunesmith.train.model_families import family_of, find_model, models

_AXES = {"data": "name of the data set", "model": "name of the model family", "seed": "decides all random numbers"}
_HEAD = ("Parameter", "Values", "Scale", "Only if", "Meaning")
#: Longest line of a cell, in characters.
_WIDTHS = (30, 34, 6, 34, 60)


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of a space, in words.

    Attributes:
        name: of the parameter.
        values: e.g. "0.0001 to 0.1", "64 to 512 by 64", "relu, tanh".
        scale: "linear", "log", or "choice".
        condition: when it is part of a configuration; "" for always.
        meaning: what it is; "" if nobody has said.
    """

    name: str
    values: str
    scale: str
    condition: str
    meaning: str


def parameter_rows(space: Space, model: Any = None) -> list[ParameterRow]:
    """The parameters of a space in their order.

    Args:
        space: any; parameters of the training loop and of the model families are explained.
        model: whose architecture hyperparameters they are, as :func:`~tunesmith.train.model_families.family_of` takes
            it. None explains what any family with a file has under that name.
    """
    return [
        ParameterRow(name, _values(d), _scale(d), space.conditions.get(name, ""), _meaning(name, model))
        for name, d in space.items()
    ]


def describe_space(space: Space, model: Any = None) -> str:
    """:func:`parameter_rows` as a table of plain text, with the same arguments.

    Example:
        >>> from tunesmith.train import Problem
        >>> problem = Problem(model="cnn", space="medium")
        >>> print(describe_space(problem.space, "cnn"))  # doctest: +SKIP
    """
    if not space:
        return "Nothing is searched."
    rows = [(row.name, row.values, row.scale, row.condition, row.meaning) for row in parameter_rows(space, model)]
    used = [j for j, title in enumerate(_HEAD) if any(row[j] for row in rows)]  # a column without entries is left out
    lines = [*_wrapped([_HEAD[j] for j in used], used)]
    body = [line for row in rows for line in _wrapped([row[j] for j in used], used)]
    widths = [max(len(line[k]) for line in [*lines, *body]) for k in range(len(used))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [*lines, *body]]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(line.rstrip() for line in [table[0], rule, *table[1:]])


def _wrapped(cells: list[str], columns: list[int]) -> list[tuple[str, ...]]:
    """One row as lines: long cells go on below themselves."""
    parts = [textwrap.wrap(cell, _WIDTHS[j]) for cell, j in zip(cells, columns, strict=True)]
    return list(itertools.zip_longest(*parts, fillvalue=""))


def _values(d: BaseDistribution) -> str:
    if isinstance(d, CategoricalDistribution):
        return ", ".join(map(str, d.choices))
    if isinstance(d, (FloatDistribution, IntDistribution)):
        stepped = d.step is not None and not (isinstance(d, IntDistribution) and d.step == 1)
        return f"{d.low} to {d.high}{f' by {d.step}' if stepped else ''}"
    return repr(d)


def _scale(d: BaseDistribution) -> str:
    if isinstance(d, CategoricalDistribution):
        return "choice"
    return "log" if getattr(d, "log", False) else "linear"


def _meaning(name: str, model: Any) -> str:
    for known in (_AXES, hyperparameters.MEANINGS):
        if name in known:
            return known[name]
    if model is not None:
        return family_of(model).MEANINGS.get(name, "")
    found: dict[str, list[str]] = {}
    for other in models():
        if meaning := find_model(other).MEANINGS.get(name):
            found.setdefault(meaning, []).append(other)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in found.items())
