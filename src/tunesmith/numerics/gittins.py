"""The Gittins index of a project whose future is known as a sample of paths: the best rate of gain for cost.

Gittins, J. C. (1979): Bandit processes and dynamic allocation indices. J. R. Stat. Soc. B 41, 148-177 (the index as the
largest ratio of expected reward to expected cost over all stopping times). Longstaff, F. A. and Schwartz, E. S. (2001):
Valuing American options by simulation. Rev. Financ. Stud. 14, 113-147 (what may be expected after a stage is a
regression, over the paths, on what is seen there). Dinkelbach, W. (1967): On nonlinear fractional programming.
Management Science 13, 492-498 (the best ratio as a fixed point).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Dinkelbach's iteration converges faster than linearly: what is left after a few rounds is below the sample's error.
_ROUNDS = 4


def index(gain: FloatArray, cost: FloatArray, bins: int = 8) -> FloatArray:
    """(a,) the largest expected gain per expected cost, over rules that say after which stage a project is left.

    A project that is entered pays for its first stage; whether it goes on is decided after each one, by the gain there.
    Paths are put into ``bins`` by that gain, and those of a bin go on together, if it pays on average: none is left,
    or gone on with, by foresight of its own.

    Args:
        gain: (a, P, H) what each of P equally likely paths of ``a`` projects has gained after each of H stages, at
            least 0, not falling.
        cost: (a, H) what the stages have cost by then, positive and ascending.
        bins: how finely what is seen is told apart; a divisor of P.
    """
    a, paths, _ = gain.shape
    step_gain = np.diff(gain, axis=2, prepend=0.0)
    step_cost = np.diff(cost, axis=1, prepend=0.0)
    place = np.argsort(gain, axis=1, kind="stable") + paths * np.arange(a)[:, None, None]
    rate: FloatArray = (gain.mean(axis=1) / cost).max(axis=1)  # of those rules that look at nothing
    for _ in range(_ROUNDS):
        earned, paid = _followed(step_gain, step_cost, place, rate, bins)
        rate = np.maximum(rate, earned / paid)
    return rate


def _followed(
    step_gain: FloatArray, step_cost: FloatArray, place: NDArray[np.int64], price: FloatArray, bins: int
) -> tuple[FloatArray, FloatArray]:
    """(a,) expected gains and costs under the rule that is best if a unit of cost has this (a,) price."""
    a, paths, stages = step_gain.shape
    earned, paid = np.zeros((a, paths)), np.zeros((a, paths))  # after the stage, by each path
    for stage in range(stages - 1, 0, -1):
        earned += step_gain[:, :, stage]
        paid += step_cost[:, stage, None]
        by_rank = place[:, :, stage - 1]
        ahead = (earned - price[:, None] * paid).ravel()[by_rank]
        pays = ahead.reshape(a, bins, paths // bins).sum(axis=2) > 0.0
        goes_on = np.empty(a * paths)
        goes_on[by_rank] = np.repeat(pays, paths // bins, axis=1)
        earned *= goes_on.reshape(a, paths)
        paid *= goes_on.reshape(a, paths)
    return (step_gain[:, :, 0] + earned).mean(axis=1), step_cost[:, 0] + paid.mean(axis=1)
