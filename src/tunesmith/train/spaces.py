"""Ready search spaces over the hyperparameters of the training loop, in three sizes.

Scales: what acts as a factor (learning rate, penalties, epsilon) is searched on its logarithm; shares and angles
linearly. Batch sizes are a few powers of two, not all integers: the outcome hardly differs between 60 and 64 images,
and trainings of equal batch size can run together in lanes.
"""

from __future__ import annotations

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.space import Space
from tunesmith.train.hyperparameters import DEFAULTS, NAMES, NORMALIZATIONS, OPTIMIZERS, SCHEDULES, condition, unused

SIZES = ("small", "medium", "all")

_ONOFF = CategoricalDistribution((False, True))

#: Of "small" and "medium". Momentum below 0.99: its steps are 1 / (1 - momentum) times as long.
_USUAL: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    "batch_size": CategoricalDistribution((32, 64, 128, 256)),
    "schedule": CategoricalDistribution(("constant", "cosine", "one-cycle")),
}
#: Adaptive steps have nearly the length of lr, so good values lie lower; Adadelta finds a length itself, lr is about 1.
_USUAL_LR = {name: FloatDistribution(1e-5, 1e-1, log=True) for name in OPTIMIZERS if name != "sgd"}
_USUAL_LR["adadelta"] = FloatDistribution(1e-2, 10.0, log=True)

#: Of "all". "nll" is left out of the losses: on logits it is the cross-entropy. Penalties begin where nothing is felt.
_ALL: dict[str, BaseDistribution] = {
    "optimizer": CategoricalDistribution(OPTIMIZERS),
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "nesterov": _ONOFF,
    "beta_1": FloatDistribution(0.5, 0.99),
    "beta_2": FloatDistribution(0.9, 0.9999),
    "rho": FloatDistribution(0.8, 0.99),
    "alpha": FloatDistribution(0.9, 0.999),
    "epsilon": FloatDistribution(1e-10, 1e-2, log=True),
    "schedule": CategoricalDistribution(SCHEDULES),
    "warmup": FloatDistribution(0.0, 3.0),
    "gamma": FloatDistribution(0.1, 0.9),
    "step_epochs": IntDistribution(1, 20, log=True),
    "final_lr": FloatDistribution(0.0, 0.1),
    "plateau_patience": IntDistribution(1, 10),
    "batch_size": CategoricalDistribution((16, 32, 64, 128, 256, 512)),
    "patience": CategoricalDistribution((0, 3, 5, 10)),
    "weight_decay": FloatDistribution(1e-7, 1e-1, log=True),
    "decoupled": _ONOFF,
    "l1": FloatDistribution(1e-8, 1e-3, log=True),
    "label_smoothing": FloatDistribution(0.0, 0.3),
    "clip_norm": FloatDistribution(0.1, 100.0, log=True),
    "loss": CategoricalDistribution(("cross-entropy", "squared-error", "focal", "hinge")),
    "focal_gamma": FloatDistribution(0.5, 5.0),
    "normalize": CategoricalDistribution(NORMALIZATIONS),
    "flip": _ONOFF,
    "crop": IntDistribution(0, 4),
    "rotation": FloatDistribution(0.0, 30.0),
    "noise": FloatDistribution(0.0, 0.3),
    "mixup": FloatDistribution(0.0, 1.0),
    "cutout": IntDistribution(0, 16, step=2),
}


def space(size: str, optimizer: str | None = None) -> Space:
    """A ready space over the loop's hyperparameters.

    - small: ``lr`` and ``momentum``, both continuous, for SGD. These two decide most of the outcome of a short
      training, and they interact: the step of SGD with momentum m is about ``lr / (1 - m)`` long, so that good values
      lie on a curved ridge, with slow learning on one side of it and divergence on the other. For optimizers without
      momentum ``lr`` and ``weight_decay``.
    - medium: what is tuned first in practice: ``lr``, ``momentum`` (where the optimizer has one), ``weight_decay``,
      ``batch_size`` and ``schedule``. No label smoothing or augmentation: they seldom pay in a short training of a
      small network, and their best strength depends on the length.
    - all: every hyperparameter, each only where the chosen optimizer, schedule or loss uses it.

    Args:
        size: "small", "medium" or "all".
        optimizer: the optimizer if it is fixed. None means SGD for small and medium, and a choice of all for all.

    Raises:
        InvalidValueError: an unknown size.
    """
    if size not in SIZES:
        raise InvalidValueError(f"Unknown size of a space {size!r}; known: {', '.join(SIZES)}.")
    if size == "all":
        names, distributions = NAMES, dict(_ALL)
    else:
        fixed = optimizer or DEFAULTS["optimizer"]
        distributions = {**_USUAL, "lr": _USUAL_LR.get(fixed, _USUAL["lr"])}
        second = "weight_decay" if unused("momentum", {"optimizer": fixed}) else "momentum"
        names = ("lr", second) if size == "small" else tuple(_USUAL)
    decided = {"optimizer": optimizer} if optimizer else {} if size == "all" else {"optimizer": DEFAULTS["optimizer"]}
    names = tuple(name for name in names if name not in decided and not unused(name, decided))
    conditions = {name: condition(name) for name in names if condition(name).split(" ")[0] in names}
    return Space({name: distributions[name] for name in names}, conditions)
