"""Trainings in SIMD lanes against the same trainings in torch, one after another; and the update by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import counter
from tunesmith.train.device import working
from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.simd.buffers import aligned
from tunesmith.train.lanes.simd.engine import SimdEngine
from tunesmith.train.lanes.simd.update import SimdUpdate
from tunesmith.train.lanes.updates import TorchUpdate
from tunesmith.train.layers import Dropout, dropouts
from tunesmith.train.losses import targets
from tunesmith.train.signature import signature

LANES = SimdEngine.width()
pytestmark = pytest.mark.skipif(LANES == 0, reason="no SIMD lanes on this processor")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with working(torch.device("cpu"), 1):
        yield


def cnn(p: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        Dropout(p), nn.Linear(500, 10),
    )  # fmt: skip


def mlp(p: float) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), Dropout(p), nn.Linear(128, 10))


def lenet5(unit: type[nn.Module], pool: type[nn.Module]) -> Callable[[float], nn.Module]:
    def make(p: float) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), unit(), pool(2), nn.Conv2d(6, 16, 5), unit(), pool(2), nn.Flatten(),  # type: ignore[call-arg]
            Dropout(p), nn.Linear(400, 120), unit(), Dropout(p), nn.Linear(120, 84), unit(), nn.Linear(84, 10),
        )  # fmt: skip

    return make


def learnable(shape: tuple[int, int, int], n: int) -> Pool:
    """Images of a class are alike."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 10
    patterns = torch.rand(10, *shape, generator=generator) * 150
    images = patterns[labels] + torch.rand(n, *shape, generator=generator) * 100
    return Pool("learnable", images.to(torch.uint8), labels, 10)


SETTINGS = {
    0: (0.0, Hyperparameters(lr=0.02, momentum=0.9)),
    1: (0.3, Hyperparameters(lr=0.01, momentum=0.5, nesterov=True, weight_decay=0.01)),
    2: (0.5, Hyperparameters(optimizer="adam", lr=0.001, weight_decay=0.001)),
    7: (0.1, Hyperparameters(optimizer="adamw", lr=0.002, weight_decay=0.1)),
}


def in_torch(lane: int, network: nn.Module, pool: Pool, epochs: int, size: int) -> list[float]:
    """The mean loss of each epoch."""
    h = SETTINGS[lane][1]
    if h.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            network.parameters(), h.lr, h.momentum, nesterov=h.nesterov, weight_decay=h.weight_decay
        )
    else:
        kind = torch.optim.Adam if h.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(network.parameters(), h.lr, eps=1e-8, weight_decay=h.weight_decay)
    network.train()
    found, at = [], 0
    for epoch in range(epochs):
        order = torch.from_numpy(counter.permutation(counter.at_step((lane, 5), epoch), len(pool.labels)))
        sums = []
        for rows in order.split(size):
            for k, layer in enumerate(dropouts(network)):
                layer.key, layer.step = counter.key(lane, k), at
            logits = network((pool.images[rows].float() - 100.0) * 0.02)
            loss = functional.cross_entropy(logits, pool.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums.append(loss.item() * len(rows))
            at += 1
        found.append(sum(sums) / len(pool.labels))
    return found


def in_lanes(networks: dict[int, nn.Module], pool: Pool, epochs: int, size: int) -> dict[int, list[float]]:
    """The same of all lanes that have a network; they are trained in place."""
    first = next(iter(networks.values()))
    found = signature(first, tuple(pool.images.shape[1:]))
    assert found is not None
    engine = SimdEngine(found)
    update = SimdUpdate(engine.lanes, engine.axis, engine.parameters)
    for lane, network in networks.items():
        engine.load(lane, network)
        update.put(lane, SETTINGS[lane][1])
    channels = pool.images.shape[1]
    shift, scale = torch.full((LANES, channels), 100.0), torch.full((LANES, channels), 0.02)
    p = torch.tensor([SETTINGS[lane][0] if lane in SETTINGS else 0.0 for lane in range(LANES)], dtype=torch.float64)
    lr = [SETTINGS[lane][1].lr if lane in SETTINGS else 0.0 for lane in range(LANES)]
    sums = torch.zeros(epochs, LANES)
    at = 0
    for epoch in range(epochs):
        orders = [counter.permutation(counter.at_step((lane, 5), epoch), len(pool.labels)) for lane in range(LANES)]
        for rows in torch.from_numpy(np.stack(orders)).split(size, dim=1):
            keys = [
                torch.tensor([counter.at_step(counter.key(lane, k), at) for lane in range(LANES)])
                for k in range(len(dropouts(first)))
            ]
            wanted = targets(pool.labels[rows], 10)
            images = Images(pool, rows, shift, scale)
            step = Step(images, wanted, "cross-entropy", torch.ones(LANES), keys, [p] * len(keys))
            losses, _ = engine.step(step)
            update.step(engine.parameters, engine.gradients, lr)
            sums[epoch] += losses * rows.shape[1]
            at += 1
    for lane, network in networks.items():
        engine.store(lane, network)
    empty = [lane for lane in range(LANES) if lane not in networks]
    assert not engine.parameters[:, empty].any()
    return {lane: (sums[:, lane] / len(pool.labels)).tolist() for lane in networks}


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (cnn, (3, 32, 32)),
        (mlp, (1, 28, 28)),
        (lenet5(nn.ReLU, nn.MaxPool2d), (1, 28, 28)),
        (lenet5(nn.Tanh, nn.AvgPool2d), (1, 28, 28)),
    ],
    ids=["cnn", "mlp", "lenet5-relu", "lenet5-tanh"],
)
def test_trainings_are_those_of_torch(make: Callable[[float], nn.Module], shape: tuple[int, int, int]) -> None:
    """Three epochs with the same order of images and the same dropout masks; the last batch is smaller.

    Rounding differs, and grows from step to step; the losses agree to 1e-3 and the parameters to 1e-3 of their size.
    """
    pool = learnable(shape, 88)
    torch.manual_seed(0)
    alone = {lane: make(p) for lane, (p, _) in SETTINGS.items()}
    together = {lane: make(p) for lane, (p, _) in SETTINGS.items()}
    for lane, network in together.items():
        network.load_state_dict(alone[lane].state_dict())
    expected = {lane: in_torch(lane, network, pool, 3, 24) for lane, network in alone.items()}
    found = in_lanes(together, pool, 3, 24)
    for lane in SETTINGS:
        np.testing.assert_allclose(found[lane], expected[lane], rtol=1e-3)
        assert found[lane][-1] < found[lane][0]  # it learns
        for a, b in zip(together[lane].parameters(), alone[lane].parameters(), strict=True):
            assert float((a - b).detach().norm()) <= 1e-3 * float(b.detach().norm())


# -- the update ----------------------------------------------------------------------------------------------------


def updated(kind: type[TorchUpdate], lanes: dict[int, Hyperparameters], p: int = 1003, steps: int = 5) -> Tensor:
    """(p, lanes): parameters after some steps with random gradients."""
    generator = torch.Generator().manual_seed(0)
    parameters, gradients = aligned(p, LANES), aligned(p, LANES)
    update = kind(LANES, 1, parameters)
    for lane, h in lanes.items():
        update.put(lane, h)
    parameters.copy_(torch.randn(p, LANES, generator=generator))
    for at in range(steps):
        gradients.copy_(torch.randn(p, LANES, generator=generator))
        update.step(parameters, gradients, [0.01 * (lane + 1) / (at + 1) for lane in range(LANES)])
    return parameters


def test_sgd_has_the_bits_of_torch() -> None:
    """With and without momentum, Nesterov's, and both kinds of decay."""
    plain = dict.fromkeys(range(LANES), Hyperparameters(momentum=0.0, weight_decay=0.01))
    assert torch.equal(updated(SimdUpdate, plain), updated(TorchUpdate, plain))
    momentum = {
        lane: Hyperparameters(momentum=lane / LANES, weight_decay=0.1, decoupled=lane % 2 > 0) for lane in range(5)
    }
    assert torch.equal(updated(SimdUpdate, momentum), updated(TorchUpdate, momentum))
    nesterov = {lane: Hyperparameters(momentum=0.9, nesterov=True) for lane in (0, 2, 3)}
    assert torch.equal(updated(SimdUpdate, nesterov), updated(TorchUpdate, nesterov))


def test_all_optimizers_and_penalties_are_those_of_torch() -> None:
    """Norms are summed in another order, and torch's square root is not rounded correctly everywhere."""
    lanes = {
        0: Hyperparameters(optimizer="adam"),
        1: Hyperparameters(optimizer="adamw", weight_decay=0.1, beta_1=0.5),
        2: Hyperparameters(optimizer="adam", weight_decay=0.1, clip_norm=1.0, epsilon=1e-4),
        3: Hyperparameters(optimizer="sgd", l1=0.01, clip_norm=2.0),
        4: Hyperparameters(optimizer="rmsprop", l1=0.01),
        6: Hyperparameters(optimizer="nadam", clip_norm=1e6),
        7: Hyperparameters(optimizer="sgd", momentum=0.0),
    }
    found, expected = updated(SimdUpdate, lanes), updated(TorchUpdate, lanes)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    start = updated(TorchUpdate, lanes, steps=0)
    changed = (found != start).any(0)
    assert changed.tolist() == [lane in lanes for lane in range(LANES)]


def test_an_update_does_not_depend_on_the_neighbours() -> None:
    mine = Hyperparameters(optimizer="adam", clip_norm=1.0, l1=0.001)
    alone = updated(SimdUpdate, {3: mine})[:, 3]
    others = {lane: Hyperparameters(optimizer="adagrad", clip_norm=0.1) for lane in range(LANES)}
    assert torch.equal(updated(SimdUpdate, {**others, 3: mine})[:, 3], alone)
    others = {lane: Hyperparameters(nesterov=True, momentum=0.5) for lane in range(LANES)}
    assert torch.equal(updated(SimdUpdate, {**others, 3: mine})[:, 3], alone)


def test_an_update_goes_on_elsewhere() -> None:
    """The state of a lane restored in another lane of another update, TorchUpdate's too."""
    h = Hyperparameters(optimizer="adam", lr=0.01)
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 50, generator=generator)

    def go(update: TorchUpdate, parameters: Tensor, lane: int, rows: Tensor) -> None:
        for row in rows:
            full = aligned(50, LANES)
            full[:, lane] = row
            update.step(parameters, full, [0.01] * LANES)

    whole = aligned(50, LANES)
    update = SimdUpdate(LANES, 1, whole)
    update.put(2, h)
    go(update, whole, 2, gradients)
    half = aligned(50, LANES)
    before = SimdUpdate(LANES, 1, half)
    before.put(1, h)
    go(before, half, 1, gradients[:3])
    for kind, exact in ((SimdUpdate, True), (TorchUpdate, False)):
        parameters = aligned(50, LANES)
        parameters[:, 5] = half[:, 1]
        after = kind(LANES, 1, parameters)
        after.put(5, h)
        after.restore(5, before.state(1))
        go(after, parameters, 5, gradients[3:])
        if exact:
            assert torch.equal(parameters[:, 5], whole[:, 2])
        else:
            torch.testing.assert_close(parameters[:, 5], whole[:, 2])


def test_what_an_update_cannot_use() -> None:
    with pytest.raises(InvalidValueError, match="8 or 16 along axis 1"):
        SimdUpdate(3, 0, torch.zeros(3, 5))
    parameters = aligned(4, LANES)
    update = SimdUpdate(LANES, 1, parameters)
    crooked = torch.zeros(5 * LANES)[1 : 1 + 4 * LANES].view(4, LANES)
    with pytest.raises(InvalidValueError, match="aligned"):
        update.step(crooked, aligned(4, LANES), [0.1] * LANES)
