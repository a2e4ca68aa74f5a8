"""Losses against torch, numpy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import hinge_loss
from torch import Tensor
from torch.nn import functional

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.hyperparameters import LOSSES
from tunesmith.train.losses import loss, targets


def drawn(seed: int, b: int = 9, k: int = 5, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels, and target rows that are blended."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, generator=random) * scale
    labels = torch.randint(k, (b,), generator=random)
    return logits, labels, torch.softmax(torch.randn(b, k, generator=random), 1)


@given(seed=st.integers(0, 1000), smoothing=st.sampled_from([0.0, 0.1, 0.37]))
@settings(max_examples=30, deadline=None)
def test_cross_entropy_is_torchs(seed: int, smoothing: float) -> None:
    logits, labels, blended = drawn(seed)
    for name in ("cross-entropy", "nll"):
        found = loss(name, logits, targets(labels, 5, smoothing))
        wanted = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            loss(name, logits, blended), functional.cross_entropy(logits, blended, reduction="none")
        )


def test_gradients_of_cross_entropy_have_the_bits_of_torchs() -> None:
    logits, labels, _ = drawn(1, 64, 10)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss("cross-entropy", ours, targets(labels, 10)).mean().backward()
    functional.cross_entropy(theirs, labels).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_squared_error_is_the_brier_score() -> None:
    logits, labels, _ = drawn(2)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    wanted = ((p - np.eye(5)[labels.numpy()]) ** 2).sum(1)
    np.testing.assert_allclose(loss("squared-error", logits, targets(labels, 5)).numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal(gamma: float) -> None:
    logits, labels, blended = drawn(3)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    for t in (targets(labels, 5), blended):
        wanted = -(t.double().numpy() * (1 - p) ** gamma * np.log(p)).sum(1)
        np.testing.assert_allclose(loss("focal", logits, t, gamma).numpy(), wanted, rtol=1e-4, atol=1e-6)
    if gamma == 0.0:
        torch.testing.assert_close(loss("focal", logits, blended, gamma), loss("nll", logits, blended))


def test_hinge_is_one_against_the_rest() -> None:
    logits, labels, _ = drawn(4, 40)
    hits = targets(labels, 5)
    signs = 2 * hits - 1
    wanted = functional.hinge_embedding_loss(signs * logits, -torch.ones_like(logits), reduction="none").sum(1)
    found = loss("hinge", logits, hits)
    torch.testing.assert_close(found, wanted)
    classes = [hinge_loss((labels == c).numpy(), logits[:, c].numpy(), labels=[False, True]) for c in range(5)]
    assert float(found.mean()) == pytest.approx(sum(classes), rel=1e-5)


@pytest.mark.parametrize("name", ["cross-entropy", "hinge"])
def test_blended_targets_have_the_blended_loss(name: str) -> None:
    logits, labels, _ = drawn(5)
    a, b = targets(labels, 5), targets(labels.roll(1), 5)
    torch.testing.assert_close(
        loss(name, logits, 0.3 * a + 0.7 * b), 0.3 * loss(name, logits, a) + 0.7 * loss(name, logits, b)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives(name: str) -> None:
    logits, _, blended = drawn(6)
    wanted = blended.double()
    assert torch.autograd.gradcheck(lambda z: loss(name, z, wanted, 1.7), (logits.double().requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("right", [True, False])
def test_sure_networks_have_finite_derivatives(name: str, gamma: float, right: bool) -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    value = loss(name, logits, targets(torch.tensor([0 if right else 2]), 3), gamma).sum()
    value.backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert bool(value.isfinite())


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=8), smoothing=st.floats(0.0, 0.99))
@settings(deadline=None)
def test_target_rows(labels: list[int], smoothing: float) -> None:
    found = targets(torch.tensor(labels), 4, smoothing)
    wanted = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-30)
    assert found.dtype == torch.float32
    stacked = torch.tensor([smoothing, 0.0], dtype=torch.float64).view(2, 1, 1)
    lanes = targets(torch.tensor([labels, labels]), 4, stacked)
    assert lanes.dtype == torch.float32
    assert torch.equal(lanes[0], found)  # a lane's targets have the bits of those alone
    assert torch.equal(lanes[1], targets(torch.tensor(labels), 4))


@pytest.mark.parametrize("name", LOSSES)
def test_lanes_have_the_bits_of_each_alone(name: str) -> None:
    parts = [drawn(seed) for seed in range(3)]
    gammas = [0.0, 0.7, 2.0]
    stacked = loss(
        name,
        torch.stack([logits for logits, _, _ in parts]),
        torch.stack([blended for _, _, blended in parts]),
        torch.tensor(gammas).view(3, 1, 1),
    )
    for row, (logits, _, blended), gamma in zip(stacked, parts, gammas, strict=True):
        torch.testing.assert_close(row, loss(name, logits, blended, gamma), rtol=0, atol=0)


def test_unknown_loss() -> None:
    with pytest.raises(InvalidValueError, match="Unknown loss 'l2'; known: cross-entropy, nll, squared-error"):
        loss("l2", torch.zeros(1, 2), torch.ones(1, 2))
