"""The simulator: the same contract as every executor, in virtual time."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors import SimulatorExecutor, Work
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState


def simulate(study: Any, objective: Callable[..., Any], executor: SimulatorExecutor, **given: Any) -> list[Any]:
    """``optimize`` with an executor; the trace as (seconds, trial, item)."""
    try:
        study.optimize(objective, backend=executor, **given)
    finally:
        check_reload(study)
    return [(heard.seconds, heard.number, heard.item) for heard in executor.trace]


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in study.trials]


def curve(trial: Any) -> Iterator[float]:
    """Ten epochs, from 1 down to x."""
    x = trial.suggest_float("x", 0, 1)
    for epoch in range(1, 11):
        yield x + (1 - x) / epoch


def epochs(n: int) -> Callable[[Any], Iterator[float]]:
    def objective(trial: Any) -> Iterator[float]:
        for epoch in range(1, n + 1):
            yield trial.number + 1 / epoch

    return objective


@dataclass(frozen=True)
class Rung(BasePruner):
    """Trials pause after two epochs; when ``n`` have, the best goes on to its end, and the study is done."""

    n: int = 3

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == 2 else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < self.n:
            return Start()
        if history.n:
            return Idle.DONE
        if all(t.state == TrialState.PAUSED for t in history.open):
            return Continue(min(history.open, key=lambda t: t.reports[2]).number)
        return Idle.WAIT


@dataclass(frozen=True)
class RoundRobin(BasePruner):
    """Every trial pauses after each epoch, and the one with the fewest epochs goes on."""

    n: int = 3

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < self.n:
            return Start()
        paused = sorted((len(t.reports), t.number) for t in history.open if t.state == TrialState.PAUSED)
        return [Continue(number) for _, number in paused] or Idle.WAIT if history.open else Idle.DONE


@pytest.mark.parametrize("rule", ["nop", "median", Rung(8), RoundRobin(8)])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_one_worker_does_what_the_calling_thread_does(sampler: str, rule: Any) -> None:
    def outcome(study: Any) -> list[Any]:
        return [(t.state, t.params, t.intermediate_values, t.values) for t in study.trials]

    real = tunesmith.create_study(sampler=sampler, pruner=rule, seed=3)
    real.optimize(curve, n_trials=15)
    virtual = tunesmith.create_study(sampler=sampler, pruner=rule, seed=3)
    trace = simulate(virtual, curve, SimulatorExecutor(), n_trials=15)
    assert outcome(virtual) == outcome(real)
    assert [seconds for seconds, _, _ in trace] == list(range(1, len(trace) + 1))


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
def test_times_are_those_of_list_scheduling(n_workers: int) -> None:
    """Oracle: each trial, in turn, begins on the worker that is free first."""
    rng = np.random.default_rng(n_workers)
    durations = [rng.integers(1, 20, size=rng.integers(1, 5)).tolist() for _ in range(20)]

    def objective(trial: Any) -> Iterator[float]:
        for duration in durations[trial.number]:
            yield float(duration)

    free = [(0, worker) for worker in range(n_workers)]
    expected = []
    for number, steps in enumerate(durations):
        free.sort()
        ends = free[0][0] + np.cumsum(steps)
        expected += [(int(end), number, float(step)) for end, step in zip(ends, steps, strict=True)]
        free[0] = (int(ends[-1]), free[0][1])
    executor = SimulatorExecutor(n_workers, duration=lambda trial, item: item)
    study = tunesmith.create_study(pruner="nop", seed=0)
    trace = simulate(study, objective, executor, n_trials=20)
    assert sorted(trace) == sorted(expected)
    assert [seconds for seconds, _, _ in trace] == sorted(end for end, _, _ in expected)
    assert [heard.reports for heard in executor.trace] == list(range(1, len(trace) + 1))
    assert executor.seconds == max(end for end, _, _ in expected)


def test_a_worker_that_becomes_free_takes_the_next_trial_at_that_moment() -> None:
    length = {0: 3, 1: 1, 2: 1, 3: 2}

    def objective(trial: Any) -> Iterator[Any]:
        for epoch in range(length[trial.number]):
            yield epoch, trial.number

    trace = simulate(tunesmith.create_study(pruner="nop"), objective, SimulatorExecutor(2), n_trials=4)
    assert trace == [
        (1, 0, (0, 0)), (1, 1, (0, 1)), (2, 0, (1, 0)), (2, 2, (0, 2)), (3, 0, (2, 0)), (3, 3, (0, 3)), (4, 3, (1, 3)),
    ]  # fmt: skip


def test_methods_see_what_has_been_heard_and_the_others_as_running() -> None:
    """The computed but not yet heard epochs of running trials are nowhere in the history."""
    seen: list[dict[int, tuple[str, int]]] = []

    @dataclass(frozen=True)
    class Watcher(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            return Verdict.GO

        def schedule(self, history: History) -> Schedule:
            seen.append({t.number: (t.state.name, len(t.reports)) for t in history.open})
            return Start()

    def duration(trial: Any, item: Any) -> float:
        return 5.0 if trial.number == 0 else 2.0

    study = tunesmith.create_study(pruner=Watcher(), seed=0)
    simulate(study, epochs(2), SimulatorExecutor(2, duration), n_trials=5)
    assert seen[:5] == [
        {},
        {0: ("RUNNING", 0)},
        {0: ("RUNNING", 0)},  # at 4, when trial 1 has ended
        {0: ("RUNNING", 1)},  # at 8, when trial 2 has
        {3: ("RUNNING", 0)},  # at 10, when trial 0 has; trial 3 is heard at 10 too, but after it
    ]


def test_a_paused_trial_goes_on_where_it_was_at_no_cost() -> None:
    study = tunesmith.create_study(pruner=Rung(3))
    begun = []

    def objective(trial: Any) -> Iterator[float]:
        begun.append(trial.number)
        yield from epochs(4)(trial)

    trace = simulate(study, objective, SimulatorExecutor(1), n_trials=3)
    assert [number for _, number, _ in trace] == [0, 0, 1, 1, 2, 2, 0, 0]
    assert [seconds for seconds, _, _ in trace] == list(range(1, 9))
    assert begun == [0, 1, 2]
    assert states(study) == ["COMPLETE", "PRUNED", "PRUNED"]
    assert study.trials[0].intermediate_values == {k: 1 / k for k in range(1, 5)}


def test_idle_workers_are_asked_again_whenever_something_happens() -> None:
    """Two of four workers have nothing to do until the rung is complete, and all but one after it."""
    study = tunesmith.create_study(pruner=Rung(2))
    trace = simulate(study, epochs(4), SimulatorExecutor(4), n_trials=2)
    assert [(seconds, number) for seconds, number, _ in trace] == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (4, 0)]


def test_several_workers_share_out_paused_trials() -> None:
    study = tunesmith.create_study(pruner=RoundRobin(4))
    trace = simulate(study, epochs(3), SimulatorExecutor(2), n_trials=4)
    assert trace[-1][0] == 6  # 12 epochs, two at a time
    assert states(study) == ["COMPLETE"] * 4


def test_the_budget_in_reports() -> None:
    study = tunesmith.create_study(pruner="nop", seed=0)
    executor = SimulatorExecutor(3, max_reports=8)
    trace = simulate(study, epochs(4), executor, n_trials=10)
    assert [(seconds, number) for seconds, number, _ in trace] == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1),
    ]  # fmt: skip
    assert states(study) == ["WAITING"] * 3
    again = tunesmith.create_study(pruner="nop", seed=0)
    assert simulate(again, epochs(4), executor, n_trials=10) == trace  # the trace and the clock begin anew
    assert states(again) == ["WAITING"] * 3


def test_a_trial_that_ends_with_the_budget_is_complete() -> None:
    study = tunesmith.create_study(pruner="nop")
    simulate(study, epochs(4), SimulatorExecutor(1, max_reports=4), n_trials=10)
    assert states(study) == ["COMPLETE"]


def test_the_budget_in_seconds() -> None:
    study = tunesmith.create_study(pruner="nop")
    executor = SimulatorExecutor(2, lambda trial, item: 1.0 + trial.number, max_seconds=4)
    trace = simulate(study, epochs(3), executor, n_trials=10)
    assert [(seconds, number) for seconds, number, _ in trace] == [(1, 0), (2, 0), (2, 1), (3, 0), (4, 1)]
    assert states(study) == ["COMPLETE", "WAITING", "WAITING"]


def test_no_budget_takes_nothing() -> None:
    study = tunesmith.create_study(pruner="nop")
    assert simulate(study, epochs(3), SimulatorExecutor(2, max_reports=0), n_trials=10) == []
    assert states(study) == []


def test_stopped_trials_free_their_worker() -> None:
    @dataclass(frozen=True)
    class Odd(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            return Verdict.STOP if trial.number % 2 else Verdict.GO

    closed = []

    def objective(trial: Any) -> Iterator[float]:
        try:
            yield from epochs(2)(trial)
        finally:
            closed.append(trial.number)

    study = tunesmith.create_study(pruner=Odd())
    trace = simulate(study, objective, SimulatorExecutor(1), n_trials=4)
    assert [number for _, number, _ in trace] == [0, 0, 1, 2, 2, 3]
    assert states(study) == ["COMPLETE", "PRUNED"] * 2
    assert closed == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore")
def test_diverged_and_empty_trials() -> None:
    def objective(trial: Any) -> Any:
        if trial.number == 0:
            yield math.nan
        if trial.number == 2:
            return 7.0
        return None

    study = tunesmith.create_study(pruner="median")
    trace = simulate(study, objective, SimulatorExecutor(2), n_trials=3)
    assert states(study) == ["FAIL", "FAIL", "COMPLETE"]
    assert study.best_value == 7.0
    assert [(seconds, number) for seconds, number, _ in trace] == [(1, 0)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
def test_an_error_fails_its_trial_and_ends_the_rest(late: bool) -> None:
    def objective(trial: Any) -> Iterator[float]:
        if late:
            yield 1.0
        if trial.number == 1:
            raise ZeroDivisionError
        yield 2.0
        yield 3.0

    study = tunesmith.create_study(pruner="nop")
    with pytest.raises(ZeroDivisionError):
        simulate(study, objective, SimulatorExecutor(3), n_trials=6)
    assert states(study) == (["WAITING", "FAIL", "WAITING"] if late else ["WAITING", "FAIL"])
    caught = tunesmith.create_study(pruner="nop")
    simulate(caught, objective, SimulatorExecutor(3), n_trials=6, catch=(ZeroDivisionError,))
    assert states(caught) == ["COMPLETE", "FAIL", *["COMPLETE"] * 4]


@pytest.mark.filterwarnings("ignore")
def test_a_report_that_cannot_be_used_fails_its_trial() -> None:
    def objective(trial: Any) -> Iterator[Any]:
        yield "high"

    study = tunesmith.create_study(pruner="nop")
    with pytest.raises(InvalidTypeError, match="high"):
        simulate(study, objective, SimulatorExecutor(2), n_trials=4)
    assert states(study) == ["FAIL", "WAITING"]


@pytest.mark.filterwarnings("ignore")
def test_an_interrupt_releases_all() -> None:
    def objective(trial: Any) -> Iterator[float]:
        yield 1.0
        if trial.number == 1 and trial.attempt == 1:
            raise KeyboardInterrupt
        yield 2.0

    study = tunesmith.create_study(pruner="nop")
    with pytest.raises(KeyboardInterrupt):
        simulate(study, objective, SimulatorExecutor(2), n_trials=2)
    assert states(study) == ["WAITING", "WAITING"]
    simulate(study, objective, SimulatorExecutor(2), n_trials=2)
    assert states(study) == ["COMPLETE", "COMPLETE"]


class Recorder:
    """A host that writes down what it is told, and whether the trial's generator was closed by then."""

    def __init__(self, objective: Callable[[Any], Any], verdicts: dict[int, Verdict], stop_after: int = 99) -> None:
        self._objective, self.verdicts, self.stop_after = objective, verdicts, stop_after
        self.stopping = False
        self.generators: dict[int, Any] = {}
        self.told: list[tuple[Any, ...]] = []

    def objective(self, trial: Any) -> Any:
        self.generators[trial.number] = self._objective(trial)
        return self.generators[trial.number]

    def stop(self) -> None:
        self.stopping = True
        self.told.append(("stop",))

    def worker(self) -> Any:
        return contextlib.nullcontext()

    def take(self, n: int = 1, *, wait: bool = True) -> list[Work]:
        number = len(self.generators)
        return [Work(SimpleNamespace(number=number))] if number < 3 else []  # type: ignore[arg-type]

    def reported(self, trial: Any, item: Any) -> Verdict:
        self.stop_after -= 1
        self.stopping = self.stopping or self.stop_after == 0
        return self.verdicts.get(trial.number, Verdict.GO)

    def _write(self, what: str, trial: Any, *rest: Any) -> None:
        closed = inspect.getgeneratorstate(self.generators[trial.number]) == inspect.GEN_CLOSED
        self.told.append((what, trial.number, "closed" if closed else "open", *rest))

    def ended(self, trial: Any, result: Any = None, error: Exception | None = None) -> None:
        self._write("ended", trial, result if error is None else type(error))

    def pruned(self, trial: Any) -> None:
        self._write("pruned", trial)

    def paused(self, trial: Any, kept: Any) -> None:
        self._write("paused", trial, kept is self.generators[trial.number])

    def released(self, trial: Any, cause: BaseException | None = None) -> None:
        self._write("released", trial, type(cause))


NONE = type(None)


class TestWhatTheHostIsTold:
    def test_at_the_end_of_the_budget(self) -> None:
        host = Recorder(epochs(3), {})
        SimulatorExecutor(2, max_reports=3).run(host)
        assert host.told == [("released", 0, "closed", NONE), ("released", 1, "closed", NONE)]

    def test_when_the_loop_is_stopped(self) -> None:
        """All are given back, the trial that has just reported too, whatever the rule said of it."""
        host = Recorder(epochs(3), {1: Verdict.PAUSE}, stop_after=2)
        SimulatorExecutor(3).run(host)
        assert sorted(host.told) == [("released", number, "closed", NONE) for number in range(3)]

    def test_verdicts(self) -> None:
        host = Recorder(epochs(2), {0: Verdict.STOP, 1: Verdict.PAUSE})
        SimulatorExecutor(1).run(host)
        assert host.told == [("pruned", 0, "closed"), ("paused", 1, "open", True), ("ended", 2, "closed", None)]

    def test_an_impossible_duration(self) -> None:
        host = Recorder(epochs(2), {})
        SimulatorExecutor(1, lambda trial, item: -1.0).run(host)
        assert host.told == [("ended", number, "closed", InvalidValueError) for number in range(3)]

    def test_an_interrupt(self) -> None:
        """The loop is stopped before anything is given back, or another worker might claim it at once."""

        def objective(trial: Any) -> Iterator[float]:
            yield 1.0
            if trial.number == 1:
                raise KeyboardInterrupt
            yield 2.0

        host = Recorder(objective, {})
        with pytest.raises(KeyboardInterrupt):
            SimulatorExecutor(3).run(host)
        assert host.told[:2] == [("stop",), ("released", 1, "closed", KeyboardInterrupt)]
        assert host.told[-2:] == [("released", 0, "closed", NONE), ("released", 2, "closed", NONE)]


def test_stop_lets_the_running_trials_end() -> None:
    study = tunesmith.create_study(pruner="nop")
    simulate(study, epochs(2), SimulatorExecutor(2), n_trials=9, callbacks=(lambda study, trial: study.stop(),))
    assert states(study) == ["COMPLETE", "COMPLETE"]


def test_a_function_is_refused() -> None:
    study = tunesmith.create_study(pruner="nop")
    with pytest.raises(InvalidTypeError, match=r"yields after each epoch, but this one returned 0\.5"):
        simulate(study, lambda trial: 0.5, SimulatorExecutor(), n_trials=1)


@pytest.mark.parametrize("duration", [-1.0, math.nan])
def test_impossible_durations(duration: float) -> None:
    study = tunesmith.create_study(pruner="nop")
    with pytest.raises(InvalidValueError, match="0 or more seconds"):
        simulate(study, epochs(2), SimulatorExecutor(1, lambda trial, item: duration), n_trials=1)


@pytest.mark.parametrize("bad", [{"n_workers": 0}, {"max_reports": -1}, {"max_seconds": math.nan}])
def test_impossible_arguments(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(bad))):
        SimulatorExecutor(**bad)


def test_runs_are_the_same_every_time() -> None:
    def trace() -> Any:
        study = tunesmith.create_study(sampler="tpe", pruner="median", seed=5)
        return simulate(study, curve, SimulatorExecutor(16, max_reports=300), n_trials=60)

    assert trace() == trace()


@pytest.mark.filterwarnings("ignore")
def test_states_that_generators_save(tmp_path: Path) -> None:
    """The budget ends after three epochs: the fourth has been computed and saved, but nobody has heard of it."""

    def objective(trial: Any) -> Iterator[float]:
        done = trial.load() or 0
        for epoch in range(done + 1, 6):
            trial.save(epoch)
            yield 1 / epoch

    study = tunesmith.create_study(storage=f"sqlite:///{tmp_path}/s.db", pruner="nop")
    assert len(simulate(study, objective, SimulatorExecutor(1, max_reports=3), n_trials=1)) == 3
    assert [item for _, _, item in simulate(study, objective, SimulatorExecutor(1), n_trials=1)] == [1 / 4, 1 / 5]
    assert states(study) == ["COMPLETE"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"backend": "dask"}, ValueError, "'ray' or an executor, but is 'dask'"),
        ({"backend": 3}, TypeError, "but is 3"),
        ({"backend": SimulatorExecutor(), "n_jobs": 2}, ValueError, "leave out n_jobs and lanes"),
    ],
)
def test_a_backend_that_is_none_is_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tunesmith.create_study().optimize(curve, n_trials=1, **given)


def test_threads_by_name() -> None:
    study = tunesmith.create_study()
    study.optimize(curve, n_trials=3, n_jobs=2, backend="threads")
    assert len(study.trials) == 3
