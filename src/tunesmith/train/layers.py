"""Building blocks for model families that never touch torch's global random numbers.

Several trials may train in threads of one process. Whatever they draw comes from generators of their own, so that
a trial's result does not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

#: Layers whose parameters are filled by :func:`initialised`.
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISING = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Dropout(nn.Module):
    """Dropout with random numbers of its own: the k-th mask depends on the seed alone.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014
    (kept units are scaled up in training, so that nothing needs scaling in evaluation).

    Args:
        p: probability of dropping a unit, in [0, 1).
        seed: of the masks; ``build`` receives it.
    """

    def __init__(self, p: float, seed: int) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise InvalidValueError(f"dropout must be in [0, 1), but is {p!r}.")
        self.p, self.seed = float(p), int(seed)
        self._generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(x.device).manual_seed(self.seed)
        mask = torch.empty_like(x).bernoulli_(1.0 - self.p, generator=self._generator)
        return x * mask.mul_(1.0 / (1.0 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def initialised(make: Callable[[], nn.Module], seed: int, *, rectified: bool) -> nn.Module:
    """Make a network and fill its parameters from a generator of its own.

    Weights are uniform on ``[-b, b]``: for rectified units ``b = sqrt(6 / fan_in)`` (K. He et al., "Delving deep into
    rectifiers", ICCV 2015, eq. 10, as a uniform distribution); else ``b = sqrt(6 / (fan_in + fan_out))`` (X. Glorot,
    Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010, eq. 16).
    The last weighted layer has no unit after it and always takes the second. Biases are 0; normalising layers start
    as the identity.

    Args:
        make: builds the network; it runs on the "meta" device, where nothing is computed and nothing is drawn.
        seed: of the weights.
        rectified: whether the units are ReLU or alike.

    Raises:
        InvalidTypeError: a layer has parameters and is of a kind that this function does not know.
    """
    with torch.device("meta"):
        network = make()
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    owners = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
    last = next((m for m in reversed(owners) if isinstance(m, _WEIGHTED)), None)
    with torch.no_grad():
        for layer in owners:
            if isinstance(layer, _WEIGHTED):
                _fill(layer, generator, rectified and layer is not last)
            elif isinstance(layer, _NORMALISING):
                layer.reset_parameters()  # constants: weight 1, bias 0, running mean 0 and variance 1
            else:
                raise InvalidTypeError(
                    f"initialised() does not know how to start a {type(layer).__name__}; fill its parameters in the "
                    "family's build() from torch.Generator().manual_seed(seed)."
                )
    return network


def _fill(layer: nn.Module, generator: torch.Generator, rectified: bool) -> None:
    weight, bias = layer.weight, layer.bias
    if not isinstance(weight, Tensor):
        raise InvalidTypeError(f"{layer!r} has no weight.")
    field = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * field, weight.shape[0] * field
    bound = math.sqrt(6.0 / fan_in) if rectified else math.sqrt(6.0 / (fan_in + fan_out))
    weight.uniform_(-bound, bound, generator=generator)
    if isinstance(bias, Tensor):
        bias.zero_()


def settings(family: str, defaults: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """``defaults`` overridden by ``configuration``.

    Raises:
        InvalidValueError: a hyperparameter that the family does not have; the message lists those it has.
    """
    if unknown := sorted(set(configuration) - set(defaults)):
        raise InvalidValueError(f"The model {family!r} has no hyperparameter {unknown}; it has: {sorted(defaults)}.")
    return {**defaults, **configuration}


def choose(what: str, choices: Mapping[str, Any], name: object) -> Any:
    """The entry of ``choices`` with this name.

    Raises:
        InvalidValueError: no such entry; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in choices:
        raise InvalidValueError(f"Unknown {what} {name!r}; known: {', '.join(choices)}.")
    return choices[name]


def enlargement(input_shape: tuple[int, int, int], smallest: int, largest: int) -> int:
    """How many times a small image is enlarged (each pixel becomes a square), 1 for one that is large enough.

    Args:
        input_shape: (channels, height, width).
        smallest: the smaller side that the network needs.
        largest: the larger side must not exceed this after enlarging.

    Raises:
        InvalidValueError: no whole factor makes the image fit.
    """
    _, height, width = input_shape
    if min(height, width) >= smallest:
        return 1
    factor = largest // max(height, width)
    if factor * min(height, width) < smallest:
        raise InvalidValueError(f"Images of {height}x{width} pixels are too small: {smallest}x{smallest} are needed.")
    return factor
