"""LeNet-5.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998, section II-B and figure 2. The layout is the paper's, for 32x32 inputs: C1 6@5x5,
S2 2x2, C3 16@5x5, S4 2x2, C5 120, F6 84, output 10. Smaller images are padded with zeros to 32x32 (the paper puts
28x28 digits into 32x32 fields).

Where today's usage differs from the paper, today's is followed: subsampling has no trainable coefficients, C3 sees all
maps of S2 (the paper's table I connects some), and the output is linear under cross-entropy instead of radial basis
units. This gives 61,706 parameters for one input channel. C5 is a convolution over its whole 5x5 input and is computed
as a linear layer, which is the same function and faster.

Defaults: tanh units and average pooling, as in the paper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from tunesmith.distributions import CategoricalDistribution, FloatDistribution
from tunesmith.space import Space
from tunesmith.train import activations, layers
from tunesmith.train.errors import InvalidArchitectureError

SIDE = 32
DEFAULTS = {"activation": "tanh", "pooling": "avg", "dropout": 0.0}
MEANINGS = {
    "activation": "function after each layer but the pooling and the output; tanh in the paper",
    "pooling": "of S2 and S4; avg in the paper",
    "dropout": "share of the inputs of C5 and F6 that is dropped in training",
}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def space(size: str) -> Space:
    """Small: nothing. Medium: tanh or ReLU, and the pooling. All: every activation, and dropout before C5 and F6."""
    pooling = CategoricalDistribution(tuple(_POOLINGS))
    sizes = {
        "small": Space(),
        "medium": Space({"activation": CategoricalDistribution(("tanh", "relu")), "pooling": pooling}),
        "all": Space(
            {
                "activation": CategoricalDistribution(tuple(activations.ACTIVATIONS)),
                "pooling": pooling,
                "dropout": FloatDistribution(0.0, 0.5),
            }
        ),
    }
    return layers.choose("size of a space", sizes, size)


def build(configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """The network.

    Args:
        configuration: ``activation`` (see :mod:`tunesmith.train.activations`), ``pooling`` ("avg" or "max"),
            ``dropout`` in [0, 1), the share of the inputs of C5 and of F6 that is dropped in training.
        input_shape: (channels, height, width), at most 32x32; images under 16 pixels are enlarged first.
        n_classes: number of outputs (logits).
        seed: of the weights and the dropout masks.

    Raises:
        InvalidArchitectureError: an input that is too large.
        InvalidValueError: an unknown hyperparameter or choice.
    """
    options = layers.settings("lenet5", DEFAULTS, configuration)
    activation = activations.check(options["activation"])
    pooling = layers.choose("pooling", _POOLINGS, options["pooling"])
    channels, height, width = input_shape
    if max(height, width) > SIDE:
        raise InvalidArchitectureError(f"lenet5 takes images of up to {SIDE}x{SIDE} pixels, not {height}x{width}.")
    factor = layers.enlargement(input_shape, SIDE // 2, SIDE)
    dropout = options["dropout"]

    def make() -> nn.Module:
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        if factor > 1:
            steps["enlarge"] = nn.Upsample(scale_factor=factor, mode="nearest")
        steps["C1"] = _convolution(channels, height * factor, width * factor)
        steps["C1_unit"] = activations.make(activation)
        steps["S2"] = pooling(2)
        steps["C3"] = nn.Conv2d(6, 16, 5)
        steps["C3_unit"] = activations.make(activation)
        steps["S4"] = pooling(2)
        steps["flatten"] = nn.Flatten()
        for name, width_in, width_out in (("C5", 400, 120), ("F6", 120, 84)):
            if dropout:
                steps[f"{name}_dropout"] = layers.Dropout(dropout)
            steps[name] = nn.Linear(width_in, width_out)
            steps[f"{name}_unit"] = activations.make(activation)
        steps["output"] = nn.Linear(84, n_classes)
        return nn.Sequential(steps)

    return layers.initialised(make, seed, rectified=activations.is_rectified(activation))


def _convolution(channels: int, height: int, width: int) -> nn.Module:
    """C1, with the padding to 32x32; odd differences need a padding layer of their own."""
    down, right = SIDE - height, SIDE - width
    if down % 2 == 0 and right % 2 == 0:
        return nn.Conv2d(channels, 6, 5, padding=(down // 2, right // 2))
    pad = nn.ZeroPad2d((right // 2, right - right // 2, down // 2, down - down // 2))
    return nn.Sequential(OrderedDict(pad=pad, convolution=nn.Conv2d(channels, 6, 5)))
