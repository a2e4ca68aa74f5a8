"""The hyperparameters of the training loop: their defaults, which values they may take, and ready spaces over them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space

OPTIMIZERS = ("sgd", "adam")
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Hyperparameters:
    """How to train.

    Attributes:
        lr: learning rate, positive. Default 0.01: safe for both optimizers with these networks, though seldom best.
        momentum: of SGD, in [0, 1); Adam does not use it. Default 0.9, the usual choice.
        weight_decay: L2 penalty added to the gradient (of all parameters), not negative. Default 0.
        batch_size: images a step, at least 1. Default 64: 32 steps an epoch on the shipped subset.
        optimizer: "sgd" or "adam" (D. Kingma, J. Ba, "Adam", ICLR 2015, with its beta and epsilon). Default "sgd".

    Raises:
        InvalidTypeError, InvalidValueError: a value of the wrong type or outside of its range.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 64
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        for name in NAMES:
            check(name, getattr(self, name))


#: In the order of the fields.
NAMES: tuple[str, ...] = tuple(field.name for field in fields(Hyperparameters))
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Hyperparameters)}


def check(name: str, value: Any) -> None:
    """Whether a hyperparameter of the loop may have this value.

    Raises:
        InvalidTypeError, InvalidValueError: it may not; the message says what it may be.
    """
    if name == "optimizer":
        if value not in OPTIMIZERS:
            raise InvalidValueError(f"Unknown optimizer {value!r}; known: {', '.join(OPTIMIZERS)}.")
    elif name == "batch_size":
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InvalidTypeError(f"batch_size must be an integer, not {value!r}.")
        if value < 1:
            raise InvalidValueError(f"batch_size must be at least 1, but is {value}.")
    else:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidTypeError(f"{name} must be a number, not {value!r}.")
        number = float(value)
        allowed = {
            "lr": (0.0 < number < math.inf, "positive and finite"),
            "momentum": (0.0 <= number < 1.0, "in [0, 1)"),
            "weight_decay": (0.0 <= number < math.inf, "not negative and finite"),
        }
        if not allowed[name][0]:
            raise InvalidValueError(f"{name} must be {allowed[name][1]}, but is {value!r}.")


def from_configuration(configuration: Mapping[str, Any]) -> Hyperparameters:
    """The loop's part of a configuration; what it does not hold has its default."""
    return Hyperparameters(**{name: configuration[name] for name in NAMES if name in configuration})


def space(size: str, optimizer: str | None = None) -> Space:
    """A ready space over the loop's hyperparameters.

    - small: ``lr`` and ``momentum``, both continuous, for SGD. These two decide most of the outcome of a short
      training, and they interact: the step of SGD with momentum m is about ``lr / (1 - m)`` long, so that good values
      lie on a curved ridge, with slow learning on one side of it and divergence on the other. For Adam ``lr`` and
      ``weight_decay``.
    - medium: ``lr``, ``momentum`` (SGD only), ``weight_decay`` and ``batch_size``.
    - large: ``optimizer`` too, unless it is fixed; ``momentum`` only with SGD; wider ranges.

    Args:
        size: "small", "medium" or "large".
        optimizer: the optimizer if it is fixed. None means SGD for small and medium.

    Raises:
        InvalidValueError: an unknown size.
    """
    momentum = {} if optimizer == "adam" else {"momentum": FloatDistribution(0.0, 0.99)}
    lr = FloatDistribution(1e-4, 1e-1, log=True)
    weight_decay = FloatDistribution(1e-6, 1e-2, log=True)
    if size == "small":
        return Space({"lr": lr, **(momentum or {"weight_decay": weight_decay})})
    if size == "medium":
        batch_size = IntDistribution(16, 256, log=True)
        return Space({"lr": lr, **momentum, "weight_decay": weight_decay, "batch_size": batch_size})
    if size == "large":
        return Space(
            {
                **({"optimizer": CategoricalDistribution(OPTIMIZERS)} if optimizer is None else {}),
                "lr": FloatDistribution(1e-5, 1.0, log=True),
                **momentum,
                "weight_decay": FloatDistribution(1e-7, 1e-1, log=True),
                "batch_size": IntDistribution(8, 512, log=True),
            },
            conditions={"momentum": "optimizer == 'sgd'"} if optimizer is None else None,
        )
    raise InvalidValueError(f"Unknown size of a space {size!r}; known: {', '.join(SIZES)}.")
