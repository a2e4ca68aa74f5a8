"""What a stranger reads: names that are unique and true, None that is a value, notes that claim no more than is so."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from compare.synthetic import known, synthetic

from tunesmith import Categorical, Float, Space
from tunesmith.compare import ComparisonResult, FunctionProblem, compare, figures, formatting, plotdata, report, tidy
from tunesmith.compare.notes import notes, shared
from tunesmith.compare.render import html_table, markdown, table_csv
from tunesmith.compare.result import Method, Run, TrialRow
from tunesmith.compare.tables import all_tests, best_configuration, pair_table, table_one, table_two

KERAS = {"val_loss": 1.5, "val_accuracy": 0.8, "loss": 0.5, "accuracy": 0.9}


def made(metrics: dict[str, float], test: dict[str, float] | None = None, **changes) -> ComparisonResult:
    """Two methods, two repeats, one trial each, all with these metrics (the objective first)."""
    result = known({"a": [1.0, 1.0], "b": [1.0, 1.0]}, objective=next(iter(metrics)), metrics=list(metrics), **changes)
    result.test_metrics = list(test or {})
    for run in result.runs:
        run.trials[0].metrics, run.trials[0].value = dict(metrics), next(iter(metrics.values()))
        run.test = dict(test or {})
    return result


def rows_of(text: str) -> list[dict[str, str]]:
    header = next(csv.reader(io.StringIO(text)))
    assert len(set(header)) == len(header), f"one name twice: {header}"
    return list(csv.DictReader(io.StringIO(text)))


def headers(table) -> list[str]:
    found = [c.header for c in table.columns]
    assert len(set(found)) == len(found), f"one heading twice: {found}"
    return found


def cell(table, row: int, header: str) -> str:
    return table.rows[row][headers(table).index(header)].text


# -- names of metrics ------------------------------------------------------------------------------------------


def test_training_metrics_of_keras_are_not_called_validation():
    result = made(KERAS)
    for text in (tidy.trials_csv(result), tidy.runs_csv(result)):
        row = rows_of(text)[0]
        assert {name: float(row[name]) for name in KERAS} == KERAS
    assert float(rows_of(tidy.runs_csv(result))[0]["best_loss"]) == 0.5
    table = table_one(result)
    assert headers(table)[1:5] == ["best val loss", "val accuracy", "loss", "accuracy"]
    assert cell(table, 0, "loss").startswith("0.5")
    assert cell(table_two(result), 0, "val loss") == "1.5"
    assert cell(table_two(result), 0, "loss") == "0.5"
    names = [row[0].text for row in best_configuration(result).rows]
    assert names == ["lr", "val loss", "val accuracy", "loss", "accuracy"]
    assert figures.samples(synthetic(repeats=1), 0)["layout"]["coloraxis"]["colorbar"]["title"]["text"] == "val loss"


def test_a_twin_is_known_in_any_spelling():
    result = made({"val_loss": 1.5, "Loss": 0.5})
    assert rows_of(tidy.trials_csv(result))[0].keys() >= {"val_loss", "Loss"}
    assert headers(table_one(result))[1:3] == ["best val loss", "Loss"]


def test_a_test_that_speaks_of_validation_has_columns_of_its_own():
    result = made({"val_loss": 1.5, "val_accuracy": 0.8}, {"val_loss": 2.5, "val_accuracy": 0.7})
    row = rows_of(tidy.runs_csv(result))[0]
    assert (row["val_loss"], row["test_val_loss"], row["val_accuracy"], row["test_val_accuracy"]) == (
        "1.5", "2.5", "0.8", "0.7",
    )  # fmt: skip
    table = table_one(result)
    assert cell(table, 0, "best val loss").startswith("1.5")
    assert cell(table, 0, "test val loss").startswith("2.5")
    assert all_tests(result)[1].title == "Paired tests: test val accuracy of the chosen configurations"
    assert "test val loss 2.5" in table_two(result).notes[-1]
    assert ["test val loss", "2.5"] in [[c.text for c in row] for row in best_configuration(result).rows]
    other = made({"value": 1.0}, {"val_auc": 0.7})  # also where nothing else has the name
    assert headers(table_one(other))[1:3] == ["best value", "test val auc"]
    assert rows_of(tidy.runs_csv(other))[0]["test_val_auc"] == "0.7"


def test_names_without_a_twin_are_what_they_were():
    result = made({"loss": 1.0, "accuracy": 0.5, "train_loss": 0.1}, {"test_loss": 2.0, "accuracy": 0.4})
    row = rows_of(tidy.runs_csv(result))[0]
    assert (row["val_loss"], row["val_accuracy"], row["train_loss"]) == ("1.0", "0.5", "0.1")
    assert (row["test_loss"], row["test_accuracy"]) == ("2.0", "0.4")
    assert headers(table_one(result))[1:5] == ["best val loss", "val accuracy", "test accuracy", "test loss"]


@pytest.mark.parametrize(
    ("val", "test"),
    [
        (["val_f1_macro", "val_f1 macro", "f1_macro"], []),
        (["loss", "test_loss"], ["test_loss"]),
        (["loss", "test_loss"], ["loss", "test_loss", "val_loss"]),
        (["val_seconds", "seconds", "metric_seconds"], []),
        (["val_trial", "trial", "best_trial", "val_best_trial"], []),
        (["val_loss", "Loss", "LOSS", "Val_loss"], ["val_loss", "Val_loss"]),
        (["val_lr", "lr", "val_param_lr", "param_lr"], []),
        (["val_runs", "runs", "val_time", "time"], []),
        (["val_", "", "_"], ["test_"]),
    ],
)
def test_no_column_has_another_ones_name(val, test):
    result = made({m: float(i) for i, m in enumerate(val)}, {m: 10.0 + i for i, m in enumerate(test)})
    row = rows_of(tidy.runs_csv(result))[0]
    trial = rows_of(tidy.trials_csv(result))[0]
    names = formatting.fields(val, test, {"lr"})
    assert sorted(v for k, v in row.items() if re.fullmatch(r"\d+\.0", v) and not k.startswith("best_")) == sorted(
        [*(f"{i}.0" for i in range(len(val))), *(f"{10 + i}.0" for i in range(len(test))), "2.0"]  # 2 s of training
    )
    assert set(trial) - {"param_lr", "seconds"} <= set(row) | {"trial", "state", "initial", "best"}
    assert len(set(names.values())) == len(names)
    headers(table_one(result))
    headers(table_two(result))


def test_the_objective_is_spoken_of_as_what_it_is():
    assert formatting.spoken("loss") == formatting.spoken("val_loss", KERAS) == "validation loss"
    assert formatting.spoken("loss", KERAS) == "loss"
    assert formatting.spoken("train_loss") == "training loss"
    assert formatting.spoken("value") == "value"
    result = made({"loss": 0.5, "val_loss": 1.5})
    assert "best loss of each run" in notes(result)[0]
    assert figures.curves(result)["layout"]["yaxis"]["title"]["text"] == "best loss so far"
    assert pair_table(result).title == "Paired tests: best loss"


# -- the verdict -----------------------------------------------------------------------------------------------


def verdict_on(page: str) -> str:
    return re.findall(r'class="verdict">(.*?)<', page)[0]


def test_the_verdict_on_the_page_is_that_of_its_tables():
    pytest.importorskip("plotly")
    far = {"a": [1.0 + 0.1 * k for k in range(7)], "b": [2.0 + 0.13 * k for k in range(7)]}
    result = known({**far, "c": [5.0 + 0.2 * k for k in range(7)]})
    assert "a is better than b and c; b is better than c" in verdict_on(report.to_html(result))
    page = report.to_html(result, reference="b")
    assert verdict_on(page).endswith(": a is better than b; b is better than c.")
    page = report.to_html(result, alpha=0.001)
    assert "Too few repeats for a verdict: it takes at least 13" in verdict_on(page)
    assert "significant at 0.001" in verdict_on(page)
    assert "It takes at least 13 repeats" in page
    near = known({"a": [1.0, 2.0] * 4, "b": [2.0, 1.0] * 4, "c": [1.5] * 8})
    assert "between b and any other method" in report.verdict(near, reference="b")
    assert "between any two methods at 0.04" in report.verdict(near, alpha=0.04)
    assert report.verdict(result, alpha=0.049).startswith("Significant at 0.049 in the validation loss")


# -- means over fewer repeats ----------------------------------------------------------------------------------


def test_a_metric_that_is_missing_in_some_repeats_is_noted():
    result = synthetic({"a": 0.0, "b": 0.1, "c": 0.2}, repeats=4)
    assert not any("has a value in" in line for line in notes(result))
    for repeat in (0, 1):
        result.run("a", repeat).test["accuracy"] = math.nan
    for repeat in (0, 1, 3):
        result.run("b", repeat).best_trial.metrics["accuracy"] = math.nan
    del result.run("c", 2).best_trial.metrics["accuracy"]
    found = [line for line in notes(result) if "has a value in" in line]
    assert found == [
        "val accuracy: b has a value in 1 of 4 repeats, c in 3 of 4; the means are over these, and only a method with "
        "the most values can have the *.",
        "test accuracy: a has a value in 2 of 4 repeats; the means are over these, and only a method with the most "
        "values can have the *.",
    ]
    table = table_one(result)
    assert [cell(table, i, "runs") for i in range(3)] == ["4 of 4"] * 3  # runs are those with a best trial, as before


def test_repeats_without_any_best_trial_are_not_counted_twice():
    result = synthetic({"a": 0.0, "b": 0.1}, repeats=3)
    empty = result.run("a", 0)
    empty.best, empty.test, empty.trials = None, {}, [TrialRow(0, "FAIL", {})]
    assert not any("has a value in" in line for line in notes(result))
    result.run("a", 1).test.clear()
    assert any("test loss: a has a value in 1 of 2 repeats that have a best trial;" in line for line in notes(result))
    for run in result.runs:
        run.test = {}
    assert "test loss: no run has a value." in notes(result)


# -- what the repeats share ------------------------------------------------------------------------------------


def objective(trial):
    return trial.suggest_float("x", 0, 1)


def seeded(trial, seed):
    return trial.suggest_float("x", 0, 1) + seed % 7


def numbered(trial, repeat):
    return trial.suggest_float("x", 0, 1) + repeat


def both(trial, seed, repeat):
    return trial.suggest_float("x", 0, 1) + seed % 7 + repeat


@pytest.mark.parametrize(
    ("function", "what", "sentence"),
    [
        (objective, "", "takes no seed and no repeat, so repeats differ only in the seeds of the samplers"),
        (seeded, "the same training seeds", "the objective got the same training seeds under all methods, so diff"),
        (numbered, "the same repeat number", "got the same repeat number under all methods, so differences are paired. "
         "It takes no seed."),
        (both, "the same repeat number and the same training seeds", "number and the same training seeds under all"),
    ],
)  # fmt: skip
def test_pairing_is_claimed_only_of_what_a_function_takes(tmp_path, function, what, sentence):
    result = compare(FunctionProblem(function, {"x": Float(0, 1)}), ["random", "sobol"], 2, 2, out=tmp_path)
    text = " ".join(notes(result))
    assert sentence in text
    assert "data split" not in text
    assert shared(result) == what
    assert ("pairing them brings nothing" in text) == (not what)
    assert report._finals_text(result).endswith(f"({what or 'which share nothing but its number'}).")


def test_of_other_problems_the_protocol_is_told_unless_an_axis_decides():
    result = known({"a": [1.0, 2.0], "b": [2.0, 3.0]})
    axes = result.space["parameters"]
    usual = (
        "Repeat by repeat all methods saw the same data split and the same training seeds, so differences are paired."
    )
    assert usual in notes(result)[1]
    axes["seed"] = {"type": "int", "low": 3, "high": 3}
    assert usual in notes(result)[1]  # one value only: nothing is searched
    axes["seed"] = {"type": "int", "low": 0, "high": 5}
    assert "saw the same data split, so differences are paired. Training seeds follow from" in notes(result)[1]
    assert report._finals_text(result).endswith("(the same data split).")
    axes["data"] = {"type": "categorical", "choices": ["mnist", "digits"]}
    assert shared(result) == "the same split of each data set"
    del axes["seed"]
    assert shared(result) == "the same split of each data set and the same training seeds"
    result.problem = {
        "kind": "function",
        "wants": ["seed"],
    }  # its seeds come from the trial's number, whatever the space
    axes["seed"] = {"type": "int", "low": 0, "high": 5}
    assert shared(result) == "the same training seeds"


def test_where_there_is_one_method_or_repeat_nothing_is_paired():
    one = " ".join(notes(known({"a": [1.0], "b": [2.0]})))
    assert "Every method had 1 trial. All methods saw the same data split and the same training seeds. Sampler" in one
    assert "Repeat by repeat" not in " ".join(notes(known({"a": [1.0, 2.0]})))
    assert report._finals_text(known({"a": [1.0, 2.0]})) == "One point a repeat."
    assert report._subtitle(known({"a": [1.0]})).startswith("1 method, 1 trial each, 1 repeat, ")


def test_of_a_functions_own_test_no_second_training_is_claimed():
    result = synthetic(repeats=2)
    assert any("trained again with the seed of its trial." in line for line in notes(result))
    result.problem = {"kind": "function", "wants": ["seed"]}
    text = " ".join(notes(result))
    assert (
        "The test chose nothing: it was called once for each run's best configuration, with the seed of its tr" in text
    )
    assert "trained again" not in text


# -- None is a value -------------------------------------------------------------------------------------------

CHOICES = Space({"cw": Categorical([None, "balanced"]), "k": Categorical(["a", None]), "x": Float(0, 1)},
                {"x": "cw == 'balanced'"})  # fmt: skip


def with_none() -> ComparisonResult:
    rows = [
        TrialRow(0, "COMPLETE", {"cw": None, "k": "a"}, 1.0, {"loss": 1.0}),
        TrialRow(1, "COMPLETE", {"cw": "balanced", "k": None, "x": 0.5}, 2.0, {"loss": 2.0}),
        TrialRow(2, "FAIL", {"cw": None, "k": None}),
        TrialRow(3, "FAIL", {}),
    ]
    return ComparisonResult("none", {}, CHOICES.to_dict(), "loss", "minimize", ["loss"], [], [Method("a", "a")], {}, 4,
                            1, 0, 1, [Run("a", 0, "a/0", 1, rows, 0)])  # fmt: skip


def test_none_is_shown_and_only_absent_parameters_are_not():
    result = with_none()
    table = table_two(result)
    assert [cell(table, i, "cw") for i in range(4)] == ["None", "balanced", "None", "-"]
    assert [cell(table, i, "x") for i in range(4)] == ["-", "0.5000", "-", "-"]
    assert ["cw", "None"] in [[c.text for c in row] for row in best_configuration(result).rows]
    assert ">None<" in html_table(best_configuration(result))
    assert "| None |" in markdown(best_configuration(result))
    assert "cw,None" in table_csv(best_configuration(result))
    trials = rows_of(tidy.trials_csv(result))
    assert [row["param_cw"] for row in trials] == ["None", "balanced", "None", ""]
    assert [row["param_x"] for row in trials] == ["", "0.5", "", ""]
    assert [row["val_loss"] for row in trials] == ["1.0", "2.0", "", ""]  # no number stays empty
    assert rows_of(tidy.runs_csv(result))[0]["param_cw"] == "None"
    assert rows_of(tidy.runs_csv(result))[0]["param_x"] == ""
    assert formatting.params({"cw": None, "x": 0.5, "n": math.nan}) == "cw=None, x=0.5, n=nan"


def test_none_is_a_category_of_the_picture():
    result = with_none()
    result.space["parameters"].pop("x")
    result.space.pop("conditions", None)
    cw, k = plotdata.point_axes(result)
    points = plotdata.sampled_points(result, 0)["a"]
    assert (points.x, points.y, points.number) == ([0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0, 1, 2])
    assert [cw.text(at) for at in points.x] == ["None", "balanced", "None"]
    assert k.text(1.0) == "None"
    figure = figures.samples(result, 0)
    texts = [text for trace in figure["data"] for text in trace["text"]]
    assert sorted(texts) == [
        "cw None<br>k None<br>trial 2: no value", "cw None<br>k a<br>trial 0: 1", "cw balanced<br>k None<br>trial 1: 2",
    ]  # fmt: skip
    assert {trace["hovertemplate"] for trace in figure["data"]} == {"%{text}<extra>a</extra>"}


def test_a_value_that_the_space_does_not_know_is_not_drawn():
    result = with_none()
    result.space["parameters"].pop("x")
    result.space.pop("conditions", None)
    result.runs[0].trials[1].params["k"] = "other"
    assert plotdata.sampled_points(result, 0)["a"].number == [0, 2]
    assert report._undrawn(result) == " Trials without one of the two parameters are not drawn."


def test_what_the_pictures_leave_out_is_said():
    assert report._undrawn(synthetic(repeats=2)) == ""
    assert "Only the first 20 of 21 repeats" in report._undrawn(synthetic({"a": 0.0}, trials=2, repeats=21))
    result = synthetic(repeats=2)
    assert "shortest run" not in report._curves_text(result)
    del result.run("pso", 1).trials[9:]
    assert "A line ends with the shortest run of its method." in report._curves_text(result)


def test_hostile_names_stay_text_in_the_hover():
    result = with_none()
    result.space = {"parameters": {"<b>": {"type": "categorical", "choices": ["<i>", "b"]},
                                   "k": {"type": "categorical", "choices": ["a", None]}}}  # fmt: skip
    result.runs[0].trials = [TrialRow(0, "COMPLETE", {"<b>": "<i>", "k": "a"}, 1.0, {"loss": 1.0})]
    texts = [text for trace in figures.samples(result, 0)["data"] for text in trace["text"]]
    assert texts == ["&lt;b&gt; &lt;i&gt;<br>k a<br>trial 0: 1"]


# -- pictures --------------------------------------------------------------------------------------------------


def test_labels_below_the_final_values_may_overflow_and_differ():
    labels = ["optuna:tpe(multivariate=True)", "optuna:tpe(multivariate=False)", "random"]
    x_axis = figures.finals(known({label: [1.0, 2.0] for label in labels}), "value", "best")["layout"]["xaxis"]
    assert x_axis["ticklabeloverflow"] == "allow"  # else plotly hides the last method's
    assert x_axis["automargin"] is True
    assert x_axis["ticktext"] == ["optuna:tpe(…iate=True)", "optuna:tpe(…ate=False)", "random"]
    assert len(set(x_axis["ticktext"])) == 3
    assert max(map(len, x_axis["ticktext"])) <= 22
    cut = figures.finals(known({"one very long label of a method": [1.0], "b": [2.0]}), "value", "best")
    assert cut["layout"]["xaxis"]["ticktext"] == ["one very long label o…", "b"]


def test_a_result_shows_itself_in_a_line():
    result = synthetic(trials=3, repeats=2)
    assert repr(result).startswith(f"ComparisonResult({result.title!r}: random, sobol, pso; 6 runs of 3 trials; ")
    best = min((trial.value, run.method, run.repeat) for run in result.runs for trial in run.trials)
    assert repr(result).endswith(f"; minimize loss; best {best[0]:.4g} by {best[1]}, repeat {best[2]})")
    result.complete, result.runs = False, []
    assert repr(result).endswith("; 0 runs of 3 trials; minimize loss; interrupted)")
