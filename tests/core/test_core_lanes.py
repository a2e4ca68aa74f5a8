"""Studies whose trials are evaluated side by side: the executor's half of lanes, with a runner without networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tunesmith as ts
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors.lanes import LaneEvent, Parked
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.samplers import BaseSampler, Proposal, RandomSampler
from tunesmith.space import Space
from tunesmith.trial import Trial, TrialState

SPACE = {"x": ts.Float(0.0, 1.0)}


@dataclass(eq=False)
class Curve(Parked):
    """A trial in a lane: x, x/2, x/3, ..."""

    x: float
    step: int = 0
    closed: bool = False

    def close(self) -> None:
        self.closed = True


class Runner:
    """One epoch of every lane at a time."""

    def __init__(self, problem: Problem, lanes: int) -> None:
        self.problem, self.lanes = problem, lanes
        self.held: dict[Hashable, Curve] = {}
        self.closed = False

    def room(self) -> int:
        return self.lanes - len(self.held)

    def start(self, key: Hashable, evaluation: Any) -> None:
        self.held[key] = evaluation
        self.problem.most = max(self.problem.most, len(self.held))

    def resume(self, key: Hashable, kept: Parked) -> None:
        assert isinstance(kept, Curve)
        self.held[key] = kept

    def step(self) -> Iterable[LaneEvent]:
        for key, curve in list(self.held.items()):
            curve.step += 1
            if (error := self.problem.errors.get((key, curve.step))) is not None:
                if not isinstance(error, Exception):
                    raise error
                del self.held[key]
                yield LaneEvent(key, error=error)
                continue
            yield LaneEvent(key, item={"loss": curve.x / curve.step})
            if curve.step == self.problem.epochs and self.held.get(key) is curve:
                del self.held[key]
                yield LaneEvent(key, attributes=(("note", "done"),), seconds=0.25 * curve.step)

    def drop(self, key: Hashable) -> None:
        self.held.pop(key, None)

    def park(self, key: Hashable) -> Parked:
        return self.held.pop(key)

    def stop(self) -> None: ...

    def close(self) -> None:
        self.closed = True


@dataclass
class Problem:
    """An objective with lanes."""

    epochs: int = 3
    errors: dict[Any, BaseException] = field(default_factory=dict)
    most: int = 0
    runners: list[Runner] = field(default_factory=list)

    def open_lanes(self, lanes: int | str, workers: int | None = None) -> Runner:
        self.runners.append(Runner(self, 4 if isinstance(lanes, str) else lanes))
        return self.runners[-1]

    def begin(self, trial: Trial) -> Curve:
        return Curve(trial.suggest_float("x", 0.0, 1.0))

    def __call__(self, trial: Trial) -> Any:
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(1, self.epochs + 1):
            yield {"loss": x / step}


@pytest.mark.parametrize("lanes", [1, 3, 8, 50, "auto"])
def test_random_search_is_the_same_in_any_number_of_lanes(lanes: Any) -> None:
    alone, side_by_side = (ts.create_study(seed=3, space=SPACE, sampler="random", pruner="nop") for _ in range(2))
    alone.optimize(Problem(), 20)
    problem = Problem()
    side_by_side.optimize(problem, 20, lanes=lanes)
    assert [t.params for t in side_by_side.trials] == [t.params for t in alone.trials]
    assert [t.value for t in side_by_side.trials] == [t.value for t in alone.trials]
    assert [t.intermediate_values for t in side_by_side.trials] == [t.intermediate_values for t in alone.trials]
    assert problem.most == min(4 if lanes == "auto" else lanes, 20)
    assert all(r.closed for r in problem.runners)
    assert {t.user_attrs["lane_seconds"] for t in side_by_side.trials} == {0.75}
    assert {t.user_attrs["note"] for t in side_by_side.trials} == {"done"}


@dataclass(frozen=True)
class Counting(BaseSampler):
    """Says how many it was asked for, and how many were running."""

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        return [Proposal({"x": i / n}, {"n": float(n), "running": float(len(history.running))}) for i in range(n)]


def test_a_batch_is_one_question_to_the_sampler() -> None:
    study = ts.create_study(sampler=Counting(), space=SPACE, seed=0, pruner="nop")
    study.optimize(Problem(), 10, lanes=4)
    order = np.argsort(study.history.number)
    assert study.history.tag("n")[order].ravel().tolist() == [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
    assert study.history.tag("running")[order].ravel().tolist() == [0] * 10
    assert sorted(t.params["x"] for t in study.trials[:4]) == [0, 0.25, 0.5, 0.75]
    records = study.storage.read(study.storage.studies()[0].id)
    assert [sum(e["e"] == "ask" for e in record) for record in records if any(e["e"] == "ask" for e in record)] == [
        4,
        4,
        2,
    ]


class Half(BasePruner):
    """Stops odd trials after the first epoch."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.STOP if trial.number % 2 else Verdict.GO


def test_stopped_lanes_are_refilled() -> None:
    study = ts.create_study(pruner=Half(), space=SPACE, seed=1)
    study.optimize(Problem(), 12, lanes=4)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED] * 6
    assert [len(t.intermediate_values) for t in study.trials] == [3, 1] * 6


class InTurns(BasePruner):
    """Pauses each trial after every epoch; the fewest epochs go on first, new ones before them."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        paused = [t for t in history.open if t.state == TrialState.PAUSED]
        paused.sort(key=lambda t: (len(t.reports), t.number))
        running = [t for t in history.open if t.state == TrialState.RUNNING]
        rest = Idle.WAIT if running else Idle.DONE
        return (Start(), *(Continue(t.number) for t in paused if len(t.reports) < 3), rest)


def test_paused_lanes_go_on_where_they_were() -> None:
    study = ts.create_study(pruner=InTurns(), space=SPACE, seed=1)
    study.optimize(Problem(), 6, lanes=2, keep_paused=True)
    assert {t.state for t in study.trials} == {TrialState.PAUSED}
    for t in study.trials:
        assert t.intermediate_values == {k: t.params["x"] / k for k in (1, 2, 3)}


def test_what_was_paused_in_a_lane_begins_again_alone() -> None:
    study = ts.create_study(pruner=InTurns(), space=SPACE, seed=1)
    problem = Problem()
    study.optimize(problem, 2, lanes=2, keep_paused=True)
    kept = [work.kept for work in study._paused.values()]
    study.pruner = ForgetsPauses()
    study.optimize(problem, 2)
    assert [t.state for t in study.trials[:2]] == [TrialState.COMPLETE] * 2
    assert all(curve.closed for curve in kept)


class ForgetsPauses(BasePruner):
    """Continues everything, pauses nothing."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO

    def schedule(self, history: History) -> Schedule:
        paused = [Continue(t.number) for t in history.open if t.state == TrialState.PAUSED]
        return (*paused, Start())


def test_one_that_raises_takes_nobody_with_it() -> None:
    study = ts.create_study(space=SPACE, seed=1, pruner="nop")
    problem = Problem(errors={(1, 2): ValueError("too hot"), (2, 1): ArithmeticError("NaN")})
    study.optimize(problem, 8, lanes=4, catch=(ValueError, ArithmeticError))
    states = [t.state for t in study.trials]
    assert [k for k, state in enumerate(states) if state == TrialState.FAIL] == [1, 2]
    assert states.count(TrialState.COMPLETE) == 6


def test_an_error_that_is_not_caught_ends_the_loop_and_gives_the_others_back() -> None:
    study = ts.create_study(space=SPACE, seed=1, pruner="nop")
    problem = Problem(errors={(1, 2): ValueError("too hot")})
    with pytest.raises(ValueError, match="too hot"):
        study.optimize(problem, 8, lanes=4)
    assert [t.state.name for t in study.trials] == ["WAITING", "FAIL", "WAITING", "WAITING"]
    assert problem.runners[0].closed
    whole = ts.create_study(space=SPACE, seed=1, pruner="nop")
    whole.optimize(Problem(), 8)
    problem.errors.clear()
    study.optimize(problem, 7, lanes=3)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
    assert [t.value for t in study.trials if t.number != 1] == [t.value for t in whole.trials if t.number != 1]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_gives_all_back(interrupt: type[BaseException]) -> None:
    study = ts.create_study(space=SPACE, seed=1, pruner="nop")
    problem = Problem(errors={(2, 2): interrupt()})
    with pytest.raises(interrupt):
        study.optimize(problem, 8, lanes=4)
    assert {t.state for t in study.trials} == {TrialState.WAITING}
    problem.errors.clear()
    study.optimize(problem, 8, lanes=4)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 8


def test_stop_from_a_callback_lets_the_lanes_finish() -> None:
    study = ts.create_study(space=SPACE, seed=1, pruner="nop")
    study.optimize(Problem(), 50, lanes=4, callbacks=[lambda s, t: s.stop()])
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4


def test_enqueued_trials_fill_lanes_first() -> None:
    study = ts.create_study(space=SPACE, seed=1, pruner="nop")
    for x in (0.5, 0.25, 0.125):
        study.enqueue_trial({"x": x})
    study.optimize(Problem(), 5, lanes=4)
    assert [t.params["x"] for t in study.trials[:3]] == [0.5, 0.25, 0.125]
    other = ts.create_study(space=SPACE, seed=1, pruner="nop")
    other.optimize(Problem(), 5)
    assert [t.params for t in study.trials[3:]] == [t.params for t in other.trials[3:]]


def test_a_finite_search_ends_with_what_there_is() -> None:
    study = ts.create_study(sampler=ts.samplers.GridSampler({"x": [0.0, 0.25, 1.0]}), space=SPACE, pruner="nop")
    study.optimize(Problem(), 20, lanes=2)
    assert sorted(t.params["x"] for t in study.trials) == [0.0, 0.25, 1.0]


def test_lanes_on_disk_survive_a_restart(tmp_path: Any) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    study = ts.create_study(study_name="s", storage=storage, space=SPACE, seed=7, pruner="nop", sampler=RandomSampler())
    problem = Problem(errors={(5, 1): KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        study.optimize(problem, 12, lanes=4)
    again = ts.load_study(study_name="s", storage=storage)
    again.optimize(Problem(), 12 - len(again.get_trials(states=[TrialState.COMPLETE])), lanes=5)
    whole = ts.create_study(space=SPACE, seed=7, sampler="random", pruner="nop")
    whole.optimize(Problem(), 12)
    assert [t.value for t in again.trials] == [t.value for t in whole.trials]


def test_arguments_that_are_impossible() -> None:
    study = ts.create_study(space=SPACE)
    with pytest.raises(InvalidTypeError, match="offers them"):
        study.optimize(lambda t: 0.0, 1, lanes=4)
    for lanes in (0, -1, 1.5, "many", True):
        with pytest.raises(InvalidValueError, match="lanes"):
            study.optimize(Problem(), 1, lanes=lanes)
    assert study.trials == []


def test_the_contract_of_a_lane_is_kept_in_order() -> None:
    """What a lane says after it was stopped is not heard."""

    class Talkative(Runner):
        def step(self) -> Iterable[LaneEvent]:
            for key in deque(self.held):
                yield LaneEvent(key, item=1.0)
                yield LaneEvent(key, item=2.0)
                self.held.pop(key, None)
                yield LaneEvent(key, value=2.0)

    class Chatty(Problem):
        def open_lanes(self, lanes: int | str, workers: int | None = None) -> Runner:
            return Talkative(self, 2)

    study = ts.create_study(pruner=Half(), space=SPACE)
    study.optimize(Chatty(), 4, lanes=2)
    assert [len(t.intermediate_values) for t in study.trials] == [2, 1, 2, 1]
