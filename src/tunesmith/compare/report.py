"""The comparison as files: JSON, Markdown, CSV, and one HTML page that needs nothing but itself.

The page holds the tables, the pictures and plotly's JavaScript (from the ``plotly`` package, extra ``report``). It
loads nothing from anywhere, and a content security policy in it forbids that it could.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from tunesmith.compare import analysis, figures, formatting, plotdata, tables, tidy
from tunesmith.compare._page import PAGE, SCRIPT, STYLE
from tunesmith.compare.notes import count, shared
from tunesmith.compare.render import html_table
from tunesmith.compare.result import ComparisonResult
from tunesmith.compare.stopping import stopping_table
from tunesmith.exceptions import MissingDependencyError

#: How many repeats the picture of the sampled points can show (each adds its points to the page).
MAX_REPEATS_DRAWN = 20


def write_all(result: ComparisonResult, out: str | os.PathLike[str], **options: Any) -> dict[str, Path]:
    """Write every output into a folder.

    Args:
        result: the comparison.
        out: the folder; made when missing.
        options: as for :func:`tunesmith.compare.tables.all_tables`.

    Returns:
        Name -> path: ``result`` (JSON), ``tables`` (Markdown), ``trials``, ``runs`` and ``tests`` (CSV), ``report``
        (HTML). ``report`` is absent when plotly is not installed; :func:`missing` says what to do.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tests = {k: v for k, v in options.items() if k in ("alpha", "reference")}
    texts = {
        "tables": ("tables.md", tables.to_markdown(result, **options)),
        "trials": ("trials.csv", tidy.trials_csv(result)),
        "runs": ("runs.csv", tidy.runs_csv(result)),
        "tests": ("tests.csv", tidy.pairs_csv(result, **tests)),
    }
    paths = {"result": result.save(folder / "result.json")}
    for name, (file, text) in texts.items():
        paths[name] = _write(folder / file, text)
    if missing() is None:
        paths["report"] = write_html(result, folder / "report.html", **options)
    return paths


def missing() -> str | None:
    """None when the HTML report can be made, else the sentence that says what is missing and how to get it."""
    import importlib.util

    if importlib.util.find_spec("plotly") is not None:
        return None
    return "No HTML report: plotly is not installed. `pip install 'tunesmith[report]'` brings it."


def write_html(result: ComparisonResult, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write the HTML report.

    Raises:
        MissingDependencyError: when plotly is not installed.
    """
    return _write(Path(path), to_html(result, **options))


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def plotly_javascript() -> str:
    """plotly.js from the installed plotly package.

    Raises:
        MissingDependencyError: when plotly is not installed.
    """
    from importlib import resources

    try:
        return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise MissingDependencyError(missing() or "The installed plotly has no plotly.min.js; reinstall it.") from None


def to_html(result: ComparisonResult, **options: Any) -> str:
    """The report as one self-contained HTML document.

    Args:
        result: the comparison.
        options: as for :func:`tunesmith.compare.tables.all_tables`.
    """
    script = plotly_javascript().replace("</script", "<\\/script")
    figs = report_figures(result)
    tests = _only(options, "alpha", "reference")
    data = json.dumps(figs, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {name: _figure_div(name) if name in figs else "" for name in ("curves", "values", "tests")}
    fields = {
        "title": _h(result.title),
        "subtitle": _h(_subtitle(result)),
        "verdict": _h(verdict(result, **tests)),
        "table_one": html_table(tables.table_one(result)),
        "table_tests": "".join(html_table(t) for t in tables.all_tests(result, **tests)),
        "best": _optional(tables.best_configuration(result)),
        "curves": _section("Best value so far", _curves_text(result), parts["curves"]),
        "finals": _section(
            "Final values", _finals_text(result), f'<div class="pair">{parts["values"]}{parts["tests"]}</div>'
        ),
        "samples": _samples_section(result, figs),
        "table_two": _runs_section(result, options),
        "stopping": _stopping_section(result),
        "configuration": _configuration(result),
        "data": data,
        "style": STYLE,
        "page_script": SCRIPT,
    }
    page = Template(PAGE).substitute(fields)
    return page.replace("<!--PLOTLY-->", f"<script>{script}</script>", 1)


def report_figures(result: ComparisonResult) -> dict[str, figures.Figure]:
    """Name -> figure: ``curves``, ``values``, ``tests``, ``samples-0`` ... ; those without data are absent."""
    named = {"curves": figures.curves(result)}
    named["values"] = figures.finals(result, "value", f"best {_goal(result)}")
    for name in analysis.metrics_of_test(result)[:1]:
        named["tests"] = figures.finals(result, f"test:{name}", analysis.headings(result)[f"test:{name}"])
    for repeat in sorted({run.repeat for run in result.runs})[:MAX_REPEATS_DRAWN]:
        named[f"samples-{repeat}"] = figures.samples(result, repeat)
    return {name: figure for name, figure in named.items() if figure is not None}


def verdict(result: ComparisonResult, *, alpha: float = analysis.ALPHA, reference: str | None = None) -> str:
    """What the tests on the objective allow one to say, in a sentence.

    Args:
        result: the comparison.
        alpha, reference: as for the tables beside it; see :func:`tunesmith.compare.analysis.pair_tests`.
    """
    if len(result.labels) < 2:
        return "One method alone: nothing is compared."
    family = analysis.pair_tests(result, alpha=alpha, reference=reference)
    found = [t for t in family.tests if t.winner is not None]
    level = "" if alpha == analysis.ALPHA else f" at {alpha:g}"
    if family.too_few:
        return (
            f"Too few repeats for a verdict: it takes at least {family.needed} for any of these differences to become "
            f"significant{level}."
        )
    if not found:
        whom = "any two methods" if reference is None else f"{reference} and any other method"
        return f"The repeats show no significant difference between {whom}{level}."
    beaten: dict[str, list[str]] = {}
    for test in found:
        beaten.setdefault(str(test.winner), []).append(test.second if test.winner == test.first else test.first)
    winners: dict[tuple[str, ...], list[str]] = {}
    for winner, losers in beaten.items():
        winners.setdefault(tuple(losers), []).append(winner)
    said = "; ".join(
        f"{_and(names)} {'is' if len(names) == 1 else 'are'} better than {_and(losers)}"
        for losers, names in winners.items()
    )
    return f"Significant{level} in the {_goal(result)} (corrected): {said}."


def _goal(result: ComparisonResult) -> str:
    return formatting.spoken(result.objective, result.metrics)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- the parts of the page -----------------------------------------------------------------------------------------


def _h(text: str) -> str:
    return html.escape(text, quote=True)


def _only(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _optional(table: Any) -> str:
    return "" if table is None else html_table(table)


def _subtitle(result: ComparisonResult) -> str:
    when = f", {result.finished[:10]}" if result.finished else ""
    upto = "up to " if any(len(run.trials) < result.trials for run in result.runs) else ""
    each = f"{upto}{count(result.trials, 'trial')} each"
    if result.ruled:
        training = f"{count(result.trials, 'whole training')} of {count(result.steps or 1, result.unit)}"
        each = f"each as much training as {training}"
    return f"{count(len(result.labels), 'method')}, {each}, {count(result.repeats, 'repeat')}, seed {result.seed}{when}"


def _figure_div(name: str, label: str = "") -> str:
    return f'<div class="plot" data-figure="{_h(name)}" role="img" aria-label="{_h(label or name)}"></div>'


_SAMPLES_TEXT = (
    "Every configuration one run tried, in two of its parameters. Blue points are good, the star is the best, red "
    "crosses failed. Independent uniform points cluster and leave gaps; Sobol and Halton points are spread evenly."
)


def _curves_text(result: ComparisonResult) -> str:
    if result.ruled:
        return (
            f"Mean over repeats of the best {_goal(result)} of a complete trial, by the {result.unit}s that were spent "
            "on all trials until then, whole or stopped; the band is one standard deviation, cut off at the best and "
            "worst repeat. A line begins when every repeat has a complete trial."
        )
    early = any(n < result.trials for counts in analysis.trial_counts(result).values() for n in counts)
    return (
        f"Mean over repeats of the best {_goal(result)} among the first trials; the band is one standard deviation, "
        "cut off at the best and worst repeat." + " A line ends with the shortest run of its method." * early
    )


def _finals_text(result: ComparisonResult) -> str:
    """What a point and a grey line are; a line says no more than what the runs of one repeat really share."""
    if len(result.labels) < 2:
        return "One point a repeat."
    what = shared(result) or "which share nothing but its number"
    return f"One point a repeat; grey lines join the points of one repeat ({what})."


def _section(title: str, text: str, body: str) -> str:
    if 'class="plot"' not in body:
        return ""
    return f'<section><h2>{_h(title)}</h2><p class="lead">{_h(text)}</p>{body}</section>'


def _samples_section(result: ComparisonResult, figs: Mapping[str, Any]) -> str:
    names = [name for name in figs if name.startswith("samples-")]
    if not names:
        return ""
    options = "".join(f'<option value="{_h(n)}">{_h(n.partition("-")[2])}</option>' for n in names)
    choice = f'<label class="choice">repeat <select data-target="samples">{options}</select></label>'
    body = (choice if len(names) > 1 else "") + _figure_div(names[0]).replace("<div ", '<div id="samples" ', 1)
    stopped = " Small grey circles were stopped by a rule." if result.ruled else ""
    return _section("Where the methods looked", _SAMPLES_TEXT + stopped + _undrawn(result), body)


def _undrawn(result: ComparisonResult) -> str:
    """What the picture of the sampled points leaves out."""
    text = ""
    axes = plotdata.point_axes(result)
    if axes is not None:
        drawn = sum(len(plotdata.points(result, run, axes).x) for run in result.runs)
        missing = sum(len(run.trials) for run in result.runs) - drawn
        text = " Trials without one of the two parameters are not drawn." if missing else ""
    repeats = len({run.repeat for run in result.runs})
    if repeats > MAX_REPEATS_DRAWN:
        text += f" Only the first {MAX_REPEATS_DRAWN} of {repeats} repeats are drawn."
    return text


def _runs_section(result: ComparisonResult, options: Mapping[str, Any]) -> str:
    first = tables.table_two(result, **_only(options, "method", "repeat"))
    others = []
    for label in result.labels:
        if not result.of(label):
            continue
        table = tables.table_two(result, label)
        if table is not None and (first is None or table.title != first.title):
            others.append(f"<details><summary>{_h(label)}: best repeat</summary>{html_table(table)}</details>")
    if first is None:
        return ""
    return f"<section><h2>Trial by trial</h2>{html_table(first)}{''.join(others)}</section>"


def _stopping_section(result: ComparisonResult) -> str:
    table = stopping_table(result)
    if table is None:
        return ""
    return f"<section><h2>Would a stopping rule have kept the best trial?</h2>{html_table(table)}</section>"


def _configuration(result: ComparisonResult) -> str:
    space = result.parsed_space()
    rows = [("problem", result.description)]
    rows += [("problem as data", json.dumps(result.problem, ensure_ascii=False, default=str))]
    rows += [(f"{name}", repr(distribution)) for name, distribution in space.items()]
    rows += [(f"{name} only if", text) for name, text in space.conditions.items()]
    rows += [(f"method {m.label}", "\n".join(filter(None, (m.sampler or m.spec, m.rule)))) for m in result.methods]
    rows += [("trials, repeats, seed", f"{result.trials}, {result.repeats}, {result.seed}")]
    rows += [("studies at a time", f"{result.n_jobs}{'' if result.lanes is None else ', in lanes'}")]
    for group, values in result.environment.items():
        if isinstance(values, Mapping):
            rows += [(f"{name}", formatting.number(value)) for name, value in values.items()]
        else:
            rows.append((group, str(values)))
    rows += [("started", result.started), ("finished", result.finished)]
    body = "".join(f"<tr><th scope='row'>{_h(k)}</th><td><pre>{_h(v)}</pre></td></tr>" for k, v in rows if v)
    return f'<section><h2>Configuration</h2><div class="scroll"><table class="plain">{body}</table></div></section>'
