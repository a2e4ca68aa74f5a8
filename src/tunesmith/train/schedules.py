"""Learning-rate schedules: the learning rate of each step of a training.

With E the (fractional) number of epochs done before a step, T the number of steps of the whole training:

- constant: ``lr``.
- step: ``lr * gamma ** floor(E / step_epochs)``; with ``step_epochs`` 1 torch's ExponentialLR.
- exponential: ``lr * gamma ** (E / step_epochs)``, the same without stairs: it changes with every step.
- cosine: ``lr * (f + (1 - f) * (1 + cos(pi * step / T)) / 2)``, f = ``final_lr`` (I. Loshchilov, F. Hutter, "SGDR:
  stochastic gradient descent with warm restarts", ICLR 2017, eq. 5, without restarts).
- one-cycle: from ``lr / 25`` up to ``lr`` in the first 30 % of the training and down to ``lr / 250,000``, both along a
  cosine (L. Smith, N. Topin, "Super-convergence", 2019; the figures are those of torch's OneCycleLR). The momentum
  stays where it is.
- plateau: ``lr``, times ``gamma`` whenever the objective has not improved for more than ``plateau_patience`` epochs;
  an improvement is one of at least 0.01 % (torch's ReduceLROnPlateau with its defaults).

``warmup`` multiplies each of them, one-cycle excepted (it has its own), by a factor that rises linearly to 1 during the
first epochs: ``(step + 1) / (warmup * steps_per_epoch)`` (P. Goyal et al., "Accurate, large minibatch SGD", 2017).
"""

from __future__ import annotations

import math
from typing import Any

from tunesmith.train.hyperparameters import Hyperparameters

#: One-cycle: share of the training that the learning rate rises for; first and last learning rate as shares of lr.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25 / 1e4
#: Plateau: the smallest relative change that counts as an improvement.
_THRESHOLD = 1e-4


class Schedule:
    """The learning rate of one training.

    Args:
        h: ``lr``, ``schedule`` and what belongs to it.
        steps_per_epoch: at least 1.
        epochs: the most that the training may have, at least 1.
    """

    def __init__(self, h: Hyperparameters, steps_per_epoch: int, epochs: int) -> None:
        self.h, self.steps_per_epoch, self.steps = h, steps_per_epoch, steps_per_epoch * epochs
        self._best: float | None = None
        self._waited = 0
        self._decays = 0

    def lr(self, step: int) -> float:
        """The learning rate of a step (from 0, over the whole training); only "plateau" looks at what was observed."""
        h, epoch = self.h, step / self.steps_per_epoch
        if h.schedule == "one-cycle":
            return h.lr * self._one_cycle(step)
        factor = 1.0
        if h.schedule == "step":
            factor = h.gamma ** (step // self.steps_per_epoch // h.step_epochs)
        elif h.schedule == "exponential":
            factor = h.gamma ** (epoch / h.step_epochs)
        elif h.schedule == "cosine":
            factor = _cosine(1.0, h.final_lr, step / self.steps)
        elif h.schedule == "plateau":
            factor = h.gamma**self._decays
        warm = h.warmup * self.steps_per_epoch
        return h.lr * factor * ((step + 1) / warm if step + 1 < warm else 1.0)

    def _one_cycle(self, step: int) -> float:
        top, end = _RISE * self.steps - 1, self.steps - 1
        if step <= top:
            return _cosine(_FIRST, 1.0, step / top)
        return _cosine(1.0, _LAST, (step - top) / (end - top))

    def observe(self, value: float) -> None:
        """After each epoch: the objective, smaller is better. Only "plateau" needs it."""
        if self._best is None or value < self._best - _THRESHOLD * abs(self._best):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._waited > self.h.plateau_patience:
            self._decays, self._waited = self._decays + 1, 0

    def state(self) -> dict[str, Any]:
        """What was observed, as plain numbers; :meth:`restore` reads it back."""
        return {"best": self._best, "waited": self._waited, "decays": self._decays}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self._best = None if state["best"] is None else float(state["best"])
        self._waited, self._decays = int(state["waited"]), int(state["decays"])


def _cosine(first: float, last: float, share: float) -> float:
    """From ``first`` to ``last`` along half a cosine."""
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2.0
