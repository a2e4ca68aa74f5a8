"""Where tunesmith differs from Optuna on purpose: each test's docstring is the difference and its reason.

Where Optuna can be asked, it is, so that a difference that goes away is noticed.
"""

from __future__ import annotations

import logging
import math
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    StudyNotFoundError,
    TunesmithError,
    UpdateFinishedTrialError,
)
from tunesmith.storages import InMemoryStorage
from tunesmith.trial import TrialState


@pytest.fixture
def oracle() -> ModuleType:
    module = pytest.importorskip("optuna")
    module.logging.set_verbosity(module.logging.ERROR)
    return module


def test_the_log_keeps_seed_sampler_and_pruner(oracle: ModuleType) -> None:
    """A loaded study goes on with them; in Optuna they must be given again, and a reloaded seed starts over."""

    def two_halves(module: Any) -> list[float]:
        storage = module.storages.InMemoryStorage()
        study = module.create_study(study_name="a", storage=storage, sampler=module.samplers.RandomSampler(seed=1))
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
        again = {} if module is tunesmith else {"sampler": module.samplers.RandomSampler(seed=1)}
        study = module.load_study(study_name="a", storage=storage, **again)
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
        return [t.params["x"] for t in study.trials]

    assert len(set(two_halves(tunesmith))) == 4
    assert len(set(two_halves(oracle))) == 2  # the same values again


def test_samplers_and_pruners_by_name() -> None:
    """Strings are understood; unknown ones are refused with the known ones."""
    study = tunesmith.create_study(sampler="Random", pruner="nop")
    assert type(study.pruner).__name__ == "NopPruner"
    study.sampler, study.pruner = "random", "median"  # type: ignore[assignment]
    assert type(study.pruner).__name__ == "MedianPruner"
    for name in ("sampler", "pruner"):
        with pytest.raises(InvalidValueError, match=r"'gradient'; known: .*(random|median)"):
            tunesmith.create_study(**{name: "gradient"})  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="7"):
            setattr(study, name, 7)


def test_choices_may_change_between_trials(oracle: ModuleType) -> None:
    """Optuna refuses another list of choices, and another scale; in a long study both get revised."""
    ours, theirs = tunesmith.create_study(), oracle.create_study()
    for study in (ours, theirs):
        study.ask(
            {
                "c": (type(study) is tunesmith.Study and Categorical(["a", "b"]))
                or oracle.distributions.CategoricalDistribution(["a", "b"])
            }
        )
    with pytest.raises(ValueError, match="dynamic value space"):
        theirs.ask().suggest_categorical("c", ["b", "d"])
    assert ours.ask().suggest_categorical("c", ["b", "d"]) in ("b", "d")
    ours.ask().suggest_float("x", 1, 2)
    assert 1 <= ours.ask().suggest_float("x", 1, 2, log=True) <= 2


def test_equal_choices_of_different_types_differ() -> None:
    """``True``, 1 and 1.0 are three choices (a Python dictionary would take them for one)."""
    study = tunesmith.create_study(seed=1)
    study.optimize(lambda t: float(t.suggest_categorical("c", [True, 1, 1.0])), n_trials=20)
    assert {type(t.params["c"]) for t in study.trials} == {bool, int, float}


def test_an_unfit_name_costs_no_trial(oracle: ModuleType) -> None:
    """``ask`` with another kind of parameter under a known name: Optuna leaves a RUNNING trial behind."""
    ours, theirs = tunesmith.create_study(), oracle.create_study()
    ours.ask({"x": Float(0, 1)})
    theirs.ask({"x": oracle.distributions.FloatDistribution(0, 1)})
    with pytest.raises(InvalidValueError, match="'x' is a float"):
        ours.ask({"x": Int(0, 1)})
    with pytest.raises(ValueError):
        theirs.ask({"x": oracle.distributions.IntDistribution(0, 1)})
    assert (len(ours.trials), len(theirs.trials)) == (1, 2)


def test_a_second_tell_is_a_value_error_and_an_update_error() -> None:
    """Optuna's ``ValueError`` says little; both classes can be caught here."""
    study = tunesmith.create_study()
    study.tell(study.ask(), 1.0)
    with pytest.raises(UpdateFinishedTrialError, match="COMPLETE already") as caught:
        study.tell(0, 2.0)
    assert isinstance(caught.value, ValueError)


def test_telling_a_number_that_does_not_exist() -> None:
    """Negative numbers do not exist either (Optuna's memory storage fails an assertion)."""
    study = tunesmith.create_study()
    study.ask()
    with pytest.raises(InvalidValueError, match="trial -1"):
        study.tell(-1, 1.0)


@pytest.mark.parametrize("text", ["1.5", "7", b"7", bytearray(b"7")])
def test_text_is_no_value(text: Any) -> None:
    """``float("7")`` would work, but an objective that returns text is wrong: FAIL. Optuna takes it, or crashes."""
    study = tunesmith.create_study()
    study.optimize(lambda trial: text, n_trials=1)
    assert study.trials[0].state == TrialState.FAIL
    assert "could not be cast" in study.trials[0].system_attrs["fail_reason"]


def test_arrays_are_sequences_of_values() -> None:
    """A NumPy vector is read as its entries; Optuna knows only ``Sequence``."""
    study = tunesmith.create_study(directions=["minimize", "minimize"])
    study.optimize(lambda trial: np.array([1.0, 2.0]), n_trials=1)
    assert study.trials[0].values == [1.0, 2.0]


def test_huge_integers_are_no_values() -> None:
    """``10**400`` is no float: the trial fails with the reason (Optuna lets an OverflowError escape)."""
    study = tunesmith.create_study()
    study.optimize(lambda trial: 10**400, n_trials=1)
    assert "too large" in study.trials[0].system_attrs["fail_reason"]


def test_reports_with_several_objectives(oracle: ModuleType) -> None:
    """They are recorded (generators yield them); only stopping rules are for one objective. Optuna refuses both."""
    trial = tunesmith.create_study(directions=["minimize", "minimize"]).ask()
    trial.report(1.0, 1)
    with pytest.raises(NotImplementedError):
        oracle.create_study(directions=["minimize", "minimize"]).ask().report(1.0, 1)
    with pytest.raises(NotImplementedError):
        trial.should_prune()


def test_attributes_are_json_in_every_storage(oracle: ModuleType) -> None:
    """Optuna's memory storage takes any object and its database does not; here both take what JSON can hold."""
    study = tunesmith.create_study()
    for wrong in (object(), {1, 2}, b"x", 1j, len):
        with pytest.raises(InvalidTypeError, match="'k'"):
            study.set_user_attr("k", wrong)
        with pytest.raises(InvalidTypeError, match="'k'"):
            study.ask().set_user_attr("k", wrong)
    oracle.create_study().set_user_attr("k", object())
    study.set_user_attr("k", {"tuple": (1, np.float64(2.5)), "array": np.arange(3), "odd": math.inf})
    assert study.user_attrs["k"] == {"tuple": [1, 2.5], "array": [0, 1, 2], "odd": math.inf}
    with pytest.raises(InvalidTypeError, match="7"):
        study.set_user_attr(7, 1)  # type: ignore[arg-type]


def test_impossible_bounds_are_refused_at_once(oracle: ModuleType) -> None:
    """NaN and infinite bounds: Optuna makes the distribution and fails later, or never."""
    for low, high in ((math.nan, 1), (0, math.inf), (-math.inf, 0)):
        oracle.distributions.FloatDistribution(low, high)
        with pytest.raises(InvalidValueError):
            Float(low, high)
    with pytest.raises(InvalidTypeError):
        tunesmith.create_study().ask().suggest_float("x", "0", 1)  # type: ignore[arg-type]


def test_a_set_of_trials_is_added_as_a_whole() -> None:
    """``add_trials`` adds all or none; Optuna adds those before the wrong one."""
    study = tunesmith.create_study()
    good, bad = tunesmith.create_trial(value=1.0), tunesmith.create_trial(values=[1.0, 2.0])
    with pytest.raises(ValueError, match="2 values"):
        study.add_trials([good, bad])
    assert study.trials == []
    x, y = ({"params": {"x": 1}, "distributions": {"x": d}} for d in (Float(0, 1), Int(0, 1)))
    with pytest.raises(ValueError, match="cannot become"):
        study.add_trials([tunesmith.create_trial(value=1.0, **x), tunesmith.create_trial(value=1.0, **y)])
    assert study.trials == []


def test_running_trials_show_their_whole_proposal(oracle: ModuleType) -> None:
    """So that other workers see what is pending; Optuna shows what was suggested so far. A finished trial keeps what
    its objective asked for."""
    study = tunesmith.create_study()
    study.tell(study.ask({"x": Float(0, 1), "y": Float(0, 1)}), 1.0)
    trial = study.ask()
    assert trial.params == {}
    assert set(study.trials[1].params) == {"x", "y"}
    trial.suggest_float("x", 0, 1)
    study.tell(trial, 1.0)
    assert set(study.trials[1].params) == {"x"}


def test_a_trial_told_inside_its_objective_is_a_warning(oracle: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """The first end stands and the loop goes on; Optuna's loop ends with a ValueError."""

    def tell_twice(study: Any) -> None:
        study.optimize(lambda trial: study.tell(trial.number, 1.0) and 2.0, n_trials=2)

    with pytest.raises(ValueError):
        tell_twice(oracle.create_study())
    study = tunesmith.create_study()
    with caplog.at_level(logging.WARNING):
        tell_twice(study)
    assert [t.value for t in study.trials] == [1.0, 1.0]
    assert sum("is finished already" in m for m in caplog.messages) == 2


def test_nested_loops_are_refused_in_threads_too(oracle: ModuleType) -> None:
    """Optuna notices them with ``n_jobs=1`` only."""
    study = tunesmith.create_study()
    with pytest.raises(RuntimeError, match="Nested"):
        study.optimize(lambda t: study.optimize(lambda u: 1.0, n_trials=1) or 1.0, n_trials=1, n_jobs=2)


def test_arguments_of_optimize_are_checked_first() -> None:
    """Before any trial is made; Optuna finds out while it runs."""
    study = tunesmith.create_study()
    objective = lambda trial: 1.0  # noqa: E731
    wrong: list[dict[str, Any]] = [
        {"n_trials": -1},
        {"n_trials": 1.5},
        {"n_trials": "3"},
        {"timeout": -1},
        {"timeout": "1"},
        {"n_jobs": 0},
        {"n_jobs": -2},
        {"n_jobs": 1.5},
        {"catch": [5]},
        {"catch": "ValueError"},
        {"catch": (BaseException,)},
        {"callbacks": [5]},
        {"callbacks": 5},
        {"timeout": math.nan},
        {"n_trials": True},
    ]
    for arguments in wrong:
        with pytest.raises(TunesmithError) as caught:
            study.optimize(objective, **{"n_trials": 1, **arguments})
        assert isinstance(caught.value, (ValueError, TypeError))
    assert study.trials == []


def test_studies_must_be_named_by_text() -> None:
    """Optuna takes "" for no name and stumbles over numbers."""
    for wrong in ("", 5, b"a"):
        with pytest.raises(InvalidTypeError):
            tunesmith.create_study(study_name=wrong)  # type: ignore[arg-type]


def test_a_missing_study_is_named(oracle: ModuleType) -> None:
    """Optuna's KeyError names an internal number or the name alone; ours lists what is there."""
    storage = InMemoryStorage()
    tunesmith.create_study(study_name="digits", storage=storage)
    with pytest.raises(StudyNotFoundError, match=r"no study 'digit'.*holds: 'digits'"):
        tunesmith.load_study(study_name="digit", storage=storage)


def test_paused_is_a_state(oracle: ModuleType) -> None:
    """Successive halving and Hyperband can go on with a trial instead of repeating it."""
    assert [s.name for s in TrialState] == [s.name for s in oracle.trial.TrialState] + ["PAUSED"]
    assert TrialState.PAUSED == 5
    assert not TrialState.PAUSED.is_finished()


def test_copies_do_not_share_running_trials() -> None:
    """Optuna's copy has RUNNING trials that nobody will ever tell; here they wait, and the copy attempts them."""
    storage = InMemoryStorage()
    study = tunesmith.create_study(study_name="a", storage=storage)

    def objective(trial: Any) -> float:
        if trial.number == 1:
            tunesmith.copy_study(from_study_name="a", from_storage=storage, to_storage=storage, to_study_name="b")
        return trial.suggest_float("x", 0, 1)

    study.optimize(objective, n_trials=3)
    copied = tunesmith.load_study(study_name="b", storage=storage)
    assert [t.state for t in copied.trials] == [TrialState.COMPLETE, TrialState.WAITING]
    copied.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    assert [t.params for t in copied.trials] == [t.params for t in study.trials]  # as the original went on


def test_numbers_that_are_asked_for_are_given() -> None:
    """Fixed and enqueued values come out as the type that was asked for; Optuna hands out what was put in."""
    from tunesmith.trial import FixedTrial

    assert type(FixedTrial({"x": 1}).suggest_float("x", 0, 1)) is float
    study = tunesmith.create_study()
    study.enqueue_trial({"x": 1})
    assert type(study.ask().suggest_float("x", 0, 1)) is float


def test_directions_of_a_loaded_study_stand(caplog: pytest.LogCaptureFixture) -> None:
    """Optuna ignores other directions silently; here a warning says so."""
    storage = InMemoryStorage()
    tunesmith.create_study(study_name="a", storage=storage, direction="maximize")
    with caplog.at_level(logging.WARNING):
        again = tunesmith.create_study(study_name="a", storage=storage, direction="minimize", load_if_exists=True)
    assert again.direction.name == "MAXIMIZE"
    assert "the given ones are ignored" in caplog.text


def test_an_infinite_report_does_not_switch_the_median_rule_off(oracle: ModuleType) -> None:
    """In Optuna the median of 1, 2 and inf is NaN, which nothing is worse than."""

    def hopeless(library: ModuleType) -> bool:
        study = library.create_study(pruner=library.pruners.MedianPruner(n_startup_trials=0))
        for value in (1.0, 2.0, math.inf):
            trial = study.ask()
            trial.report(value, 1)
            study.tell(trial, value)
        trial = study.ask()
        trial.report(100.0, 1)
        return bool(trial.should_prune())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's NumPy
        assert not hopeless(oracle)
    assert hopeless(tunesmith)
