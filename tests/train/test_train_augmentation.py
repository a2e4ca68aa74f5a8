"""Augmentation against numpy and scipy, and its statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from tunesmith.train import Hyperparameters, counter
from tunesmith.train.augmentation import Augmentation, mixup_share

KEY = counter.at_step(counter.key(5, 2), 17)


def batch(b: int = 6, c: int = 2, h: int = 7, w: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(b, c, h, w, generator=random) + 0.5, torch.eye(4)[torch.arange(b) % 4]


def drawn(purpose: int, b: int) -> Tensor:
    """The random bits that belong to the images of a batch."""
    return counter.bits(counter.at_step(KEY, purpose), torch.arange(b))


def test_nothing_is_none() -> None:
    assert Augmentation.of(Hyperparameters()) is None
    assert Augmentation.of(Hyperparameters(crop=2)) == Augmentation(crop=2)


def test_flip() -> None:
    images, targets = batch(200)
    found, same = Augmentation(flip=True).apply(images, targets, KEY)
    mirrored = (found == images.flip(-1)).flatten(1).all(1)
    kept = (found == images).flatten(1).all(1)
    assert bool((mirrored ^ kept).all())
    assert torch.equal(mirrored, drawn(0, 200) < 2**31)
    assert 70 < int(mirrored.sum()) < 130
    assert torch.equal(same, targets)


@given(padding=st.integers(1, 4), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_crop(padding: int, seed: int) -> None:
    images, targets = batch(seed=seed)
    found, _ = Augmentation(crop=padding).apply(images, targets, KEY)
    sides = 2 * padding + 1
    tops, lefts = (drawn(purpose, 6) * sides // 2**32 for purpose in (1, 2))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for i in range(6):
        wanted = padded[i, :, tops[i] : tops[i] + 7, lefts[i] : lefts[i] + 9]
        np.testing.assert_array_equal(found[i].numpy(), wanted)


def test_all_shifts_are_equally_likely() -> None:
    images = torch.zeros(8000, 1, 5, 5)
    images[:, 0, 2, 2] = 1.0
    found, _ = Augmentation(crop=1).apply(images, torch.ones(8000, 1), KEY)
    counts = found.sum(0)[0]
    assert float(counts[1:4, 1:4].sum()) == 8000
    assert stats.chisquare(counts[1:4, 1:4].flatten().numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("h", "w"), [(9, 9), (7, 12)])
def test_rotation(h: int, w: int) -> None:
    images, targets = batch(5, 2, h, w)
    found, _ = Augmentation(rotation=60.0).apply(images, targets, KEY)
    angles = (2 * ((drawn(3, 5) >> 8) * 2.0**-24).double() - 1).numpy() * math.radians(60)
    assert np.ptp(angles) > 0.5
    centre = np.array([(h - 1) / 2, (w - 1) / 2])
    for i, angle in enumerate(angles):
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array([[cos, sin], [-sin, cos]])  # output (y, x) -> input (y, x)
        for channel in range(2):
            wanted = ndimage.affine_transform(
                images[i, channel].double().numpy(), matrix, centre - matrix @ centre, order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(found[i, channel].numpy(), wanted, atol=2e-5)


def test_a_rotation_of_zero_degrees_is_the_image() -> None:
    images, targets = batch()
    found, _ = Augmentation(rotation=1e-4).apply(images, targets, KEY)
    torch.testing.assert_close(found, images, rtol=0, atol=1e-4)


def test_noise_is_normal_and_independent() -> None:
    images, targets = torch.zeros(64, 3, 16, 16), torch.ones(64, 1)
    found, _ = Augmentation(noise=0.2).apply(images, targets, KEY)
    values = (found / 0.2).flatten().double().numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    assert np.isfinite(values).all()
    later, _ = Augmentation(noise=0.2).apply(images, targets, counter.at_step(counter.key(5, 2), 18))
    assert abs(np.corrcoef(values, later.flatten().numpy())[0, 1]) < 0.01


@pytest.mark.parametrize("side", [1, 3, 4, 30])
def test_cutout(side: int) -> None:
    images, targets = batch(40)
    found, _ = Augmentation(cutout=side).apply(images, targets, KEY)
    rows, columns = drawn(5, 40) * 7 // 2**32, drawn(6, 40) * 9 // 2**32
    for i in range(40):
        wanted = images[i].numpy().copy()
        top, left = int(rows[i]) - side // 2, int(columns[i]) - side // 2
        wanted[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
        np.testing.assert_array_equal(found[i].numpy(), wanted)
    assert bool((found == 0).any(1).flatten(1).any(1).all())  # every image lost something
    assert (side == 30) == bool((found == 0).all())


def test_mixup_blends_neighbours() -> None:
    images, targets = batch()
    share = mixup_share(0.4, KEY)
    found, blended = Augmentation(mixup=0.4).apply(images, targets, KEY)
    other = np.roll(np.arange(6), -1)
    np.testing.assert_allclose(found.numpy(), share * images.numpy() + (1 - share) * images.numpy()[other], rtol=1e-5)
    np.testing.assert_allclose(blended.numpy(), share * targets.numpy() + (1 - share) * targets.numpy()[other])
    np.testing.assert_allclose(blended.sum(1).numpy(), 1, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_shares_of_mixup_are_beta(alpha: float) -> None:
    shares = [mixup_share(alpha, counter.at_step(counter.key(1), step)) for step in range(2000)]
    assert stats.kstest(shares, "beta", args=(alpha, alpha)).pvalue > 1e-3
    assert all(0.0 <= share <= 1.0 for share in shares)


ALL = Augmentation(flip=True, crop=2, rotation=20.0, noise=0.1, cutout=3, mixup=0.3)


def test_order() -> None:
    """All together are one after the other."""
    images, targets = batch()
    wanted, blended = images, targets
    for options in ({"flip": True}, {"crop": 2}, {"rotation": 20.0}, {"noise": 0.1}, {"cutout": 3}, {"mixup": 0.3}):
        wanted, blended = Augmentation(**options).apply(wanted, blended, KEY)  # type: ignore[arg-type]
    found, labels = ALL.apply(images, targets, KEY)
    assert torch.equal(found, wanted)
    assert torch.equal(labels, blended)


def test_outcome_is_a_function_of_key_and_position() -> None:
    images, targets = batch(8)
    before, labels, state = images.clone(), targets.clone(), torch.get_rng_state()
    first = ALL.apply(images, targets, KEY)
    assert torch.equal(first[0], ALL.apply(images, targets, KEY)[0])
    assert not torch.equal(first[0], ALL.apply(images, targets, counter.at_step(KEY, 1))[0])
    assert torch.equal(images, before)  # not changed in place
    assert torch.equal(targets, labels)
    assert torch.equal(torch.get_rng_state(), state)
    alone = Augmentation(flip=True, crop=2, rotation=20.0, noise=0.1, cutout=3)
    whole, _ = alone.apply(images, targets, KEY)
    part, _ = alone.apply(images[:3], targets[:3], KEY)
    torch.testing.assert_close(part, whole[:3], rtol=1e-6, atol=1e-6)  # the last batch of an epoch is smaller
    assert whole.shape == images.shape
    assert whole.dtype == torch.float32
