"""What engines that leave the backward pass to torch's autograd have in common: rows of parameters, loss, gradients.

Lanes lie along the first axis and are computed in *bundles* of a constant size; what is missing of the last one is
filled up with spare lanes. So every operation has the same shapes however many lanes there are, which matters, because
libraries choose their algorithms by the shapes. On a CPU each lane's numbers also begin at a multiple of 64 bytes,
so that no place within a bundle is different from the others.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.lanes.engine import Engine, Images, Step
from tunesmith.train.lanes.lane_dropout import Mask
from tunesmith.train.losses import loss

#: Numbers of float32 in 64 bytes: a line of a CPU's cache, and the longest of its registers.
_LINE = 16
#: Lanes in a bundle on a CPU. More do not make convolutions faster, and they leave its caches.
CPU_BUNDLE = 4


@dataclass(frozen=True)
class Bundle:
    """Lanes that are computed together.

    Attributes:
        index: which one it is, from 0.
        rows: its lanes, as a slice of all rows.
        leaves: for each parameter, (bundle, *shape): what forward is differentiated by; views of the parameters.
        slots: for each parameter, (bundle, *shape): where its gradient goes; views of the gradients.
        buffers: for each buffer, (bundle, *shape).
    """

    index: int
    rows: slice
    leaves: list[Tensor]
    slots: list[Tensor]
    buffers: list[Tensor]


class AutogradEngine(Engine):
    """An engine whose ``forward`` is differentiable.

    Args:
        lanes: how many networks.
        device: of everything.
        parameters: shapes of a network's parameters, in their order.
        buffers: one of each of a network's buffers, in their order: for their shapes and types.
        bundle: lanes computed together; None: :data:`CPU_BUNDLE` on a CPU, else all.
        direct: which parameters' gradients ``forward`` arranges to be written into the slots itself.
    """

    axis = 0

    def __init__(
        self,
        lanes: int,
        device: torch.device,
        parameters: Sequence[tuple[int, ...]],
        buffers: Sequence[Tensor],
        bundle: int | None = None,
        direct: frozenset[int] = frozenset(),
    ) -> None:
        together = bundle or (CPU_BUNDLE if device.type == "cpu" else lanes)
        if lanes < 1 or together < 1:
            raise InvalidValueError(f"A stack needs at least 1 lane in bundles of at least 1, not {lanes}, {bundle}.")
        self.lanes, self.device, self._together, self._direct = lanes, device, together, direct
        rows = lanes + -lanes % together
        sizes = [math.prod(shape) for shape in parameters]
        n = sum(sizes)
        values, gradients = (torch.zeros(rows, -(-n // _LINE) * _LINE, device=device) for _ in range(2))
        self.parameters, self.gradients = values[:lanes, :n], gradients[:lanes, :n]
        whole_buffers = [torch.zeros(rows, *b.shape, dtype=b.dtype, device=device) for b in buffers]
        columns = [slice(a, b) for a, b in pairwise([sum(sizes[:i]) for i in range(len(sizes) + 1)])]
        self.bundles: list[Bundle] = []
        for start in range(0, rows, together):
            part = slice(start, start + together)
            leaves, slots = (
                [whole[part, at].view(together, *shape) for at, shape in zip(columns, parameters, strict=True)]
                for whole in (values, gradients)
            )
            for leaf in leaves:
                leaf.requires_grad_()
            self.bundles.append(Bundle(len(self.bundles), part, leaves, slots, [b[part] for b in whole_buffers]))

    @abstractmethod
    def forward(self, bundle: Bundle, images: Images, masks: Sequence[Mask], training: bool) -> Tensor:
        """(bundle, b, classes) logits, of this bundle's images. There are no masks in evaluation."""

    def load(self, lane: int, network: nn.Module) -> None:
        """Copy a network's parameters and buffers into a lane."""
        with torch.no_grad():
            for stacked, single in self._pairs(lane, network):
                stacked.copy_(single)

    def store(self, lane: int, network: nn.Module) -> None:
        """Copy a lane's parameters and buffers into a network."""
        with torch.no_grad():
            for stacked, single in self._pairs(lane, network):
                single.copy_(stacked)

    def _pairs(self, lane: int, network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        bundle, row = self.bundles[lane // self._together], lane % self._together
        yield from ((whole[row], one) for whole, one in zip(bundle.leaves, network.parameters(), strict=True))
        yield from ((whole[row], one) for whole, one in zip(bundle.buffers, network.buffers(), strict=True))

    def step(self, step: Step) -> tuple[Tensor, Tensor]:
        """Forward and backward; see :class:`~tunesmith.train.lanes.engine.Engine`."""
        masks = Mask.all_of(step, self.device)
        found = [self._step(bundle, step, masks) for bundle in self.bundles]
        losses, hits = (torch.cat(parts)[: self.lanes] for parts in zip(*found, strict=True))
        return losses, hits

    def _step(self, bundle: Bundle, step: Step, masks: Sequence[Mask]) -> tuple[Tensor, Tensor]:
        targets, gamma = self._of(bundle, step.targets), self._of(bundle, step.gamma).view(-1, 1, 1)
        own = [Mask(*(self._of(bundle, words) for words in vars(mask).values())) for mask in masks]
        with torch.enable_grad():
            logits = self.forward(bundle, self._shown(bundle, step.images), own, training=True)
            losses = loss(step.loss, logits, targets, gamma).mean(1)
            found = torch.autograd.grad(losses.sum(), bundle.leaves, allow_unused=True)
        for i, (slot, gradient) in enumerate(zip(bundle.slots, found, strict=True)):
            if gradient is not None:
                slot.copy_(gradient)
            elif i not in self._direct:
                slot.zero_()
        return losses.detach(), (logits.detach().argmax(-1) == targets.argmax(-1)).sum(1)

    def logits(self, images: Images) -> Tensor:
        """(lanes, b, classes) in evaluation mode."""
        with torch.no_grad():
            found = [self.forward(bundle, self._shown(bundle, images), (), training=False) for bundle in self.bundles]
        return torch.cat(found)[: self.lanes]

    def _shown(self, bundle: Bundle, images: Images) -> Images:
        parts = (images.index, images.shift, images.scale, images.pixels)
        return Images(images.pool, *(None if part is None else self._of(bundle, part) for part in parts))

    def _of(self, bundle: Bundle, x: Tensor) -> Tensor:
        """The bundle's rows of (lanes, ...); spare lanes have what the last lane has."""
        part = x[bundle.rows]
        missing = self._together - len(part)
        return part if missing == 0 else torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])


def aligned(shape: Sequence[int], like: Tensor) -> Tensor:
    """An empty array (lanes, rows, columns) whose lanes begin at multiples of 64 bytes."""
    lanes, rows, columns = shape
    size = rows * columns
    whole = torch.empty(lanes, -(-size // _LINE) * _LINE, dtype=like.dtype, device=like.device)
    return whole[:, :size].view(lanes, rows, columns)


def realigned(x: Tensor) -> Tensor:
    """(lanes, rows, columns): ``x``, or a copy of it in :func:`aligned` memory if it lies otherwise."""
    contiguous = x.stride(2) == 1 and x.stride(1) == x.shape[2]
    if x.device.type != "cpu" or (contiguous and x.stride(0) % _LINE == 0):
        return x
    return aligned(x.shape, x).copy_(x)
