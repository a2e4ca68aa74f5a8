"""Ctrl-C, SystemExit and failing stores, at every moment: nothing stays RUNNING, nothing acknowledged is lost."""

from __future__ import annotations

import _thread
import linecache
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.distributions import Float, Int
from tunesmith.exceptions import StaleTrialError, StorageInternalError
from tunesmith.records import frozen_trials
from tunesmith.storages import InMemoryStorage
from tunesmith.study import Study
from tunesmith.study._gone import sweep
from tunesmith.testing.studies import check_reload, refolded
from tunesmith.trial import TrialState

STOPS = (KeyboardInterrupt, SystemExit)


def states(study: Study) -> list[str]:
    return [t.state.name for t in study.trials]


class Objective:
    """Two parameters, the second one not for every trial; raises where it is told to."""

    def __init__(self, broken: dict[int, int] | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.broken, self.error = dict(broken or {}), error  # trial number -> how often it breaks
        self.seen: list[tuple[int, int, float]] = []

    def __call__(self, trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        self.seen.append((trial.number, trial.attempt, x))
        n = trial.suggest_int("n", 0, 9) if x < 0.7 else 5
        trial.report(x, 1)
        if self.broken.get(trial.number, 0) > 0:
            self.broken[trial.number] -= 1
            raise self.error
        trial.set_user_attr("n", n)
        return x + n


class Yielding(Objective):
    """The same as a generator."""

    def __call__(self, trial: Any) -> Any:  # type: ignore[override]
        yield 0, 9.0
        value = super().__call__(trial)
        yield 2, value


def uninterrupted(n: int) -> list[dict[str, Any]]:
    study = tunesmith.create_study(seed=11)
    study.optimize(Objective(), n_trials=n)
    return [t.params for t in study.trials]


class TestObjectives:
    @pytest.mark.parametrize("error", STOPS)
    @pytest.mark.parametrize("kind", [Objective, Yielding])
    def test_attempted_again_under_the_same_number(
        self, place: Place, kind: type[Objective], error: type[BaseException]
    ) -> None:
        study = study_in(place, seed=11, pruner="nop")
        objective = kind({2: 1}, error)
        with pytest.raises(error):
            study.optimize(objective, n_trials=5)
        assert states(study) == ["COMPLETE", "COMPLETE", "WAITING"]
        check_reload(study)
        again = study_in(place)  # as another process would
        again.optimize(objective, n_trials=3)
        assert states(again) == ["COMPLETE"] * 5
        attempts = [(n, a) for n, a, _ in objective.seen]
        assert attempts == [(0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1)]
        assert objective.seen[2][2] == objective.seen[3][2]
        assert [t.params for t in again.trials] == uninterrupted(5)
        assert again.trials[2].system_attrs["attempt"] == 2
        assert list(again.trials[2].intermediate_values) == ([1] if kind is Objective else [0, 1, 2])
        check_reload(again)

    def test_three_attempts_then_fail(self) -> None:
        study = tunesmith.create_study(seed=11)
        objective = Objective({1: 99}, SystemExit)
        for expected in (["COMPLETE", "WAITING"], ["COMPLETE", "WAITING"], ["COMPLETE", "FAIL"]):
            with pytest.raises(SystemExit):
                study.optimize(objective, n_trials=3)
            assert states(study) == expected
        study.optimize(objective, n_trials=2)
        assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert "interrupted 3 times" in study.trials[1].system_attrs["fail_reason"]
        assert study.trials[1].params == uninterrupted(2)[1]

    @pytest.mark.parametrize("kind", [Objective, Yielding])
    @pytest.mark.parametrize("error", STOPS)
    def test_in_threads(self, kind: type[Objective], error: type[BaseException]) -> None:
        study = tunesmith.create_study(seed=11, pruner="nop")
        with pytest.raises(error):
            study.optimize(kind({3: 1}, error), n_trials=8, n_jobs=3)
        assert "RUNNING" not in states(study)
        assert states(study)[3] == "WAITING"
        check_reload(study)
        left = 8 - states(study).count("COMPLETE")
        study.optimize(kind(), n_trials=left)
        assert states(study) == ["COMPLETE"] * 8

    def test_catch_does_not_catch_interrupts(self) -> None:
        study = tunesmith.create_study()
        with pytest.raises(KeyboardInterrupt):
            study.optimize(Objective({0: 1}), n_trials=2, catch=(Exception,))
        assert states(study) == ["WAITING"]

    def test_an_interrupted_trial_is_claimed_by_ask_too(self) -> None:
        study = tunesmith.create_study(seed=11)
        with pytest.raises(KeyboardInterrupt):
            study.optimize(Objective({0: 1}), n_trials=1)
        trial = study.ask()
        assert (trial.number, trial.attempt) == (0, 2)
        assert trial.suggest_float("x", 0, 1) == uninterrupted(1)[0]["x"]

    def test_enqueued_ones_keep_what_was_asked_for(self) -> None:
        study = tunesmith.create_study(seed=11)
        study.optimize(Objective(), n_trials=2)
        study.enqueue_trial({"x": 0.25}, user_attrs={"by": "me"})
        objective = Objective({2: 1})
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=1)
        first = dict(study.trials[2].params)
        study.optimize(objective, n_trials=1)
        assert study.trials[2].params == {**first, "x": 0.25}
        assert study.trials[2].user_attrs["by"] == "me"
        assert [x for n, _, x in objective.seen if n == 2] == [0.25, 0.25]
        check_reload(study)

    def test_late_parameters_have_the_values_of_the_first_attempt(self) -> None:
        """Though other trials ran in between, and the study knows the names by now."""
        study = tunesmith.create_study(seed=11)
        drawn: list[tuple[int, dict[str, Any]]] = []

        def objective(trial: Any) -> float:
            for name in ("a", "b", "c"):
                trial.suggest_float(name, 0, 1)
                if trial.number == 0 and trial.attempt == 1 and name == "b":
                    drawn.append((0, trial.params))
                    raise KeyboardInterrupt
            drawn.append((trial.number, trial.params))
            return 0.0

        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=1)
        study.add_trial(study_trial({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}))
        study.optimize(objective, n_trials=1)
        assert drawn[1][1].items() >= drawn[0][1].items()
        assert set(study.trials[0].params) == {"a", "b", "c"}

    def test_ctrl_c_while_threads_work(self) -> None:
        """The main thread only waits; the signal ends the loop, and all trials are accounted for."""
        study = tunesmith.create_study(seed=11)
        ready = threading.Event()

        def objective(trial: Any) -> Iterator[float]:
            for step in range(200):
                if trial.number == 3 and step == 1:
                    ready.set()
                time.sleep(0.003)
                yield float(step)

        def press() -> None:
            ready.wait(20)
            _thread.interrupt_main(signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=50, n_jobs=4)
        thread.join()
        assert set(states(study)) <= {"COMPLETE", "WAITING"}
        assert "WAITING" in states(study)
        time.sleep(0.01)
        assert not [t for t in threading.enumerate() if t.name.startswith("tunesmith")]
        check_reload(study)

    def test_ctrl_c_while_one_thread_works(self) -> None:
        study = tunesmith.create_study(seed=11)

        def objective(trial: Any) -> float:
            if trial.number == 1:
                _thread.interrupt_main(signal.SIGINT)
                time.sleep(1)
            return 1.0

        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=3)
        assert states(study) == ["COMPLETE", "WAITING"]


def study_trial(params: dict[str, float]) -> Any:
    return tunesmith.create_trial(value=1.0, params=params, distributions={k: Float(0, 1) for k in params})


def _line(frame: Any) -> str:
    """Its text: a tracer is called at the ends of ``with`` blocks, too, where a signal cannot come."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def interrupted_at(k: int, files: tuple[str, ...], work: Callable[[], Any]) -> bool:
    """Run ``work`` and press Ctrl-C before the ``k``-th line executed in one of ``files``; whether it came to that."""
    count = 0

    def local(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        if event == "line" and not _line(frame).startswith(("with ", "try:")):
            count += 1
            if count == k:
                sys.settrace(None)
                raise KeyboardInterrupt(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return local

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename.endswith(files) else None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


CORE = (
    "study/_log.py",
    "tunesmith/fold.py",
    "tunesmith/open_trials.py",
    "tunesmith/_table.py",
    "tunesmith/_columns.py",
    "study/_session.py",
    "study/_live_trials.py",
    "study/_propose.py",
    "storages/memory.py",
    "trial/_live.py",
    "trial/_pending.py",
)


class TestEveryMoment:
    """Ctrl-C between any two lines of the code that appends and folds."""

    def test_optimize(self) -> None:
        expected = uninterrupted(3)
        k, last = 0, 0
        while True:
            k += 1 + k // 60  # every line at first, then one in two, ...
            storage = InMemoryStorage()
            study = tunesmith.create_study(study_name="a", storage=storage, seed=11)
            if not interrupted_at(k, CORE, lambda study=study: study.optimize(Objective(), n_trials=2)):  # type: ignore[misc]
                break
            last = k
            assert "RUNNING" not in states(study), k
            check_reload(study)
            again = tunesmith.load_study(study_name="a", storage=storage)
            assert again.trials == study.trials
            done = states(study).count("COMPLETE")
            for handle in (study, again):
                if done < 3:
                    handle.optimize(Objective(), n_trials=1 if handle is study else 3 - done)
                    done += 1
            assert states(again) == ["COMPLETE"] * 3, k
            assert [t.params for t in again.trials] == expected
            check_reload(again)
            check_reload(study)
        assert last > 200

    def test_ask_and_tell(self) -> None:
        """What was acknowledged is there once; what was not is there once or not at all; the study goes on."""
        k = last = 0
        while True:
            k += 1 + k // 100
            study = tunesmith.create_study(seed=11)
            acknowledged: list[str] = []

            def work(study: Study = study, acknowledged: list[str] = acknowledged) -> None:
                study.enqueue_trial({"x": 0.5})
                acknowledged.append("enqueued")
                trial = study.ask({"x": Float(0, 1), "n": Int(0, 9)})
                acknowledged.append("asked")
                trial.report(0.5, 1)
                acknowledged.append("reported")
                trial.set_user_attr("k", [1])
                acknowledged.append("attr")
                study.tell(trial, 1.0)
                acknowledged.append("told")

            if not interrupted_at(k, CORE, work):
                break
            last = k
            check_reload(study)
            trials = study.trials
            assert len(trials) <= 1
            if "enqueued" in acknowledged:
                (trial,) = trials
                assert trial.system_attrs["fixed_params"] == {"x": 0.5}
                if "asked" in acknowledged:
                    assert trial.params["x"] == 0.5
                if "reported" in acknowledged:
                    assert trial.intermediate_values == {1: 0.5}
                if "attr" in acknowledged:
                    assert trial.user_attrs == {"k": [1]}
            study.tell(study.ask(), 3.0)
            assert study.best_value in (1.0, 3.0)
            assert len(study.history.reports.row) <= 1
            check_reload(study)
        assert last > 100


class Flaky(InMemoryStorage):
    """Raises at the ``k``-th append, before or after it is done."""

    def __init__(self, k: int, after: bool, error: type[BaseException]) -> None:
        super().__init__()
        self.k, self.after, self.error = k, after, error

    def append(self, study: str, events: list[dict[str, Any]]) -> int:
        self.k -= 1
        if self.k == 0 and not self.after:
            raise self.error("no space left on device")
        position = super().append(study, events)
        if self.k == 0:
            raise self.error("connection lost")
        return position


@pytest.mark.parametrize("error", [StorageInternalError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [False, True])
class TestFailingStores:
    def test_optimize(self, after: bool, error: type[BaseException]) -> None:
        expected = uninterrupted(4)
        for k in range(2, 9):
            study = tunesmith.create_study(study_name="a", storage=Flaky(k, after, error), seed=11)
            with pytest.raises(error):
                study.optimize(Objective(), n_trials=4)
            assert "RUNNING" not in states(study)
            check_reload(study)
            study.optimize(Objective(), n_trials=4 - states(study).count("COMPLETE"))
            assert states(study) == ["COMPLETE"] * 4
            assert [t.params for t in study.trials] == expected
            check_reload(tunesmith.load_study(study_name="a", storage=study.storage))

    def test_ask_and_tell(self, after: bool, error: type[BaseException]) -> None:
        """A tell that failed can be told again, unless it had come through."""
        for k in range(2, 7):
            study = tunesmith.create_study(study_name="a", storage=Flaky(k, after, error), seed=11)
            calls: list[Any] = [
                lambda study=study: study.ask({"x": Float(0, 1)}),
                lambda study=study: study._session.live[0].suggest_int("late", 0, 9),
                lambda study=study: study._session.live[0].report(1.0, 1),
                lambda study=study: study._session.live[0].set_user_attr("k", 1),
                lambda study=study: study.tell(0, 2.0),
            ]
            failed = 0
            for call in calls:
                try:
                    call()
                except (error, KeyError, ValueError):  # the last two: the first ask did not come through
                    failed += 1
                    check_reload(study)
            if states(study) == ["RUNNING"]:
                study.tell(0, 2.0)
            assert failed >= 1
            if study.trials:
                assert len(study.trials) == 1
                assert states(study) == ["COMPLETE"]
                assert study.history.reports.row.tolist() in ([], [0])
            study.tell(study.ask({"x": Float(0, 1), "late": Int(0, 9)}), 1.0)
            check_reload(study)
            check_reload(tunesmith.load_study(study_name="a", storage=study.storage))


class TestRaces:
    def test_no_report_is_lost_while_others_look(self) -> None:
        """Reading a study writes what its live trials hold back, in another thread than the objective's."""
        study = tunesmith.create_study(pruner="nop")
        reading = True

        def look() -> None:
            while reading:
                study.get_trials()
                _ = study.history

        def objective(trial: Any) -> float:
            for step in range(400):
                trial.report(float(step), step)
                trial.set_user_attr(f"a{step % 7}", step)
                if step % 50 == 0:
                    trial.suggest_float(f"p{step}", 0, 1)
            return 0.0

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            study.optimize(objective, n_trials=4, n_jobs=2)
        finally:
            reading = False
            for reader in readers:
                reader.join()
            sys.setswitchinterval(before)
        for trial in study.trials:
            assert trial.intermediate_values == {s: float(s) for s in range(400)}
            assert trial.user_attrs == {f"a{s % 7}": s for s in range(393, 400)}
            assert len(trial.params) == 8
        check_reload(study)

    def test_a_straggler_does_not_disturb_the_next_attempt(self) -> None:
        """Its thread still runs when the trial was given to another; what it says is void, and it learns so."""
        study = tunesmith.create_study(seed=11)
        (first,) = study._session.claim(by_ask=False)
        first.suggest_float("x", 0, 1)
        sweep(study._session, own=True)
        (second,) = study._session.claim(by_ask=False)
        assert (second.number, second.attempt) == (0, 2)
        with pytest.raises(StaleTrialError):
            study._session.finish(first, TrialState.COMPLETE, [99.0])
        second.suggest_float("x", 0, 1)
        second.report(1.0, 1)
        assert study.trials[0].intermediate_values == {1: 1.0}  # still written for the live one
        with pytest.raises(StaleTrialError):
            first.report(5.0, 5)
        study._session.finish(second, TrialState.COMPLETE, [1.0])
        assert study.trials[0].values == [1.0]
        check_reload(study)

    def test_many_threads_ask_and_tell(self, place: Place) -> None:
        """Through two handles: numbers without gaps, every value kept once."""
        handles = [study_in(place, seed=1) for _ in range(2)]
        told: list[tuple[int, float]] = []

        def work(i: int) -> None:
            study = handles[i % 2]
            for j in range(8):
                trial = study.ask({"x": Float(0, 1)})
                study.tell(trial, value := trial.params["x"] + i + j)
                told.append((trial.number, value))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for study in handles:
            assert sorted(told) == [(t.number, t.value) for t in study.trials]
        assert len({x for _, x in told}) == 32
        check_reload(handles[0])


def test_an_unreadable_number_is_not_in_the_way() -> None:
    """A void claim leaves the space it brought; nothing else."""
    study = tunesmith.create_study(seed=1)
    study.ask({"x": Float(0, 1)})
    study._log.append([{"e": "ask", "n": 0, "k": "ghost.1", "t": 1}])
    assert frozen_trials(refolded(study)) == study.trials
    assert not math.isnan(study.trials[0].params["x"])
