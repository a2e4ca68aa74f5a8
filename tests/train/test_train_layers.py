"""Layers that families are built from: dropout masks, activations, initial weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import activations, counter, layers
from tunesmith.train.activations import Swish
from tunesmith.train.layers import Dropout, initialised
from tunesmith.train.recurrent import Recurrent


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- dropout -----------------------------------------------------------------------------------------------------


def hashed(x: np.ndarray) -> np.ndarray:
    """lowbias32 in unsigned 32-bit arithmetic, which wraps by itself."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def kept(seed: int, k: int, step: int, p: float, batch: int, features: int) -> np.ndarray:
    """(batch, features) bool: the mask of the k-th dropout layer, by the definition and without torch."""
    first, second = np.random.SeedSequence([seed, k]).generate_state(2, np.uint32)
    with np.errstate(over="ignore"):
        one = hashed(np.array([first + np.uint32(step * 0x9E3779B9 % 2**32)]))
        two = hashed(second ^ one)
        index = np.arange(batch * features, dtype=np.uint32)
        random = hashed(hashed(index ^ one) ^ two) >> np.uint32(8)
    return (random >= round(p * 2**24)).reshape(batch, features)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 2**31), st.floats(0.0, 0.99), st.integers(1, 9), st.integers(1, 40))
def test_masks_are_those_of_a_plain_computation(seed: int, step: int, p: float, batch: int, features: int) -> None:
    network = nn.Sequential(Dropout(p), nn.Identity(), Dropout(p))
    layers.key_dropouts(network, seed)
    layers.set_step(network, step)
    for k, layer in enumerate(layers.dropouts(network)):
        x = torch.full((batch, features), 3.0)
        expected = np.where(kept(seed, k, step, p, batch, features), np.float32(3) / np.float32(1 - p), np.float32(0))
        assert np.array_equal(layer(x).numpy(), expected)
        assert layer.eval()(x) is x


def test_the_mask_does_not_depend_on_the_layout_of_memory() -> None:
    x, drop = draw(4, 3, 5, 6), Dropout(0.4)

    def layer(x: torch.Tensor) -> torch.Tensor:
        layers.set_step(drop, 11)
        return drop(x)

    expected = torch.from_numpy(kept(0, 0, 11, 0.4, 4, 90)).view(4, 3, 5, 6)
    for other in (x, x.to(memory_format=torch.channels_last), x.flip(0).flip(0), x.transpose(1, 3).transpose(1, 3)):
        assert torch.equal(layer(other), layer(x))
        assert torch.equal(layer(other) != 0, expected)
    assert torch.equal(layer(x.flatten(1)).view_as(x), layer(x))  # features count in the order (c, h, w)


def test_a_layer_that_is_used_twice_in_a_step_drops_other_units() -> None:
    drop, x = Dropout(0.5), torch.ones(8, 32)
    layers.set_step(drop, 3)
    first, second, third = drop(x), drop(x), drop(x)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    layers.set_step(drop, 3)
    assert all(torch.equal(a, drop(x)) for a in (first, second, third))


def test_masks_depend_on_the_step_as_told_or_on_the_call() -> None:
    x, layer = torch.ones(8, 50), Dropout(0.5, seed=3)
    alone = [layer(x) for _ in range(3)]
    assert not torch.equal(alone[0], alone[1])
    for _ in range(2):
        layers.set_step(layer, 1)
        assert torch.equal(layer(x), alone[1])
    layers.set_step(layer, None)
    assert torch.equal(layer(x), alone[0])  # it counts from the beginning again
    assert torch.equal(Dropout(0.5, seed=3)(x), alone[0])


def test_dropout_keeps_the_mean_and_its_gradient_is_the_mask() -> None:
    x = torch.ones(200, 500, requires_grad=True)
    dropped = Dropout(0.3, seed=1)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())
    assert not Dropout(0.5)(torch.full((9, 9), torch.nan))[Dropout(0.5)(torch.ones(9, 9)) == 0].isnan().any()


def test_dropout_of_nothing_and_bad_shares() -> None:
    x = draw(3, 4)
    assert Dropout(0.0)(x) is x
    for p in (1.0, -0.1, float("nan")):
        with pytest.raises(InvalidValueError, match=r"in \[0, 1\), but is"):
            Dropout(p)
    with pytest.raises(InvalidTypeError, match="must be a number"):
        Dropout("0.5")  # type: ignore[arg-type]


def test_torchs_dropout_is_replaced_and_nothing_else() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2)), nn.Dropout(0.0), nn.Dropout2d(0.1), nn.Dropout2d(0.0),
        nn.LSTM(4, 4, 2, dropout=0.5), nn.GRU(4, 4), nn.MultiheadAttention(4, 2, dropout=0.1),
    ).eval()  # fmt: skip
    names = list(network.state_dict())
    layers.count_dropouts(network)
    assert [type(layer) for layer in (network[0][1], network[1], network[2])] == [Dropout, Dropout, nn.Dropout2d]  # type: ignore[index]
    assert [layer.p for layer in layers.dropouts(network)] == [0.2, 0.0]
    assert not network[0][1].training  # type: ignore[index]
    assert list(network.state_dict()) == names


# -- activations -------------------------------------------------------------------------------------------------


def test_activations_are_their_formulas() -> None:
    x = np.linspace(-5, 5, 101)
    logistic = 1 / (1 + np.exp(-x))
    from scipy.special import erf

    formulas = {
        "sigmoid": logistic,
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "leaky-relu": np.where(x > 0, x, 0.01 * x),
        "prelu": np.where(x > 0, x, 0.25 * x),
        "elu": np.where(x > 0, x, np.expm1(x)),
        "silu": x * logistic,
        "swish": x * logistic,
        "gelu": x * (1 + erf(x / np.sqrt(2))) / 2,
    }
    assert list(formulas) == list(activations.ACTIVATIONS)
    for name, expected in formulas.items():
        found = activations.make(name)(torch.tensor(x, dtype=torch.float32))
        assert found.detach().numpy() == pytest.approx(expected, abs=1e-6), name
    assert [name for name in formulas if not activations.is_rectified(name)] == ["sigmoid", "tanh"]
    for call in (activations.make, activations.is_rectified):
        with pytest.raises(InvalidValueError, match=r"Unknown activation 'mish'; known: sigmoid, tanh, .*gelu"):
            call("mish")


def test_beta_of_swish_is_learned_or_fixed() -> None:
    x = draw(50).double().requires_grad_()
    learned, fixed = Swish(1.7).double(), Swish(1.7, learnable=False)
    assert [p.shape for p in learned.parameters()] == [(1,)]
    assert list(fixed.parameters()) == []
    assert torch.allclose(learned(x), fixed(x))
    assert torch.autograd.gradcheck(learned, (x,))
    learned(x).sum().backward()
    slope = (x**2 * torch.sigmoid(1.7 * x) * torch.sigmoid(-1.7 * x)).sum()
    assert learned.beta.grad.item() == pytest.approx(slope.item())  # type: ignore[union-attr]
    assert torch.allclose(Swish(100.0, learnable=False)(x), torch.relu(x), atol=0.01)
    for beta in (float("nan"), float("inf")):
        with pytest.raises(InvalidValueError, match="finite"):
            Swish(beta)
    with pytest.raises(InvalidTypeError, match="a number"):
        Swish("1")  # type: ignore[arg-type]


def test_probabilities_sum_to_one() -> None:
    logits = draw(3, 5, 7) * 50
    expected = np.exp(logits.double().numpy())
    expected /= expected.sum(-1, keepdims=True)
    assert activations.probabilities(logits).numpy() == pytest.approx(expected, abs=1e-6)


# -- initial weights ---------------------------------------------------------------------------------------------


def test_initial_weights_follow_the_papers() -> None:
    network = initialised(lambda: nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 100)), 0, rectified=True)
    first, last = network[0].weight, network[1].weight  # type: ignore[index]
    assert first.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=1e-3)
    assert first.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert last.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)  # Glorot: fan_in + fan_out = 300
    assert last.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=1e-3)
    assert torch.count_nonzero(network[0].bias) == 0  # type: ignore[index]


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_recurrent_weights(cell: str, gates: int) -> None:
    network = initialised(lambda: Recurrent(cell, 60, 40, bidirectional=True), 0, rectified=False)
    found: dict[str, Any] = {name.partition(".")[2]: p.detach() for name, p in network.named_parameters()}
    for side in ("", "_reverse"):
        inputs, states = found[f"weight_ih_l0{side}"], found[f"weight_hh_l0{side}"]
        assert inputs.abs().max().item() == pytest.approx((6 / 100) ** 0.5, rel=1e-2)
        assert inputs.std().item() == pytest.approx((2 / 100) ** 0.5, rel=0.02)
        rotations = states.split(40)
        assert len(rotations) == gates
        for rotation in rotations:
            assert torch.allclose(rotation @ rotation.T, torch.eye(40), atol=1e-5)
        biases = (found[f"bias_ih_l0{side}"] + found[f"bias_hh_l0{side}"]).split(40)
        assert [b.unique().tolist() for b in biases] == [[float(cell == "lstm" and i == 1)] for i in range(gates)]
    if gates > 1:
        assert not torch.equal(rotations[0], rotations[1])
    assert not torch.equal(found["weight_hh_l0"], found["weight_hh_l0_reverse"])


def test_rotations_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([layers._rotation(2, generator) for _ in range(2000)])
    angles = torch.atan2(many[:, 1, 0], many[:, 0, 0])
    assert torch.histc(angles, 8, -torch.pi, torch.pi).tolist() == pytest.approx([250] * 8, abs=60)
    assert (torch.linalg.det(many) > 0).double().mean().item() == pytest.approx(0.5, abs=0.04)


def test_layers_that_start_as_constants_and_unknown_layers() -> None:
    made = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(1, 4), nn.PReLU(init=0.1), Swish(0.5), nn.Flatten(),
        nn.BatchNorm1d(16), nn.LayerNorm(16),
    )  # fmt: skip
    network: Any = initialised(made, 0, rectified=True)
    for norm in (network[1], network[2], network[6], network[7]):
        assert norm.weight.unique().tolist() == [1]
        assert norm.bias.unique().tolist() == [0]
    assert network[1].running_mean.tolist() == [0] * 4
    assert network[1].running_var.tolist() == [1] * 4
    assert network[3].weight.item() == pytest.approx(0.1)
    assert network[4].beta.item() == 0.5
    with pytest.raises(InvalidTypeError, match="MultiheadAttention"):
        initialised(lambda: nn.MultiheadAttention(4, 2), 0, rectified=False)


def test_dropout_layers_get_the_keys_of_the_seed() -> None:
    network = initialised(lambda: nn.Sequential(nn.Linear(2, 2), Dropout(0.1), Dropout(0.2)), 9, rectified=False)
    assert [layer.key for layer in layers.dropouts(network)] == [counter.key(9, 0), counter.key(9, 1)]
    layers.key_dropouts(network, 10)
    assert [layer.key for layer in layers.dropouts(network)] == [counter.key(10, 0), counter.key(10, 1)]
