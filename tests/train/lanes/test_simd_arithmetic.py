"""What the SIMD kernels are made of, against NumPy: elementary functions, products, maps of minimal filtering."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tunesmith.train.lanes.simd import features

LANES = features.lanes()[0]
if LANES == 0:
    pytest.skip(features.lanes()[1], allow_module_level=True)

from tunesmith.train.lanes.simd import compiling, elementary, filtering, maps, memory, products  # noqa: E402
from tunesmith.train.lanes.simd.products import line_bytes  # noqa: E402
from tunesmith.train.lanes.simd.vectors import load, store  # noqa: E402

Lines = NDArray[np.float32]


def lines(values: NDArray[np.floating]) -> Lines:
    """A copy of (..., lanes) float32 that begins where a line may begin."""
    room = np.zeros(values.size + 16, np.float32)
    start = -(room.ctypes.data // 4) % 16
    found = room[start : start + values.size].reshape(values.shape)
    found[...] = values
    return found


def all_functions(x, y, n, w):  # type: ignore[no-untyped-def]
    """exp, expm1, log, tanh, sigmoid and erf of n lines, each to n lines from ``y`` on."""
    line = line_bytes(w)
    for i in range(n):
        v = load(x + i * line, w)
        store(y + i * line, elementary.exp(v))
        store(y + (n + i) * line, elementary.expm1(v))
        store(y + (2 * n + i) * line, elementary.log(v))
        store(y + (3 * n + i) * line, elementary.tanh(v))
        store(y + (4 * n + i) * line, elementary.sigmoid(v))
        store(y + (5 * n + i) * line, elementary.erf(v))


def evaluate(values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All functions of all values."""
    n = -(-len(values) // LANES)
    x = lines(np.resize(values, (n, LANES)))
    y = lines(np.zeros((6, n, LANES)))
    compiling.function(all_functions, LANES)(x.ctypes.data, y.ctypes.data, n, 0)
    names = ("exp", "expm1", "log", "tanh", "sigmoid", "erf")
    return dict(zip(names, y.reshape(6, -1)[:, : len(values)], strict=True))


def units(found: NDArray[np.float32], exact: NDArray[np.float64]) -> float:
    """The largest error, in units in the last place of the exact value."""
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def test_functions_are_exact_to_a_few_units() -> None:
    rng = np.random.default_rng(0)
    small = rng.standard_normal(20_000) * np.exp(rng.uniform(-12, 0, 20_000))
    x = np.concatenate([small, rng.uniform(-20, 20, 40_000)]).astype(np.float32)
    exact = x.astype(np.float64)
    found = evaluate(x)
    assert units(found["exp"], np.exp(exact)) < 1.5
    assert units(found["expm1"], np.expm1(exact)) < 2.5
    assert units(found["tanh"], np.tanh(exact)) < 2.5
    assert units(found["sigmoid"], 1 / (1 + np.exp(-exact))) < 3
    assert units(found["erf"], np.vectorize(math.erf)(exact)) < 3
    positive = np.exp(rng.uniform(-80, 80, 40_000)).astype(np.float32)
    near_one = (1 + rng.standard_normal(20_000) * 1e-3).astype(np.float32)
    for values in (positive, near_one):
        assert units(evaluate(values)["log"], np.log(values.astype(np.float64))) < 2


def test_functions_at_the_edges() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, 1e30, -1e30, np.nan, 1.0], np.float32)
    found = evaluate(x)
    np.testing.assert_array_equal(found["tanh"][:6], [0.0, -0.0, 1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(found["erf"][:6], [0.0, -0.0, 1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(found["sigmoid"][[0, 2, 4]], [0.5, 1.0, 1.0])
    assert np.all(found["sigmoid"][[3, 5]] < 1e-37)
    assert found["exp"][0] == 1.0
    assert 0.0 < found["exp"][5] < 1e-37
    for name, values in found.items():
        assert np.isnan(values[6]), name
        assert np.isfinite(values[7]), name  # its neighbour


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    m=st.integers(1, 23), n=st.integers(1, 23), k=st.integers(1, 40),
    begin=st.sampled_from([products.FROM_ZERO, products.FROM_C, products.FROM_BIAS]), seed=st.integers(0, 999),
)  # fmt: skip
def test_products_are_matrix_products(m: int, n: int, k: int, begin: int, seed: int) -> None:
    """With rows, columns and sums that are scattered over memory."""
    rng = np.random.default_rng(seed)
    a, b, c, bias = (lines(rng.standard_normal((*shape, LANES))) for shape in ((m, k), (k, n), (n, m), (m,)))
    before = c.copy()
    line = 4 * LANES
    order = rng.permutation(k)  # the tables may lead anywhere
    a_table, b_table = order.astype(np.int64) * line, order.astype(np.int64) * n * line
    run = compiling.function(products.product, LANES)
    run(
        m, n, k, a.ctypes.data, k * line, a_table.ctypes.data, b.ctypes.data, line, b_table.ctypes.data,
        c.ctypes.data, line, m * line, begin, bias.ctypes.data, 0,
    )  # fmt: skip
    starts = {products.FROM_ZERO: 0.0, products.FROM_C: before, products.FROM_BIAS: bias[None]}
    exact = starts[begin] + np.einsum("mkl,knl->nml", a, b, dtype=np.float64)
    np.testing.assert_allclose(c, exact, rtol=0, atol=2e-6 * math.sqrt(k + 1))


@pytest.mark.parametrize(("n", "taps"), [(n, taps) for n, found in filtering.TAPS.items() for taps in found])
def test_filtering_is_a_convolution(n: int, taps: int) -> None:
    """Exactly: with fractions for all numbers there is no rounding."""
    f = filtering.filtering(n, taps)
    exact = filtering.fractions(n, taps)
    d = [Fraction(3 * i * i - 7, 5) for i in range(n)]
    g = [Fraction(2 * i + 1, 3) for i in range(taps)]
    inputs, weights = (
        [sum(a * x for a, x in zip(row, v, strict=True)) for row in m]
        for m, v in ((exact[0], d), (exact[1], g))
    )  # fmt: skip
    products_ = [u * v for u, v in zip(inputs, weights, strict=True)]
    y = [sum(a * x for a, x in zip(row, products_, strict=True)) for row in exact[2]]
    assert y == [sum(d[i + k] * g[k] for k in range(taps)) for i in range(f.m)]


def test_maps_multiply_by_their_matrices() -> None:
    rng = np.random.default_rng(0)
    run = compiling.function(maps.apply_map, LANES)
    line = 4 * LANES
    for what, n, taps in filtering.MAPS:
        found = filtering.MAPS[what, n, taps]
        matrix = np.array(found.matrix)
        rows, columns = matrix.shape
        x, y = (lines(rng.standard_normal((3, size, LANES))) for size in (columns, rows))
        before, bias = y.copy(), lines(rng.standard_normal((1, LANES)))
        number = filtering.number(what, n, taps)
        run(
            number, 3, x.ctypes.data, line, columns * line, y.ctypes.data, line, rows * line, bias.ctypes.data, 0
        )  # fmt: skip
        exact = np.einsum("ij,tjl->til", matrix, x)
        exact = exact + {"": 0.0, "bias": bias[None], "target": before}[found.ending]
        np.testing.assert_allclose(y, exact, rtol=0, atol=1e-6 * np.abs(matrix).sum(1).max())


def test_memory_moves_lines() -> None:
    x, y = lines(np.arange(5.0)[:, None] * np.ones(LANES)), lines(np.ones((7, LANES)))
    compiling.function(_move, LANES)(x.ctypes.data, y.ctypes.data, 0)
    np.testing.assert_array_equal(y[:, 0], [1, 0, 0, 2, 3, 4, 1])


def _move(x, y, w):  # type: ignore[no-untyped-def]
    line = line_bytes(w)
    memory.zero_lines(y + line, 2, w)
    memory.copy_lines(x + 2 * line, y + 3 * line, 3, w)
