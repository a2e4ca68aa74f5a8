"""The update of the weights against torch.optim used directly."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import Hyperparameters
from tunesmith.train.hyperparameters import OPTIMIZERS
from tunesmith.train.optimizers import Optimizer, epsilon

OURS = {"beta_1": 0.8, "beta_2": 0.95}
BETAS = {"betas": (0.8, 0.95)}
O = torch.optim  # noqa: E741

#: Our hyperparameters, and what the customary script says.
CASES: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"optimizer": "sgd", "momentum": 0.0}, O.SGD, {}),
    ({"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.1}, O.SGD, {"momentum": 0.8, "weight_decay": 0.1}),
    ({"optimizer": "sgd", "momentum": 0.8, "nesterov": True}, O.SGD, {"momentum": 0.8, "nesterov": True}),
    ({"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, O.SGD, {}),
    (
        {"optimizer": "rmsprop", "momentum": 0.5, "alpha": 0.9, "weight_decay": 0.1},
        O.RMSprop,
        {"momentum": 0.5, "alpha": 0.9, "weight_decay": 0.1},
    ),
    ({"optimizer": "adam", **OURS, "weight_decay": 0.1}, O.Adam, {**BETAS, "weight_decay": 0.1}),
    ({"optimizer": "adam", "epsilon": 1e-3}, O.Adam, {"eps": 1e-3}),
    ({"optimizer": "adam", "weight_decay": 0.1, "decoupled": True}, O.AdamW, {"weight_decay": 0.1}),
    (
        {"optimizer": "adamw", **OURS, "weight_decay": 0.1},
        O.AdamW,
        {**BETAS, "weight_decay": 0.1},
    ),
    ({"optimizer": "adamw"}, O.AdamW, {"weight_decay": 0.0}),
    (
        {"optimizer": "radam", **OURS, "weight_decay": 0.1},
        O.RAdam,
        {**BETAS, "weight_decay": 0.1},
    ),
    (
        {"optimizer": "nadam", **OURS, "weight_decay": 0.1},
        O.NAdam,
        {**BETAS, "weight_decay": 0.1},
    ),
    ({"optimizer": "adamax", **OURS}, O.Adamax, BETAS),
    ({"optimizer": "adadelta", "rho": 0.8, "weight_decay": 0.1}, O.Adadelta, {"rho": 0.8, "weight_decay": 0.1}),
    ({"optimizer": "adagrad", "weight_decay": 0.1}, O.Adagrad, {"weight_decay": 0.1}),
]


def parameters(seed: int = 0) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in [(4, 3), (5,), (2, 3, 3, 3)]]


def fill(ps: list[nn.Parameter], step: int) -> None:
    random = torch.Generator().manual_seed(1000 + step)
    for p in ps:
        p.grad = p.detach() * 0.1 + torch.randn(p.shape, generator=random)


def lr(step: int) -> float:
    return 0.01 / (1 + step % 7)


def run(h: Hyperparameters, steps: int = 30) -> list[nn.Parameter]:
    ps = parameters()
    optimizer = Optimizer(ps, h)
    for step in range(steps):
        fill(ps, step)
        optimizer.step(lr(step))
    return ps


def equal(a: list[nn.Parameter], b: list[nn.Parameter]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize(("options", "kind", "theirs"), CASES)
def test_each_optimizer_is_torchs_bit_for_bit(options: dict[str, Any], kind: Any, theirs: dict[str, Any]) -> None:
    ps = parameters()
    wanted = kind(ps, lr=0.01, **theirs)
    for step in range(30):
        fill(ps, step)
        wanted.param_groups[0]["lr"] = lr(step)
        wanted.step()
    assert equal(run(Hyperparameters(**options)), ps)


def test_all_optimizers_are_there() -> None:
    assert {options["optimizer"] for options, _, _ in CASES} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_epsilon_is_torchs(name: str) -> None:
    kind = {"sgd": None, "rmsprop": O.RMSprop, "adam": O.Adam, "radam": O.RAdam, "nadam": O.NAdam, "adamw": O.AdamW,
            "adadelta": O.Adadelta, "adagrad": O.Adagrad, "adamax": O.Adamax}[name]  # fmt: skip
    if kind is not None:
        assert epsilon(Hyperparameters(optimizer=name)) == inspect.signature(kind).parameters["eps"].default
    assert epsilon(Hyperparameters(optimizer=name, epsilon=0.5)) == 0.5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decoupled_decay_shrinks_before_the_step(name: str) -> None:
    """As if the weights were multiplied by hand and the optimizer knew of no decay."""
    ps = parameters()
    optimizer = Optimizer(ps, Hyperparameters(optimizer=name))
    for step in range(30):
        fill(ps, step)
        with torch.no_grad():
            for p in ps:
                p.mul_(1 - lr(step) * 0.3)
        optimizer.step(lr(step))
    h = Hyperparameters(optimizer=name, weight_decay=0.3, decoupled=True)
    assert equal(run(h), ps)
    assert not equal(run(Hyperparameters(optimizer=name)), ps)


@pytest.mark.parametrize("name", ["radam", "nadam"])
def test_decoupled_decay_is_torchs_where_it_has_it(name: str) -> None:
    kind = {"radam": O.RAdam, "nadam": O.NAdam}[name]
    if "decoupled_weight_decay" not in inspect.signature(kind).parameters:
        pytest.skip("this version of torch has none")
    ps = parameters()
    wanted = kind(ps, weight_decay=0.3, decoupled_weight_decay=True)
    for step in range(10):
        fill(ps, step)
        wanted.param_groups[0]["lr"] = lr(step)
        wanted.step()
    found = run(Hyperparameters(optimizer=name, weight_decay=0.3, decoupled=True), 10)
    for p, q in zip(found, ps, strict=True):
        torch.testing.assert_close(p, q)


def test_l1_then_clipping_then_the_step() -> None:
    h = Hyperparameters(lr=0.1, momentum=0.0, l1=0.05, clip_norm=2.0)
    ps, wanted = parameters(), [p.detach().clone() for p in parameters()]
    fill(ps, 0)
    gradients = [p.grad + 0.05 * p.detach().sign() for p in ps if p.grad is not None]
    norm = torch.sqrt(sum((g.square().sum() for g in gradients), torch.zeros(())))
    assert norm > 2.0
    Optimizer(ps, h).step(0.1)
    for p, w, g in zip(ps, wanted, gradients, strict=True):
        torch.testing.assert_close(p.detach(), w - 0.1 * g * 2.0 / (norm + 1e-6))


def test_a_short_gradient_is_not_clipped() -> None:
    assert equal(run(Hyperparameters(clip_norm=1e6)), run(Hyperparameters()))
    assert not equal(run(Hyperparameters(clip_norm=1.0)), run(Hyperparameters()))


def test_parameters_without_gradient_stay() -> None:
    ps = parameters()
    frozen, unused = nn.Parameter(torch.ones(3), requires_grad=False), nn.Parameter(torch.ones(3))
    h = Hyperparameters(optimizer="adamw", weight_decay=0.5, l1=0.1, clip_norm=1.0)
    optimizer = Optimizer([frozen, *ps, unused], h)
    fill(ps, 0)
    optimizer.step(0.1)
    assert frozen.tolist() == unused.tolist() == [1, 1, 1]
    assert not equal(ps, parameters())


@pytest.mark.parametrize("options", [options for options, _, _ in CASES])
def test_state_is_restored_bit_for_bit(options: dict[str, Any]) -> None:
    h = Hyperparameters(**options)
    first = parameters()
    first[2].data = first[2].data.to(memory_format=torch.channels_last)
    optimizer = Optimizer(first, h)
    for step in range(9):
        fill(first, step)
        optimizer.step(lr(step))
    state = {i: {name: t.clone() for name, t in tensors.items()} for i, tensors in optimizer.state().items()}
    assert state or (h.optimizer, h.momentum) == ("sgd", 0.0)
    second = [nn.Parameter(p.detach().clone()) for p in first]
    resumed = Optimizer(second, h)
    resumed.restore({i: {k: t.contiguous() for k, t in tensors.items()} for i, tensors in state.items()})
    for step in range(9, 30):
        for ps, each in ((first, optimizer), (second, resumed)):
            fill(ps, step)
            each.step(lr(step))
    assert equal(first, second)
    assert all(torch.equal(t, state[i][k]) for i, ts in state.items() for k, t in ts.items())  # state was a copy


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="torch has scalers for CUDA alone")
def test_a_scaler_unscales_first_and_leaves_out_steps_that_overflowed() -> None:
    h = Hyperparameters(optimizer="adamw", weight_decay=0.3, l1=0.05, clip_norm=1.0)
    plain, scaled = parameters(), parameters()
    optimizers = Optimizer(plain, h), Optimizer(scaled, h)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(5):
        fill(plain, step)
        fill(scaled, step)
        scaler.scale(torch.ones(()))
        for p in scaled:
            assert p.grad is not None
            p.grad.mul_(1024.0)
        optimizers[0].step(lr(step))
        optimizers[1].step(lr(step), scaler)
    assert equal(plain, scaled)
    fill(scaled, 5)
    assert scaled[0].grad is not None
    scaled[0].grad[0, 0] = torch.inf
    optimizers[1].step(lr(5), scaler)
    assert equal(plain, scaled)  # neither a step nor decay
    assert scaler.get_scale() == 512.0


def test_a_state_of_other_parameters() -> None:
    h = Hyperparameters()
    ps = parameters()
    optimizer = Optimizer(ps, h)
    fill(ps, 0)
    optimizer.step(0.1)
    other = Optimizer([nn.Parameter(torch.zeros(7))], h)
    with pytest.raises(InvalidValueError, match=r"'momentum_buffer' has the shape \(4, 3\); its parameter .*\(7,\)"):
        other.restore(optimizer.state())
    wrong: dict[str, dict[str, Tensor]] = {"5": {}}
    with pytest.raises(InvalidValueError, match="has a parameter '5'"):
        other.restore(wrong)
