"""One table of wrong inputs, run against every storage: one typed error each, nothing kept, and the study goes on."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import LogDamagedError, NotALogError, StorageInternalError, TunesmithError
from tunesmith.pruners import MedianPruner, PercentilePruner
from tunesmith.samplers import RandomSampler
from tunesmith.space import Space
from tunesmith.testing.studies import check_reload
from tunesmith.trial import FrozenTrial, TrialState, create_trial

NOW = datetime.datetime.now()


def record(**changes: Any) -> FrozenTrial:
    """A record that is what the changes make of it, unchecked."""
    fields: dict[str, Any] = {
        "number": 0,
        "state": TrialState.COMPLETE,
        "value": 1.0,
        "datetime_start": NOW,
        "datetime_complete": NOW,
        "params": {},
        "distributions": {},
        "user_attrs": {},
        "system_attrs": {},
        "intermediate_values": {},
        "trial_id": 0,
    }
    return FrozenTrial(**{**fields, **changes})


Case = tuple[str, Callable[[tunesmith.Study], Any], type[Exception], str]

#: name, call, the built-in class that it must be, and a part of the message that shows the value or the remedy
ON_A_STUDY: list[Case] = [
    ("enqueue a list", lambda s: s.enqueue_trial([1]), TypeError, "[1]"),  # type: ignore[arg-type]
    ("enqueue nothing", lambda s: s.enqueue_trial(None), TypeError, "None"),  # type: ignore[arg-type]
    ("enqueue, skipping, a list", lambda s: s.enqueue_trial([1], skip_if_exists=True), TypeError, "[1]"),  # type: ignore[arg-type]
    ("enqueue a name that is a number", lambda s: s.enqueue_trial({1: 2}), TypeError, "1"),  # type: ignore[dict-item]
    ("enqueue an empty name", lambda s: s.enqueue_trial({"": 2}), TypeError, "''"),
    ("enqueue a complex number", lambda s: s.enqueue_trial({"x": 1j}), TypeError, "1j"),
    ("enqueue attributes of no JSON", lambda s: s.enqueue_trial({"x": 1}, {"a": object()}), TypeError, "'a'"),
    ("enqueue attributes with odd keys", lambda s: s.enqueue_trial({"x": 1}, {1: 1}), TypeError, "1"),  # type: ignore[dict-item]
    ("add a number", lambda s: s.add_trial(5), TypeError, "create_trial"),  # type: ignore[arg-type]
    ("add too many values", lambda s: s.add_trial(create_trial(values=[1, 2])), ValueError, "2 values"),
    ("add without a start", lambda s: s.add_trial(record(datetime_start=None)), ValueError, "datetime_start"),
    ("add without an end", lambda s: s.add_trial(record(datetime_complete=None)), ValueError, "datetime_complete"),
    ("add a running one with an end", lambda s: s.add_trial(record(state=TrialState.RUNNING)), ValueError, "RUNNING"),
    ("add a failed one with a value", lambda s: s.add_trial(record(state=TrialState.FAIL)), ValueError, "FAIL"),
    ("add text as value", lambda s: s.add_trial(record(value="high")), TypeError, "'high'"),
    (
        "add text as value of a pruned one",
        lambda s: s.add_trial(record(value="high", state=TrialState.PRUNED)),
        TypeError,
        "'high'",
    ),
    ("add NaN", lambda s: s.add_trial(record(value=math.nan)), ValueError, "NaN"),
    ("add text as report", lambda s: s.add_trial(record(intermediate_values={1: "high"})), TypeError, "'high'"),
    ("add text as step", lambda s: s.add_trial(record(intermediate_values={"one": 1.0})), TypeError, "'one'"),
    ("add a negative step", lambda s: s.add_trial(record(intermediate_values={-1: 1.0})), ValueError, "-1"),
    (
        "add a value outside",
        lambda s: s.add_trial(record(params={"y": 7}, distributions={"y": Float(0, 1)})),
        ValueError,
        "7",
    ),
    ("add a parameter without range", lambda s: s.add_trial(record(params={"y": 7})), ValueError, "['y']"),
    (
        "add another kind",
        lambda s: s.add_trial(record(params={"x": 1}, distributions={"x": Int(0, 1)})),
        ValueError,
        "'x'",
    ),
    ("add attributes of no JSON", lambda s: s.add_trial(record(user_attrs={"a": {1, 2}})), TypeError, "'a'"),
    ("tell what does not exist", lambda s: s.tell(99, 1.0), ValueError, "99"),
    ("tell text", lambda s: s.tell("0", 1.0), TypeError, "'0'"),  # type: ignore[arg-type]
    ("tell with a wrong state", lambda s: s.tell(1, state="FAIL"), ValueError, "'FAIL'"),  # type: ignore[arg-type]
    ("tell with an unfinished state", lambda s: s.tell(1, state=TrialState.PAUSED), ValueError, "PAUSED"),
    ("tell nothing as COMPLETE", lambda s: s.tell(1, state=TrialState.COMPLETE), ValueError, "No values"),
    ("tell NaN as COMPLETE", lambda s: s.tell(1, math.nan, TrialState.COMPLETE), ValueError, "nan"),
    ("tell text as COMPLETE", lambda s: s.tell(1, "high", TrialState.COMPLETE), ValueError, "'high'"),  # type: ignore[arg-type]
    ("tell a huge number as COMPLETE", lambda s: s.tell(1, 10**400, TrialState.COMPLETE), ValueError, "too large"),
    ("tell two values as COMPLETE", lambda s: s.tell(1, [1.0, 2.0], TrialState.COMPLETE), ValueError, "directions"),
    ("tell a value as FAIL", lambda s: s.tell(1, 1.0, TrialState.FAIL), ValueError, "1.0"),
    ("tell what is finished", lambda s: s.tell(0, 1.0), ValueError, "COMPLETE already"),
    ("tell what waits", lambda s: s.tell(2, 1.0), ValueError, "WAITING"),
    ("ask for no mapping", lambda s: s.ask([Float(0, 1)]), TypeError, "mapping"),  # type: ignore[arg-type]
    ("ask for no distribution", lambda s: s.ask({"y": (0, 1)}), TypeError, "(0, 1)"),  # type: ignore[dict-item]
    ("ask for another kind", lambda s: s.ask({"x": Int(0, 1)}), ValueError, "use another name"),
    ("ask for another kind, choices", lambda s: s.ask({"x": Categorical([0.5])}), ValueError, "use another name"),
    ("an attribute of no JSON", lambda s: s.set_user_attr("k", object()), TypeError, "store its path"),
    ("an attribute that holds itself", lambda s: s.set_user_attr("k", endless()), TypeError, "'k'"),
    ("an attribute without name", lambda s: s.set_user_attr(None, 1), TypeError, "None"),  # type: ignore[arg-type]
    ("too many metric names", lambda s: s.set_metric_names(["a", "b"]), ValueError, "['a', 'b']"),
    ("metric names of another type", lambda s: s.set_metric_names(5), TypeError, "5"),  # type: ignore[arg-type]
    ("a sampler by a wrong name", lambda s: setattr(s, "sampler", "gradient"), ValueError, "known:"),
    ("no sampler", lambda s: setattr(s, "sampler", object()), TypeError, "BaseSampler"),
    ("a pruner by a wrong name", lambda s: setattr(s, "pruner", "gradient"), ValueError, "known:"),
    ("optimize nothing", lambda s: s.optimize(None, n_trials=1), TypeError, "None"),  # type: ignore[arg-type]
    ("negative trials", lambda s: s.optimize(lambda t: 1.0, n_trials=-1), ValueError, "-1"),
    ("half a trial", lambda s: s.optimize(lambda t: 1.0, n_trials=1.5), TypeError, "1.5"),  # type: ignore[arg-type]
    ("no jobs", lambda s: s.optimize(lambda t: 1.0, n_trials=1, n_jobs=0), ValueError, "0"),
    ("a negative timeout", lambda s: s.optimize(lambda t: 1.0, timeout=-1), ValueError, "-1"),
    ("an unending timeout", lambda s: s.optimize(lambda t: 1.0, timeout=math.nan), ValueError, "nan"),
    ("catch what is no class", lambda s: s.optimize(lambda t: 1.0, n_trials=1, catch=[5]), TypeError, "5"),  # type: ignore[list-item]
    ("call back nothing", lambda s: s.optimize(lambda t: 1.0, n_trials=1, callbacks=[5]), TypeError, "5"),  # type: ignore[list-item]
    ("unknown fields of a frame", lambda s: s.trials_dataframe(("number", "losses")), ValueError, "'losses'"),
    ("best of nothing feasible", lambda s: tunesmith.create_study().best_trial, ValueError, "No trials"),
    ("stop outside", lambda s: s.stop(), RuntimeError, "inside"),
]

ON_A_TRIAL: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    ("low > high", lambda t: t.suggest_float("y", 1, 0), ValueError, "low=1.0"),
    ("log from zero", lambda t: t.suggest_float("y", 0, 1, log=True), ValueError, "low=0.0"),
    ("log and step", lambda t: t.suggest_float("y", 1, 2, log=True, step=0.5), ValueError, "0.5"),
    ("NaN", lambda t: t.suggest_float("y", math.nan, 1), ValueError, "nan"),
    ("infinity", lambda t: t.suggest_float("y", 0, math.inf), ValueError, "inf"),
    ("text", lambda t: t.suggest_float("y", "0", 1), TypeError, "'0'"),
    ("no step", lambda t: t.suggest_int("y", 0, 1, step=0), ValueError, "step=0"),
    ("half an integer", lambda t: t.suggest_int("y", 0, 1.5), ValueError, "1.5"),
    ("too large", lambda t: t.suggest_int("y", 0, 10**400), ValueError, "too large"),
    ("no choices", lambda t: t.suggest_categorical("y", []), ValueError, "empty"),
    ("choices in a word", lambda t: t.suggest_categorical("y", "abc"), TypeError, "'abc'"),
    ("no name", lambda t: t.suggest_float("", 0, 1), TypeError, "''"),
    ("a number as name", lambda t: t.suggest_float(7, 0, 1), TypeError, "7"),
    ("a list as name", lambda t: t.suggest_float([], 0, 1), TypeError, "[]"),
    ("another kind", lambda t: t.suggest_int("x", 0, 1), ValueError, "use another name"),
    ("another kind, choices", lambda t: t.suggest_categorical("x", [1]), ValueError, "use another name"),
    ("report text", lambda t: t.report("high", 1), TypeError, "'high'"),
    ("report nothing", lambda t: t.report(None, 1), TypeError, "None"),
    ("report too much", lambda t: t.report(10**400, 1), TypeError, "float"),
    ("report at no step", lambda t: t.report(1.0, "one"), TypeError, "'one'"),
    ("report at a negative step", lambda t: t.report(1.0, -1), ValueError, "-1"),
    ("report at a huge step", lambda t: t.report(1.0, 2**63), ValueError, str(2**63)),
    ("report at infinity", lambda t: t.report(1.0, math.inf), TypeError, "inf"),
    ("a metric without name", lambda t: t.report_metric("", 1.0, 1), TypeError, "''"),
    ("an attribute of no JSON", lambda t: t.set_user_attr("k", {1, 2}), TypeError, "'k'"),
    ("an attribute without name", lambda t: t.set_user_attr(3, 1), TypeError, "3"),
    ("a constraint of text", lambda t: t.set_constraint("c", "much"), TypeError, "'much'"),
    ("a constraint of NaN", lambda t: t.set_constraint("c", math.nan), ValueError, "NaN"),
    ("a constraint without name", lambda t: t.set_constraint(3, 1.0), TypeError, "3"),
]


def endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


def refused(call: Callable[[], Any], kind: type[Exception], shown: str, name: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        call()
    assert isinstance(caught.value, kind), f"{name}: {caught.value!r}"
    assert shown in str(caught.value), f"{name}: {caught.value}"
    assert len(str(caught.value)) < 1000, name


def test_wrong_input_to_a_study(place: Place) -> None:
    study = study_in(place, seed=1)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
    study.ask()
    study.enqueue_trial({"x": 0.5})
    before = study.trials
    for name, call, kind, shown in ON_A_STUDY:
        if name == "stop outside":
            with pytest.raises(kind, match=shown):
                call(study)
            continue
        refused(lambda call=call: call(study), kind, shown, name)  # type: ignore[misc]
        assert study.trials == before, name
    check_reload(study)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    study.tell(1, 3.0)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4
    assert study_in(place).trials == study.trials


def test_wrong_input_to_a_trial(place: Place) -> None:
    """In an objective it fails the trial; caught by the user it costs nothing."""
    study = study_in(place, seed=1)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    before = study.trials
    for name, call, kind, shown in ON_A_TRIAL:
        refused(lambda call=call: call(trial), kind, shown, name)  # type: ignore[misc]
        assert study.trials == before, name
    study.tell(trial, 1.0)
    check_reload(study)
    cases = iter(ON_A_TRIAL)

    def objective(trial: Any) -> float:
        next(cases)[1](trial)
        return 1.0

    study.optimize(objective, n_trials=len(ON_A_TRIAL), catch=(ValueError, TypeError))
    assert {t.state for t in study.trials[2:]} == {TrialState.FAIL}
    assert all(t.system_attrs["fail_reason"] for t in study.trials[2:])
    study.optimize(lambda t: 1.0, n_trials=1)
    check_reload(study)


@pytest.mark.parametrize(
    ("arguments", "kind", "shown"),
    [
        ({"study_name": 5}, TypeError, "5"),
        ({"study_name": ""}, TypeError, "''"),
        ({"study_name": "a\0b"}, ValueError, "NUL"),
        ({"storage": 5}, TypeError, "5"),
        ({"storage": "mongodb://host"}, ValueError, ".jsonl"),
        ({"storage": ""}, ValueError, "''"),
        ({"storage": "/no/such/folder/s.jsonl"}, ValueError, "no folder"),
        ({"storage": "sqlite:////no/such/folder/s.db"}, ValueError, "no folder"),
        ({"storage": "mssql://host/db"}, ValueError, "mssql"),
        ({"sampler": "gradient"}, ValueError, "random"),
        ({"sampler": 5}, TypeError, "5"),
        ({"sampler": RandomSampler}, TypeError, "RandomSampler"),
        ({"pruner": "gradient"}, ValueError, "median"),
        ({"pruner": 5}, TypeError, "5"),
        ({"direction": "up"}, ValueError, "'up'"),
        ({"direction": 5}, ValueError, "5"),
        ({"directions": []}, ValueError, "empty"),
        ({"directions": 5}, ValueError, "5"),
        ({"directions": "minimize"}, ValueError, "list"),
        ({"direction": "minimize", "directions": ["minimize"]}, ValueError, "not both"),
        ({"seed": -1}, ValueError, "-1"),
        ({"seed": 1.5}, ValueError, "1.5"),
        ({"seed": "one"}, ValueError, "'one'"),
        ({"budget": -1}, ValueError, "-1"),
        ({"budget": "many"}, ValueError, "'many'"),
        ({"space": 5}, TypeError, "5"),
        ({"space": {"x": 5}}, TypeError, "5"),
        ({"space": {"x": {"type": "gauss"}}}, ValueError, "gauss"),
        ({"space": {"": Float(0, 1)}}, TypeError, "''"),
    ],
    ids=str,
)
def test_wrong_arguments_of_create_study(
    arguments: dict[str, Any], kind: type[Exception], shown: str, tmp_path: Path
) -> None:
    """Nothing is made."""
    url = f"{tmp_path}/s.jsonl"
    refused(
        lambda: tunesmith.create_study(**{"storage": url, "study_name": "a", **arguments}), kind, shown, str(arguments)
    )
    assert tunesmith.get_all_study_names(url) == []


def test_wrong_arguments_of_the_others(place: Place) -> None:
    store = place.open()
    study_in(place)
    for call, kind, shown in (
        (lambda: tunesmith.load_study(study_name="t", storage=store), KeyError, "'s'"),
        (lambda: tunesmith.load_study(study_name=5, storage=store), KeyError, "5"),  # type: ignore[arg-type]
        (lambda: tunesmith.delete_study(study_name="t", storage=store), KeyError, "'t'"),
        (lambda: tunesmith.create_study(study_name="s", storage=store), TunesmithError, "load_if_exists"),
        (lambda: tunesmith.copy_study(from_study_name="t", from_storage=store, to_storage=store), KeyError, "'t'"),
        (
            lambda: tunesmith.copy_study(from_study_name="s", from_storage=store, to_storage=store),
            TunesmithError,
            "'s'",
        ),
        (
            lambda: tunesmith.copy_study(from_study_name="s", from_storage=store, to_storage=store, to_study_name=""),
            TypeError,
            "''",
        ),
        (lambda: tunesmith.load_study(study_name="s", storage=store, sampler="gradient"), ValueError, "gradient"),
        (lambda: tunesmith.minimize(5, {"x": Float(0, 1)}, 1), TunesmithError, "5"),
        (lambda: tunesmith.minimize(lambda x: x, {"x": 5}, 1), TypeError, "5"),  # type: ignore[dict-item]
        (lambda: MedianPruner(n_startup_trials=-1), ValueError, "-1"),
        (lambda: PercentilePruner(101), ValueError, "101"),
        (lambda: Space({"x": Float(0, 1)}, {"x": "y > 1"}), ValueError, "'y'"),
    ):
        refused(call, kind, shown, shown)  # type: ignore[arg-type]
    assert tunesmith.get_all_study_names(store) == ["s"]


def test_results_that_are_none(place: Place) -> None:
    """Each fails its trial with the reason, and the study goes on."""
    study = study_in(place)
    results: list[Any] = [
        None,
        "text",
        "1.5",
        1j,
        10**400,
        math.nan,
        [],
        [1.0, 2.0],
        {},
        object(),
        (None,),
        b"1",
        lambda: 1,
        {1.0},
    ]
    study.optimize(lambda t: results[t.number], n_trials=len(results))
    for trial in study.trials:
        assert trial.state == TrialState.FAIL
        assert trial.values is None
        assert trial.system_attrs["fail_reason"]
    study.optimize(lambda t: 1.0, n_trials=1)
    assert study.best_trial.number == len(results)
    check_reload(study)


class TestStores:
    def test_a_file_that_is_no_log(self, tmp_path: Path) -> None:
        (tmp_path / "notes.jsonl").write_text('{"some": "other"}\nlines\n')
        (tmp_path / "picture.db").write_bytes(b"\x89PNG" + bytes(300))
        for storage in (f"{tmp_path}/notes.jsonl", f"sqlite:///{tmp_path}/picture.db"):
            before = sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir())
            with pytest.raises(NotALogError) as caught:
                tunesmith.create_study(storage=storage)
            assert isinstance(caught.value, ValueError)
            assert sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir()) == before

    def test_a_record_that_was_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl"
        study = tunesmith.create_study(study_name="s", storage=str(path))
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=3)
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"low":0.0', b'"low":0.5', 1))
        with pytest.raises(LogDamagedError, match="line"):
            tunesmith.load_study(study_name="s", storage=str(path)).trials  # noqa: B018

    def test_events_that_make_no_sense(self, place: Place) -> None:
        """A store that holds its bytes well and nonsense in them."""
        study = study_in(place)
        study.optimize(lambda t: 1.0, n_trials=1)
        study.storage.append(study._log.study, [{"e": "ask", "n": 1}])
        for call in (lambda: study.trials, lambda: study.ask(), lambda: study_in(place)):
            with pytest.raises(LogDamagedError, match="'ask'"):
                call()

    def test_a_deleted_study(self, place: Place) -> None:
        study = study_in(place)
        trial = study.ask()
        tunesmith.delete_study(study_name="s", storage=study.storage)
        for call in (
            lambda: study.trials,
            lambda: study.ask(),
            lambda: study.tell(trial, 1.0),
            lambda: trial.report(1.0, 1),
        ):
            with pytest.raises(KeyError, match="no study"):
                call()
        assert study_in(place).trials == []

    def test_a_closed_store(self, disk: Place) -> None:
        study = study_in(disk)
        study.storage.close()
        with pytest.raises(StorageInternalError, match="closed"):
            study.ask()

    def test_a_study_whose_creator_died(self, place: Place) -> None:
        """A name without content: loading says what to do, creating completes it."""
        store = place.open()
        store.create("s")
        with pytest.raises(KeyError, match="load_if_exists=True"):
            tunesmith.load_study(study_name="s", storage=store)
        assert tunesmith.get_all_study_summaries(store) == []
        study = study_in(place, direction="maximize")
        study.optimize(lambda t: 1.0, n_trials=1)
        assert tunesmith.load_study(study_name="s", storage=store).direction.name == "MAXIMIZE"
