#!/usr/bin/env python3
"""Draw the subset of Fashion-MNIST that ships with the package.

    python scripts/draw_fashion_subset.py DIR [--output FILE]

DIR holds the four official files (``train-images-idx3-ubyte.gz`` ...), directly or in ``FashionMNIST/raw``. Their
hashes are checked. For each class 250 images are drawn from the official training file (the first 200 of the draw
become training images, the other 50 validation images) and 100 from the official test file, without replacement.
The images stay in the order of the official files.

The draw uses MT19937 and numpy's RandomState, whose streams never change, so every version of numpy writes the same
arrays. The file also keeps the row of each image in its official file (``rows``, ``test_rows``).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.train.data import fashion_mnist, fashion_mnist_small
from tunesmith.train.dataset import Dataset

SEED = 20170825  # the day of Fashion-MNIST's first release
PER_CLASS = {"train": 200, "validation": 50, "test": 100}


def official(folder: Path) -> Dataset:
    """The full set from the official files in ``folder``, hashes checked."""
    raw = folder / "FashionMNIST" / "raw"
    return fashion_mnist.LAYOUT.load(raw if raw.is_dir() else folder)


def draw(data: Dataset) -> dict[str, NDArray[np.generic]]:
    """The arrays of the file: images, labels, rows (training part first), and the same of the test part."""
    random = np.random.RandomState(SEED)
    train, validation, test = [], [], []
    for label in range(data.n_classes):
        rows = random.permutation(np.flatnonzero(data.labels == label))
        train.append(rows[: PER_CLASS["train"]])
        validation.append(rows[PER_CLASS["train"] : PER_CLASS["train"] + PER_CLASS["validation"]])
        test.append(random.permutation(np.flatnonzero(data.test_labels == label))[: PER_CLASS["test"]])
    rows = np.concatenate([np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))])
    test_rows = np.sort(np.concatenate(test))
    return {
        "images": data.images[rows, 0],
        "labels": data.labels[rows].astype(np.uint8),
        "test_images": data.test_images[test_rows, 0],
        "test_labels": data.test_labels[test_rows].astype(np.uint8),
        "rows": rows.astype(np.int32),
        "test_rows": test_rows.astype(np.int32),
    }


def content_hash(arrays: dict[str, NDArray[np.generic]]) -> str:
    """What ``fashion_mnist_small.CONTENT`` must be."""
    content = b"".join(arrays[key].tobytes() for key in ("images", "labels", "test_images", "test_labels"))
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the subset of Fashion-MNIST that ships with the package.")
    parser.add_argument("folder", type=Path, help="folder with the four official files")
    parser.add_argument("--output", type=Path, default=fashion_mnist_small.FILE)
    options = parser.parse_args()
    arrays = draw(official(options.folder))
    np.savez_compressed(options.output, **arrays)  # type: ignore[arg-type]
    print(f"{options.output}: {options.output.stat().st_size:,} bytes, content {content_hash(arrays)}")
    if content_hash(arrays) != fashion_mnist_small.CONTENT:
        print(f"fashion_mnist_small.CONTENT is another one: {fashion_mnist_small.CONTENT}")


if __name__ == "__main__":
    main()
