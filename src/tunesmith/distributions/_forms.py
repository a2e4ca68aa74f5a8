"""Distributions as dictionaries and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith._choices import choice_from_json, choice_to_json
from tunesmith.distributions._base import BaseDistribution
from tunesmith.distributions._categorical import CategoricalDistribution
from tunesmith.distributions._numbers import FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

_CLASSES: tuple[type[BaseDistribution], ...] = (FloatDistribution, IntDistribution, CategoricalDistribution)


def distribution_to_dict(distribution: BaseDistribution) -> dict[str, Any]:
    """The short readable form used in logs, YAML files and spaces: ``{"type": "float", "low": ..., ...}``."""
    if isinstance(distribution, CategoricalDistribution):
        return {"type": "categorical", "choices": [choice_to_json(c) for c in distribution.logged()]}
    fields = {k: v for k, v in distribution._asdict().items() if v is not None and v is not False}
    if fields.get("step") == 1 and distribution.kind == "int":
        del fields["step"]
    return {"type": distribution.kind, **fields}


def distribution_from_dict(fields: Mapping[str, Any]) -> BaseDistribution:
    """Inverse of :func:`distribution_to_dict`.

    Raises:
        InvalidValueError: for an unknown type or key, with the known ones.
    """
    if not isinstance(fields, Mapping):
        raise InvalidTypeError(
            f"A parameter is described by a mapping such as {{type: float, low: 0, high: 1}}, not by {fields!r}."
        )
    allowed = {"float": _CLASSES[0], "int": _CLASSES[1], "categorical": _CLASSES[2]}
    kind = fields.get("type", "categorical" if "choices" in fields else None)
    if not isinstance(kind, str) or kind not in allowed:
        raise InvalidValueError(f"Unknown parameter type {kind!r}; known: {', '.join(allowed)}.")
    known = {"choices"} if kind == "categorical" else {"low", "high", "log", "step"}
    required = known - {"log", "step"}
    rest = {k: v for k, v in fields.items() if k != "type"}
    if unknown := sorted(map(str, set(rest) - known)):
        raise InvalidValueError(f"Unknown keys {unknown} for a {kind} parameter; known: {sorted(known)}.")
    if missing := sorted(required - set(rest)):
        raise InvalidValueError(f"A {kind} parameter needs {missing}, but got only {sorted(rest)}.")
    if kind == "categorical":
        choices = rest["choices"]
        rest["choices"] = [choice_from_json(c) for c in choices] if isinstance(choices, list) else choices
    return allowed[kind](**rest)


def distribution_to_json(dist: BaseDistribution) -> str:
    """Optuna's JSON form: ``{"name": "FloatDistribution", "attributes": {...}}``."""
    attributes = dist._asdict()
    if isinstance(dist, CategoricalDistribution):
        attributes = {"choices": [choice_to_json(c) for c in dist.logged()]}
    return json.dumps({"name": type(dist).__name__, "attributes": attributes})


def json_to_distribution(json_str: str) -> BaseDistribution:
    """Read a distribution in Optuna's JSON form or in the short form ``{"type": "float", ...}``."""
    try:
        fields = json.loads(json_str)
    except ValueError as error:
        raise InvalidValueError(f"The distribution {json_str!r} is not JSON: {error}.") from error
    if not isinstance(fields, dict) or "name" not in fields:
        return distribution_from_dict(fields)
    for cls in _CLASSES:
        if cls.__name__ == fields["name"]:
            return distribution_from_dict({"type": cls.kind, **fields.get("attributes", {})})
    raise InvalidValueError(f"Unknown distribution class {fields['name']!r}; known: {[c.__name__ for c in _CLASSES]}.")
