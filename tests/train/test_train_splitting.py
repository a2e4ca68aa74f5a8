"""Splits: disjoint, stratified, by seed; the test part is never mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.model_selection
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import Dataset, load_dataset, split
from tunesmith.train.splitting import k_fold


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
        ({"validation": "500"}, InvalidValueError, "or 'official', not '500'"),
        ({"validation": [5]}, InvalidTypeError, r"\[5\]"),
        ({"validation": "official", "n_test": 3}, InvalidValueError, "no test part is left"),
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


# -- the official test part as validation part ---------------------------------------------------------------------


def test_official_validation_trains_on_everything_and_leaves_no_test() -> None:
    data = load_dataset("digits")
    parts = split(data, 3, validation="official")
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1500, 297, 0)
    np.testing.assert_array_equal(parts.validation_part[0], data.test_images)
    np.testing.assert_array_equal(parts.validation_part[1], data.test_labels)
    assert repr(parts) == "Split('digits': 1500 training, 297 validation of the test part, nothing left to test with)"
    small = split(data, 3, validation="official", n_train=100, n_validation=50)
    assert (len(small.train), len(small.validation)) == (100, 50)
    other = split(data, 4, validation="official", n_train=100, n_validation=50)
    np.testing.assert_array_equal(small.validation, other.validation)  # repeats are measured with the same images
    assert set(small.train) != set(other.train)


# -- k-fold --------------------------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(0, 40), min_size=2, max_size=5).filter(lambda c: sum(c) >= 10),
    seed=st.integers(0, 2**63),
    folds=st.integers(2, 6),
    repeats=st.integers(1, 3),
)
def test_folds_are_a_stratified_partition(counts: list[int], seed: int, folds: int, repeats: int) -> None:
    data = labelled(counts)
    n = len(data.labels)
    splits = k_fold(data, seed, folds=folds, repeats=repeats)
    assert len(splits) == folds * repeats
    for repeat in range(repeats):
        partition = splits[repeat * folds : (repeat + 1) * folds]
        assert sorted(row for parts in partition for row in parts.validation) == list(range(n))
        for parts in partition:
            assert sorted([*parts.train, *parts.validation]) == list(range(n))
            assert len(parts.validation) in (n // folds, -(-n // folds))
            drawn = np.bincount(data.labels[parts.validation], minlength=len(counts))
            assert all(count // folds <= d <= -(-count // folds) for d, count in zip(drawn, counts, strict=True))
            np.testing.assert_array_equal(parts.test, np.arange(10))


@pytest.mark.parametrize("counts", [[50, 50], [7, 13, 31, 5], [6, 6, 6]])
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_class_counts_are_those_of_scikit_learn(counts: list[int], folds: int) -> None:
    data = labelled(counts)
    oracle = sklearn.model_selection.StratifiedKFold(folds, shuffle=True, random_state=0)
    expected = [np.bincount(data.labels[rows]) for _, rows in oracle.split(np.zeros(len(data.labels)), data.labels)]
    found = [np.bincount(data.labels[parts.validation]) for parts in k_fold(data, 1, folds=folds)]
    np.testing.assert_array_equal(found, expected)


def test_partitions_differ_between_seeds_and_repeats() -> None:
    data = labelled([100, 100])
    parts = [*k_fold(data, 0, folds=2, repeats=3), *k_fold(data, 1, folds=2)]
    held = {tuple(p.validation) for p in parts}
    assert len(held) == len(parts)
    first = k_fold(data, 0, folds=2)
    for a, b in zip(first, parts, strict=False):  # more repeats do not change the first
        np.testing.assert_array_equal(a.validation, b.validation)


def test_the_stream_of_folds_is_the_frozen_one() -> None:
    """As above: published cross-validations must stay what they are."""
    assert [p.validation.tolist() for p in k_fold(labelled([3, 6]), 3, folds=3)] == [[0, 3, 5], [1, 6, 8], [2, 4, 7]]


def test_folds_with_limits() -> None:
    data = labelled([60, 60])
    full, small = k_fold(data, 0, folds=3), k_fold(data, 0, folds=3, n_train=20, n_validation=10, n_test=4)
    for a, b in zip(full, small, strict=True):
        assert set(b.train) < set(a.train)
        assert set(b.validation) < set(a.validation)
        assert (len(b.train), len(b.validation), len(b.test)) == (20, 10, 4)
        assert np.bincount(data.labels[b.train]).tolist() == [10, 10]
    assert len({tuple(p.train) for p in small}) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"folds": 1}, InvalidValueError, "folds must be at least 2"),
        ({"folds": 2.0}, InvalidTypeError, "folds must be an integer"),
        ({"folds": 21}, InvalidValueError, "empty folds"),
        ({"repeats": 0}, InvalidValueError, "repeats must be at least 1"),
        ({"seed": None}, InvalidTypeError, "needs a seed"),
        ({"seed": -1}, InvalidValueError, "negative"),
        ({"n_train": 17}, InvalidValueError, r"n_train=17 is not in 1\.\.16"),
        ({"n_validation": 5}, InvalidValueError, r"1\.\.4"),
    ],
)
def test_impossible_folds(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        k_fold(labelled([10, 10]), **arguments)
    with pytest.raises(InvalidTypeError, match="needs a Dataset"):
        k_fold("digits")  # type: ignore[arg-type]
