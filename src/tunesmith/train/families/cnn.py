"""A convolutional network: one to four convolutions with pooling, and a fully connected head.

Each block is convolution -> normalisation -> activation -> pooling; then come the hidden layers of the head, if any,
and a linear output layer. The default has two convolutions of 5x5 (10 and 20 filters) without padding, rectified
units, max-pooling of 2x2 and no hidden layer. On 3x32x32 inputs with ten classes it has 10,790 parameters: 760 in the
first convolution, 5,020 in the second, and 5,010 in the linear layer (500 inputs).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.space import Space
from tunesmith.train import activations, layers
from tunesmith.train.errors import InvalidArchitectureError

MOST = 4
_FILTERS = tuple(f"filters_{i}" for i in range(1, MOST + 1))
_POOLINGS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "none": None}

DEFAULTS: dict[str, Any] = {
    "layers": 2,
    **dict(zip(_FILTERS, (10, 20, 40, 80), strict=True)),
    "kernel_size": 5,
    "stride": 1,
    "padding": "auto",
    "pooling": "max",
    "pool_size": 2,
    "dense_layers": 0,
    "dense_width": 128,
    "activation": "relu",
    "norm_layer": "none",
    "dropout": 0.0,
}
MEANINGS = {
    "layers": "number of convolutions",
    **{name: f"filters of convolution {i}" for i, name in enumerate(_FILTERS, 1)},
    "kernel_size": "side of every convolution's kernel, in pixels",
    "stride": "step of every convolution, in pixels",
    "padding": "zeros around each convolution's input: valid (none), same (keeps the size), auto (same from 3 layers)",
    "pooling": "after every convolution",
    "pool_size": "side of the pooling window, and its stride, in pixels",
    "dense_layers": "number of hidden layers after the convolutions",
    "dense_width": "units of each of these hidden layers",
    "activation": "function after each convolution and each hidden layer",
    "norm_layer": "normalisation before each activation",
    "dropout": "share of the inputs of each hidden layer and of the output that is dropped in training",
}


def space(size: str) -> Space:
    """Small: nothing. Medium: filters of the two convolutions (in steps), dropout. All: everything.

    The conditions of "all" leave out what would shrink images of 28x28 to nothing: stride and pooling together, and
    large windows or unpadded kernels in deep networks. What remains impossible is refused by :func:`build`.
    """
    dropout = FloatDistribution(0.0, 0.5)
    sizes = {
        "small": Space(),
        "medium": Space(
            {
                # from 5 (not 4) on, so that the default network is a point of the space
                "filters_1": IntDistribution(5, 30, step=5),
                "filters_2": IntDistribution(10, 60, step=10),
                "dropout": dropout,
            }
        ),
        "all": Space(
            {
                "layers": IntDistribution(1, MOST),
                "filters_1": IntDistribution(4, 32, log=True),
                "filters_2": IntDistribution(8, 64, log=True),
                "filters_3": IntDistribution(16, 128, log=True),
                "filters_4": IntDistribution(16, 128, log=True),
                "kernel_size": IntDistribution(3, 7, step=2),
                "padding": CategoricalDistribution(("valid", "same")),
                "pooling": CategoricalDistribution(tuple(_POOLINGS)),
                "pool_size": IntDistribution(2, 3),
                "stride": IntDistribution(1, 2),
                "dense_layers": IntDistribution(0, 2),
                "dense_width": IntDistribution(32, 256, log=True),
                "activation": CategoricalDistribution(tuple(activations.ACTIVATIONS)),
                "norm_layer": CategoricalDistribution(layers.NORM_LAYERS),
                "dropout": dropout,
            },
            conditions={
                **{name: f"layers >= {i}" for i, name in enumerate(_FILTERS, 1) if i > 1},
                "padding": "layers <= 2",
                "pool_size": "pooling != 'none' and layers <= 3",
                "stride": "pooling == 'none'",
                "dense_width": "dense_layers >= 1",
            },
        ),
    }
    return layers.choose("size of a space", sizes, size)


@dataclass(frozen=True)
class _Blocks:
    """The checked hyperparameters of the convolutions."""

    filters: tuple[int, ...]
    kernel: int
    stride: int
    padding: tuple[int, int]  # before and after, in both directions
    pooling: Any
    pool: int

    def final(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after all blocks.

        Raises:
            InvalidArchitectureError: nothing is left after one of them.
        """
        sides = height, width
        for i in range(1, len(self.filters) + 1):
            sides = self._left(f"convolution of layer {i}", sides, self._convolved, (height, width))
            if self.pooling is not None:
                sides = self._left(f"pooling of layer {i}", sides, self._pooled, (height, width))
        return sides

    def _convolved(self, side: int) -> int:
        return (side + sum(self.padding) - self.kernel) // self.stride + 1

    def _pooled(self, side: int) -> int:
        return side // self.pool

    def _left(
        self, what: str, sides: tuple[int, int], layer: Callable[[int], int], image: tuple[int, int]
    ) -> tuple[int, int]:
        after = layer(sides[0]), layer(sides[1])
        if min(after) < 1:
            pool = "" if self.pooling is None else f", pool_size {self.pool}"
            raise InvalidArchitectureError(
                f"cnn: the {what} leaves nothing of {sides[0]}x{sides[1]} pixels (the image has {image[0]}x{image[1]}; "
                f"kernel_size {self.kernel}, stride {self.stride}, padding {self.padding[0]}+{self.padding[1]}{pool}). "
                "Use fewer layers, smaller values, or padding='same'."
            )
        return after


def build(configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """The network.

    Args:
        configuration: ``layers`` (1 to 4 convolutions), ``filters_1`` ... ``filters_4`` (at least 1; those of layers
            that are not there are not looked at); ``kernel_size``, ``stride`` (at least 1) and ``padding`` of all
            convolutions: zeros on each side, or "valid" (none), "same" (as many as keep ``ceil(side / stride)``), or
            "auto" ("valid" for up to two layers, "same" for more); ``pooling`` ("max", "avg", "none") with windows of
            ``pool_size``; ``dense_layers`` (0 to 2) of ``dense_width`` units; ``activation``; ``norm_layer`` ("none",
            "batch", "layer"); ``dropout`` in [0, 1).
        input_shape: (channels, height, width); images under 16 pixels are enlarged first.
        n_classes: number of outputs (logits).
        seed: of the weights and the dropout masks.

    Raises:
        InvalidArchitectureError: a layer leaves nothing of the image; the message says which.
        InvalidValueError: an unknown hyperparameter, or one without meaning.
    """
    options = layers.settings("cnn", DEFAULTS, configuration)
    blocks = _blocks(options)
    n_dense = layers.whole("dense_layers", options["dense_layers"], 0, 2)
    dense = [layers.whole("dense_width", options["dense_width"], 1)] * n_dense
    channels, height, width = input_shape
    factor = layers.enlargement(input_shape, 16, 32)
    sides = blocks.final(height * factor, width * factor)

    def make() -> nn.Module:
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        if factor > 1:
            steps["enlarge"] = nn.Upsample(scale_factor=factor, mode="nearest")
        for i, (inputs, filters) in enumerate(itertools.pairwise((channels, *blocks.filters)), 1):
            _add_block(steps, i, inputs, filters, blocks, options)
        steps["flatten"] = nn.Flatten()
        _add_head(steps, [blocks.filters[-1] * sides[0] * sides[1], *dense], n_classes, options)
        return nn.Sequential(steps)

    return layers.initialised(make, seed, rectified=activations.is_rectified(options["activation"]))


def _blocks(options: Mapping[str, Any]) -> _Blocks:
    n_layers = layers.whole("layers", options["layers"], 1, MOST)
    kernel = layers.whole("kernel_size", options["kernel_size"], 1)
    return _Blocks(
        filters=tuple(layers.whole(name, options[name], 1) for name in _FILTERS[:n_layers]),
        kernel=kernel,
        stride=layers.whole("stride", options["stride"], 1),
        padding=_padding(options["padding"], kernel, n_layers),
        pooling=layers.choose("pooling", _POOLINGS, options["pooling"]),
        pool=layers.whole("pool_size", options["pool_size"], 1),
    )


def _padding(padding: Any, kernel: int, n_layers: int) -> tuple[int, int]:
    """Zeros before and after each row and column."""
    if not isinstance(padding, str):
        pixels = layers.whole("padding (unless it is 'valid', 'same' or 'auto')", padding, 0)
        return pixels, pixels
    same = (kernel - 1) // 2, kernel // 2
    return layers.choose("padding", {"valid": (0, 0), "same": same, "auto": same if n_layers > 2 else (0, 0)}, padding)


def _add_block(
    steps: OrderedDict[str, nn.Module], i: int, inputs: int, filters: int, blocks: _Blocks, options: Mapping[str, Any]
) -> None:
    before, after = blocks.padding
    if before != after:  # an even kernel with "same"
        steps[f"pad_{i}"] = nn.ZeroPad2d((before, after, before, after))
    padding = before if before == after else 0
    steps[f"convolution_{i}"] = nn.Conv2d(inputs, filters, blocks.kernel, stride=blocks.stride, padding=padding)
    norm = layers.norm_layer(options["norm_layer"], filters, of_images=True)
    if norm is not None:
        steps[f"norm_{i}"] = norm
    steps[f"unit_{i}"] = activations.make(options["activation"])
    if blocks.pooling is not None:
        steps[f"pool_{i}"] = blocks.pooling(blocks.pool)


def _add_head(
    steps: OrderedDict[str, nn.Module], widths: list[int], n_classes: int, options: Mapping[str, Any]
) -> None:
    """Hidden layers from ``widths[0]`` inputs on, and the output; dropout before each of them."""
    for j, (inputs, width) in enumerate(itertools.pairwise(widths), 1):
        if options["dropout"]:
            steps[f"dropout_{j}"] = layers.Dropout(options["dropout"])
        steps[f"dense_{j}"] = nn.Linear(inputs, width)
        norm = layers.norm_layer(options["norm_layer"], width, of_images=False)
        if norm is not None:
            steps[f"dense_norm_{j}"] = norm
        steps[f"dense_unit_{j}"] = activations.make(options["activation"])
    if options["dropout"]:
        steps["dropout"] = layers.Dropout(options["dropout"])
    steps["output"] = nn.Linear(widths[-1], n_classes)
