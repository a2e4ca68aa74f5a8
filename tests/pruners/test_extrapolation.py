"""Forecasts of learning curves, and the rule that stops by them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

import tunesmith
from tunesmith.pruners import ExtrapolationPruner
from tunesmith.pruners._forecast import forecast
from tunesmith.study import Study

STEPS = np.arange(1.0, 13.0)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("sign", [1, -1], ids=["falling", "rising"])
def test_power_laws_end_where_they_end(alpha: float, sign: int) -> None:
    """A curve of the family is continued, as SciPy's least squares does, and the uncertainty covers the difference."""

    def law(t: Any, c: float, a: float, power: float) -> Any:
        return c + a * (t + 1) ** -power

    losses = law(STEPS, 0.3, sign, alpha)
    (c, a, power), _ = curve_fit(law, STEPS, losses, p0=(0.3, sign, alpha))
    mean, deviation = forecast(STEPS, losses, 60.0)
    assert mean == pytest.approx(law(60.0, c, a, power), abs=2 * deviation)
    assert deviation < 0.12


@pytest.mark.parametrize("beta", [1.5, 2.0, 5.0, 6.0, 20.0, 28.0])
def test_exponentials_end_where_they_end(beta: float) -> None:
    """Also with a rate between those of the grid."""
    losses = 1 + np.exp(-beta * STEPS / 60)
    mean, deviation = forecast(STEPS, losses, 60.0)
    assert mean == pytest.approx(1 + math.exp(-beta), abs=2 * deviation)


def test_noise_makes_uncertain() -> None:
    rng = np.random.default_rng(0)
    smooth = 1 / (STEPS + 1)
    deviations = [forecast(STEPS, smooth + s * rng.normal(size=12), 60.0)[1] for s in (0.0, 0.02, 0.1)]
    assert deviations == sorted(deviations)
    assert deviations[0] < deviations[2] / 3


def test_forecasts_are_covered() -> None:
    """Of power laws with noise, nine in ten end within two standard deviations."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(300):
        c, a, alpha = rng.random(), rng.random() + 0.1, rng.uniform(0.2, 1.5)
        noisy = c + a * (STEPS + 1) ** -alpha + 0.02 * a * rng.normal(size=12)
        mean, deviation = forecast(STEPS, noisy, 60.0)
        inside.append(abs(c + a * 61.0**-alpha - mean) < 2 * deviation)
    assert np.mean(inside) >= 0.9


def told(curves: Any, rule: ExtrapolationPruner, direction: str = "minimize") -> tuple[Study, list[int]]:
    """A study of these curves, and how many steps each trial made."""
    sign = 1 if direction == "minimize" else -1
    study = tunesmith.create_study(pruner=rule, direction=direction)
    study.optimize(lambda trial: (sign * float(v) for v in curves[trial.number]), n_trials=len(curves))
    return study, [len(t.intermediate_values) for t in study.trials]


def family(n: int, steps: int = 40, seed: int = 0, noise: float = 0.01) -> Any:
    """Power laws that cross each other."""
    rng = np.random.default_rng(seed)
    c, a, alpha = rng.random(n), rng.random(n), rng.uniform(0.3, 1.5, n)
    t = np.arange(1, steps + 1)
    return c[:, None] + a[:, None] * (t + 1.0) ** -alpha[:, None] + noise * rng.normal(size=(n, steps))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_poor_trials_are_stopped_and_the_winner_is_not(direction: str) -> None:
    lost, share = 0, []
    for seed in range(4):
        curves = family(40, seed=seed)
        _, steps = told(curves, ExtrapolationPruner(), direction)
        lost += steps[int(np.argmin(curves[:, -1]))] < 40
        share.append(np.mean(steps) / 40)
    assert lost == 0
    assert np.mean(share) < 0.6


def test_a_late_starter_is_not_stopped_where_others_were_late() -> None:
    """All curves have a plateau of the same height before they fall: the model alone would stop a trial there."""
    rng = np.random.default_rng(0)
    t = np.arange(40)
    ends = rng.uniform(0.2, 0.5, 30)
    ends[-1] = 0.1
    curves = np.where(t < 12, 1.0, ends[:, None] + (1 - ends[:, None]) * np.exp(-(t - 12) / 4.0))
    curves = curves + 0.001 * rng.normal(size=curves.shape)
    _, steps = told(curves, ExtrapolationPruner())
    assert steps[-1] == 40
    flat = np.where(np.arange(30)[:, None] < 29, np.linspace(1, ends[:, None], 40).squeeze().T, 1.0)
    _, steps = told(flat, ExtrapolationPruner())
    assert steps[-1] < 40


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_has_diverged_is_stopped(value: float) -> None:
    """After four such reports in a row; before, it may come back."""
    curves = family(12)
    curves[-1, 2:] = value
    curves[-2, 2:5] = value
    _, steps = told(curves, ExtrapolationPruner(n_startup_trials=5, p_threshold=0.0))
    assert steps[-1] == 6
    assert steps[-2] == 40


def test_startup_and_warmup() -> None:
    curves = family(30)
    curves[11:] += 10.0
    _, steps = told(curves, ExtrapolationPruner(n_startup_trials=20))
    assert set(steps[:20]) == {40}
    assert max(steps[20:]) < 40
    _, steps = told(curves, ExtrapolationPruner(n_warmup_steps=17, interval_steps=5))
    assert set(steps[11:]) <= {17, 22, 27, 32, 37}
    _, steps = told(curves, ExtrapolationPruner(n_min_reports=9))
    assert min(steps) == 9


def test_short_trials_are_over_before_there_is_a_forecast() -> None:
    """Nothing is stopped at the last step, and trials of three steps never are."""
    _, steps = told(family(30, steps=3), ExtrapolationPruner())
    assert set(steps) == {3}
