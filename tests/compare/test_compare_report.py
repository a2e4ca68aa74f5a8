"""Plot data, and the HTML page: complete, self-contained, and safe against hostile names."""

from __future__ import annotations

import builtins
import html.parser
import importlib.util
import json
import math

import pytest
from compare.synthetic import known, synthetic

from tunesmith.compare import figures, plotdata, report
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import MissingDependencyError

VOID = {"meta", "br", "link", "img", "input", "hr"}
EVIL = "<script>alert('x')</script>\"onmouseover=\"y"


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects what would be loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.loads, self.tags, self.text, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.stack, f"left open: {self.stack}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack, f"stray </{tag}>"
        assert self.stack.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.stack and self.stack[-1] == "script" else self.text).append(data)


@pytest.fixture(scope="module")
def page():
    pytest.importorskip("plotly")
    result = synthetic({"random": 0.0, "sobol": -0.05, EVIL: -0.06}, repeats=3)
    result.title = f"title {EVIL}"
    result.space["parameters"]["</script><b>p"] = {"type": "float", "low": 0, "high": 1}
    return report.to_html(result)


def test_the_page_is_well_formed_and_loads_nothing(page):
    parsed = Page(page)
    assert parsed.loads == []
    assert not any(tag in ("link", "iframe", "img", "object", "embed") for tag, _ in parsed.tags)
    policy = [a["content"] for t, a in parsed.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy[0]
    assert "http" not in policy[0]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_names_stay_text(page):
    parsed = Page(page)
    assert "".join(parsed.text).count(EVIL) >= 5  # shown as it is, in title, heading and tables
    assert not any("onmouseover" in attrs for _, attrs in parsed.tags)
    assert [t for t, _ in parsed.tags].count("script") == 3  # the data, plotly, the page's own
    data = json.loads(parsed.scripts[0])
    assert EVIL not in json.dumps(data, ensure_ascii=False)
    assert "&lt;script" in json.dumps(data)


def test_the_page_shows_tables_pictures_and_configuration(page):
    text = " ".join("".join(Page(page).text).split())
    for words in (
        "Table I",
        "Table II",
        "Paired tests",
        "Where the methods looked",
        "Configuration",
        "Too few repeats",
    ):
        assert words in text
    figs = json.loads(Page(page).scripts[0])
    assert {"curves", "values", "tests", "samples-0", "samples-1", "samples-2"} == set(figs)


def test_write_all_without_plotly_writes_the_rest(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "plotly" else real(n, *a))
    paths = report.write_all(synthetic(repeats=2), tmp_path)
    assert set(paths) == {"result", "tables", "trials", "runs", "tests"}
    assert all(path.stat().st_size for path in paths.values())
    assert "tunesmith[report]" in report.missing()


def test_html_without_plotly_names_the_extra(monkeypatch):
    real_import = builtins.__import__
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "plotly" else real(n, *a))
    from importlib import resources

    def files(name):
        if name == "plotly":
            raise ModuleNotFoundError(name)
        return real_import("importlib.resources").resources.files(name)

    monkeypatch.setattr(resources, "files", files)
    with pytest.raises(MissingDependencyError, match=r"tunesmith\[report\]"):
        report.plotly_javascript()


def test_write_all_paths(tmp_path):
    pytest.importorskip("plotly")
    paths = report.write_all(synthetic(repeats=2), tmp_path / "new")
    assert paths["report"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "### Table I" in paths["tables"].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "result",
    [known({"a": [None], "b": [None]}), known({"a": [1.0]}), known({"a": [math.inf, 1.0], "b": [2.0, None]})],
    ids=["all failed", "one run", "infinite"],
)
def test_poor_results_make_a_page_too(result):
    pytest.importorskip("plotly")
    Page(report.to_html(result))


def test_the_verdict_says_no_more_than_the_tests():
    far = {"a": [1.0 + 0.1 * k for k in range(9)], "b": [1.01 + 0.13 * k for k in range(9)]}
    far["c"] = [5.0 + 0.2 * k for k in range(9)]
    assert report.verdict(known(far)).endswith(": a is better than b and c; b is better than c.")
    far["b"] = [1.0 + 0.1 * k + (-1) ** k * 0.01 * (k + 1) for k in range(9)]
    assert report.verdict(known(far)).endswith(": a and b are better than c.")
    assert "no significant difference" in report.verdict(known({k: far[k] for k in "ab"}))
    assert "at least 6" in report.verdict(known({"a": [1.0], "b": [2.0]}))
    assert "nothing is compared" in report.verdict(known({"a": [1.0]}))


# -- plot data ---------------------------------------------------------------------------------------------------


def test_best_so_far_is_the_running_best_with_mean_and_band():
    result = synthetic(trials=6, repeats=4)
    curve = plotdata.best_so_far(result)["sobol"]
    assert curve.at == [1, 2, 3, 4, 5, 6]
    for repeat, own in curve.repeats.items():
        values = [t.value for t in result.run("sobol", repeat).trials]
        assert own == [min(values[: k + 1]) for k in range(6)]
    last = [own[-1] for own in curve.repeats.values()]
    mean = sum(last) / 4
    sd = math.sqrt(sum((v - mean) ** 2 for v in last) / 3)
    assert curve.mean[-1] == pytest.approx(mean)
    assert curve.low[-1] == pytest.approx(max(mean - sd, min(last)))
    assert curve.high[-1] == pytest.approx(min(mean + sd, max(last)))


def test_best_so_far_waits_for_the_first_complete_trial_of_every_repeat():
    result = synthetic(trials=4, repeats=2)
    first = result.run("random", 0).trials[0]
    first.state, first.value = "FAIL", None
    curve = plotdata.best_so_far(result)["random"]
    assert curve.mean[0] is None
    assert curve.mean[1] is not None
    result = known({"a": [1.0, None], "b": [2.0, 3.0]})
    assert plotdata.best_so_far(result)["a"].mean == [1.0]  # a repeat without any result is left out


def test_final_values_are_those_of_table_one():
    result = known({"a": [1.0, None, math.inf], "b": [2.0, 3.0, 4.0]})
    assert plotdata.final_values(result) == {"a": {0: 1.0}, "b": {0: 2.0, 1: 3.0, 2: 4.0}}


def test_points_and_axes():
    result = synthetic(repeats=2)
    x, y = plotdata.point_axes(result)
    assert (x.name, x.log, x.low, x.high) == ("lr", True, 1e-4, 1e-1)
    assert (y.name, y.log) == ("momentum", False)
    points = plotdata.sampled_points(result, 1)["sobol"]
    run = result.run("sobol", 1)
    assert points.x == [t.params["lr"] for t in run.trials]
    assert points.best == run.best
    one = known({"a": [1.0]})
    assert plotdata.point_axes(one) is None
    assert plotdata.sampled_points(one, 0) == {}


def test_choices_are_drawn_by_position():
    axis = plotdata.axis("opt", CategoricalDistribution(["sgd", "adam", None]))
    assert axis.labels == ["sgd", "adam", "None"]
    assert (axis.low, axis.high) == (-0.5, 2.5)


def test_ticks():
    assert plotdata.log_ticks(1e-4, 1e-1) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert plotdata.log_ticks(16, 512) == pytest.approx([20, 50, 100, 200, 500])
    assert plotdata.log_ticks(3, 4) == [3, 4]
    assert len(plotdata.log_ticks(1e-12, 1e3)) <= 6
    assert plotdata.linear_ticks(0, 0.99) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert plotdata.linear_ticks(1, 4, whole=True) == [1, 2, 3, 4]
    assert plotdata.linear_ticks(0, 0) == [0]
    assert plotdata.tick_labels([1e-4, 1e-2]) == ["0.0001", "0.01"]
    assert plotdata.tick_labels([1e-5, 1e-2, 2e-5]) == ["10⁻⁵", "10⁻²", "2·10⁻⁵"]
    for low, high in ((0.0, 1e-9), (-3.0, 700.0), (1e5, 1e6)):
        ticks = plotdata.linear_ticks(low, high)
        assert 3 <= len(ticks) <= 11
        assert low <= ticks[0] < ticks[-1] <= high


def test_log_axes_only_for_positive_values_over_decades():
    assert plotdata.wants_log([1e-6, 1.0])
    assert not plotdata.wants_log([0.5, 1.0])
    assert not plotdata.wants_log([0.0, 1000.0])
    assert not plotdata.wants_log([])


def test_panels_have_log_axes_where_the_parameter_is_log():
    figure = figures.samples(synthetic(repeats=1), 0)
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["yaxis3"]["type"] == "linear"
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < -4 < -1 < high
    assert sum(t["marker"]["symbol"] == "star" and len(t["x"]) for t in figure["data"]) == 3
    int_axis = plotdata.axis("n", IntDistribution(1, 64, log=True))
    assert int_axis.log
    assert plotdata.axis("f", FloatDistribution(0, 1)).ticks[0] == 0
