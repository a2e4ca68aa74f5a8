"""Declared spaces, conditions, queues and samplers in a study; and what every storage must give back unchanged."""

from __future__ import annotations

import enum
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.distributions import BaseDistribution, Categorical, Float, Int, OpaqueChoice
from tunesmith.exceptions import InvalidValueError, SearchSpaceExhaustedError
from tunesmith.history import History
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.space import Space
from tunesmith.study import suggest_all
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState

NET = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True), "layers": Int(1, 3), "filters_2": Int(8, 64), "filters_3": Int(8, 64),
        "opt": Categorical(["sgd", "adam"]), "momentum": Float(0, 1), "nesterov": Categorical([True, False]),
    },
    conditions={
        "filters_2": "layers >= 2", "filters_3": "layers >= 3",
        "momentum": "opt == 'sgd'", "nesterov": "momentum > 0.5",
    },
)  # fmt: skip


def consistent(params: Mapping[str, Any]) -> bool:
    """Exactly the active ones are there."""
    return set(params) == set(NET.active({n: params.get(n, 0) for n in NET if n in params})) and set(params) == {
        "lr", "layers", "opt",
        *(["filters_2"] if params["layers"] >= 2 else []), *(["filters_3"] if params["layers"] >= 3 else []),
        *(["momentum"] if params["opt"] == "sgd" else []),
        *(["nesterov"] if params["opt"] == "sgd" and params["momentum"] > 0.5 else []),
    }  # fmt: skip


class TestDeclaredSpaces:
    def test_proposals_hold_active_names_only(self, place: Place) -> None:
        study = study_in(place, space=NET, seed=1, sampler="random")
        study.optimize(lambda trial: float(len(suggest_all(trial, NET))), n_trials=40)
        assert all(consistent(t.params) for t in study.trials)
        assert {len(t.params) for t in study.trials} == {3, 4, 5, 6, 7}
        assert study.space == NET
        assert np.array_equal(study.history.active.sum(1), [len(t.params) for t in study.trials])
        again = study_in(place)
        assert again.space == NET
        again.optimize(lambda trial: float(len(suggest_all(trial, NET))), n_trials=1)
        assert consistent(again.trials[-1].params)
        check_reload(again)

    def test_names_left_out_by_the_objective_are_no_parameters(self) -> None:
        study = tunesmith.create_study(space=NET, seed=1)
        study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1e-1, log=True), n_trials=3)
        assert [set(t.params) for t in study.trials] == [{"lr"}] * 3
        assert study.history.active.sum() == 3
        check_reload(study)

    def test_the_objective_may_go_beyond_it(self) -> None:
        study = tunesmith.create_study(space={"x": Float(0, 1)}, seed=1)
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=3)
        assert [set(t.params) for t in study.trials] == [{"x", "y"}] * 3
        check_reload(study)

    def test_another_range_than_declared(self) -> None:
        """The proposal's value is taken if it fits, else drawn anew."""
        study = tunesmith.create_study(space={"x": Float(0, 1)}, seed=1)
        study.optimize(lambda t: t.suggest_float("x", 0.5, 2), n_trials=10)
        assert all(0.5 <= t.params["x"] <= 2 for t in study.trials)
        assert all(t.distributions["x"] == Float(0.5, 2) for t in study.trials)
        check_reload(study)

    def test_another_kind_than_declared(self) -> None:
        study = tunesmith.create_study(space={"x": Float(0, 1)}, seed=1)
        with pytest.raises(InvalidValueError, match="use another name"):
            study.optimize(lambda t: t.suggest_int("x", 0, 1), n_trials=1)
        assert study.trials[0].state == TrialState.FAIL

    def test_minimize_takes_every_option_of_both(self) -> None:
        """None is in a list that somebody might forget."""
        both = [*signature(tunesmith.create_study).parameters, *signature(tunesmith.Study.optimize).parameters]
        assert len(both) == len(set(both))
        found = tunesmith.minimize(
            lambda x: x, {"x": Float(0, 1)}, 3, seed=1, backend="threads", lease=None, attempts=2, n_jobs=1
        )
        assert len(found.trials) == 3

    def test_minimize(self) -> None:
        study = tunesmith.minimize(lambda lr, layers, **rest: lr * layers, NET, 20, seed=3)
        assert study.best_value == min(t.value for t in study.trials)
        assert all(consistent(t.params) for t in study.trials)


class TestAskWithASpace:
    def test_conditions(self) -> None:
        study = tunesmith.create_study(seed=2)
        for _ in range(30):
            trial = study.ask(NET)
            assert consistent(trial.params)
            study.tell(trial, 1.0)
        assert all(consistent(t.params) for t in study.trials)
        check_reload(study)

    @pytest.mark.parametrize(
        ("given", "has", "has_not"),
        [
            ({"layers": 3}, ["filters_2", "filters_3"], []), ({"layers": 1}, [], ["filters_2", "filters_3"]),
            ({"opt": "adam", "momentum": 0.9}, [], ["momentum", "nesterov"]),
            ({"opt": "sgd", "momentum": 0.9}, ["momentum", "nesterov"], []),
            ({"opt": "sgd", "momentum": 0.1, "nesterov": True}, ["momentum"], ["nesterov"]),
            ({"filters_3": 8, "layers": 3.0}, ["filters_3"], []), ({}, [], []),
        ],
        ids=str,
    )  # fmt: skip
    @pytest.mark.parametrize("declared", [True, False])
    def test_queued_configurations_are_completed(
        self, given: dict[str, Any], has: list[str], has_not: list[str], declared: bool
    ) -> None:
        """What was asked for stands, the rest is proposed, and conditions are judged with both."""
        study = tunesmith.create_study(seed=4, space=NET if declared else None)
        study.enqueue_trial(given)
        study.enqueue_trial(given)
        trial = study.ask(NET)
        told = [study.tell(trial, 1.0).params]
        study.optimize(lambda t: float(len(suggest_all(t, NET))), n_trials=1)
        told.append(study.trials[1].params)
        for params in told:
            assert consistent(params)
            assert set(params) >= set(has)
            assert not set(params) & set(has_not)
            assert all(params[k] == v for k, v in given.items() if k in params)
            assert type(params["layers"]) is int
        check_reload(study)

    def test_a_queued_value_outside_its_range(self) -> None:
        """It is used with a warning, and conditions see it."""
        study = tunesmith.create_study(seed=4, space=NET)
        study.enqueue_trial({"layers": 7})
        with pytest.warns(UserWarning, match="outside"):
            trial = study.ask(NET)
        assert trial.params["layers"] == 7
        assert {"filters_2", "filters_3"} <= set(trial.params)
        assert study.tell(trial, 1.0).params["layers"] == 7
        check_reload(study)

    def test_unknown_names_in_the_queue_do_no_harm(self) -> None:
        study = tunesmith.create_study(seed=4, space=NET)
        study.enqueue_trial({"typo": [1, {"nested": None}["nested"]], "lr": 0.01})
        trial = study.ask(NET)
        assert trial.params["lr"] == 0.01
        assert "typo" not in study.tell(trial, 1.0).params
        check_reload(study)


@dataclass(frozen=True)
class Countdown(BaseSampler):
    """Proposes ``values`` in order, under a name the study need not know; then it is exhausted."""

    name: str = "x"
    values: tuple[float, ...] = (0.25, 0.5, 0.75)

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        k = history.n + len(history.running)
        return [Proposal({self.name: v}, {"count.k": float(k)}) for v in self.values[k : k + n]]


@dataclass(frozen=True)
class Unwritable(BaseSampler):
    """Its argument has no JSON form."""

    secret: Any = field(default_factory=object)

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        return [Proposal(space.to_params(row)) for row in space.decode(rng.random((n, len(space))))]

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        return 0.125


class TestSamplers:
    def test_names_the_study_does_not_know_yet(self) -> None:
        study = tunesmith.create_study(sampler=Countdown())
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=10)
        assert [t.params["x"] for t in study.trials] == [0.25, 0.5, 0.75]
        assert study.history.tag("count.k").tolist() == [0, 1, 2]
        with pytest.raises(SearchSpaceExhaustedError, match="Countdown"):
            study.ask()
        assert len(study.trials) == 3
        check_reload(study)

    def test_the_queue_goes_on_when_the_sampler_is_exhausted(self) -> None:
        study = tunesmith.create_study(sampler=Countdown(values=()), seed=1)
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=3)
        assert study.trials == []
        study.enqueue_trial({"x": 0.5})
        study.enqueue_trial({})
        study.enqueue_trial({"x": 0.25, "y": 0.5})
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=10)
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
        assert study.trials[0].params["x"] == 0.5
        check_reload(study)

    def test_proposals_of_the_queue_are_no_steps_of_the_method(self) -> None:
        study = tunesmith.create_study(sampler=Countdown(), space={"x": Float(0, 1), "y": Float(0, 1)}, seed=1)
        study.enqueue_trial({"y": 0.5})
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=2)
        assert np.isnan(study.history.tag("count.k")[0])
        assert study.history.tag("count.k")[1] == 1

    def test_values_outside_the_objectives_range(self) -> None:
        study = tunesmith.create_study(sampler=Countdown(values=(5.0,)), seed=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        assert study.trials[0].params["x"] == 5.0

    def test_arguments_that_cannot_be_written(self, place: Place) -> None:
        """The study is made and read; to go on it wants the sampler again, and says so."""
        sampler = Unwritable()
        study = study_in(place, sampler=sampler, seed=1)
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
        assert study.trials[0].params["x"] == 0.125
        again = study_in(place)
        assert again.trials == study.trials
        with pytest.raises(InvalidValueError, match="pass `sampler=`"):
            again.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        assert len(again.trials) == 2
        given = tunesmith.load_study(study_name="s", storage=place.open(), sampler=sampler)
        given.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        assert len(again.trials) == 3

    def test_replaced_in_the_middle(self, place: Place) -> None:
        """The log knows; the next one who loads the study gets the last sampler and pruner."""
        study = study_in(place, seed=1, sampler="random")
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
        study.sampler = Countdown(values=(0.5,) * 9)
        study.pruner = tunesmith.pruners.PercentilePruner(10.0)
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
        assert [t.params["x"] for t in study.trials][2:] == [0.5, 0.5]
        study.sampler = tunesmith.samplers.RandomSampler()
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        loaded = tunesmith.load_study(study_name="s", storage=place.open())
        assert loaded.pruner == tunesmith.pruners.PercentilePruner(10.0)
        assert loaded.sampler == tunesmith.samplers.RandomSampler()
        configs = [e for record in study.storage.read(study._log.study) for e in record if e["e"] == "config"]
        assert [c["sampler"]["name"] for c in configs] == ["RandomSampler", "Countdown", "RandomSampler"]

    def test_the_seed_of_a_sampler_is_the_studys(self) -> None:
        by_sampler = tunesmith.create_study(sampler=tunesmith.samplers.RandomSampler(seed=9))
        by_study = tunesmith.create_study(sampler="random", seed=9)
        assert by_sampler.seed == by_study.seed == 9
        for study in (by_sampler, by_study):
            study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=3)
        assert [t.params for t in by_sampler.trials] == [t.params for t in by_study.trials]
        assert tunesmith.create_study().seed != tunesmith.create_study().seed


class Depth(enum.IntEnum):
    """Whole numbers with names."""

    SHALLOW = 1
    DEEP = 9


class Relu:
    """An activation, as a class."""


class TestWhatStoragesGiveBack:
    def test_values(self, place: Place) -> None:
        """Integers beyond float precision, infinities, choices of every type: as they were, also when read again."""
        study = study_in(place, directions=["minimize", "maximize"], seed=1)
        choices = [None, True, 1, 1.0, "1", math.nan, math.inf, (1, (2.5, None)), "ü\n\u2028", ""]
        space = {"big": Int(-(2**80), 2**80), "tiny": Float(5e-324, 1e-300), "c": Categorical(choices)}
        seen = []
        for k in range(len(choices)):
            study.enqueue_trial({"c": choices[k], "big": 2**79 + k, "tiny": 5e-324 * (k + 1)})
            trial = study.ask(space)
            trial.report([math.nan, math.inf, -math.inf, 1e-320, 0.1][k % 5], 2**62 + k)
            study.tell(trial, (math.inf if k % 2 else -0.0, -math.inf))
            seen.append(trial.params)
        again = study_in(place)
        assert repr([t.params for t in again.trials]) == repr(seen)
        assert repr(seen) == repr([{"big": 2**79 + k, "tiny": 5e-324 * (k + 1), "c": c} for k, c in enumerate(choices)])
        assert [repr(t.values) for t in again.trials[:2]] == ["[-0.0, -inf]", "[inf, -inf]"]
        assert [list(t.intermediate_values) for t in again.trials] == [[2**62 + k] for k in range(len(choices))]
        check_reload(again)

    def test_attributes(self, place: Place) -> None:
        values: list[Any] = [
            None, True, 0, -1, 2**100, 0.1, math.inf, -math.inf, math.nan, "", "ü\0\n", [], {}, [[1], {"a": [None]}],
            {"$json": 1}, {"$float": "nan"}, {"$object": "x"}, {"deep": {"$json": [math.nan]}}, "\udc80",
        ]  # fmt: skip
        study = study_in(place)
        trial = study.ask()
        for k, value in enumerate(values):
            study.set_user_attr(f"k{k}", value)
            trial.set_user_attr(f"k{k}", value)
            trial.set_user_attr(f"ü{k}\n", value)
        study.tell(trial, 1.0)
        again = study_in(place)
        expected = {f"k{k}": v for k, v in enumerate(values)}
        assert repr(again.user_attrs) == repr(expected)
        assert repr({k: v for k, v in again.trials[0].user_attrs.items() if k in expected}) == repr(expected)
        assert len(again.trials[0].user_attrs) == 2 * len(values)

    def test_names(self, place: Place) -> None:
        """Parameter and metric names in any script; also those that look like our own."""
        names = ["x y", "ü", "数", "$json", "e", "n", "", "a\nb", "x (categorical)", "'quoted\"", "__class__", "%s"]
        study = study_in(place, seed=1)

        def objective(trial: Any) -> Any:
            for name in names:
                if name:
                    trial.suggest_float(name, 0, 1)
            yield {name or "main": 1.0 for name in ["", *names]}

        study.optimize(objective, n_trials=2)
        again = study_in(place)
        assert again.trials == study.trials
        assert set(again.trials[0].params) == set(names) - {""}
        assert set(again.trials[0].metrics) == set(names) - {""}
        check_reload(again)

    def test_objects_as_choices(self, place: Place) -> None:
        """In the process that made them they are themselves, in another one their names; a study goes on in both."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")

            def objective(trial: Any) -> float:
                chosen = trial.suggest_categorical("act", [Relu, math.tanh])
                assert chosen in (Relu, math.tanh)
                depth = trial.suggest_categorical("depth", list(Depth))
                assert isinstance(depth, Depth)
                return float(depth) + (chosen is Relu)

            study = study_in(place, seed=3)
            study.optimize(objective, n_trials=6)
            assert {t.params["act"] for t in study.trials} == {Relu, math.tanh}
            again = study_in(place)
            known = {OpaqueChoice(f"{__name__}.Relu"), OpaqueChoice("math.tanh")}
            assert {t.params["act"] for t in again.trials} == known
            again.optimize(objective, n_trials=6)
            one = tunesmith.create_study(seed=3)
            one.optimize(objective, n_trials=12)
            assert [t.value for t in again.trials] == [t.value for t in one.trials]
            study.enqueue_trial({"act": Relu, "depth": Depth.DEEP})
            study.optimize(objective, n_trials=1)
            assert study.trials[-1].value == 10.0

    def test_times_are_exact(self, place: Place) -> None:
        import datetime

        study = study_in(place)
        made = tunesmith.create_trial(value=1.0)
        for microsecond in (0, 1, 123_457, 999_999):
            made.datetime_start = datetime.datetime(2001, 2, 3, 4, 5, 6, microsecond)
            made.datetime_complete = datetime.datetime(2039, 12, 31, 23, 59, 59, microsecond)
            study.add_trial(made)
            found = study_in(place).trials[-1]
            assert (found.datetime_start, found.datetime_complete) == (made.datetime_start, made.datetime_complete)


def test_a_log_is_two_appends_a_trial(place: Place) -> None:
    """Claim with proposal, and tell with all that is pending; whatever the number of parameters."""
    study = study_in(place, seed=1)

    def objective(trial: Any) -> float:
        for k in range(30):
            trial.suggest_float(f"p{k}", 0, 1)
        for step in range(5):
            trial.report(step, step)
        trial.set_user_attr("k", 1)
        return 1.0

    study.optimize(objective, n_trials=1)
    before = len(study.storage.read(study._log.study))
    study.optimize(objective, n_trials=10)
    assert len(study.storage.read(study._log.study)) - before == 20
