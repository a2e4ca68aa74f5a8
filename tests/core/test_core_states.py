"""Trials that save their state: what survives the process, what is kept on the disk, and what is refused."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.artifacts import StateDamagedError
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    StaleTrialError,
    StorageInternalError,
    TrialPruned,
)
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, NopPruner, Schedule, Start, Stop, Verdict
from tunesmith.testing._rules import Task
from tunesmith.testing.studies import check_reload
from tunesmith.trial import FixedTrial, TrialState


@dataclass
class Training:
    """The value after k epochs is ``x + sum of the epochs' numbers``; a state is saved every so many epochs.

    Attributes:
        epochs: of a trial.
        every: epochs from one state to the next.
        stop: called with (trial, epoch) before each epoch.
        trained: (trial, epoch) in the order in which they were computed.
    """

    epochs: int = 6
    every: int = 1
    stop: Callable[[Any, int], None] = lambda trial, epoch: None

    def __post_init__(self) -> None:
        self.trained: list[tuple[int, int]] = []

    def __call__(self, trial: Any) -> Iterator[float]:
        x = trial.suggest_float("x", 0, 1)
        state = trial.load() or {"epoch": 0, "weights": np.full(3, x)}
        weights = state["weights"]
        for epoch in range(state["epoch"] + 1, self.epochs + 1):
            self.stop(trial, epoch)
            self.trained.append((trial.number, epoch))
            weights = weights + epoch
            if epoch % self.every == 0:
                trial.save({"epoch": epoch, "weights": weights})
            yield float(weights[0])


def curve(x: float, epochs: int) -> dict[int, float]:
    return {k: pytest.approx(x + k * (k + 1) / 2) for k in range(1, epochs + 1)}


def files(place: Place) -> list[str]:
    """Names of all states on the disk, as ``trial/step``."""
    found = [f for f in Path(place.folder).rglob("*") if f.is_file() and "states" in str(f)]
    return sorted(f"{f.parent.name}/{f.name.partition('-')[0]}" for f in found)


def interrupted(number: int, at: int, attempts: int = 1) -> Callable[[Any, int], None]:
    def stop(trial: Any, epoch: int) -> None:
        if (trial.number, epoch) == (number, at) and trial.attempt <= attempts:
            raise KeyboardInterrupt

    return stop


# -- interrupted trials ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2])
def test_an_interrupted_trial_goes_on_from_its_state(place: Place, every: int) -> None:
    study = study_in(place, seed=0, pruner=NopPruner())
    first = Training(every=every, stop=interrupted(1, 6))
    with pytest.raises(KeyboardInterrupt):
        study.optimize(first, n_trials=3)
    study = study_in(place)
    then = Training(every=every)
    study.optimize(then, n_trials=2)
    kept = 5 // every * every
    assert then.trained[: 6 - kept] == [(1, epoch) for epoch in range(kept + 1, 7)]
    for trial in study.trials:
        assert trial.state == TrialState.COMPLETE
        assert trial.intermediate_values == curve(trial.params["x"], 6)
        assert trial.value == trial.intermediate_values[6]
    assert files(place) == []
    check_reload(study)


def run_and_die(place: Place, *at: tuple[int, int]) -> None:
    """In a process of its own; it kills itself when the trial comes to the epoch."""

    def kill(trial: Any, epoch: int) -> None:
        if (trial.number, epoch) in at:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            study_in(place, seed=0, pruner="nop").optimize(Training(stop=kill), n_trials=3)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_killed_process(disk: Place) -> None:
    """As if it had not been: the reports before the kill stand, no epoch is trained twice, and states do not stay."""
    run_and_die(disk, (1, 4))
    assert files(disk) == ["1/3"]
    study = study_in(disk)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "RUNNING"]
    assert study.trials[1].intermediate_values == curve(study.trials[1].params["x"], 3)
    then = Training()
    study.optimize(then, n_trials=2)
    assert then.trained == [(1, 4), (1, 5), (1, 6), *((2, k) for k in range(1, 7))]
    whole = tunesmith.create_study(seed=0, pruner="nop")
    whole.optimize(Training(), n_trials=3)
    assert [(t.params, t.intermediate_values) for t in study.trials] == [
        (t.params, t.intermediate_values) for t in whole.trials
    ]
    assert files(disk) == []
    check_reload(study)


def test_attempts_that_get_further_do_not_count(disk: Place) -> None:
    """Machines that may be taken away at any time: three attempts would not be enough."""
    for epoch in (2, 3, 4, 5):
        run_and_die(disk, (0, epoch))
    study = study_in(disk)
    study.optimize(Training(), n_trials=1)
    assert [t.state.name for t in study.trials] == ["COMPLETE"]
    assert study.trials[0].system_attrs["attempt"] == 5
    assert study.trials[0].intermediate_values == curve(study.trials[0].params["x"], 6)


def test_attempts_that_do_not_get_further_count(disk: Place) -> None:
    for _ in range(4):
        run_and_die(disk, (0, 2))
    study = study_in(disk)
    study.optimize(Training(), n_trials=1)
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE"]
    assert "interrupted 3 times" in study.trials[0].system_attrs["fail_reason"]
    assert files(disk) == []


def test_several_that_are_claimed_together(place: Place) -> None:
    study = study_in(place, seed=0)
    trials = study._session.claim(by_ask=False, n=3)
    for trial in trials[:2]:
        trial.suggest_float("x", 0, 1)
        trial.report(1.0, 1)
        trial.save(trial.number)
    for trial in trials:
        study._session.release(trial)
    again = study._session.claim(by_ask=False, n=3, released=True)
    assert [trial.load() for trial in again] == [0, 1, None]
    assert [trial.load() for trial in again] == [0, 1, None]  # as often as it is asked


def test_a_trial_that_was_at_its_end_has_its_last_value(place: Place) -> None:
    """Killed between the last report and the end: there is nothing left to yield."""
    study = study_in(place, seed=0, pruner=NopPruner())

    def objective(trial: Any) -> Iterator[float]:
        yield from Training(epochs=3)(trial)
        if trial.attempt == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].state == TrialState.COMPLETE
    assert study.trials[0].value == study.trials[0].intermediate_values[3]


def test_all_objectives_and_metrics_of_the_saved_step_are_kept(place: Place) -> None:
    study = study_in(place, directions=["minimize", "maximize"], seed=0)

    def objective(trial: Any) -> Iterator[Any]:
        state = trial.load()
        if state is None:
            trial.save(1)
            yield 1, (0.5, 2.0)
            raise KeyboardInterrupt
        assert state == 1

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].values == [0.5, 2.0]


def test_a_function_saves_after_its_reports(place: Place) -> None:
    study = study_in(place, seed=0, pruner=NopPruner())
    steps = []

    def objective(trial: Any) -> float:
        state = trial.load() or {"step": -1, "sum": 0}
        for step in range(state["step"] + 1, 5):
            if (trial.attempt, step) == (1, 3):
                raise KeyboardInterrupt
            steps.append(step)
            state = {"step": step, "sum": state["sum"] + step}
            trial.report(state["sum"], step)
            trial.save(state)
        return state["sum"]

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert steps == [0, 1, 2, 3, 4]
    assert study.trials[0].value == 10
    assert study.trials[0].intermediate_values == {0: 0, 1: 1, 2: 3, 3: 6, 4: 10}
    check_reload(study)


def test_a_function_that_reports_nothing_may_save(place: Place) -> None:
    study = study_in(place, seed=0)

    def objective(trial: Any) -> float:
        done = trial.load() or 0
        if done == 0:
            trial.save(1)
            trial.save(2)
            raise KeyboardInterrupt
        return float(done)

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].value == 2.0
    assert files(place) == []


def test_asked_trials_save_too(place: Place) -> None:
    study = study_in(place, seed=0)
    trial = study.ask()
    trial.report(1.0, 1)
    trial.save({"a": 1})
    assert trial.load() == {"a": 1}
    assert len(files(place)) == (place.kind != "memory")
    study.tell(trial, 1.0)
    assert files(place) == []
    with pytest.raises(StaleTrialError, match="finished already"):
        trial.save(1)


def test_trials_without_a_study_have_nothing_to_save() -> None:
    for trial in (FixedTrial({}), tunesmith.create_trial(value=1.0)):
        trial.save({"a": 1})
        assert trial.load() is None


# -- which step a state belongs to -------------------------------------------------------------------------------------


def test_the_last_state_alone_is_kept(disk: Place) -> None:
    study = study_in(disk, seed=0, pruner=NopPruner())
    seen = []

    def objective(trial: Any) -> Iterator[float]:
        for epoch in range(1, 4):
            trial.save(epoch)
            yield 1.0
            seen.append(files(disk))

    study.optimize(objective, n_trials=1)
    assert seen == [["0/1"], ["0/2"], ["0/3"]]


def test_a_state_without_its_report_does_not_count(place: Place) -> None:
    """It was on the disk, but the log does not know the value of that epoch."""
    study = study_in(place, seed=0, pruner=NopPruner())
    loaded = []

    def objective(trial: Any) -> Iterator[float]:
        loaded.append(trial.load())
        for epoch in range((loaded[-1] or 0) + 1, 5):
            trial.save(epoch)
            if (trial.attempt, epoch) == (1, 3):
                raise KeyboardInterrupt
            yield float(epoch)

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert loaded == [None, 2]
    assert study.trials[0].intermediate_values == {k: float(k) for k in range(1, 5)}


def test_steps_of_ones_own(place: Place) -> None:
    study = study_in(place, seed=0, pruner=NopPruner())

    def objective(trial: Any) -> Iterator[Any]:
        for step in range((trial.load() or 0) + 10, 50, 10):
            trial.save(step, step)
            yield step, float(step)
            if trial.attempt == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert list(study.trials[0].intermediate_values) == [10, 20, 30, 40]


def test_another_step_than_that_of_the_state_is_an_error() -> None:
    def objective(trial: Any) -> Iterator[Any]:
        trial.save(1)
        yield 10, 1.0

    with pytest.raises(InvalidValueError, match=r"for step 1, but the next report is that of step 10.*step=10"):
        tunesmith.create_study().optimize(objective, n_trials=1)


def test_to_save_and_not_to_load_is_an_error(place: Place) -> None:
    """Its first epoch would count as the one after the saved one."""
    study = study_in(place, pruner=NopPruner())

    def objective(trial: Any) -> Iterator[float]:
        for epoch in range(3):
            trial.save(epoch)
            yield 1.0
            if trial.attempt == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    with pytest.raises(InvalidValueError, match=r"state of step 1.*call trial.load\(\)"):
        study.optimize(objective, n_trials=1)


def test_what_is_no_state() -> None:
    def objective(trial: Any) -> Iterator[float]:
        trial.save({"net": object()})
        yield 1.0

    with pytest.raises(InvalidTypeError, match=r"state\['net'\] is of type object"):
        tunesmith.create_study().optimize(objective, n_trials=1)
    with pytest.raises(InvalidValueError, match="step"):
        tunesmith.create_study().ask().save(1, -1)


# -- trouble -----------------------------------------------------------------------------------------------------------


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def swapped(path: Path) -> None:
    """The state of an earlier step, put in its place by hand."""
    other = path.with_name("5-1-w.safetensors")
    from tunesmith.artifacts import pack

    other.write_bytes(pack({"epoch": 1, "weights": np.zeros(3)}, {"study": "another"}))
    other.replace(path)


@pytest.mark.parametrize(
    ("harm", "message"),
    [(Path.unlink, "is not there"), (damaged, "checksum is wrong"), (swapped, "belongs to something else")],
)
def test_a_lost_state(
    disk: Place, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], message: str
) -> None:
    """The trial is trained from its start, and the log says so: the reports before do not count any more."""
    study = study_in(disk, seed=0, pruner=NopPruner())
    with pytest.raises(KeyboardInterrupt):
        study.optimize(Training(stop=interrupted(0, 4)), n_trials=1)
    (file,) = Path(disk.folder).rglob("*.safetensors")
    harm(file)
    then = Training()
    with caplog.at_level(logging.WARNING):
        study_in(disk).optimize(then, n_trials=1)
    assert "Trial 0 is trained from its start: The state of trial 0 at step 3" in caplog.text
    assert message in caplog.text
    assert then.trained == [(0, k) for k in range(1, 7)]
    (trial,) = study_in(disk).trials
    assert trial.intermediate_values == curve(trial.params["x"], 6)
    assert files(disk) == []
    check_reload(study)


def test_a_full_disk_fails_the_save_and_keeps_the_state_before_it(disk: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_in(disk, seed=0, pruner=NopPruner())
    errors = []
    real = os.fsync

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def objective(trial: Any) -> Iterator[float]:
        state = trial.load() or 0
        for epoch in range(state + 1, 5):
            if (trial.attempt, epoch) == (1, 3):
                monkeypatch.setattr(os, "fsync", full)
            try:
                trial.save(epoch)
            except StorageInternalError as error:
                errors.append(str(error))
            monkeypatch.setattr(os, "fsync", real)
            yield float(epoch)
            if (trial.attempt, epoch) == (1, 3):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    assert "No space left" in errors[0]
    assert files(disk) == ["0/2"]
    study.optimize(objective, n_trials=1)
    assert study.trials[0].intermediate_values == {k: float(k) for k in range(1, 5)}


def test_a_state_that_goes_while_the_trial_runs(disk: Place) -> None:
    trial = study_in(disk).ask()
    trial.save(1)
    (file,) = Path(disk.folder).rglob("*.safetensors")
    file.unlink()
    with pytest.raises(StateDamagedError, match="not there"):
        trial.load()


def test_a_folder_for_states_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    url = f"sqlite:///{tmp_path}/a.db"
    study = tunesmith.create_study(study_name="a", storage=url, artifacts=tmp_path / "states", seed=0)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(Training(stop=interrupted(0, 3)), n_trials=1)
    assert not (tmp_path / "a.db.states").exists()
    assert len(list((tmp_path / "states").rglob("*.safetensors"))) == 1
    then = Training()
    other = tunesmith.load_study(study_name="a", storage=url, artifacts=str(tmp_path / "states"))
    other.optimize(then, n_trials=1)
    assert then.trained[0] == (0, 3)
    other.ask().save(1)
    tunesmith.delete_study(study_name="a", storage=url, artifacts=tmp_path / "states")
    assert list(tmp_path.rglob("*.safetensors")) == []
    with pytest.raises(InvalidTypeError, match="artifacts"):
        tunesmith.create_study(artifacts=3)  # type: ignore[arg-type]


def test_a_copy_begins_again(place: Place) -> None:
    study = study_in(place, seed=0, pruner=NopPruner())
    with pytest.raises(KeyboardInterrupt):
        study.optimize(Training(stop=interrupted(0, 3)), n_trials=1)
    tunesmith.copy_study(
        from_study_name="s", from_storage=study.storage, to_storage=study.storage, to_study_name="copy"
    )
    then = Training()
    copy = tunesmith.load_study(study_name="copy", storage=study.storage)
    copy.optimize(then, n_trials=1)
    assert then.trained[0] == (0, 1)
    last = Training()
    study.optimize(last, n_trials=1)
    assert last.trained[0] == (0, 3)


# -- paused trials -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rungs(BasePruner):
    """``n`` trials pause after ``first`` epochs; then all of them go on, the best first, to their ends."""

    n: int = 4
    first: int = 2
    go_on: bool = True

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == self.first else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < self.n:
            return Start()
        paused = [t for t in history.open if t.state == TrialState.PAUSED]
        if not self.go_on or not paused:
            return Idle.DONE
        return Continue(min(paused, key=lambda t: t.reports[max(t.reports)]).number)


def test_saved_trials_stay_paused_and_a_later_call_continues_them(place: Place) -> None:
    study = study_in(place, pruner=Rungs(go_on=False), seed=0)
    study.optimize(Training(), n_trials=4)
    assert [t.state.name for t in study.trials] == ["PAUSED"] * 4
    assert study._paused == {}
    if place.kind != "memory":
        assert files(place) == ["0/2", "1/2", "2/2", "3/2"]
    check_reload(study)
    other = study_in(place, pruner=Rungs())
    then = Training()
    other.optimize(then, n_trials=4)
    assert [t.state.name for t in other.trials] == ["COMPLETE"] * 4
    assert sorted(then.trained) == [(n, k) for n in range(4) for k in range(3, 7)]
    for trial in other.trials:
        assert trial.intermediate_values == curve(trial.params["x"], 6)
    assert files(place) == []
    check_reload(other)


def test_trials_that_were_not_saved_become_pruned(place: Place) -> None:
    study = study_in(place, pruner=Rungs(go_on=False), seed=0)
    study.optimize(Training(every=3), n_trials=4)
    assert [t.state.name for t in study.trials] == ["PRUNED"] * 4


def test_a_saved_trial_that_another_process_keeps_may_be_continued(disk: Place) -> None:
    study = study_in(disk, pruner=Rungs(go_on=False), seed=0)
    study.optimize(Training(), n_trials=4, keep_paused=True)
    child = os.fork()
    if child == 0:
        then, code = Training(), 1
        try:
            study_in(disk, pruner=Rungs()).optimize(then, n_trials=0)
            code = 0 if sorted(then.trained) == [(n, k) for n in range(4) for k in range(3, 7)] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4
    study.optimize(Training(), n_trials=0)  # closes what it had kept
    assert study._paused == {}
    check_reload(study)


def test_a_claim_from_a_state_that_is_not_the_last_any_more_is_void(place: Place) -> None:
    """Its owner has gone on and paused again, between the look of another worker and its claim."""
    study = study_in(place, pruner=Rungs(n=1, go_on=False), seed=0)
    study.optimize(Training(), n_trials=1)
    late = {"e": "resume", "n": 0, "k": "other.1", "t": 1, "again": 1, "from": 2}
    assert study._session.resume(0, again=True)
    trial = study._session.take(study._log.fold.open[0], by_ask=False)
    assert trial.load()["epoch"] == 2
    trial.report(1.0, 3)
    trial.save({"epoch": 3})
    study._session.pause(trial)
    assert study._log.append([late]) == [False]
    assert study._log.append([{**late, "from": 3}]) == [True]
    check_reload(study)


class Alive:
    """Counts the generators that are alive."""

    def __init__(self, training: Training) -> None:
        self.training, self.now, self.most = training, 0, 0

    def __call__(self, trial: Any) -> Iterator[float]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield from self.training(trial)
        finally:
            self.now -= 1


def test_a_function_that_has_saved_is_paused(place: Place) -> None:
    """It is called again when it is to go on; without a state it is pruned."""
    study = study_in(place, pruner=Rungs(), seed=0)
    trained = []

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        for epoch in range((trial.load() or 0) + 1, 5):
            trained.append((trial.number, epoch))
            trial.report(x, epoch)
            if trial.number != 3:
                trial.save(epoch)
            if trial.should_prune():
                raise TrialPruned
        return float(x)

    study.optimize(objective, n_trials=4)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"]
    assert sorted(trained) == [*((n, k) for n in range(3) for k in range(1, 5)), (3, 1), (3, 2)]
    assert all(list(t.intermediate_values) == [1, 2, 3, 4] for t in study.trials[:3])
    assert files(place) == []
    check_reload(study)


@pytest.mark.parametrize("most", [0, 1, 2])
def test_saved_trials_give_way_and_come_back(place: Place, most: int, caplog: pytest.LogCaptureFixture) -> None:
    study = study_in(place, pruner=Rungs(), seed=0)
    training = Training()
    alive = Alive(training)
    with caplog.at_level(logging.INFO, "tunesmith"):
        study.optimize(alive, n_trials=4, max_paused=most)
    assert alive.most == most + 1
    assert sorted(training.trained) == [(n, k) for n in range(4) for k in range(1, 7)]
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4
    for trial in study.trials:
        assert trial.intermediate_values == curve(trial.params["x"], 6)
    check_reload(study)


def test_unsaved_trials_are_stopped_the_worst_first(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    study = study_in(place, pruner=Rungs(), seed=0)
    ended = []
    with caplog.at_level(logging.INFO, "tunesmith"):
        study.optimize(
            Training(every=100), n_trials=4, max_paused=2, callbacks=[lambda _, trial: ended.append(trial.number)]
        )
    order = sorted(range(4), key=lambda n: study.trials[n].params["x"])
    assert {n: study.trials[n].state.name for n in order} == dict(
        zip(order, ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"], strict=True)
    )
    assert sorted(ended[:2]) == sorted(order[2:])
    assert all(study.trials[n].value == study.trials[n].intermediate_values[2] for n in order[2:])
    assert f"Trial {ended[0]} pruned. More than max_paused=2 trials are paused here" in caplog.text
    check_reload(study)


def test_parked_lanes_are_stopped_too() -> None:
    """Each would keep a network in memory."""
    study = tunesmith.create_study(pruner=Rungs(), seed=0)
    study.optimize(Task(Rungs(), epochs=6), n_trials=4, lanes=1, max_paused=2)
    assert sorted(t.state.name for t in study.trials) == ["COMPLETE"] * 2 + ["PRUNED"] * 2
    pruned = [t.intermediate_values[2] for t in study.trials if t.state == TrialState.PRUNED]
    assert min(pruned) > max(t.intermediate_values[2] for t in study.trials if t.state == TrialState.COMPLETE)
    assert study._paused == {}
    check_reload(study)


def test_saved_trials_give_way_before_better_or_worse_ones(place: Place) -> None:
    study = study_in(place, pruner=Rungs(n=3), seed=0)

    def objective(trial: Any) -> Iterator[float]:
        yield from Training(every=1 if trial.number == 1 else 100)(trial)

    study.optimize(objective, n_trials=3, max_paused=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert [t.system_attrs.get("attempt") for t in study.trials] == [None, 2, None]


@pytest.mark.parametrize(
    ("value", "error"), [(-1, InvalidValueError), (1.5, InvalidTypeError), (True, InvalidTypeError)]
)
def test_an_impossible_max_paused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_paused"):
        tunesmith.create_study().optimize(lambda t: 1.0, n_trials=1, max_paused=value)


@dataclass(frozen=True)
class Worst(BasePruner):
    """Of four trials that have paused the two worst are stopped, and the others go on."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == 2 else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < 4:
            return Start()
        paused = sorted((t.reports[2], t.number) for t in history.open if t.state == TrialState.PAUSED)
        if history.n + len(paused) == 4 and history.n < 2:
            return Stop(paused[-1][1])
        return [Continue(number) for _, number in paused]


@pytest.mark.parametrize("every", [1, 100])
def test_a_rule_stops_paused_trials(place: Place, every: int) -> None:
    study = study_in(place, pruner=Worst(), seed=0)
    study.optimize(Training(every=every), n_trials=4)
    order = sorted(range(4), key=lambda n: study.trials[n].params["x"])
    assert [study.trials[n].state.name for n in order] == ["COMPLETE"] * 2 + ["PRUNED"] * 2
    assert study.trials[order[3]].value == study.trials[order[3]].intermediate_values[2]
    assert files(place) == []
    check_reload(study)


def test_a_rule_stops_saved_trials_of_another_worker(place: Place) -> None:
    study_in(place, pruner=Rungs(go_on=False), seed=0).optimize(Training(), n_trials=4)
    study = study_in(place, pruner=Worst())
    study.optimize(Training(), n_trials=0)
    assert sorted(t.state.name for t in study.trials) == ["COMPLETE"] * 2 + ["PRUNED"] * 2
    assert files(place) == []
    check_reload(study)


def test_a_rule_that_stops_what_is_not_paused() -> None:
    @dataclass(frozen=True)
    class Wrong(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            return Verdict.GO

        def schedule(self, history: History) -> Schedule:
            return Stop(7)

    with pytest.raises(InvalidValueError, match="Wrong has a wish for trial 7, which is not open"):
        tunesmith.create_study(pruner=Wrong()).optimize(lambda t: 1.0, n_trials=1)


# -- children ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Child(BasePruner):
    """Trial 0 pauses at step 2, trial 1 begins with its state, then both go to their ends."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if trial.number == 0 and max(trial.reports) == 2 else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials == 0:
            return Start()
        if history.n_trials == 1:
            return Start({"p.parent": 0}, {"x": 0.25}, (0, 2))
        return [Continue(t.number) for t in history.open if t.state == TrialState.PAUSED]


def test_a_trial_begins_with_the_state_of_another(place: Place) -> None:
    study = study_in(place, pruner=Child(), seed=0)
    training = Training()
    study.optimize(training, n_trials=2)
    first, child = study.trials
    assert training.trained == [(0, 1), (0, 2), *((1, k) for k in range(3, 7)), *((0, k) for k in range(3, 7))]
    assert child.params == {"x": 0.25}
    assert child.intermediate_values == {k: v for k, v in first.intermediate_values.items() if k > 2}
    assert files(place) == []
    check_reload(study)


@pytest.mark.parametrize("at", [3, 5])
def test_an_interrupted_child_has_its_parents_state_or_its_own(place: Place, at: int) -> None:
    """The parent has gone on meanwhile, but what the child may need is kept."""
    study = study_in(place, pruner=Child(), seed=0)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(Training(stop=interrupted(1, at)), n_trials=2)
    assert study._session.resume(0, again=True)  # somebody goes on with the parent
    parent = study._session.take(study._log.fold.open[0], by_ask=False)
    parent.load()
    parent.report(1.0, 3)
    parent.save({"epoch": 3})
    if place.kind != "memory":
        assert files(place) == (["0/2", "0/3"] if at == 3 else ["0/3", "1/4"])
    study.tell(0, 1.0)
    if place.kind != "memory":
        assert files(place) == (["0/2"] if at == 3 else ["1/4"])
    then = Training()
    study_in(place, pruner=Child()).optimize(then, n_trials=1)
    assert then.trained == [(1, k) for k in range(at, 7)]
    assert files(place) == []
    check_reload(study)


def test_a_child_whose_parents_state_is_lost_begins_at_its_start(disk: Place, caplog: pytest.LogCaptureFixture) -> None:
    study = study_in(disk, pruner=Child(), seed=0)
    study.optimize(Training(stop=interrupted(1, 1)), n_trials=1, keep_paused=True)
    (file,) = Path(disk.folder).rglob("*.safetensors")
    file.unlink()
    then = Training()
    with caplog.at_level(logging.WARNING):
        study.optimize(then, n_trials=1)
    assert "Trial 1 is trained from its start: The state of trial 0 at step 2" in caplog.text
    assert then.trained[0] == (1, 1)


def test_a_child_with_nothing_left_to_train_is_pruned(place: Place) -> None:
    """Its configuration was not trained, so that the parent's value is not its own."""
    study = study_in(place, pruner=Child(), seed=0)
    study.optimize(Training(epochs=2), n_trials=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.trials[1].value is None


def test_a_rule_that_wants_a_state_that_there_is_not() -> None:
    study = tunesmith.create_study(pruner=Child(), seed=0)
    with pytest.raises(InvalidValueError, match="state of trial 0 at step 2"):
        study.optimize(Training(every=100), n_trials=2)
