"""A part of Fashion-MNIST that ships with the package: 2,000 training, 500 validation, 1,000 test images, 1 x 28 x 28.

Every class has the same number of images (200, 50, 100). Training and validation images come from the official
training file, test images from the official test file; ``scripts/draw_fashion_subset.py`` draws them. Fashion-MNIST
is by Zalando SE under the MIT licence, whose text is beside the file; see
:mod:`tunesmith.train.data.fashion_mnist` for the source.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tunesmith.train.data import _files
from tunesmith.train.dataset import Dataset
from tunesmith.train.errors import DataDamagedError, DataNotFoundError

FILE = Path(__file__).parent / "files" / "fashion_mnist_small.npz"
#: Of the bytes of images, labels, test_images and test_labels, in this order (the script prints it).
CONTENT = "sha256:a8515fedd64479ce558e991e71749b09155904576caf925cd95c45fec3c891c7"
N_TRAIN, N_VALIDATION = 2000, 500


def load() -> Dataset:
    """2,500 training images, of which the last 500 are the shipped validation part, and 1,000 test images."""
    try:
        with FILE.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            images, labels, test_images, test_labels = (
                file[key] for key in ("images", "labels", "test_images", "test_labels")
            )
    except FileNotFoundError:
        raise DataNotFoundError(f"{FILE} is missing: the package is incomplete; install it again.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataDamagedError(f"{FILE} cannot be read ({error}); install the package again.") from None
    _files.check(b"".join(a.tobytes() for a in (images, labels, test_images, test_labels)), CONTENT, str(FILE))
    return Dataset(
        "fashion-mnist-small",
        images[:, None],
        labels.astype(np.int64),
        test_images[:, None],
        test_labels.astype(np.int64),
        10,
        validation=np.arange(N_TRAIN, N_TRAIN + N_VALIDATION),
    )
