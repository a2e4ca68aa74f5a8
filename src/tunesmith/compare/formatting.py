"""Numbers as text, the same way in every output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

#: What stands where there is no number.
NOTHING = "-"


def heading(name: str, where: str = "val") -> str:
    """A metric's name above a column: ``val_loss``, ``loss`` -> ``val loss``; ``test_accuracy`` -> ``test accuracy``.

    Args:
        name: of the metric.
        where: ``"val"`` or ``"test"``: the split it was measured on, unless its name says so.
    """
    for prefix in ("val_", "test_", "train_"):
        if name.lower().startswith(prefix):
            return f"{prefix[:-1]} {bare(name)}"
    return "value" if name == "value" and where == "val" else f"{where} {bare(name)}"


def bare(name: str) -> str:
    """A metric's name without its split: ``val_loss`` -> ``loss``."""
    for prefix in ("val_", "test_", "train_"):
        if name.lower().startswith(prefix):
            name = name[len(prefix) :]
            break
    return name.replace("_", " ")


def spoken(name: str) -> str:
    """The objective within a sentence: ``validation loss``; ``value`` for a plain function."""
    return "value" if name == "value" else f"validation {bare(name)}"


def is_share(name: str) -> bool:
    """Whether a metric is a share of 1 that readers expect in per cent (an accuracy)."""
    return bare(name).lower() == "acc" or name.lower().endswith("accuracy")


def number(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits, without an exponent where it stays short."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 10**6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text and float(text) == value else text
    return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def metric(name: str, value: float | None) -> str:
    """One value of a metric: accuracies in per cent, anything else as a number."""
    if value is None or math.isnan(value):
        return NOTHING
    if is_share(name) and 0 <= value <= 1:
        return f"{100 * value:.2f} %"
    return number(value)


def column(pairs: Sequence[tuple[float, float]], *, share: bool = False) -> list[str]:
    """``mean ± sd`` for a whole column, with one number of decimals so that the rows line up.

    The spread decides the decimals (two significant digits of the largest one), so that few digits are shown that the
    repeats do not support; a much smaller mean than the others gets up to two more. A missing sd (a single repeat)
    leaves the mean alone.

    Args:
        pairs: (mean, sd) of each row; NaN where there is none.
        share: show values within [0, 1] in per cent.
    """
    known = [abs(m) for m, _ in pairs if math.isfinite(m)]
    percent = share and known and max(known) <= 1 and min(m for m, _ in pairs if math.isfinite(m)) >= 0
    scale = 100.0 if percent else 1.0
    unit = " %" if percent else ""
    spreads = [s * scale for _, s in pairs if math.isfinite(s) and s > 0]
    largest = scale * max(known, default=0.0)
    if known and largest > 0 and (largest < 1e-3 or largest >= 1e6):
        return [_scientific(m * scale, s * scale) + (unit if math.isfinite(m) else "") for m, s in pairs]
    size = max(spreads) if spreads else largest * 1e-2
    decimals = 2 if percent else 4
    if size > 0:
        decimals = min(decimals if percent else 6, max(0, 1 - math.floor(math.log10(size))))
    smallest = scale * min((m for m in known if m > 0), default=0.0)
    if smallest > 0 and not percent:
        decimals = min(6, max(decimals, min(decimals + 2, 1 - math.floor(math.log10(smallest)))))
    return [_fixed(m * scale, s * scale, decimals, unit) for m, s in pairs]


def _fixed(mean: float, sd: float, decimals: int, unit: str) -> str:
    if not math.isfinite(mean):
        return NOTHING if math.isnan(mean) else number(mean)
    spread = f" ± {sd:.{decimals}f}" if math.isfinite(sd) else ""
    return f"{mean:.{decimals}f}{spread}{unit}"


def _scientific(mean: float, sd: float) -> str:
    if not math.isfinite(mean):
        return NOTHING if math.isnan(mean) else number(mean)
    return number(mean, 3) + (f" ± {number(sd, 2)}" if math.isfinite(sd) else "")


def seconds(value: float | None) -> str:
    """A duration: ``0.42 s``, ``12.3 s``, ``2 min 03 s``, ``1 h 12 min``."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    if value < 3600:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(value / 60), 60)
    return f"{hours} h {rest:02d} min"


def seconds_column(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """``mean ± sd`` of durations, in the unit that suits the column."""
    known = [m for m, _ in pairs if math.isfinite(m)]
    top = max(known, default=0.0)
    scale, unit = (1.0, "s") if top < 300 else (60.0, "min") if top < 18000 else (3600.0, "h")
    decimals = 0 if top / scale >= 100 else 1 if top / scale >= 1 else 2
    return [_fixed(m / scale, s / scale, decimals, f" {unit}") for m, s in pairs]


def p_value(value: float) -> str:
    """A p-value with two significant digits; below 0.0001 only that."""
    if math.isnan(value):
        return NOTHING
    if value < 1e-4:
        return "<0.0001"
    if value >= 0.9995:
        return "1"
    return f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"


def signed(value: float, digits: int = 2) -> str:
    """An effect size with its sign."""
    if math.isnan(value):
        return NOTHING
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def plain_column(values: Sequence[Any], *, log: bool = False) -> list[str]:
    """Values of one parameter below each other: four significant digits on a log scale, else equal decimals."""
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v)]
    top = max(sizes, default=0.0)
    if log or not sizes or not 1e-3 <= top < 1e6:
        return [NOTHING if v is None else number(v) for v in values]
    decimals = max(0, 3 - math.floor(math.log10(top)))
    return [f"{v:.{decimals}f}" if isinstance(v, float) and math.isfinite(v) else number(v) for v in values]


def params(values: dict[str, Any]) -> str:
    """A configuration on one line: ``lr=0.01234, width=64``."""
    return ", ".join(f"{name}={number(value)}" for name, value in values.items())
