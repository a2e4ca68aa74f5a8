"""Data on the device: one pool for all splits, and scaling that knows the training part alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import Dataset, load_dataset, preparation
from tunesmith.train.job import Part
from tunesmith.train.preparation import Cut, Moments, prepare, scaling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    preparation.forget()
    yield
    preparation.forget()


def seen(part: Part) -> np.ndarray:
    """What a network sees of all images of a part."""
    return ((part.pool.images[part.rows].to(torch.float32) - part.shift) * part.scale).numpy()


def test_parts_are_those_of_the_split() -> None:
    cut = Cut(3, n_train=500)
    prepared = prepare("digits", cut, CPU)
    (parts,) = prepared.splits
    for part, (images, labels) in (
        (prepared.training("none"), parts.train_part),
        (prepared.validation("none"), parts.validation_part),
        (prepared.test("none"), parts.test_part),
    ):
        np.testing.assert_array_equal(seen(part), images)
        np.testing.assert_array_equal(part.labels.numpy(), labels)
        assert part.pool.n_classes == 10
    assert len(prepared.training()) == 500


def test_one_pool_for_all_splits_and_no_part_twice() -> None:
    first, again, other = (prepare("digits", Cut(seed), CPU) for seed in (0, 0, 1))
    assert again is first
    assert other is not first
    assert other.pool is first.pool
    assert first.training() is again.training()
    assert first.training().pool is first.test().pool
    folds = prepare("digits", Cut(0, folds=3, repeats=2), CPU)
    assert folds.pool is first.pool
    held = [folds.validation("standardize", index).rows.tolist() for index in range(6)]
    for partition in (held[:3], held[3:]):
        assert sorted(itertools.chain(*partition)) == list(range(1500))
    assert held[0] != held[3]


def test_official_validation_lies_behind_the_training_images() -> None:
    prepared = prepare("digits", Cut(0, validation="official", n_validation=100), CPU)
    data = load_dataset("digits")
    assert len(prepared.training()) == 1500
    validation = prepared.validation("none")
    assert len(validation) == 100
    rows = validation.rows.numpy() - 1500
    assert rows.min() >= 0
    np.testing.assert_array_equal(seen(validation), data.test_images[rows])
    np.testing.assert_array_equal(validation.labels.numpy(), data.test_labels[rows])
    with pytest.raises(InvalidValueError, match="no test is left"):
        prepared.test()


@pytest.mark.parametrize("name", ["digits", "fashion-mnist-small"])
def test_standardized_by_the_training_part_alone(name: str) -> None:
    prepared = prepare(name, Cut(0), CPU)
    images = prepared.splits[0].train_part[0].astype(np.float64)
    oracle = StandardScaler().fit(images.transpose(0, 2, 3, 1).reshape(-1, images.shape[1]))
    training = prepared.training()
    np.testing.assert_allclose(training.shift.flatten(), oracle.mean_, rtol=1e-6)
    np.testing.assert_allclose(training.scale.flatten(), 1 / oracle.scale_, rtol=1e-6)
    for part in (prepared.validation(), prepared.test()):
        assert torch.equal(part.shift, training.shift)
        assert torch.equal(part.scale, training.scale)
    assert abs(seen(training).mean()) < 1e-5
    assert seen(training).std() == pytest.approx(1, abs=1e-5)
    assert abs(seen(prepared.validation()).mean()) > 1e-5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 40), mean=st.sampled_from([0.0, 1e4]), kind=st.booleans())
def test_moments_of_any_part_are_numpys(seed: int, n: int, mean: float, kind: bool) -> None:
    """Also where the mean is large beside the deviation, which the mean of squares would not survive."""
    random = np.random.default_rng(seed)
    images = random.normal(mean, 1.0, (40, 3, 4, 5)).astype(np.float32)
    if kind:
        images = random.integers(0, 256, (40, 3, 4, 5)).astype(np.uint8)  # type: ignore[assignment]
    rows = random.permutation(40)[:n]
    found = Moments(images).of(rows)
    part = images[rows].astype(np.float64)
    np.testing.assert_allclose(found[0], part.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[1], part.std((0, 2, 3)), rtol=1e-9)


def test_moments_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_dataset("digits").images
    rows = np.arange(0, 1500, 3)
    whole = Moments(images).of(rows)
    monkeypatch.setattr(preparation, "_CHUNK", 7)
    for a, b in zip(whole, Moments(images).of(rows), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_constant_channel_is_centred_and_not_divided_by_zero() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4)).astype(np.uint8)
    images[:, 2] = 7
    shift, scale = scaling("standardize", images, np.arange(50))
    result = (images.astype(np.float32) - shift) * scale
    assert (result[:, 2] == 0).all()
    np.testing.assert_allclose(result[:, :2].std((0, 2, 3)), 1, atol=1e-5)


def test_other_normalizations() -> None:
    images = np.array([0, 51, 255, 255], np.uint8).reshape(4, 1, 1, 1)
    rows = np.arange(3)

    def result(mode: str, images: np.ndarray) -> list[float]:
        shift, scale = scaling(mode, images, rows)
        assert shift.dtype == scale.dtype == np.float32
        return ((images.astype(np.float32) - shift) * scale).flatten().tolist()

    assert result("range", images) == pytest.approx([-1, -0.6, 1, 1], abs=1e-6)
    assert result("none", images) == pytest.approx([0, 0.2, 1, 1], abs=1e-6)
    numbers = np.array([2, 3, 4, 8], np.float32).reshape(4, 1, 1, 1)
    assert result("range", numbers) == [-1, 0, 1, 5]  # the last is not in the training part
    assert result("none", numbers) == [2, 3, 4, 8]
    assert result("range", numbers * 0) == [0, 0, 0, 0]
    with pytest.raises(InvalidValueError, match="known: standardize, range, none"):
        scaling("whiten", images, rows)


def test_a_part_for_each_normalization() -> None:
    prepared = prepare("fashion-mnist-small", Cut(0), CPU)
    assert prepared.training("range") is not prepared.training("none")
    values = seen(prepared.training("range"))
    assert (values.min(), values.max()) == (-1, 1)
    with pytest.raises(InvalidValueError, match="Unknown normalization 'x'"):
        prepared.validation("x")


def test_threads_share_one_copy() -> None:
    found = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        found.append(prepare("digits", Cut(5), CPU).training())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({id(part) for part in found}) == 1


def test_what_is_not_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_KEPT", 1)
    monkeypatch.setattr(preparation, "_KEPT_SPLITS", 2)
    first = prepare("digits", Cut(0), CPU)
    for seed in (1, 0, 2):
        prepare("digits", Cut(seed), CPU)
    assert prepare("digits", Cut(0), CPU) is first  # used after 1, which went
    prepare("fashion-mnist-small", Cut(0), CPU)
    again = prepare("digits", Cut(0), CPU)
    assert again is not first
    assert again.pool is not first.pool
    assert torch.equal(again.training().rows, first.training().rows)


def test_a_changed_data_set_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepare("digits", Cut(0), CPU)
    digits = load_dataset("digits")
    other = Dataset("digits", digits.images * 2, digits.labels, digits.test_images, digits.test_labels, 10)
    monkeypatch.setattr(preparation, "load_dataset", lambda _: other)
    after = prepare("digits", Cut(0), CPU)
    assert torch.equal(after.training("none").pool.images[:1500], before.pool.images[:1500] * 2)
