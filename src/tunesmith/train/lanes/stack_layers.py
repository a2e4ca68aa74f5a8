"""The layers of a stack: what each kind of operation of a signature is for many lanes at once.

Between layers the numbers of all lanes lie in one of two ways:

- images as ``maps`` (b, lanes * c, h, w), the channels of the lanes side by side, so that a convolution in groups
  is a convolution in each lane. On a CPU in channels-last memory, which its convolutions are fastest with;
- everything else as ``rows`` (lanes, b, features) or (lanes, b, length, features), for batched matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.train.lanes.lane_dropout import Mask
from tunesmith.train.lanes.stack_autograd import aligned, realigned
from tunesmith.train.signature import Operation, Shape


@dataclass(frozen=True)
class Layer:
    """One operation with its parameters.

    Attributes:
        operation: what it is.
        before: shape of its input for one image.
        parameters: (lanes, *shape) each.
        slots: where the gradients of the parameters go, for layers that write them themselves.
        buffers: (lanes, *shape) each, changed in training.
        fresh: whether its input was made for it, and is not needed for the backward pass of what made it.
    """

    operation: Operation
    before: Shape
    parameters: list[Tensor]
    slots: list[Tensor]
    buffers: list[Tensor]
    fresh: bool


@dataclass(frozen=True)
class Pass:
    """One way through a stack.

    Attributes:
        lanes: how many.
        training: or evaluation.
        masks: of the dropout layers, in order.
    """

    lanes: int
    training: bool
    masks: Iterator[Mask]


def channels_last(maps: Tensor) -> Tensor:
    """On a CPU the same in channels-last memory; elsewhere as it is."""
    return maps.contiguous(memory_format=torch.channels_last) if maps.device.type == "cpu" else maps


def to_maps(images: Tensor) -> Tensor:
    """(lanes, b, c, h, w) -> (b, lanes * c, h, w)."""
    lanes, b, c, h, w = images.shape
    if images.device.type != "cpu":
        return images.transpose(0, 1).reshape(b, lanes * c, h, w)
    return images.permute(1, 3, 4, 0, 2).contiguous().view(b, h, w, lanes * c).permute(0, 3, 1, 2)


def apart(maps: Tensor, lanes: int) -> Tensor:
    """(b, lanes * c, h, w) -> (lanes, b, c, h, w), each lane in memory of its own."""
    return maps.unflatten(1, (lanes, -1)).transpose(0, 1).contiguous()


# -- weights -----------------------------------------------------------------------------------------------------


class Linear(torch.autograd.Function):
    """x W^T + b in each lane; the gradients of W and b go straight to their places.

    All matrices lie aligned, so that their lanes are computed alike (see :mod:`.stack_autograd`).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, slots: list[Tensor]) -> Tensor:
        x = realigned(x)
        ctx.save_for_backward(x, weight)
        ctx.slots = slots
        y = aligned((*x.shape[:2], weight.shape[1]), x)
        if bias is None:
            return torch.bmm(x, weight.transpose(1, 2), out=y)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2), out=y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        g = realigned(gradients[0])
        torch.bmm(g.transpose(1, 2), x, out=ctx.slots[0])
        if len(ctx.slots) == 2:
            torch.sum(g, 1, out=ctx.slots[1])
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return torch.bmm(g, weight, out=aligned(x.shape, x)), None, None, None


def _linear(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    weight, bias = (*layer.parameters, None)[:2]
    y: Tensor = Linear.apply(x, weight, bias, layer.slots)
    return y


def _conv(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    o = layer.operation
    weight, *bias = (p.flatten(0, 1) for p in layer.parameters)
    return functional.conv2d(x, weight, bias[0] if bias else None, o["stride"], o["padding"], groups=run.lanes)


# -- without weights ---------------------------------------------------------------------------------------------


def _max_pool(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    o = layer.operation
    return functional.max_pool2d(x, o["kernel"], o["stride"], o["padding"])


def _avg_pool(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    o = layer.operation
    return functional.avg_pool2d(x, o["kernel"], o["stride"], o["padding"])


def _pad(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    return channels_last(functional.pad(x, layer.operation["padding"]))


def _enlarge(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    return functional.interpolate(x, scale_factor=layer.operation["factor"], mode="nearest")


def _flatten(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    return (apart(x, run.lanes) if len(layer.before) == 3 else x).flatten(2)


def _dropout(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    if not run.training:
        return x
    mask, shape = next(run.masks), layer.before
    if len(shape) < 3:
        b = x.shape[1]
        index = torch.arange(x[0].numel(), device=x.device).view(b, *shape)
        return mask.apply(x, index, axis=0)
    b, _, h, w = x.shape
    index = torch.arange(b * shape[0] * h * w, device=x.device).view(b, 1, *shape).permute(0, 3, 4, 1, 2)
    dropped = mask.apply(x.permute(0, 2, 3, 1).unflatten(3, (run.lanes, -1)), index, axis=3)
    return channels_last(dropped.flatten(3).permute(0, 3, 1, 2))


# -- activations -------------------------------------------------------------------------------------------------


def _activation(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    """In place where nothing else reads what comes in: new memory is a good part of the cost."""
    o = layer.operation
    name = o["name"]
    if name == "relu":
        return functional.relu(x, inplace=layer.fresh)
    if name == "tanh":
        return evenly(torch.tanh_ if layer.fresh else torch.tanh, x, run.lanes)
    if name == "sigmoid":
        return evenly(torch.sigmoid_ if layer.fresh else torch.sigmoid, x, run.lanes)
    if name == "silu":
        return evenly(functional.silu, x, run.lanes)
    if name == "leaky-relu":
        return functional.leaky_relu(x, o["slope"])
    if name == "prelu":
        return torch.where(x > 0, x, x * _spread(layer, x, run))
    if name == "elu":
        return evenly(lambda v: functional.elu(v, o["alpha"]), x, run.lanes)
    if name == "gelu":
        return evenly(lambda v: functional.gelu(v, approximate=o["approximate"]), x, run.lanes)
    beta = _spread(layer, x, run) if o["learnable"] else o["beta"]
    return x * evenly(torch.sigmoid, beta * x, run.lanes)


def evenly(function: Callable[[Tensor], Tensor], x: Tensor, lanes: int) -> Tensor:
    """``function(x)`` of each element, with the same bits wherever it lies.

    On a CPU torch computes most elements in whole vector registers, and what remains at the end of an array one by
    one, with other approximations of exp and tanh. So that the last lane is not different, nothing must remain: if a
    lane does not fill registers, the array is continued with zeros.
    """
    if x.device.type != "cpu" or (x.numel() // lanes) % _VECTORS == 0:
        return function(x)
    maps = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    flat = (x.permute(0, 2, 3, 1) if maps else x).flatten()
    y = function(functional.pad(flat, (0, -flat.numel() % _VECTORS)))[: flat.numel()]
    if not maps:
        return y.view(x.shape)
    b, c, h, w = x.shape
    return y.view(b, h, w, c).permute(0, 3, 1, 2)


#: Numbers of float32 in the two registers that torch's loops take at a time, at most.
_VECTORS = 32


class _Spread(torch.autograd.Function):
    """A lane's number, or one for each of its channels, at each element that it belongs to.

    Backward is a sum over each lane's elements in memory of their own, for the reason of :func:`_batch_norm`.
    """

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(lanes, n) -> ``shape``, (lanes, b, c, ...) with c = n or n = 1."""
        ctx.shape = parameter.shape
        lanes, n = parameter.shape
        return parameter.view(lanes, 1, n, *[1] * (len(shape) - 3)).expand(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        lanes, n = ctx.shape
        by_number = gradients[0] if n == 1 else gradients[0].transpose(1, 2)
        return by_number.contiguous().view(lanes, n, -1).sum(2), None


def _spread(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    """The parameter (lanes, 1) or (lanes, c) of an activation as a tensor of the shape of ``x``."""
    parameter = layer.parameters[0]
    if len(layer.before) < 3:
        spread: Tensor = _Spread.apply(parameter, x.shape)
        return spread
    b, _, h, w = x.shape
    spread = _Spread.apply(parameter, (run.lanes, b, layer.before[0], h, w))
    return spread.transpose(0, 1).reshape(x.shape)


# -- normalisation -----------------------------------------------------------------------------------------------


class _Contiguous(torch.autograd.Function):
    """Nothing; but the gradient that comes back has the same memory layout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()


def _batch_norm(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    """Mean and variance of each lane's channels; running ones are kept in each lane's buffers.

    It is done on (1, lanes * c, b * h * w), where the numbers of a channel lie side by side: torch's sums over
    interleaved channels take another order at the end of a row of memory than in its middle.
    """
    o, maps = layer.operation, len(layer.before) == 3
    mean, variance, count = layer.buffers
    if run.training:
        count.add_(1)
    weight, bias = (p.flatten() for p in layer.parameters) if o["affine"] else (None, None)
    channels = (x.transpose(0, 1) if maps else x.transpose(1, 2)).contiguous()  # (lanes * c, b, h, w) or (lanes, c, b)
    normalised = functional.batch_norm(
        channels.view(1, mean.numel(), -1),
        mean.view(-1), variance.view(-1), weight, bias, run.training, o["momentum"], o["eps"],
    )  # fmt: skip
    y = _Contiguous.apply(normalised).view(channels.shape)
    return channels_last(y.transpose(0, 1)) if maps else y.transpose(1, 2)


def _group_norm(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    o, maps = layer.operation, len(layer.before) == 3
    each = apart(x, run.lanes) if maps else x
    y = functional.group_norm(each.flatten(0, 1), o["groups"], eps=o["eps"]).view_as(each)
    if o["affine"]:
        scale, shift = (_Spread.apply(p, y.shape) for p in layer.parameters)
        y = y * scale + shift
    return to_maps(y) if maps else y


def _layer_norm(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    o, maps = layer.operation, len(layer.before) == 3
    each = apart(x, run.lanes) if maps else x
    normalised = each.shape[each.ndim - o["dims"] :]
    y = functional.layer_norm(each, normalised, eps=o["eps"])
    shape = (run.lanes, *[1] * (y.ndim - 1 - len(normalised)), *normalised)
    for i, parameter in enumerate(layer.parameters):
        y = y * parameter.view(shape) if i == 0 else y + parameter.view(shape)
    return to_maps(y) if maps else y


# -- sequences ---------------------------------------------------------------------------------------------------


def _sequence(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    """As :class:`~tunesmith.train.recurrent.ToSequence`: pixels with their channels, line after line."""
    line = x.permute(0, 2, 3, 1).unflatten(3, (run.lanes, -1)).permute(3, 0, 1, 2, 4).reshape(run.lanes, len(x), -1)
    return functional.pad(line, (layer.operation["missing"], 0)).unflatten(2, layer.operation.shape)


def _last_state(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    if not layer.operation["bidirectional"]:
        return x[:, :, -1]
    half = x.shape[3] // 2
    return torch.cat([x[:, :, -1, :half], x[:, :, 0, half:]], dim=2)


#: Kind of operation -> (layer, x, pass) -> what it makes of x. Recurrent layers are in :mod:`.stack_recurrent`.
FORWARD: dict[str, Callable[[Layer, Tensor, Pass], Tensor]] = {
    "conv": _conv,
    "linear": _linear,
    "max-pool": _max_pool,
    "avg-pool": _avg_pool,
    "pad": _pad,
    "enlarge": _enlarge,
    "flatten": _flatten,
    "dropout": _dropout,
    "activation": _activation,
    "batch-norm": _batch_norm,
    "group-norm": _group_norm,
    "layer-norm": _layer_norm,
    "sequence": _sequence,
    "last-state": _last_state,
}
