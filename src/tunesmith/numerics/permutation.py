"""A seeded pseudo-random permutation of ``0 .. n - 1`` that is computed, not stored.

A Feistel network is a bijection of ``[0, 4**h)`` whatever its round function is (Luby and Rackoff 1988: How to
construct pseudorandom permutations from pseudorandom functions. SIAM J. Comput. 17, 373-386); applying it again until
the result is below ``n`` ("cycle walking": Black and Rogaway 2002: Ciphers with arbitrary finite domains. CT-RSA,
114-130) makes it one of ``[0, n)``. The round function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014:
Fast splittable pseudorandom number generators. OOPSLA, 453-472).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.exceptions import InvalidValueError

#: Four rounds pass for random; eight cost little and also serve domains of a few bits.
ROUNDS = 8


def permute(index: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """The images of some indices; needs memory for these only.

    Args:
        index: (k,) integers in ``[0, n)``.
        n: size of the domain, 1 <= n <= 2**62.
        seed: non-negative; another seed gives another permutation.

    Returns:
        (k,) integers in ``[0, n)``, distinct where ``index`` is.

    Raises:
        InvalidValueError: an index is outside, or the domain is empty or too large.
    """
    index = np.asarray(index, np.int64)
    if not 1 <= n <= 2**62:
        raise InvalidValueError(f"A permutation needs 1 <= n <= 2**62 elements, but n is {n}.")
    if index.size and not (index.min() >= 0 and index.max() < n):
        raise InvalidValueError(f"The indices must be in [0, {n}), but lie in [{index.min()}, {index.max()}].")
    half = np.uint64(max(1, -(-(n - 1).bit_length() // 2)))
    keys = np.asarray(np.random.SeedSequence([seed, n]).generate_state(ROUNDS, np.uint64), np.uint64)
    found = _rounds(index.astype(np.uint64), half, keys)
    outside = np.flatnonzero(found >= n)
    while len(outside):
        found[outside] = _rounds(found[outside], half, keys)
        outside = outside[found[outside] >= n]
    return found.astype(np.int64)


def _rounds(x: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) >> (np.uint64(64) - half))
    return (left << half) | right


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
