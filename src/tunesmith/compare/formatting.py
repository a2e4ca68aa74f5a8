"""Numbers as text, the same way in every output."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tunesmith.compare.directions import split_of

#: What stands where there is no number.
NOTHING = "-"


def _has_twin(name: str, names: Iterable[str], where: str = "val") -> bool:
    """Whether the names hold this one with its split too: ``loss`` beside ``val_loss`` is no validation loss."""
    return f"{where}_{name}".lower() in {other.lower() for other in names}


def heading(name: str, where: str = "val") -> str:
    """A metric's name above a column: ``val_loss``, ``loss`` -> ``val loss``; ``test_accuracy`` -> ``test accuracy``.

    It looks at this name alone; :func:`headings` gives the names of several their headings, all different.

    Args:
        name: of the metric.
        where: ``"val"`` or ``"test"``: the split it was measured on, unless its name says so. What a test reports
            under another split's name keeps it: ``val_loss`` -> ``test val loss``.
    """
    split = split_of(name)
    if split and where == "test" and split != "test":
        return f"test {split} {bare(name)}"
    if split:
        return f"{split} {bare(name)}"
    return "value" if name == "value" and where == "val" else f"{where} {bare(name)}"


def headings(val: Sequence[str], test: Sequence[str] = (), taken: Iterable[str] = ()) -> dict[tuple[str, str], str]:
    """The headings of all metrics at once: unique, and an unprefixed name is not said to be what it is not.

    Beside ``val_loss`` a plain ``loss`` stays ``loss`` (Keras calls the training loss so); what would still be equal
    is told apart by the metric's name as it is.

    Args:
        val: names of the validation metrics.
        test: names of the test metrics.
        taken: headings that other columns have.

    Returns:
        ``("val" or "test", name)`` -> heading.
    """

    def wanted(where: str, name: str, names: Sequence[str]) -> str:
        return bare(name) if not split_of(name) and _has_twin(name, names, where) else heading(name, where)

    return _distinct(val, test, wanted, " ", taken)


def fields(val: Sequence[str], test: Sequence[str] = (), taken: Iterable[str] = ()) -> dict[tuple[str, str], str]:
    """The metrics' names in a CSV header, unique as :func:`headings`: ``val_loss`` for ``loss`` and for ``val_loss``.

    Args:
        val: names of the validation metrics.
        test: names of the test metrics.
        taken: fields that the file has besides; ``best_`` + a field is kept free too.

    Returns:
        ``("val" or "test", name)`` -> field.
    """

    def wanted(where: str, name: str, names: Sequence[str]) -> str:
        split = split_of(name)
        if split == where or (split and where == "val") or (not split and _has_twin(name, names, where)):
            return name
        return f"{where}_{name}"

    return _distinct(val, test, wanted, "_", taken)


def _distinct(
    val: Sequence[str],
    test: Sequence[str],
    wanted: Callable[[str, str, Sequence[str]], str],
    joint: str,
    taken: Iterable[str],
) -> dict[tuple[str, str], str]:
    """A text of its own for every metric: those that name their split choose first, those of another split last."""
    lists = {"val": list(val), "test": list(test)}
    order = {"val": ("val", "", "train", "test"), "test": ("test", "", "train", "val")}
    metrics = sorted(
        dict.fromkeys((where, name) for where, names in lists.items() for name in names),
        key=lambda metric: order[metric[0]].index(split_of(metric[1])),
    )
    used, best = set(taken), f"best{joint}"
    texts = {}
    for where, name in metrics:
        spaced = name.replace("_", joint)
        choices = [wanted(where, name, lists[where])] + [f"{where}{joint}{spaced}"] * (split_of(name) != where)
        choices += [name, f"metric{joint}{name}", *(f"metric{joint}{name}{joint}{k}" for k in range(2, 3 + len(used)))]
        texts[where, name] = text = next(c for c in choices if not {c, best + c} & used)
        used |= {text, best + text}
    return texts


def bare(name: str) -> str:
    """A metric's name without its split: ``val_loss`` -> ``loss``."""
    split = split_of(name)
    return (name[len(split) + 1 :] if split else name).replace("_", " ")


def spoken(name: str, metrics: Iterable[str] = ()) -> str:
    """The objective within a sentence: ``validation loss``; ``value`` for a plain function.

    Args:
        name: of the objective.
        metrics: the names of all validation metrics: beside ``val_loss`` the objective ``loss`` is no validation loss.
    """
    if name == "value" or (not split_of(name) and _has_twin(name, metrics)):
        return bare(name)
    words = {"train": "training", "test": "test"}
    return f"{words.get(split_of(name), 'validation')} {bare(name)}"


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


def setting(value: Any) -> str:
    """A parameter's value; unlike a missing number a None (or NaN) is a value here, and shown as such."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return str(value)
    return number(value)


def setting_column(configurations: Sequence[Mapping[str, Any]], name: str, *, log: bool = False) -> list[str]:
    """Values of one parameter below each other: four significant digits on a log scale, else equal decimals.

    Args:
        configurations: name -> value; ``-`` stands where the parameter is absent, ``None`` where it is None.
        name: of the parameter.
        log: whether it is searched on a logarithmic scale.
    """
    values = [c.get(name) for c in configurations]
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v)]
    top = max(sizes, default=0.0)
    decimals = None if log or not sizes or not 1e-3 <= top < 1e6 else max(0, 3 - math.floor(math.log10(top)))

    def text(value: Any) -> str:
        fixed = decimals is not None and isinstance(value, float) and math.isfinite(value)
        return f"{value:.{decimals}f}" if fixed else setting(value)

    return [text(v) if name in c else NOTHING for c, v in zip(configurations, values, strict=True)]


def params(values: Mapping[str, Any]) -> str:
    """A configuration on one line: ``lr=0.01234, width=64``."""
    return ", ".join(f"{name}={setting(value)}" for name, value in values.items())
