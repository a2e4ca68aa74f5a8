"""Training, validation and test parts of a data set, by seed.

The validation part is drawn from the official training images, class by class, so that both parts have the class
proportions of the whole. The test part is the official one; no seed moves an image into it or out of it.

Random numbers: MT19937 seeded through SeedSequence, with the methods of numpy's RandomState, whose streams are frozen
(NEP 19). A seed therefore gives the same split with every version of numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train.dataset import Dataset, ImageArray, IndexArray

#: Share of the training images that become the validation part by default; 2,000 : 500 in the shipped subset.
VALIDATION_SHARE = 0.2
#: A smaller test part is the same for every split seed, so that repeats are measured with the same images.
_TEST_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of a data set, as row numbers.

    Attributes:
        dataset: the set that was split.
        train: (n,) rows of ``dataset.images``, ascending.
        validation: (k,) rows of ``dataset.images``, ascending, none of them in ``train``.
        test: (m,) rows of ``dataset.test_images``, ascending.
    """

    dataset: Dataset
    train: IndexArray
    validation: IndexArray
    test: IndexArray

    @property
    def train_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (n, c, h, w) and labels (n,) to learn from."""
        return self.dataset.images[self.train], self.dataset.labels[self.train]

    @property
    def validation_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (k, c, h, w) and labels (k,) to choose by."""
        return self.dataset.images[self.validation], self.dataset.labels[self.validation]

    @property
    def test_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (m, c, h, w) and labels (m,) to report with, once."""
        return self.dataset.test_images[self.test], self.dataset.test_labels[self.test]

    def __repr__(self) -> str:
        return (
            f"Split({self.dataset.name!r}: {len(self.train)} training, {len(self.validation)} validation, "
            f"{len(self.test)} test images)"
        )


def split(
    dataset: Dataset,
    seed: int | None = 0,
    *,
    validation: int | float | None = None,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
) -> Split:
    """Split a data set into training, validation and test parts.

    Args:
        dataset: what to split.
        seed: draws the validation part from ``dataset.images``; a non-negative integer. None takes the validation
            part that the set ships with (``fashion-mnist-small`` has one).
        validation: size of the validation part, as a number of images or a share in (0, 1). Default: the size of the
            part the set ships with, else a fifth of the training images. Not allowed with ``seed=None``.
        n_train, n_validation, n_test: at most so many images of each part, drawn class by class, for reduced runs.
            The validation part does not depend on ``n_train``, and a smaller test part not on ``seed``.

    Raises:
        InvalidTypeError, InvalidValueError: a seed, size or limit that is impossible, or a part that would be empty.
    """
    if not isinstance(dataset, Dataset):
        raise InvalidTypeError(f"split() needs a Dataset, for example load_dataset('digits'), not {dataset!r}.")
    if seed is None:
        if dataset.validation is None:
            raise InvalidValueError(f"{dataset.name!r} ships with no validation part; give a seed, for example 0.")
        if validation is not None:
            raise InvalidValueError("The shipped validation part has a fixed size; give a seed to choose another size.")
        held_out = dataset.validation
    else:
        k = _validation_size(dataset, validation)
        held_out = _draw(dataset.labels, np.arange(len(dataset.labels)), k, dataset.n_classes, _random(seed, 0))
    is_held_out = np.zeros(len(dataset.labels), bool)
    is_held_out[held_out] = True
    parts = {
        "n_train": (dataset.labels, np.flatnonzero(~is_held_out), n_train, _random(seed, 1)),
        "n_validation": (dataset.labels, np.flatnonzero(is_held_out), n_validation, _random(seed, 2)),
        "n_test": (dataset.test_labels, np.arange(len(dataset.test_labels)), n_test, _random(_TEST_SEED, 3)),
    }
    return Split(dataset, *(_limited(name, *part, dataset) for name, part in parts.items()))


def _limited(
    name: str, labels: IndexArray, rows: IndexArray, limit: int | None, random: np.random.RandomState, dataset: Dataset
) -> IndexArray:
    """At most ``limit`` of ``rows``."""
    if limit is None:
        return rows
    if isinstance(limit, bool) or not isinstance(limit, Integral):
        raise InvalidTypeError(f"{name} must be an integer or None, not {limit!r}.")
    if not 1 <= limit <= len(rows):
        raise InvalidValueError(f"{name}={limit} is not in 1..{len(rows)}, the size of this part of {dataset.name!r}.")
    return _draw(labels, rows, int(limit), dataset.n_classes, random)


def _validation_size(dataset: Dataset, validation: int | float | None) -> int:
    n = len(dataset.labels)
    if validation is None:
        k = len(dataset.validation) if dataset.validation is not None else round(VALIDATION_SHARE * n)
        return min(max(k, 1), n - 1) if n > 1 else _no_room(dataset, validation)
    if isinstance(validation, bool) or not isinstance(validation, Real):
        raise InvalidTypeError(f"validation must be a number of images or a share in (0, 1), not {validation!r}.")
    if isinstance(validation, Integral):
        k = int(validation)
    elif 0 < validation < 1:
        k = round(float(validation) * n)
    else:
        raise InvalidValueError(f"validation={validation!r} is neither a whole number of images nor a share in (0, 1).")
    return k if 1 <= k < n else _no_room(dataset, validation)


def _no_room(dataset: Dataset, validation: object) -> int:
    raise InvalidValueError(
        f"validation={validation!r} leaves an empty part: {dataset.name!r} has {len(dataset.labels)} training images; "
        f"ask for 1 to {len(dataset.labels) - 1}."
    )


def _random(seed: int | None, purpose: int) -> np.random.RandomState:
    """A generator for one purpose: 0 validation part, 1 to 3 the limits."""
    if seed is None:
        seed = 0  # the parts are given; this only draws the images of a reduced run
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InvalidTypeError(f"A split seed must be a non-negative integer or None, not {seed!r}.")
    if seed < 0:
        raise InvalidValueError(f"A split seed must not be negative, but is {seed}.")
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([int(seed), purpose])))


def _draw(labels: IndexArray, rows: IndexArray, k: int, n_classes: int, random: np.random.RandomState) -> IndexArray:
    """``k`` of ``rows`` with the class proportions of ``rows``, ascending."""
    counts = np.bincount(labels[rows], minlength=n_classes)
    quotas = _largest_remainder(counts, k)
    chosen = [random.permutation(rows[labels[rows] == c])[: quotas[c]] for c in range(n_classes)]
    return np.sort(np.concatenate(chosen))


def _largest_remainder(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Share ``k`` among the classes in proportion to ``counts``; what rounding leaves goes to the largest remainders.

    Whole numbers only, and ties go to the lower class, so that the result is exact everywhere.
    """
    total = int(counts.sum())
    quotas, remainders = np.divmod(counts.astype(np.int64) * k, total)
    order = np.argsort(-remainders, kind="stable")
    quotas[order[: k - int(quotas.sum())]] += 1
    return quotas
