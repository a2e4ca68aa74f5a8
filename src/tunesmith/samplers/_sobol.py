"""The first configurations of methods that need some results before they begin."""

from __future__ import annotations

import zlib

import numpy as np

from tunesmith.history import History
from tunesmith.numerics.low_discrepancy import MAX_SOBOL_DIMENSION, points
from tunesmith.space import FloatArray, Space


def first_rows(space: Space, history: History, method: str, rng: np.random.Generator, n: int) -> FloatArray:
    """(n, d) rows of the unit cube for the next ``n`` trials: of the Sobol' sequence that the study's seed scrambles,
    each the point of its trial's number; random ones in more dimensions than it has.

    Args:
        space: what is searched.
        history: tells the seed and the next number.
        method: its name, so that two methods do not start alike.
        rng: the trial's.
        n: how many.
    """
    d = len(space)
    if d > MAX_SOBOL_DIMENSION:
        return rng.random((n, d))
    seed = np.random.SeedSequence([history.seed, zlib.crc32(method.encode())]).generate_state(1, np.uint64)[0]
    return points("sobol", d, history.n_trials + np.arange(n), scramble=True, seed=int(seed))
