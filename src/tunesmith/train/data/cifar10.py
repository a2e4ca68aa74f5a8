"""CIFAR-10: 50,000 training and 10,000 test colour photographs, 3 x 32 x 32, ten classes.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of
Toronto, 2009. Read from ``TUNESMITH_DATA/cifar-10-batches-bin`` (the binary version) or ``cifar-10-batches-py`` (the
Python version), whichever has all of its files, else the binary version is downloaded.

In the binary version a record is 3,073 bytes: the label, then 1,024 red, 1,024 green and 1,024 blue pixels, row by
row. In the Python version a batch is a pickled dictionary with the same pixels under ``data`` and ``labels``; because
a pickle can run code, it is opened only when its hash is right, and then only arrays are understood.
"""

from __future__ import annotations

import codecs
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import MissingDependencyError
from tunesmith.train.data import _files
from tunesmith.train.dataset import Dataset
from tunesmith.train.errors import DataDamagedError, DataNotFoundError

PIXELS = 3 * 32 * 32
ARCHIVE = "cifar-10-binary.tar.gz"
URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)
ARCHIVE_HASH = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

#: The last file holds the test images.
BINARY = {
    "data_batch_1.bin": "sha256:cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "sha256:a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "sha256:bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "sha256:014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "sha256:755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "sha256:8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
#: Published with the Python version.
PYTHON = {
    "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
    "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
    "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "md5:40351d587109b95175f43aff81a1287e",
}

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def parse_binary(content: bytes, source: str) -> Batch:
    """One file of the binary version: images (n, 3, 32, 32) uint8, labels (n,) int64.

    Raises:
        DataDamagedError: the length is no multiple of a record, or a label is above 9.
    """
    if not content or len(content) % (PIXELS + 1):
        raise DataDamagedError(f"{source} has {len(content)} bytes, which is no multiple of {PIXELS + 1}.")
    records = np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 1)
    return _checked(records[:, 1:], records[:, 0].astype(np.int64), source)


def parse_python(content: bytes, source: str) -> Batch:
    """One file of the Python version: images (n, 3, 32, 32) uint8, labels (n,) int64.

    Raises:
        DataDamagedError: no such pickle, or one that holds something other than arrays.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        images, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except Exception as error:  # a damaged pickle can raise anything
        raise DataDamagedError(f"{source} is no batch of the Python version ({error}).") from None
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != PIXELS or labels.shape != images.shape[:1]:
        raise DataDamagedError(f"{source} holds {images.dtype} {images.shape} and labels {labels.shape}.")
    return _checked(images, labels.astype(np.int64), source)


def _checked(images: NDArray[np.uint8], labels: NDArray[np.int64], source: str) -> Batch:
    if labels.max(initial=0) > 9 or labels.min(initial=0) < 0:
        raise DataDamagedError(f"{source} holds the label {labels.max()}; CIFAR-10 has 0 to 9.")
    return images.reshape(-1, 3, 32, 32), labels


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and plain values, and refuses everything else a pickle can name."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module.endswith("multiarray"):
            return np.ndarray([0]).__reduce__()[0]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _read_folder(folder: Path, hashes: dict[str, str], parse: Callable[[bytes, str], Batch]) -> list[Batch]:
    batches = []
    for name, expected in hashes.items():
        path = folder / name
        content = _files.read(path)
        _files.check(content, expected, str(path))
        batches.append(parse(content, str(path)))
    return batches


def _complete(folder_name: str, hashes: dict[str, str], missing: list[str]) -> Path | None:
    """The first folder of that name that has all files; of others, what is missing is added to ``missing``."""
    for place in ("", "cifar10", "CIFAR10"):
        folder = _files.find([folder_name], (place,))
        if folder is None:
            continue
        absent = [name for name in hashes if not (folder / name).is_file()]
        if not absent:
            return folder
        missing.append(f"{folder} lacks {', '.join(absent)}")
    return None


def _read_archive(path: Path) -> list[Batch]:
    batches = []
    try:
        with tarfile.open(path) as archive:
            for name, expected in BINARY.items():
                member = archive.extractfile(f"cifar-10-batches-bin/{name}")
                content = member.read() if member else b""
                _files.check(content, expected, f"{path}:{name}")
                batches.append(parse_binary(content, f"{path}:{name}"))
    except (tarfile.TarError, zlib.error, KeyError, OSError, EOFError) as error:
        raise DataDamagedError(f"{path} is a damaged archive ({error}); delete it and fetch it again.") from None
    return batches


def _download(missing: list[str]) -> Path:
    wanted = "cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin (or cifar-10-batches-py)"
    try:
        return _files.download("cifar10", ARCHIVE, URLS, ARCHIVE_HASH, wanted)
    except (DataNotFoundError, MissingDependencyError) as error:
        if not missing:
            raise
        raise DataNotFoundError(f"{'; '.join(missing)}. {error}") from None


def load() -> Dataset:
    """The official training and test parts: from the first folder that has all files, else from the archive.

    Raises:
        DataNotFoundError: no folder is complete (what is missing is said) and there is no download.
        DataDamagedError: a file is not the official one.
    """
    missing: list[str] = []
    if folder := _complete("cifar-10-batches-bin", BINARY, missing):
        batches = _read_folder(folder, BINARY, parse_binary)
    elif folder := _complete("cifar-10-batches-py", PYTHON, missing):
        batches = _read_folder(folder, PYTHON, parse_python)
    else:
        batches = _read_archive(_download(missing))
    images = np.concatenate([images for images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    return Dataset("cifar10", images, labels, *batches[-1], 10)
