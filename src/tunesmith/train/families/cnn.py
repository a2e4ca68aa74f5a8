"""A small convolutional network: two convolutions of 5x5 with max-pooling of 2x2, and one linear layer.

On 3x32x32 inputs with ten classes the default widths (10 and 20 filters) give 10,790 parameters: 760 in the first
convolution, 5,020 in the second, and 5,010 in the linear layer (500 inputs). Units are rectified.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from tunesmith.distributions import FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.space import Space
from tunesmith.train import layers

DEFAULTS = {"filters_1": 10, "filters_2": 20, "dropout": 0.0}


def space(size: str) -> Space:
    """Small: nothing. Medium: dropout before the linear layer. Large: the numbers of filters too."""
    dropout = FloatDistribution(0.0, 0.5)
    sizes = {
        "small": Space(),
        "medium": Space({"dropout": dropout}),
        "large": Space(
            {
                "filters_1": IntDistribution(4, 32, log=True),
                "filters_2": IntDistribution(8, 64, log=True),
                "dropout": dropout,
            }
        ),
    }
    return layers.choose("size of a space", sizes, size)


def build(configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """The network.

    Args:
        configuration: ``filters_1`` and ``filters_2`` (numbers of filters, at least 1), ``dropout`` in [0, 1), the
            share of the inputs of the linear layer that is dropped in training.
        input_shape: (channels, height, width); images under 16 pixels are enlarged first.
        n_classes: number of outputs (logits).
        seed: of the weights and the dropout masks.

    Raises:
        InvalidValueError: an unknown hyperparameter, or one without meaning.
    """
    options = layers.settings("cnn", DEFAULTS, configuration)
    first, second = (_filters(name, options[name]) for name in ("filters_1", "filters_2"))
    channels, height, width = input_shape
    factor = layers.enlargement(input_shape, 16, 32)
    sides = [((side * factor - 4) // 2 - 4) // 2 for side in (height, width)]

    def make() -> nn.Module:
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        if factor > 1:
            steps["enlarge"] = nn.Upsample(scale_factor=factor, mode="nearest")
        steps["convolution_1"] = nn.Conv2d(channels, first, 5)
        steps["unit_1"] = nn.ReLU()
        steps["pool_1"] = nn.MaxPool2d(2)
        steps["convolution_2"] = nn.Conv2d(first, second, 5)
        steps["unit_2"] = nn.ReLU()
        steps["pool_2"] = nn.MaxPool2d(2)
        steps["flatten"] = nn.Flatten()
        if options["dropout"]:
            steps["dropout"] = layers.Dropout(options["dropout"], seed + 1)
        steps["output"] = nn.Linear(second * sides[0] * sides[1], n_classes)
        return nn.Sequential(steps)

    return layers.initialised(make, seed, rectified=True)


def _filters(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidValueError(f"{name} must be an integer of at least 1, but is {value!r}.")
    return value
