"""A fully connected network (multilayer perceptron): one to five hidden layers of various widths.

Each hidden layer is linear -> normalisation -> activation -> dropout; the output layer is linear. The default is one
hidden layer of 128 rectified units: 101,770 parameters on images of 28x28 with ten classes, 784 * 128 + 128 and
128 * 10 + 10.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.space import Space
from tunesmith.train import activations, layers

MOST = 5
_WIDTHS = tuple(f"width_{i}" for i in range(1, MOST + 1))

DEFAULTS: dict[str, Any] = {
    "layers": 1,
    **dict.fromkeys(_WIDTHS, 128),
    "activation": "relu",
    "norm_layer": "none",
    "dropout": 0.0,
}
MEANINGS = {
    "layers": "number of hidden layers",
    **{name: f"units of hidden layer {i}" for i, name in enumerate(_WIDTHS, 1)},
    "activation": "function after each hidden layer",
    "norm_layer": "normalisation before each activation",
    "dropout": "share of each hidden layer's units that is dropped in training",
}


def space(size: str) -> Space:
    """Small: nothing. Medium: up to three layers, their widths in steps of 64, dropout. All: everything.

    A layer's width is a parameter of its own, and only there when the layer is.
    """
    dropout = FloatDistribution(0.0, 0.5)
    sizes = {
        "small": Space(),
        "medium": _stack(3, IntDistribution(64, 512, step=64), {"dropout": dropout}),
        "all": _stack(
            MOST,
            IntDistribution(16, 512, log=True),
            {
                "activation": CategoricalDistribution(tuple(activations.ACTIVATIONS)),
                "norm_layer": CategoricalDistribution(layers.NORM_LAYERS),
                "dropout": dropout,
            },
        ),
    }
    return layers.choose("size of a space", sizes, size)


def _stack(most: int, width: IntDistribution, others: Mapping[str, Any]) -> Space:
    names = _WIDTHS[:most]
    conditions = {name: f"layers >= {i}" for i, name in enumerate(names, 1) if i > 1}
    return Space({"layers": IntDistribution(1, most), **dict.fromkeys(names, width), **others}, conditions)


def build(configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """The network.

    Args:
        configuration: ``layers`` (1 to 5), ``width_1`` ... ``width_5`` (units, at least 1; those of layers that are
            not there are not looked at), ``activation``, ``norm_layer`` ("none", "batch", "layer"), ``dropout`` in
            [0, 1).
        input_shape: (channels, height, width); every pixel is an input.
        n_classes: number of outputs (logits).
        seed: of the weights and the dropout masks.

    Raises:
        InvalidValueError: an unknown hyperparameter, or one without meaning.
    """
    options = layers.settings("mlp", DEFAULTS, configuration)
    n_layers = layers.whole("layers", options["layers"], 1, MOST)
    widths = [layers.whole(name, options[name], 1) for name in _WIDTHS[:n_layers]]

    def make() -> nn.Module:
        steps: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        inputs = math.prod(input_shape)
        for i, width in enumerate(widths, 1):
            steps[f"hidden_{i}"] = nn.Linear(inputs, width)
            norm = layers.norm_layer(options["norm_layer"], width, of_images=False)
            if norm is not None:
                steps[f"norm_{i}"] = norm
            steps[f"unit_{i}"] = activations.make(options["activation"])
            if options["dropout"]:
                steps[f"dropout_{i}"] = layers.Dropout(options["dropout"])
            inputs = width
        steps["output"] = nn.Linear(inputs, n_classes)
        return nn.Sequential(steps)

    return layers.initialised(make, seed, rectified=activations.is_rectified(options["activation"]))
