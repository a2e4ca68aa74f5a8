"""Trials in lanes: a configuration's result is its own, whatever shares the stack, and nobody takes others along."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tunesmith as ts
from tunesmith._machine import cores
from tunesmith.executors.lanes import LaneEvent
from tunesmith.train import Problem
from tunesmith.train.job import Job
from tunesmith.train.lanes import choice, measuring, opening
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.catalogue import Kind
from tunesmith.train.lanes.choice import Load, Planner
from tunesmith.train.lanes.engine import Engine, Step
from tunesmith.train.lanes.kinds import SimdKind, StackKind
from tunesmith.train.lanes.remembered import Remembered
from tunesmith.train.lanes.runner import Runner

SMALL: dict[str, Any] = {"data": "digits", "epochs": 2, "n_train": 96, "n_validation": 60, "n_test": 50}
#: How far a loss after a few epochs may be from that of the ordinary loop.
CLOSE = 2e-4
KINDS = [SimdKind, StackKind]


class Stacked(Planner):
    """One kind of engine for everything."""

    def __init__(self, kind: Kind | None) -> None:
        super().__init__([] if kind is None else [kind], Load(1, 1))
        self._only = kind

    def _choose(self, job: Job, bucket: Any) -> Kind | None:
        return None if self._only is None or self._only.refuses(job) else self._only


def configurations(problem: Problem, n: int, seed: int = 0) -> list[dict[str, Any]]:
    rows = problem.space.decode(
        torch.rand(n, len(problem.space), generator=torch.Generator().manual_seed(seed)).numpy()
    )
    return [problem.space.to_params(row) for row in rows]


def alone(problem: Problem, params: dict[str, Any], number: int) -> list[dict[str, float]]:
    return list(problem.train(params, problem.training_seed(number, params)))


def drive(runner: Runner, problem: Problem, waiting: list[tuple[int, dict[str, Any]]]) -> dict[int, list[LaneEvent]]:
    """Evaluate all, refilling lanes as they get free; the events by trial."""
    heard: dict[int, list[LaneEvent]] = {number: [] for number, _ in waiting}
    left, queue = len(waiting), list(waiting)
    try:
        while left:
            while queue and runner.room() > 0:
                number, params = queue.pop(0)
                runner.start(number, problem.evaluation(params, problem.training_seed(number, params)))
            for event in runner.step():
                heard[event.key].append(event)
                left -= event.item is None
    finally:
        runner.close()
    return heard


def reports(events: list[LaneEvent]) -> list[dict[str, float]]:
    return [event.item for event in events if event.item is not None]


def values(heard: dict[int, list[LaneEvent]]) -> dict[int, list[float]]:
    return {number: [r["val_loss"] for r in reports(events)] for number, events in heard.items()}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem(model="cnn", space="small", fixed={"dropout": 0.3, "batch_size": 32}, **SMALL)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_lane_gives_what_the_loop_gives(kind: type[Kind] | None, problem: Problem) -> None:
    waiting = list(enumerate(configurations(problem, 5)))
    heard = drive(Runner(Stacked(kind and kind()), 5, 2), problem, waiting)
    for number, params in waiting:
        expected = alone(problem, params, number)
        found = reports(heard[number])
        assert [list(r) for r in found] == [list(r) for r in expected]
        for a, b in zip(found, expected, strict=True):
            assert a["val_loss"] == pytest.approx(b["val_loss"], abs=0 if kind is None else CLOSE)
            assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-12 if kind is None else CLOSE)
        assert heard[number][-1].item is None
        assert heard[number][-1].seconds > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_lanes_changes_no_bit(kind: type[Kind], problem: Problem) -> None:
    """Other neighbours, other places, refilled at other times, stacks of other widths."""
    waiting = list(enumerate(configurations(problem, 11)))
    first = values(drive(Runner(Stacked(kind()), 1, 1), problem, waiting[:3]))
    for lanes, workers, order in ((3, 1, 1), (11, 2, -1), (16, 1, 1)):
        found = values(drive(Runner(Stacked(kind()), lanes, workers), problem, waiting[::order]))
        for number in first:
            assert found[number] == first[number], (lanes, number)


def test_events_come_in_an_order_that_no_clock_decides(problem: Problem) -> None:
    waiting = list(enumerate(configurations(problem, 9)))

    def order() -> list[Any]:
        runner, queue, seen = Runner(Stacked(SimdKind()), 6, 2), list(waiting), []
        while queue or runner.room() < 6:
            while queue and runner.room() > 0:
                number, params = queue.pop(0)
                runner.start(number, problem.evaluation(params, number))
            seen += [(event.key, event.item) for event in runner.step()]
        runner.close()
        return seen

    assert order() == order()


@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize(
    "options",
    [
        {"folds": 3},
        {"executions_per_trial": 2},
        {"fixed": {"patience": 1, "schedule": "plateau", "batch_size": 32}, "epochs": 5},
        {"fixed": {"optimizer": "nadam", "mixup": 0.4, "flip": True, "label_smoothing": 0.1, "clip_norm": 1.0,
                   "l1": 1e-4}},
    ],
    ids=["folds", "executions", "patience", "all-sorts"],
)  # fmt: skip
def test_every_way_to_measure(kind: type[Kind] | None, options: dict[str, Any]) -> None:
    problem = Problem(model="mlp", space=ts.Space({"lr": ts.Float(1e-3, 1e-2)}), **{**SMALL, **options})
    waiting = list(enumerate(configurations(problem, 3)))
    heard = drive(Runner(Stacked(kind and kind()), 3, 1), problem, waiting)
    for number, params in waiting:
        expected, found = alone(problem, params, number), reports(heard[number])
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert list(a) == list(b)
            assert a["val_loss"] == pytest.approx(b["val_loss"], abs=0 if kind is None else CLOSE)


def test_weights_of_a_lane_are_those_of_the_loop(problem: Problem) -> None:
    """What evaluates a network afterwards finds it trained; with patience it is the best one."""
    patient = Problem(**{**problem._fields(), "epochs": 4, "fixed": {**problem.fixed, "patience": 1}})
    params = {"lr": 0.05, "momentum": 0.9}
    evaluation = patient.test_evaluation(params, 3)
    runner = Runner(Stacked(SimdKind()), 1, 1)
    runner.start(0, evaluation)
    for _ in range(100):
        if any(event.item is None for event in runner.step()):
            break
    runner.close()
    expected = patient.evaluate_test(params, 3)
    assert list(evaluation.outcome) == list(expected)
    assert evaluation.outcome["test_loss"] == pytest.approx(expected["test_loss"], abs=CLOSE)


# -- trouble -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_training_that_diverges_fails_alone(kind: type[Kind] | None, problem: Problem) -> None:
    wild = Problem(**{**problem._fields(), "space": ts.Space({"lr": ts.Float(1e-3, 1e9)})})
    calm = [(0, {"lr": 0.01}), (2, {"lr": 0.02})]
    hot = [(1, {"lr": 1e9}), (3, {"lr": 1e8})]
    together = drive(Runner(Stacked(kind and kind()), 4, 1), wild, sorted(calm + hot))
    without = drive(Runner(Stacked(kind and kind()), 4, 1), wild, calm)
    for number, _ in calm:
        assert values(together)[number] == values(without)[number]
    for number, _ in hot:
        end = together[number][-1]
        assert end.value != end.value  # NaN
        assert "diverged in epoch" in dict(end.attributes)["fail_reason"]


def test_impossible_architectures_fail_alone() -> None:
    space = ts.Space({"layers": ts.Int(1, 4), "kernel_size": ts.Int(3, 9)})
    problem = Problem(model="cnn", space=space, fixed={"padding": "valid"}, **SMALL)
    study = ts.create_study(space=space, pruner="nop")
    for layers, kernel in ((1, 3), (4, 9), (1, 3)):
        study.enqueue_trial({"layers": layers, "kernel_size": kernel})
    study.optimize(problem, 3, lanes=3)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "too small" in study.trials[1].user_attrs["fail_reason"] or study.trials[1].user_attrs["fail_reason"]


class Narrow(SimdKind):
    """An engine that fails in wide stacks, and with certain networks."""

    fails: Callable[[Engine], Exception | None] = staticmethod(lambda engine: None)

    def make(self, job: Job, lanes: int) -> Engine:
        engine = super().make(job, lanes)
        whole = engine.step

        def step(what: Step) -> Any:
            found = whole(what)
            if (error := self.fails(engine)) is not None:
                raise error
            return found

        engine.step = step  # type: ignore[method-assign]
        return engine


def used(engine: Engine) -> int:
    return int((engine.parameters.abs().sum(0) > 0).sum())


def test_too_little_memory_halves_the_lanes(problem: Problem, caplog: Any) -> None:
    class Small(Narrow):
        fails = staticmethod(lambda engine: torch.OutOfMemoryError("CUDA out of memory") if used(engine) > 2 else None)

    waiting = list(enumerate(configurations(problem, 7)))
    found = values(drive(Runner(Stacked(Small()), 7, 1), problem, waiting))
    assert found == values(drive(Runner(Stacked(SimdKind()), 7, 1), problem, waiting))


def test_stacks_that_cannot_be_made_are_made_narrower(problem: Problem) -> None:
    class Poor(SimdKind):
        def make(self, job: Job, lanes: int) -> Engine:
            raise torch.OutOfMemoryError("CUDA out of memory")

    waiting = list(enumerate(configurations(problem, 5)))
    found = values(drive(Runner(Stacked(Poor()), 5, 2), problem, waiting))
    for number, params in waiting:
        assert found[number] == [r["val_loss"] for r in alone(problem, params, number)]


def test_an_interrupt_does_not_wait_for_the_end_of_the_epoch() -> None:
    long = Problem(model="cnn", data="digits", space="small", epochs=2, fixed={"batch_size": 1})
    runner = Runner(Stacked(None), 1, 1)
    runner.start(0, long.evaluation({"lr": 0.01, "momentum": 0.5}, 0))
    threading.Timer(0.2, runner.stop).start()
    begin = time.perf_counter()
    assert list(runner.step()) == []
    stopped = time.perf_counter() - begin
    runner.close()
    begin = time.perf_counter()
    next(long.train({"lr": 0.01, "momentum": 0.5}, 0))
    assert stopped < 0.2 + 0.7 * (time.perf_counter() - begin)


def test_one_that_breaks_the_stack_goes_on_alone_and_the_others_in_theirs(problem: Problem) -> None:
    marked = Problem(**{**problem._fields(), "space": ts.Space({"lr": ts.Float(1e-3, 1.0)})})
    waiting = [(k, {"lr": 0.01 * (k + 1)}) for k in range(6)]
    seed = marked.training_seed(3, {})
    bad = next(iter(marked.evaluation(waiting[3][1], seed).next_job().network.parameters())).flatten()[0]  # type: ignore[union-attr]

    class Allergic(Narrow):
        def make(self, job: Job, lanes: int) -> Engine:
            engine = super().make(job, lanes)
            load = engine.load

            def watched(lane: int, network: Any) -> None:
                engine.marked |= next(iter(network.parameters())).flatten()[0] == bad  # type: ignore[attr-defined]
                load(lane, network)

            engine.marked = False  # type: ignore[attr-defined]
            engine.load = watched  # type: ignore[method-assign]
            return engine

        fails = staticmethod(lambda engine: RuntimeError("bad kernel") if engine.marked else None)

    heard = drive(Runner(Stacked(Allergic()), 6, 2), marked, waiting)
    expected = values(drive(Runner(Stacked(SimdKind()), 6, 2), marked, waiting))
    for number, events in heard.items():
        if number == 3:  # it went on by the ordinary loop
            assert values(heard)[number] == [r["val_loss"] for r in alone(marked, waiting[3][1], 3)]
            assert events[-1].error is None
        else:
            assert values(heard)[number] == expected[number]


@pytest.mark.parametrize("lanes", [None, 4])
def test_what_fails_a_trial_alone_fails_it_in_lanes(lanes: int | None) -> None:
    """Too little memory, batches of one image with batch normalisation, a data set with NaN: one trial each."""
    for space, fixed, reason in (
        ({"width_1": ts.Categorical([16, 10**13])}, {}, "Out of memory"),
        ({"batch_size": ts.Categorical([32, 1])}, {"norm_layer": "batch"}, "more than 1 value per channel"),
    ):
        whole = ts.Space({"lr": ts.Float(0.01, 0.1), **space})
        odd = Problem(model="mlp", space=whole, fixed=fixed, **SMALL)
        study = ts.create_study(space=whole, pruner="nop")
        (name,) = space
        for k in range(4):
            study.enqueue_trial({"lr": 0.05, name: space[name].choices[k == 2]})
        study.optimize(odd, 4, lanes=lanes)
        assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
        assert reason in study.trials[2].user_attrs["fail_reason"]


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_parked_lane_goes_on_as_if_it_had_not_been(kind: type[Kind] | None, problem: Problem) -> None:
    longer = Problem(**{**problem._fields(), "epochs": 4, "fixed": {**problem.fixed, "schedule": "cosine"}})
    waiting = list(enumerate(configurations(longer, 4)))
    expected = values(drive(Runner(Stacked(kind and kind()), 4, 1), longer, waiting))
    first, second = Runner(Stacked(kind and kind()), 4, 1), Runner(Stacked(kind and kind()), 4, 2)
    found: dict[int, list[float]] = {number: [] for number, _ in waiting}
    for number, params in waiting:
        first.start(number, longer.evaluation(params, longer.training_seed(number, params)))
    while any(len(f) < 1 + k % 3 for k, f in found.items()):
        for event in first.step():
            found[event.key].append(event.item["val_loss"])
            if len(found[event.key]) == 1 + event.key % 3:
                second.resume(("again", event.key), first.park(event.key))
    for _ in range(40):
        for event in second.step():
            if event.item is not None:
                found[event.key[1]].append(event.item["val_loss"])
    first.close()
    second.close()
    assert found == expected


def test_dropped_lanes_make_room(problem: Problem) -> None:
    runner = Runner(Stacked(SimdKind()), 3, 1)
    for number, params in enumerate(configurations(problem, 3)):
        runner.start(number, problem.evaluation(params, number))
    assert runner.room() == 0
    events = []
    for event in runner.step():
        events.append(event)
        runner.drop(event.key)
    assert len(events) == 3
    assert runner.room() == 3
    assert list(runner.step()) == []
    runner.close()


@pytest.mark.parametrize("kind", [None, SimdKind])
def test_lanes_may_be_dropped_while_they_compute(kind: type[Kind] | None, problem: Problem) -> None:
    waiting = list(enumerate(configurations(problem, 4)))
    expected = values(drive(Runner(Stacked(kind and kind()), 4, 2), problem, waiting))
    runner = Runner(Stacked(kind and kind()), 4, 2)  # two blocks or more, so that some compute while others are heard
    for number, params in waiting:
        runner.start(number, problem.evaluation(params, problem.training_seed(number, params)))
    found: dict[int, list[float]] = {number: [] for number, _ in waiting}
    events = list(runner.step())
    dropped = max(found)
    runner.drop(dropped)
    assert runner.room() == 1
    while runner.room() < 4:
        events += runner.step()
    runner.close()
    for event in events:
        if event.item is not None:
            found[event.key].append(event.item["val_loss"])
    for number in range(3):
        assert found[number] == expected[number]
    assert len(found[dropped]) <= 1


@pytest.mark.parametrize("kind", [None, SimdKind])
def test_closing_does_not_wait_for_the_end_of_epochs(kind: type[Kind] | None) -> None:
    long = Problem(model="cnn", data="digits", space="small", epochs=2, fixed={"batch_size": 1})
    runner = Runner(Stacked(kind and kind()), 2, 2)
    params = {"lr": 0.01, "momentum": 0.5}
    runner.start("warm", long.evaluation(params, 0))
    seconds = time.perf_counter()
    list(runner.step())
    seconds = time.perf_counter() - seconds  # of an epoch
    runner._arrange()
    begin = time.perf_counter()
    runner.close()
    assert time.perf_counter() - begin < max(0.5 * seconds, 0.2)


# -- which engine ------------------------------------------------------------------------------------------------


def job_of(problem: Problem) -> Job:
    job = problem.evaluation({"lr": 0.01, "momentum": 0.5}, 1).next_job()
    assert job is not None
    return job


#: Milliseconds of a step: 8 lanes cost what 3 trainings alone do.
STEPS = {"solo": 1.0, "simd 8": 3.0, "simd 16": 5.0, "stack 1": 2.0, "stack 2": 2.0, "stack 4": 2.0, "stack 8": 4.0,
         "stack 16": 8.0}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: Any) -> list[str]:
    """Names of what is measured; it takes as long as STEPS say."""
    names: list[str] = []

    def seconds(job: Job, kind: Kind | None, lanes: int) -> float:
        names.append("solo" if kind is None else f"{kind.name} {lanes}")
        return STEPS[names[-1]] / 1000

    monkeypatch.setattr(choice, "_WORTH_STEPS", 1)
    monkeypatch.setattr(measuring, "seconds", seconds)
    monkeypatch.setattr(SimdKind, "width", lambda self, lanes: 8 if lanes <= 8 else 16)
    return names


def chosen(job: Job, load: Load, memory: Path | None = None) -> str:
    kind = Planner([SimdKind(), StackKind()], load, memory=memory).kind(job, Bucket.of(job))
    return "solo" if kind is None else kind.name


@pytest.mark.parametrize(
    ("lanes", "workers", "crowd", "engine"),
    [
        (1, 1, 1.0, "solo"),
        (2, 1, 1.0, "solo"),  # 2 ms for both, as with stack 2: the simpler one
        (3, 1, 1.0, "stack"),  # 2 ms instead of 3
        (6, 1, 1.0, "simd"),  # 3 ms instead of 4 and 6
        (4, 2, 1.0, "solo"),  # two at a time: 2 ms; so have two stacks of two
        (8, 2, 1.0, "stack"),  # two of 4: 2 ms; one of 8 SIMD lanes 3 ms
        (16, 2, 1.0, "simd"),  # two of 8: 3 ms
        (64, 2, 1.0, "simd"),
        (16, 2, 1 / 15, "solo"),  # two of a kind on average: eight buckets of 2 ms on 2 cores; alone 8 ms too
        (16, 2, 3 / 15, "stack"),  # of four
        (16, 2, 0.0, "solo"),
    ],
)
def test_few_lanes_are_not_stacked(
    lanes: int, workers: int, crowd: float, engine: str, problem: Problem, asked: list[str]
) -> None:
    assert chosen(job_of(problem), Load(lanes, workers, crowd)) == engine
    assert bool(asked) == (1 + (lanes - 1) * crowd >= 1.5)


def test_what_is_measured_is_remembered(problem: Problem, asked: list[str], tmp_path: Path) -> None:
    memory, job = tmp_path / "deep" / "lanes.jsonl", job_of(problem)
    for _ in range(2):
        assert chosen(job, Load(16, 2), memory) == "simd"
    assert asked == ["solo", "simd 8", "stack 8"]
    assert chosen(job, Load(3, 1), memory) == "stack"  # only what is new for three lanes
    assert asked[3:] == ["stack 4"]
    whole = memory.read_text()
    memory.write_text("{broken\n" + whole[: len(whole) // 2])
    assert chosen(job, Load(16, 2), memory) == "simd"
    assert asked[4:] == ["stack 8"]


def test_the_first_measurement_counts_for_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "lanes.jsonl"
    first, second = Remembered(path), Remembered(path)
    assert first.get("a") is None
    assert second.get("a") is None
    assert second.keep("a", 2.0) == 2.0
    path.write_text(path.read_text() + '{"key": "torn')
    assert first.keep("a", 1.0) == 2.0
    assert first.keep("b", 3.0) == 3.0
    assert [second.get("a"), second.get("b"), Remembered(path).get("b")] == [2.0, 3.0, 3.0]
    blocked = tmp_path / "file" / "lanes.jsonl"
    blocked.parent.write_text("")
    assert Remembered(blocked).keep("a", 1.0) == 1.0


def test_what_cannot_be_measured_is_not_chosen_and_not_remembered(
    problem: Problem, monkeypatch: Any, tmp_path: Path
) -> None:
    class Poor(SimdKind):
        def make(self, job: Job, lanes: int) -> Engine:
            raise torch.OutOfMemoryError("CUDA out of memory")

    job, memory = job_of(problem), tmp_path / "lanes.jsonl"
    monkeypatch.setattr(choice, "_WORTH_STEPS", 1)
    monkeypatch.setattr(measuring, "_LONG", 0.0)
    assert Planner([Poor()], Load(8, 1), memory=memory).kind(job, Bucket.of(job)) is None
    assert "simd" not in memory.read_text()
    assert "solo" in memory.read_text()


def test_short_trainings_are_stacked_unmeasured_when_there_are_enough(problem: Problem) -> None:
    job, bucket = job_of(problem), Bucket.of(job_of(problem))
    assert Planner([StackKind()], Load(8, 1)).kind(job, bucket) is None
    if not SimdKind().refuses(job):
        assert Planner([SimdKind()], Load(7, 1)).kind(job, bucket) is None
        assert Planner([SimdKind()], Load(8, 1)).kind(job, bucket) is not None


def test_a_measurement_changes_nothing(problem: Problem) -> None:
    job = job_of(problem)
    before = [p.clone() for p in job.network.parameters()]
    times = [measuring.seconds(job, kind, 8) for kind in (None, SimdKind(), StackKind())]
    assert all(0 < seconds < 1 for seconds in times)
    assert all(torch.equal(a, b) for a, b in zip(before, job.network.parameters(), strict=True))


def test_waiting_for_a_busy_machine_is_not_measured(monkeypatch: Any) -> None:
    class Waiting(StackKind):
        def make(self, job: Job, lanes: int) -> Engine:
            engine = super().make(job, lanes)
            whole = engine.step

            def step(what: Step) -> Any:
                time.sleep(0.03)
                return whole(what)

            engine.step = step  # type: ignore[method-assign]
            return engine

    if time.get_clock_info("thread_time").resolution > 1e-6:
        pytest.skip("no clock for a thread")
    monkeypatch.setattr(measuring, "_LONG", 0.0)
    job = job_of(Problem(model="mlp", space="small", device="cpu", **SMALL))
    assert measuring.seconds(job, Waiting(), 2) < 0.03


@pytest.mark.parametrize("lanes", [5, 8, 12])
def test_a_block_is_filled_before_the_next_is_begun(lanes: int, problem: Problem) -> None:
    runner = Runner(Stacked(SimdKind()), lanes, 2)
    for number, params in enumerate(configurations(problem, lanes)):
        runner.start(number, problem.evaluation(params, number))
    runner._arrange()
    held = [len(block.held) for blocks in runner._blocks.values() for block in blocks]
    runner.close()
    assert held == ([8, 4] if lanes == 12 else [lanes])


def test_stacks_are_for_problems_whose_configurations_meet() -> None:
    same = Problem(model="cnn", space="small", **SMALL)
    assert opening.crowd(opening._sample(same)) == 1.0
    widths = ts.Space({"width_1": ts.Int(10, 500), "lr": ts.Float(0.01, 0.1)})
    apart = Problem(model="mlp", space=widths, **SMALL)
    assert opening.crowd(opening._sample(apart)) < 1 / 16
    runner = apart.open_lanes(4)
    assert runner.planner.load == Load(4, cores(), 0.0)
    runner.close()


def test_auto_is_a_stack_for_each_worker_or_a_training() -> None:
    same = Problem(model="cnn", space="small", **SMALL)
    apart = Problem(model="mlp", space=ts.Space({"width_1": ts.Int(10, 500)}), **SMALL)
    for known, workers in ((same, 3), (apart, 2)):
        runner = known.open_lanes("auto", workers)
        job = known.evaluation(opening._sample(known)[0].params, 0).next_job()
        assert job is not None
        stacked = known is same and not SimdKind().refuses(job)
        assert runner.lanes == workers * (SimdKind().widest(job) if stacked else 1)
        assert runner.planner.load.lanes == runner.lanes
        runner.close()


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: Any) -> None:
    monkeypatch.setenv("TUNESMITH_LANES", "")


def test_a_study_in_lanes(problem: Problem) -> None:
    """End to end: buckets that cannot be fused side by side, and the study's own view."""
    space = ts.Space({"lr": ts.Float(1e-3, 1e-1, log=True), "batch_size": ts.Categorical([16, 32])})
    mixed = Problem(**{**problem._fields(), "space": space, "fixed": {"dropout": 0.2}})
    alone, lanes = (ts.create_study(seed=4, space=space, pruner="nop") for _ in range(2))
    alone.optimize(mixed, 7)
    lanes.optimize(mixed, 7, lanes=4)
    assert [t.params for t in lanes.trials] == [t.params for t in alone.trials]
    assert [t.value for t in lanes.trials] == pytest.approx([t.value for t in alone.trials], abs=CLOSE)
    for a, b in zip(lanes.trials, alone.trials, strict=True):
        assert list(a.intermediate_values) == list(b.intermediate_values)
        assert set(a.metrics) == set(b.metrics)
        assert a.user_attrs["lane_seconds"] > 0
