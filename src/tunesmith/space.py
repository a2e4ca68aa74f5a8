"""A set of hyperparameters with conditions, and the codec between configurations and the unit cube.

Three representations are used throughout:

- *configuration*: ``dict`` name -> value as the user sees it (``{"lr": 0.01, "optimizer": "sgd"}``);
- *raw*: a float64 row, one column a parameter (an integer as a float, a choice as its index);
- *unit*: a float64 row in the unit cube ``[0, 1]``, where every parameter is searched on its own scale.

Codec (Optuna's conventions): a float is linear (or linear in its logarithm); an integer or a stepped float with ``m``
values owns ``m`` bins of equal width, and its unit value is the centre of its bin; a log integer lives on
``[log(low - 1/2), log(high + 1/2)]``; a choice of ``k`` owns ``k`` bins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith._expressions import Condition
from tunesmith.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_from_dict,
    distribution_to_dict,
)
from tunesmith.exceptions import InvalidTypeError, InvalidValueError

FloatArray = NDArray[np.float64]

#: Integers beyond this are not exact in float64; they take the slow, exact path.
EXACT = 2**53


class Space(Mapping[str, BaseDistribution]):
    """An immutable set of named hyperparameters.

    ``names`` are its columns in order, ``distributions`` the plain dictionary behind the mapping (read-only, please).

    Args:
        parameters: name -> distribution (or its short dictionary form), in the order of the columns.
        conditions: name -> expression over other parameters, e.g. ``{"n_filters_3": "n_layers >= 3"}``; a parameter
            whose condition is false (or reads an inactive parameter) is not part of a configuration.

    Raises:
        InvalidValueError: for an unknown name in a condition, or conditions that depend on each other in a circle.

    Example:
        >>> from tunesmith import Float, Int, Space
        >>> space = Space({"lr": Float(1e-4, 1e-1, log=True), "n_layers": Int(1, 3), "n_filters_3": Int(8, 64)},
        ...               conditions={"n_filters_3": "n_layers >= 3"})
        >>> space.active({"lr": 0.01, "n_layers": 2, "n_filters_3": 16})
        {'lr': 0.01, 'n_layers': 2}
    """

    def __init__(
        self,
        parameters: Mapping[str, BaseDistribution | Mapping[str, Any]] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(parameters, (Mapping, type(None))):
            raise InvalidTypeError(f"A space is made from a mapping name -> distribution, not from {parameters!r}.")
        self.distributions: dict[str, BaseDistribution] = {}
        for name, value in (parameters or {}).items():
            if not isinstance(name, str) or not name:
                raise InvalidTypeError(f"A parameter name must be a non-empty string, but is {name!r}.")
            self.distributions[name] = value if isinstance(value, BaseDistribution) else distribution_from_dict(value)
        self.names: tuple[str, ...] = tuple(self.distributions)
        if not isinstance(conditions, (Mapping, type(None))):
            raise InvalidTypeError(f"`conditions` must be a mapping name -> expression, but is {conditions!r}.")
        self.conditions: dict[str, str] = dict(conditions or {})
        self._conditions = {name: Condition(text) for name, text in self.conditions.items()}
        self._order = self._topological_order() if self._conditions else self.names

    def _topological_order(self) -> tuple[str, ...]:
        for name, condition in self._conditions.items():
            if unknown := sorted(({name} | condition.names) - set(self.names)):
                raise InvalidValueError(
                    f"The condition {condition.text!r} of {name!r} names {unknown}, not among the parameters "
                    f"{list(self.names)}."
                )
        order: list[str] = []
        waiting = list(self.names)
        while waiting:
            ready = [n for n in waiting if n not in self._conditions or self._conditions[n].names <= set(order)]
            if not ready:
                raise InvalidValueError(f"The conditions of {waiting} depend on each other in a circle.")
            order += ready
            waiting = [n for n in waiting if n not in ready]
        return tuple(order)

    # -- the mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> BaseDistribution:
        return self.distributions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.distributions)

    def __len__(self) -> int:
        return len(self.distributions)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Space) and self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        conditions = f", conditions={self.conditions!r}" if self.conditions else ""
        return f"Space({self.distributions!r}{conditions})"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description; :meth:`from_dict` reads it back."""
        fields: dict[str, Any] = {"parameters": {n: distribution_to_dict(d) for n, d in self.distributions.items()}}
        if self.conditions:
            fields["conditions"] = self.conditions
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Space:
        """Read the form of :meth:`to_dict`; also a plain mapping name -> ``{"type": ..., ...}``."""
        if not isinstance(fields, Mapping):
            raise InvalidTypeError(f"A space is described by a mapping, not by {fields!r}.")
        if "parameters" not in fields:
            return cls(fields)
        if unknown := sorted(map(str, set(fields) - {"parameters", "conditions"})):
            raise InvalidValueError(f"Unknown keys {unknown} in a space; known: ['conditions', 'parameters'].")
        return cls(fields["parameters"], fields.get("conditions"))

    @cached_property
    def id(self) -> str:
        """A short content hash: equal spaces have equal ids, in every process."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]

    def extended(self, name: str, distribution: BaseDistribution) -> Space:
        """A copy in which ``name`` has this distribution (a new last column, or a changed one)."""
        return Space({**self.distributions, name: distribution}, self.conditions)

    def active(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``params`` whose conditions hold, in column order."""
        if not self._conditions:
            return dict(params)
        found: dict[str, Any] = {}
        for name in self._order:
            if name in params and self.holds(name, found):
                found[name] = params[name]
        return {name: found[name] for name in params if name in found}

    @property
    def ordered(self) -> tuple[str, ...]:
        """The names in an order in which every condition only reads names before it."""
        return self._order

    def holds(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether ``name`` is active, given the active ones among the names it depends on."""
        return name not in self._conditions or self._conditions[name](params)

    # -- the codec -----------------------------------------------------------------------------------------------

    @cached_property
    def columns(self) -> Columns:
        """The vectorised codec of this space."""
        return Columns(tuple(self.distributions.values()))

    def decode(self, unit: FloatArray) -> FloatArray:
        """Unit cube -> raw. ``unit``: (n, d) in [0, 1]; returns (n, d). NaN (inactive) stays NaN."""
        return self.columns.decode(unit)

    def encode(self, raw: FloatArray) -> FloatArray:
        """Raw -> unit cube. ``raw``: (n, d); returns (n, d) clipped to [0, 1]. NaN stays NaN."""
        return self.columns.encode(raw)

    def to_params(self, raw: FloatArray) -> dict[str, Any]:
        """One raw row (d,) -> configuration; NaN columns are left out, conditions are not applied."""
        if len(raw) != len(self.names):
            raise InvalidValueError(f"A row of {len(raw)} numbers does not fit the {len(self.names)} parameters.")
        return self.columns.to_params(self.names, raw)

    def to_event(self, params: Mapping[str, Any]) -> list[Any]:
        """Configuration -> JSON row: numbers as they are (integers exact), a choice as its index, else None."""
        if len(params) >= len(self.names):
            try:
                return [encode(params[name]) for name, encode in self._encoders]
            except KeyError:
                pass
        return [encode(params[name]) if name in params else None for name, encode in self._encoders]

    def from_event(self, row: list[Any]) -> list[Any]:
        """Inverse of :meth:`to_event`: the values in column order."""
        if self.columns.categorical.any():
            pairs = zip(self.distributions.values(), row, strict=True)
            return [d.choices[v] if v is not None and d.kind == "categorical" else v for d, v in pairs]  # type: ignore[attr-defined]
        return row

    @cached_property
    def _encoders(self) -> list[tuple[str, Any]]:
        coders = {"float": float, "int": int}
        return [(n, coders.get(d.kind) or _choice_index(d)) for n, d in self.distributions.items()]

    def from_params(self, params: Mapping[str, Any]) -> FloatArray:
        """Configuration -> one raw row (d,); parameters that are missing become NaN."""
        row = np.full(len(self.names), np.nan)
        for j, (name, distribution) in enumerate(self.distributions.items()):
            if name in params:
                row[j] = distribution.to_internal_repr(params[name])
        return row


def _choice_index(distribution: BaseDistribution) -> Any:
    return lambda value: int(distribution.to_internal_repr(value))


class Columns:
    """Column-wise arrays of a space's distributions; see the module's docstring for the conventions.

    Attributes:
        levels: (d,) number of values of each column, 0 for a continuum (or more than 2**53 values).
        categorical: (d,) bool.
        log: (d,) bool.
    """

    def __init__(self, distributions: tuple[BaseDistribution, ...]) -> None:
        self.distributions = distributions
        d = len(distributions)
        self.low, self.high, self.step = np.zeros(d), np.zeros(d), np.ones(d)
        self.levels = np.zeros(d)
        self.categorical, self.log, self.integer = np.zeros(d, bool), np.zeros(d, bool), np.zeros(d, bool)
        for j, dist in enumerate(distributions):
            self._fill(j, dist)
        self.binned = (self.levels > 0) & ~self.log  # equal bins: int, stepped float, choice
        self._all_float = all(dist.kind == "float" for dist in distributions)
        stepped = [isinstance(dist, FloatDistribution) and dist.step is not None for dist in distributions]
        self._snapped = np.array(stepped, bool) & (self.levels == 0)  # stepped, with more values than can be counted
        self._all_linear = not (self.binned.any() or self.log.any() or self._snapped.any())
        with np.errstate(over="ignore"):
            span = self.high - self.low
        self._span = span if np.isfinite(span).all() else None
        self._log_low, self._log_high = np.zeros(d), np.zeros(d)
        margin = np.where(self.integer, 0.5, 0.0)
        self._log_low[self.log] = np.log((self.low - margin)[self.log])
        self._log_high[self.log] = np.log((self.high + margin)[self.log])

    def _fill(self, j: int, dist: BaseDistribution) -> None:
        if isinstance(dist, CategoricalDistribution):
            self.categorical[j] = True
            self.high[j], self.levels[j] = len(dist.choices) - 1, len(dist.choices)
        elif isinstance(dist, IntDistribution):
            self.low[j], self.high[j], self.step[j], self.log[j] = dist.low, dist.high, dist.step, dist.log
            self.integer[j] = True
            levels = (dist.high - dist.low) // dist.step + 1
            self.levels[j] = levels if levels <= EXACT else 0  # too many to count in float64: a continuum, snapped
        elif isinstance(dist, FloatDistribution):
            self.low[j], self.high[j], self.log[j] = dist.low, dist.high, dist.log
            if dist.step is not None:
                self.step[j] = dist.step
                steps = (dist.high - dist.low) / dist.step
                self.levels[j] = round(steps) + 1 if steps < EXACT else 0

    def decode(self, unit: FloatArray) -> FloatArray:
        """See :meth:`Space.decode`."""
        unit = np.asarray(unit, float)
        if self._all_linear and self._span is not None:
            return np.minimum(self.low + self._span * unit, self.high)
        raw = self.low * (1.0 - unit) + self.high * unit  # in this form huge ranges do not overflow
        if not self._all_linear:
            self._decode_binned(unit, raw)
            self._decode_log(unit, raw)
        return np.minimum(np.maximum(raw, self.low), self.high)

    def _decode_binned(self, unit: FloatArray, raw: FloatArray) -> None:
        b = self.binned
        if b.any():
            k = np.minimum(np.floor(unit[..., b] * self.levels[b]), self.levels[b] - 1)
            raw[..., b] = self.low[b] + np.maximum(k, 0) * self.step[b]
        s = self._snapped
        if s.any():
            with np.errstate(over="ignore", invalid="ignore"):
                k = (raw[..., s] - self.low[s]) / self.step[s]  # beyond EXACT every float is a whole number of steps
                raw[..., s] = np.where(k < EXACT, self.low[s] + np.rint(k) * self.step[s], raw[..., s])

    def _decode_log(self, unit: FloatArray, raw: FloatArray) -> None:
        g = self.log
        if g.any():
            u = unit[..., g]
            values = np.exp(self._log_low[g] * (1.0 - u) + self._log_high[g] * u)
            raw[..., g] = np.where(self.integer[g], np.rint(values), values)

    def encode(self, raw: FloatArray) -> FloatArray:
        """See :meth:`Space.encode`."""
        raw = np.asarray(raw, float)
        with np.errstate(invalid="ignore", divide="ignore"):
            width = self.high / 2 - self.low / 2
            unit = np.where(width > 0, (raw / 2 - self.low / 2) / np.where(width > 0, width, 1.0), 0.5)
            b, g = self.binned, self.log
            if b.any():
                unit[..., b] = (np.rint((raw[..., b] - self.low[b]) / self.step[b]) + 0.5) / self.levels[b]
            if g.any():
                span = self._log_high[g] - self._log_low[g]
                logs = np.log(np.maximum(raw[..., g], np.finfo(float).tiny)) - self._log_low[g]
                unit[..., g] = np.where(span > 0, logs / np.where(span > 0, span, 1.0), 0.5)
        return np.where(np.isnan(raw), np.nan, np.clip(unit, 0.0, 1.0))

    def to_params(self, names: tuple[str, ...], raw: FloatArray) -> dict[str, Any]:
        """One raw row (d,) -> configuration under these names; NaN columns are left out."""
        values = raw.tolist()
        if self._all_float:
            total = sum(values)
            if total == total:  # no NaN among them, so nothing to leave out
                return dict(zip(names, values, strict=True))
            return {name: value for name, value in zip(names, values, strict=True) if value == value}
        params: dict[str, Any] = {}
        for name, dist, value in zip(names, self.distributions, values, strict=True):
            if value == value:
                params[name] = value if dist.kind == "float" else self._external(dist, value)
        return params

    @staticmethod
    def _external(dist: BaseDistribution, value: float) -> Any:
        if isinstance(dist, IntDistribution) and max(abs(dist.low), abs(dist.high)) > EXACT:
            k = round((int(value) - dist.low) / dist.step)  # float64 is inexact here: snap in exact arithmetic
            return min(max(dist.low + k * dist.step, dist.low), dist.high)
        return dist.to_external_repr(value)
