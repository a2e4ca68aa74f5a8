"""The optimizers of a stack: torch's numbers, and every lane by itself."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.hyperparameters import OPTIMIZERS, Hyperparameters
from tunesmith.train.lanes.updates import TorchUpdate, lane_norms

P = 33  # of parameters: not a multiple of what registers hold

#: Settings that differ from all defaults, and from each other.
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"momentum": 0.5, "beta_1": 0.7, "beta_2": 0.9, "alpha": 0.8, "rho": 0.7, "epsilon": 1e-3},
    {"momentum": 0.0, "beta_1": 0.0, "beta_2": 0.5, "weight_decay": 0.1},
    {"nesterov": True, "weight_decay": 0.05, "decoupled": True},
    {"l1": 0.02, "clip_norm": 0.3},
    {"nesterov": True, "momentum": 0.8, "clip_norm": 2.0, "l1": 0.01, "weight_decay": 0.2},
]


def gradient(weights: Tensor, step: int, seed: int) -> Tensor:
    """Of a convex function (so that rounding does not grow) with noise; one of its entries is 0."""
    noise = torch.randn(P, generator=torch.Generator().manual_seed(1000 * seed + step))
    found = weights - 1.0 + 0.3 * torch.sin(3.0 * weights) + noise
    found[step % P] = 0.0
    return found


def start(seed: int) -> Tensor:
    return torch.randn(P, generator=torch.Generator().manual_seed(seed))


def rate(step: int, lane: int) -> float:
    return 0.02 * (1.5 + math.cos(step / 7 + lane))


class Stack:
    """Lanes of an update, and their parameters."""

    def __init__(self, lanes: int, axis: int = 0) -> None:
        self.axis = axis
        self.weights = torch.zeros((lanes, P) if axis == 0 else (P, lanes))
        self.update = TorchUpdate(lanes, axis, self.weights)
        self.inside: dict[int, int] = {}  # lane -> seed of its training
        self.at: dict[int, int] = {}  # lane -> steps done

    def put(self, lane: int, h: Hyperparameters, seed: int) -> None:
        self.weights.select(self.axis, lane).copy_(start(seed))
        self.update.put(lane, h)
        self.inside[lane], self.at[lane] = seed, 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            gradients = torch.zeros_like(self.weights)
            rates = [math.nan] * self.update.lanes
            for lane, seed in self.inside.items():
                weights = self.weights.select(self.axis, lane)
                gradients.select(self.axis, lane).copy_(gradient(weights, self.at[lane], seed))
                rates[lane] = rate(self.at[lane], seed)
                self.at[lane] += 1
            self.update.step(self.weights, gradients, rates)

    def of(self, lane: int) -> Tensor:
        return self.weights.select(self.axis, lane).clone()


@functools.cache
def alone(h: Hyperparameters, seed: int, steps: int) -> Tensor:
    stack = Stack(1)
    stack.put(0, h, seed)
    stack.run(steps)
    return stack.of(0)


def by_torch(h: Hyperparameters, seed: int, steps: int) -> Tensor:
    """Written against torch.optim and torch.nn.utils alone. Two tensors, as a network has several."""
    weights = start(seed)
    parts = [torch.nn.Parameter(weights[:20].clone()), torch.nn.Parameter(weights[20:].clone())]
    decoupled = h.decoupled or h.optimizer == "adamw"
    common: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0 if decoupled else h.weight_decay}
    if h.epsilon is not None and h.optimizer != "sgd":
        common["eps"] = h.epsilon
    betas = {"betas": (h.beta_1, h.beta_2)}
    optimizer: torch.optim.Optimizer = {
        "sgd": lambda: torch.optim.SGD(parts, momentum=h.momentum, nesterov=h.nesterov and h.momentum > 0, **common),
        "rmsprop": lambda: torch.optim.RMSprop(parts, alpha=h.alpha, momentum=h.momentum, **common),
        "adam": lambda: torch.optim.Adam(parts, **betas, **common),
        "adamw": lambda: torch.optim.AdamW(parts, **betas, **common | {"weight_decay": 0.0}),
        "radam": lambda: torch.optim.RAdam(parts, **betas, **common),
        "nadam": lambda: torch.optim.NAdam(parts, **betas, **common),
        "adadelta": lambda: torch.optim.Adadelta(parts, rho=h.rho, **common),
        "adagrad": lambda: torch.optim.Adagrad(parts, **common),
        "adamax": lambda: torch.optim.Adamax(parts, **betas, **common),
    }[h.optimizer]()
    for step in range(steps):
        lr = rate(step, seed)
        optimizer.param_groups[0]["lr"] = lr
        whole = gradient(torch.cat([p.detach() for p in parts]), step, seed)
        for p, g in zip(parts, whole.split([20, P - 20]), strict=True):
            p.grad = g + h.l1 * p.detach().sign()
        if h.clip_norm:
            torch.nn.utils.clip_grad_norm_(parts, h.clip_norm)
        if decoupled:
            with torch.no_grad():
                for p in parts:
                    p.mul_(1.0 - lr * h.weight_decay)
        optimizer.step()
    return torch.cat([p.detach() for p in parts])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_is_torchs(optimizer: str) -> None:
    """Lanes with all kinds of settings at once, against torch.optim one by one."""
    all_h = [Hyperparameters(optimizer=optimizer, **changes) for changes in DIFFERENT]
    stack = Stack(len(all_h))
    for lane, h in enumerate(all_h):
        stack.put(lane, h, seed=lane)
    stack.run(100)
    for lane, h in enumerate(all_h):
        torch.testing.assert_close(stack.of(lane), by_torch(h, lane, 100), rtol=2e-6, atol=2e-6)
        assert not torch.allclose(stack.of(lane), start(lane), atol=1e-3), "it has moved"


def test_decoupled_adam_is_adamw() -> None:
    """torch's AdamW has the decay within; the oracle above has it before the step."""
    h = Hyperparameters(optimizer="adamw", weight_decay=0.3)
    weights = torch.nn.Parameter(start(0))
    optimizer = torch.optim.AdamW([weights], weight_decay=0.3)
    for step in range(50):
        optimizer.param_groups[0]["lr"] = rate(step, 0)
        weights.grad = gradient(weights.detach(), step, 0)
        optimizer.step()
    torch.testing.assert_close(alone(h, 0, 50), weights.detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(alone(h, 0, 50), alone(replace(h, optimizer="adam", decoupled=True), 0, 50))


MIXED = [
    Hyperparameters(optimizer=name, **DIFFERENT[i % len(DIFFERENT)])
    for i, name in enumerate([*OPTIMIZERS, *OPTIMIZERS])
]


@pytest.mark.parametrize("axis", [0, 1])
@settings(max_examples=10, deadline=None)
@given(st.permutations(range(len(MIXED))), st.integers(1, len(MIXED)))
def test_a_lane_is_alone(axis: int, order: list[int], n: int) -> None:
    """Bitwise: any optimizers beside it, in any lane, among any number of them, in either layout; NaNs beside it."""
    chosen = order[:n]
    stack = Stack(n + 2, axis)
    for lane, which in enumerate(chosen):
        stack.put(lane, MIXED[which], seed=which)
    broken = Hyperparameters(optimizer="adam", clip_norm=1.0, l1=0.1, weight_decay=0.1)
    stack.put(n + 1, broken, seed=99)  # and lane n is empty
    stack.weights.select(axis, n + 1).fill_(math.nan)
    stack.run(12)
    for lane, which in enumerate(chosen):
        assert torch.equal(stack.of(lane), alone(MIXED[which], which, 12)), MIXED[which]
    assert torch.equal(stack.of(n), torch.zeros(P))
    assert stack.of(n + 1).isnan().all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_moves_and_is_taken_up_again(optimizer: str) -> None:
    h = Hyperparameters(optimizer=optimizer, weight_decay=0.1)
    first, second = Stack(2), Stack(3, axis=1)
    first.put(1, h, seed=4)
    first.run(7)
    state = first.update.state(1)
    assert all(isinstance(value, Tensor) for value in state.values())
    for lane in (0, 1):
        second.put(lane, Hyperparameters(optimizer="sgd"), seed=lane)
    second.run(3)  # lane 1 has a history of its own, which must not stay behind
    second.update.remove(1)
    second.put(1, h, seed=4)
    second.weights[:, 1] = first.of(1)
    second.update.restore(1, state)
    second.at[1] = 7
    second.run(8)
    assert torch.equal(second.of(1), alone(h, 4, 15))
    first.run(1)  # the state was a copy
    assert torch.equal(second.update.state(1)["step"], torch.tensor(15.0, dtype=torch.float64))


def test_only_what_an_optimizer_needs_is_kept() -> None:
    def names(**settings: Any) -> set[str]:
        stack = Stack(1)
        stack.put(0, Hyperparameters(**settings), seed=0)
        return set(stack.update.state(0)) - {"step", "product"}

    assert names(momentum=0.0) == set()
    assert names() == {"momentum_buffer"}
    assert names(optimizer="rmsprop", momentum=0.0) == {"square_avg"}
    assert names(optimizer="adamw") == {"exp_avg", "exp_avg_sq"}
    assert names(optimizer="adagrad") == {"sum"}


def test_a_lane_is_used_again() -> None:
    stack = Stack(2)
    stack.put(0, Hyperparameters(optimizer="nadam"), seed=1)
    stack.run(9)
    stack.put(0, Hyperparameters(optimizer="nadam"), seed=2)
    stack.run(5)
    assert torch.equal(stack.of(0), alone(Hyperparameters(optimizer="nadam"), 2, 5))


def test_large_stacks_are_updated_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    h = Hyperparameters(optimizer="adadelta", l1=0.1)
    whole = alone(h, 3, 6)
    monkeypatch.setattr("tunesmith.train.lanes.updates._BLOCK", 10)
    assert torch.equal(whole, alone.__wrapped__(h, 3, 6))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 100, 1001])
def test_norms(n: int) -> None:
    x = torch.randn(3, n, generator=torch.Generator().manual_seed(n))
    expected = np.linalg.norm(x.double().numpy(), axis=1)
    np.testing.assert_allclose(lane_norms(x, 0).flatten().numpy(), expected, rtol=1e-6)
    assert torch.equal(lane_norms(x.T.contiguous(), 1).flatten(), lane_norms(x, 0).flatten())
    assert lane_norms(x, 0).shape == (3, 1)


def test_what_does_not_fit() -> None:
    with pytest.raises(InvalidValueError, match=r"3 lanes along axis 0 do not fit parameters of shape \(2, 5\)"):
        TorchUpdate(3, 0, torch.zeros(2, 5))
    update = TorchUpdate(2, 0, torch.zeros(2, 5))
    with pytest.raises(InvalidValueError, match=r"no training in lane 1; call put\(\) first"):
        update.state(1)
    update.put(1, Hyperparameters(optimizer="adam"))
    with pytest.raises(
        InvalidValueError, match="state of adam has step, product, exp_avg, exp_avg_sq; this one has nothing"
    ):
        update.restore(1, {})
    with pytest.raises(InvalidValueError, match="1 learning rates"):
        update.step(torch.zeros(2, 5), torch.zeros(2, 5), [0.1])
