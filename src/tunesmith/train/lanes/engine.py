"""The contract of what computes a stack of networks: forward, backward, evaluation.

An engine knows nothing of trials, epochs, optimizers or schedules. It holds the parameters of ``lanes`` networks in
one array, fills another one with gradients, and the update is done outside with one call for all lanes
(:mod:`tunesmith.train.lanes.updates`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tunesmith.train.job import Pool


@dataclass
class Images:
    """The images of one step, for every lane.

    Either rows of the pool, which the engine gathers and scales: ``index`` (lanes, b) int64, ``shift`` and ``scale``
    (lanes, c) float32. Or ``pixels`` (lanes, b, c, h, w) float32, which are taken as they are (augmented images).
    """

    pool: Pool
    index: Tensor | None = None
    shift: Tensor | None = None
    scale: Tensor | None = None
    pixels: Tensor | None = None

    def dense(self) -> Tensor:
        """(lanes, b, c, h, w) float32: what the networks see."""
        if self.pixels is not None:
            return self.pixels
        assert self.index is not None
        assert self.shift is not None
        assert self.scale is not None
        rows = self.pool.images.index_select(0, self.index.flatten())  # many times faster than indexing
        images = rows.unflatten(0, self.index.shape).to(torch.float32)
        shape = (*self.shift.shape[:1], 1, self.shift.shape[1], 1, 1)
        return images.sub_(self.shift.view(shape)).mul_(self.scale.view(shape))


@dataclass
class Step:
    """One training step of every lane.

    Attributes:
        images: what the networks see.
        targets: (lanes, b, classes) float32, non-negative, each row sums to 1: one-hot, smoothed, or mixed labels.
        loss: "cross-entropy", "squared-error", "focal" or "hinge"; as :mod:`tunesmith.train.losses` defines them.
        gamma: (lanes,) float32, of the focal loss.
        dropout: for each dropout layer in order, (lanes, 2) int64: the key of this step; see ``counter.bits``.
            The index of an element is ``position in the batch * features + feature`` with features in (c, h, w) order.
        p: for each dropout layer in order, (lanes,) float64: the probability of dropping.
    """

    images: Images
    targets: Tensor
    loss: str
    gamma: Tensor
    dropout: list[Tensor]
    p: list[Tensor]


class Engine(ABC):
    """Computes a stack of networks with the same signature.

    What a lane's numbers are must not depend on the other lanes: not on their values (NaN included), and not on how
    many there are.

    Attributes:
        name: of the engine.
        lanes: how many networks it holds.
        axis: of ``parameters`` and ``gradients`` along which the lanes lie, 0 or 1.
        parameters: (lanes, p) or (p, lanes) float32, the parameters of each network in the order of
            ``network.parameters()``.
        gradients: of the same shape; filled by :meth:`step`.
    """

    name: ClassVar[str]
    lanes: int
    axis: int
    parameters: Tensor
    gradients: Tensor

    @abstractmethod
    def load(self, lane: int, network: nn.Module) -> None:
        """Copy a network's parameters (and buffers) into a lane."""

    @abstractmethod
    def store(self, lane: int, network: nn.Module) -> None:
        """Copy a lane's parameters (and buffers) into a network."""

    @abstractmethod
    def step(self, step: Step) -> tuple[Tensor, Tensor]:
        """Forward and backward; fills ``gradients`` with the gradient of each lane's mean loss over its batch.

        Returns:
            (lanes,) float32 mean loss of each lane's batch; (lanes,) int64 how many of the batch's images were
            classified as the largest entry of their target.
        """

    @abstractmethod
    def logits(self, images: Images) -> Tensor:
        """(lanes, b, classes) float32 in evaluation mode."""
