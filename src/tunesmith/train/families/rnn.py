"""A recurrent network that reads an image as a sequence: LSTM, GRU or plain cells, one to three layers.

Pixels -> sequence -> recurrent layers with dropout between them -> last state -> dropout -> linear output. By default
a step of the sequence is a row of the image, as in Q. Le, N. Jaitly, G. Hinton, "A simple way to initialize recurrent
networks of rectified linear units", 2015 (who go pixel by pixel: ``sequence_length`` = 784). The default is one LSTM
layer of 128 units: on images of 28x28 with ten classes 4 * 128 * (28 + 128 + 2) + 128 * 10 + 10 = 82,186 parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.space import Space
from tunesmith.train import layers
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.recurrent import LastState, Recurrent, ToSequence

MOST = 3

DEFAULTS: dict[str, Any] = {
    "cell": "lstm",
    "layers": 1,
    "width": 128,
    "bidirectional": False,
    "sequence_length": 0,
    "dropout": 0.0,
}
MEANINGS = {
    "cell": "kind of recurrent unit; rnn is the plain one with tanh",
    "layers": "number of recurrent layers",
    "width": "size of each layer's state",
    "bidirectional": "whether a second layer reads the sequence from its end",
    "sequence_length": "steps into which the pixels are cut; 0: one row of the image each",
    "dropout": "share of each recurrent layer's outputs that is dropped in training",
}


def space(size: str) -> Space:
    """Small: nothing. Medium: cell (LSTM or GRU), one or two layers, width in steps of 32, dropout. All: everything."""
    dropout = FloatDistribution(0.0, 0.5)
    sizes = {
        "small": Space(),
        "medium": Space(
            {
                "cell": CategoricalDistribution(("lstm", "gru")),
                "layers": IntDistribution(1, 2),
                "width": IntDistribution(32, 256, step=32),
                "dropout": dropout,
            }
        ),
        "all": Space(
            {
                "cell": CategoricalDistribution(tuple(Recurrent.CELLS)),
                "layers": IntDistribution(1, MOST),
                "width": IntDistribution(16, 256, log=True),
                "bidirectional": CategoricalDistribution((False, True)),
                # at most the 64 pixels of the smallest images there are; longer ones cost in proportion
                "sequence_length": IntDistribution(8, 64, log=True),
                "dropout": dropout,
            }
        ),
    }
    return layers.choose("size of a space", sizes, size)


def build(configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
    """The network.

    Args:
        configuration: ``cell`` ("lstm", "gru", "rnn"), ``layers`` (1 to 3), ``width`` (at least 1), ``bidirectional``,
            ``sequence_length`` (at most the number of pixels; 0 for the image's rows; if it does not divide the number
            of pixels, zeros come first), ``dropout`` in [0, 1).
        input_shape: (channels, height, width).
        n_classes: number of outputs (logits).
        seed: of the weights and the dropout masks.

    Raises:
        InvalidArchitectureError: a sequence of more steps than the image has pixels.
        InvalidValueError: an unknown hyperparameter, or one without meaning.
    """
    options = layers.settings("rnn", DEFAULTS, configuration)
    cell, both = options["cell"], options["bidirectional"]
    layers.choose("cell", Recurrent.CELLS, cell)
    n_layers, width = layers.whole("layers", options["layers"], 1, MOST), layers.whole("width", options["width"], 1)
    if not isinstance(both, bool):
        raise InvalidValueError(f"bidirectional must be True or False, but is {both!r}.")
    pixels = input_shape[1] * input_shape[2]
    length = layers.whole("sequence_length", options["sequence_length"], 0) or input_shape[1]
    if length > pixels:
        raise InvalidArchitectureError(
            f"rnn: a sequence_length of {length} is more than the {pixels} pixels of an image of {input_shape[1]}x"
            f"{input_shape[2]}; use at most {pixels}, or 0 for its rows."
        )

    def make() -> nn.Module:
        sequence = ToSequence(length, input_shape)
        steps: OrderedDict[str, nn.Module] = OrderedDict(sequence=sequence)
        features = sequence.features
        for i in range(1, n_layers + 1):
            steps[f"recurrent_{i}"] = Recurrent(cell, features, width, both)
            features = width * (1 + both)
            if options["dropout"] and i < n_layers:
                steps[f"dropout_{i}"] = layers.Dropout(options["dropout"])
        steps["last"] = LastState(both)
        if options["dropout"]:
            steps["dropout"] = layers.Dropout(options["dropout"])
        steps["output"] = nn.Linear(features, n_classes)
        return nn.Sequential(steps)

    return layers.initialised(make, seed, rectified=False)
