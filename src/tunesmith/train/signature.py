"""What a network computes, as a short list of operations, read off its modules.

Two networks with the same signature have the same shapes everywhere and can be trained as one program. What may
differ between them (weights, dropout's probability) is not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunesmith.train.activations import Swish
from tunesmith.train.layers import Dropout
from tunesmith.train.recurrent import LastState, Recurrent, ToSequence

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One layer.

    Attributes:
        kind: "conv", "linear", "max-pool", "avg-pool", "activation", "flatten", "dropout", "pad", "enlarge",
            "batch-norm", "group-norm", "layer-norm", "sequence", "recurrent", "last-state".
        shape: of its output for one image: (c, h, w), (features,), or (length, features).
        options: (name, value) pairs:

            - conv: ``out``, ``kernel`` (kh, kw), ``stride`` (sh, sw), ``padding`` (ph, pw), ``bias`` (bool)
            - linear: ``out``, ``bias``
            - max-pool, avg-pool: ``kernel``, ``stride``, ``padding``; avg-pool counts the padding
            - activation: ``name`` ("relu", "tanh", "sigmoid", ...), and what the module's class has as settings
            - dropout: nothing; p belongs to the lane
            - pad: ``padding`` (left, right, top, bottom), zeros
            - enlarge: ``factor``; each pixel becomes a square
            - batch-norm: ``momentum``, ``eps``, ``affine``; it always keeps running statistics
            - group-norm: ``groups``, ``eps``, ``affine``
            - layer-norm: ``dims`` (how many of the last dimensions), ``eps``, ``affine``, ``bias``
            - sequence: ``length``, ``missing`` (zeros before the first pixel)
            - recurrent: ``cell`` ("lstm", "gru", "rnn"), ``width``, ``bidirectional``
            - last-state: ``bidirectional``
        parameters: shapes of its parameters, in the order of ``module.parameters()``.
        buffers: shapes of its buffers, in the order of ``module.buffers()``.
    """

    kind: str
    shape: Shape
    options: tuple[tuple[str, Any], ...] = ()
    parameters: tuple[Shape, ...] = ()
    buffers: tuple[Shape, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return dict(self.options)[name]


@dataclass(frozen=True)
class Signature:
    """A network's operations in their order.

    Attributes:
        input: shape of one image, (c, h, w).
        operations: one a layer.
    """

    input: Shape
    operations: tuple[Operation, ...]

    @property
    def n_classes(self) -> int:
        """Size of the output."""
        return self.operations[-1].shape[0]

    @property
    def n_parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(math.prod(shape) for operation in self.operations for shape in operation.parameters)


def signature(network: nn.Module, input_shape: Shape) -> Signature | None:
    """The signature of a network that is a plain sequence of known layers; None for any other.

    None is also the answer for what a list of operations cannot tell: layers or weights that are used twice, weights
    that are not trained or not float32, and modules with hooks.

    Args:
        network: nested ``nn.Sequential`` are looked into.
        input_shape: of one image, (c, h, w).
    """
    if not _ordinary(network):
        return None
    shape, operations = tuple(input_shape), []
    for layer in _flat(network):
        operation = _operation(layer, shape)
        if operation is None:
            return None
        shape = operation.shape
        if operation.kind == "activation" and operation["name"] == "identity":
            continue
        operations.append(operation)
    if len(shape) != 1 or not operations:
        return None
    return Signature(tuple(input_shape), tuple(operations))


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _ordinary(network: nn.Module) -> bool:
    """Nothing is shared, frozen, of another type, or watched."""
    layers = [*_flat(network), *network.modules()]
    if any(getattr(layer, hooks) for layer in layers for hooks in _HOOKS):
        return False
    stateful = [
        layer for layer in _flat(network) if isinstance(layer, Dropout) or any(True for _ in layer.parameters())
    ]
    if len({id(layer) for layer in stateful}) < len(stateful):
        return False
    owned = [p for layer in stateful for p in layer.parameters()]
    if len({id(p) for p in owned}) < len(owned):
        return False
    return all(p.requires_grad and p.dtype == torch.float32 for p in owned)


def _flat(network: nn.Module) -> Iterator[nn.Module]:
    if type(network) is nn.Sequential:
        for child in network:
            yield from _flat(child)
    else:
        yield network


def _operation(layer: nn.Module, shape: Shape) -> Operation | None:
    """What this layer computes of an image of this shape; None if that is not known, or impossible."""
    read = _READERS.get(type(layer))
    found = None if read is None else read(layer, shape)
    if found is None:
        return None
    kind, out, options = found
    return Operation(
        kind,
        out,
        tuple(options.items()),
        tuple(tuple(p.shape) for p in layer.parameters()),
        tuple(tuple(b.shape) for b in layer.buffers()),
    )


#: Kind, shape of the output, options.
_Read = tuple[str, Shape, dict[str, Any]] | None


# -- convolution, pooling, linear --------------------------------------------------------------------------------


def _conv(layer: nn.Conv2d, shape: Shape) -> _Read:
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    padding = _padding(layer)
    if not plain or padding is None or len(shape) != 3 or shape[0] != layer.in_channels:
        return None
    sides = _slid(shape[1:], layer.kernel_size, layer.stride, padding)
    if min(sides) < 1:
        return None
    options = {
        "out": layer.out_channels, "kernel": layer.kernel_size, "stride": layer.stride, "padding": padding,
        "bias": layer.bias is not None,
    }  # fmt: skip
    return "conv", (layer.out_channels, *sides), options


def _padding(layer: nn.Conv2d) -> Shape | None:
    """Zeros on each side; None if there are more on one side than on the other."""
    if layer.padding == "valid":
        return (0, 0)
    if layer.padding == "same":
        kernel = layer.kernel_size
        return (kernel[0] // 2, kernel[1] // 2) if kernel[0] % 2 and kernel[1] % 2 else None
    return _pair(layer.padding)


def _linear(layer: nn.Linear, shape: Shape) -> _Read:
    if len(shape) != 1 or shape[0] != layer.in_features:
        return None
    return "linear", (layer.out_features,), {"out": layer.out_features, "bias": layer.bias is not None}


def _max_pool(layer: nn.MaxPool2d, shape: Shape) -> _Read:
    if layer.dilation not in (1, (1, 1)) or layer.return_indices:
        return None
    return _pool("max-pool", layer, shape)


def _avg_pool(layer: nn.AvgPool2d, shape: Shape) -> _Read:
    if not layer.count_include_pad or layer.divisor_override is not None:
        return None
    return _pool("avg-pool", layer, shape)


def _pool(kind: str, layer: nn.MaxPool2d | nn.AvgPool2d, shape: Shape) -> _Read:
    if len(shape) != 3 or layer.ceil_mode:
        return None
    kernel = _pair(layer.kernel_size)
    stride = kernel if layer.stride is None else _pair(layer.stride)
    padding = _pair(layer.padding)
    sides = _slid(shape[1:], kernel, stride, padding)
    if min(sides) < 1:
        return None
    return kind, (shape[0], *sides), {"kernel": kernel, "stride": stride, "padding": padding}


def _slid(sides: Shape, kernel: Any, stride: Any, padding: Any) -> Shape:
    steps = zip(sides, kernel, stride, padding, strict=True)
    return tuple((side + 2 * p - k) // s + 1 for side, k, s, p in steps)


def _pair(value: Any) -> Shape:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


# -- shapes ------------------------------------------------------------------------------------------------------


def _flatten(layer: nn.Flatten, shape: Shape) -> _Read:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        return None
    return "flatten", (math.prod(shape),), {}


def _pad(layer: nn.ZeroPad2d, shape: Shape) -> _Read:
    left, right, top, bottom = layer.padding
    if len(shape) != 3 or min(layer.padding) < 0:
        return None
    found = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
    return "pad", found, {"padding": (left, right, top, bottom)}


def _enlarge(layer: nn.Upsample, shape: Shape) -> _Read:
    factor = layer.scale_factor
    if len(shape) != 3 or layer.mode != "nearest" or not isinstance(factor, (int, float)) or factor != int(factor):
        return None
    whole = int(factor)
    return "enlarge", (shape[0], shape[1] * whole, shape[2] * whole), {"factor": whole}


def _dropout(layer: Dropout, shape: Shape) -> _Read:
    return "dropout", shape, {}


# -- activations, normalisation ----------------------------------------------------------------------------------


def _activation(name: str, settings: Callable[[Any], dict[str, Any]] = lambda _: {}) -> Callable[[Any, Shape], _Read]:
    return lambda layer, shape: ("activation", shape, {"name": name, **settings(layer)})


def _prelu(layer: nn.PReLU, shape: Shape) -> _Read:
    n = layer.num_parameters
    if n not in (1, shape[0]) or len(shape) == 2:
        return None
    return "activation", shape, {"name": "prelu", "parameters": n}


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape) -> _Read:
    dims = 3 if isinstance(layer, nn.BatchNorm2d) else 1
    if len(shape) != dims or shape[0] != layer.num_features or layer.momentum is None or not layer.track_running_stats:
        return None
    return "batch-norm", shape, {"momentum": layer.momentum, "eps": layer.eps, "affine": layer.affine}


def _group_norm(layer: nn.GroupNorm, shape: Shape) -> _Read:
    if len(shape) == 2 or shape[0] != layer.num_channels:
        return None
    return "group-norm", shape, {"groups": layer.num_groups, "eps": layer.eps, "affine": layer.affine}


def _layer_norm(layer: nn.LayerNorm, shape: Shape) -> _Read:
    dims = len(layer.normalized_shape)
    if shape[-dims:] != tuple(layer.normalized_shape) or (len(shape) == 3 and dims < 3):
        return None
    affine = layer.elementwise_affine
    return "layer-norm", shape, {"dims": dims, "eps": layer.eps, "affine": affine, "bias": layer.bias is not None}


# -- recurrent layers --------------------------------------------------------------------------------------------


def _sequence(layer: ToSequence, shape: Shape) -> _Read:
    if len(shape) != 3 or math.prod(shape) + layer.missing != layer.length * layer.features:
        return None
    return "sequence", (layer.length, layer.features), {"length": layer.length, "missing": layer.missing}


def _recurrent(layer: Recurrent, shape: Shape) -> _Read:
    cell = layer.cell
    names = {kind: name for name, kind in Recurrent.CELLS.items()}
    plain = cell.num_layers == 1 and cell.batch_first and cell.bias and cell.dropout == 0.0 and cell.proj_size == 0
    if type(cell) not in names or not plain or (type(cell) is nn.RNN and cell.nonlinearity != "tanh"):
        return None
    if len(shape) != 2 or shape[1] != cell.input_size:
        return None
    width, both = cell.hidden_size, bool(cell.bidirectional)
    options = {"cell": names[type(cell)], "width": width, "bidirectional": both}
    return "recurrent", (shape[0], width * (1 + both)), options


def _last_state(layer: LastState, shape: Shape) -> _Read:
    if len(shape) != 2:
        return None
    return "last-state", (shape[1],), {"bidirectional": layer.bidirectional}


_READERS: dict[type[nn.Module], Callable[[Any, Shape], _Read]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.Flatten: _flatten,
    nn.ZeroPad2d: _pad,
    nn.Upsample: _enlarge,
    Dropout: _dropout,
    nn.Identity: _activation("identity"),
    nn.ReLU: _activation("relu"),
    nn.Tanh: _activation("tanh"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.SiLU: _activation("silu"),
    nn.LeakyReLU: _activation("leaky-relu", lambda layer: {"slope": float(layer.negative_slope)}),
    nn.ELU: _activation("elu", lambda layer: {"alpha": float(layer.alpha)}),
    nn.GELU: _activation("gelu", lambda layer: {"approximate": layer.approximate}),
    nn.PReLU: _prelu,
    Swish: _activation("swish", lambda layer: {"learnable": layer.learnable, "beta": layer.initial}),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    ToSequence: _sequence,
    Recurrent: _recurrent,
    LastState: _last_state,
}
