"""Dropout in lanes: the masks of :class:`tunesmith.train.layers.Dropout` for many networks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.train import counter
from tunesmith.train.lanes.engine import Step
from tunesmith.train.layers import dropouts


@dataclass(frozen=True)
class Mask:
    """What one dropout layer needs to know of every lane in one step.

    Attributes:
        first, second: (lanes,) int64, the two words of the key.
        bound: (lanes,) int64; an element is dropped if the upper 24 of its random bits are below it.
        share: (lanes,) float32, what kept elements are divided by.
    """

    first: Tensor
    second: Tensor
    bound: Tensor
    share: Tensor

    @classmethod
    def of(cls, keys: Tensor, p: Tensor, device: torch.device) -> Mask:
        """From (lanes, 2) keys and (lanes,) float64 probabilities."""
        bound, share = (p * 2.0**24).round().to(torch.int64), (1.0 - p).to(torch.float32)
        first, second = keys.to(device, non_blocking=True).unbind(1)
        return cls(first, second, bound.to(device, non_blocking=True), share.to(device, non_blocking=True))

    def apply(self, x: Tensor, index: Tensor, axis: int) -> Tensor:
        """``x`` with elements dropped, as :class:`tunesmith.train.layers.Dropout` does it.

        Args:
            x: any shape with the lanes along ``axis``.
            index: int64, of the element within the batch; broadcasts against ``x``.
            axis: the lanes'.
        """
        shape = [1] * x.ndim
        shape[axis] = -1
        first, second, bound, share = (v.view(shape) for v in (self.first, self.second, self.bound, self.share))
        kept = counter.bits((first, second), index) >> 8 >= bound  # type: ignore[arg-type]  # keys of lanes
        return torch.where(kept, x / share, torch.zeros((), device=x.device))

    @classmethod
    def all_of(cls, step: Step, device: torch.device) -> list[Mask]:
        """One for each dropout layer."""
        return [cls.of(keys, p, device) for keys, p in zip(step.dropout, step.p, strict=True)]

    def rows(self, which: slice | int) -> Mask:
        """The same for some of the lanes."""
        return Mask(self.first[which], self.second[which], self.bound[which], self.share[which])


class LaneDropout(nn.Module):
    """:class:`~tunesmith.train.layers.Dropout` with key and probability as buffers, named as :class:`Mask`'s fields."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("first", "second", "bound"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("share", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        own: dict[str, Any] = dict(self.named_buffers())
        index = torch.arange(x.numel(), device=x.device).view(x.shape)
        return Mask(**own).apply(x, index, axis=0)


def with_lane_dropout(network: nn.Module) -> list[str]:
    """Replace each dropout layer of a network by a :class:`LaneDropout`.

    Returns:
        The name of each in the network (a name, if it is in several places), in the order of ``layers.dropouts``.
    """
    order = dropouts(network)
    stands = {id(layer): LaneDropout() for layer in order}
    names: dict[int, str] = {}
    for name, layer in list(network.named_modules(remove_duplicate=False)):
        if id(layer) in stands:
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, stands[id(layer)])
            names.setdefault(id(layer), name)
    return [names[id(layer)] for layer in order]
