"""Engines of lanes in PyTorch: each lane computes what its network computes alone, whatever is beside it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from train.lanes.solo_engine import SoloEngine

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import build_model, counter, layers
from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Engine, Images, Step
from tunesmith.train.lanes.functional import FunctionalEngine
from tunesmith.train.lanes.stack import StackEngine
from tunesmith.train.lanes.updates import TorchUpdate
from tunesmith.train.losses import loss, targets
from tunesmith.train.signature import signature

CPU = torch.device("cpu")
CLASSES = 5


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """What the engines promise, they promise for one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class Case:
    """Networks of one architecture, with a pool of images."""

    name: str
    family: str
    configuration: dict[str, Any]
    shape: tuple[int, int, int]

    @functools.cache  # noqa: B019
    def network(self, seed: int) -> nn.Module:
        """Not to be changed."""
        network = build_model(self.family, self.configuration, self.shape, CLASSES, seed)
        with torch.no_grad():
            for i, b in enumerate(network.buffers()):
                b.copy_((torch.ones(b.shape) * (1.0 + 0.1 * seed + i)).to(b.dtype))
        return network

    @functools.cached_property
    def scratch(self) -> nn.Module:
        return copy.deepcopy(self.network(0))

    @functools.cached_property
    def pool(self) -> Pool:
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (60, *self.shape), generator=random, dtype=torch.uint8)
        return Pool("noise", images, torch.randint(0, CLASSES, (60,), generator=random), CLASSES)

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("mlp", "mlp", {"dropout": 0.1}, (1, 9, 9)),
    Case("mlp-batch-norm", "mlp", {
        "layers": 3, "width_1": 37, "width_2": 11, "norm_layer": "batch", "activation": "gelu",
    }, (1, 9, 9)),
    Case("mlp-layer-norm", "mlp", {
        "layers": 2, "width_1": 35, "norm_layer": "layer", "activation": "swish", "dropout": 0.1,
    }, (2, 5, 7)),
    Case("mlp-prelu", "mlp", {"width_1": 13, "activation": "prelu"}, (1, 5, 5)),
    Case("cnn", "cnn", {"dropout": 0.1}, (3, 16, 16)),
    Case("cnn-batch-norm", "cnn", {
        "filters_1": 17, "filters_2": 5, "norm_layer": "batch", "activation": "prelu", "dense_layers": 1,
        "dropout": 0.1,
    }, (1, 16, 16)),
    Case("cnn-layer-norm", "cnn", {
        "filters_1": 17, "filters_2": 3, "norm_layer": "layer", "activation": "swish", "pooling": "avg",
        "kernel_size": 4, "padding": "same",
    }, (2, 17, 16)),
    Case("cnn-stride", "cnn", {
        "layers": 3, "filters_1": 3, "pooling": "none", "stride": 2, "kernel_size": 3, "activation": "elu",
    }, (1, 8, 8)),
    Case("lenet5", "lenet5", {"dropout": 0.1}, (1, 28, 28)),
    Case("lenet5-padded", "lenet5", {"pooling": "max", "activation": "silu"}, (1, 17, 20)),
]  # fmt: skip
RECURRENT = [
    Case("lstm", "rnn", {"width": 7}, (1, 6, 5)),
    Case("gru", "rnn", {"cell": "gru", "width": 5, "layers": 2, "bidirectional": True, "dropout": 0.1}, (1, 6, 5)),
    Case("rnn", "rnn", {"cell": "rnn", "width": 9, "sequence_length": 4}, (3, 3, 5)),
]


def stack(case: Case, lanes: int) -> Engine:
    found = signature(case.network(0), case.shape)
    assert found is not None
    return StackEngine(found, lanes, CPU)


def functional(case: Case, lanes: int) -> Engine:
    return FunctionalEngine(case.network(0), lanes, CPU)


def solo(case: Case, lanes: int) -> Engine:
    return SoloEngine(case.network(0), lanes, CPU)


EVERY = [
    *((stack, case) for case in [*CASES, *RECURRENT]),
    *((functional, case) for case in CASES),
    *((solo, case) for case in (CASES[1], CASES[4], CASES[5], RECURRENT[1])),
]
every = pytest.mark.parametrize(("make", "case"), EVERY, ids=lambda v: v.__name__ if callable(v) else str(v))
Make = Callable[[Case, int], Engine]


def step_of(case: Case, seeds: Sequence[int], at: int = 3, batch: int = 7, name: str = "focal") -> Step:
    """A step in which all that a lane sees follows from its seed."""
    pool, n_dropouts = case.pool, len(layers.dropouts(case.network(0)))

    def each(make: Callable[[int], Tensor]) -> Tensor:
        return torch.stack([make(seed) for seed in seeds])

    index = each(lambda s: torch.randint(0, 60, (batch,), generator=torch.Generator().manual_seed(100 * s + at)))
    smoothing = torch.tensor([0.1 * (s % 3) for s in seeds], dtype=torch.float64).view(-1, 1, 1)
    return Step(
        Images(
            pool,
            index,
            each(lambda s: torch.full((case.shape[0],), 100.0 + s)),
            each(lambda s: torch.full((case.shape[0],), 1.0 / (70.0 + s))),
        ),
        targets(pool.labels[index], CLASSES, smoothing),
        name,
        torch.tensor([1.5 + s for s in seeds]),
        [each(lambda s, k=k: torch.tensor(counter.at_step(counter.key(s, k), at))) for k in range(n_dropouts)],  # type: ignore[misc]
        [torch.tensor([0.2 * (s % 4) for s in seeds], dtype=torch.float64) for _ in range(n_dropouts)],
    )


def state(engine: Engine, lane: int, case: Case) -> list[Tensor]:
    """Parameters and buffers, by way of a network."""
    engine.store(lane, case.scratch)
    return [v.clone() for v in case.scratch.state_dict().values()]


@dataclass(frozen=True)
class Seen:
    """What came out of a lane."""

    loss: Tensor
    hits: int
    gradient: Tensor
    evaluated: Tensor
    state: list[Tensor]

    def numbers(self) -> list[Tensor]:
        return [self.loss, self.gradient, self.evaluated, *self.state]


def equal(one: Seen, other: Seen) -> bool:
    """Bit by bit."""
    return one.hits == other.hits and all(map(torch.equal, one.numbers(), other.numbers()))


def assert_close(one: Seen, other: Seen, share: float) -> None:
    """Up to a share of the largest number, or what is rounding of the numbers of size 1 before it."""
    assert one.hits == other.hits
    for a, b in zip(one.numbers(), other.numbers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=share * float(b.abs().max()) + 1e-6)


def run(engine: Engine, case: Case, seeds: Sequence[int], **options: Any) -> list[Seen]:
    """Load the lanes, train a step, evaluate."""
    for lane, seed in enumerate(seeds):
        engine.load(lane, case.network(seed))
    step = step_of(case, seeds, **options)
    losses, hits = engine.step(step)
    gradients = engine.gradients.clone()
    evaluated = engine.logits(step.images)
    assert losses.shape == hits.shape == (engine.lanes,)
    assert hits.dtype == torch.int64
    return [
        Seen(
            losses[lane],
            int(hits[lane]),
            gradients.select(engine.axis, lane),
            evaluated[lane],
            state(engine, lane, case),
        )
        for lane in range(len(seeds))
    ]


def alone(case: Case, step: Step, lane: int, seed: int, at: int = 3) -> Seen:
    """The same by the network's own modules and autograd."""
    network = copy.deepcopy(case.network(seed)).train()
    for k, layer in enumerate(layers.dropouts(network)):
        layer.key, layer.step, layer.p = counter.key(seed, k), at, float(step.p[k][lane])
    images = step.images.dense()[lane].contiguous(memory_format=torch.channels_last)
    logits = network(images)
    mean = loss(step.loss, logits, step.targets[lane], float(step.gamma[lane])).mean()
    mean.backward()
    hits = int((logits.argmax(1) == step.targets[lane].argmax(1)).sum())
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    with torch.no_grad():
        evaluated = network.eval()(images)
    return Seen(mean.detach(), hits, gradient, evaluated, list(network.state_dict().values()))


# -- what a lane computes ----------------------------------------------------------------------------------------


@every
def test_each_lane_is_its_network_alone(make: Make, case: Case) -> None:
    for batch, name in ((7, "focal"), (16, "cross-entropy")):
        seeds = [0, 1, 2, 3, 4, 5]
        step = step_of(case, seeds, batch=batch, name=name)
        for lane, seen in enumerate(run(make(case, len(seeds)), case, seeds, batch=batch, name=name)):
            expected = alone(case, step, lane, seeds[lane])
            assert_close(seen, expected, share=1e-5)
            assert make is not solo or equal(seen, expected)


@pytest.mark.parametrize("name", ["squared-error", "hinge", "nll"])
@pytest.mark.parametrize("make", [stack, functional, solo])
def test_every_loss(make: Make, name: str) -> None:
    seen = run(make(CASES[0], 2), CASES[0], [1, 2], name=name)
    for lane in (0, 1):
        assert_close(seen[lane], alone(CASES[0], step_of(CASES[0], [1, 2], name=name), lane, lane + 1), share=1e-5)


#: What is beside networks 0 and 1, and where they are.
NEIGHBOURS = [[1], [1, 0], [5, 4, 3, 2, 0, 1], [7, 8, 3, 0, 2, 9, 1, 4, 6]]


@every
def test_lane_neighbours_and_number_do_not_matter(make: Make, case: Case) -> None:
    """Bit by bit, but for the functional engine only at the same place of a bundle of four."""
    check_independence(make, case, batch=7)  # a lane does not fill registers


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[8]], ids=str)
def test_nor_in_batches_of_powers_of_two(case: Case) -> None:
    check_independence(stack, case, batch=16)


def check_independence(make: Make, case: Case, batch: int) -> None:
    expected = run(make(case, 2), case, [0, 1], batch=batch)
    for seeds in NEIGHBOURS:
        seen = run(make(case, len(seeds)), case, seeds, batch=batch)
        for seed in {0, 1} & set(seeds):
            lane = seeds.index(seed)
            if make is functional and lane % 4 != seed:
                assert_close(seen[lane], expected[seed], share=5e-6)
            else:
                assert equal(seen[lane], expected[seed]), (seeds, seed)


@every
def test_broken_neighbours_do_not_matter(make: Make, case: Case) -> None:
    """Beside weights that are NaN, images that are infinite, and lanes that are empty."""
    seeds, n = [0, 1, 2, 3, 4], 7  # two lanes stay empty

    def outcome(*, broken: bool) -> list[Seen]:
        engine, step = make(case, n), step_of(case, [*seeds, 4, 4])
        for lane, seed in enumerate(seeds):
            engine.load(lane, case.network(seed))
        if broken:
            engine.parameters.select(engine.axis, 0).fill_(math.nan)
            pixels = step.images.dense().clone()
            pixels[2] = math.inf
            step.images = Images(step.images.pool, pixels=pixels)
        losses, hits = engine.step(step)
        evaluated = engine.logits(step.images)
        if broken:
            assert losses[0].isnan()
            assert not losses[2].isfinite()
        return [
            Seen(
                losses[i],
                int(hits[i]),
                engine.gradients.select(engine.axis, i).clone(),
                evaluated[i],
                state(engine, i, case),
            )
            for i in (1, 3, 4)
        ]

    assert all(map(equal, outcome(broken=True), outcome(broken=False)))


def test_pixels_instead_of_rows_of_the_pool() -> None:
    case = CASES[4]
    for make in (stack, functional, solo):
        step = step_of(case, [0, 1])
        by_rows, by_pixels = make(case, 2), make(case, 2)
        for engine in (by_rows, by_pixels):
            for lane in (0, 1):
                engine.load(lane, case.network(lane))
        dense = replace(step, images=Images(step.images.pool, pixels=step.images.dense()))
        assert torch.equal(by_rows.step(step)[0], by_pixels.step(dense)[0])
        assert torch.equal(by_rows.gradients, by_pixels.gradients)
        assert torch.equal(by_rows.logits(step.images), by_pixels.logits(dense.images))


# -- whole trainings ---------------------------------------------------------------------------------------------


class Training:
    """Some networks trained in an engine, as the runner does it."""

    def __init__(self, make: Make, case: Case, lanes: int, optimizer: str = "adam") -> None:
        self.case, self.engine = case, make(case, lanes)
        self.h = Hyperparameters(optimizer=optimizer, clip_norm=1.0)
        self.update = TorchUpdate(lanes, self.engine.axis, self.engine.parameters)
        self.inside: list[int | None] = [None] * lanes

    def put(self, lane: int, seed: int, kept: tuple[nn.Module, dict[str, Tensor]] | None = None) -> None:
        self.engine.load(lane, self.case.network(seed) if kept is None else kept[0])
        self.update.put(lane, replace(self.h, weight_decay=0.01 * seed))
        if kept is not None:
            self.update.restore(lane, kept[1])
        self.inside[lane] = seed

    def take(self, lane: int) -> tuple[nn.Module, dict[str, Tensor]]:
        network = copy.deepcopy(self.case.network(0))
        self.engine.store(lane, network)
        kept = network, self.update.state(lane)
        self.update.remove(lane)
        self.engine.parameters.select(self.engine.axis, lane).zero_()
        self.inside[lane] = None
        return kept

    def run(self, steps: range) -> Training:
        for at in steps:
            self.engine.step(step_of(self.case, [0 if s is None else s for s in self.inside], at, 8, "cross-entropy"))
            self.update.step(self.engine.parameters, self.engine.gradients, [0.01] * len(self.inside))
        return self


@pytest.mark.parametrize("case", [CASES[1], CASES[5], CASES[9], RECURRENT[1]], ids=str)
def test_a_training_is_moved_and_taken_up_again(case: Case) -> None:
    """Alone in a stack of one, against from lane 2 of three to lane 5 of six, beside others: the same bits."""
    straight = Training(stack, case, 1)
    straight.put(0, 3)
    straight.run(range(9))
    first, second = Training(stack, case, 3), Training(stack, case, 6)
    for lane, seed in enumerate([1, 2, 3]):
        first.put(lane, seed)
    first.run(range(5))
    second.put(0, 4)
    second.put(2, 1)
    second.run(range(2))
    second.put(5, 3, first.take(2))
    second.run(range(5, 9))
    expected, found = state(straight.engine, 0, case), state(second.engine, 5, case)
    assert all(map(torch.equal, expected, found))
    assert torch.count_nonzero(first.engine.parameters[2]) == 0


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[8], RECURRENT[0]], ids=str)
def test_engines_agree_about_a_whole_training(case: Case) -> None:
    """Rounding grows from step to step, but slowly; not so with Adam, which makes whole steps of the rounding of 0."""
    outcomes = []
    for make in (solo, stack) if case in RECURRENT else (solo, stack, functional):
        training = Training(make, case, 5, "sgd")
        for lane in range(5):
            training.put(lane, lane)
        training.run(range(10))
        outcomes.append([torch.cat([v.double().flatten() for v in state(training.engine, i, case)]) for i in range(5)])
    for other in outcomes[1:]:
        for a, b in zip(other, outcomes[0], strict=True):
            assert (a - b).norm() <= 1e-4 * b.norm()
    start = torch.cat([v.double().flatten() for v in case.network(0).state_dict().values()])
    assert (outcomes[0][0] - start).norm() > 1e-3 * start.norm()


def test_nothing_is_drawn_from_torchs_own_numbers() -> None:
    before = torch.get_rng_state()
    for make in (stack, functional, solo):
        run(make(CASES[4], 3), CASES[4], [1, 2, 3])
    FunctionalEngine.supports(CASES[4].network(0), CASES[4].shape, CLASSES, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_engine_needs_a_lane() -> None:
    with pytest.raises(InvalidValueError, match="at least 1 lane"):
        stack(CASES[0], 0)


def test_networks_are_copied() -> None:
    for make in (stack, functional, solo):
        engine, network = make(CASES[1], 2), CASES[1].network(5)
        before = copy.deepcopy(network.state_dict())
        engine.load(1, network)
        engine.step(step_of(CASES[1], [0, 1]))
        engine.parameters.zero_()
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
