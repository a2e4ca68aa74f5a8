"""Networks that draw from torch's global random numbers: repeatable all the same, and nobody else is disturbed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tunesmith as ts
from tunesmith import logging as own_logging
from tunesmith.train import Problem, global_random
from tunesmith.train.global_random import Watch, seeded
from tunesmith.train.lanes.functional import FunctionalEngine
from tunesmith.train.loop import Training, evaluate

SMALL: dict[str, Any] = {"data": "digits", "epochs": 3, "n_train": 96, "n_validation": 40, "n_test": 20}
SHAPE, CLASSES = (1, 8, 8), 10


class Base(nn.Module):
    def __init__(self, n_classes: int, width: int = 16) -> None:
        super().__init__()
        self.first, self.last = nn.LazyLinear(width), nn.Linear(width, n_classes)

    def between(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x.flatten(1)).relu()))


class Functional(Base):
    def between(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.4, self.training)


class Noisy(Base):
    """Also in evaluation."""

    def between(self, x: Tensor) -> Tensor:
        return x + 0.5 * torch.rand_like(x)


class Attentive(Base):
    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes, 8)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)

    def between(self, x: Tensor) -> Tensor:
        tokens = x[:, None] * torch.eye(8)
        mixed: Tensor = self.attention(tokens, tokens, tokens)[0].mean(1)
        return mixed


class Recurrent(Base):
    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes, 8)
        self.cell = nn.GRU(1, 8, num_layers=2, dropout=0.4, batch_first=True)

    def between(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x[..., None])[0][:, -1]
        return states


def channels(n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Dropout2d(0.4), nn.Flatten(), nn.LazyLinear(n_classes))


class Calm(Base):
    def between(self, x: Tensor) -> Tensor:
        return x * 2.0


DRAWING: list[Any] = [Functional, Noisy, Attentive, Recurrent, channels]


def problem(model: Callable[..., nn.Module], **options: Any) -> Problem:
    space = ts.Space({"lr": ts.Float(1e-3, 1e-1)})
    return Problem(**{**SMALL, "model": model, "space": space, "fixed": {"batch_size": 32}, "device": "cpu", **options})


def trained(known: Problem, seed: int = 5) -> list[dict[str, float]]:
    return list(known.train({"lr": 0.05}, seed))


@pytest.mark.parametrize("model", DRAWING)
def test_results_are_repeatable_and_the_users_stream_is_left_alone(model: Any) -> None:
    known = problem(model)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = trained(known)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert trained(known) == first
    assert trained(known, 6) != first


def test_every_step_draws_anew() -> None:
    seen: list[Tensor] = []

    class Listening(Base):
        def between(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(torch.rand(4))
            return x

    trained(problem(Listening))
    assert len(seen) == 9
    assert len({tuple(each.tolist()) for each in seen}) == 9


@pytest.mark.parametrize("model", [Functional, Noisy])
def test_a_resumed_training_gives_the_same_bits(model: Any) -> None:
    known = problem(model)

    def training() -> Training:
        job = known.evaluation({"lr": 0.05}, 5).next_job()
        assert job is not None
        return Training(job)

    whole, first, second = training(), training(), training()
    expected = [whole.epoch() for _ in range(3)]
    found = [first.epoch()]
    second.restore(first.state())
    torch.manual_seed(9)
    found += [second.epoch() for _ in range(2)]
    assert found == expected


@pytest.mark.parametrize("model", [Functional, Recurrent, channels])
def test_lanes_and_threads_give_what_a_training_alone_gives(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_LANES", "")
    known = problem(model)
    alone, lanes, threads = (ts.create_study(seed=3, space=known.space, pruner="nop") for _ in range(3))
    alone.optimize(known, 4)
    lanes.optimize(known, 4, lanes=4)
    threads.optimize(known, 4, n_jobs=2)
    expected = {t.number: t.intermediate_values for t in alone.trials}
    assert {t.number: t.intermediate_values for t in lanes.trials} == expected
    assert {t.number: t.intermediate_values for t in threads.trials} == expected


@pytest.mark.parametrize("model", DRAWING)
def test_they_are_never_stacked(model: Any) -> None:
    job = problem(model).evaluation({"lr": 0.05}, 5).next_job()
    assert job is not None
    state = torch.get_rng_state()
    assert FunctionalEngine.supports(job.network, SHAPE, CLASSES, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    calm = problem(Calm).evaluation({"lr": 0.05}, 5).next_job()
    assert calm is not None
    assert FunctionalEngine.supports(calm.network, SHAPE, CLASSES, torch.device("cpu")) == ""


def test_draws_outside_of_torchs_dispatcher_are_seen_too() -> None:
    class Sly(Base):
        def between(self, x: Tensor) -> Tensor:
            torch.default_generator.manual_seed(7)
            return x

    job = problem(Sly).evaluation({"lr": 0.05}, 5).next_job()
    assert job is not None
    reason = FunctionalEngine.supports(job.network, SHAPE, CLASSES, torch.device("cpu"))
    assert reason == "it draws from torch's global random numbers"


def test_evaluation_draws_the_same_each_time() -> None:
    job = problem(Noisy).evaluation({"lr": 0.05}, 5).next_job()
    assert job is not None
    first = evaluate(job.network, job.validation)
    torch.rand(3)
    assert torch.equal(evaluate(job.network, job.validation), first)


# -- the watch ---------------------------------------------------------------------------------------------------


def test_only_the_first_piece_of_calm_work_is_seeded() -> None:
    network, sequence = Calm(3), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    images = torch.zeros(1, *SHAPE)
    watch, states = Watch(network, (1, 2), images), []
    before = torch.get_rng_state()
    for step in range(3):
        with watch.piece(step):
            states.append(torch.equal(torch.get_rng_state(), before))
    assert states == [False, True, True]
    with Watch(sequence, (1, 2), images).piece(0):  # its layers are known
        assert torch.equal(torch.get_rng_state(), before)


def test_an_error_puts_the_numbers_back() -> None:
    before = torch.get_rng_state()

    def fails() -> None:
        with seeded(3) as state:
            assert not state.drawn
            torch.rand(1)
            assert state.drawn
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_take_turns() -> None:
    """Draws of two threads that interleave would be those of neither seed."""
    found: dict[int, list[float]] = {}

    def work(seed: int) -> None:
        found[seed] = []
        for _ in range(20):
            with seeded(seed):
                found[seed].append(sum(torch.rand(1).item() for _ in range(50)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(set(sums)) == 1 for sums in found.values())
    assert len({sums[0] for sums in found.values()}) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 and later, of forks with threads
def test_a_forked_child_does_not_wait_for_a_thread_it_does_not_have() -> None:
    inside, end = threading.Event(), threading.Event()

    def work() -> None:
        with seeded(1):
            inside.set()
            end.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        with seeded(2):
            os._exit(0)
    _, status = os.waitpid(child, 0)
    end.set()
    thread.join()
    assert status == 0


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_random, "_said", set())
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = own_logging.get_logger("tunesmith")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        trained(problem(Functional))
        trained(problem(Calm))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    (message,) = [m for m in messages if "global random" in m]
    assert message.startswith("The network Functional draws from torch's global random numbers.")


if torch.cuda.is_available():

    @pytest.mark.parametrize("model", [Functional, Noisy, channels])
    def test_on_cuda_too(model: Any) -> None:
        known = problem(model, device="cuda")
        state, other = torch.cuda.get_rng_state(), torch.get_rng_state()
        first = trained(known)
        assert torch.equal(torch.cuda.get_rng_state(), state)
        assert torch.equal(torch.get_rng_state(), other)
        torch.cuda.manual_seed(2)
        assert trained(known) == first
