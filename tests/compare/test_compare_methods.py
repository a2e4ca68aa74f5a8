"""What users may write for a method, and grids laid out for a budget."""

from __future__ import annotations

import math

import pytest

from tunesmith import Categorical, Float, Int, Space
from tunesmith.compare.methods import method_sampler, parse_methods, sampler_seed, split_methods
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TunesmithError
from tunesmith.pruners import get_pruner
from tunesmith.samplers import get_sampler

PLANE = Space({"x": Float(0, 1), "y": Float(1e-3, 10, log=True)})


def read(methods):
    return [(s.label, s.name, dict(s.options)) for s in parse_methods(methods)]


def test_names_options_and_labels():
    assert read("grid, pso(inertia=0.7, topology=ring),sobol") == [
        ("grid", "grid", {}),
        ("pso(inertia=0.7, topology=ring)", "pso", {"inertia": 0.7, "topology": "ring"}),
        ("sobol", "sobol", {}),
    ]
    assert read(["qmc(scramble=false)"])[0][2] == {"scramble": False}
    assert read(["optuna:tpe(multivariate=True)"]) == [
        ("optuna:tpe(multivariate=True)", "optuna:tpe", {"multivariate": True})
    ]
    assert read([{"pso": {"inertia": 0.7}}]) == [("pso(inertia=0.7)", "pso", {"inertia": 0.7})]
    assert read([{"random": None}]) == [("random", "random", {})]
    assert read([{"name": "pso", "label": "slow", "options": {"inertia": 0.9}}]) == [("slow", "pso", {"inertia": 0.9})]
    assert read({"a": "random", "b": {"pso": {"n": [1, 2]}}}) == [("a", "random", {}), ("b", "pso", {"n": [1, 2]})]
    sampler = get_sampler("random")
    assert parse_methods([sampler])[0].label == "random"
    assert parse_methods({"mine": sampler})[0].instance is sampler


def ruled(methods):
    return [(s.label, s.name, dict(s.options), s.rule, dict(s.rule_options)) for s in parse_methods(methods)]


def test_stopping_rules():
    assert ruled("tpe+asha, random + hyperband(max_resource=27),pso(inertia=0.7)+median") == [
        ("tpe+asha", "tpe", {}, "asha", {}),
        ("random + hyperband(max_resource=27)", "random", {}, "hyperband", {"max_resource": 27}),
        ("pso(inertia=0.7)+median", "pso", {"inertia": 0.7}, "median", {}),
    ]
    given = {
        "name": "tpe",
        "options": {"n": 3},
        "rule": "asha(min_resource=2)",
        "rule_options": {"reduction_factor": 2},
    }
    own = {"min_resource": 2, "reduction_factor": 2}
    assert ruled([given]) == [("tpe(n=3)+asha(min_resource=2, reduction_factor=2)", "tpe", {"n": 3}, "asha", own)]
    assert ruled({"mine": {"tpe+asha": {"n": 3}}}) == [("mine", "tpe", {"n": 3}, "asha", {})]
    assert ruled([{"name": "optuna:tpe+asha", "label": "theirs"}]) == [("theirs", "optuna:tpe", {}, "asha", {})]
    sampler, rule = get_sampler("random"), get_pruner("median")
    (pair,) = parse_methods([(sampler, rule)])
    assert (pair.label, pair.instance, pair.rule) == ("random+median", sampler, rule)
    assert pair.text == f"{sampler!r}+{rule!r}"
    assert ruled([("random", "asha(reduction_factor=2)")])[0][0] == "random+asha(reduction_factor=2)"
    assert parse_methods({"mine": {"name": "random", "rule": rule}})[0].rule is rule
    assert parse_methods(["tpe+asha"])[0].text == "tpe+asha"
    assert parse_methods(["random(name='a+b')"])[0].rule is None


def test_a_rule_is_told_what_a_whole_training_is():
    ready = method_sampler("random+asha", PLANE, 10, 27)
    assert ready.rule == get_pruner("asha", max_resource=27)
    assert ready.study_name(3) == "random+asha/repeat-03"
    assert method_sampler("random+hyperband(max_resource=9)", PLANE, 10, 27).rule.max_resource == 9
    assert method_sampler("random+hyperband(resource=seconds)", PLANE, 10, 27).rule.max_resource == "auto"
    grid = method_sampler("grid+topk(k=2)", PLANE, 9, 5)
    assert grid.variant == "3x3, 9 trials"
    assert grid.rule.n_configurations == 9 * 5 - 2 * 4
    assert method_sampler("random", PLANE, 10).rule is None
    planning = method_sampler("pso(inertia=[0.9, 0.1])+asha", PLANE, 9, 5)
    assert planning.note == "its sampler plans for 9 trials, but its rule lets it begin more."
    assert planning.variant == "9 trials"


def test_commas_within_brackets_do_not_separate():
    assert split_methods("a(x=1,y=[2,3]),b, c ,") == ["a(x=1,y=[2,3])", "b", "c"]


@pytest.mark.parametrize(
    ("methods", "error", "words"),
    [
        ([], InvalidValueError, "empty"),
        ("", InvalidValueError, "empty"),
        (["random", "random"], InvalidValueError, "twice"),
        (["pso(0.7)"], InvalidValueError, "cannot be read"),
        (["pso(inertia=0.7"], InvalidValueError, "cannot be read"),
        (["pso(a=1)(b=2)"], InvalidValueError, "cannot be read"),
        (["pso(inertia=__import__('os'))"], InvalidValueError, "plain value"),
        (["(x=1)"], InvalidValueError, "no name"),
        ([{"name": "pso", "speed": 1}], InvalidValueError, "speed"),
        ([{"pso": {}, "random": {}}], InvalidValueError, "written as"),
        ([{"pso": 3}], InvalidTypeError, "mapping"),
        ([{"pso": {1: 2}}], InvalidTypeError, "one is called 1"),
        ([7], InvalidTypeError, "7"),
        (["tpe+asha+median"], InvalidValueError, "2 stopping rules"),
        (["tpe+"], InvalidValueError, "no name"),
        (["+asha"], InvalidValueError, "no name"),
        ([{"name": "tpe+asha", "rule": "median"}], InvalidValueError, "names a rule already"),
        ([{"name": "tpe", "rule": 3}], InvalidTypeError, "must be a stopping rule or its name"),
        ([{"name": "tpe", "rule_options": {"k": 3}}], InvalidTypeError, "must be a stopping rule or its name"),
        ([{"name": "tpe", "rule": "asha", "rule_options": 3}], InvalidTypeError, "mapping"),
        ([{"name": "tpe", "rule": get_pruner("asha"), "rule_options": {"k": 3}}], InvalidValueError, "has its own"),
        ([("tpe", 3)], InvalidTypeError, "must be a stopping rule or its name"),
        ([("tpe", "asha", "median")], InvalidTypeError, "a pair"),
        (7, InvalidTypeError, "list of methods"),
    ],
)
def test_what_cannot_be_read_is_refused(methods, error, words):
    with pytest.raises(error, match=words):
        parse_methods(methods)


def test_unknown_methods_and_adapters_are_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="random"):
        method_sampler("nonsense", PLANE, 10)
    with pytest.raises(InvalidValueError, match="Unknown prefix 'nonsense'"):
        method_sampler("nonsense:tpe", PLANE, 10)
    with pytest.raises(TunesmithError):
        method_sampler("random(nonsense=1)", PLANE, 10)


def test_the_grid_is_laid_out_for_the_budget_and_says_how():
    ready = method_sampler("grid", PLANE, 25)
    assert ready.variant == "5x5"
    assert ready.study_name(3) == "grid[5x5]/repeat-03"
    assert ready.note == "a grid of 5 x 5 = 25 cells (x 5, y 5)."
    assert ready.sampler.search_space["y"] == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10])
    fewer = method_sampler("grid", PLANE, 13)
    assert math.prod(map(int, fewer.variant.split("x"))) == 12
    assert "so its runs have 12 of 13 trials" in fewer.note


def test_a_grid_tells_what_it_leaves_out():
    space = Space({"c": Categorical(range(6)), "d": Categorical(list("abcde")), "x": Float(0, 1)})
    note = method_sampler("grid", space, 20).note
    assert "x stays at the middle" in note
    assert "not all choices of d fit" in note
    more = method_sampler("grid(points=4)", PLANE, 10)
    assert "a grid of 4 x 4 = 16 cells" in more.note
    assert "of which 10 are evaluated" in more.note
    space = Space({"n": Int(1, 2), "x": Float(0, 1)}, conditions={"x": "n >= 2"})
    assert "different cells" in method_sampler("grid(points=3)", space, 10).note


def test_a_grid_of_ones_own_is_left_alone():
    ready = method_sampler({"grid": {"search_space": {"x": [0.5], "y": [1.0, 2.0]}}}, PLANE, 25)
    assert ready.variant == ready.note == ""
    assert ready.sampler.n_cells == 2


def test_sampler_seeds_differ_by_method_and_repeat():
    seeds = {sampler_seed(s, label, r) for s in range(3) for label in ("a", "b", "ab") for r in range(5)}
    assert len(seeds) == 45
    assert sampler_seed(0, "sobol", 3) == sampler_seed(0, "sobol", 3)
