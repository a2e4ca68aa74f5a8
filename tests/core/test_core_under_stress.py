"""What broke studies once: ranges that changed in the log, choices of one name, input refused after it was written."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in
from hypothesis import given
from hypothesis import strategies as st

import tunesmith
from tunesmith import events as ev
from tunesmith.distributions import Categorical, Float, Int, distribution_from_dict, distribution_to_dict
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, NewerFormatError, StorageInternalError
from tunesmith.fold import Fold
from tunesmith.samplers import Proposal, RandomSampler
from tunesmith.space import Space
from tunesmith.study._gone import sweep
from tunesmith.testing.studies import check_reload


class TestRanges:
    @pytest.mark.filterwarnings("ignore")
    @given(low=st.floats(-5, 5), width=st.floats(0.01, 20), step=st.sampled_from([0.1, 0.01, 0.25, 1 / 3, 0.7, 1.0]))
    def test_a_stepped_range_is_the_same_after_the_log(self, low: float, width: float, step: float) -> None:
        made = Float(low, low + width, step=step)
        again = distribution_from_dict(json.loads(json.dumps(distribution_to_dict(made))))
        assert again == made
        assert copy.deepcopy(made) == made
        assert Space.from_dict(Space({"x": made}).to_dict()).id == Space({"x": made}).id
        assert made.contains(made.high)

    @pytest.mark.filterwarnings("ignore")
    def test_a_study_of_one_loads(self, disk: Place) -> None:
        study = study_in(disk, seed=0)
        study.optimize(lambda t: t.suggest_float("x", 0.1 + 0.2, 1.0, step=0.1), n_trials=3)
        assert [t.params for t in study_in(disk).trials] == [t.params for t in study.trials]

    def test_a_space_counts_under_the_id_the_log_gives_it(self) -> None:
        """An id that this version would make otherwise must not make a study unreadable."""
        fold = Fold()
        for event in (
            {"e": "study", "v": 1, "directions": [1], "seed": 0},
            {"e": "space", "id": "another", "d": Space({"x": Float(0, 1)}).to_dict()},
            {"e": "ask", "n": 0, "k": "a.1", "t": 1, "s": "another", "p": [0.5]},
            {"e": "tell", "n": 0, "k": "a.1", "t": 2, "st": 1, "y": [0.5]},
        ):
            assert fold.apply(event)
        from tunesmith.records import frozen_trials

        assert frozen_trials(fold)[0].params == {"x": 0.5}

    @pytest.mark.parametrize("bounds", [(0.0, 1.0, 5e-324), (-1.7e308, 1.7e308, 1e300)])
    @pytest.mark.filterwarnings("ignore")
    def test_more_steps_than_floats(self, bounds: tuple[float, float, float]) -> None:
        low, high, step = bounds
        study = tunesmith.create_study(seed=0)
        study.optimize(lambda t: 0 * t.suggest_float("x", low, high, step=step), n_trials=3)
        assert all(low <= t.params["x"] <= high for t in study.trials)


class TestChoices:
    @pytest.mark.filterwarnings("ignore")
    def test_two_of_one_name_are_refused(self) -> None:
        for choices in ([lambda: 1, lambda: 2], [("a", lambda: 1), ("a", lambda: 2)]):
            with pytest.raises(InvalidValueError, match=r"<lambda>.*strings"):
                Categorical(choices)
        same = len
        assert len(Categorical([same, same, max]).choices) == 3

    @pytest.mark.filterwarnings("ignore")
    def test_nested_lists_can_be_enqueued(self) -> None:
        study = tunesmith.create_study(seed=0)
        study.enqueue_trial({"c": [1, [2, 3]]})
        study.optimize(lambda t: len(t.suggest_categorical("c", [[1, [2, 4]], [1, [2, 3]]])), n_trials=1)
        assert study.trials[0].params == {"c": (1, (2, 3))}


class TestWhatCannotBeKept:
    """It is refused before it is written, the same in every storage, and the study goes on."""

    def usable(self, place: Place) -> None:
        study = study_in(place)
        n = len(study.trials)
        study.optimize(lambda t: t.suggest_float("y", 0, 1), n_trials=1)
        assert len(study.trials) == n + 1
        check_reload(study)

    @pytest.mark.parametrize("tag", ["rung", [1, "a"], [[1]], {"a": 1}, None, True, 10**400])
    def test_tags_of_a_sampler(self, place: Place, tag: Any) -> None:
        class Tagging(RandomSampler):
            def propose(self, *args: Any) -> list[Proposal]:
                return [Proposal(p.params, {"my.tag": tag}) for p in super().propose(*args)]

        study = study_in(place, sampler=Tagging())
        with pytest.raises(InvalidTypeError, match=r"my\.tag"):
            study.optimize(lambda t: 1.0, n_trials=1)
        assert study.trials == []
        study.sampler = RandomSampler()
        study.optimize(lambda t: t.suggest_float("y", 0, 1), n_trials=1)
        check_reload(study)

    @pytest.mark.parametrize(
        "tag", [0.5, 3, [0.5], [math.nan, 1.0], math.nan, np.float64(0.5), np.int64(3), np.array([1.0, 2.0]), 2**60]
    )
    def test_tags_that_can(self, place: Place, tag: Any) -> None:
        class Tagging(RandomSampler):
            def propose(self, *args: Any) -> list[Proposal]:
                return [Proposal(p.params, {"my.tag": tag}) for p in super().propose(*args)]

        study = study_in(place, sampler=Tagging())
        study.optimize(lambda t: 1.0, n_trials=2)
        expected = np.array([tag, tag], float)
        assert study.history.tag("my.tag").shape == expected.shape
        np.testing.assert_array_equal(study.history.tag("my.tag"), expected)
        np.testing.assert_array_equal(study_in(place, sampler=Tagging()).history.tag("my.tag"), expected)

    @pytest.mark.parametrize("state", [tunesmith.TrialState.COMPLETE, tunesmith.TrialState.WAITING])
    @pytest.mark.parametrize(
        "attrs",
        [{"tags": "foo"}, {"tags": {"a": "x"}}, {"tags": [1]}, {"attempt": "x"}, {"attempt": 0}, {"fixed_params": 5}],
    )
    def test_system_attributes(self, place: Place, attrs: dict[str, Any], state: Any) -> None:
        study = study_in(place)
        value = 1.0 if state is tunesmith.TrialState.COMPLETE else None
        with pytest.raises(InvalidTypeError, match=r"tag|attempt|fixed_params"):
            study.add_trial(tunesmith.create_trial(value=value, state=state, system_attrs=attrs))
        self.usable(place)

    def test_infinities_of_numpy(self, place: Place) -> None:
        study = study_in(place)
        study.enqueue_trial({"x": list(np.array([1.0, np.inf]))})
        record = tunesmith.create_trial(value=1.0)
        record.constraints = {"c": np.float64("inf")}
        study.add_trial(record)
        study.optimize(lambda t: 1.0, n_trials=1)
        assert study_in(place).trials[1].constraints == {"c": math.inf}
        check_reload(study)

    def test_an_enqueued_infinity_fails_its_trial(self, place: Place) -> None:
        study = study_in(place)
        study.enqueue_trial({"x": math.inf})
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2, catch=ValueError)
        assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE"]
        assert "inf" in study.trials[0].system_attrs["fail_reason"]

    def test_an_integer_json_cannot_write(self, place: Place) -> None:
        study = study_in(place)

        def objective(trial: Any) -> float:
            trial.set_user_attr("n", 10**5000)
            return 1.0

        study.optimize(objective, n_trials=2, catch=InvalidTypeError)
        assert [t.state.name for t in study.trials] == ["FAIL", "FAIL"]

    def test_an_error_that_cannot_be_shown(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        def objective(trial: Any) -> float:
            raise Broken

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=2, catch=Broken)
        assert [t.state.name for t in study.trials] == ["FAIL", "FAIL"]
        assert "Broken" in study.trials[0].system_attrs["fail_reason"]

    @pytest.mark.parametrize("item", ["1", b"1", (1, "2"), {"loss": "3"}])
    def test_texts_are_no_numbers(self, item: Any) -> None:
        closed = []

        def objective(trial: Any) -> Iterator[Any]:
            try:
                yield item
            finally:
                closed.append(trial.number)

        study = tunesmith.create_study()
        with pytest.raises(InvalidTypeError, match="text"):
            study.optimize(objective, n_trials=1)
        assert closed == [0]
        assert [t.state.name for t in study.trials] == ["FAIL"]


class TestVersions:
    @pytest.mark.parametrize("event", [{"e": "up", "n": 0, "k": "a"}, {"e": "attr", "k": "a", "v": 1}, {"e": "novel"}])
    def test_an_event_may_say_that_it_needs_a_newer_reader(self, event: ev.Event) -> None:
        """An old reader that went on would see another study than a new one."""
        fold = Fold()
        fold.apply({"e": "study", "v": 1, "directions": [1], "seed": 0})
        with pytest.raises(NewerFormatError, match="update"):
            fold.apply({**event, "ver": ev.VERSION + 1})

    def test_an_older_one_is_read(self) -> None:
        fold = Fold()
        assert fold.apply({"e": "study", "v": 1, "directions": [1], "seed": 0})
        assert fold.apply({"e": "attr", "k": "a", "v": [9], "ver": ev.VERSION})


class TestCounting:
    def test_being_stopped_for_a_failing_neighbour_is_no_attempt(self) -> None:
        """The healthy trial is released each time; it does not become FAIL by that."""
        study = tunesmith.create_study(storage=None, seed=0)
        held = threading.Event()

        def objective(trial: Any) -> Iterator[float]:
            if trial.number:
                held.wait(5)
                raise ArithmeticError
            for _ in range(1000):
                yield 1.0
                held.set()
                time.sleep(0.001)

        for attempt in range(1, 5):
            held.clear()
            with pytest.raises(ArithmeticError):
                study.optimize(objective, n_trials=2, n_jobs=2)
            assert study.trials[0].state.name == "WAITING", attempt
        check_reload(study)

    @pytest.mark.parametrize("n", [np.int64(2), 2.0])
    def test_numbers_of_numpy(self, n: Any) -> None:
        study = tunesmith.create_study()
        study.optimize(lambda t: 1.0, n_trials=n, n_jobs=np.int64(1), timeout=np.int64(50))
        assert len(study.trials) == 2
        for wrong in (2.5, "2", True):
            with pytest.raises(InvalidTypeError):
                study.optimize(lambda t: 1.0, n_trials=wrong)

    def test_two_loops_of_one_study(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second one's first trial must not be released by the first one's look for dead workers."""
        study = tunesmith.create_study()

        def slow(*args: Any, **options: Any) -> None:
            time.sleep(0.05)
            sweep(*args, **options)

        monkeypatch.setattr("tunesmith.study._loop.sweep", slow)
        threads = [
            threading.Thread(target=study.optimize, args=(lambda t: time.sleep(0.1) or 1.0,), kwargs={"n_trials": 2})
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert [(t.state.name, t.system_attrs) for t in study.trials] == [("COMPLETE", {})] * 6

    def test_waiting_trials_come_by_number(self) -> None:
        study = tunesmith.create_study(seed=0)
        for i in range(5):
            study.enqueue_trial({"x": i / 10})
        first, second = study.ask(), study.ask()
        study._session.release(first)
        assert study.ask().number == 0
        assert [study.ask().number for _ in range(4)] == [2, 3, 4, 5]
        study._session.release(second)
        assert study.ask().number == 1


def test_a_full_disk_does_not_hide_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    study = tunesmith.create_study()
    trial = study.ask()
    trial.suggest_float("x", 0, 1)

    def full(*_: Any) -> int:
        raise StorageInternalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(study.storage, "append", full)
        with pytest.raises(StorageInternalError):
            trial.report(1.0, 1)
        assert [t.state.name for t in study.trials] == ["RUNNING"]
    study.tell(trial, 2.0)
    assert study.trials[0].intermediate_values == {1: 1.0}


class TestColumns:
    def test_inactive_parameters_are_null_in_one_space(self, place: Place) -> None:
        space = Space(
            {"n": Int(1, 2), "a": Float(0, 1), "b": Categorical(["p", "q"])}, conditions={"a": "n == 1", "b": "n == 2"}
        )
        study = study_in(place, space=space, seed=1)
        study.optimize(lambda t: float(len(tunesmith.study.suggest_all(t, space))), n_trials=20)
        store = place.open()
        (found,) = store.studies()
        events = [e for record in store.read(found.id) for e in record]
        assert sum(e["e"] == "space" for e in events) == 1
        assert {tuple(v is None for v in e["p"]) for e in events if "p" in e} == {
            (False, False, True),
            (False, True, False),
        }
        assert {frozenset(t.params) for t in study.trials} == {frozenset("na"), frozenset("nb")}
        assert {frozenset(t.distributions) for t in study.trials} == {frozenset("na"), frozenset("nb")}
        check_reload(study)

    def test_when_reports_were_written(self, place: Place) -> None:
        study = study_in(place)
        before = ev.now()
        study.optimize(lambda t: (v for v in (3.0, 2.0)), n_trials=2)
        times = study.history.reports.time
        assert times.shape == (4,)
        assert (times >= before).all()
        assert (times <= ev.now()).all()
        check_reload(study)

    def test_further_objectives_have_their_places(self, place: Place) -> None:
        """Whatever they are called, before and after; and no metric of the same name gets among them."""
        study = study_in(place, directions=["minimize", "maximize"])
        study.optimize(lambda t: (v for v in [(1, (2.0, 3.0))]), n_trials=1)
        study.set_metric_names(["loss", "accuracy"])
        study.optimize(lambda t: (v for v in [{"loss": 4.0, "accuracy": 5.0, "values_1": 6.0}]), n_trials=1)
        history = study.history
        assert history.metrics == ("", "values_1", "values_1")
        assert history.reports.metric.tolist() == [0, 1, 0, 1, 2]
        assert history.reports.value.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
        assert study.trials[0].metrics == {"accuracy": {1: 3.0}}
        check_reload(study)
