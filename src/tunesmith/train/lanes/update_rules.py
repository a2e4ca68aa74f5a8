"""The formulas of the optimizers for many lanes at once: torch.optim's, with numbers that differ from lane to lane.

Each rule is torch's ``_single_tensor_*`` function (papers below), written for a matrix of parameters and a vector of
each setting. Only sums, products, quotients, square roots and maxima are used, one rounding each: those are the same
to the last bit wherever an element lies in an array, which fused operations (``addcmul``, ``lerp``) need not be. So a
lane's numbers cannot depend on its neighbours, on its place, or on how many lanes there are.

- sgd: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013
- rmsprop: G. Hinton, "Neural networks for machine learning", lecture 6, 2012
- adam, adamax: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015
- radam: L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020
- nadam: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop
- adamw: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019
- adadelta: M. Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701
- adagrad: J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12, 2011
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.optimizers import epsilon, is_decoupled

#: Setting -> (n,) float64, one number a lane of the group.
Settings = Mapping[str, np.ndarray]
#: What a rule reads: one tensor a coefficient, broadcastable to the parameters.
Coefficients = Sequence[Tensor]

#: NAdam's decay of the momentum's schedule: torch's default, which is the paper's.
_NADAM_DECAY = 4e-3


@dataclass(frozen=True)
class Rule:
    """One optimizer.

    Attributes:
        slots: names of the arrays it keeps between steps (torch.optim's names), one or two.
        coefficients: settings -> the numbers that ``apply`` reads, each (n,) float64. ``settings["step"]`` is the
            number of this step, from 1; NAdam's rule advances ``settings["product"]``.
        apply: ``(parameters, gradients, slots, coefficients, scratch)`` -> None; changes the parameters and slots,
            may overwrite the gradients.
    """

    slots: tuple[str, ...]
    coefficients: Callable[[Settings], list[np.ndarray]]
    apply: Callable[[Tensor, Tensor, Sequence[Tensor], Coefficients, Tensor], None]


def settings(h: Hyperparameters) -> dict[str, float]:
    """A configuration's part of the settings; the rest (learning rate, step, product) changes with every step."""
    decoupled = is_decoupled(h)
    return {
        "momentum": h.momentum,
        "nesterov": float(h.nesterov),
        "beta_1": h.beta_1,
        "beta_2": h.beta_2,
        "rho": h.rho,
        "alpha": h.alpha,
        "epsilon": epsilon(h),
        "coupled": 0.0 if decoupled else h.weight_decay,
        "decoupled": h.weight_decay if decoupled else 0.0,
        "l1": h.l1,
        "clip_norm": h.clip_norm,
    }


def slots(h: Hyperparameters) -> tuple[str, ...]:
    """Names of the arrays that this configuration's optimizer keeps; without momentum there is no buffer for it."""
    names = RULES[h.optimizer].slots
    return names if h.momentum > 0 else tuple(name for name in names if name != "momentum_buffer")


# -- sgd, rmsprop ------------------------------------------------------------------------------------------------


def _sgd_numbers(s: Settings) -> list[np.ndarray]:
    """Momentum m and learning rate. If any lane is Nesterov's also what the step has of gradient and buffer: 1 and m
    there, 0 and 1 elsewhere."""
    nesterov = s["nesterov"] > 0
    extra = [np.where(nesterov, 1.0, 0.0), np.where(nesterov, s["momentum"], 1.0)] if nesterov.any() else []
    return [s["momentum"], s["lr"], *extra]


def _sgd(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    momentum, lr, *nesterov = c
    step = g
    if kept:  # else no lane has momentum
        step = kept[0].mul_(momentum).add_(g)
        if nesterov:
            step = g.mul_(nesterov[0]).add_(torch.mul(step, nesterov[1], out=s))
    p.sub_(torch.mul(step, lr, out=s))


def _rmsprop_numbers(s: Settings) -> list[np.ndarray]:
    return [s["alpha"], 1.0 - s["alpha"], s["epsilon"], s["momentum"], s["lr"]]


def _rmsprop(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    alpha, complement, epsilon, momentum, lr = c
    square = kept[0]
    _average_squares(square, g, alpha, complement, s)
    step = g.div_(torch.sqrt(square, out=s).add_(epsilon))
    if len(kept) == 2:
        step = torch.add(kept[1].mul_(momentum), step, out=kept[1])
    p.sub_(torch.mul(step, lr, out=s))


# -- Adam and its relatives --------------------------------------------------------------------------------------


def _adam_numbers(s: Settings) -> list[np.ndarray]:
    correction_1, correction_2 = _corrections(s)
    return [*_betas(s), np.sqrt(correction_2), s["epsilon"], s["lr"] / correction_1]


def _adam(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    rate_1, beta_2, rate_2, correction, epsilon, step_size = c
    mean, square = kept
    _average(mean, g, rate_1, s)
    _average_squares(square, g, beta_2, rate_2, s)
    torch.sqrt(square, out=s).div_(correction).add_(epsilon)
    p.sub_(torch.div(mean, s, out=s).mul_(step_size))


def _radam_numbers(s: Settings) -> list[np.ndarray]:
    """As Adam's while the variance can be rectified; else the denominator is ``0 * sqrt(square) + 1``."""
    correction_1, correction_2 = _corrections(s)
    longest = 2.0 / (1.0 - s["beta_2"]) - 1.0
    length = longest - 2.0 * s["step"] * (1.0 - correction_2) / correction_2
    rectified = length > 5.0
    n = np.where(rectified, length, 6.0)  # any number for which the formula is defined
    with np.errstate(divide="ignore", invalid="ignore"):
        rect = np.sqrt((n - 4.0) * (n - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * n))
    factor = np.where(rectified, rect * np.sqrt(correction_2), 1.0)
    return [
        *_betas(s),
        np.where(rectified, 1.0, 0.0),
        np.where(rectified, s["epsilon"], 1.0),
        s["lr"] * factor / correction_1,
    ]


def _radam(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    rate_1, beta_2, rate_2, of_root, added, step_size = c
    mean, square = kept
    _average(mean, g, rate_1, s)
    _average_squares(square, g, beta_2, rate_2, s)
    torch.sqrt(square, out=s).mul_(of_root).add_(added)
    p.sub_(torch.div(mean, s, out=s).mul_(step_size))


def _nadam_numbers(s: Settings) -> list[np.ndarray]:
    """The product of the momenta is kept in float32, as torch keeps it."""
    correction_2 = _corrections(s)[1]
    now, following = (_nadam_momentum(s["beta_1"], s["step"] + k) for k in (0, 1))
    product = s["product"]
    product[:] = product.astype(np.float32) * now.astype(np.float32)
    of_gradient = s["lr"] * (1.0 - now) / (1.0 - product)
    of_mean = s["lr"] * following / (1.0 - product * following)
    return [*_betas(s), correction_2, s["epsilon"], of_gradient, of_mean]


def _nadam_momentum(beta_1: np.ndarray, step: np.ndarray) -> np.ndarray:
    return beta_1 * (1.0 - 0.5 * _power(np.full_like(step, 0.96), step * _NADAM_DECAY))


def _nadam(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    rate_1, beta_2, rate_2, correction, epsilon, of_gradient, of_mean = c
    mean, square = kept
    _average(mean, g, rate_1, s)
    _average_squares(square, g, beta_2, rate_2, s)
    torch.div(square, correction, out=s).sqrt_().add_(epsilon)
    p.sub_(g.mul_(of_gradient).div_(s))
    p.sub_(torch.div(mean, s, out=s).mul_(of_mean))


def _adamax_numbers(s: Settings) -> list[np.ndarray]:
    return [1.0 - s["beta_1"], s["beta_2"], s["epsilon"], s["lr"] / _corrections(s)[0]]


def _adamax(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    rate_1, beta_2, epsilon, step_size = c
    mean, largest = kept
    _average(mean, g, rate_1, s)
    torch.maximum(largest.mul_(beta_2), g.abs_().add_(epsilon), out=largest)
    p.sub_(torch.div(mean, largest, out=s).mul_(step_size))


# -- Adadelta, Adagrad -------------------------------------------------------------------------------------------


def _adadelta_numbers(s: Settings) -> list[np.ndarray]:
    return [s["rho"], 1.0 - s["rho"], s["epsilon"], s["lr"]]


def _adadelta(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    rho, complement, epsilon, lr = c
    square, moved = kept
    _average_squares(square, g, rho, complement, s)
    root = torch.add(square, epsilon, out=s).sqrt_()
    delta = g.div_(root)
    delta.mul_(torch.add(moved, epsilon, out=s).sqrt_())
    _average_squares(moved, delta, rho, complement, s)
    p.sub_(delta.mul_(lr))


def _adagrad_numbers(s: Settings) -> list[np.ndarray]:
    return [s["epsilon"], s["lr"]]


def _adagrad(p: Tensor, g: Tensor, kept: Sequence[Tensor], c: Coefficients, s: Tensor) -> None:
    epsilon, lr = c
    (total,) = kept
    total.add_(torch.mul(g, g, out=s))
    p.sub_(g.div_(torch.sqrt(total, out=s).add_(epsilon)).mul_(lr))


# -- what they share ---------------------------------------------------------------------------------------------


def _average(mean: Tensor, g: Tensor, rate: Tensor, s: Tensor) -> None:
    """mean += rate * (g - mean)."""
    mean.add_(torch.sub(g, mean, out=s).mul_(rate))


def _average_squares(square: Tensor, g: Tensor, kept: Tensor, rate: Tensor, s: Tensor) -> None:
    """square = kept * square + rate * g^2."""
    square.mul_(kept).add_(torch.mul(g, g, out=s).mul_(rate))


def _betas(s: Settings) -> list[np.ndarray]:
    return [1.0 - s["beta_1"], s["beta_2"], 1.0 - s["beta_2"]]


def _corrections(s: Settings) -> tuple[np.ndarray, np.ndarray]:
    return 1.0 - _power(s["beta_1"], s["step"]), 1.0 - _power(s["beta_2"], s["step"])


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """One by one: NumPy's own power may round differently in a vector and in the rest of an array."""
    return np.array([b**e for b, e in zip(base.tolist(), exponent.tolist(), strict=True)], dtype=np.float64)


_MOMENTS = ("exp_avg", "exp_avg_sq")
RULES: dict[str, Rule] = {
    "sgd": Rule(("momentum_buffer",), _sgd_numbers, _sgd),
    "rmsprop": Rule(("square_avg", "momentum_buffer"), _rmsprop_numbers, _rmsprop),
    "adam": Rule(_MOMENTS, _adam_numbers, _adam),
    "radam": Rule(_MOMENTS, _radam_numbers, _radam),
    "nadam": Rule(_MOMENTS, _nadam_numbers, _nadam),
    "adamw": Rule(_MOMENTS, _adam_numbers, _adam),
    "adadelta": Rule(("square_avg", "acc_delta"), _adadelta_numbers, _adadelta),
    "adagrad": Rule(("sum",), _adagrad_numbers, _adagrad),
    "adamax": Rule(("exp_avg", "exp_inf"), _adamax_numbers, _adamax),
}
