"""Streams by key: fixed for ever, different where a key differs, and complete numpy generators."""

from __future__ import annotations

import copy
import hashlib
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.numerics.streams import KeyedSeed, stream


def test_golden() -> None:
    """Studies in logs are replayed with these numbers; they may never change."""
    assert stream(0, 0).integers(2**63, size=3).tolist() == GOLDEN[0, 0, ""]
    assert stream(2**70, 12, "lr").integers(2**63, size=3).tolist() == GOLDEN[2**70, 12, "lr"]


GOLDEN = {
    (0, 0, ""): [5217339451461083443, 3307823709129476581, 5704943057344964971],
    (2**70, 12, "lr"): [1857815395036329969, 6636987735248613168, 7412557402145669797],
}


def test_the_state_is_the_hash_of_the_key() -> None:
    words = KeyedSeed(b"5.7").generate_state(4, np.uint64)
    assert words.astype("<u8").tobytes() == hashlib.blake2b(b"5.7", digest_size=32).digest()
    expected = np.random.Generator(np.random.PCG64(KeyedSeed(b"5.7")))  # type: ignore[arg-type]
    assert stream(5, 7).random() == expected.random()


@given(st.tuples(st.integers(0, 2**64), st.integers(0, 10**6), st.text(max_size=5)), st.data())
def test_keys_that_differ_give_streams_that_differ(key: tuple[int, int, str], data: st.DataObject) -> None:
    other = data.draw(st.tuples(st.sampled_from([key[0], 3]), st.sampled_from([key[1], 4]), st.text(max_size=5)))
    same = stream(*key).integers(2**63, size=2).tolist() == stream(*other).integers(2**63, size=2).tolist()
    assert same == (key == other)


def test_first_draws_of_neighbours_are_uniform_and_uncorrelated() -> None:
    draws = np.array([stream(1, n).random(2) for n in range(4000)])
    assert stats.kstest(draws[:, 0], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.05
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.05


def test_spawn_pickle_copy() -> None:
    rng = stream(3, 1)
    first, second = rng.spawn(2)
    (third,) = rng.spawn(1)
    draws = [g.random() for g in (rng, first, second, third)]
    assert all(a != b for a, b in itertools.combinations(draws, 2))
    for twin in (pickle.loads(pickle.dumps(rng)), copy.deepcopy(rng)):
        assert twin.random() == copy.deepcopy(rng).random()
        assert twin.spawn(1)[0].random() == copy.deepcopy(rng).spawn(1)[0].random()


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_other_bit_generators_take_the_seed(kind: type) -> None:
    seed = stream(3, 1).bit_generator.seed_seq
    assert kind(seed).random_raw() == kind(KeyedSeed(b"3.1")).random_raw()


def test_another_process_has_the_same_numbers() -> None:
    code = "from tunesmith.numerics.streams import stream; print(stream(9, 4, 'x').random().hex())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float.fromhex(out) == stream(9, 4, "x").random()
