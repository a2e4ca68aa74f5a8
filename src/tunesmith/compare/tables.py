"""The tables of a comparison, and the notes without which they would mislead.

Table I: what each method reached. The tests: which differences the repeats support. Table II: one run, trial by trial.
Stopping rules: what they would have done (:mod:`tunesmith.compare.stopping`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tunesmith.compare import analysis, formatting
from tunesmith.compare.notes import count, notes, span
from tunesmith.compare.render import Cell, Column, Table, escape_markdown, markdown, plain, print_table
from tunesmith.compare.result import ComparisonResult, Run, TrialRow
from tunesmith.compare.stopping import stopping_table
from tunesmith.numerics.statistics import EXACT_TIED
from tunesmith.space import Space

if TYPE_CHECKING:
    from rich.console import Console


# -- Table I -------------------------------------------------------------------------------------------------------


def table_one(result: ComparisonResult) -> Table:
    """Table I: mean ± sd over repeats of what each method's best configuration reached, and the time it took."""
    measures = _measures(result)
    columns = [Column("method", "left")] + [Column(header, rank=rank) for _, header, rank in measures]
    counts = analysis.trial_counts(result)
    uneven = any(n != result.trials for label in counts for n in counts[label])
    columns += [Column("trials", rank=1)] * uneven
    extra = _effort(result)
    columns += [Column(header, rank=4) for header in extra] + [Column("training time", rank=2), Column("runs", rank=3)]
    cells = [[Cell(label) for label in result.labels]] + [_measure_cells(result, key) for key, _, _ in measures]
    if uneven:
        cells.append([_trials_cell(counts[label]) for label in result.labels])
    cells += [[_trials_cell(found[label]) for label in result.labels] for found in extra.values()]
    cells.append(_time_cells(result))
    cells.append([_runs_cell(result, label) for label in result.labels])
    rows = [list(row) for row in zip(*cells, strict=True)]
    return Table("Table I: search methods compared", columns, rows, notes(result))


def _effort(result: ComparisonResult) -> dict[str, dict[str, list[int]]]:
    """Header -> label -> counts, of what methods with stopping rules do differently."""
    if not result.ruled:
        return {}
    spent = analysis.steps_spent(result)
    uneven = any(steps != result.trials * (result.steps or 1) for found in spent.values() for steps in found)
    return {"complete": analysis.complete_counts(result), **({f"{result.unit}s": spent} if uneven else {})}


def _measures(result: ComparisonResult) -> list[tuple[str, str, int]]:
    """(measure, header, rank) of the columns: the objective, other validation metrics, then the test metrics."""
    texts = analysis.headings(result)
    chosen, seen = [], set()
    for key in analysis.shown_measures(result):
        kind = key.partition(":")[0]
        rank = 0 if kind not in seen else 6 if kind == "val" else 5
        seen.add(kind)
        chosen.append((key, f"best {texts[key]}" if key == "value" else texts[key], rank))
    return chosen


def _measure_cells(result: ComparisonResult, measure: str) -> list[Cell]:
    name = result.objective if measure == "value" else measure.partition(":")[2]
    summaries = [analysis.summary(result, m, measure) for m in result.labels]
    texts = formatting.column([(s.mean, s.sd) for s in summaries], share=formatting.is_share(name))
    best = analysis.best_methods(result, measure) if len(result.labels) > 1 else []
    return [
        Cell(text, None if math.isnan(s.mean) else s.mean, label in best)
        for label, text, s in zip(result.labels, texts, summaries, strict=True)
    ]


def _time_cells(result: ComparisonResult) -> list[Cell]:
    summaries = [analysis.summary(result, m, "train_seconds") for m in result.labels]
    texts = formatting.seconds_column([(s.mean, s.sd) for s in summaries])
    return [Cell(text, s.mean) for text, s in zip(texts, summaries, strict=True)]


def _trials_cell(counts: list[int]) -> Cell:
    return Cell(span(counts), sum(counts) / len(counts)) if counts else Cell(formatting.NOTHING, None)


def _runs_cell(result: ComparisonResult, label: str) -> Cell:
    n = len(analysis.summary(result, label, "value").values)
    return Cell(f"{n} of {result.repeats}", n)


# -- the tests -----------------------------------------------------------------------------------------------------


def pair_table(
    result: ComparisonResult, measure: str = "value", *, alpha: float = analysis.ALPHA, reference: str | None = None
) -> Table:
    """Paired Wilcoxon signed-rank tests with effect sizes and Holm's correction, and what they allow one to say."""
    family = analysis.pair_tests(result, measure, alpha=alpha, reference=reference)
    columns = [
        Column("pair", "left"), Column("difference", rank=2), Column("effect r", rank=0), Column("A", rank=4),
        Column("p", rank=3), Column("p (Holm)"), Column("verdict", "left"),
    ]  # fmt: skip
    rows = [_test_row(test, family, _measure_name(result, measure)) for test in family.tests]
    title = f"Paired tests: {_measure_title(result, measure)}"
    return Table(title, columns, rows, _test_notes(result, family))


def _measure_name(result: ComparisonResult, measure: str) -> str:
    return result.objective if measure == "value" else measure.partition(":")[2]


def _measure_title(result: ComparisonResult, measure: str) -> str:
    if measure == "value":
        return f"best {formatting.spoken(result.objective, result.metrics)}"
    heading = analysis.headings(result).get(measure, measure)
    return f"{heading} of the chosen configurations" if measure.startswith("test:") else heading


def _test_row(test: analysis.PairTest, family: analysis.Family, name: str) -> list[Cell]:
    share = formatting.is_share(name) and abs(test.difference) <= 1
    difference = test.difference * (100 if share else 1)
    text = formatting.number(difference, 3)
    if text not in (formatting.NOTHING, "0"):
        text = ("+" if difference > 0 else "") + text + (" pp" if share else "")
    return [
        Cell(f"{test.first} vs {test.second}"),
        Cell(text, test.difference),
        Cell(formatting.signed(test.effect), test.effect),
        Cell(formatting.NOTHING if math.isnan(test.superiority) else f"{test.superiority:.2f}", test.superiority),
        Cell(formatting.p_value(test.p), test.p),
        Cell(formatting.p_value(test.p_holm), test.p_holm),
        Cell(_verdict(test, family)),
    ]


def _verdict(test: analysis.PairTest, family: analysis.Family) -> str:
    if test.n == 0:
        return "no pairs"
    if test.winner is not None:
        return f"{test.winner} better"
    return "too few repeats" if family.too_few else "no difference shown"


def _test_notes(result: ComparisonResult, family: analysis.Family) -> list[str]:
    m = sum(test.n > 0 for test in family.tests)
    if not m:
        return ["There is nothing to test: it takes two methods with results in the same repeats."]
    lines = []
    n = max(test.n for test in family.tests)
    if family.too_few:
        lines.append(
            f"Too few repeats: with {count(n, 'repeat')} the smallest corrected p-value that {count(m, 'test')} can "
            f"give is {formatting.p_value(family.reachable)}, so no difference could be significant at "
            f"{family.alpha:g}, however large. It takes at least {family.needed} repeats."
        )
    lines.append(
        f"Wilcoxon signed-rank tests on {count(n, 'pair')}, two-sided, "
        f"{'exact' if n <= EXACT_TIED else 'approximate'}; p (Holm) is corrected over "
        f"{count(m, 'test')} of this table, significant up to {family.alpha:g}."
    )
    if family.measure == "value":
        lines.append(
            "difference: mean of first minus second. r: matched-pairs rank-biserial correlation, above 0 when the "
            "first is better, 1 when in every repeat. A: chance that a run of the first beats a run of the second "
            "(Vargha-Delaney). 'No difference shown' does not mean equal."
        )
    lines += [
        f"{t.first} vs {t.second}: {count(t.missing, 'repeat')} left out, where one of the two has no result."
        for t in family.tests
        if t.missing and t.n
    ]
    return lines


def all_tests(result: ComparisonResult, *, alpha: float = analysis.ALPHA, reference: str | None = None) -> list[Table]:
    """The tests on the objective, then on the first test metric (a family of its own) when there is one.

    Test metrics of which it is not known what is better are passed over.
    """
    tested = [key for key, _, _ in _measures(result) if key.startswith("test:")]
    measures = ["value"] + [key for key in tested if analysis.measure_direction(result, key) is not None][:1]
    if len(result.labels) < 2:
        return []
    return [pair_table(result, key, alpha=alpha, reference=reference) for key in measures]


# -- Table II ------------------------------------------------------------------------------------------------------


def table_two(result: ComparisonResult, method: str | None = None, repeat: int | None = None) -> Table | None:
    """Table II: one run's trials in order, the initial ones and the best marked.

    Args:
        result: the comparison.
        method: which method; by default the one that holds the best validation value of all.
        repeat: which repeat; by default that method's best.

    Returns:
        The table, or None when there is no run yet.

    Raises:
        InvalidValueError: for a method or repeat that is not there.
    """
    run = _choose_run(result, method, repeat)
    if run is None:
        return None
    names = list(dict.fromkeys(name for trial in run.trials for name in trial.params))
    space = list(result.space.get("parameters", {}))
    names.sort(key=lambda name: space.index(name) if name in space else len(space))
    ruled = run.method in result.ruled
    columns = [Column("#"), Column("", "left"), *[Column(f"{result.unit}s", rank=1)] * ruled]
    columns += [*(Column(name, rank=30 + i) for i, name in enumerate(names))]
    heads = analysis.headings(result)
    columns += [Column(heads[f"val:{m}"], rank=0 if i < 2 else 80 + i) for i, m in enumerate(result.metrics)]
    columns += [Column("time", rank=70)]
    if any(trial.state != "COMPLETE" for trial in run.trials):
        columns.append(Column("state", "left"))
    dists = result.parsed_space()
    configurations = [trial.params for trial in run.trials]
    texts = {n: formatting.setting_column(configurations, n, log=_is_log(dists, n)) for n in names}
    rows = [_trial_row(result, run, trial, [texts[n][i] for n in names], names)[: len(columns)]
            for i, trial in enumerate(run.trials)]  # fmt: skip
    title = f"Table II: {run.method}, repeat {run.repeat}: its trials in order"
    return Table(title, columns, rows, _run_notes(result, run))


def _choose_run(result: ComparisonResult, method: str | None, repeat: int | None) -> Run | None:
    if method is None and repeat is None:
        return result.best_run() or (result.runs[0] if result.runs else None)
    if method is not None and repeat is not None:
        return result.run(method, repeat)
    if method is None:
        runs = [run for run in result.runs if run.repeat == repeat]
    else:
        runs = result.of(method)
    if not runs:  # raises, and says what there is
        return result.run(method or (result.labels or [""])[0], repeat or 0)
    with_value = [run for run in runs if run.best_value is not None]
    sign = 1 if result.direction == "minimize" else -1
    return min(with_value, key=lambda run: sign * (run.best_value or 0.0)) if with_value else runs[0]


def _is_log(space: Space, name: str) -> bool:
    return bool(getattr(space.get(name), "log", False))


def _trial_row(result: ComparisonResult, run: Run, trial: TrialRow, texts: list[str], names: list[str]) -> list[Cell]:
    is_best = trial.number == run.best
    row = [Cell(str(trial.number), trial.number), Cell("initial" if trial.initial else "", trial.initial)]
    if run.method in result.ruled:
        steps = analysis.trial_steps(trial, result)
        row.append(Cell(str(steps), steps))
    row += [Cell(text, trial.params.get(name)) for name, text in zip(names, texts, strict=True)]
    for name in result.metrics:
        value = trial.metrics.get(name)
        row.append(Cell(formatting.metric(name, value), value, is_best and name == result.objective))
    row.append(Cell(formatting.seconds(trial.duration), trial.duration))
    row.append(Cell(trial.state.lower(), trial.state))
    return row


def _run_notes(result: ComparisonResult, run: Run) -> list[str]:
    lines = []
    n_initial = sum(t.initial for t in run.trials)
    if n_initial:
        lines.append(f"initial: the first {n_initial} configurations, chosen before the method saw any result.")
    if run.best is not None:
        lines.append(
            f"*: the best of the run by {formatting.spoken(result.objective, result.metrics)} (trial {run.best})."
        )
    else:
        lines.append("No trial of this run is complete.")
    if run.method in result.ruled:
        lines.append(
            f"pruned: stopped by the rule, or paused when the budget was spent; the values are those of its last "
            f"{result.unit}, and it cannot be the best."
        )
    if run.test:
        heads = analysis.headings(result)
        found = [f"{heads.get(f'test:{m}', m)} {formatting.metric(m, v)}" for m, v in run.test.items()]
        lines.append(f"Its configuration on the test split: {', '.join(found)}.")
    return lines


# -- the best configuration ----------------------------------------------------------------------------------------


def best_configuration(result: ComparisonResult) -> Table | None:
    """The best configuration of all runs and where it came from, or None when no trial is complete."""
    run = result.best_run()
    trial = run.best_trial if run else None
    if run is None or trial is None:
        return None
    heads = analysis.headings(result)
    rows = [[Cell(name), Cell(formatting.setting(value), value)] for name, value in trial.params.items()]
    for where, values in (("val", trial.metrics), ("test", run.test)):
        rows += [[Cell(heads.get(f"{where}:{m}", m)), Cell(formatting.metric(m, v), v)] for m, v in values.items()]
    title = f"Best configuration: {run.method}, repeat {run.repeat}, trial {trial.number}"
    return Table(title, [Column("name", "left"), Column("value")], rows)


# -- everything together -------------------------------------------------------------------------------------------


def all_tables(
    result: ComparisonResult,
    *,
    method: str | None = None,
    repeat: int | None = None,
    alpha: float = analysis.ALPHA,
    reference: str | None = None,
) -> list[Table]:
    """Table I, the tests, Table II of one run, stopping rules, the best configuration: in the order they are read."""
    optional = (table_two(result, method, repeat), stopping_table(result), best_configuration(result))
    tests = all_tests(result, alpha=alpha, reference=reference)
    return [table_one(result), *tests, *(table for table in optional if table is not None)]


def print_tables(result: ComparisonResult, console: Console | None = None, **options: Any) -> None:
    """Print all tables to a rich console, fitted to its width.

    Args:
        result: the comparison.
        console: a ``rich.console.Console``; a new one for the standard output by default.
        options: as for :func:`all_tables`.
    """
    if console is None:
        from rich.console import Console as RichConsole

        console = RichConsole()
    from rich.text import Text

    console.print(Text(plain(result.title), style="bold"))
    for line in result.description.splitlines():
        console.print(Text(plain(line), style="dim"))
    for table in all_tables(result, **options):
        print_table(table, console)


def to_markdown(result: ComparisonResult, **options: Any) -> str:
    """All tables as one Markdown document."""
    parts = [f"## {escape_markdown(result.title)}\n"]
    if result.description:
        fence = "`" * (3 + result.description.count("`"))
        parts.append(f"{fence}text\n{result.description}\n{fence}\n")
    parts += [markdown(table) for table in all_tables(result, **options)]
    return "\n".join(parts)
