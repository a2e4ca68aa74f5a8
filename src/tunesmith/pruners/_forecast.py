"""Where a learning curve will end: an average of falling (or rising) curves, fitted to what has been seen of it.

The families are among those of Domhan, T., Springenberg, J. T. and Hutter, F. (2015): Speeding up automatic
hyperparameter optimization of deep neural networks by extrapolation of learning curves. IJCAI, table 1: the power law
c + a (t + 1)^-alpha and the exponential c + a exp(-beta t / T). Instead of sampling all parameters, alpha and beta are
on a grid, where c and a have a closed form; the fits are averaged with their likelihoods as weights.
"""

from __future__ import annotations

import numpy as np

from tunesmith.space import FloatArray

#: In steps of the square root of 2. With ``FLOOR``, what lies between is forecast as exactly as it is said to be.
ALPHAS = 2.0 ** np.arange(-3.0, 1.1, 0.5)[:, None]
BETAS = 2.0 ** np.arange(0.0, 5.1, 0.5)[:, None]

#: No fit is taken to be more exact than this part of what the curve has moved by.
FLOOR = 0.02


def forecast(steps: FloatArray, losses: FloatArray, end: float) -> tuple[float, float]:
    """Mean and standard deviation of the loss at the step ``end``.

    Later reports weigh more, in proportion to their step, because no family fits a whole curve.

    Args:
        steps: (k,) ascending, from 0; at least 3 of them.
        losses: (k,) finite, of an order of magnitude around 1.
        end: a step after the last one.
    """
    if losses.min() == losses.max():
        return float(losses[-1]), 0.0
    f, at_end = _basis(steps, end)
    k = len(steps)
    weight = (steps + 1.0) / (steps + 1.0).sum()
    centre, mean = f @ weight, float(losses @ weight)
    away, moved = f - centre[:, None], losses - mean
    spread = (away * away) @ weight + 1e-12
    slope = (away * moved) @ weight / spread
    residual = moved - slope[:, None] * away
    floor = FLOOR * float(losses.max() - losses.min())
    noise = (residual * residual) @ weight * (k / (k - 2)) + floor**2
    reach = at_end - centre
    ends = mean + slope * reach
    variance = noise * (1.0 + (1.0 + reach * reach / spread) / k)
    likelihood = -0.5 * k * np.log(noise)
    share = np.exp(likelihood - likelihood.max())
    share /= share.sum()
    expected = float(ends @ share)
    return expected, float(np.sqrt((variance + (ends - expected) ** 2) @ share))


def _basis(steps: FloatArray, end: float) -> tuple[FloatArray, FloatArray]:
    """(g, k) the members' values at ``steps``, and (g,) at ``end``; each falls from about 1."""
    at = np.append(steps, end)
    f = np.concatenate([(at + 1.0) ** -ALPHAS, np.exp(-BETAS * (at / end))])
    return f[:, :-1], f[:, -1]
