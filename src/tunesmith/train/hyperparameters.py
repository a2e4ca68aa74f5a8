"""The hyperparameters of the training loop: their defaults, which values they may take, which of them are in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

OPTIMIZERS = ("sgd", "rmsprop", "adam", "radam", "nadam", "adamw", "adadelta", "adagrad", "adamax")
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle", "plateau")
LOSSES = ("cross-entropy", "nll", "squared-error", "focal", "hinge")
NORMALIZATIONS = ("standardize", "range", "none")

_ADAMS = ("adam", "radam", "nadam", "adamw", "adamax")


@dataclass(frozen=True, repr=False)
class Hyperparameters:
    """How to train. :data:`MEANINGS` has a line about each; here are the reasons of the defaults.

    Attributes:
        optimizer: see :mod:`tunesmith.train.optimizers`. Default "sgd", with momentum: the field's reference.
        lr: learning rate, positive. Default 0.01: safe for most optimizers with these networks, though seldom best.
        momentum: in [0, 1). Default 0.9, the usual choice; of RMSprop too, where torch's is 0.
        nesterov: Nesterov's momentum; without effect when ``momentum`` is 0. Default False, as torch.
        beta_1, beta_2: in [0, 1). Defaults 0.9 and 0.999, of the paper of Adam and of torch.
        rho: in [0, 1). Default 0.9, of torch.
        alpha: in [0, 1). Default 0.99, of torch.
        epsilon: positive; None, the default, is torch's for this optimizer.
        schedule: see :mod:`tunesmith.train.schedules`. Default "constant": nothing that depends on the length.
        warmup: epochs, not negative, need not be whole. Default 0: none.
        gamma: in (0, 1]. Default 0.5: halve. (torch's 0.1 is for trainings of a hundred epochs.)
        step_epochs: at least 1. Default 5, for trainings of 10 to 50 epochs.
        final_lr: share of ``lr``, in [0, 1]. Default 0, as the paper of the cosine schedule.
        plateau_patience: epochs, at least 0. Default 3, for trainings of 10 to 50 epochs.
        batch_size: images a step, at least 1. Default 64: 32 steps an epoch on the shipped subset.
        patience: epochs, at least 0. Default 0: every training has its full length.
        weight_decay: factor of the weights, of all parameters, not negative. Default 0.
        decoupled: whether decay is apart from the gradient (I. Loshchilov, F. Hutter, "Decoupled weight decay
            regularization", ICLR 2019). Default False, as torch's SGD and Adam; AdamW always does it.
        l1: factor of the weights' signs, of all parameters, not negative. Default 0.
        label_smoothing: in [0, 1). Default 0.
        clip_norm: largest norm of the gradient, of all parameters together; 0, the default, does not clip.
        loss: see :mod:`tunesmith.train.losses`. Default "cross-entropy".
        focal_gamma: not negative. Default 2, of the paper of the focal loss.
        normalize: see :func:`tunesmith.train.preparation.scaling`. Default "standardize".
        flip, crop, rotation, noise, mixup, cutout: see :mod:`tunesmith.train.augmentation`. Off by default.

    Raises:
        InvalidTypeError, InvalidValueError: a value of the wrong type or outside of its range.
    """

    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    rho: float = 0.9
    alpha: float = 0.99
    epsilon: float | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    gamma: float = 0.5
    step_epochs: int = 5
    final_lr: float = 0.0
    plateau_patience: int = 3
    batch_size: int = 64
    patience: int = 0
    weight_decay: float = 0.0
    decoupled: bool = False
    l1: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    loss: str = "cross-entropy"
    focal_gamma: float = 2.0
    normalize: str = "standardize"
    flip: bool = False
    crop: int = 0
    rotation: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in NAMES:
            check(name, getattr(self, name))

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in NAMES}
        shown = [name for name in NAMES if values[name] != DEFAULTS[name] or name in ("optimizer", "lr")]
        return f"Hyperparameters({', '.join(f'{name}={values[name]!r}' for name in shown)})"


#: In the order of the fields.
NAMES: tuple[str, ...] = tuple(field.name for field in fields(Hyperparameters))
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Hyperparameters)}

#: What each one is, in a line.
MEANINGS: dict[str, str] = {
    "optimizer": "rule that turns gradients into steps",
    "lr": "learning rate; with a schedule its largest value",
    "momentum": "share of the last step that is kept",
    "nesterov": "momentum that looks one step ahead",
    "beta_1": "smoothing of the gradient's mean",
    "beta_2": "smoothing of the gradient's square",
    "rho": "smoothing of Adadelta's squares",
    "alpha": "smoothing of RMSprop's squares",
    "epsilon": "added to the divisor of adaptive steps",
    "schedule": "how the learning rate changes during the training",
    "warmup": "epochs in which the learning rate rises from 0",
    "gamma": "factor of the learning rate at each decay",
    "step_epochs": "epochs from one decay to the next",
    "final_lr": "learning rate at the end, as a share of lr",
    "plateau_patience": "epochs without improvement that are accepted before a decay",
    "batch_size": "images in a step",
    "patience": "epochs without improvement after which the training stops; 0: never",
    "weight_decay": "L2 penalty (Tikhonov): pull of the weights to 0, proportional to them",
    "decoupled": "weight decay apart from the gradient, as in AdamW",
    "l1": "L1 penalty (lasso): pull of the weights to 0 at a constant rate",
    "label_smoothing": "share of a label that is spread over all classes",
    "clip_norm": "largest norm of the gradient; 0: any",
    "loss": "what the training makes small",
    "focal_gamma": "how much the focal loss disregards what is classified well",
    "normalize": "how pixels are scaled: mean 0 and deviation 1 for each channel, range -1 to 1, or not",
    "flip": "mirror half of the images left to right",
    "crop": "pixels by which images are shifted, at most",
    "rotation": "degrees by which images are rotated, at most",
    "noise": "standard deviation of the noise added to pixels, after scaling",
    "mixup": "alpha of mixup, which blends pairs of images and their labels; 0: off",
    "cutout": "side of the square that is blanked in each image, in pixels",
}

#: Hyperparameters that not every training has a use for: the one that decides, and its values that use them.
USED_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "momentum": ("optimizer", ("sgd", "rmsprop")),
    "nesterov": ("optimizer", ("sgd",)),
    "beta_1": ("optimizer", _ADAMS),
    "beta_2": ("optimizer", _ADAMS),
    "rho": ("optimizer", ("adadelta",)),
    "alpha": ("optimizer", ("rmsprop",)),
    "epsilon": ("optimizer", tuple(name for name in OPTIMIZERS if name != "sgd")),
    "decoupled": ("optimizer", tuple(name for name in OPTIMIZERS if name != "adamw")),
    "warmup": ("schedule", tuple(name for name in SCHEDULES if name != "one-cycle")),
    "gamma": ("schedule", ("step", "exponential", "plateau")),
    "step_epochs": ("schedule", ("step", "exponential")),
    "final_lr": ("schedule", ("cosine",)),
    "plateau_patience": ("schedule", ("plateau",)),
    "focal_gamma": ("loss", ("focal",)),
}


def unused(name: str, decided: Mapping[str, Any]) -> str:
    """Why a training has no use for a hyperparameter; "" when it has, or when that is still open.

    Args:
        name: of the hyperparameter.
        decided: what is known of the configuration; an optimizer, schedule or loss that it does not hold is open.

    Example:
        >>> unused("momentum", {"optimizer": "adam"})
        "the optimizer 'adam' has no 'momentum' to set; these have: sgd, rmsprop"
    """
    chooser, users = USED_BY.get(name, ("", ()))
    if chooser not in decided or decided[chooser] in users:
        return ""
    return f"the {chooser} {decided[chooser]!r} has no {name!r} to set; these have: {', '.join(users)}"


def condition(name: str) -> str:
    """When a hyperparameter is used, as a condition of a :class:`~tunesmith.space.Space`; "" for always."""
    if name not in USED_BY:
        return ""
    chooser, users = USED_BY[name]
    return f"{chooser} == {users[0]!r}" if len(users) == 1 else f"{chooser} in {users!r}"


def from_configuration(configuration: Mapping[str, Any]) -> Hyperparameters:
    """The loop's part of a configuration; what it does not hold has its default."""
    return Hyperparameters(**{name: configuration[name] for name in NAMES if name in configuration})


# -- which values are allowed ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Interval:
    """Finite numbers from ``low`` to ``high``; ``ends`` are "[]", "(]", ... and tell which ends belong to it."""

    low: float
    high: float = math.inf
    ends: str = "[)"
    whole: bool = False
    optional: bool = False

    def check(self, name: str, value: Any) -> None:
        if value is None and self.optional:
            return
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            kind = "an integer" if self.whole else "a number or None" if self.optional else "a number"
            raise InvalidTypeError(f"{name} must be {kind}, not {value!r}.")
        number = float(value)
        above = number > self.low if self.ends[0] == "(" else number >= self.low
        below = number < self.high if self.ends[1] == ")" else number <= self.high
        if not (above and below):
            raise InvalidValueError(f"{name} must be {self}, but is {value!r}.")

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"
        if self.whole:
            return f"at least {self.low:g}"
        return "positive and finite" if self.ends[0] == "(" else "not negative and finite"


_POSITIVE, _NOT_NEGATIVE = _Interval(0.0, ends="()"), _Interval(0.0)
_SHARE, _COUNT = _Interval(0.0, 1.0), _Interval(0, whole=True)

_ALLOWED: dict[str, _Interval | tuple[Any, ...]] = {
    "optimizer": OPTIMIZERS, "lr": _POSITIVE, "momentum": _SHARE, "nesterov": (False, True), "beta_1": _SHARE,
    "beta_2": _SHARE, "rho": _SHARE, "alpha": _SHARE, "epsilon": _Interval(0.0, ends="()", optional=True),
    "schedule": SCHEDULES, "warmup": _NOT_NEGATIVE, "gamma": _Interval(0.0, 1.0, "(]"),
    "step_epochs": _Interval(1, whole=True), "final_lr": _Interval(0.0, 1.0, "[]"), "plateau_patience": _COUNT,
    "batch_size": _Interval(1, whole=True), "patience": _COUNT, "weight_decay": _NOT_NEGATIVE,
    "decoupled": (False, True), "l1": _NOT_NEGATIVE, "label_smoothing": _SHARE, "clip_norm": _NOT_NEGATIVE,
    "loss": LOSSES, "focal_gamma": _NOT_NEGATIVE, "normalize": NORMALIZATIONS, "flip": (False, True), "crop": _COUNT,
    "rotation": _Interval(0.0, 180.0, "[]"), "noise": _NOT_NEGATIVE, "mixup": _NOT_NEGATIVE, "cutout": _COUNT,
}  # fmt: skip


def check(name: str, value: Any) -> None:
    """Whether a hyperparameter of the loop may have this value.

    Raises:
        InvalidTypeError, InvalidValueError: it may not; the message says what it may be.
    """
    allowed = _ALLOWED[name]
    if isinstance(allowed, _Interval):
        allowed.check(name, value)
    elif allowed == (False, True):
        if not isinstance(value, bool):
            raise InvalidTypeError(f"{name} must be True or False, not {value!r}.")
    elif not isinstance(value, str) or value not in allowed:
        kinds = {"optimizer": "optimizer", "schedule": "schedule", "loss": "loss", "normalize": "normalization"}
        raise InvalidValueError(f"Unknown {kinds[name]} {value!r}; known: {', '.join(allowed)}.")
