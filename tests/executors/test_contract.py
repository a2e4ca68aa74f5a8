"""What executors owe to a study, whatever they evaluate with: refused pauses, errors of others, what is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from executors.test_remote import PauseOnce, QueueExecutor, halves

import tunesmith
from tunesmith.exceptions import StaleTrialError, StorageInternalError, TrialPruned
from tunesmith.executors import BaseExecutor, InlineExecutor, SimulatorExecutor, _remote_worker, ray
from tunesmith.executors._limits import Limits
from tunesmith.executors._messages import Disconnected, Ready, WorkerChannel, pack
from tunesmith.executors._remote import RemoteWorker
from tunesmith.executors._remote_trial import Line
from tunesmith.executors.lanes import LaneEvent, LaneExecutor, Parked
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.trial import TrialState


class Curves:
    """An objective with lanes: each steps a generator."""

    def __init__(self, objective: Any) -> None:
        self.objective = objective
        self.closed = False

    def open_lanes(self, lanes: int | str, workers: int | None = None) -> Curves:
        self.lanes: dict[Hashable, Any] = {}
        return self

    def begin(self, trial: Any) -> Any:
        return self.objective(trial)

    def room(self) -> int:
        return 1 - len(self.lanes)

    def start(self, key: Hashable, evaluation: Any) -> None:
        self.lanes[key] = evaluation

    def resume(self, key: Hashable, kept: Any) -> None:
        self.lanes[key] = kept.curve

    def step(self) -> Iterable[LaneEvent]:
        for key, curve in list(self.lanes.items()):
            try:
                yield LaneEvent(key, item=next(curve))
            except StopIteration:
                del self.lanes[key]
                yield LaneEvent(key)

    def park(self, key: Hashable) -> Parked:
        parked = Parked()
        parked.curve = self.lanes.pop(key)  # type: ignore[attr-defined]
        return parked

    def drop(self, key: Hashable) -> None:
        del self.lanes[key]

    def stop(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def executor_of(kind: str, objective: Any) -> BaseExecutor:
    made = {"inline": InlineExecutor, "simulator": SimulatorExecutor, "queue": QueueExecutor}
    return made[kind]() if kind in made else LaneExecutor(Curves(objective), 1, None)


EXECUTORS = pytest.mark.parametrize("kind", ["inline", "simulator", "queue", "lanes"])


@EXECUTORS
def test_a_pause_that_is_refused_ends_the_trial_here_and_not_the_loop(kind: str) -> None:
    """The trial was given back while it was evaluated, so by now it is another attempt's."""
    study = tunesmith.create_study(seed=3, pruner=PauseOnce())
    given_back = []

    def objective(trial: Any) -> Iterator[float]:
        if not given_back:
            given_back.append(trial.number)
            live = study._session.live[trial.number]
            study._log.append([{"e": "release", "n": live.number, "k": live._token, "t": 1, "free": 1}])
        yield from halves(trial)

    study.optimize(objective, n_trials=4, backend=executor_of(kind, objective))
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert study.trials[0].system_attrs["attempt"] == 2


def test_a_function_whose_pause_comes_too_late_does_not_end_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker takes its trial between the last look into the log and the append."""
    study = tunesmith.create_study(seed=3, pruner=PauseOnce(), artifacts=tmp_path)
    pause, late = study._session.pause, []

    def too_late(trial: Any) -> None:
        if not late:
            late.append(trial.number)
            study._log.append([{"e": "release", "n": trial.number, "k": trial._token, "t": 1, "free": 1}])
        pause(trial)

    monkeypatch.setattr(study._session, "pause", too_late)

    def objective(trial: Any) -> float:
        for step in range((trial.load() or {"step": 0})["step"] + 1, 4):
            trial.save({"step": step}, step)
            trial.report(1.0 / step, step)
            if trial.should_prune():
                raise TrialPruned
        return 0.0

    study.optimize(objective, n_trials=4)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert late == [0]


@dataclass(frozen=True)
class PauseAll(BasePruner):
    """Three trials pause after each of their epochs; then there is no more to do."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        return Start() if history.n_trials < 3 else Idle.DONE


@EXECUTORS
def test_an_error_of_a_callback_is_none_of_the_trial_that_has_just_paused(kind: str) -> None:
    """Trial 0, the worse one, is given up for trial 1, and a callback fails at that: trial 1 is paused all the same."""

    def improving(trial: Any) -> Iterator[float]:
        yield 1.0 - trial.number

    study = tunesmith.create_study(seed=3, pruner=PauseAll())

    def callback(study: Any, trial: Any) -> None:
        raise ValueError(f"about trial {trial.number}")

    with pytest.raises(ValueError, match="about trial 0"):
        study.optimize(
            improving, max_paused=1, callbacks=[callback], catch=ValueError, keep_paused=True,
            backend=executor_of(kind, improving),
        )  # fmt: skip
    assert [t.state for t in study.trials] == [TrialState.PRUNED, TrialState.PAUSED]


def test_an_interrupt_beside_a_generator_closes_it() -> None:
    """What it has opened is not to live as long as somebody keeps the traceback."""
    closed = []

    def objective(trial: Any) -> Iterator[float]:
        try:
            yield 1.0
        finally:
            closed.append(trial.number)

    class Interrupted(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            raise KeyboardInterrupt

    study = tunesmith.create_study(pruner=Interrupted())
    with pytest.raises(KeyboardInterrupt) as caught:
        study.optimize(objective, n_trials=1)
    assert caught.traceback
    assert closed == [0]
    assert study.trials[0].state == TrialState.WAITING


def test_lanes_are_closed_although_the_store_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> bool:
        raise StorageInternalError("the disk is gone")

    def objective(trial: Any) -> Iterator[float]:
        monkeypatch.setattr(study._session, "release", fail)
        yield 1.0
        raise KeyboardInterrupt

    study = tunesmith.create_study(pruner="nop")
    curves = Curves(objective)
    with pytest.raises(StorageInternalError):
        study.optimize(objective, n_trials=1, backend=LaneExecutor(curves, 1, None))
    assert curves.closed


@dataclass(frozen=True)
class PauseOften(BasePruner):
    """One trial pauses after each epoch, and goes on at once."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        if not history.n_trials:
            return Start()
        return [Continue(t.number) for t in history.open] or Idle.DONE


class FairLine(Line):
    """Whoever waits for the line gets it as soon as it is free, as may happen at any time."""

    def __init__(self, channel: WorkerChannel) -> None:
        super().__init__(channel)
        self._free = self._lock
        self._lock = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        self._free.acquire()

    def __exit__(self, *error: object) -> None:
        self._free.release()
        time.sleep(0.001)


def test_threads_that_ask_in_the_moment_of_a_pause_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or their questions would wait for an answer, and take the next order of the study for it."""
    monkeypatch.setattr(_remote_worker, "Line", FairLine)
    fates = set()

    def objective(trial: Any) -> Iterator[float]:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                try:
                    trial.set_user_attr("k", 1)
                    fates.add("answered")
                except StaleTrialError:
                    fates.add("refused")

        for _ in range(2):
            threading.Thread(target=ask, daemon=True).start()
        for epoch in range(10):
            yield float(epoch)
        over.set()

    study = tunesmith.create_study(pruner=PauseOften())
    loop = threading.Thread(
        target=study.optimize, args=(objective, 1), kwargs={"backend": QueueExecutor()}, daemon=True
    )
    loop.start()
    loop.join(10)
    assert not loop.is_alive()
    assert [t.state.name for t in study.trials] == ["COMPLETE"]
    assert fates == {"answered", "refused"}


def test_tasks_of_ray_that_are_lost_are_forgotten() -> None:
    """Each conversation that is not closed keeps a call of the mailbox waiting, which has room for so many."""
    channels = []

    class Channel:
        def __init__(self) -> None:
            self.closed = False
            channels.append(self)

        def receive(self, timeout: float) -> bytes:
            if len(channels) < 4:
                raise Disconnected
            return pack(Ready())

        def epitaph(self) -> str:
            return "was lost"

        def failure(self) -> None: ...

        def memory(self) -> None: ...

        def close(self) -> None:
            self.closed = True

    class Host:
        stopping = False

    def start() -> RemoteWorker:
        return RemoteWorker(Channel(), Limits())  # type: ignore[arg-type]

    worker = ray._running(Host(), start)  # type: ignore[arg-type]
    assert worker is not None
    assert [channel.closed for channel in channels] == [True, True, True, False]
