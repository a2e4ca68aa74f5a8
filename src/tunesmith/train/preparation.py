"""Data sets that lie ready on the device, shared by all splits and all trials of a process.

The images of a data set are copied to the device once, training and test images one behind the other; a part of a
split is a list of row numbers and the scaling that its training part gives (:class:`~tunesmith.train.job.Part`). So a
fold or a repeat costs some row numbers, and trainings on different splits can run together on one copy.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.dataset import Dataset, ImageArray, IndexArray, load_dataset
from tunesmith.train.job import Part, Pool
from tunesmith.train.splitting import Split, k_fold, split

#: Data sets kept on a device, most recent last: enough for a search whose axes are a few data sets.
_KEPT = 3
#: Splits kept of each: a comparison may have as many in use as it has repeats; each is some row numbers.
_KEPT_SPLITS = 32
#: Images whose moments are computed at a time; it bounds the memory for float64 copies.
_CHUNK = 1000

Which = Literal["training", "validation", "test"]
Scaling = tuple[NDArray[np.float32], NDArray[np.float32]]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Cut:
    """How a data set is cut into parts; arguments of :func:`~tunesmith.train.splitting.split` and ``k_fold``.

    Attributes:
        seed: of the split; None takes the validation part that the set ships with.
        validation: size of the validation part, or "official".
        folds: of a cross-validation; None for one validation part.
        repeats: of the cross-validation.
        n_train, n_validation, n_test: at most so many images of each part.
    """

    seed: int | None = 0
    validation: int | float | str | None = None
    folds: int | None = None
    repeats: int = 1
    n_train: int | None = None
    n_validation: int | None = None
    n_test: int | None = None

    def splits(self, dataset: Dataset) -> list[Split]:
        """One, or one for each fold of each repeat."""
        limits = {"n_train": self.n_train, "n_validation": self.n_validation, "n_test": self.n_test}
        if self.folds is None:
            return [split(dataset, self.seed, validation=self.validation, **limits)]
        return k_fold(dataset, self.seed, folds=self.folds, repeats=self.repeats, **limits)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set on the device, cut into parts.

    Attributes:
        pool: all its images, training images first.
        splits: one, or those of a cross-validation.
    """

    pool: Pool
    splits: list[Split]
    _moments: Moments
    _parts: dict[tuple[Which, str, int], Part] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def training(self, normalize: str = "standardize", index: int = 0) -> Part:
        """What the split ``index`` learns from; see :func:`scaling` for ``normalize``."""
        return self._part("training", normalize, index)

    def validation(self, normalize: str = "standardize", index: int = 0) -> Part:
        """What the split ``index`` chooses by, scaled as its training part."""
        return self._part("validation", normalize, index)

    def test(self, normalize: str = "standardize", index: int = 0) -> Part:
        """What is reported with, once; scaled as the training part of the split ``index``.

        Raises:
            InvalidValueError: the test part is the validation part.
        """
        if self.splits[index].official:
            raise InvalidValueError("With validation='official' the test part is the validation part; no test is left.")
        return self._part("test", normalize, index)

    def _part(self, which: Which, normalize: str, index: int) -> Part:
        key = (which, normalize, index)
        with self._lock:  # trials that start together share one part
            if key not in self._parts:
                cut, n = self.splits[index], len(self.splits[index].dataset.images)
                rows = {"training": cut.train, "validation": cut.validation, "test": cut.test}[which]
                behind = which == "test" or (which == "validation" and cut.official)
                if which == "training":
                    shift, scale = scaling(normalize, cut.dataset.images, cut.train, self._moments)
                    device = self.pool.images.device
                    scaled = (torch.from_numpy(shift).to(device), torch.from_numpy(scale).to(device))
                else:
                    training = self._part("training", normalize, index)
                    scaled = (training.shift, training.scale)
                moved = torch.from_numpy(rows + n if behind else rows.copy()).to(self.pool.images.device)
                self._parts[key] = Part(self.pool, moved, *scaled)
            return self._parts[key]


class Moments:
    """Mean and sum of squared deviations of every image, channel by channel; computed when first needed.

    Those of any part follow from them at once (T. Chan, G. Golub, R. LeVeque, Updating formulae and a pairwise
    algorithm for computing sample variances, 1979, eq. 2.1; all images have the same number of pixels).
    """

    def __init__(self, images: ImageArray) -> None:
        self._images = images
        self._lock = threading.Lock()
        self._found: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def of(self, rows: IndexArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel over some images, (c,) each."""
        with self._lock:
            if self._found is None:
                self._found = self._compute()
        means, squares = (values[rows] for values in self._found)
        mean = means.mean(axis=0)
        pixels = self._images.shape[2] * self._images.shape[3]
        variance = (squares.mean(axis=0) / pixels) + ((means - mean) ** 2).mean(axis=0)
        return mean, np.sqrt(variance)

    def _compute(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n, channels, height, width = self._images.shape
        means, squares = np.empty((n, channels)), np.empty((n, channels))
        for start in range(0, n, _CHUNK):
            part = slice(start, start + _CHUNK)
            pixels = self._images[part].astype(np.float64).reshape(-1, channels, height * width)
            means[part] = pixels.mean(axis=2)
            pixels -= means[part, :, None]
            squares[part] = np.einsum("ncp,ncp->nc", pixels, pixels)
        return means, squares


def scaling(normalize: str, images: ImageArray, rows: IndexArray, moments: Moments | None = None) -> Scaling:
    """What networks see of an image is ``(image - shift) * scale``; shift and scale, (c, 1, 1) float32.

    - "standardize": each channel has mean 0 and standard deviation 1 over ``rows`` (a constant channel is centred);
    - "range": bytes 0..255 become -1..1; floating-point pixels likewise from their smallest and largest over ``rows``;
    - "none": bytes become 0..1; floating-point pixels stay what they are.

    Args:
        normalize: one of these.
        images: (n, c, h, w).
        rows: of the training part. Nothing of the other parts is looked at, so nothing of them leaks into training.
        moments: of ``images``, if they are at hand.

    Raises:
        InvalidValueError: an unknown mode; the message lists the known ones.
    """
    channels = images.shape[1]
    shift, scale = np.zeros(channels), np.ones(channels)
    if normalize == "standardize":
        shift, deviation = (moments or Moments(images)).of(rows)
        scale = 1.0 / np.where(deviation > 0, deviation, 1.0)
    elif normalize == "range":
        low, high = (0.0, 255.0) if images.dtype == np.uint8 else _extremes(images, rows)
        shift, scale = shift + (low + high) / 2, scale * (2.0 / (high - low) if high > low else 1.0)
    elif normalize == "none":
        scale = scale / 255.0 if images.dtype == np.uint8 else scale
    else:
        raise InvalidValueError(f"Unknown normalization {normalize!r}; known: standardize, range, none.")
    return shift.astype(np.float32)[:, None, None], scale.astype(np.float32)[:, None, None]


def _extremes(images: ImageArray, rows: IndexArray) -> tuple[float, float]:
    parts = [images[rows[start : start + _CHUNK]] for start in range(0, len(rows), _CHUNK)]
    return min(float(p.min()) for p in parts), max(float(p.max()) for p in parts)


class _Shelf:
    """A data set on a device, and what was cut of it."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        images = torch.from_numpy(np.concatenate([dataset.images, dataset.test_images]))
        labels = torch.from_numpy(np.concatenate([dataset.labels, dataset.test_labels]))
        self.pool = Pool(dataset.name, images.to(device), labels.to(device), dataset.n_classes)
        self.moments = Moments(dataset.images)
        self.cuts: OrderedDict[Cut, Prepared] = OrderedDict()


_shelves: OrderedDict[tuple[Dataset | str, str], _Shelf] = OrderedDict()
_lock = threading.Lock()


def prepare(data: str | Dataset, cut: Cut, device: torch.device) -> Prepared:
    """Load, copy and cut; or the same as last time.

    Args:
        data: the data set or its name.
        cut: how.
        device: where the images go.

    Raises:
        DataNotFoundError, DataDamagedError, InvalidValueError: as ``load_dataset``, ``split`` and ``k_fold``.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    own = dataset.id if dataset is data else dataset  # one that was handed in may come as several equal objects
    with _lock:  # trials that start together share one copy
        shelf = _kept(_shelves, (own, str(device)), _KEPT, lambda: _Shelf(dataset, device))
        return _kept(shelf.cuts, cut, _KEPT_SPLITS, lambda: Prepared(shelf.pool, cut.splits(dataset), shelf.moments))


def forget() -> None:
    """Let go of all data on devices; trainings that run keep theirs."""
    with _lock:
        _shelves.clear()


def _kept(kept: OrderedDict[K, V], key: K, most: int, make: Callable[[], V]) -> V:
    """The value of ``key``, made if there is none; of more than ``most`` the one not used for longest goes."""
    if key not in kept:
        kept[key] = make()
        while len(kept) > most:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
