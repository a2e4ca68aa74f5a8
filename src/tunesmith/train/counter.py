"""Random bits that are computed from a key and a counter, not drawn from a state.

What a training draws (dropout masks, the order of the images, augmentation) is a function of the training's seed and
of where it is used: (purpose, step, element). So it does not depend on what was drawn before, on which lane of a
stack the training has, on the device, or on whether the training was interrupted; a kernel may compute each number
where it needs it (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

The function is two rounds of a 32-bit integer hash, the second keyed by (key, step), the first by the key alone. The
hash is "lowbias32" (C. Wellons, "Prospecting for hash functions", 2018): xor-shift and multiplication by constants
that a search found to have nearly no bias. It is not cryptographic, and need not be.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9

#: A key: two words of 32 bits, as non-negative Python integers.
Key = tuple[int, int]


def key(seed: int, *purpose: int) -> Key:
    """The key of one purpose of a training's random numbers.

    Args:
        seed: of the training, non-negative.
        purpose: small non-negative integers that name the use; different purposes give unrelated numbers.
    """
    first, second = np.random.SeedSequence([seed, *purpose]).generate_state(2, np.uint32)
    return int(first), int(second)


def mix(x: int) -> int:
    """lowbias32 of a Python integer in [0, 2**32)."""
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _MASK
    x ^= x >> 15
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def at_step(key: Key, step: int) -> Key:
    """The key of one step of a training (or of one epoch, one sample): what :func:`bits` takes."""
    first = mix((key[0] + step * _GOLDEN) & _MASK)
    return first, mix(key[1] ^ first)


def bits(key: Key, index: Tensor) -> Tensor:
    """32 random bits for each index.

    Args:
        key: of the step, see :func:`at_step`.
        index: int64 of any shape, in [0, 2**32).

    Returns:
        int64 in [0, 2**32), of the same shape: ``mix(mix(index ^ key[0]) ^ key[1])``.
    """
    return _mixed(_mixed(index ^ key[0]) ^ key[1])


def uniform(key: Key, index: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) for each index, float32: the upper 24 of the random bits."""
    return (bits(key, index) >> 8).to(torch.float32) * 2.0**-24


def permutation(key: Key, n: int) -> np.ndarray:
    """A random order of ``0 .. n - 1``, int64: the indices sorted by their random bits (ties by the index)."""
    index = torch.arange(n)
    order = (bits(key, index) >> 1 << 32) + index  # sorted as numbers: much faster than sorting indices
    return np.sort(order.numpy()) & _MASK


def dropped_below(p: float) -> int:
    """The bound on the upper 24 bits under which an element is dropped: ``round(p * 2**24)``."""
    return round(p * 2**24)


def _mixed(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK  # wraps in 64 bits; the lower 32 are right
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
