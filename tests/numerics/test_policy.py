"""The factorised policy: gradients against finite differences and torch, draws against probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunesmith.numerics.policy import SPREAD, Policy

X = np.array([[0.1, 0.9, 0.3], [0.6, np.nan, 0.31], [0.1, 0.2, 1.0], [0.99, 0.0, 0.5]])
ADVANTAGE = np.array([1.0, -0.5, 0.3, -2.0])


def policy(smooth: bool = False, seed: int = 0) -> Policy:
    made = Policy([3, 5, 10], [smooth] * 3)
    made._move(np.random.default_rng(seed).normal(size=18))
    return made


def softmaxes(logits: np.ndarray) -> list[np.ndarray]:
    return [np.exp(part) / np.exp(part).sum() for part in np.split(logits, [3, 8])]


def log_prob(logits: np.ndarray) -> np.ndarray:
    """By the definition, row by row."""
    p = softmaxes(logits)
    return np.array(
        [
            sum(np.log(p[j][min(int(u * len(p[j])), len(p[j]) - 1)]) for j, u in enumerate(row) if not np.isnan(u))
            for row in X
        ]
    )


def test_log_prob_and_its_gradient() -> None:
    made = policy()
    np.testing.assert_allclose(made.log_prob(X), log_prob(made.logits))
    step = 1e-6
    numeric = [
        (ADVANTAGE @ log_prob(made.logits + step * e) - ADVANTAGE @ log_prob(made.logits - step * e)) / (2 * step)
        for e in np.eye(18)
    ]
    np.testing.assert_allclose(made.gradient(X, ADVANTAGE), numeric, atol=1e-8)


def test_entropy_gradient() -> None:
    made = policy()

    def entropy(logits: np.ndarray) -> float:
        return float(sum(-(p @ np.log(p)) for p in softmaxes(logits)))

    step = 1e-6
    numeric = [(entropy(made.logits + step * e) - entropy(made.logits - step * e)) / (2 * step) for e in np.eye(18)]
    np.testing.assert_allclose(made.entropy_gradient(), numeric, atol=1e-8)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_learning_is_gradient_ascent(clip: float | None) -> None:
    """Three epochs against torch's derivative of the (clipped) surrogate."""
    torch = pytest.importorskip("torch")
    made = policy()
    theta = torch.tensor(made.logits, requires_grad=True)
    before = None
    for _ in range(3 if clip is not None else 1):
        p = [part.log_softmax(0) for part in theta.split([3, 5, 10])]
        logs = torch.stack(
            [
                sum(p[j][min(int(u * len(p[j])), len(p[j]) - 1)] for j, u in enumerate(row) if not np.isnan(u))
                for row in X
            ]
        )
        before = logs.detach() if before is None else before
        a = torch.tensor(ADVANTAGE)
        ratio = (logs - before).exp()
        gain = a * ratio if clip is None else torch.minimum(a * ratio, a * ratio.clamp(1 - clip, 1 + clip))
        entropy = sum(-(q.exp() * q).sum() for q in p)
        (gain.mean() + 0.05 * entropy).backward()
        with torch.no_grad():
            theta += 0.7 * theta.grad
            theta.grad.zero_()
    made.learn(X, ADVANTAGE, 0.7, 0.05, clip, 3 if clip is not None else 1)
    expected = [part - part.max() for part in np.split(theta.detach().numpy(), [3, 8])]
    np.testing.assert_allclose(made.logits, np.concatenate(expected), atol=1e-9)


def test_neighbours_learn_too() -> None:
    """A good result in the middle of 21 cells: p falls off with the distance; without smoothing it does not."""
    smooth, plain = Policy([21], [True]), Policy([21], [False])
    for made in (smooth, plain):
        made.learn(np.array([[0.5]]), np.array([1.0]), 1.0, 0.0, None, 1)
        assert np.argmax(made.p) == 10
        np.testing.assert_allclose(made.p, made.p[::-1])
    assert (np.diff(smooth.p[10:15]) < 0).all()
    assert np.ptp(plain.p[:10]) < 1e-12


def test_no_cell_is_preferred() -> None:
    """The mean of the gradients of a uniform policy is zero, also at the walls."""
    made = Policy([12], [True])
    at = (np.arange(12)[:, None] + 0.5) / 12
    made.learn(at, np.ones(12), 1.0, 0.0, None, 1)
    np.testing.assert_allclose(made.p, 1 / 12)
    made.learn(np.full((1, 1), np.nan), np.ones(1), 1.0, 0.0, None, 1)
    np.testing.assert_allclose(made.p, 1 / 12)


def test_draws() -> None:
    made = policy()
    x = made.draw(np.random.default_rng(0), 6000)
    assert x.shape == (6000, 3)
    for j, (k, p) in enumerate(zip((3, 5, 10), softmaxes(made.logits), strict=True)):
        cells = np.floor(x[:, j] * k).astype(int)
        assert stats.chisquare(np.bincount(cells, minlength=k), p * 6000).pvalue > 1e-3
        assert stats.kstest(x[:, j] * k - cells, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.05


def test_no_cell_becomes_impossible() -> None:
    made = Policy([4, 1], [True, True])
    with np.errstate(all="raise", under="ignore"):
        for _ in range(200):
            made.learn(np.array([[0.1, 0.5]]), np.array([1.0]), 50.0, 0.01, 0.2, 4)
            made.learn(np.array([[0.9, 0.5]]), np.array([-1.0]), 50.0, 0.01, None, 1)
    assert np.isfinite(made.logits).all()
    assert (made.p > 0).all()
    assert made.logits.min() >= -SPREAD
    assert made.p[4] == 1.0
