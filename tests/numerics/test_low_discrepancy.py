"""Points by index."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics import low_discrepancy
from tunesmith.numerics.low_discrepancy import points


@pytest.mark.parametrize("kind", ["sobol", "halton"])
@pytest.mark.parametrize("scramble", [True, False])
@pytest.mark.parametrize("dimension", [1, 2, 3, 10, 53, 54, 150, 700])
def test_random_access(kind: str, scramble: bool, dimension: int) -> None:
    """Any point in any order is what the sequence has there, across the blocks in which they are made."""
    index = np.array([700, 0, 513, 512, 511, 31, 32, 33, 700])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = points(kind, dimension, index, scramble=scramble, seed=3)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(3)))
    engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[kind](dimension, scramble=scramble, seed=rng)
    np.testing.assert_array_equal(found, engine.random(1024)[index])
    assert found.shape == (9, dimension)
    assert ((found >= 0) & (found < 1)).all()


@pytest.mark.parametrize("seed", [None, 0, 2**63])
def test_far_out(seed: int | None) -> None:
    """Our own Sobol' points use the last bits of their index as scipy's do."""
    last = 2**30 - 64
    engine = qmc.Sobol(7, scramble=seed is not None, seed=np.random.default_rng(seed)).fast_forward(last)
    found = points("sobol", 7, np.arange(last, last + 64), scramble=seed is not None, seed=seed or 0)
    np.testing.assert_array_equal(found, engine.random(64))


def test_the_default_method_starts_quickly() -> None:
    """Importing scipy.stats costs every process half a second."""
    search = "s = tunesmith.create_study(); s.optimize(lambda t: t.suggest_float('x', 0, 1), n_trials=12)"
    code = f"import sys, tunesmith; {search}; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_caches_change_nothing_and_cannot_be_changed() -> None:
    one = points("sobol", 2, np.arange(10), scramble=True, seed=1)
    one[:] = 0
    again = points("sobol", 2, np.arange(10), scramble=True, seed=1)
    assert again.any()
    low_discrepancy._block.cache_clear()
    np.testing.assert_array_equal(points("sobol", 2, np.arange(10), scramble=True, seed=1), again)
    assert not np.array_equal(points("sobol", 2, np.arange(10), scramble=True, seed=2), again)
    np.testing.assert_array_equal(
        points("sobol", 2, np.arange(10), scramble=False, seed=1), points("sobol", 2, np.arange(10), scramble=False)
    )


def test_limits() -> None:
    with pytest.raises(InvalidValueError, match="niederreiter"):
        points("niederreiter", 2, np.arange(3), scramble=False)
    with pytest.raises(InvalidValueError, match="21201"):
        points("sobol", 21202, np.arange(3), scramble=False)
    for index in (-1, 2**30):
        with pytest.raises(InvalidValueError, match="no point"):
            points("sobol", 2, np.array([index]), scramble=False)
    assert points("sobol", 21201, np.array([1]), scramble=False).shape == (1, 21201)
    assert points("halton", 21202, np.array([1]), scramble=False).shape == (1, 21202)
