"""The simplex method: against SciPy's, point by point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize

from tunesmith.numerics.nelder_mead import Coefficients, nelder_mead


def rosenbrock(u: np.ndarray) -> float:
    x = 4 * u - 1.5
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def corner(u: np.ndarray) -> float:
    return float(np.sum(np.arange(1, len(u) + 1) * (u + 0.1) ** 2))


def ridge(u: np.ndarray) -> float:
    return float((np.abs(u - 0.3) ** 1.3 * np.arange(1, len(u) + 1)).sum() + np.abs(u.sum() - 1))


def run(f: Callable[[np.ndarray], float], simplex: np.ndarray, steps: Coefficients, tolerance: float) -> np.ndarray:
    """All points in the order in which they are asked for."""
    search = nelder_mead(simplex, np.full(simplex.shape[1], tolerance), steps)
    request, path = next(search), []
    try:
        while True:
            path += list(request.needed)
            request = search.send([f(x) for x in request.needed])
    except StopIteration as stop:
        best, width = stop.value
        assert f(best) == min(map(f, path))
        assert width.max() <= tolerance or width.min() <= 1e-3 * tolerance
        return np.array(path)


@pytest.mark.parametrize("f", [rosenbrock, corner, ridge])
@pytest.mark.parametrize(("d", "adaptive"), [(2, False), (3, True), (5, False), (5, True)])
def test_equals_scipy(f: Callable[[np.ndarray], float], d: int, adaptive: bool) -> None:
    start = np.full(d, 0.6)
    simplex = np.vstack([start, start + np.diag(0.25 + 0.01 * np.arange(d))])
    path = run(f, simplex, Coefficients.adaptive(d) if adaptive else Coefficients(), 1e-3)
    seen: list[np.ndarray] = []

    def told(x: np.ndarray) -> float:
        seen.append(x.copy())
        return f(x)

    options = {"initial_simplex": simplex, "adaptive": adaptive, "xatol": 1e-12, "fatol": 1e-12, "maxfev": len(path)}
    minimize(told, start, method="Nelder-Mead", bounds=[(0, 1)] * d, options=options)
    n = min(len(path), len(seen))
    assert n > (8 if f is corner else 30)  # which soon lies flat on a bound
    np.testing.assert_allclose(path[:n], seen[:n], atol=1e-9)


def test_every_kind_of_step_was_compared() -> None:
    """Shrinkages happen, which the smooth functions above hardly need."""
    rng = np.random.default_rng(0)
    rough = {tuple(x): y for x, y in zip(rng.random((200, 2)).round(1), rng.random(200), strict=True)}
    search = nelder_mead(np.array([[0.5, 0.5], [0.9, 0.5], [0.5, 0.9]]), np.full(2, 1e-2), Coefficients())
    request, sizes = next(search), []
    for _ in range(1000):
        sizes.append(len(request.needed))
        try:
            request = search.send([rough.get(tuple(x.round(1)), 0.5) for x in request.needed])
        except StopIteration:
            break
    assert sizes.count(2) > 0
    assert sizes[0] == 3


def test_what_is_likely_next() -> None:
    """Whatever a reflection brings, the next request was announced."""
    simplex = np.array([[0.4, 0.5], [0.6, 0.5], [0.5, 0.8]])
    for value in (-1.0, 1.5, 2.5, 3.5):
        search = nelder_mead(simplex, np.full(2, 1e-6), Coefficients())
        next(search)
        request = search.send([1.0, 2.0, 3.0])
        assert len(request.needed) == 1
        nearer = search.send([value])
        announced = {tuple(x) for x in request.likely}
        assert {tuple(x) for x in nearer.needed} <= announced or value == 1.5  # accepted: another simplex


def test_a_flat_simplex_ends() -> None:
    search = nelder_mead(np.array([[0.2, 0.5], [0.7, 0.5], [0.3, 0.5]]), np.full(2, 1e-3), Coefficients())
    next(search)
    with pytest.raises(StopIteration):
        search.send([1.0, 2.0, 3.0])


def test_adaptive_coefficients() -> None:
    assert Coefficients.adaptive(2) == Coefficients() == Coefficients.adaptive(1)
    assert Coefficients.adaptive(10) == Coefficients(1.0, 1.2, 0.7, 0.9)
