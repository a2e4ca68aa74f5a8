"""Many networks as one: the layers of a signature written for all lanes at once, in plain PyTorch.

Convolutions in groups, batched matrix products, pooling and activations of everything together; autograd for the
backward pass. It runs on every device of torch. The idea is that of horizontally fused training arrays (S. Wang et al.,
"HFTA", MLSys 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.lanes.engine import Images
from tunesmith.train.lanes.lane_dropout import Mask
from tunesmith.train.lanes.stack_autograd import AutogradEngine, Bundle
from tunesmith.train.lanes.stack_layers import Layer, Pass, to_maps
from tunesmith.train.lanes.stack_recurrent import STACKED
from tunesmith.train.signature import Operation, Signature

#: Kinds of operations whose gradients their layers write themselves.
_DIRECT = ("linear", "recurrent")


class StackEngine(AutogradEngine):
    """A stack of networks with the same signature.

    A lane's numbers do not depend on its place, its neighbours (NaN included), or the number of lanes: on a CPU with
    one thread bit by bit. With several threads, whose shares of the work depend on the place, and on a GPU it is so
    up to rounding. Against a network alone the difference is rounding too: of the families' losses, gradients and
    logits less than 1e-5 of the largest entry, except where rounding decides which of two equal pixels is the maximum.

    Args:
        signature: of the networks.
        lanes: how many.
        device: where to compute; the pool's.
        bundle: lanes computed together, see :class:`AutogradEngine`.

    Raises:
        InvalidValueError: an operation that it does not know; see :meth:`supports`.
    """

    name = "stack"

    def __init__(self, signature: Signature, lanes: int, device: torch.device, bundle: int | None = None) -> None:
        if reason := self.supports(signature, device):
            raise InvalidValueError(f"These networks cannot be stacked: {reason}.")
        operations = signature.operations
        owners = [operation.kind for operation in operations for _ in operation.parameters]
        direct = frozenset(i for i, kind in enumerate(owners) if kind in _DIRECT)
        parameters = [shape for operation in operations for shape in operation.parameters]
        super().__init__(lanes, device, parameters, _buffers(operations), bundle, direct)
        self.signature = signature
        self._layers = [self._built(bundle) for bundle in self.bundles]

    def _built(self, bundle: Bundle) -> list[Layer]:
        found: list[Layer] = []
        before = self.signature.input
        leaves, slots, buffers = iter(bundle.leaves), iter(bundle.slots), iter(bundle.buffers)
        for o in self.signature.operations:
            weights, places = ([next(parts) for _ in o.parameters] for parts in (leaves, slots))
            fresh = bool(found) and found[-1].operation.kind == "conv"
            found.append(Layer(o, before, weights, places, [next(buffers) for _ in o.buffers], fresh))
            before = o.shape
        return found

    @classmethod
    def supports(cls, signature: Signature | None, device: torch.device) -> str:
        """Why networks with this signature cannot be stacked; "" if they can.

        Args:
            signature: of the networks; None if they have none.
            device: where they would be computed.
        """
        if signature is None:
            return "the network is no plain sequence of layers that are known"
        unknown = sorted({o.kind for o in signature.operations if o.kind not in STACKED})
        return f"there is no stacked form of {', '.join(unknown)}" if unknown else ""

    def forward(self, bundle: Bundle, images: Images, masks: Sequence[Mask], training: bool) -> Tensor:
        """See :meth:`AutogradEngine.forward`."""
        run = Pass(len(bundle.leaves[0]), training, iter(masks))
        dense, layers = images.dense(), self._layers[bundle.index]
        if layers[0].operation.kind == "flatten":
            x, layers = dense.flatten(2), layers[1:]
        else:
            x = to_maps(dense)
        for layer in layers:
            x = STACKED[layer.operation.kind](layer, x, run)
        return x


def _buffers(operations: Sequence[Operation]) -> list[Tensor]:
    """Running mean and variance, and a count of batches, which is the one without sides."""
    shapes = [shape for operation in operations for shape in operation.buffers]
    return [torch.empty(shape, dtype=torch.float32 if shape else torch.int64) for shape in shapes]
