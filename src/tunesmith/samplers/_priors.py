"""What somebody believes of a parameter before anything was tried, as a density on its search scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, choice_from_json, choice_key
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import FloatArray, Space

#: Narrowest standard deviation and narrowest interval between quantiles, as a part of the range.
NARROW = 1e-3
FORMS = (
    "{'mean': m, 'sd': s}, {'median': m, 'factor': f} (two thirds of the cases lie between m / f and m * f), "
    "{'quantiles': {'0.1': a, '0.9': b}} or {'weights': [[choice, weight], ...]}"
)


class Belief(Protocol):
    """A density on [0, 1], the unit coordinate of one parameter."""

    def at(self, share: FloatArray) -> FloatArray:
        """Inverse of the distribution function: (m,) in [0, 1] -> (m,) coordinates."""

    def density(self, unit: FloatArray) -> FloatArray:
        """(m,) at the (m,) coordinates; 1 on average."""

    @property
    def mode(self) -> float:
        """Where it is largest."""


class Normal:
    """A normal distribution that is cut off at the ends of the range."""

    def __init__(self, mean: float, sd: float) -> None:
        from scipy.special import ndtr  # slow to import, so only when it is needed

        self.mode, self._sd = min(max(mean, 0.0), 1.0), max(sd, NARROW)
        self._low, self._high = ndtr((np.array([0.0, 1.0]) - self.mode) / self._sd)

    def at(self, share: FloatArray) -> FloatArray:
        from scipy.special import ndtri

        between = self._low + share * (self._high - self._low)
        return np.clip(self.mode + self._sd * ndtri(between), 0.0, 1.0)

    def density(self, unit: FloatArray) -> FloatArray:
        z = (unit - self.mode) / self._sd
        return np.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * self._sd * (self._high - self._low))


class Steps:
    """A density that is constant between some places: of all that have these quantiles, the one of largest entropy.

    Args:
        share: (k,) ascending, from 0 to 1.
        place: (k,) the quantiles, not descending, from 0 to 1.
    """

    def __init__(self, share: FloatArray, place: FloatArray) -> None:
        self._share, self._place = share, place
        self._height = np.diff(share) / np.diff(place)
        top = int(np.argmax(self._height))
        self.mode = float(place[top] + place[top + 1]) / 2

    def at(self, share: FloatArray) -> FloatArray:
        return np.interp(share, self._share, self._place)

    def density(self, unit: FloatArray) -> FloatArray:
        found: FloatArray = self._height[
            np.clip(np.searchsorted(self._place, unit, "right") - 1, 0, len(self._height) - 1)
        ]
        return found


def weighted(weights: FloatArray) -> Steps:
    """The density of a choice, each value of which owns an equal part of [0, 1]."""
    shares = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    shares[-1] = 1.0
    return Steps(shares, np.linspace(0.0, 1.0, len(shares)))


def check_form(name: str, given: Any) -> dict[str, Any]:
    """The form of a belief, with plain values; whether it fits its parameter is known when that is.

    Raises:
        InvalidTypeError, InvalidValueError: it is none of the forms; the message lists them.
    """
    if not isinstance(given, Mapping):
        raise InvalidTypeError(f"The prior of {name!r} must be one of {FORMS}, but is {given!r}.")
    match sorted(map(str, given)):
        case ["mean", "sd"] | ["factor", "median"]:
            found: dict[str, Any] = {key: _real(name, value) for key, value in given.items()}
            if "sd" in found and not found["sd"] > 0:
                raise InvalidValueError(f"The prior of {name!r} needs `sd` > 0, but has {found['sd']}.")
            if "factor" in found and not (found["factor"] > 1 and found["median"] > 0):
                raise InvalidValueError(f"The prior of {name!r} needs `factor` > 1 and `median` > 0, but is {found}.")
            return found
        case ["quantiles"]:
            return {"quantiles": _quantiles(name, given["quantiles"])}
        case ["weights"]:
            return {"weights": _weights(name, given["weights"])}
    raise InvalidValueError(
        f"The prior of {name!r} must be one of {FORMS}, but has the keys {sorted(map(str, given))}."
    )


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"The prior of {name!r} needs numbers, but has {value!r}.")
    if not math.isfinite(value):
        raise InvalidValueError(f"The prior of {name!r} needs finite numbers, but has {value}.")
    return float(value)


def _quantiles(name: str, given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping) or not given:
        raise InvalidTypeError(f"Quantiles of {name!r} are a mapping share -> value, not {given!r}.")
    try:
        found = sorted((float(share), _real(name, value)) for share, value in given.items())
    except ValueError as error:
        raise InvalidValueError(f"Quantiles of {name!r} are a mapping share -> value, not {given!r}.") from error
    shares, values = zip(*found, strict=True)
    if not (shares[0] > 0 and shares[-1] < 1 and len(set(shares)) == len(shares) and list(values) == sorted(values)):
        raise InvalidValueError(
            f"Quantiles of {name!r} need different shares between 0 and 1, with values that grow, not {given!r}."
        )
    return {repr(share): value for share, value in found}


def _weights(name: str, given: Any) -> tuple[tuple[Any, float], ...]:
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if not isinstance(pairs, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in pairs):
        raise InvalidTypeError(f"Weights of {name!r} are a mapping choice -> weight, or pairs of these, not {given!r}.")
    found = tuple((choice_from_json(choice), _real(name, weight)) for choice, weight in pairs)
    if any(weight < 0 for _, weight in found) or not any(weight > 0 for _, weight in found):
        raise InvalidValueError(f"Weights of {name!r} must not be negative, and one must be positive: {given!r}.")
    return found


def belief(name: str, distribution: BaseDistribution, form: Mapping[str, Any]) -> Belief:
    """The density that a form (of :func:`check_form`) stands for on a parameter's own scale.

    Raises:
        InvalidValueError: the form does not suit the kind of parameter, or names a choice it does not have.
    """
    if ("weights" in form) != isinstance(distribution, CategoricalDistribution):
        raise InvalidValueError(f"The prior {dict(form)!r} of {name!r} does not suit {distribution!r}; use {FORMS}.")
    if isinstance(distribution, CategoricalDistribution):
        return _of_choices(name, distribution, form["weights"])
    log = bool(getattr(distribution, "log", False))
    space = Space({name: distribution})
    if "quantiles" in form:
        shares = np.array([float(share) for share in form["quantiles"]])
        places = _units(space, list(form["quantiles"].values()))
        return _steps(shares, places)
    if "median" in form:
        if not log:
            raise InvalidValueError(
                f"The prior of {name!r} has a factor, but its scale is not logarithmic; give it 'mean' and 'sd'."
            )
        middle, spread = math.log(form["median"]), math.log(form["factor"])
    elif log:  # the log-normal distribution with this mean and standard deviation
        if not form["mean"] > 0:
            raise InvalidValueError(f"The prior of {name!r}, a positive parameter, has the mean {form['mean']}.")
        spread = math.sqrt(math.log1p((form["sd"] / form["mean"]) ** 2))
        middle = math.log(form["mean"]) - spread**2 / 2
    else:
        middle, spread = form["mean"], form["sd"]
    columns = space.columns
    ends = (columns._log_low[0], columns._log_high[0]) if log else (columns.low[0], columns.high[0])
    width = ends[1] / 2 - ends[0] / 2
    if not width > 0:
        return Normal(0.5, 1.0)
    return Normal((middle / 2 - ends[0] / 2) / width, spread / 2 / width)


def _units(space: Space, values: list[float]) -> FloatArray:
    raw = np.clip(np.array(values), space.columns.low, space.columns.high)
    return space.encode(raw[:, None])[:, 0]


def _steps(shares: FloatArray, places: FloatArray) -> Steps:
    """Quantiles with the ends of the range, moved apart where they are the same."""
    shares, places = np.concatenate([[0.0], shares, [1.0]]), np.concatenate([[0.0], places, [1.0]])
    wide = np.maximum(np.diff(places), NARROW)
    return Steps(shares, np.concatenate([[0.0], np.cumsum(wide)[:-1] / wide.sum(), [1.0]]))


def _of_choices(name: str, distribution: CategoricalDistribution, given: Sequence[tuple[Any, float]]) -> Steps:
    weights = np.ones(len(distribution.choices))
    for choice, weight in given:
        at = distribution._find(choice)
        if at is None:
            raise InvalidValueError(
                f"The prior of {name!r} weighs {choice!r}, which is not among its choices {distribution.choices!r}."
            )
        for k, other in enumerate(distribution.choices):  # a choice that is there twice
            if choice_key(other) == choice_key(distribution.choices[at]):
                weights[k] = weight
    if not weights.any():
        weights[:] = 1.0
    return weighted(weights)


class Beliefs:
    """The product of the beliefs in the parameters of a space.

    Args:
        space: what is searched.
        forms: name -> form; names that the space does not have wait.
    """

    def __init__(self, space: Space, forms: Mapping[str, Mapping[str, Any]]) -> None:
        self.space = space
        self._of = {j: belief(n, space[n], forms[n]) for j, n in enumerate(space) if n in forms}

    def draw(self, rng: np.random.Generator, m: int) -> FloatArray:
        """(m, d) rows of the unit cube; uniform where there is no belief."""
        rows = rng.random((m, len(self.space)))
        for j, of in self._of.items():
            rows[:, j] = of.at(rows[:, j])
        return rows

    def mode(self, rng: np.random.Generator) -> FloatArray:
        """(d,) the most plausible row; random where there is no belief."""
        row = rng.random(len(self.space))
        for j, of in self._of.items():
            row[j] = of.mode
        return row
