"""Which numbers of a sequence no trial has taken yet; for methods that walk along one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.history import History


def taken(history: History, tag: str) -> NDArray[np.int64]:
    """The numbers under ``tag`` of all trials: finished, pending, and interrupted ones that wait to be run again."""
    column = history.tag(tag)
    pending = [t.tags[tag] for t in history.open if tag in t.tags]
    return np.concatenate([column[column == column], np.array(pending, float)]).astype(np.int64)


def first_unused(used: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The ``n`` smallest non-negative integers that are not in ``used``. Costs O(len(used) + n)."""
    free = np.ones(len(used) + n, bool)
    free[used[(used >= 0) & (used < len(free))]] = False
    return np.flatnonzero(free)[:n]
