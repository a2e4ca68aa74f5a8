"""Lanes of arbitrary modules: what can be stacked, and why something cannot; memory of stacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from train.lanes.solo_engine import SoloEngine

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import build_model
from tunesmith.train.job import Pool
from tunesmith.train.lanes import stack_memory
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.functional import FunctionalEngine
from tunesmith.train.lanes.stack import StackEngine
from tunesmith.train.lanes.stack_memory import Memory, estimate
from tunesmith.train.layers import Dropout
from tunesmith.train.signature import Operation, Signature, signature

CPU, SHAPE = torch.device("cpu"), (2, 6, 6)


class Own(nn.Module):
    """A base for networks with one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(x.flatten(1))
        return y


class Residual(Own):
    """Branches, a normalisation with running statistics, dropout in two places, weights used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.drop = Dropout(0.3, seed=5)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + torch.relu(self.norm(self.once(x)))
        y: Tensor = self.output(self.drop(x.flatten(1)))
        return y


class Attention(Own):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(12, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(self.layer(x.reshape(len(x), 6, 12)).flatten(1))
        return y


class Decides(Own):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.sum() > 0 else -y


class Draws(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5))


class Counts(Own):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) / self.calls


class Assigns(Own):
    """A buffer that is replaced instead of changed, so that stacked ones would not change."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.steps = self.steps + 1.0
        return super().forward(x)


class Frozen(Own):
    def __init__(self) -> None:
        super().__init__()
        self.output.bias.requires_grad = False


class Recurs(Own):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(12, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.cell(x.reshape(len(x), 6, 12))[0])


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention has no batched form
@pytest.mark.parametrize("make", [Own, Residual, Attention])
def test_modules_that_can_be_stacked(make: Callable[[], nn.Module]) -> None:
    network = make()
    before = [v.clone() for v in network.state_dict().values()]
    assert FunctionalEngine.supports(network, SHAPE, 3, CPU) == ""
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert network.training


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Decides, "data-dependent control flow"),
        (Draws, "random operation"),
        (Counts, "remember things in plain attributes"),
        (Assigns, "something else than the network alone"),
        (Frozen, "parameters that are not trained"),
        (Recurs, "aten::lstm"),
        (nn.Flatten, "no parameters"),
        (lambda: Own().double(), "not float32"),
        (lambda: nn.Linear(5, 3), "RuntimeError"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), r"gives \(3, 4\) for 3 images instead of \(3, 3\)"),
    ],
)
def test_modules_that_cannot(make: Callable[[], nn.Module], reason: str) -> None:
    found = FunctionalEngine.supports(make(), SHAPE, 3, CPU)
    assert re.search(reason, found), found
    assert "\n" not in found


def step(lanes: int, p: float = 0.0) -> Step:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn(lanes, 4, *SHAPE, generator=random)
    pool = Pool("", pixels[0], torch.zeros(4, dtype=torch.int64), 3)
    keys = [torch.arange(2 * lanes).view(lanes, 2)]
    target = torch.eye(3)[torch.arange(4) % 3].expand(lanes, -1, -1)
    share = [torch.full((lanes,), p, dtype=torch.float64)]
    return Step(Images(pool, pixels=pixels), target, "cross-entropy", torch.zeros(lanes), keys, share)


@pytest.mark.parametrize("kind", [FunctionalEngine, SoloEngine])
def test_gradients_are_those_of_this_step(kind: type[FunctionalEngine] | type[SoloEngine]) -> None:
    """Of what is not used 0, whatever an update has left there; of what is used twice the sum."""
    network = Residual()
    engine = kind(network, 2, CPU)
    engine.load(0, network)
    engine.load(1, network)
    engine.step(step(2))
    expected = engine.gradients.clone()
    engine.gradients.fill_(7.0)  # an update overwrites them
    engine.step(step(2))
    assert torch.equal(engine.gradients, expected)
    unused = sum(p.numel() for p in network.unused.parameters())
    assert torch.count_nonzero(engine.gradients[:, -unused:]) == 0
    assert torch.count_nonzero(engine.gradients[:, :-unused]) > 100


@pytest.mark.parametrize("kind", [FunctionalEngine, SoloEngine])
def test_dropout_follows_the_step_in_every_place(kind: type[FunctionalEngine] | type[SoloEngine]) -> None:
    layer = Dropout(0.9)
    network = nn.Sequential(nn.Flatten(), nn.Linear(72, 3), layer, nn.Sequential(layer))
    engine = kind(network, 3, CPU)
    for lane in range(3):
        engine.load(lane, network)
    kept, none = engine.step(step(3))[0], engine.step(step(3, p=0.999999))[0]
    torch.testing.assert_close(none, torch.full((3,), 3.0).log())  # all logits are 0
    assert not torch.equal(kept, none)
    assert layer.p == 0.9  # the layers of the network given are left alone
    assert isinstance(network[2], Dropout)


def test_what_a_stack_does_not_know() -> None:
    found = signature(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)), SHAPE)
    assert found is not None
    assert StackEngine.supports(found, CPU) == ""
    assert StackEngine.supports(None, CPU) == "the network is no plain sequence of layers that are known"
    strange = Signature(SHAPE, (Operation("fold", (3,)), *found.operations))
    with pytest.raises(InvalidValueError, match="cannot be stacked: there is no stacked form of fold"):
        StackEngine(strange, 2, CPU)
    with pytest.raises(InvalidValueError, match="cannot be trained in lanes: it has parameters that are not trained"):
        SoloEngine(Frozen(), 2, CPU)


# -- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("mlp", {}),
        ("cnn", {}),
        ("cnn", {"norm_layer": "batch", "activation": "swish", "dropout": 0.2}),
        ("lenet5", {}),
        ("rnn", {"cell": "gru", "width": 32}),
    ],
)
def test_the_estimate_covers_what_autograd_keeps(name: str, configuration: dict[str, Any]) -> None:
    """And is not many times as much."""
    shape, batch = (1, 28, 28), 8
    network = build_model(name, configuration, shape, 10, 0)
    found = signature(network, shape)
    assert found is not None
    engine = StackEngine(found, 4, CPU, bundle=4)
    n_dropouts = sum(o.kind == "dropout" for o in found.operations)
    keys, p = torch.zeros(4, 2, dtype=torch.int64), torch.full((4,), 0.5, dtype=torch.float64)
    images = Images(Pool("", torch.zeros(1), torch.zeros(1), 10), pixels=torch.zeros(4, batch, *shape))
    target = torch.full((4, batch, 10), 0.1)
    saved: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        engine.step(Step(images, target, "nll", torch.zeros(4), [keys] * n_dropouts, [p] * n_dropouts))
    own = engine.parameters.untyped_storage()
    kept = sum(n for at, n in saved.items() if at != own.data_ptr()) / 4
    without_weights = estimate(found, batch, slots=0).per_lane - 3 * 4 * found.n_parameters
    assert kept <= without_weights <= 6 * kept
    assert estimate(found, batch, slots=2).per_lane - estimate(found, batch, slots=0).per_lane == 8 * found.n_parameters


def test_lanes_that_fit() -> None:
    memory = Memory(fixed=100, per_lane=50)
    assert memory.of(3) == 250
    assert memory.lanes(1000, share=0.5) == 8
    assert memory.of(8) <= 500 < memory.of(9)
    assert memory.lanes(100) == 0


def test_memory_is_measured_by_two_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is not here: what torch would tell of it."""
    peak, in_use, ran = 0, 7_000, []

    def run(lanes: int) -> None:
        nonlocal peak
        ran.append(lanes)
        peak = in_use + 1_000 + 30 * lanes

    for name, function in {
        "synchronize": lambda _: None,
        "reset_peak_memory_stats": lambda _: None,
        "memory_allocated": lambda _: in_use,
        "max_memory_allocated": lambda _: peak,
        "memory_reserved": lambda _: in_use + 500,
        "mem_get_info": lambda _: (2_000, 10_000),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    device = torch.device("cuda:0")
    assert stack_memory.measure(run, device, widths=(2, 8)) == Memory(1_000, 30)
    assert ran == [2, 2, 8]
    assert stack_memory.available(device) == 2_500
    assert stack_memory.available(CPU) is None
    with pytest.raises(InvalidValueError, match=r"on CUDA, not on 'cpu'; use estimate\(\)"):
        stack_memory.measure(run, CPU)
