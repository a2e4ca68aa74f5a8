"""The operations of a network as the compiled program does them, and what passes between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.train.lanes.simd.conv_plan import ConvPlan
from tunesmith.train.signature import Operation, Shape, Signature

#: Activations that never fall, and can tell their derivative from their output.
RISING = ("relu", "leaky-relu", "tanh", "sigmoid", "elu")
#: Activations that need their input for their derivative.
NEED_INPUT = ("silu", "gelu", "gelu-tanh")
_LAYERS = ("conv", "linear", "max-pool", "avg-pool", "pad", "enlarge", "dropout", "flatten")


def refusal(signature: Signature) -> str:
    """Why networks of this signature cannot be computed here; "" if they can."""
    for operation in signature.operations:
        options = dict(operation.options)
        if operation.kind == "activation":
            if _activation(operation) not in (*RISING, *NEED_INPUT):
                return f"the activation {operation['name']!r} has no kernel for SIMD lanes"
            if min(options.get("slope", 0.0), options.get("alpha", 0.0)) < 0.0:
                return f"the activation {operation['name']!r} has no kernel for SIMD lanes with a negative slope"
        elif operation.kind not in _LAYERS:
            return f"the layer {operation.kind!r} has no kernel for SIMD lanes"
        elif operation.kind == "max-pool" and math.prod(options["kernel"]) >= 256:
            return f"max-pooling over {options['kernel']} pixels is more than the 255 that SIMD lanes can index"
    if not any(operation.parameters for operation in signature.operations):
        return "the network has no parameters"
    return ""


def _activation(operation: Operation) -> str:
    """The name of an activation's kernels."""
    name = str(operation["name"])
    return "gelu-tanh" if name == "gelu" and operation["approximate"] == "tanh" else name


@dataclass(eq=False)
class Value:
    """What one operation hands to the next.

    Attributes:
        shape: (c, h, w).
        lasting: whether all samples of a block are kept (else those of a chunk); the same for its gradient.
        has_gradient: whether the gradient is wanted.
        data, gradient: addresses.
    """

    shape: tuple[int, int, int]
    lasting: bool = False
    gradient_lasting: bool = False
    has_gradient: bool = False
    data: int = 0
    gradient: int = 0

    @property
    def lines(self) -> int:
        """Lines of a sample; odd, so that samples do not compete for the same places in a cache."""
        return math.prod(self.shape) | 1


@dataclass(eq=False)
class Node:
    """One operation of the program.

    Attributes:
        kind: "gather", the kind of a layer, the name of an activation, or "loss".
        x, y: input and output, which may be the same.
        operation: where it comes from; None for the input and the loss.
        group: which group it belongs to.
        parameters: place of its first parameter.
        conv: how a convolution is computed.
        rectified: of a maximum, whether a ReLU is part of it.
        feeder: of a maximum, the convolution that runs it piece by piece.
    """

    kind: str
    x: Value
    y: Value
    operation: Operation | None = None
    group: int = 0
    parameters: int = 0
    conv: ConvPlan | None = None
    rectified: bool = False
    feeder: Node | None = None


def nodes(signature: Signature) -> list[Node]:
    """The operations with their values, from the images to the loss."""
    pixels = Value(_shape(signature.input))
    found = [Node("gather", pixels, pixels)]
    place = 0
    for operation in _ordered(signature):
        before = found[-1]
        if operation.kind == "flatten":
            continue
        kind = _activation(operation) if operation.kind == "activation" else operation.kind
        if kind == "relu" and before.kind == "max-pool":
            before.rectified = True
            continue
        node = Node(kind, before.y, Value(_shape(operation.shape)), operation, parameters=place)
        if kind in RISING and before.kind not in (*RISING, *NEED_INPUT, "pad"):
            node.y = node.x  # in place; an activation before needs its output, and the borders of "pad" must stay zero
        if kind == "conv":
            node.conv = ConvPlan.of(operation, node.x.shape)
        if kind == "max-pool" and _can_feed(before, operation):
            assert before.operation is not None
            node.feeder = before
            before.conv = ConvPlan.of(before.operation, before.x.shape, operation["kernel"][0])
        place += sum(math.prod(shape) for shape in operation.parameters)
        found.append(node)
    logits = found[-1].y
    return [*found, Node("loss", logits, logits)]


def _shape(shape: Shape) -> tuple[int, int, int]:
    """(c, h, w); features count as channels."""
    c, h, w = shape if len(shape) == 3 else (math.prod(shape), 1, 1)
    return c, h, w


def _can_feed(conv: Node, pool: Operation) -> bool:
    """Whether windows can be taken from a few rows of outputs at a time."""
    apart = pool["stride"] == pool["kernel"] and pool["padding"] == (0, 0)
    return apart and conv.conv is not None and conv.conv.n > 1


def _ordered(signature: Signature) -> Iterator[Operation]:
    """Activations that never fall change places with a maximum after them, which is the same and has less to do."""
    waiting: Operation | None = None
    for operation in signature.operations:
        if waiting is not None and operation.kind == "max-pool":
            yield operation
            operation, waiting = Operation("activation", operation.shape, waiting.options), None
        if waiting is not None:
            yield waiting
            waiting = None
        if operation.kind == "activation" and operation["name"] in RISING:
            waiting = operation
        else:
            yield operation
    if waiting is not None:
        yield waiting
