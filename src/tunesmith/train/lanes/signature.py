"""What a network computes, as a short list of operations, read off its modules.

Two networks with the same signature have the same shapes everywhere and can be trained as one program. What may
differ between them (weights, dropout's probability) is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from tunesmith.train.layers import Dropout

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One layer.

    Attributes:
        kind: "conv", "linear", "max-pool", "avg-pool", "activation", "flatten", "dropout", "pad", "enlarge".
        shape: of its output for one image, (c, h, w) or (features,).
        options: (name, value) pairs:

            - conv: ``out``, ``kernel`` (kh, kw), ``stride`` (sh, sw), ``padding`` (ph, pw), ``bias`` (bool)
            - linear: ``out``, ``bias``
            - max-pool, avg-pool: ``kernel``, ``stride``, ``padding``; avg-pool counts the padding
            - activation: ``name`` ("relu", "tanh", "sigmoid", ...), and what the module's class has as settings
            - dropout: nothing; p belongs to the lane
            - pad: ``padding`` (left, right, top, bottom), zeros
            - enlarge: ``factor``; each pixel becomes a square
    """

    kind: str
    shape: Shape
    options: tuple[tuple[str, Any], ...] = ()

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


_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.LeakyReLU: "leaky-relu", nn.PReLU: "prelu",
    nn.SiLU: "silu", nn.GELU: "gelu", nn.Identity: "identity",
}  # fmt: skip


def signature(network: nn.Module, input_shape: Shape) -> Signature | None:
    """The signature of a network that is a plain sequence of known layers; None for any other.

    Args:
        network: nested ``nn.Sequential`` are looked into.
        input_shape: of one image, (c, h, w).
    """
    shape, operations = tuple(input_shape), []
    for layer in _flat(network):
        operation = _operation(layer, shape)
        if operation is None:
            return None
        if operation.kind == "activation" and operation["name"] == "identity":
            continue
        operations.append(operation)
        shape = operation.shape
    if len(shape) != 1 or not operations:
        return None
    return Signature(tuple(input_shape), tuple(operations))


def _flat(network: nn.Module) -> list[nn.Module]:
    if type(network) is nn.Sequential:
        return [layer for child in network for layer in _flat(child)]
    return [network]


def _operation(layer: nn.Module, shape: Shape) -> Operation | None:
    kind = type(layer)
    if kind is nn.Conv2d and isinstance(layer, nn.Conv2d):
        return _conv(layer, shape)
    if kind is nn.Linear and isinstance(layer, nn.Linear):
        if len(shape) != 1 or shape[0] != layer.in_features:
            return None
        return Operation("linear", (layer.out_features,), _options(out=layer.out_features, bias=layer.bias is not None))
    if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)) and kind in (nn.MaxPool2d, nn.AvgPool2d):
        return _pool(layer, shape)
    if kind is nn.Flatten and isinstance(layer, nn.Flatten):
        if (layer.start_dim, layer.end_dim) != (1, -1):
            return None
        size = 1
        for side in shape:
            size *= side
        return Operation("flatten", (size,))
    if kind is Dropout:
        return Operation("dropout", shape)
    if kind is nn.ZeroPad2d and isinstance(layer, nn.ZeroPad2d) and len(shape) == 3:
        left, right, top, bottom = layer.padding
        found = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        return Operation("pad", found, _options(padding=(left, right, top, bottom)))
    if kind is nn.Upsample and isinstance(layer, nn.Upsample) and len(shape) == 3:
        factor = layer.scale_factor
        if layer.mode != "nearest" or not isinstance(factor, (int, float)) or factor != int(factor):
            return None
        factor = int(factor)
        return Operation("enlarge", (shape[0], shape[1] * factor, shape[2] * factor), _options(factor=factor))
    return _activation(layer, shape)


def _conv(layer: nn.Conv2d, shape: Shape) -> Operation | None:
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str) or len(shape) != 3 or shape[0] != layer.in_channels:
        return None
    sides = _slid(shape[1:], layer.kernel_size, layer.stride, layer.padding)
    if min(sides) < 1:
        return None
    return Operation(
        "conv",
        (layer.out_channels, *sides),
        _options(
            out=layer.out_channels, kernel=layer.kernel_size, stride=layer.stride, padding=layer.padding,
            bias=layer.bias is not None,
        ),
    )  # fmt: skip


def _pool(layer: nn.MaxPool2d | nn.AvgPool2d, shape: Shape) -> Operation | None:
    if len(shape) != 3 or layer.ceil_mode:
        return None
    if isinstance(layer, nn.MaxPool2d):
        if layer.dilation not in (1, (1, 1)) or layer.return_indices:
            return None
    elif not layer.count_include_pad or layer.divisor_override is not None:
        return None
    kernel = _pair(layer.kernel_size)
    stride = kernel if layer.stride is None else _pair(layer.stride)
    padding = _pair(layer.padding)
    sides = _slid(shape[1:], kernel, stride, padding)
    if min(sides) < 1:
        return None
    kind = "max-pool" if isinstance(layer, nn.MaxPool2d) else "avg-pool"
    return Operation(kind, (shape[0], *sides), _options(kernel=kernel, stride=stride, padding=padding))


def _activation(layer: nn.Module, shape: Shape) -> Operation | None:
    name = _ACTIVATIONS.get(type(layer))
    if name is None:
        return None
    settings: dict[str, Any] = {"name": name}
    if isinstance(layer, nn.LeakyReLU):
        settings["slope"] = float(layer.negative_slope)
    elif isinstance(layer, nn.PReLU):
        settings["parameters"] = layer.num_parameters
    elif isinstance(layer, nn.GELU):
        settings["approximate"] = layer.approximate
    return Operation("activation", shape, _options(**settings))


def _slid(sides: Shape, kernel: Any, stride: Any, padding: Any) -> tuple[int, ...]:
    steps = zip(sides, kernel, stride, padding, strict=True)
    return tuple((side + 2 * p - k) // s + 1 for side, k, s, p in steps)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _options(**options: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(options.items())
