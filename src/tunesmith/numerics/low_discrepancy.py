"""Points of low-discrepancy sequences by their index: Sobol' and Halton, plain or scrambled, those of
``scipy.stats.qmc``. Sobol' points of few dimensions come from :mod:`tunesmith.numerics.sobol`, which are the same.

Sobol' (1967), with the direction numbers of Joe and Kuo (2008: Constructing Sobol' sequences with better
two-dimensional projections. SIAM J. Sci. Comput. 30, 2635-2654); Halton (1960). The scramblings are random linear
matrix scrambling with a digital shift (Matousek 1998: On the L2-discrepancy for anchored boxes. J. Complexity 14,
527-556) and, for Halton, random digit permutations (Owen 2017: A randomized Halton algorithm in R. arXiv:1706.02808).
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics.sobol import MAX_DIMENSION, sobol
from tunesmith.space import FloatArray

KINDS = ("sobol", "halton")

#: What the direction numbers reach for (``scipy.stats.qmc.Sobol.MAXDIM``).
MAX_SOBOL_DIMENSION = 21201

#: Sobol' numbers have 30 bits in scipy, which bounds the length of the sequence.
MAX_SOBOL_INDEX = 2**30 - 1


def points(kind: str, dimension: int, index: NDArray[np.int64], *, scramble: bool, seed: int = 0) -> FloatArray:
    """Some points of a sequence.

    Args:
        kind: ``"sobol"`` or ``"halton"``.
        dimension: d >= 1.
        index: (k,) which points, from 0. Point 0 of a plain sequence is the origin.
        scramble: randomise the sequence; ``seed`` then chooses which of the scrambled ones.
        seed: non-negative; has no effect on a plain sequence.

    Returns:
        (k, d) in [0, 1). The same for the same arguments, whatever was asked before.

    Raises:
        InvalidValueError: unknown kind, or more dimensions or points than the sequence has.
    """
    if kind not in KINDS:
        raise InvalidValueError(f"Unknown sequence {kind!r}; known: {', '.join(KINDS)}.")
    index = np.asarray(index, np.int64)
    if kind == "sobol" and dimension > MAX_SOBOL_DIMENSION:
        raise InvalidValueError(
            f"The Sobol' sequence has at most {MAX_SOBOL_DIMENSION} dimensions, but {dimension} are needed; "
            "use qmc_type='halton', or random search."
        )
    if index.size and (index.min() < 0 or (kind == "sobol" and index.max() > MAX_SOBOL_INDEX)):
        raise InvalidValueError(
            f"There is no point {index.max()} of the {kind} sequence (or {index.min()} is negative)."
        )
    size = _block_size(dimension)
    found = np.empty((len(index), dimension))
    for block in np.unique(index // size).tolist():
        here = index // size == block
        found[here] = _block(kind, dimension, bool(scramble), seed if scramble else 0, block)[index[here] % size]
    return found


def _block_size(dimension: int) -> int:
    """A power of two, so that a block is balanced (and scipy does not warn); at most half a megabyte a block."""
    return 2 ** max(0, min(9, int(np.log2(65536 / dimension))))


@lru_cache(maxsize=16)
def _block(kind: str, dimension: int, scramble: bool, seed: int, block: int) -> FloatArray:
    """Points ``block * size .. (block + 1) * size - 1``; a cache that may be cleared at any time."""
    sequence, size = np.random.SeedSequence(seed), _block_size(dimension)
    if kind == "sobol" and dimension <= MAX_DIMENSION:
        (own,) = sequence.spawn(1)  # as scipy does
        rng = np.random.Generator(np.random.PCG64(own)) if scramble else None
        found = sobol(dimension, block * size + np.arange(size), rng)
    else:
        found = _scipys(kind, dimension, scramble, sequence, block * size, size)
    found.flags.writeable = False
    return found


def _scipys(
    kind: str, dimension: int, scramble: bool, sequence: np.random.SeedSequence, first: int, n: int
) -> FloatArray:
    from scipy.stats import qmc  # slow to import, so only when it is needed

    engine_class: Any = qmc.Sobol if kind == "sobol" else qmc.Halton
    keyword = "rng" if "rng" in inspect.signature(engine_class).parameters else "seed"  # scipy 1.15 renamed it
    rng = np.random.Generator(np.random.PCG64(sequence))
    engine = engine_class(dimension, scramble=scramble, **{keyword: rng})
    if first:
        engine.fast_forward(first)
    found: FloatArray = engine.random(n)
    return found
