"""A study as it was, and its log in words."""

from __future__ import annotations

import datetime
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, ReadOnlyStudyError
from tunesmith.fold import Fold
from tunesmith.study import LogEntry, Study
from tunesmith.study._entries import _TEXTS, entries
from tunesmith.study._reader import StudyReader
from tunesmith.testing.studies import check_same_history, check_same_trials
from tunesmith.trial import Trial, TrialState


def objective(trial: Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


class TestAt:
    def test_every_moment(self, place: Place) -> None:
        """After each record the view is what the study was then."""
        study = study_in(place, seed=1, sampler="random")
        moments: list[tuple[int, Any, Any]] = []

        def keep(*_: Any) -> None:
            moments.append((study._log.position, study.trials, study.history))

        keep()
        for step in range(4):
            study.optimize(objective, n_trials=2)
            keep()
            [lambda: study.edit_trial(0, values=-9.0), lambda: study.delete_trial(1), lambda: study.enqueue_trial({}),
             lambda: study.set_user_attr("a", 1)][step]()  # fmt: skip
            keep()
        assert study.at(moments[3][0]).best_value != -9.0 or study.best_value == -9.0
        for position, trials, history in moments:
            then = study.at(position)
            assert then.position == position
            check_same_trials(then.trials, trials)
            check_same_history(then.history, history)
            check_same_trials(then.at(moments[0][0]).trials, [])
        assert study.at(study._log.position).user_attrs == {"a": 1}
        assert study.at(1).user_attrs == {}

    def test_it_shows_what_a_study_shows(self, place: Place) -> None:
        pytest.importorskip("pandas")
        study = study_in(place, seed=1, sampler="sobol", pruner="nop")
        study.optimize(objective, n_trials=5)
        then = study.at(study._log.position)
        study.optimize(objective, n_trials=5)
        assert len(then.trials) == len(then.get_trials(states=(TrialState.COMPLETE,))) == 5
        assert then.best_trial.number == min(then.trials, key=lambda t: t.value or 0.0).number
        assert then.best_params == then.best_trial.params
        assert then.best_value == then.best_trial.value
        assert len(then.trials_dataframe()) == 5
        assert (then.study_name, then.seed, then.directions) == (study.study_name, study.seed, study.directions)
        assert (then.sampler, then.pruner) == (study.sampler, study.pruner)
        assert len(then.events()) < len(study.events())

    def test_it_cannot_be_changed(self) -> None:
        """Whatever a study can do and a view cannot is refused, also what is added to studies later."""
        study = tunesmith.create_study(seed=1)
        study.optimize(objective, n_trials=2)
        then, position = study.at(3), study._log.position
        changing = {name for name in dir(Study) if not name.startswith("_")} - set(dir(StudyReader))
        assert {"ask", "tell", "optimize", "add_trial", "edit_trial", "delete_trial", "enqueue_trial"} <= changing
        for name in changing:
            with pytest.raises(ReadOnlyStudyError, match=f"`{name}`.*after 3 records"):
                getattr(then, name)
            assert not hasattr(then, name)
        with pytest.raises(AttributeError):
            then.sampler = "random"  # type: ignore[misc, assignment]
        with pytest.raises(ReadOnlyStudyError):
            then._log.append([])
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = then.nonsense
        assert study._log.position == position

    def test_by_time(self, place: Place) -> None:
        study = study_in(place, seed=1)
        study.optimize(objective, n_trials=2)
        time.sleep(0.002)
        now = datetime.datetime.now()
        study.optimize(objective, n_trials=1)
        assert len(study.at(time=now).trials) == 2
        assert len(study.at(time=now.astimezone(datetime.UTC)).trials) == 2
        assert len(study.at(time=now + datetime.timedelta(hours=1)).trials) == 3
        with pytest.raises(InvalidValueError, match="did not exist yet"):
            study.at(time=now - datetime.timedelta(days=1))

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            ({}, InvalidValueError),
            ({"n": 1, "time": datetime.datetime.now()}, InvalidValueError),
            ({"n": 0}, InvalidValueError),
            ({"n": -1}, InvalidValueError),
            ({"n": 99}, InvalidValueError),
            ({"n": True}, InvalidTypeError),
            ({"n": 1.0}, InvalidTypeError),
            ({"time": 5}, InvalidTypeError),
        ],
        ids=["neither", "both", "0", "-1", "99", "True", "1.0", "no time"],
    )
    def test_no_such_moment(self, arguments: dict[str, Any], kind: type[Exception]) -> None:
        study = tunesmith.create_study()
        with pytest.raises(kind):
            study.at(**arguments)

    def test_it_can_be_sent_to_another_process(self, disk: Place) -> None:
        study = study_in(disk, seed=1)
        study.optimize(objective, n_trials=3)
        then = pickle.loads(pickle.dumps(study.at(4)))
        check_same_trials(then.trials, study.at(4).trials)


class TestEvents:
    def test_every_event_has_words(self) -> None:
        assert _TEXTS.keys() == Fold()._handlers.keys()

    def test_a_story(self, place: Place) -> None:
        study = study_in(place, seed=1, sampler="random", pruner="nop")
        study.set_user_attr("data", "digits")
        study.enqueue_trial({"x": 0.5})

        def generator(trial: Trial) -> Iterator[float]:
            x = trial.suggest_float("x", 0, 1)
            yield x
            trial.set_user_attr("seen", 1)
            yield x / 2

        study.optimize(generator, n_trials=1)
        study.edit_trial(0, values=2.0, reason="typed wrongly")
        study.edit_trial(0, user_attrs={"note": "odd"})
        study.delete_trial(0, reason="a test")
        found = study.events()
        texts = [e.text for e in found]
        for expected in (
            "the study was made: minimize, seed 1",
            "sampler RandomSampler, pruner NopPruner",
            "the study's data was set to digits",
            'trial 0 was enqueued: {"x": 0.5}',
            "trial 0 began",
            "trial 0 ended: COMPLETE, 0.25; reported 0.25 at step 2 (1 report before); set seen to 1",
            "trial 0 was edited to COMPLETE, 2.0: typed wrongly (before: COMPLETE, 0.25)",
            "trial 0 was edited; set note to odd",
            "trial 0 was deleted: a test",
        ):
            assert expected in texts, texts
        assert [e.position for e in found] == sorted(e.position for e in found)
        assert found[-1].position == study._log.position
        tell = next(e for e in found if e.kind == "tell")
        assert (tell.trial, tell.valid) == (0, True)
        assert "process" in tell.who
        assert abs((tell.time or datetime.datetime.min) - datetime.datetime.now()) < datetime.timedelta(minutes=5)
        assert str(tell).startswith(f"{tell.position}  ")
        edits = [e for e in found if e.kind in ("edit", "delete")]
        assert all("process" in e.who for e in edits)

    def test_what_is_void_says_so(self) -> None:
        records = [
            [{"e": "study", "v": 1, "directions": [1], "seed": 0, "t": 1}],
            [{"e": "ask", "n": 0, "k": "a.1", "t": 2}],
            [{"e": "ask", "n": 0, "k": "b.1", "t": 3}],
            [{"e": "delete", "ver": 2, "n": 7, "t": 4, "w": "x"}],
        ]
        found = entries(records)
        assert [e.valid for e in found] == [True, True, False, False]
        assert [e.text for e in found][2:] == ["trial 0 began (void)", "trial 7 was deleted (void)"]
        assert isinstance(found[0], LogEntry)

    def test_long_values_are_shortened(self) -> None:
        study = tunesmith.create_study()
        study.set_user_attr("long", "x" * 5000)
        assert len(study.events()[-1].text) < 200
