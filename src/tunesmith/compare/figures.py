"""Plot data -> plotly figures, as plain dictionaries (plotly's JSON form; plotly itself is not imported).

Colours of text and lines are left open (``None`` fields are filled by the page, which knows whether it is light or
dark). Every text that comes from outside is escaped: plotly reads a little HTML in labels.
"""

from __future__ import annotations

import html
import math
from typing import Any

from tunesmith.compare import analysis, formatting, plotdata
from tunesmith.compare.result import ComparisonResult

Figure = dict[str, Any]

#: Okabe & Ito's colours that are readable on light and on dark ground; distinguishable for colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6FB8", "#7F7F7F")
_DASHES = ("solid", "dash", "dot", "dashdot")
_PANEL_COLUMNS = 4
_GOOD_TO_BAD = [[0.0, "#0B5FA5"], [0.5, "#5FB3A1"], [1.0, "#F2B134"]]


def _text(value: str) -> str:
    return html.escape(value, quote=False)


def _rgba(color: str, alpha: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def style(position: int) -> tuple[str, str]:
    """(colour, dash) of the method at a position."""
    return COLORS[position % len(COLORS)], _DASHES[position // len(COLORS) % len(_DASHES)]


def _layout(height: int, **fields: Any) -> dict[str, Any]:
    return {
        "height": height, "margin": {"l": 70, "r": 20, "t": 20, "b": 60}, "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)", "font": {"size": 13}, "hovermode": "closest", **fields,
    }  # fmt: skip


def _value_axis(title: str, values: list[float], share: bool = False) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": _text(title), "standoff": 12}, "automargin": True, "zeroline": False}
    if share:
        return {**axis, "tickformat": ".1%"}
    if plotdata.wants_log(values):
        low, high = math.log10(min(values)), math.log10(max(values))
        ticks = plotdata.log_ticks(min(values), max(values))
        return {
            **axis, "type": "log", "range": [low - 0.05 * (high - low), high + 0.05 * (high - low)],
            "tickvals": ticks, "ticktext": plotdata.tick_labels(ticks),
        }  # fmt: skip
    return {**axis, "exponentformat": "power", "nticks": 8}


def curves(result: ComparisonResult) -> Figure | None:
    """Best value so far against the number of trials (with stopping rules: of steps of training): a line for the mean,
    a band of one standard deviation."""
    unit = f"{result.unit}s" if result.ruled else "trials"
    shape = "hv" if result.ruled else "hvh"  # a trial's value is there from its last step on
    data: list[dict[str, Any]] = []
    seen: list[float] = []
    for i, (label, curve) in enumerate(plotdata.best_so_far(result).items()):
        color, dash = style(i)
        known = [k for k, v in enumerate(curve.mean) if v is not None]
        if not known:
            continue
        x = [curve.at[k] for k in known]
        low, high = [curve.low[k] for k in known], [curve.high[k] for k in known]
        seen += [v for v in low + high if v is not None]
        if len(curve.repeats) > 1:
            edge = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0, "shape": shape},
                    "hoverinfo": "skip", "showlegend": False, "legendgroup": str(i)}  # fmt: skip
            data += [{**edge, "y": low}, {**edge, "y": high, "fill": "tonexty", "fillcolor": _rgba(color, 0.14)}]
        data.append({
            "type": "scatter", "mode": "lines", "x": x, "y": [curve.mean[k] for k in known], "name": _text(label),
            "line": {"color": color, "dash": dash, "width": 2.5, "shape": shape}, "legendgroup": str(i),
            "hovertemplate": "%{y:.5g} after %{x} " + unit + "<extra>" + _text(label) + "</extra>",
        })  # fmt: skip
    if not data:
        return None
    last = max(t for trace in data for t in trace["x"])
    ticks = [t for t in plotdata.linear_ticks(0, last, whole=True) if t >= 1]
    heading = f"{unit} of training, over all trials" if result.ruled else unit
    x_axis = {
        "title": {"text": heading, "standoff": 12}, "zeroline": False, "tickvals": sorted({1.0, *ticks}),
        "range": [1 - 0.01 * last, last + 0.01 * last] if last > 1 else [0, 2],
    }  # fmt: skip
    y_axis = _value_axis(f"best {formatting.spoken(result.objective, result.metrics)} so far", seen)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"}
    return {"data": data, "layout": _layout(440, xaxis=x_axis, yaxis=y_axis, legend=legend)}


def finals(result: ComparisonResult, measure: str, title: str) -> Figure | None:
    """The distribution of a measure by method: box, one point a repeat, grey lines between the points of a repeat."""
    values = plotdata.final_values(result, measure)
    everything = [v for column in values.values() for v in column.values()]
    if not everything:
        return None
    names = [_text(name) for name in _shorts(list(values), 22)]
    data: list[dict[str, Any]] = []
    for repeat in sorted({r for column in values.values() for r in column}):
        shared = [i for i, label in enumerate(values) if repeat in values[label]]
        data.append({
            "type": "scatter", "mode": "lines", "x": shared, "y": [list(values.values())[i][repeat] for i in shared],
            "line": {"width": 1, "color": "rgba(128,128,128,0.35)"}, "hoverinfo": "skip", "showlegend": False,
        })  # fmt: skip
    for i, (label, column) in enumerate(values.items()):
        color, _ = style(i)
        if len(column) >= 3:
            data.append({
                "type": "box", "x": [i] * len(column), "y": list(column.values()), "boxpoints": False, "width": 0.45,
                "line": {"color": color, "width": 1.5}, "fillcolor": _rgba(color, 0.15), "hoverinfo": "skip",
                "showlegend": False,
            })  # fmt: skip
        data.append({
            "type": "scatter", "mode": "markers", "x": [i] * len(column), "y": list(column.values()),
            "marker": {"color": color, "size": 7}, "text": [f"repeat {r}" for r in column], "showlegend": False,
            "hovertemplate": "%{y:.5g}<br>%{text}<extra>" + _text(label) + "</extra>",
        })  # fmt: skip
    name = result.objective if measure == "value" else measure.partition(":")[2]
    share = formatting.is_share(name) and min(everything) >= 0 and max(everything) <= 1
    x_axis = {
        "tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4],
        "showgrid": False, "zeroline": False, "automargin": True, "ticklabeloverflow": "allow",
    }  # fmt: skip
    return {"data": data, "layout": _layout(420, xaxis=x_axis, yaxis=_value_axis(title, everything, share))}


def _shorts(texts: list[str], length: int) -> list[str]:
    """Each at most so long: cut at the end, or in the middle when that would make two equal, or not at all."""
    half = (length - 1) // 2
    for head, tail in ((length - 1, 0), (length - 1 - half, half)):
        found = [t if len(t) <= length else f"{t[:head]}…{t[len(t) - tail :]}" for t in texts]
        if len(set(found)) == len(set(texts)):
            return found
    return texts


def samples(result: ComparisonResult, repeat: int) -> Figure | None:
    """Where each method looked, in two parameters: one panel a method, coloured by the objective, the best a star."""
    axes = plotdata.point_axes(result)
    panels = plotdata.sampled_points(result, repeat)
    if axes is None or not panels:
        return None
    rows = math.ceil(len(panels) / _PANEL_COLUMNS)
    columns = math.ceil(len(panels) / rows)
    values = [v for p in panels.values() for i, v in enumerate(p.value) if v is not None and i not in p.stopped]
    layout = _layout(330 * rows + 50, annotations=[], showlegend=False)
    layout["margin"] = {"l": 90, "r": 20, "t": 40, "b": 60}
    log = plotdata.wants_log(values)
    data: list[dict[str, Any]] = []
    names = _shorts(list(panels), 26)
    for i, (label, found) in enumerate(panels.items()):
        row, column = divmod(i, columns)
        suffix = "" if i == 0 else str(i + 1)
        box = _place(row, column, rows, columns)
        lowest = i + columns >= len(panels)
        layout[f"xaxis{suffix}"] = _panel_axis(axes[0], box[0], f"y{suffix}", title=lowest, labels=lowest)
        layout[f"yaxis{suffix}"] = _panel_axis(axes[1], box[1], f"x{suffix}", title=column == 0, labels=column == 0)
        layout["annotations"].append({
            "text": f"<b>{_text(names[i])}</b>", "x": sum(box[0]) / 2, "y": box[1][1], "xref": "paper",
            "yref": "paper", "yanchor": "bottom", "xanchor": "center", "showarrow": False, "yshift": 4,
        })  # fmt: skip
        data += _panel(found, label, axes, suffix, log)
    layout["coloraxis"] = _color_axis(result, values, log)
    return {"data": data, "layout": layout}


def _place(row: int, column: int, rows: int, columns: int) -> tuple[list[float], list[float]]:
    gap_x, gap_y = 0.045, 0.14 if rows > 1 else 0.0
    width, height = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
    left, top = column * (width + gap_x), 1 - row * (height + gap_y)
    return [round(left, 4), round(left + width, 4)], [round(max(0.0, top - height), 4), round(top, 4)]


def _panel_axis(axis: plotdata.Axis, domain: list[float], anchor: str, *, title: bool, labels: bool) -> dict[str, Any]:
    low, high = (math.log10(axis.low), math.log10(axis.high)) if axis.log else (axis.low, axis.high)
    pad = 0.05 * (high - low)
    fields: dict[str, Any] = {
        "domain": domain, "anchor": anchor, "type": "log" if axis.log else "linear", "range": [low - pad, high + pad],
        "tickvals": axis.ticks, "ticktext": [_text(t) for t in _shorts(axis.labels, 12)], "showticklabels": labels,
        "zeroline": False, "mirror": True, "showline": True, "ticks": "outside" if labels else "",
        "tickangle": 0 if anchor.startswith("y") else None,
    }  # fmt: skip
    if title:
        fields["title"] = {"text": _text(axis.name + (" (log)" if axis.log else "")), "standoff": 8}
    return {k: v for k, v in fields.items() if v is not None}


def _panel(
    found: plotdata.Points, label: str, axes: tuple[plotdata.Axis, plotdata.Axis], suffix: str, log: bool
) -> list[dict[str, Any]]:
    hover = f"%{{text}}<extra>{_text(label)}</extra>"

    def text(i: int, value: str) -> str:
        places = ((axes[0], found.x[i]), (axes[1], found.y[i]))
        return "<br>".join([*(_text(f"{axis.name} {axis.text(at)}") for axis, at in places), value])

    done = [i for i, v in enumerate(found.value) if v is not None and i != found.best and i not in found.stopped]
    failed = [i for i, v in enumerate(found.value) if v is None and i not in found.stopped]
    marks = [(failed, "no value", {"size": 8, "symbol": "x-thin-open", "color": "#D62728", "line": {"width": 2}})]
    if found.stopped:
        small = {"size": 6, "symbol": "circle-open", "color": "rgba(128,128,128,0.8)", "line": {"width": 1}}
        marks.insert(0, (sorted(found.stopped), "stopped", small))
    groups = [(done, "circle", 8, 1.0), ([] if found.best is None else [found.best], "star", 17, 1.5)]
    traces = []
    for chosen, symbol, size, width in groups:
        traces.append({
            "type": "scatter", "mode": "markers", "x": [found.x[i] for i in chosen], "y": [found.y[i] for i in chosen],
            "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "hovertemplate": hover, "cliponaxis": False,
            "text": [text(i, f"trial {found.number[i]}: {formatting.number(found.value[i])}") for i in chosen],
            "marker": {"size": size, "symbol": symbol, "color": [_shade(found.value[i], log) for i in chosen],
                       "coloraxis": "coloraxis", "line": {"width": width, "color": "rgba(90,90,90,0.9)"}},
        })  # fmt: skip
    for chosen, word, marker in marks:
        traces.append({
            "type": "scatter", "mode": "markers", "x": [found.x[i] for i in chosen], "y": [found.y[i] for i in chosen],
            "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "hovertemplate": hover, "cliponaxis": False,
            "text": [text(i, f"trial {found.number[i]}: {word}") for i in chosen], "marker": marker,
        })  # fmt: skip
    return traces


def _color_axis(result: ComparisonResult, values: list[float], log: bool) -> dict[str, Any]:
    """Blue is good, yellow is not; both ends are visible on light and on dark ground.

    The scale ends at the 90 % quantile on the bad side, where a few disasters would hide the rest.
    """
    import numpy as np

    minimize = result.direction == "minimize"
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if len(values) >= 10:
        low, high = (low, float(np.quantile(values, 0.9))) if minimize else (float(np.quantile(values, 0.1)), high)
    bar: dict[str, Any] = {"thickness": 12, "len": 1.0, "outlinewidth": 0, "nticks": 5}
    if log:
        ticks = plotdata.log_ticks(low, high)
        bar |= {"tickvals": [math.log10(t) for t in ticks], "ticktext": plotdata.tick_labels(ticks)}
        low, high = math.log10(low), math.log10(high)
    bar["title"] = {"text": _text(analysis.headings(result)["value"]), "side": "top"}
    return {
        "colorscale": _GOOD_TO_BAD, "reversescale": not minimize, "cmin": low,
        "cmax": high if high > low else low + 1e-12, "colorbar": bar,
    }  # fmt: skip


def _shade(value: float | None, log: bool) -> float | None:
    return math.log10(value) if log and value is not None else value
