"""Splits: disjoint, stratified, by seed; the test part is never mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import Dataset, load_dataset, split


def labelled(counts: list[int], n_test: int = 10) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 1, 1, 1), np.uint8)
    return Dataset("x", images, labels, images[:1].repeat(n_test, 0), np.arange(n_test) % len(counts), len(counts))


@given(
    counts=st.lists(st.integers(0, 30), min_size=2, max_size=6).filter(lambda c: sum(c) >= 2),
    seed=st.integers(0, 2**63),
    share=st.floats(0.01, 0.99),
)
def test_parts_are_disjoint_complete_and_stratified(counts: list[int], seed: int, share: float) -> None:
    n = sum(counts)
    k = min(max(round(share * n), 1), n - 1)
    data = labelled(counts)
    parts = split(data, seed, validation=k)
    assert len(parts.validation) == k
    assert sorted([*parts.train, *parts.validation]) == list(range(n))
    drawn = np.bincount(data.labels[parts.validation], minlength=len(counts))
    assert (np.abs(drawn - np.array(counts) * k / n) < 1).all()  # no class is a whole image off its share
    np.testing.assert_array_equal(parts.test, np.arange(10))


def test_shipped_split() -> None:
    data = load_dataset("fashion-mnist-small")
    parts = split(data, None)
    np.testing.assert_array_equal(parts.validation, data.validation)
    assert len(parts.train) == 2000
    again = split(data, 7)
    assert (len(again.train), len(again.validation), len(again.test)) == (2000, 500, 1000)
    assert np.bincount(data.labels[again.validation]).tolist() == [50] * 10


def test_the_seed_decides_and_the_test_part_stays() -> None:
    data = load_dataset("fashion-mnist-small")
    first, same, other = split(data, 0), split(data, 0), split(data, 1)
    np.testing.assert_array_equal(first.validation, same.validation)
    assert len(np.intersect1d(first.validation, other.validation)) < 200  # by chance: about 100 of 500
    np.testing.assert_array_equal(first.test_part[0], other.test_part[0])
    np.testing.assert_array_equal(first.test_part[1], data.test_labels)


def test_the_stream_is_the_frozen_one() -> None:
    """Would fail if the draw ever changed, with numpy or with this code: published splits must stay what they are."""
    assert split(labelled([20, 30, 50]), 3, validation=10).validation.tolist() == [
        9,
        14,
        23,
        31,
        43,
        78,
        88,
        90,
        92,
        99,
    ]


def test_limits() -> None:
    data = load_dataset("fashion-mnist-small")
    full, small = split(data, 0), split(data, 0, n_train=100, n_validation=50, n_test=20)
    assert set(small.train) < set(full.train)
    assert set(small.validation) < set(full.validation)
    assert np.bincount(data.labels[small.train]).tolist() == [10] * 10
    assert np.bincount(data.test_labels[small.test]).tolist() == [2] * 10
    np.testing.assert_array_equal(split(data, 0, n_train=100).validation, full.validation)
    np.testing.assert_array_equal(split(data, 5, n_test=20).test, small.test)
    assert len(split(data, None, n_train=100).train) == 100


def test_a_share_is_a_size_too() -> None:
    data = load_dataset("digits")
    assert len(split(data, 0).validation) == 300
    assert len(split(data, 0, validation=0.1).validation) == 150


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, InvalidValueError, "negative"),
        ({"seed": 1.0}, InvalidTypeError, "1.0"),
        ({"seed": None}, InvalidValueError, "ships with no validation part"),
        ({"validation": 0}, InvalidValueError, "empty part"),
        ({"validation": 20}, InvalidValueError, "ask for 1 to 19"),
        ({"validation": 1.5}, InvalidValueError, "share"),
        ({"validation": float("nan")}, InvalidValueError, "share"),
        ({"validation": "500"}, InvalidTypeError, "'500'"),
        ({"n_train": 17}, InvalidValueError, r"n_train=17 is not in 1\.\.16"),
        ({"n_validation": 0}, InvalidValueError, r"1\.\.4"),
        ({"n_test": 11}, InvalidValueError, r"1\.\.10"),
        ({"n_test": 2.0}, InvalidTypeError, "n_test"),
    ],
)
def test_impossible_splits(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(labelled([10, 10]), **arguments)


def test_more_impossible_splits() -> None:
    with pytest.raises(InvalidTypeError, match="needs a Dataset"):
        split("digits")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="fixed size"):
        split(load_dataset("fashion-mnist-small"), None, validation=100)
    with pytest.raises(InvalidValueError, match="empty part"):
        split(labelled([1, 0]), 0)
