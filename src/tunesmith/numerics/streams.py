"""Random streams that belong to a key, such as (study seed, trial number): the same in every process.

A key's stream is PCG64 (O'Neill 2014), its 256 bits of state the BLAKE2b hash (RFC 7693) of the key. numpy's own
``SeedSequence`` does as well and takes 10 us instead of 2, a sixth of what a trial costs in memory; hence this module
(records/2026-11-21-core-speed/streams.txt).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence

_LITTLE = sys.byteorder == "little"
_WORD = np.dtype("<u8")


class KeyedSeed(ISpawnableSeedSequence):
    """numpy's seed interface over a hash, so that ``rng.spawn(k)`` and pickling work as with any generator.

    Args:
        key: what the stream belongs to.
    """

    __slots__ = ("_spawned", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._spawned = 0

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray[Any, Any]:
        """``n_words`` words of uint32 or uint64; little-endian on every machine."""
        if n_words == 4 and dtype is np.uint64:  # what PCG64 asks for
            words = np.frombuffer(hashlib.blake2b(self.key, digest_size=32).digest(), _WORD)
        else:
            kind = np.dtype(dtype).newbyteorder("<")
            words = np.frombuffer(hashlib.shake_256(self.key).digest(n_words * kind.itemsize), kind)
        return words if _LITTLE else words.astype(dtype)

    def spawn(self, n_children: int) -> Sequence[KeyedSeed]:  # type: ignore[override]
        """Seeds of streams independent of this one and of each other."""
        first, self._spawned = self._spawned, self._spawned + n_children
        return [KeyedSeed(b"%b/%d" % (self.key, i)) for i in range(first, self._spawned)]


def stream(seed: int, number: int, name: str = "") -> np.random.Generator:
    """The generator of a trial; with ``name``, one of its own for a single parameter.

    Args:
        seed: the study's seed, a whole number of any size.
        number: the trial's number.
        name: any text.
    """
    key = b"%d.%d" % (seed, number)
    if name:
        key += b":" + name.encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.PCG64(KeyedSeed(key)))  # type: ignore[arg-type]  # numpy's stub is too narrow
