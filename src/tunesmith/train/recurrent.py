"""Layers of recurrent networks for images: pixels as a sequence, recurrent cells, the last state.

Each is a module from one tensor to one tensor, so that a network is a plain ``nn.Sequential``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.exceptions import InvalidValueError


class ToSequence(nn.Module):
    """Images (b, c, h, w) -> sequences (b, length, features), read row by row as a text is.

    The pixels, each with its channels, are lined up row after row and cut into ``length`` steps of the same number of
    pixels; with ``length = h`` a step is one row. If ``length`` does not divide the number of pixels, zeros come
    before the first pixel: at the end they would stand between the image and the last state.

    Args:
        length: number of steps, at least 1 and at most ``h * w``.
        input_shape: (channels, height, width).
    """

    def __init__(self, length: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        pixels = height * width
        if not 1 <= length <= pixels:
            raise InvalidValueError(f"A sequence of {pixels} pixels has 1 to {pixels} steps, not {length!r}.")
        per_step = -(-pixels // length)
        self.length, self.features = length, per_step * channels
        self.missing = (per_step * length - pixels) * channels

    def forward(self, x: Tensor) -> Tensor:
        line = x.permute(0, 2, 3, 1).reshape(len(x), -1)  # (b, h * w * c)
        if self.missing:
            line = functional.pad(line, (self.missing, 0))
        return line.reshape(len(x), self.length, self.features)

    def extra_repr(self) -> str:
        return f"length={self.length}, features={self.features}"


class Recurrent(nn.Module):
    """One recurrent layer: (b, length, features) -> (b, length, width), all its states.

    The cell is torch's, with its default parameters; what a layer of torch has besides (several layers, dropout from
    the global random numbers, an initial state) is left out.

    Args:
        cell: "lstm" (S. Hochreiter, J. Schmidhuber, 1997, with forget gates), "gru" (K. Cho et al., 2014) or "rnn"
            (J. Elman, 1990, with tanh).
        features: size of a step.
        width: size of the state.
        bidirectional: a second layer reads the sequence from its end; the output then has ``2 * width`` features, the
            forward states first.
    """

    CELLS: ClassVar[dict[str, Callable[..., nn.RNNBase]]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

    def __init__(self, cell: str, features: int, width: int, bidirectional: bool = False) -> None:
        super().__init__()
        if cell not in self.CELLS:
            raise InvalidValueError(f"Unknown cell {cell!r}; known: {', '.join(self.CELLS)}.")
        self.cell = self.CELLS[cell](features, width, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states


class LastState(nn.Module):
    """(b, length, width) -> (b, width): the state after the whole sequence was read.

    Args:
        bidirectional: the second half of the features was read from the end, so its last state is that of the first
            step.
    """

    def __init__(self, bidirectional: bool = False) -> None:
        super().__init__()
        self.bidirectional = bool(bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        if not self.bidirectional:
            return x[:, -1]
        half = x.shape[2] // 2
        return torch.cat([x[:, -1, :half], x[:, 0, half:]], dim=1)

    def extra_repr(self) -> str:
        return f"bidirectional={self.bidirectional}"
