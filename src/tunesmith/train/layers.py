"""Building blocks for model families that never touch torch's global random numbers.

Several trials may train in threads of one process, or in lanes of one program. Whatever they draw is a function of
their own seed, so that a trial's result does not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import counter
from tunesmith.train.activations import Swish
from tunesmith.train.errors import InvalidArchitectureError

#: Layers whose parameters are filled by :func:`initialised`: from random numbers, ...
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: ... or with constants: their reset_parameters() draws nothing.
_CONSTANT = (
    nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU, Swish,
)  # fmt: skip

#: Kinds of normalising layers that the families offer.
NORM_LAYERS = ("none", "batch", "layer")


# -- dropout -------------------------------------------------------------------------------------------------------


class Dropout(nn.Module):
    """Dropout whose masks are a function of (seed, step, element); see :mod:`tunesmith.train.counter`.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014
    (kept units are scaled up in training, so that nothing needs scaling in evaluation).

    In a training step, feature f of F (in the order (c, h, w)) of the image at position b of the batch is dropped if
    ``counter.bits(counter.at_step(key, step), b * F + f) >> 8 < counter.dropped_below(p)``. So the mask is the same on
    every device and for every memory layout, and after an interruption.

    Args:
        p: probability of dropping a unit, in [0, 1).
        seed: of the masks, when the layer is used by itself; :func:`key_dropouts` gives those of a network other keys.

    Attributes:
        key: of the masks.

    The step is set by :func:`set_step`. As long as it is None, the layer counts its calls instead, so that a network
    also works in a loop that knows nothing of steps.

    A layer that is used several times in one step has other masks each time: those of the c-th use (from 0) have
    ``counter.at_step(counter.at_step(key, step), c)`` for c > 0. (So it is not for ``torch.utils.checkpoint``, which
    calls a layer again to find the same.)
    """

    def __init__(self, p: float, seed: int = 0) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)):
            raise InvalidTypeError(f"dropout must be a number, not {p!r}.")
        if not 0.0 <= p < 1.0:
            raise InvalidValueError(f"dropout must be in [0, 1), but is {p!r}.")
        self.p = float(p)
        self.key: counter.Key = counter.key(seed, 0)
        self._step: int | None = None
        self._calls = 0  # since the step was set

    @property
    def step(self) -> int | None:
        """Which training step the next one is."""
        return self._step

    @step.setter
    def step(self, step: int | None) -> None:
        self._step, self._calls = step, 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        call, self._calls = self._calls, self._calls + 1
        key = counter.at_step(self.key, call if self.step is None else self.step)
        if self.step is not None and call > 0:
            key = counter.at_step(key, call)
        index = torch.arange(x.numel(), device=x.device).view(x.shape)
        kept = counter.bits(key, index) >> 8 >= counter.dropped_below(self.p)
        share = torch.full((), 1.0 - self.p, dtype=x.dtype, device=x.device)  # a true division on every device
        return torch.where(kept, x / share, torch.zeros_like(share))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropouts(network: nn.Module) -> list[Dropout]:
    """The dropout layers of a network, in the order of ``network.modules()``: the k-th has the k-th key."""
    return [layer for layer in network.modules() if isinstance(layer, Dropout)]


def key_dropouts(network: nn.Module, seed: int) -> None:
    """Give the k-th dropout layer of a network (from 0) the key ``counter.key(seed, k)``."""
    for k, layer in enumerate(dropouts(network)):
        layer.key = counter.key(seed, k)


def set_step(network: nn.Module, step: int | None) -> None:
    """Say which training step comes next: the dropout masks depend on it.

    Args:
        network: any; without dropout layers nothing happens.
        step: from 0, over the whole training. None: the layers count their own calls again.
    """
    for layer in dropouts(network):
        layer.step = step


def count_dropouts(network: nn.Module) -> None:
    """Replace each ``torch.nn.Dropout`` within a network by :class:`Dropout`: the same function, own random numbers.

    Other layers that draw (dropout of channels, recurrent or attention layers with dropout inside) stay as they are;
    see :mod:`tunesmith.train.global_random`.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout and child.p < 1.0:
                replaced = Dropout(child.p)
                replaced.training = child.training
                setattr(parent, name, replaced)


# -- normalisation -------------------------------------------------------------------------------------------------


def norm_layer(kind: str, features: int, of_images: bool) -> nn.Module | None:
    """A normalising layer, or None for "none".

    Args:
        kind: "none"; "batch" (S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015); "layer" (J. Ba et al., "Layer
            normalization", 2016): of images over all channels and pixels, with a scale and shift for each channel,
            which is group normalisation with one group (Y. Wu, K. He, ECCV 2018).
        features: number of units, or channels.
        of_images: for (b, c, h, w) instead of (b, units).

    Raises:
        InvalidValueError: another kind; the message lists the known ones.
    """
    choose("norm_layer", dict.fromkeys(NORM_LAYERS), kind)
    if kind == "none":
        return None
    if kind == "batch":
        return nn.BatchNorm2d(features) if of_images else nn.BatchNorm1d(features)
    return nn.GroupNorm(1, features) if of_images else nn.LayerNorm(features)


# -- initial weights -----------------------------------------------------------------------------------------------


_shapes_only: ContextVar[bool] = ContextVar("shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within it :func:`initialised` leaves networks on the "meta" device: their shapes are known, nothing is drawn."""
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


def initialised(make: Callable[[], nn.Module], seed: int, *, rectified: bool) -> nn.Module:
    """Make a network, fill its parameters from a generator of its own, and give its dropout layers their keys.

    Weights are uniform on ``[-b, b]``: for rectified units ``b = sqrt(6 / fan_in)`` (K. He et al., "Delving deep into
    rectifiers", ICCV 2015, eq. 10, as a uniform distribution); else ``b = sqrt(6 / (fan_in + fan_out))`` (X. Glorot,
    Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010, eq. 16).
    The last weighted layer has no unit after it and always takes the second. Biases are 0; normalising layers start
    as the identity, PReLU and Swish with the slopes they were made with.

    Recurrent layers, gate by gate: weights of the inputs as Glorot's, those of the state a random rotation (A. Saxe et
    al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR 2014, section
    3), biases 0, but 1 for the forget gate of an LSTM (R. Jozefowicz et al., "An empirical exploration of recurrent
    network architectures", ICML 2015, section 5), so that it remembers in the beginning.

    Args:
        make: builds the network; it runs on the "meta" device, where nothing is computed and nothing is drawn.
        seed: of the weights, and of the dropout masks unless :func:`key_dropouts` is called again.
        rectified: whether the units are ReLU or alike, see :func:`tunesmith.train.activations.is_rectified`.

    Raises:
        InvalidTypeError: a layer has parameters and is of a kind that this function does not know.
    """
    with torch.device("meta"):
        network = make()
    if _shapes_only.get():
        return network
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    owners = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
    last = next((m for m in reversed(owners) if isinstance(m, _WEIGHTED)), None)
    with torch.no_grad():
        for layer in owners:
            if isinstance(layer, _WEIGHTED):
                _fill(layer, generator, rectified and layer is not last)
            elif isinstance(layer, (nn.LSTM, nn.GRU, nn.RNN)):
                _fill_recurrent(layer, generator)
            elif isinstance(layer, _CONSTANT):
                layer.reset_parameters()  # type: ignore[operator]
            else:
                raise InvalidTypeError(
                    f"initialised() does not know how to start a {type(layer).__name__}; fill its parameters in the "
                    "family's build() from torch.Generator().manual_seed(seed)."
                )
    key_dropouts(network, seed)
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


def _fill_recurrent(layer: nn.RNNBase, generator: torch.Generator) -> None:
    width = layer.hidden_size
    for name, parameter in layer.named_parameters(recurse=False):
        if name.startswith("weight_ih"):
            bound = math.sqrt(6.0 / (parameter.shape[1] + width))
            parameter.uniform_(-bound, bound, generator=generator)
        elif name.startswith("weight_hh"):
            for gate in parameter.split(width):
                gate.copy_(_rotation(width, generator))
        elif name.startswith("bias"):
            parameter.zero_()
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):  # torch adds bias_hh to it
                parameter[width : 2 * width] = 1.0  # gates: input, forget, cell, output
        else:
            raise InvalidTypeError(f"initialised() does not know the parameter {name!r} of {layer!r}.")


def _rotation(n: int, generator: torch.Generator) -> Tensor:
    """(n, n) float64, uniform among the orthogonal matrices (F. Mezzadri, Notices of the AMS 54, 2007).

    Computed in float64, so that the last digits, which depend on the number of threads, are rounded off in float32.
    """
    q, r = torch.linalg.qr(torch.empty(n, n, dtype=torch.float64).normal_(generator=generator))
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


# -- what a family is told -----------------------------------------------------------------------------------------


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


def whole(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """``value``, if it is an integer from ``lowest`` to ``highest`` (None: without an upper bound).

    Raises:
        InvalidValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < lowest:
        raise InvalidValueError(f"{name} must be an integer of at least {lowest}, but is {value!r}.")
    if highest is not None and int(value) > highest:
        raise InvalidValueError(f"{name} must be at most {highest}, but is {value}.")
    return int(value)


def enlargement(input_shape: tuple[int, int, int], smallest: int, largest: int) -> int:
    """How many times a small image is enlarged (each pixel becomes a square), 1 for one that is large enough.

    Args:
        input_shape: (channels, height, width).
        smallest: the smaller side that the network needs.
        largest: the larger side must not exceed this after enlarging.

    Raises:
        InvalidArchitectureError: no whole factor makes the image fit.
    """
    _, height, width = input_shape
    if min(height, width) >= smallest:
        return 1
    factor = largest // max(height, width)
    if factor * min(height, width) < smallest:
        raise InvalidArchitectureError(
            f"Images of {height}x{width} pixels are too small: {smallest}x{smallest} are needed."
        )
    return factor
