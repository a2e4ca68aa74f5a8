"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels with 17 grey levels (0..16), as float32.

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998) and
come with scikit-learn, so nothing is downloaded. There is no official test part. The last 297 images are used as
one: it is the same for everybody, depends on no random numbers, and the file is in the order of its writers, so that
most of these images are by hands that the training part has not seen.
"""

from __future__ import annotations

import numpy as np

from tunesmith.exceptions import MissingDependencyError
from tunesmith.train.dataset import Dataset

N_TEST = 297


def load() -> Dataset:
    """1,500 training and 297 test images, 1 x 8 x 8.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingDependencyError(
            "The data set 'digits' comes with scikit-learn: pip install 'tunesmith[train]'."
        ) from None
    images, labels = load_digits(return_X_y=True)
    images = np.asarray(images, np.float32).reshape(-1, 1, 8, 8)
    labels = np.asarray(labels, np.int64)
    return Dataset("digits", images[:-N_TEST], labels[:-N_TEST], images[-N_TEST:], labels[-N_TEST:], 10)
