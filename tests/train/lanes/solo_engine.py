"""One network after the other, each computed by its own modules: the engine for what cannot be stacked.

It has the contract of the stacks, so that whoever runs lanes need not care, and is the reference that they are compared
with.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.lanes.engine import Engine, Images, Step
from tunesmith.train.lanes.lane_dropout import Mask, with_lane_dropout
from tunesmith.train.losses import loss


class SoloEngine(Engine):
    """Ordinary modules whose parameters and gradients are rows of shared arrays.

    Every lane is computed by itself, so its numbers are bitwise the same in every lane, beside any neighbours, in any
    number of lanes, on every device whose operations are deterministic.

    Args:
        network: one of the networks; only its structure counts.
        lanes: how many.
        device: where to compute; the pool's.

    Raises:
        InvalidValueError: the network cannot be computed so; see :meth:`supports`.
    """

    name = "solo"
    axis = 0

    def __init__(self, network: nn.Module, lanes: int, device: torch.device) -> None:
        if reason := self.supports(network):
            raise InvalidValueError(f"These networks cannot be trained in lanes: {reason}.")
        self.lanes, self.device = lanes, device
        n = parameters_to_vector(network.parameters()).numel()
        padded = -(-n // 16) * 16  # each lane begins at a multiple of 64 bytes, so that none is computed differently
        values, self._gradients = (torch.zeros(lanes, padded, device=device) for _ in range(2))
        self.parameters, self.gradients = values[:, :n], self._gradients[:, :n]
        self._networks = [copy.deepcopy(network) for _ in range(lanes)]
        for lane, each in enumerate(self._networks):
            self._dropouts = with_lane_dropout(each)
            each.to(device)
            start = 0
            for p in each.parameters():
                row = slice(start, start + p.numel())
                p.data = self.parameters[lane, row].view(p.shape)
                p.grad = self.gradients[lane, row].view(p.shape)
                start += p.numel()
            for buffer in each.buffers():
                buffer.zero_()

    @classmethod
    def supports(cls, network: nn.Module) -> str:
        """Why networks like this one cannot be trained in lanes; "" if they can."""
        parameters = list(network.parameters())
        if not parameters:
            return "it has no parameters"
        if not all(p.requires_grad and p.dtype == torch.float32 for p in parameters):
            return "it has parameters that are not trained, or not float32"
        return ""

    def load(self, lane: int, network: nn.Module) -> None:
        """Copy a network's parameters and buffers into a lane."""
        own = self._networks[lane]
        with torch.no_grad():
            for mine, given in zip(own.parameters(), network.parameters(), strict=True):
                mine.copy_(given)
            for name, buffer in network.named_buffers():
                own.get_buffer(name).copy_(buffer)

    def store(self, lane: int, network: nn.Module) -> None:
        """Copy a lane's parameters and buffers into a network."""
        own = self._networks[lane]
        with torch.no_grad():
            for mine, given in zip(own.parameters(), network.parameters(), strict=True):
                given.copy_(mine)
            for name, buffer in network.named_buffers():
                buffer.copy_(own.get_buffer(name))

    def step(self, step: Step) -> tuple[Tensor, Tensor]:
        """Forward and backward; see :class:`~tunesmith.train.lanes.engine.Engine`."""
        masks, images = Mask.all_of(step, self.device), self._shown(step.images)
        self._gradients.zero_()
        losses, hits = [], []
        for lane, network in enumerate(self._networks):
            network.train()
            for name, mask in zip(self._dropouts, masks, strict=True):
                for field, word in vars(mask.rows(lane)).items():
                    network.get_buffer(f"{name}.{field}").copy_(word)
            targets = step.targets[lane]
            with torch.enable_grad():
                logits = network(images[lane])
                found = loss(step.loss, logits, targets, step.gamma[lane]).mean()
                found.backward()
            losses.append(found.detach())
            hits.append((logits.detach().argmax(1) == targets.argmax(1)).sum())
        return torch.stack(losses), torch.stack(hits)

    def logits(self, images: Images) -> Tensor:
        """(lanes, b, classes) in evaluation mode."""
        shown = self._shown(images)
        with torch.no_grad():
            return torch.stack([n.eval()(each) for n, each in zip(self._networks, shown, strict=True)])

    def _shown(self, images: Images) -> list[Tensor]:
        """(b, c, h, w) of each lane; on a CPU with channels last, which is faster there."""
        last = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        return [each.contiguous(memory_format=last) for each in images.dense()]
