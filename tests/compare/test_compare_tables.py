"""Known results in, known numbers out: summaries, tests, tables in every form."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from compare.synthetic import known, synthetic
from rich.console import Console

from tunesmith.compare import ComparisonResult, analysis, formatting, report, tables, tidy
from tunesmith.compare.render import Cell, Column, Table, html_table, markdown
from tunesmith.compare.result import Method, metric_direction
from tunesmith.exceptions import InvalidValueError


def printed(result: ComparisonResult, width: int = 100, **options) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    tables.print_tables(result, console, **options)
    return console.file.getvalue()


def column(table: Table, header: str) -> list[str]:
    at = [c.header for c in table.columns].index(header)
    return [row[at].text for row in table.rows]


# -- Table I ---------------------------------------------------------------------------------------------------


def test_table_one_shows_mean_and_sd_of_the_repeats():
    table = tables.table_one(known({"a": [1.0, 2.0, 3.0], "b": [2.0, 2.0, 5.0]}))
    assert column(table, "method") == ["a", "b"]
    assert column(table, "best val loss") == ["2.0 ± 1.0", "3.0 ± 1.7"]  # sd of (2, 2, 5) = sqrt(3)
    assert [row[1].best for row in table.rows] == [True, False]
    assert column(table, "runs") == ["3 of 3", "3 of 3"]
    assert column(table, "training time") == ["2.0 ± 0.0 s"] * 2


def test_the_best_mean_follows_the_direction():
    table = tables.table_one(known({"a": [1.0, 2.0], "b": [2.0, 4.0]}, direction="maximize"))
    assert [row[1].best for row in table.rows] == [False, True]


def test_accuracies_are_in_per_cent_and_belong_to_the_chosen_configuration():
    result = synthetic(repeats=3)
    table = tables.table_one(result)
    mean = sum(run.best_trial.metrics["accuracy"] for run in result.of("pso")) / 3
    assert column(table, "val accuracy")[2].startswith(f"{100 * mean:.1f} ± ")
    tests = [run.test["accuracy"] for run in result.of("pso")]
    assert column(table, "test accuracy")[2].startswith(f"{100 * sum(tests) / 3:.1f} ± ")
    assert column(table, "test accuracy")[2].endswith(" %")


def test_a_method_that_failed_everywhere_is_shown_as_such():
    result = known({"a": [1.0, 2.0, None], "b": [None, None, None]})
    text = printed(result)
    assert column(tables.table_one(result), "best val loss") == ["1.50 ± 0.71", "-"]
    assert column(tables.table_one(result), "runs") == ["2 of 3", "0 of 3"]
    assert "b has no complete trial in any repeat" in text
    assert "4 of 6 trials failed and count as spent budget: a 1, b 3" in text
    assert "no pairs" in text
    everything = known({"a": [None], "b": [None]})
    assert "No trial of this run is complete" in printed(everything)
    assert tables.best_configuration(everything) is None
    assert analysis.best_methods(everything, "value") == []


def test_one_method_one_repeat_is_no_crash():
    text = printed(known({"a": [1.0]}))
    assert "a single repeat, no spread" in text
    assert "Paired tests" not in text


def test_notes_of_a_single_repeat():
    line = tables.table_one(known({"a": [1.0], "b": [2.0]})).notes[0]
    assert line.startswith("Numbers are those of a single repeat, no spread. * marks the best value,")
    assert tables.table_one(known({"a": [1.0]})).notes[0] == "Numbers are those of a single repeat, no spread."


def test_methods_that_ended_early_are_named_with_their_trials():
    result = synthetic(repeats=2)
    even = tables.table_one(result)
    assert "trials" not in [c.header for c in even.columns]
    assert any(note.startswith("Every method had 12 trials in each of 2 repeats.") for note in even.notes)
    del result.run("sobol", 1).trials[9:]
    for repeat in (0, 1):
        del result.run("random", repeat).trials[8:]
    table = tables.table_one(result)
    assert column(table, "trials") == ["8", "9 to 12", "12"]
    text = " ".join(table.notes)
    assert "nothing was left to propose for random after 8, sobol after 9 to 12." in text
    assert "Every method had 12 trials" not in text
    assert "3 methods, up to 12 trials each, 2 repeats" in report._subtitle(result)


# -- directions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dice_loss", "minimize"), ("brier_score", "minimize"), ("val_mape", "minimize"), ("test-error", "minimize"),
        ("top5_err", "minimize"), ("train time", "minimize"), ("rmse2", "minimize"), ("accuracy", "maximize"),
        ("f1", "maximize"), ("F1_macro", "maximize"), ("r2", "maximize"), ("top5", "maximize"), ("map50", "maximize"),
        ("roc-auc", "maximize"), ("test_dice", "maximize"), ("mapping", None), ("across", None), ("terror", None),
        ("neg_log_loss", "maximize"), ("neg_mean_squared_error", "maximize"), ("top_5_accuracy", "maximize"),
        ("top_memory_mb", None), ("accuracy_std", None), ("davies_bouldin_score", None), ("cost_saved", None),
        ("negative_accuracy", "minimize"), ("top1", "maximize"),
        ("value", None),
    ],
)  # fmt: skip
def test_words_of_a_name_tell_the_direction(name, expected):
    assert metric_direction(name, known({"a": [1.0]})) == expected


def test_the_objective_and_the_problem_come_before_the_name():
    result = known({"a": [1.0]}, objective="val_gain", metrics=["val_gain"])
    assert metric_direction("test_gain", result) == metric_direction("Gain", result) == "minimize"
    result.metric_directions = {"lift": "maximize", "test_score": "minimize"}
    assert metric_direction("val_lift", result) == "maximize"
    assert metric_direction("test_score", result) == metric_direction("score", result) == "minimize"


def test_metrics_of_unknown_direction_are_neither_starred_nor_tested(tmp_path):
    result = synthetic(repeats=3)
    for run in result.runs:
        run.test = {"lift": run.test["loss"], "loss": run.test["loss"]}
    result.test_metrics = ["lift", "loss"]
    table = tables.table_one(result)
    at = [c.header for c in table.columns].index("test lift")
    assert not any(row[at].best for row in table.rows)
    assert any("not known of lift" in note and "metric_directions={'lift': 'maximize'}" in note for note in table.notes)
    assert [t.title for t in tables.all_tests(result)][1] == "Paired tests: test loss of the chosen configurations"
    assert "lift" not in tidy.pairs_csv(result)
    tidy.runs_csv(result)
    report.write_all(result, tmp_path)
    with pytest.raises(InvalidValueError, match="'test:lift' are better; state it"):
        analysis.pair_tests(result, "test:lift")
    result.metric_directions = {"lift": "minimize"}
    assert any(row[at].best for row in tables.table_one(result).rows)
    assert "lift" in tables.all_tests(result)[1].title
    assert ComparisonResult.load(result.save(tmp_path / "result.json")).metric_directions == {"lift": "minimize"}


def test_accuracies_are_ranked_as_whole_numbers():
    counts = {
        "a": [834, 838, 869, 830, 793, 806, 861, 811, 874, 812],
        "b": [833, 837, 869, 829, 790, 802, 861, 806, 874, 813],
    }
    shares = {label: [k / 1000 for k in values] for label, values in counts.items()}
    for values in (counts, shares):
        test = analysis.pair_tests(known(values)).tests[0]
        assert test.p == 0.078125
        assert test.effect == pytest.approx(-38 / 55)


def test_equal_means_share_the_star():
    result = known({"a": [0.1, 0.2, 0.3], "b": [0.3, 0.2, 0.1], "c": [0.3, 0.1, 0.2]})
    assert analysis.best_methods(result, "value") == ["a", "b", "c"]


def test_only_finished_runs_count():
    result = known({"a": [1.0, 2.0], "b": [3.0, 4.0]}, complete=False)
    result.run("b", 1).finished = False
    assert analysis.summary(result, "b", "value").values == {0: 3.0}
    assert "UNFINISHED: 3 of 4 runs are done" in " ".join(printed(result).split())
    assert analysis.pair_tests(result).tests[0].n == 1


def test_notes_name_what_a_reader_must_know():
    result = synthetic(repeats=2)
    result.methods[0] = Method("random", "random", note="something about it.")
    result.skipped = {"optuna:tpe": "Optuna is not installed."}
    result.n_jobs = 2
    result.run("pso", 0).retrained = 99.0
    result.run("sobol", 0).test_error = "ValueError: no data"
    text = " ".join(printed(result, 200).split())
    for words in (
        "12 trials in each of 2 repeats", "same data split", "The test split chose nothing", "something about it",
        "optuna:tpe took no part: Optuna is not installed.", "2 studies ran at a time",
        "in 1 of 1 runs the second training ended with another validation loss", "could not be evaluated in 1 run",
    ):  # fmt: skip
        assert words in text


# -- tests -----------------------------------------------------------------------------------------------------


def test_pair_tests_by_hand():
    a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    b = [v + d for v, d in zip(a, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], strict=True)]
    c = [v + 10 + d for v, d in zip(a, [0.0, 0.9, 0.2, 0.5, 0.4, 0.1], strict=True)]
    family = analysis.pair_tests(known({"a": a, "b": b, "c": c}))
    assert [(t.first, t.second) for t in family.tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    first = family.tests[0]
    assert first.p == pytest.approx(2 / 64)
    assert first.p_holm == pytest.approx(6 / 64)  # all three are the smallest possible
    assert first.difference == pytest.approx(-0.35)
    assert first.effect == 1.0  # smaller is better, and a is always smaller
    assert family.tests[1].superiority == 1.0
    assert first.winner is None
    assert family.too_few
    assert family.needed == 7


def test_orientation_when_larger_is_better():
    values = {"a": [1.0 + 0.01 * k**2 for k in range(8)], "b": [2.0 + 0.03 * k for k in range(8)]}
    for direction, winner in (("minimize", "a"), ("maximize", "b")):
        test = analysis.pair_tests(known(values, direction=direction)).tests[0]
        assert test.winner == winner
        assert (test.effect > 0) == (winner == "a")
        assert (test.superiority > 0.5) == (winner == "a")


@pytest.mark.parametrize(("methods", "needed"), [(2, 6), (3, 7), (4, 8), (5, 9)])
def test_too_few_repeats_is_said_with_the_right_number(methods, needed):
    values = {f"m{i}": [float(i), i + 0.1, i + 0.2] for i in range(methods)}
    text = " ".join(printed(known(values)).split())
    assert f"It takes at least {needed} repeats." in text
    assert "Too few repeats: with 3 repeats" in text
    assert "too few repeats" in text
    assert "no difference shown" not in text


def test_the_number_named_is_enough_and_one_less_is_not():
    def values(repeats):
        return {f"m{i}": [10.0 * i + k * 0.1 * (i + 1) for k in range(repeats)] for i in range(4)}

    assert not analysis.pair_tests(known(values(8))).too_few
    assert all(t.winner == t.first for t in analysis.pair_tests(known(values(8))).tests)
    assert analysis.pair_tests(known(values(7))).too_few
    assert not any(t.winner for t in analysis.pair_tests(known(values(7))).tests)


def test_reference_and_missing_pairs():
    result = known({"a": [1.0, 2.0, None], "b": [2.0, None, 3.0], "c": [1.0, 1.0, 1.0]})
    family = analysis.pair_tests(result, reference="c")
    assert [(t.first, t.second, t.n, t.missing) for t in family.tests] == [("a", "c", 2, 1), ("b", "c", 2, 1)]
    assert "2 repeats left out" in " ".join(printed(result).split())  # a vs b share one repeat only
    with pytest.raises(InvalidValueError, match="'x'"):
        analysis.pair_tests(result, reference="x")
    with pytest.raises(InvalidValueError, match="'nonsense'"):
        analysis.measure_of(result.runs[0], "nonsense")


def test_infinite_losses_are_ranked_worst():
    result = known({"a": [1.0] * 6, "b": [math.inf] * 6})
    assert analysis.pair_tests(result).tests[0].winner == "a"
    both = known({"a": [math.inf, 1.0], "b": [math.inf, 2.0]})
    assert analysis.pair_tests(both).tests[0].p == 1.0
    assert "inf" in printed(result)


# -- Table II --------------------------------------------------------------------------------------------------


def test_table_two_lists_the_trials_in_order_and_marks_them():
    result = synthetic()
    table = tables.table_two(result, "pso", 4)
    assert table is not None
    assert column(table, "#") == [str(k) for k in range(12)]
    assert column(table, "") == ["initial"] * 5 + [""] * 7
    best = result.run("pso", 4).best
    marked = [k for k, row in enumerate(table.rows) if any(cell.best for cell in row)]
    assert marked == [best]
    loss = result.run("pso", 4).best_trial.value
    assert column(table, "val loss")[best] == formatting.number(loss)


def test_table_two_chooses_the_best_run_and_refuses_what_is_not_there():
    result = synthetic()
    best = result.best_run()
    assert tables.table_two(result).title == f"Table II: {best.method}, repeat {best.repeat}: its trials in order"
    assert "sobol" in tables.table_two(result, "sobol").title
    assert "repeat 2" in tables.table_two(result, repeat=2).title
    with pytest.raises(InvalidValueError, match="'tpe'"):
        tables.table_two(result, "tpe")
    with pytest.raises(InvalidValueError, match="No repeat 99"):
        tables.table_two(result, "sobol", 99)


# -- outputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_terminal_output_fits_its_width(width):
    long = synthetic({"random": 0.0, "pso(inertia=0.7, topology=ring)": -0.05, "sobol": 0.01}, repeats=8)
    text = printed(long, width)
    assert max(map(len, text.splitlines())) <= width
    assert "best val loss" in text
    assert "verdict" in text
    if width >= 200:
        assert "Too narrow" not in text


def test_terminal_output_neutralizes_control_characters_and_markup():
    text = printed(synthetic({"[red]x[/red]": 0.0, "evil\x1b[2J": 0.1}, repeats=2))
    assert "\x1b" not in text
    assert "[red]x[/red]" in text


def test_markdown_holds_the_same_cells():
    result = synthetic(repeats=3)
    text = tables.to_markdown(result)
    for row in tables.table_one(result).rows:
        assert "| " + " | ".join(f"**{c.text}** \\*" if c.best else c.text for c in row) + " |" in text
    evil = markdown(Table("t|x", [Column("<b>")], [[Cell("a|b*")]]))
    assert "a\\|b\\*" in evil
    assert "&lt;b&gt;" in evil


def test_html_cells_are_escaped():
    text = html_table(Table("<t>", [Column("<h>")], [[Cell("<script>alert(1)</script>", best=True)]], ["<n> & co"]))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;n&gt; &amp; co" in text


def test_csv_is_tidy_and_exact():
    result = synthetic(repeats=3)
    rows = list(csv.DictReader(io.StringIO(tidy.trials_csv(result))))
    assert len(rows) == 3 * 3 * 12
    first = result.runs[0].trials[0]
    assert float(rows[0]["val_loss"]) == first.value
    assert float(rows[0]["param_lr"]) == first.params["lr"]
    assert {row["initial"] for row in rows if row["method"] == "random"} == {"0"}
    assert sum(int(row["best"]) for row in rows) == 9
    runs = list(csv.DictReader(io.StringIO(tidy.runs_csv(result))))
    assert len(runs) == 9
    assert float(runs[0]["test_accuracy"]) == result.runs[0].test["accuracy"]
    assert float(runs[0]["best_val_accuracy"]) == max(t.metrics["accuracy"] for t in result.runs[0].trials)
    pairs = list(csv.DictReader(io.StringIO(tidy.pairs_csv(result))))
    assert {row["measure"] for row in pairs} == {"val:loss", "test:accuracy", "test:loss"}
    assert float(pairs[0]["p"]) == analysis.pair_tests(result).tests[0].p


def test_json_round_trip(tmp_path):
    result = synthetic(repeats=2)
    result.runs[0].trials[0].value = math.inf
    result.runs[0].trials[1].params["width"] = None
    again = ComparisonResult.load(result.save(tmp_path / "result.json"))
    assert again == result
    json.loads((tmp_path / "result.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    data = result.to_dict()
    assert data["runs"][-1]["best_so_far"][-1] == result.runs[-1].best_value
    assert data["runs"][-1]["best_params"] == result.runs[-1].best_trial.params
    assert ComparisonResult.load(tmp_path) == result


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "runs": []}', '{"format": 1, "runs": [{"x": 1}]}'])
def test_a_file_that_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InvalidValueError, match="no result"):
        ComparisonResult.load(tmp_path / "x.json")


# -- numbers as text -------------------------------------------------------------------------------------------


def test_numbers():
    show = formatting.number
    assert [show(v) for v in (0.0, 1.0, 0.123456, 123456.0, 1.5e-7, 3e9, math.nan, -math.inf, None, 7, True, "x")] == [
        "0", "1", "0.1235", "123456", "1.500e-7", "3.000e9", "-", "-inf", "-", "7", "True", "x",
    ]  # fmt: skip
    assert formatting.column([(0.5, 0.01), (0.25, 0.2)]) == ["0.50 ± 0.01", "0.25 ± 0.20"]
    assert formatting.column([(1.06, 0.0001), (0.28, 0.42), (0.036, 0.049)])[2] == "0.036 ± 0.049"
    assert formatting.column([(1e-9, 2e-10), (math.nan, math.nan)]) == ["1.00e-9 ± 2.0e-10", "-"]
    assert formatting.column([(0.5, 0.01)], share=True) == ["50.0 ± 1.0 %"]
    assert formatting.column([(7.0, math.nan)]) == ["7.000"]
    assert [formatting.seconds(v) for v in (0.5, 12.34, 123, 5000)] == ["0.50 s", "12.3 s", "2 min 03 s", "1 h 23 min"]
    assert [formatting.p_value(p) for p in (0.00001, 0.00195, 0.05, 1.0)] == ["<0.0001", "0.0019", "0.050", "1"]
    assert [formatting.signed(v) for v in (0.5, -0.25, 0.001, -0.001)] == ["+0.50", "-0.25", "0.00", "0.00"]
    assert [formatting.heading(m) for m in ("loss", "val_loss", "train_loss", "value")] == [
        "val loss", "val loss", "train loss", "value",
    ]  # fmt: skip
    assert formatting.heading("test_accuracy", "test") == formatting.heading("accuracy", "test") == "test accuracy"
