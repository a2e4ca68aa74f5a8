"""Scripts about single trials that run with Optuna and with tunesmith alike."""

from __future__ import annotations

import copy
import datetime
import math
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest


class TestTell:
    def test_complete(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        told = study.tell(trial, 1)
        assert (told.number, told.value, told.values, told.state.name) == (0, 1.0, [1.0], "COMPLETE")
        assert type(told.value) is float
        assert study.trials == [told]

    def test_by_number(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.ask()
        study.ask()
        assert study.tell(1, 2.0).number == 1
        assert [t.state.name for t in study.trials] == ["RUNNING", "COMPLETE"]

    @pytest.mark.parametrize("wrong", [7, 1, 10**9])
    def test_numbers_that_do_not_exist(self, optuna: ModuleType, wrong: int) -> None:
        study = optuna.create_study()
        study.ask()
        with pytest.raises(ValueError):
            study.tell(wrong, 1.0)

    @pytest.mark.parametrize("wrong", ["1", None, 0.5, (0,)])
    def test_what_is_no_trial(self, optuna: ModuleType, wrong: Any) -> None:
        study = optuna.create_study()
        study.ask()
        with pytest.raises(TypeError):
            study.tell(wrong, 1.0)
        with pytest.raises(TypeError):
            study.tell(study.trials[0], 1.0)

    @pytest.mark.parametrize(
        "value",
        [1.0, math.inf, -math.inf, np.float32(0.5), np.int64(3), [2.0], (2.0,), True, np.array(0.5)],
        ids=repr,
    )
    def test_numbers(self, optuna: ModuleType, value: Any) -> None:
        study = optuna.create_study()
        told = study.tell(study.ask(), value)
        assert told.state.name == "COMPLETE"
        assert type(told.value) is float

    @pytest.mark.parametrize(
        "value",
        [None, math.nan, "text", [], [1.0, 2.0], (math.nan,), [None], 1j, ..., {"a": 1}, [1.0, "x"], b"12"],
        ids=repr,
    )
    def test_values_that_make_a_trial_fail(self, optuna: ModuleType, value: Any) -> None:
        """With a warning, when no state is told."""
        study = optuna.create_study()
        with pytest.warns(UserWarning, match=r"could not be cast|not acceptable|did not match"):
            told = study.tell(study.ask(), value)
        assert (told.state.name, told.values) == ("FAIL", None)

    @pytest.mark.parametrize(
        "value",
        [None, math.nan, "text", [], [1.0, 2.0], [None], 1j, ...],
        ids=repr,
    )
    def test_values_that_cannot_be_complete(self, optuna: ModuleType, value: Any) -> None:
        study = optuna.create_study()
        trial = study.ask()
        with pytest.raises(ValueError):
            study.tell(trial, value, state=optuna.trial.TrialState.COMPLETE)
        assert study.trials[0].state.name == "RUNNING"
        assert study.tell(trial, 1.0).state.name == "COMPLETE"

    @pytest.mark.parametrize("state", ["PRUNED", "FAIL"])
    def test_these_states_take_no_values(self, optuna: ModuleType, state: str) -> None:
        study = optuna.create_study()
        trial = study.ask()
        with pytest.raises(ValueError):
            study.tell(trial, 1.0, state=optuna.trial.TrialState[state])
        told = study.tell(trial, state=optuna.trial.TrialState[state])
        assert (told.state.name, told.values) == (state, None)

    @pytest.mark.parametrize("state", ["RUNNING", "WAITING"])
    def test_states_that_cannot_be_told(self, optuna: ModuleType, state: str) -> None:
        study = optuna.create_study()
        for values in (None, 1.0):
            with pytest.raises(ValueError):
                study.tell(study.ask(), values, state=optuna.trial.TrialState[state])

    def test_pruned_keeps_the_last_report(self, optuna: ModuleType) -> None:
        pruned = optuna.trial.TrialState.PRUNED
        study = optuna.create_study()
        for reports, expected in (
            ({1: 5.0, 2: 3.0}, [3.0]),
            ({7: 5.0, 2: 3.0}, [5.0]),
            ({}, None),
            ({1: 2.0, 2: math.nan}, None),
            ({1: math.inf}, [math.inf]),
        ):
            trial = study.ask()
            for step, value in reports.items():
                trial.report(value, step)
            assert study.tell(trial, state=pruned).values == expected
        several = optuna.create_study(directions=["minimize", "maximize"])
        assert several.tell(several.ask(), state=pruned).values is None

    def test_twice(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        study.tell(trial, 1.0)
        for again in (trial, 0):
            with pytest.raises(ValueError):
                study.tell(again, 2.0)
            assert study.tell(again, 2.0, skip_if_finished=True).value == 1.0
            assert study.tell(again, state=optuna.trial.TrialState.FAIL, skip_if_finished=True).value == 1.0
        assert study.best_value == 1.0

    def test_one_that_waits(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.enqueue_trial({"x": 1})
        for skip in (False, True):
            with pytest.raises(ValueError):
                study.tell(0, 1.0, skip_if_finished=skip)

    def test_several_objectives(self, optuna: ModuleType) -> None:
        study = optuna.create_study(directions=["minimize", "maximize"])
        assert study.tell(study.ask(), (1, 2)).values == [1.0, 2.0]
        for wrong in (1.0, (1.0,), (1, 2, 3), (1, math.nan), (1, None), None):
            with pytest.warns(UserWarning, match=r"could not be cast|not acceptable|did not match"):
                assert study.tell(study.ask(), wrong).state.name == "FAIL"

    def test_nothing_changes_after_the_end(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 1.0)
        before = study.trials
        late = [
            lambda: trial.suggest_float("y", 0, 1),
            lambda: trial.report(1.0, 1),
            lambda: trial.set_user_attr("a", 1),
            lambda: trial.set_constraint("c", 1),
        ]
        for call in late:
            with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
                call()
        assert study.trials == before


class TestSuggest:
    def test_values_are_in_range_and_of_their_type(self, optuna: ModuleType) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(30):
            trial = study.ask()
            x = trial.suggest_float("x", -1, 1)
            log = trial.suggest_float("l", 1e-5, 1e-1, log=True)
            s = trial.suggest_float("s", 0, 1, step=0.25)
            n = trial.suggest_int("n", 1, 10, step=3)
            m = trial.suggest_int("m", 1, 1000, log=True)
            c = trial.suggest_categorical("c", ["a", None, 3, 0.5, True])
            assert -1 <= x <= 1
            assert 1e-5 <= log <= 1e-1
            assert s in (0, 0.25, 0.5, 0.75, 1)
            assert n in (1, 4, 7, 10)
            assert 1 <= m <= 1000
            assert [type(v) for v in (x, log, s, n, m)] == [float, float, float, int, int]
            assert trial.params == {"x": x, "l": log, "s": s, "n": n, "m": m, "c": c}
            assert trial.distributions["s"] == optuna.distributions.FloatDistribution(0, 1, step=0.25)
            study.tell(trial, x)
        assert len({t.params["c"] for t in study.trials}) == 5

    @pytest.mark.parametrize(
        "call",
        [
            lambda t: t.suggest_float("x", 1, 0),
            lambda t: t.suggest_float("x", 0, 1, log=True),
            lambda t: t.suggest_float("x", 1, 2, step=0.1, log=True),
            lambda t: t.suggest_float("x", 0, 1, step=0),
            lambda t: t.suggest_float("x", 0, 1, step=-1),
            lambda t: t.suggest_int("x", 1, 0),
            lambda t: t.suggest_int("x", 0, 9, log=True),
            lambda t: t.suggest_int("x", 1, 9, log=True, step=2),
            lambda t: t.suggest_int("x", 0, 9, step=0),
            lambda t: t.suggest_categorical("x", []),
            lambda t: t.suggest_categorical("x", ()),
        ],
    )
    def test_impossible_ranges(self, optuna: ModuleType, call: Any) -> None:
        study = optuna.create_study()
        trial = study.ask()
        with pytest.raises(ValueError):
            call(trial)
        assert trial.params == {}
        trial.suggest_float("x", 0, 1)
        assert study.tell(trial, 0.0).state.name == "COMPLETE"

    def test_keywords_only(self, optuna: ModuleType) -> None:
        trial = optuna.create_study().ask()
        with pytest.raises(TypeError):
            trial.suggest_float("x", 0, 1, 0.1)
        with pytest.raises(TypeError):
            trial.suggest_int("x", 0, 1, 1)

    def test_the_first_value_of_a_name_stands(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        assert trial.suggest_float("x", 0, 1) == x
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert trial.suggest_float("x", 5, 9) == x
        assert trial.distributions["x"] == optuna.distributions.FloatDistribution(0, 1)
        assert study.tell(trial, 1.0).params == {"x": x}

    def test_another_kind_of_parameter_in_one_trial(self, optuna: ModuleType) -> None:
        for first, second in (("float", "int"), ("int", "cat"), ("cat", "float")):
            trial = optuna.create_study().ask()
            suggest = {
                "float": lambda t=trial: t.suggest_float("x", 0, 1),
                "int": lambda t=trial: t.suggest_int("x", 0, 1),
                "cat": lambda t=trial: t.suggest_categorical("x", [0, 1]),
            }
            suggest[first]()
            with pytest.raises(ValueError):
                suggest[second]()

    def test_another_kind_of_parameter_in_another_trial(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.ask().suggest_float("x", 0, 1)
        for call in (lambda t: t.suggest_int("x", 0, 1), lambda t: t.suggest_categorical("x", [0.5])):
            with pytest.raises(ValueError):
                call(study.ask())

    def test_ranges_may_change_between_trials(self, optuna: ModuleType) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        for low in range(8):
            trial = study.ask()
            assert low <= trial.suggest_float("x", low, low + 1) <= low + 1
            assert trial.suggest_int("n", 10 * low, 10 * low + 3) // 10 == low
            study.tell(trial, 0.0)
        assert [t.distributions["x"].low for t in study.trials] == list(range(8))

    def test_lists_as_choices(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(5):
                trial = study.ask()
                assert list(trial.suggest_categorical("c", [[16, 32], [64]])) in ([16, 32], [64])
                study.tell(trial, 0.0)
        assert study.best_trial.number == 0

    def test_nan_as_choice(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for _ in range(2):
            trial = study.ask()
            assert math.isnan(trial.suggest_categorical("c", [math.nan]))
            study.tell(trial, 0.0)

    def test_single_values_draw_nothing(self, optuna: ModuleType) -> None:
        trial = optuna.create_study().ask()
        assert trial.suggest_float("x", 2, 2) == 2.0
        assert trial.suggest_int("n", 3, 3) == 3
        assert trial.suggest_categorical("c", ["only"]) == "only"

    def test_older_names(self, optuna: ModuleType) -> None:
        trial = optuna.create_study().ask()
        with pytest.warns(FutureWarning):
            assert 0 <= trial.suggest_uniform("x", 0, 1) <= 1
        with pytest.warns(FutureWarning):
            assert 1 <= trial.suggest_loguniform("l", 1, 10) <= 10
        with pytest.warns(FutureWarning):
            assert trial.suggest_discrete_uniform("s", 0, 1, 0.5) in (0, 0.5, 1)

    def test_seeds_repeat(self, optuna: ModuleType) -> None:
        def run() -> list[dict[str, Any]]:
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
            study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_int("n", 0, 99), n_trials=10)
            return [t.params for t in study.trials]

        first = run()
        assert first == run()
        assert len({p["x"] for p in first}) == 10


class TestAsk:
    def test_distributions_at_once(self, optuna: ModuleType) -> None:
        d = optuna.distributions
        study = optuna.create_study()
        wanted = {"lr": d.FloatDistribution(1e-4, 1e-1, log=True), "opt": d.CategoricalDistribution(["adam", "sgd"])}
        for _ in range(3):
            trial = study.ask(fixed_distributions=wanted)
            assert set(trial.params) == {"lr", "opt"}
            assert trial.suggest_float("lr", 1e-4, 1e-1, log=True) == trial.params["lr"]
            study.tell(trial, 0.0)
        assert study.trials[0].distributions == wanted
        assert study.ask({}).params == {}

    def test_numbers_count_up(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        assert [study.ask().number for _ in range(4)] == [0, 1, 2, 3]
        assert [t.state.name for t in study.trials] == ["RUNNING"] * 4


class TestReport:
    def test_steps(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        for step, value in ((0, 1), (5, 0.5), (3, "0.25"), (7.9, 2), (np.int64(9), np.float32(1.5)), (10, math.nan)):
            trial.report(value, step)
        found = study.trials[0].intermediate_values
        assert list(found) == [0, 5, 3, 7, 9, 10]
        assert repr(list(found.values())) == "[1.0, 0.5, 0.25, 2.0, 1.5, nan]"
        assert study.trials[0].last_step == 10
        assert study.ask() is not None
        assert study.trials[1].last_step is None

    def test_a_step_counts_once(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        trial = study.ask()
        trial.report(1.0, 1)
        with pytest.warns(UserWarning, match="ignored"):
            trial.report(2.0, 1)
        assert study.trials[0].intermediate_values == {1: 1.0}

    @pytest.mark.parametrize(
        ("value", "step", "error"),
        [
            (None, 1, TypeError),
            ("high", 1, TypeError),
            ([1], 1, TypeError),
            (1.0, None, TypeError),
            (1.0, "one", TypeError),
            (1.0, -1, ValueError),
        ],
    )
    def test_impossible(self, optuna: ModuleType, value: Any, step: Any, error: type[Exception]) -> None:
        trial = optuna.create_study().ask()
        with pytest.raises(error):
            trial.report(value, step)

    def test_should_prune_without_reports(self, optuna: ModuleType) -> None:
        assert not optuna.create_study().ask().should_prune()

    def test_should_prune_several_objectives(self, optuna: ModuleType) -> None:
        with pytest.raises(NotImplementedError):
            optuna.create_study(directions=["minimize", "minimize"]).ask().should_prune()


CURVES = [[3.0, 2.0, 1.0], [4.0, 3.5, 3.0], [2.0, 2.0, 2.0], [5.0, 1.0, 0.5], [3.0, math.nan, 1.5], [2.5, 2.5, 0.1]]
CANDIDATES = [
    [3.5, 3.5, 3.5],
    [1.0, 9.0, 9.0],
    [9.0, 0.1, 0.1],
    [3.0, 2.0, 1.5],
    [math.nan, math.nan],
    [math.nan, 2.0, 4.0],
    [2.9, 2.5, 2.4],
    [math.inf],
    [-math.inf, 0.0, 0.0],
]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    "rule",
    [
        ("MedianPruner", {"n_startup_trials": 3}),
        ("MedianPruner", {"n_startup_trials": 3, "n_warmup_steps": 2}),
        ("MedianPruner", {"n_startup_trials": 0, "interval_steps": 2}),
        ("MedianPruner", {"n_startup_trials": 50}),
        ("MedianPruner", {"n_startup_trials": 3, "n_min_trials": 6}),
        ("PercentilePruner", {"percentile": 25.0, "n_startup_trials": 1}),
        ("PercentilePruner", {"percentile": 80.0, "n_startup_trials": 1, "n_warmup_steps": 1, "interval_steps": 2}),
        ("PercentilePruner", {"percentile": 0.0, "n_startup_trials": 1}),
        ("NopPruner", {}),
    ],
    ids=str,
)
def test_stopping_rules_decide_alike(rule: tuple[str, dict[str, Any]], direction: str) -> None:
    """The same curves in both libraries: the same verdict after every report."""
    decided = []
    for name in ("optuna", "tunesmith"):
        module = pytest.importorskip(name)
        study = module.create_study(direction=direction, pruner=getattr(module.pruners, rule[0])(**rule[1]))
        for curve in CURVES:
            trial = study.ask()
            for step, value in enumerate(curve):
                trial.report(value, step)
            study.tell(trial, curve[-1])
        study.tell(study.ask(), state=module.trial.TrialState.FAIL)
        verdicts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of slices that are all NaN
            for curve in CANDIDATES:
                trial = study.ask()
                for step, value in enumerate(curve):
                    trial.report(value, step)
                    verdicts.append(bool(trial.should_prune()))
        decided.append(verdicts)
    assert decided[0] == decided[1]
    assert len(decided[0]) == sum(map(len, CANDIDATES))


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("MedianPruner", {"n_startup_trials": -1}),
        ("MedianPruner", {"n_warmup_steps": -1}),
        ("MedianPruner", {"interval_steps": 0}),
        ("MedianPruner", {"n_min_trials": 0}),
        ("PercentilePruner", {"percentile": -1}),
        ("PercentilePruner", {"percentile": 100.1}),
    ],
)
def test_impossible_rules(optuna: ModuleType, rule: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        getattr(optuna.pruners, rule)(**arguments)


class TestFixedTrial:
    def test_answers_with_its_parameters(self, optuna: ModuleType) -> None:
        trial = optuna.trial.FixedTrial({"x": 0.5, "n": 3.0, "c": "a", "unused": 1}, number=4)
        assert trial.suggest_float("x", 0, 1) == 0.5
        n = trial.suggest_int("n", 0, 5)
        assert (n, type(n)) == (3, int)
        assert trial.suggest_categorical("c", ["a", "b"]) == "a"
        assert trial.params == {"x": 0.5, "n": 3, "c": "a"}
        assert set(trial.distributions) == {"x", "n", "c"}
        assert trial.number == 4
        assert not trial.should_prune()
        trial.report(1.0, 1)
        trial.set_user_attr("k", 1)
        trial.set_constraint("c", 0.5)
        assert (trial.user_attrs, trial.constraints) == ({"k": 1}, {"c": 0.5})
        assert trial.datetime_start <= datetime.datetime.now()

    def test_missing_and_outside(self, optuna: ModuleType) -> None:
        trial = optuna.trial.FixedTrial({"x": 7.0, "c": "z", "n": "many"})
        with pytest.raises(ValueError):
            trial.suggest_float("y", 0, 1)
        with pytest.raises(ValueError):
            trial.suggest_categorical("c", ["a", "b"])
        with pytest.raises(ValueError):
            trial.suggest_int("n", 0, 1)
        with pytest.warns(UserWarning, match="out"):
            assert trial.suggest_float("x", 0, 1) == 7.0
        with pytest.raises(ValueError):
            trial.suggest_int("x", 0, 10)


class TestFrozenTrial:
    def make(self, optuna: ModuleType, **changes: Any) -> Any:
        now = datetime.datetime(2024, 5, 6, 7, 8, 9, 123457)
        fields = {
            "number": 0,
            "state": optuna.trial.TrialState.COMPLETE,
            "value": 0.5,
            "datetime_start": now,
            "datetime_complete": now + datetime.timedelta(seconds=90),
            "params": {"x": 0.5},
            "distributions": {"x": optuna.distributions.FloatDistribution(0, 1)},
            "user_attrs": {"k": [1]},
            "system_attrs": {},
            "intermediate_values": {1: 0.7},
            "trial_id": 3,
            **changes,
        }
        return optuna.trial.FrozenTrial(**fields)

    def test_is_a_value(self, optuna: ModuleType) -> None:
        one, same = self.make(optuna), self.make(optuna)
        assert one == same
        assert (one != same) is False
        assert copy.deepcopy(one) == one
        assert copy.copy(one) == one
        for change in (
            {"number": 1},
            {"value": 0.6},
            {"params": {}, "distributions": {}},
            {"user_attrs": {}},
            {"intermediate_values": {}},
        ):
            assert self.make(optuna, **change) != one
        assert one != "trial"

    def test_order_is_by_number(self, optuna: ModuleType) -> None:
        one, two = self.make(optuna, number=1), self.make(optuna, number=2)
        assert one < two
        assert one <= two
        assert two > one
        assert two >= one
        assert sorted([two, one]) == [one, two]
        with pytest.raises(TypeError):
            _ = one < 5

    def test_fields(self, optuna: ModuleType) -> None:
        trial = self.make(optuna)
        assert (trial.value, trial.values, trial.last_step) == (0.5, [0.5], 1)
        assert trial.duration == datetime.timedelta(seconds=90)
        trial.value = 2.0
        assert trial.values == [2.0]
        trial.values = [1.0, 2.0]
        with pytest.raises(RuntimeError):
            _ = trial.value
        trial.values = None
        assert trial.value is None
        with pytest.raises(ValueError):
            self.make(optuna, values=[1.0])
        assert self.make(optuna, value=None, values=(1, 2)).values == [1, 2]

    def test_an_objective_can_be_run_on_it(self, optuna: ModuleType) -> None:
        trial = self.make(optuna, params={"x": 0.5, "n": 2}, distributions={})
        assert trial.suggest_float("x", 0, 1) == 0.5
        assert trial.suggest_int("n", 0, 5) == 2
        trial.report(1.0, 5)
        assert not trial.should_prune()
        assert trial.intermediate_values == {1: 0.7}
        trial.set_user_attr("more", 2)
        assert trial.user_attrs == {"k": [1], "more": 2}
        with pytest.raises(ValueError):
            trial.suggest_float("y", 0, 1)
        with pytest.warns(UserWarning, match="out"):
            assert trial.suggest_float("x", 5, 9) == 0.5
        with pytest.raises(ValueError), pytest.warns(UserWarning, match="out"):
            trial.suggest_int("x", 0, 1)


class TestCreateTrial:
    def test_defaults(self, optuna: ModuleType) -> None:
        trial = optuna.create_trial(value=1.0)
        assert (trial.state.name, trial.value, trial.params, trial.number) == ("COMPLETE", 1.0, {}, -1)
        assert trial.datetime_start <= trial.datetime_complete

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"value": 1.0, "values": [1.0]},
            {"value": math.nan},
            {"values": [1.0, math.nan]},
            {"state": "FAIL", "value": 1.0},
            {"value": 1.0, "params": {"x": 1}},
            {"value": 1.0, "distributions": {"x": (0, 1)}},
            {"value": 1.0, "params": {"x": 5}, "distributions": {"x": (0, 1)}},
            {"value": 1.0, "constraints": {"c": math.nan}},
        ],
    )
    def test_contradictions(self, optuna: ModuleType, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        if "state" in fields:
            fields["state"] = optuna.trial.TrialState[fields["state"]]
        if "distributions" in fields:
            fields["distributions"] = {"x": optuna.distributions.FloatDistribution(0, 1)}
        with pytest.raises(ValueError):
            optuna.create_trial(**fields)

    def test_add(self, optuna: ModuleType) -> None:
        study = optuna.create_study(direction="maximize")
        distributions = {
            "x": optuna.distributions.FloatDistribution(0, 10),
            "c": optuna.distributions.CategoricalDistribution(["a", 1]),
        }
        made = optuna.create_trial(
            value=2.0,
            params={"x": 2.5, "c": 1},
            distributions=distributions,
            user_attrs={"k": "v"},
            system_attrs={"s": [1, 2]},
            intermediate_values={0: 0.5, 1: math.inf},
            constraints={"c": -1.0},
        )
        study.add_trial(made)
        study.add_trials([made, made])
        study.add_trials([])
        assert [t.number for t in study.trials] == [0, 1, 2]
        (added, *_) = study.trials
        for name in (
            "state",
            "values",
            "datetime_start",
            "datetime_complete",
            "params",
            "distributions",
            "user_attrs",
            "intermediate_values",
            "constraints",
        ):
            assert getattr(added, name) == getattr(made, name), name
        assert added.system_attrs.items() >= {"s": [1, 2]}.items()
        assert study.best_value == 2.0
        study.optimize(lambda t: t.suggest_float("x", 0, 10), n_trials=1)
        assert study.trials[3].number == 3

    def test_add_other_states(self, optuna: ModuleType) -> None:
        states = optuna.trial.TrialState
        study = optuna.create_study()
        for state in (states.FAIL, states.PRUNED, states.RUNNING, states.WAITING):
            study.add_trial(optuna.create_trial(state=state))
        assert [t.state.name for t in study.trials] == ["FAIL", "PRUNED", "RUNNING", "WAITING"]
        assert study.ask().number == 3
        assert study.tell(2, 1.0).state.name == "COMPLETE"

    def test_add_wrong_number_of_values(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        with pytest.raises(ValueError):
            study.add_trial(optuna.create_trial(values=[1.0, 2.0]))
        trial = optuna.create_trial(value=1.0)
        trial.datetime_complete = None
        with pytest.raises(ValueError):
            study.add_trial(trial)
        assert study.trials == []

    def test_trials_of_another_study(self, optuna: ModuleType) -> None:
        source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        source.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=4)
        target = optuna.create_study()
        target.add_trials(source.get_trials())
        assert [(t.params, t.value, t.datetime_start) for t in target.trials] == [
            (t.params, t.value, t.datetime_start) for t in source.trials
        ]


class TestEnqueue:
    def test_comes_first_and_in_order(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.enqueue_trial({"x": 5.0})
        study.enqueue_trial({"x": 0.0}, user_attrs={"from": "paper"})
        assert [t.state.name for t in study.trials] == ["WAITING", "WAITING"]
        assert study.trials[0].system_attrs["fixed_params"] == {"x": 5.0}
        study.optimize(lambda t: t.suggest_float("x", 0, 10), n_trials=3)
        assert [t.params["x"] for t in study.trials][:2] == [5.0, 0.0]
        assert study.trials[1].user_attrs == {"from": "paper"}
        assert study.best_trial.number == 1

    def test_partial(self, optuna: ModuleType) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        objective = lambda t: t.suggest_float("x", 0, 10) + t.suggest_int("n", 0, 5)  # noqa: E731
        study.enqueue_trial({"n": 3})
        study.optimize(objective, n_trials=2)
        study.enqueue_trial({"x": 2.0})
        study.enqueue_trial({})
        study.optimize(objective, n_trials=2)
        assert study.trials[0].params["n"] == 3
        assert study.trials[2].params["x"] == 2.0
        assert all(set(t.params) == {"x", "n"} for t in study.trials)

    def test_types_are_those_of_the_parameter(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for _ in range(2):  # before and after the study knows the names
            study.enqueue_trial({"x": 1, "n": 3.0, "c": "b"})
            trial = study.ask()
            x, n = trial.suggest_float("x", 0, 10), trial.suggest_int("n", 0, 5)
            assert (x, n, trial.suggest_categorical("c", ["a", "b"])) == (1, 3, "b")
            recorded = study.tell(trial, 0.0).params
            assert [type(v) for v in recorded.values()] == [float, int, str]

    def test_out_of_range_is_used_with_a_warning(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for _ in range(2):
            study.enqueue_trial({"x": 11.0, "n": 99})
            trial = study.ask()
            with pytest.warns(UserWarning, match="out"):
                assert trial.suggest_float("x", 0, 10) == 11.0
            with pytest.warns(UserWarning, match="out"):
                assert trial.suggest_int("n", 0, 5) == 99
            assert study.tell(trial, 1.0).params == {"x": 11.0, "n": 99}

    def test_no_value_at_all(self, optuna: ModuleType) -> None:
        for wrong in (math.nan, "much", None):
            study = optuna.create_study()
            study.enqueue_trial({"x": wrong})
            with pytest.raises(ValueError):
                study.ask().suggest_float("x", 0, 1)
        study = optuna.create_study()
        study.enqueue_trial({"c": "z"})
        with pytest.raises(ValueError):
            study.ask().suggest_categorical("c", ["a", "b"])

    def test_wrong_type(self, optuna: ModuleType) -> None:
        for wrong in (17, [("x", 1)], None):
            with pytest.raises(TypeError):
                optuna.create_study().enqueue_trial(wrong)

    def test_unused_names_are_no_parameters(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.enqueue_trial({"x": 0.5, "typo": 1})
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        assert study.trials[0].params == {"x": 0.5}

    def test_with_ask(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.enqueue_trial({"x": 0.5})
        trial = study.ask(
            {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}
        )
        assert trial.params["x"] == 0.5
        assert set(trial.params) == {"x", "y"}

    def test_skip_if_exists(self, optuna: ModuleType) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))

        def enqueue(params: dict[str, Any]) -> int:
            before = len(study.trials)
            study.enqueue_trial(params, skip_if_exists=True)
            return len(study.trials) - before

        assert [enqueue({"x": 1.0, "c": "a"}), enqueue({"x": 1.0, "c": "a"}), enqueue({"x": 1.0, "c": "b"})] == [
            1,
            0,
            1,
        ]
        assert [enqueue({"x": 1.0}), enqueue({"x": 1.0}), enqueue({"c": "a"}), enqueue({"n": math.nan})] == [1, 0, 1, 1]
        assert enqueue({"n": math.nan}) == 0
        study.optimize(lambda t: t.suggest_float("x", 0, 9) + len(t.suggest_categorical("c", ["a", "b"])), n_trials=6)
        assert [enqueue({"x": 1.0, "c": "a"}), enqueue({"x": 1.0}), enqueue({"c": "a"}), enqueue({"c": "b"})] == [
            0,
            0,
            0,
            1,
        ]
        sampled = study.trials[-1].params or study.trials[5].params
        assert enqueue(sampled) == 0
        assert enqueue({**sampled, "x": sampled["x"] + 0.5}) == 1
        study.enqueue_trial(sampled)
        assert len(study.get_trials(states=[optuna.trial.TrialState.WAITING])) == 3
