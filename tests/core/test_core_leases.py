"""Workers that die, freeze, or are told to go: noticed within a lease, their trials attempted again, once per loss."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, first_line, spawning, study_in

import tunesmith
from tunesmith.distributions import Float
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, StorageInternalError
from tunesmith.storages import (
    InMemoryStorage,
    RDBStorage,
    RetryFailedTrialCallback,
    RetryHeartbeatStaleTrialCallback,
)
from tunesmith.study import _leases
from tunesmith.study._leases import Lease
from tunesmith.study._log import StudyLog
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState

WORKER = str(Path(__file__).with_name("lease_worker.py"))

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")


@pytest.fixture
def spawn(disk: Place) -> Iterator[Any]:
    yield from spawning(WORKER, str(disk.url))


def quick(trial: Any) -> float:
    time.sleep(0.05)
    return trial.suggest_float("x", 0, 1)


def events_of(study: Any, kind: str, number: int) -> list[dict[str, Any]]:
    log = study._log
    records = study.storage.read(log.study)
    return [e for record in records for e in record if e["e"] == kind and e.get("n") == number]


def until_attempted_again(study: Any, lease: float = 1.0) -> float:
    """Optimize until trial 0 has had a second attempt; how long that took."""
    begin = time.monotonic()

    def look(study: Any, trial: Any) -> None:
        if study.trials[0].state.is_finished() or time.monotonic() - begin > 20:
            study.stop()

    study.optimize(quick, lease=lease, callbacks=[look])
    return time.monotonic() - begin


class TestDeath:
    def test_on_another_machine(self, disk: Place, spawn: Any) -> None:
        study = study_in(disk, seed=5, sampler="random")
        process = spawn("slow", "elsewhere", 60)
        _, x = first_line(process)
        process.kill()
        process.wait()
        took = until_attempted_again(study)
        trial = study.trials[0]
        assert (trial.params, trial.value) == ({"x": float(x)}, float(x))
        assert trial.system_attrs["attempt"] == 2
        assert len(events_of(study, "release", 0)) == 1
        assert 0.3 < took < 5  # a lease, if the machine is not too busy
        check_reload(study)

    def test_nobody_else_notices_without_a_lease(self, disk: Place, spawn: Any) -> None:
        study = study_in(disk, seed=5, sampler="random")
        process = spawn("slow", "elsewhere", 60)
        first_line(process)
        process.kill()
        process.wait()
        study.optimize(quick, timeout=1.5, lease=None)
        assert study.trials[0].state == TrialState.RUNNING
        assert not [
            w for w in study._log.fold.workers.values() if w["w"] == study._session.worker["w"] and "lease" in w
        ]

    @pytest.mark.slow
    @pytest.mark.parametrize("where", ["here", "elsewhere"])
    def test_a_living_one_keeps_its_trial_for_many_leases(self, disk: Place, spawn: Any, where: str) -> None:
        study = study_in(disk, seed=5, sampler="random")
        process = spawn("slow", where, 2.7)
        first_line(process)
        study.optimize(quick, timeout=2.2, lease=1.0)
        assert process.wait() == 0
        assert study.trials[0].value == 100.0
        assert not events_of(study, "release", 0)


class TestFrozen:
    @pytest.mark.slow
    def test_what_a_frozen_worker_says_after_its_lease_is_void(self, disk: Place, spawn: Any) -> None:
        study = study_in(disk, seed=5, sampler="random")
        process = spawn("slow", "here", 1.2, 2)
        first_line(process)
        process.send_signal(signal.SIGSTOP)
        others = [study_in(disk) for _ in range(3)]  # three that notice, on one machine and in one process
        threads = [threading.Thread(target=until_attempted_again, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        said = process.stdout.read().split("\n")
        for thread in threads:
            thread.join()
        assert process.wait() == 0
        assert "ended" in said  # it goes on with other trials
        trial = study.trials[0]
        assert trial.state == TrialState.COMPLETE
        assert trial.value == trial.params["x"]
        valid = trial.system_attrs["attempt"] - 1
        assert valid == 1  # once for one loss, although three looked
        assert [t.value for t in study.trials if t.value is not None and t.value >= 100] != [100.0]
        check_reload(study)


class Clock:
    """Of a process: it stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Ages(InMemoryStorage):
    """A store whose heartbeats are what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.ages: dict[str, float] = {}
        self.failing = False

    def heartbeat(self, study: str, worker: str) -> None:
        if self.failing:
            raise StorageInternalError("away")
        self.ages[worker] = 0.0

    def heartbeats(self, study: str) -> dict[str, float]:
        if self.failing:
            raise StorageInternalError("away")
        return dict(self.ages)


class TestJudging:
    """A worker that slept, or whose store was away, must not take the others for dead."""

    OTHER = {"e": "worker", "w": "0b", "host": "elsewhere/1/2", "pid": 1, "start": "", "lease": 60.0}  # noqa: RUF012

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = Clock()
        monkeypatch.setattr(_leases, "time", clock)
        return clock

    @pytest.fixture
    def store(self) -> Ages:
        return Ages()

    @pytest.fixture
    def lease(self, store: Ages, clock: Clock) -> Iterator[Lease]:
        log = StudyLog(store, store.create("a"))
        lease = Lease(log, {"w": "0a"}, 60.0, lambda: None)
        lease.begin()
        yield lease
        lease.end()

    def test_after_a_while(self, lease: Lease, store: Ages, clock: Clock) -> None:
        store.ages["0b"] = 41.0
        assert not lease.expired(self.OTHER)
        clock.now += 19.0
        assert not lease.expired(self.OTHER)  # has just begun
        clock.now += 1.0
        assert lease.expired(self.OTHER)
        store.ages["0b"] = 39.0
        lease._measure()
        assert not lease.expired(self.OTHER)

    def test_it_slept_itself(self, lease: Lease, store: Ages, clock: Clock) -> None:
        clock.now += 100.0
        store.ages.update({"0a": 900.0, "0b": 900.0})
        lease._measure()
        assert not lease.expired(self.OTHER)
        store.ages["0a"] = 10.0  # beats again; the other one, which lives, has the same time to do so
        clock.now += 10.0
        lease._measure()
        assert not lease.expired(self.OTHER)
        clock.now += 10.0
        assert lease.expired(self.OTHER)

    def test_a_worker_that_began_since_is_looked_up(self, lease: Lease, store: Ages, clock: Clock) -> None:
        clock.now += 100.0
        lease._measure()
        store.ages["0b"] = 1.0
        assert not lease.expired(self.OTHER)

    def test_one_without_heartbeats(self, lease: Lease, clock: Clock) -> None:
        clock.now += 100.0
        lease._measure()
        assert lease.expired(self.OTHER)  # its loop was over, and it has left a trial
        assert not lease.expired({k: v for k, v in self.OTHER.items() if k != "lease"})


class TestHeartbeats:
    """They go on whatever else happens in the process."""

    def beats_during(self, study: Any, disturb: Callable[[], None]) -> list[float]:
        """How old this process's heartbeat is, ten times within two leases."""
        ages: list[float] = []

        def objective(trial: Any) -> float:
            disturb()
            for _ in range(10):
                time.sleep(0.1)
                ages.append(study.storage.heartbeats(study._log.study)[study._session.worker["w"]])
            return 0.0

        study.optimize(objective, n_trials=1, lease=0.5)
        return ages

    def test_while_a_sampler_computes(self, disk: Place) -> None:
        """It does so under the lock of the log, and may need longer than a lease."""
        study = study_in(disk)
        held, done = threading.Event(), threading.Event()

        def propose() -> None:
            with study._log.lock:
                held.set()
                done.wait(20)

        thread = threading.Thread(target=propose)

        def disturb() -> None:
            thread.start()
            assert held.wait(10)
            threading.Timer(1.2, done.set).start()

        assert max(self.beats_during(study, disturb)) < 0.3
        thread.join()

    def test_after_an_error_of_a_callback(self, disk: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        study = study_in(disk)

        def fails(self: Any) -> None:
            raise RuntimeError("of a user's callback")

        assert (
            max(self.beats_during(study, lambda: monkeypatch.setattr("tunesmith.study._loop.Loop._look", fails))) < 0.3
        )


class TestSigterm:
    def test_a_generator_comes_to_its_next_yield(self, disk: Place, spawn: Any) -> None:
        study = study_in(disk, seed=5, pruner="nop")
        process = spawn("yield", "epochs")
        _, first = first_line(process)
        begin = time.monotonic()
        process.terminate()
        assert process.wait() == 143
        assert time.monotonic() - begin < 4
        assert process.stdout is not None
        last = int([first, *process.stdout.read().split()][-1])
        trial = study.trials[0]
        assert trial.state == TrialState.WAITING
        assert trial.intermediate_values == {e: float(e) for e in range(1, last + 1)}
        assert not study.storage.heartbeats(study._log.study)
        seen: list[int] = []

        def go_on(trial: Any) -> Any:
            trial.suggest_float("x", 0, 1)
            seen.append(trial.load()["epoch"])
            yield 0.0

        study.optimize(go_on, n_trials=1)
        assert seen == [last]
        check_reload(study)

    @pytest.mark.parametrize("kind", ["hangs", "threads"])
    def test_what_does_not_yield_is_cut_off(self, disk: Place, spawn: Any, kind: str) -> None:
        study = study_in(disk, seed=5, pruner="nop")
        process = spawn("yield", kind)
        first_line(process)
        if kind == "threads":
            first_line(process)
        time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=5) == 143
        assert {t.state for t in study.trials} == {TrialState.WAITING}
        assert all(t.intermediate_values == {1: 1.0} for t in study.trials)
        study.optimize(quick, n_trials=len(study.trials))
        assert "attempt" in study.trials[0].system_attrs
        check_reload(study)

    def test_a_handler_of_the_user_stays(self) -> None:
        got: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
        try:
            study = tunesmith.create_study()

            def objective(trial: Any) -> float:
                signal.raise_signal(signal.SIGTERM)
                return 0.0

            study.optimize(objective, n_trials=2)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert len(got) == 2
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2

    def test_the_default_is_back_afterwards(self) -> None:
        tunesmith.create_study().optimize(lambda trial: 0.0, n_trials=1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Flaky:
    """Fails ``times`` times for trial 1, with a late parameter and a report before."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.seen: list[tuple[int, int, float]] = []

    def __call__(self, trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        self.seen.append((trial.number, trial.attempt, x))
        trial.report(x, 1)
        if trial.number == 1 and self.times > 0:
            self.times -= 1
            raise ConnectionError("the data server is away")
        return x


def test_callbacks_hear_only_of_trials_that_were_told() -> None:
    """Another worker has the trial by the time when its objective returns."""
    study = tunesmith.create_study(seed=1)
    called: list[tuple[int, Any]] = []

    def loses(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 0 and trial.attempt == 1:
            study._log.append([{"e": "release", "n": 0, "k": trial._token, "t": 5}])
        return x

    study.optimize(loses, n_trials=3, callbacks=[lambda s, t: called.append((t.number, t.value))])
    assert called == [(t.number, t.value) for t in study.trials if t.state == TrialState.COMPLETE]
    assert None not in [value for _, value in called]


class TestOptunasCallback:
    """The lost trial fails, another number takes its place."""

    def lost(self, path: Path, callback: Any, spawn: Any, n: int = 1) -> Any:
        """A study whose first trials have lost their worker, opened with a callback."""
        store = RDBStorage(f"sqlite:///{path}/log.db", heartbeat_stale_trial_callback=callback)
        study = tunesmith.create_study(study_name="s", storage=store, load_if_exists=True)
        for _ in range(n):
            process = spawn("slow", "here", 60)
            first_line(process)
            process.kill()
            process.wait()
        return study

    @pytest.fixture
    def spawn(self, tmp_path: Path) -> Iterator[Any]:
        yield from spawning(WORKER, f"sqlite:///{tmp_path}/log.db")

    def test_a_new_number(self, tmp_path: Path, spawn: Any) -> None:
        tunesmith.create_study(study_name="s", storage=f"sqlite:///{tmp_path}/log.db", space={"x": Float(0, 1)})
        study = self.lost(tmp_path, RetryHeartbeatStaleTrialCallback(), spawn)
        study.optimize(quick, n_trials=2)
        first, second, third = study.trials
        assert (first.state, first.system_attrs["fail_reason"]) == (TrialState.FAIL, "its worker is gone")
        assert (second.state, third.state) == (TrialState.COMPLETE, TrialState.COMPLETE)
        assert second.params == first.params
        assert RetryHeartbeatStaleTrialCallback.retried_trial_number(second) == 0
        assert RetryHeartbeatStaleTrialCallback.retry_history(second) == [0]
        assert RetryHeartbeatStaleTrialCallback.retry_history(third) == []
        records = study.storage.read(study._log.study)
        assert sum(e["e"] == "add" for record in records for e in record) == 0  # in the append of the failure
        check_reload(study)

    def test_so_many_times(self, tmp_path: Path, spawn: Any) -> None:
        study = self.lost(tmp_path, RetryFailedTrialCallback(max_retry=0), spawn)
        study.optimize(quick, n_trials=1)
        assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE"]
        assert RetryFailedTrialCallback.retry_history(study.trials[1]) == []
        callback = RetryHeartbeatStaleTrialCallback(max_retry=2, inherit_intermediate_values=True)
        trial = study.trials[0]
        numbers = []
        while (made := callback.successor(trial)) is not None:
            numbers.append(RetryHeartbeatStaleTrialCallback.retry_history(made))
            made.number = trial.number + 1
            trial = made
        assert numbers == [[0], [0, 1]]

    def test_any_other_callback_is_called_once(self, tmp_path: Path, spawn: Any) -> None:
        called: list[tuple[str, int, str]] = []

        def callback(study: Any, trial: Any) -> None:
            called.append((study.study_name, trial.number, trial.state.name))

        study = self.lost(tmp_path, callback, spawn)
        study.optimize(quick, n_trials=1)
        study.optimize(quick, n_trials=1)
        assert called == [("s", 0, "FAIL")]
        assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]

    def test_bad_input(self) -> None:
        with pytest.raises(InvalidTypeError, match="max_retry"):
            RetryHeartbeatStaleTrialCallback("3")  # type: ignore[arg-type]


class TestRetry:
    @pytest.mark.parametrize("n_jobs", [1, 3])
    def test_attempted_again_at_once(self, n_jobs: int) -> None:
        study = tunesmith.create_study(seed=1)
        flaky = Flaky(2)
        study.optimize(flaky, n_trials=6, retry=OSError, n_jobs=n_jobs)
        assert [t.state.name for t in study.trials] == ["COMPLETE"] * 6  # n_trials counts configurations
        attempts = [(number, attempt) for number, attempt, _ in flaky.seen if number == 1]
        assert attempts == [(1, 1), (1, 2), (1, 3)]
        assert len({x for number, _, x in flaky.seen if number == 1}) == 1
        check_reload(study)

    def test_the_last_attempt_fails_as_any(self) -> None:
        study = tunesmith.create_study(seed=1)
        with pytest.raises(ConnectionError):
            study.optimize(Flaky(9), n_trials=4, retry=(OSError,), attempts=2)
        assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL"]
        assert "data server" in study.trials[1].system_attrs["fail_reason"]
        other = tunesmith.create_study(seed=1)
        flaky = Flaky(9)
        other.optimize(flaky, n_trials=4, retry=(OSError,), catch=OSError)
        assert [t.state.name for t in other.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert sum(number == 1 for number, _, _ in flaky.seen) == 3

    def test_other_exceptions_are_not_retried(self) -> None:
        study = tunesmith.create_study(seed=1)
        flaky = Flaky(1)
        study.optimize(flaky, n_trials=3, retry=ValueError, catch=OSError)
        assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]

    def test_attempts_of_interrupted_trials(self) -> None:
        study = tunesmith.create_study(seed=1)

        def leave(trial: Any) -> float:
            raise SystemExit

        with pytest.raises(SystemExit):
            study.optimize(leave, n_trials=1, attempts=1)
        assert study.trials[0].state == TrialState.FAIL
        assert study.trials[0].system_attrs["fail_reason"].startswith("interrupted; no further attempt")

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"attempts": 0}, InvalidValueError),
            ({"attempts": 1.5}, InvalidTypeError),
            ({"retry": OSError("x")}, InvalidTypeError),
            ({"retry": [int]}, InvalidTypeError),
            ({"lease": 0.1}, InvalidValueError),
            ({"lease": "60"}, InvalidTypeError),
            ({"lease": math.nan}, InvalidValueError),
        ],
    )
    def test_bad_input(self, wrong: dict[str, Any], error: type[Exception]) -> None:
        study = tunesmith.create_study()
        with pytest.raises(error, match=next(iter(wrong))):
            study.optimize(quick, n_trials=1, **wrong)
        assert study.trials == []
