"""Training, validation and test parts of a data set, by seed.

The validation part is drawn from the official training images, class by class, so that both parts have the class
proportions of the whole; :func:`k_fold` makes each of them the validation part once. The test part is the official
one; no seed moves an image into it or out of it. (``validation="official"`` validates on it, as many publications do;
then nothing is left for a test.)

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
#: What ``validation`` may be instead of a size.
OFFICIAL = "official"
#: A smaller test part is the same for every split seed, so that repeats are measured with the same images.
_TEST_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of a data set, as row numbers.

    Attributes:
        dataset: the set that was split.
        train: (n,) rows of ``dataset.images``, ascending.
        validation: (k,) rows of ``dataset.images``, ascending, none of them in ``train``; of ``dataset.test_images``
            when ``official``.
        test: (m,) rows of ``dataset.test_images``, ascending; none when ``official``.
        official: whether the official test part is the validation part.
    """

    dataset: Dataset
    train: IndexArray
    validation: IndexArray
    test: IndexArray
    official: bool = False

    @property
    def train_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (n, c, h, w) and labels (n,) to learn from."""
        return self.dataset.images[self.train], self.dataset.labels[self.train]

    @property
    def validation_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (k, c, h, w) and labels (k,) to choose by."""
        if self.official:
            return self.dataset.test_images[self.validation], self.dataset.test_labels[self.validation]
        return self.dataset.images[self.validation], self.dataset.labels[self.validation]

    @property
    def test_part(self) -> tuple[ImageArray, IndexArray]:
        """Images (m, c, h, w) and labels (m,) to report with, once."""
        return self.dataset.test_images[self.test], self.dataset.test_labels[self.test]

    def __repr__(self) -> str:
        what = "of the test part, nothing left to test with" if self.official else f"{len(self.test)} test images"
        sizes = f"{len(self.train)} training, {len(self.validation)} validation"
        return f"Split({self.dataset.name!r}: {sizes}{' ' if self.official else ', '}{what})"


def split(
    dataset: Dataset,
    seed: int | None = 0,
    *,
    validation: int | float | str | None = None,
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
            ``"official"`` trains on all training images and validates on the official test part. What was chosen by
            it has been fitted to it, so it is no test any more; it is for comparing with publications that did that.
        n_train, n_validation, n_test: at most so many images of each part, drawn class by class, for reduced runs.
            The validation part does not depend on ``n_train``, and a smaller test part not on ``seed``.

    Raises:
        InvalidTypeError, InvalidValueError: a seed, size or limit that is impossible, or a part that would be empty.
    """
    _check_dataset(dataset, "split")
    everything = np.arange(len(dataset.labels))
    if isinstance(validation, str):
        return _official(dataset, seed, validation, (n_train, n_validation, n_test))
    if seed is None:
        if dataset.validation is None:
            raise InvalidValueError(f"{dataset.name!r} ships with no validation part; give a seed, for example 0.")
        if validation is not None:
            raise InvalidValueError("The shipped validation part has a fixed size; give a seed to choose another size.")
        held_out = dataset.validation
    else:
        k = _validation_size(dataset, validation)
        held_out = _draw(dataset.labels, everything, k, dataset.n_classes, _random(seed, 0))
    return _parts(dataset, held_out, (n_train, n_validation, n_test), _random(seed, 1), _random(seed, 2))


def k_fold(
    dataset: Dataset,
    seed: int = 0,
    *,
    folds: int = 5,
    repeats: int = 1,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
) -> list[Split]:
    """Stratified k-fold: each training image is in the validation part of exactly one of ``folds`` splits.

    The images are ordered at random within their classes, the classes one after the other, and dealt out in turn, so
    that no two folds differ by more than one image, in all or in any class.

    Source: R. Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model selection, IJCAI
    1995 (stratified folds; repeated, because one partition is one draw).

    Args:
        dataset: what to split; its test part is in no fold.
        seed: of the partition; a non-negative integer.
        folds: how many, at least 2.
        repeats: how many partitions.
        n_train, n_validation, n_test: as for :func:`split`, for each fold.

    Returns:
        ``folds * repeats`` splits, those of the first partition first.

    Raises:
        InvalidTypeError, InvalidValueError: a seed, number or limit that is impossible, or a fold that would be empty.
    """
    _check_dataset(dataset, "k_fold")
    for name, value, lowest in (("folds", folds, 2), ("repeats", repeats, 1)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InvalidTypeError(f"{name} must be an integer, not {value!r}.")
        if value < lowest:
            raise InvalidValueError(f"{name} must be at least {lowest}, but is {value}.")
    n = len(dataset.labels)
    if folds > n:
        raise InvalidValueError(f"folds={folds} leaves empty folds: {dataset.name!r} has {n} training images.")
    if seed is None:
        raise InvalidTypeError("k_fold needs a seed, for example 0; the part that a set ships with is no partition.")
    splits = []
    for repeat in range(repeats):
        random = _random(seed, 4, repeat)
        order = random.permutation(n)
        order = order[np.argsort(dataset.labels[order], kind="stable")]
        for fold in range(folds):
            draws = (_random(seed, purpose, repeat * folds + fold) for purpose in (5, 6))
            splits.append(_parts(dataset, order[fold::folds], (n_train, n_validation, n_test), *draws))
    return splits


Limits = tuple[int | None, int | None, int | None]


def _check_dataset(dataset: object, function: str) -> None:
    if not isinstance(dataset, Dataset):
        raise InvalidTypeError(f"{function}() needs a Dataset, for example load_dataset('digits'), not {dataset!r}.")


def _official(dataset: Dataset, seed: int | None, validation: str, limits: Limits) -> Split:
    if validation != OFFICIAL:
        raise InvalidValueError(f"validation must be a number of images, a share or 'official', not {validation!r}.")
    if limits[2] is not None:
        raise InvalidValueError(f"n_test={limits[2]} is of no use with validation='official': no test part is left.")
    n, m = len(dataset.labels), len(dataset.test_labels)
    train = _limited("n_train", dataset.labels, np.arange(n), limits[0], _random(seed, 1), dataset)
    held_out = _limited("n_validation", dataset.test_labels, np.arange(m), limits[1], _random(_TEST_SEED, 3), dataset)
    return Split(dataset, train, held_out, np.arange(0), official=True)


def _parts(
    dataset: Dataset, held_out: IndexArray, limits: Limits, train: np.random.RandomState, val: np.random.RandomState
) -> Split:
    """The split with this validation part; the generators draw the images of reduced runs."""
    is_held_out = np.zeros(len(dataset.labels), bool)
    is_held_out[held_out] = True
    parts = {
        "n_train": (dataset.labels, np.flatnonzero(~is_held_out), limits[0], train),
        "n_validation": (dataset.labels, np.flatnonzero(is_held_out), limits[1], val),
        "n_test": (dataset.test_labels, np.arange(len(dataset.test_labels)), limits[2], _random(_TEST_SEED, 3)),
    }
    chosen = [_limited(name, *part, dataset) for name, part in parts.items()]
    return Split(dataset, chosen[0], chosen[1], chosen[2])


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
        raise InvalidTypeError(
            f"validation must be a number of images, a share in (0, 1) or 'official', not {validation!r}."
        )
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


def _random(seed: int | None, *purpose: int) -> np.random.RandomState:
    """A generator for one purpose: 0 validation part, 1 to 3 the limits; 4 a partition, 5 and 6 the limits of a fold.

    Purposes must not differ by zeros at the end alone, because SeedSequence pads with zeros.
    """
    if seed is None:
        seed = 0  # the parts are given; this only draws the images of a reduced run
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InvalidTypeError(f"A split seed must be a non-negative integer or None, not {seed!r}.")
    if seed < 0:
        raise InvalidValueError(f"A split seed must not be negative, but is {seed}.")
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([int(seed), *purpose])))


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
