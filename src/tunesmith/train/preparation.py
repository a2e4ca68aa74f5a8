"""Splits that lie ready on the device, shared by all trials of a process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunesmith.train import loop
from tunesmith.train.dataset import load_dataset
from tunesmith.train.splitting import Split, split

#: Splits kept, most recent last: enough for a search whose axes are a few data sets.
_KEPT = 3
_cache: OrderedDict[tuple[Any, ...], Prepared] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A split with its training and validation parts on the device; the test part is copied only when it is asked for.

    Attributes:
        split: the rows of each part.
        training, validation: on the device.
        statistics: mean and scale of each channel of the training part, (c, 1, 1) each.
    """

    split: Split
    training: loop.Part
    validation: loop.Part
    statistics: tuple[np.ndarray, np.ndarray]

    def test(self) -> loop.Part:
        """The test part on the device; not kept."""
        return loop.to_part(*self.split.test_part, self.statistics, self.training.images.device)


def prepare(name: str, seed: int | None, limits: dict[str, int | None], device: torch.device) -> Prepared:
    """Load, split and copy; or the same as last time.

    Args:
        name: of the data set.
        seed: of the split.
        limits: ``n_train``, ``n_validation``, ``n_test`` of :func:`~tunesmith.train.splitting.split`.
        device: where the parts go.

    Raises:
        DataNotFoundError, DataDamagedError, InvalidValueError: as ``load_dataset`` and ``split``.
    """
    dataset = load_dataset(name)
    key = (dataset.name, os.environ.get("TUNESMITH_DATA"), seed, *sorted(limits.items()), str(device))
    with _lock:  # trials that start together share one copy
        if key not in _cache:
            parts = split(dataset, seed, **limits)
            statistics = loop.channel_statistics(parts.train_part[0])
            _cache[key] = Prepared(
                parts,
                loop.to_part(*parts.train_part, statistics, device),
                loop.to_part(*parts.validation_part, statistics, device),
                statistics,
            )
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]
