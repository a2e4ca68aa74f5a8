"""What a network computes, read off its modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.train import activations, build_model, models
from tunesmith.train.layers import Dropout
from tunesmith.train.recurrent import LastState, Recurrent, ToSequence
from tunesmith.train.signature import Signature, signature

SHAPE = (2, 17, 16)
SIZE = 2 * 17 * 16


def found(*layers: nn.Module, shape: tuple[int, int, int] = SHAPE) -> Signature:
    read = signature(nn.Sequential(*layers), shape)
    assert read is not None
    return read


def shapes_of_outputs(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Of each layer without sub-layers, in the order in which they run, by running it."""
    seen: list[tuple[int, ...]] = []

    def note(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(tuple(output.shape[1:]))

    kinds = (nn.Identity,)
    whole = [m for m in network.modules() if isinstance(m, Recurrent) or not any(True for _ in m.children())]
    handles = [m.register_forward_hook(note) for m in whole if not isinstance(m, (*kinds, nn.RNNBase))]
    network.eval()(torch.zeros(2, *shape))
    for handle in handles:
        handle.remove()
    return seen


CNN = {"activation": "swish", "norm_layer": "batch", "kernel_size": 4, "padding": "same", "dropout": 0.2}
FAMILIES: list[tuple[str, dict[str, Any], tuple[int, int, int]]] = [
    ("mlp", {"layers": 3, "norm_layer": "layer", "activation": "prelu", "dropout": 0.1}, SHAPE),
    ("cnn", {}, (3, 32, 32)),
    ("cnn", {**CNN, "dense_layers": 2}, SHAPE),
    ("cnn", {"layers": 4, "pooling": "none", "stride": 2, "norm_layer": "layer"}, (1, 8, 8)),
    ("lenet5", {"dropout": 0.1}, (1, 28, 28)),
    ("lenet5", {"pooling": "max"}, (1, 17, 20)),  # padded by a layer of its own
    ("rnn", {"cell": "gru", "bidirectional": True, "layers": 2, "sequence_length": 5}, SHAPE),
]


@pytest.mark.parametrize(("name", "configuration", "shape"), FAMILIES)
def test_shapes_are_those_of_the_network(name: str, configuration: dict[str, Any], shape: tuple[int, int, int]) -> None:
    network = build_model(name, configuration, shape, 7, 0)
    read = signature(network, shape)
    assert read is not None
    assert [o.shape for o in read.operations] == shapes_of_outputs(network, shape)
    assert [s for o in read.operations for s in o.parameters] == [tuple(p.shape) for p in network.parameters()]
    assert [s for o in read.operations for s in o.buffers] == [tuple(b.shape) for b in network.buffers()]
    assert read.n_classes == 7
    assert read.n_parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", models())
def test_what_differs_from_lane_to_lane_is_not_in_it(name: str) -> None:
    one, other = (
        signature(build_model(name, {"dropout": p}, (1, 28, 28), 10, seed), (1, 28, 28))
        for p, seed in ((0.1, 3), (0.4, 4))
    )
    without = signature(build_model(name, {"dropout": 0.0}, (1, 28, 28), 10, 3), (1, 28, 28))
    assert one == other
    assert hash(one) == hash(other)
    assert one != without


def test_every_activation_of_the_families() -> None:
    for name in activations.ACTIVATIONS:
        read = found(nn.Conv2d(2, 3, 3), activations.make(name), nn.Flatten(), nn.Linear(3 * 15 * 14, 5))
        assert read.operations[1].kind == "activation"
        assert read.operations[1]["name"] == name


PLAIN = nn.Conv2d(2, 4, 3)
#: Pairs of layers that compute different things with the same shapes.
DIFFERENT: list[tuple[nn.Module, nn.Module]] = [
    (nn.Conv2d(2, 4, 3, stride=2), nn.Conv2d(2, 4, (3, 4), stride=2)),
    (nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 5, padding=2)),
    (PLAIN, nn.Conv2d(2, 4, 3, bias=False)),
    (nn.MaxPool2d(2), nn.AvgPool2d(2)),
    (nn.MaxPool2d(3, 1, 1), nn.Identity()),
    (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    (nn.ELU(1.0), nn.ELU(2.0)),
    (nn.GELU(), nn.GELU(approximate="tanh")),
    (nn.PReLU(), nn.PReLU(2)),
    (activations.Swish(2.0, learnable=False), activations.Swish(1.0, learnable=False)),
    (nn.BatchNorm2d(2), nn.BatchNorm2d(2, momentum=0.2)),
    (nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False)),
    (nn.GroupNorm(1, 2), nn.GroupNorm(2, 2)),
    (nn.GroupNorm(1, 2), nn.GroupNorm(1, 2, eps=1e-3)),
    (nn.LayerNorm(SHAPE), nn.LayerNorm(SHAPE, bias=False)),
    (nn.ZeroPad2d((1, 0, 0, 0)), nn.ZeroPad2d((0, 1, 0, 0))),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_layers_have_different_signatures(one: nn.Module, other: nn.Module) -> None:
    def read(layer: nn.Module) -> Signature | None:
        size = layer(torch.zeros(2, *SHAPE)).flatten(1).shape[1]
        return signature(nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 3)), SHAPE)

    assert read(one) is not None
    assert read(other) is not None
    assert read(one) != read(other)


def test_equivalent_ways_to_say_it_are_the_same() -> None:
    head = (nn.Flatten(), nn.Linear(4 * 15 * 14, 3))
    assert found(PLAIN, *head) == found(nn.Conv2d(2, 4, (3, 3), padding="valid"), nn.Identity(), *head)
    assert found(PLAIN, *head) == found(nn.Sequential(nn.Sequential(PLAIN)), nn.Sequential(*head))
    wide = (nn.Flatten(), nn.Linear(4 * 17 * 16, 3))
    assert found(nn.Conv2d(2, 4, 3, padding=1), *wide) == found(nn.Conv2d(2, 4, 3, padding="same"), *wide)
    pooled = (nn.Flatten(), nn.Linear(2 * 8 * 8, 3))
    assert found(nn.MaxPool2d(2), *pooled) == found(nn.MaxPool2d((2, 2), stride=(2, 2), dilation=1), *pooled)


class Custom(nn.Linear):
    """Computes something else than its class."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1.0


def frozen() -> nn.Module:
    layer = nn.Linear(SIZE, 3)
    layer.bias.requires_grad = False
    return layer


def watched() -> nn.Module:
    layer = nn.Linear(SIZE, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


def tied() -> nn.Module:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(nn.Linear(SIZE, 3), first, second)


def twice() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(nn.Linear(SIZE, 3), layer, nn.ReLU(), layer)


def dropped_twice() -> nn.Module:
    layer = Dropout(0.5)
    return nn.Sequential(nn.Linear(SIZE, 3), layer, nn.Linear(3, 3), layer)


@pytest.mark.parametrize(
    "layer",
    [
        Custom(SIZE, 3), frozen(), watched(), tied(), twice(), dropped_twice(), nn.Linear(SIZE, 3).double(),
        nn.Linear(SIZE - 1, 3), nn.Sequential(nn.Linear(SIZE, 3), nn.Softmax(1)),
        nn.Sequential(nn.Linear(SIZE, 3), nn.Dropout()),
        nn.Sequential(nn.Linear(SIZE, 4), nn.BatchNorm1d(4, track_running_stats=False)),
        nn.Sequential(nn.Linear(SIZE, 4), nn.BatchNorm1d(4, momentum=None)),
    ],
)  # fmt: skip
def test_what_a_list_of_operations_cannot_tell(layer: nn.Module) -> None:
    assert signature(nn.Sequential(nn.Flatten(), layer), SHAPE) is None


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(2, 4, 3, dilation=2), nn.Conv2d(3, 4, 3), nn.Conv2d(2, 4, 18),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 4, 4, padding="same"),
        nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, dilation=2),
        nn.AvgPool2d(3, padding=1, count_include_pad=False),
        nn.AvgPool2d(2, divisor_override=3), nn.MaxPool2d(20), nn.Flatten(2), nn.Upsample(scale_factor=1.5),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.BatchNorm2d(3), nn.LayerNorm(16), nn.PReLU(3),
        nn.Sequential(ToSequence(7, SHAPE), nn.PReLU()),
    ],
)  # fmt: skip
def test_layers_that_are_not_known_or_do_not_fit(layer: nn.Module) -> None:
    try:
        size = layer(torch.zeros(2, *SHAPE)).flatten(1).shape[1]
    except RuntimeError:  # it does not fit
        size = SIZE
    assert signature(nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 3)), SHAPE) is None


def test_the_output_is_a_row_of_numbers() -> None:
    assert signature(nn.Sequential(PLAIN), SHAPE) is None
    assert signature(nn.Sequential(), SHAPE) is None
    assert signature(nn.Linear(16, 3), SHAPE) is None


def test_recurrent_layers_with_more_than_the_families_use() -> None:
    def with_cell(cell: nn.Module) -> Signature | None:
        layer = Recurrent("lstm", 68, 5)
        layer.cell = cell
        return signature(nn.Sequential(ToSequence(8, SHAPE), layer, LastState(), nn.Linear(5, 3)), SHAPE)

    assert with_cell(nn.LSTM(68, 5, batch_first=True)) is not None
    assert with_cell(nn.LSTM(68, 5)) is None
    assert with_cell(nn.LSTM(68, 5, 2, batch_first=True)) is None
    assert with_cell(nn.LSTM(68, 5, batch_first=True, bias=False)) is None
    assert with_cell(nn.LSTM(68, 5, batch_first=True, proj_size=2)) is None
    assert with_cell(nn.RNN(68, 5, batch_first=True, nonlinearity="relu")) is None
    assert with_cell(nn.LSTM(67, 5, batch_first=True)) is None
