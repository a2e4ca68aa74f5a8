"""Labelled images, and finding a data set by its name."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import _discovery

IndexArray = NDArray[np.int64]
ImageArray = NDArray[np.uint8] | NDArray[np.float32]

#: Data sets kept in memory, most recent last. Two, because a search over data sets alternates between a few.
_KEPT = 2
_cache: OrderedDict[tuple[str, str | None], Dataset] = OrderedDict()
_lock = threading.Lock()
#: How :attr:`Dataset.id` names what a user has handed in.
_OWN = re.compile(r".+-[0-9a-f]{16}")


class AbsentData(str):
    """The name or the id of a data set that is not at hand: a network that knows it can be used, not trained again."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, with the official test part kept apart.

    One of your own is handed to a problem as it is: ``Problem(data=Dataset("mine", images, labels, ...))``.

    Attributes:
        name: as :func:`load_dataset` knows it; of a set of your own whatever you like.
        images: (n, channels, height, width), uint8 (0..255) or float32; the official training part.
        labels: (n,) int64 in ``0 .. n_classes - 1``.
        test_images: (m, channels, height, width), of the same kind; the official test part.
        test_labels: (m,) int64.
        n_classes: number of classes, at least 2.
        validation: (k,) int64, rows of ``images`` that form a validation part fixed by whoever made the set; None
            when there is none, as with most sets.

    The arrays are made read-only, without a copy where their types fit: a data set is shared by all trials of a
    process. Whoever holds the original arrays must not write into them either.

    Raises:
        InvalidTypeError: images that are not numbers or of two kinds, labels that are not integers.
        InvalidValueError: wrong shapes, no images, labels out of range, NaN or infinite pixels.
    """

    name: str
    images: ImageArray
    labels: IndexArray
    test_images: ImageArray
    test_labels: IndexArray
    n_classes: int
    validation: IndexArray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidTypeError(f"A data set is named by a text such as 'mine', not {self.name!r}.")
        if isinstance(self.n_classes, bool) or not isinstance(self.n_classes, int) or self.n_classes < 2:
            raise InvalidValueError(f"{self.name}: n_classes must be an integer of at least 2, not {self.n_classes!r}.")
        for part, images, labels in (("training", "images", "labels"), ("test", "test_images", "test_labels")):
            checked = _images(getattr(self, images), f"{self.name}: {part} images")
            object.__setattr__(self, images, checked)
            object.__setattr__(self, labels, _labels(getattr(self, labels), self.n_classes, f"{self.name}: {part}"))
            if len(checked) != len(getattr(self, labels)):
                raise InvalidValueError(
                    f"{self.name}: {len(checked)} {part} images but {len(getattr(self, labels))} labels."
                )
        if self.images.shape[1:] != self.test_images.shape[1:]:
            raise InvalidValueError(
                f"{self.name}: training images are {self.images.shape[1:]}, test images {self.test_images.shape[1:]}."
            )
        if self.images.dtype != self.test_images.dtype:
            raise InvalidTypeError(
                f"{self.name}: training images are {self.images.dtype}, test images {self.test_images.dtype}; "
                "both must be uint8 or both float32."
            )
        if self.validation is not None:
            object.__setattr__(self, "validation", _rows(self.validation, len(self.labels), self.name))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def id(self) -> str:
        """The name and 16 hexadecimal digits of a SHA-256 of the content: equal sets have equal ids everywhere."""
        found = hashlib.sha256()
        for name in ("images", "labels", "test_images", "test_labels", "validation"):
            if (array := getattr(self, name)) is not None:
                found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                found.update(np.ascontiguousarray(array).data)
        found.update(f"classes {self.n_classes}".encode())
        return f"{self.name}-{found.hexdigest()[:16]}"

    def __repr__(self) -> str:
        c, h, w = self.shape
        return (
            f"Dataset({self.name!r}: {len(self.labels)} training and {len(self.test_labels)} test images "
            f"{c}x{h}x{w}, {self.n_classes} classes)"
        )


def _images(images: object, what: str) -> ImageArray:
    array = np.asarray(images)
    if array.dtype != np.uint8:
        if array.dtype.kind not in "fiu":
            raise InvalidTypeError(f"{what} must be uint8 or float numbers, not {array.dtype}.")
        array = array.astype(np.float32)
    if array.ndim != 4 or 0 in array.shape:
        raise InvalidValueError(f"{what} must be (n, channels, height, width) with n >= 1, not {array.shape}.")
    if array.dtype != np.uint8 and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=(1, 2, 3)).sum())
        raise InvalidValueError(f"{what}: {bad} of {len(array)} hold NaN or infinite pixels; repair or drop them.")
    return _read_only(array)


def _labels(labels: object, n_classes: int, what: str) -> IndexArray:
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise InvalidTypeError(f"{what} labels must be integers, not {array.dtype}.")
    if array.ndim != 1:
        raise InvalidValueError(f"{what} labels must be (n,), not {array.shape}.")
    bad = array[(array < 0) | (array >= n_classes)]
    if len(bad):
        raise InvalidValueError(f"{what} label {bad[0]} is not in 0..{n_classes - 1} ({len(bad)} labels out of range).")
    return _read_only(array.astype(np.int64))


def _rows(rows: object, n: int, name: str) -> IndexArray:
    array = np.asarray(rows)
    if array.dtype.kind not in "iu" or array.ndim != 1 or not 0 < len(array) < n:
        raise InvalidValueError(f"{name}: the validation part must be 1 to {n - 1} row numbers, not {array!r}.")
    if array.min() < 0 or array.max() >= n or len(np.unique(array)) != len(array):
        raise InvalidValueError(f"{name}: the validation rows must be different numbers in 0..{n - 1}.")
    return _read_only(array.astype(np.int64))


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def datasets() -> list[str]:
    """The names that :func:`load_dataset` knows: one per file in ``tunesmith/train/data``."""
    from tunesmith.train import data

    return _discovery.names(data)


def check_dataset_name(name: str) -> None:
    """Whether there is such a data set; its files are not touched.

    Raises:
        InvalidTypeError, InvalidValueError: there is none; the message lists the known ones.
    """
    if not isinstance(name, AbsentData):
        _module(name)


def data_of(given: Any, known: Dataset | None = None) -> str | Dataset:
    """What a user means by ``data``: a name as its file is written, or a set that was handed in.

    Args:
        given: a name, a :class:`Dataset`, or the id of one, as :meth:`Problem.to_dict` writes it.
        known: the set of that id.

    Raises:
        InvalidTypeError: none of these.
        InvalidValueError: an unknown name; a set that must be handed in, or has another content.
    """
    if isinstance(given, (Dataset, AbsentData)):
        return given
    if not isinstance(given, str):
        kind = type(given).__name__
        raise InvalidTypeError(
            f"The data are a name ({', '.join(datasets())}) or a tunesmith.train.Dataset, not a {kind}. Arrays become "
            "one by Dataset(name, images, labels, test_images, test_labels, n_classes)."
        )
    if not _OWN.fullmatch(given):
        return given.strip().lower().replace("_", "-")
    if known is None:
        raise InvalidValueError(
            f"The data set {given!r} is one of your own, whose images are not kept; hand it in: "
            "Problem.from_dict(fields, data=...) or train.load(path, data=...)."
        )
    if not isinstance(known, Dataset) or known.id != given:
        raise InvalidValueError(
            f"The data set is {getattr(known, 'id', known)!r}, not {given!r}: its content or name differs."
        )
    return known


def absent_unless_known(name: str, others: Any = ()) -> str:
    """``name``, as :class:`AbsentData` unless it and the others name data sets that are at hand."""
    try:
        for each in (name, *others):
            _module(each)
    except InvalidValueError:
        return AbsentData(name)
    return name


def load_dataset(name: str) -> Dataset:
    """Load a data set by name; the two last used stay in memory.

    Args:
        name: one of :func:`datasets`, e.g. ``"fashion-mnist-small"``.

    Raises:
        InvalidValueError: unknown name; the message lists the known ones.
        DataNotFoundError: its files are not at hand and cannot be downloaded; the message says where to put them.
        DataDamagedError: a file has the wrong hash or cannot be read.
        MissingDependencyError: it needs a package of the extra ``tunesmith[train]``.
    """
    if isinstance(name, AbsentData):
        data_of(str(name))  # says that a set of one's own must be handed in
    module = _module(name)
    key = module.__name__, os.environ.get("TUNESMITH_DATA")
    with _lock:  # two trials that start together load a set once
        if key not in _cache:
            loaded = module.load()
            if not isinstance(loaded, Dataset):
                raise InvalidTypeError(f"load() in {module.__file__} must return a Dataset, not {type(loaded)}.")
            _cache[key] = loaded
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]


def _module(name: str) -> Any:
    from tunesmith.train import data

    return _discovery.find(data, name, "data set", ("load",))
