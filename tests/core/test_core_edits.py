"""Trials that are edited and deleted: what changes, what does not, who is refused, and what the log keeps."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.distributions import Float
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    StaleTrialError,
    TrialDeletedError,
    TrialFinishedError,
    UpdateFinishedTrialError,
)
from tunesmith.testing._logged import logged
from tunesmith.testing._searches import snapshot
from tunesmith.testing.studies import check_reload
from tunesmith.trial import Trial, TrialState

FAIL, COMPLETE, PRUNED = TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED


def quadratic(trial: Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    trial.report(x, 1)
    return x * x


def searched(place: Place, n: int = 8, **options: Any) -> tunesmith.Study:
    study = study_in(place, seed=1, sampler="random", **options)
    study.optimize(quadratic, n_trials=n)
    return study


class TestEdits:
    def test_a_wrong_value(self, place: Place) -> None:
        study = searched(place)
        best, before = study.best_trial, study.history
        columns = snapshot(before)
        changed = study.edit_trial(best.number, values=7.5, reason="measured on the training part")
        assert (changed.value, changed.state) == (7.5, COMPLETE)
        assert changed.system_attrs["edited"] == 1
        assert study.best_trial.number != best.number
        assert snapshot(before) == columns, "a snapshot has changed"
        same = ("params", "datetime_start", "datetime_complete", "intermediate_values", "distributions", "user_attrs")
        assert all(getattr(changed, name) == getattr(best, name) for name in same)
        check_reload(study)
        assert study_in(place).trials == study.trials

    def test_states(self, place: Place) -> None:
        study = searched(place)
        failed = study.edit_trial(2, state=FAIL, reason="the GPU was broken")
        assert (failed.state, failed.values) == (FAIL, None)
        assert failed.system_attrs["fail_reason"] == "the GPU was broken"
        assert np.isnan(study.history.Y[study.history.number == 2, 0]).all()
        repaired = study.edit_trial(2, state=COMPLETE, values=-3.0)
        assert "fail_reason" not in repaired.system_attrs
        assert study.best_trial == repaired
        pruned = study.edit_trial(2, state=PRUNED)
        assert (pruned.state, pruned.values) == (PRUNED, [-3.0])
        assert study.best_trial.number != 2
        assert study.edit_trial(2, values=math.inf).values == [math.inf]
        check_reload(study)

    def test_several_objectives(self, place: Place) -> None:
        study = study_in(place, directions=["minimize", "maximize"], seed=1)
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), float(t.number)), n_trials=4)
        assert study.edit_trial(0, values=(-5, 9)).values == [-5.0, 9.0]
        assert [t.number for t in study.best_trials] == [0]
        with pytest.raises(InvalidValueError, match="number of the values 1"):
            study.edit_trial(1, values=2.0)
        check_reload(study)

    def test_notes_and_constraints(self, place: Place) -> None:
        study = searched(place)
        memos = study.history._shape.memos
        study.edit_trial(3, user_attrs={"note": "odd", "k": [np.float64(1.5), math.nan]})
        assert repr(study.trials[3].user_attrs) == "{'note': 'odd', 'k': [1.5, nan]}"
        assert "edited" not in study.trials[3].system_attrs
        assert study.history._shape.memos is memos, "no column has changed"
        study.edit_trial(3, user_attrs={"note": None})
        assert repr(study.trials[3].user_attrs) == "{'note': None, 'k': [1.5, nan]}"
        best = study.best_trial.number
        study.edit_trial(best, constraints={"size": 2.0})
        assert study.best_trial.number != best
        study.edit_trial(best, constraints={"size": 0.0, "time": -1.0})
        assert study.best_trial.number == best
        assert study.trials[best].constraints == {"size": 0.0, "time": -1.0}
        check_reload(study)

    def test_open_trials(self, place: Place) -> None:
        study = study_in(place)
        study.enqueue_trial({"x": 0.5})
        assert study.edit_trial(0, user_attrs={"from": "me"}).user_attrs == {"from": "me"}
        trial = study.ask()
        study.edit_trial(0, user_attrs={"note": 1})
        for change in ({"values": 1.0}, {"state": FAIL}, {"constraints": {"c": 1.0}}):
            with pytest.raises(InvalidValueError, match=r"RUNNING.*user_attrs"):
                study.edit_trial(0, **change)  # type: ignore[arg-type]
        trial.set_user_attr("own", 2)
        study.tell(trial, 0.5)
        assert study.trials[0].user_attrs == {"from": "me", "note": 1, "own": 2}
        check_reload(study)

    @pytest.mark.parametrize(
        ("change", "kind", "match"),
        [
            ({}, InvalidValueError, "Nothing to change"),
            ({"values": math.nan}, InvalidValueError, "nan is not acceptable"),
            ({"values": "1.0"}, InvalidValueError, "'1.0'"),
            ({"values": [1.0, 2.0]}, InvalidValueError, "number of the values 2"),
            ({"values": 1.0, "state": FAIL}, InvalidValueError, "FAIL trial has no values"),
            ({"state": TrialState.RUNNING}, InvalidValueError, "RUNNING"),
            ({"state": "COMPLETE"}, InvalidValueError, "'COMPLETE'"),
            ({"user_attrs": [1]}, InvalidTypeError, "user_attrs"),
            ({"user_attrs": {"a": 1j}}, InvalidTypeError, "'a'"),
            ({"constraints": {"c": math.nan}}, InvalidValueError, "NaN"),
            ({"values": 1.0, "reason": 5}, InvalidTypeError, "reason"),
        ],
        ids=str,
    )
    def test_what_is_refused(self, change: dict[str, Any], kind: type[Exception], match: str) -> None:
        study = tunesmith.create_study(seed=1)
        study.optimize(quadratic, n_trials=2)
        before, position = study.trials, study._log.position
        with pytest.raises(kind, match=match):
            study.edit_trial(1, **change)
        assert (study.trials, study._log.position) == (before, position)

    def test_a_failed_trial_needs_a_state_to_get_a_value(self) -> None:
        study = tunesmith.create_study()
        study.tell(study.ask(), state=FAIL)
        with pytest.raises(InvalidValueError, match=r"Say state=TrialState.COMPLETE"):
            study.edit_trial(0, values=1.0)
        with pytest.raises(InvalidValueError, match="has no values"):
            study.edit_trial(0, state=COMPLETE)
        assert study.edit_trial(0, values=1.0, state=COMPLETE).value == 1.0

    @pytest.mark.parametrize("number", [-1, 2, 10**12, True, 1.0, "1", None])
    def test_no_such_trial(self, number: Any) -> None:
        study = tunesmith.create_study()
        study.optimize(quadratic, n_trials=2)
        for call in (lambda: study.edit_trial(number, values=1.0), lambda: study.delete_trial(number)):
            with pytest.raises((InvalidValueError, InvalidTypeError), match=str(number)):
                call()
        assert len(study.trials) == 2

    def test_the_last_edit_wins(self, disk: Place) -> None:
        study = searched(disk)
        other = study_in(disk)
        other.edit_trial(1, values=1.0)
        study.edit_trial(1, state=FAIL)
        other.edit_trial(1, values=3.0, state=COMPLETE)
        assert study.trials[1].value == other.trials[1].value == 3.0
        assert study.trials[1].system_attrs["edited"] == 3
        check_reload(study)


class TestDeletions:
    def test_it_is_gone(self, place: Place) -> None:
        study = searched(place)
        before, best = study.history, study.best_trial
        columns = snapshot(before)
        study.delete_trial(best.number, reason="a duplicate")
        assert best.number not in [t.number for t in study.trials]
        assert study.best_trial.number != best.number
        assert best.number not in study.history.number
        assert (study.history.n, study.history.n_trials) == (7, 8)
        assert snapshot(before) == columns, "a snapshot has changed"
        assert study.ask().number == 8, "no number is given out twice"
        check_reload(study)
        assert [t.number for t in study_in(place).trials] == [n for n in range(9) if n != best.number]

    def test_all_of_them(self, place: Place) -> None:
        study = searched(place, 3)
        for number in (1, 0, 2):
            study.delete_trial(number)
        assert study.trials == []
        assert study.history.X.shape == (0, 1)
        with pytest.raises(ValueError, match="No trials are completed"):
            _ = study.best_trial
        study.optimize(quadratic, n_trials=2)
        assert [t.number for t in study.trials] == [3, 4]
        check_reload(study)

    def test_what_belongs_to_other_rows_stays_with_them(self, place: Place) -> None:
        """Reports, tags, attributes, constraints, integers beyond float64, failures."""
        study = study_in(place, seed=1, sampler="pso")

        def objective(trial: Trial) -> float:
            n = trial.number
            x, k = trial.suggest_float("x", 0, 1), trial.suggest_int("k", 0, 2**62)
            trial.set_user_attr("n", n)
            trial.set_constraint("c", float(n - 4))
            for step in range(n % 3):
                trial.report(n + step / 10, step)
                trial.report_metric("m", -n, step)
            if n == 5:
                raise ValueError("on purpose")
            return x + k / 2**62

        study.optimize(objective, n_trials=9, catch=ValueError)
        before = {t.number: t for t in study.trials}
        for number in (0, 7, 4):
            study.delete_trial(number)
            left = study.trials
            assert left == [before[t.number] for t in left]
            _ = study.history
        assert [t.number for t in study.trials] == [1, 2, 3, 5, 6, 8]
        reports = study.history.reports
        for number, steps in ((1, 1), (2, 2), (5, 2), (8, 2)):
            row = int(np.flatnonzero(study.history.number == number)[0])
            assert (reports.row == row).sum() == 2 * steps
        check_reload(study)
        study.optimize(objective, n_trials=3, catch=ValueError)
        check_reload(study)

    def test_a_waiting_trial_leaves_the_queue(self, place: Place) -> None:
        study = study_in(place)
        for x in (0.25, 0.75):
            study.enqueue_trial({"x": x})
        study.delete_trial(0)
        study.optimize(quadratic, n_trials=1)
        assert [(t.number, t.params) for t in study.trials] == [(1, {"x": 0.75})]

    def test_a_running_trial(self, disk: Place) -> None:
        study, other = study_in(disk), study_in(disk)
        trial = study.ask({"x": Float(0, 1)})
        other.delete_trial(0)
        with pytest.raises(TrialDeletedError, match="Trial 0 was deleted"):
            trial.report(0.5, 1)
        with pytest.raises(StaleTrialError):
            trial.set_user_attr("a", 1)
        with pytest.raises(UpdateFinishedTrialError):
            study.tell(trial, 0.5)
        with pytest.raises(ValueError, match="number is not given out again"):
            study.tell(0, 0.5, skip_if_finished=True)
        assert study.trials == other.trials == []
        assert study.ask().number == 1
        check_reload(study)

    def test_a_loop_goes_on(self, disk: Place) -> None:
        """A trial that is deleted while it runs costs its own result, and nothing else; callbacks do not hear of it."""
        study, other, heard = study_in(disk, seed=1), study_in(disk), []

        def objective(trial: Trial) -> Iterator[float]:
            for step in range(3):
                if trial.number == 1 and step == 1:
                    other.delete_trial(1)
                yield trial.suggest_float("x", 0, 1) + step

        with logged("tunesmith.study") as messages:
            study.optimize(objective, n_trials=4, callbacks=[lambda _, t: heard.append(t.number)])
        assert [t.number for t in study.trials] == heard == [0, 2, 3]
        assert any("Trial 1 was deleted" in m for m in messages)
        check_reload(study)

    def test_a_trial_that_another_one_began_with(self, tmp_path: Any) -> None:
        """A paused trial with a saved state: its files go, and the search ends."""
        study = tunesmith.create_study(
            storage=f"sqlite:///{tmp_path}/a.db", seed=1, pruner="hyperband", sampler="random"
        )

        def objective(trial: Trial) -> Iterator[float]:
            begin = (trial.load() or {"step": 0})["step"]
            for step in range(begin + 1, 10):
                trial.save({"step": step}, step)
                yield trial.suggest_float("x", 0, 1) / step

        study.optimize(objective, n_trials=6, timeout=30, keep_paused=True)
        paused = study.get_trials(states=(TrialState.PAUSED,))
        place = study._session.states.place
        assert paused
        assert set(place.trials(study._log.study)) >= {t.number for t in paused}
        for trial in paused:
            study.delete_trial(trial.number)
        assert not set(place.trials(study._log.study)) & {t.number for t in paused}
        study.optimize(objective, n_trials=3, timeout=30)
        check_reload(study)

    def test_threads_that_delete_the_same_trials(self, disk: Place) -> None:
        study = searched(disk, 20)
        handles = [study_in(disk) for _ in range(4)]
        done: list[int] = []

        def delete(handle: tunesmith.Study) -> None:
            for number in range(20):
                try:
                    handle.delete_trial(number)
                    done.append(number)
                except TrialDeletedError:
                    pass

        threads = [threading.Thread(target=delete, args=(handle,)) for handle in handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == list(range(20)), "each was deleted once"
        assert study.trials == []
        check_reload(study)

    def test_finished_and_deleted_are_told_apart(self) -> None:
        study = tunesmith.create_study()
        study.optimize(quadratic, n_trials=2)
        study.delete_trial(1)
        with pytest.raises(TrialFinishedError, match="COMPLETE already"):
            study.tell(0, 1.0)
        with pytest.raises(TrialDeletedError):
            study.tell(1, 1.0)


def test_many_deletions_cost_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith._table import Table

    study, copies = tunesmith.create_study(seed=1), []
    study.optimize(quadratic, n_trials=30)
    whole = Table.without_deleted
    monkeypatch.setattr(Table, "without_deleted", lambda table: copies.append(1) or whole(table))
    for number in range(20):
        study.delete_trial(number)
    assert not copies
    assert study.history.n == 10
    assert len(copies) == 1
