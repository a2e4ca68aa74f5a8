"""What the pictures of a comparison show, as plain numbers; nothing here draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.compare import analysis, formatting
from tunesmith.compare.result import ComparisonResult, Run, better
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError


@dataclass(frozen=True)
class Curve:
    """Best value so far of one method.

    Attributes:
        at: numbers of trials, 1, 2, ..., up to the shortest of its finished runs; if some method has a stopping rule,
            the numbers of steps of training at which something has changed.
        mean: mean over the repeats; None while some repeat has no complete trial yet.
        low: mean - sd, but not below the lowest repeat (so that a band of positive values stays positive).
        high: mean + sd, but not above the highest repeat.
        repeats: repeat -> its own curve.
    """

    at: list[int]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]
    repeats: dict[int, list[float | None]]


def best_so_far(result: ComparisonResult) -> dict[str, Curve]:
    """Label -> mean and band of the best complete value among the first k trials (steps), over its finished runs.

    Runs without any complete trial have no curve and are left out, as they are in Table I.
    """
    curves = {}
    for label in result.labels:
        runs = [run for run in result.of(label) if run.finished and run.best is not None]
        at, own = _by_steps(result, runs) if result.ruled else _by_trials(result, runs)
        stats = [_mean_band([own[r][k] for r in own]) for k in range(len(at))]
        curves[label] = Curve(at, [s[0] for s in stats], [s[1] for s in stats], [s[2] for s in stats], own)
    return curves


#: Repeat -> the best value so far at each place.
Own = dict[int, list[float | None]]


def _by_trials(result: ComparisonResult, runs: list[Run]) -> tuple[list[int], Own]:
    own = {run.repeat: run.best_so_far(result.direction) for run in runs}
    return list(range(1, min(map(len, own.values()), default=0) + 1)), own


def _by_steps(result: ComparisonResult, runs: list[Run]) -> tuple[list[int], Own]:
    """A trial counts when it is complete, at the number of steps that its study had spent on all trials by then."""
    found: dict[int, list[tuple[int, float]]] = {}
    lengths = []
    for run in runs:
        ends = analysis.ends_of_trials(run, result)
        lengths.append(max(ends))
        best: float | None = None
        found[run.repeat] = steps = []
        for end, trial in sorted(zip(ends, run.trials, strict=True), key=lambda pair: pair[0]):
            if trial.state == "COMPLETE" and trial.value is not None and better(trial.value, best, result.direction):
                best = trial.value
                steps.append((end, best))
    last = min(lengths, default=0)
    at = sorted({end for steps in found.values() for end, _ in steps if end < last} | ({last} if last else set()))
    own: Own = {}
    for repeat, steps in found.items():
        places = np.searchsorted([end for end, _ in steps], at, side="right").tolist()
        own[repeat] = [steps[place - 1][1] if place else None for place in places]
    return at, own


def _mean_band(column: list[float | None]) -> tuple[float | None, float | None, float | None]:
    values = [v for v in column if v is not None and math.isfinite(v)]
    if len(values) < len(column):
        return None, None, None
    mean = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return mean, max(mean - sd, min(values)), min(mean + sd, max(values))


def final_values(result: ComparisonResult, measure: str = "value") -> dict[str, dict[int, float]]:
    """Label -> repeat -> value of a measure (see :mod:`tunesmith.compare.analysis`); finite values only."""
    found = {m: analysis.summary(result, m, measure).values for m in result.labels}
    return {m: {r: v for r, v in values.items() if math.isfinite(v)} for m, values in found.items()}


def wants_log(values: list[float]) -> bool:
    """Whether a logarithmic axis shows these values better: all positive, and over more than two decades."""
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > 100


@dataclass(frozen=True)
class Axis:
    """One axis of the sampled points.

    Attributes:
        name: of the parameter.
        log: whether it is searched on a logarithmic scale.
        low: end of the axis in the parameter's own unit (for choices: the index of the first).
        high: other end.
        ticks: where to label.
        labels: the labels.
        choices: whether positions stand for choices, in the order of the labels.
    """

    name: str
    log: bool
    low: float
    high: float
    ticks: list[float]
    labels: list[str]
    choices: bool = False

    def text(self, position: float) -> str:
        """The value at a position: a choice's label, else the number."""
        return self.labels[int(position)] if self.choices else formatting.number(position)


@dataclass(frozen=True)
class Points:
    """Where one run looked.

    Attributes:
        x: positions along the first axis.
        y: along the second.
        value: objective values, None for failed trials.
        number: trial numbers.
        best: position in these lists of the best trial, or None.
        stopped: positions of those that a stopping rule has ended; what they reached is not to be compared.
    """

    x: list[float]
    y: list[float]
    value: list[float | None]
    number: list[int]
    best: int | None
    stopped: frozenset[int] = frozenset()


def point_axes(result: ComparisonResult) -> tuple[Axis, Axis] | None:
    """The two parameters to draw: the first two numeric ones that vary, choices only where these are missing.

    None when fewer than two parameters vary.
    """
    space = result.parsed_space()
    varying = {name: d for name, d in space.items() if not d.single()}
    numeric = [name for name, d in varying.items() if not isinstance(d, CategoricalDistribution)]
    names = (numeric + [name for name in varying if name not in numeric])[:2]
    if len(names) < 2:
        return None
    first, second = (axis(name, varying[name]) for name in names)
    return first, second


def axis(name: str, distribution: BaseDistribution) -> Axis:
    """The axis of one parameter, over its whole range."""
    if isinstance(distribution, CategoricalDistribution):
        k = len(distribution.choices)
        labels = [str(c) for c in distribution.choices]
        return Axis(name, False, -0.5, k - 0.5, list(map(float, range(k))), labels, choices=True)
    low, high, log = float(distribution.low), float(distribution.high), bool(distribution.log)  # type: ignore[attr-defined]
    whole = isinstance(distribution, IntDistribution)
    ticks = log_ticks(low, high) if log else linear_ticks(low, high, whole=whole)
    return Axis(name, log, low, high, ticks, tick_labels(ticks))


def log_ticks(low: float, high: float) -> list[float]:
    """Labels for a logarithmic axis: powers of ten over two decades and more (at most six), else 1-2-5 steps."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = low * (1 - 1e-9), high * (1 + 1e-9)
    powers = [10.0**e for e in range(first, last + 1) if inside[0] <= 10.0**e <= inside[1]]
    if len(powers) > 2:
        return powers[:: math.ceil(len(powers) / 6)]
    steps = [m * 10.0**e for e in range(first, last + 1) for m in (1.0, 2.0, 5.0)]
    ticks = [s for s in steps if inside[0] <= s <= inside[1]]
    return ticks if len(ticks) >= 2 else sorted({low, high})


def linear_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to six round labels between the ends."""
    span = high - low
    if span <= 0:
        return [low]
    size = 10.0 ** math.floor(math.log10(span / 5))
    step = next(m * size for m in (1, 2, 5, 10) if m * size >= span / 5 * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(start, stop + 1)]


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def tick_labels(values: list[float]) -> list[str]:
    """Short labels in one style: ``0.01``, ``200``; powers of ten (``10⁻⁴``, ``2·10⁻⁵``) when any needs one."""
    plain = all(v == 0 or 1e-4 <= abs(v) < 1e5 for v in values)
    return [f"{v:.6g}" if plain or v == 0 else _power(v) for v in values]


def _power(value: float) -> str:
    exponent = math.floor(math.log10(abs(value)) + 1e-12)
    mantissa = value / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPT)
    return power if abs(mantissa - 1) < 1e-6 else f"{mantissa:.3g}·{power}"


def points(result: ComparisonResult, run: Run, axes: tuple[Axis, Axis]) -> Points:
    """The trials of one run that have both parameters, with values that the declared space knows (None may be one)."""
    space = result.parsed_space()
    first, second = ([_place(space[axis.name], axis.name, t.params) for t in run.trials] for axis in axes)
    drawn = [(t, x, y) for t, x, y in zip(run.trials, first, second, strict=True) if x is not None and y is not None]
    best = next((i for i, (t, _, _) in enumerate(drawn) if t.number == run.best), None)
    values = [t.value if t.value is not None and math.isfinite(t.value) else None for t, _, _ in drawn]
    ruled = run.method in result.ruled
    stopped = frozenset(i for i, (t, _, _) in enumerate(drawn) if ruled and t.state == "PRUNED")
    numbers = [t.number for t, _, _ in drawn]
    return Points([x for _, x, _ in drawn], [y for _, _, y in drawn], values, numbers, best, stopped)


def _place(distribution: BaseDistribution, name: str, params: Mapping[str, Any]) -> float | None:
    """Where a configuration lies on an axis; None when it is not there."""
    if name not in params:
        return None
    try:
        return float(distribution.to_internal_repr(params[name]))
    except InvalidValueError:
        return None


def sampled_points(result: ComparisonResult, repeat: int) -> dict[str, Points]:
    """Label -> points of that repeat; empty when fewer than two parameters vary."""
    axes = point_axes(result)
    if axes is None:
        return {}
    return {run.method: points(result, run, axes) for run in result.runs if run.repeat == repeat}
