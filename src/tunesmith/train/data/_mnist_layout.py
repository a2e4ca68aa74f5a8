"""What MNIST and Fashion-MNIST share: four IDX files, gzipped or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.train.data import _files, _idx
from tunesmith.train.dataset import Dataset
from tunesmith.train.errors import DataDamagedError, DataNotFoundError

#: file name without ``.gz`` -> number of dimensions
FILES = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


@dataclass(frozen=True)
class Layout:
    """Where the four files are and what they hash to.

    Attributes:
        name: of the data set.
        places: folders below ``TUNESMITH_DATA`` to look in.
        urls: prefixes to download ``<file>.gz`` from.
        content: file -> sha256 of the uncompressed content (so that a file compressed anew is still recognised).
        archives: file -> sha256 of the official ``.gz``.
    """

    name: str
    places: Sequence[str]
    urls: Sequence[str]
    content: Mapping[str, str]
    archives: Mapping[str, str]

    def path(self, file: str, folder: Path | None) -> Path:
        """Where the file is, gzipped or not: in ``folder`` if one is given, else wherever data sets are looked for."""
        names = [f"{file}.gz", file]
        if folder is not None:
            for name in names:
                if (path := folder / name).exists():
                    return path
            raise DataNotFoundError(f"{folder} holds neither {names[0]} nor {names[1]}.")
        if found := _files.find(names, self.places):
            return found
        urls = [f"{url}{file}.gz" for url in self.urls]
        wanted = f"{self.places[0]}/{{{','.join(f'{f}.gz' for f in FILES)}}}"
        return _files.download(self.name, names[0], urls, f"sha256:{self.archives[file]}", wanted)

    def read(self, file: str, folder: Path | None = None) -> NDArray[np.uint8]:
        """One file as an array, its hash checked."""
        path = self.path(file, folder)
        content = _idx.decompress(_files.read(path), str(path))
        array = _idx.parse(content, FILES[file], str(path))  # first, because it says more than a hash does
        _files.check(content, f"sha256:{self.content[file]}", str(path))
        return array

    def load(self, folder: Path | None = None) -> Dataset:
        """All four files, from ``folder`` alone if one is given.

        Raises:
            DataNotFoundError: a file is not at hand.
            DataDamagedError: a file is not the official one.
        """
        images, labels, test_images, test_labels = (self.read(file, folder) for file in FILES)
        if len(images) != len(labels) or len(test_images) != len(test_labels):
            raise DataDamagedError(f"{self.name}: the numbers of images and labels differ.")
        return Dataset(
            self.name, images[:, None], labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64), 10
        )
