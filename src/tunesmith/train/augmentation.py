"""Random changes of the training images, on tensors, as the network sees them (after scaling).

In this order, each only where its hyperparameter is not 0:

- flip: half of the images are mirrored left to right.
- crop: a window of the image's size at a random place in the image padded with ``crop`` zeros on each side, so a shift
  by up to ``crop`` pixels (K. He et al., "Deep residual learning", CVPR 2016, section 4.2).
- rotation: about the centre by an angle that is uniform between ``-rotation`` and ``rotation`` degrees; bilinear.
- noise: independent normal numbers with the standard deviation ``noise`` are added to all values.
- cutout: a square with sides of ``cutout`` pixels about a random pixel becomes 0; what lies outside of the image is cut
  off (T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017).
- mixup: each image and its target are blended with those of the next one in the batch, ``m`` parts of its own and
  ``1 - m`` of the other, with one ``m`` from Beta(mixup, mixup) for the batch, as in the listing of H. Zhang et al.,
  "mixup: beyond empirical risk minimization", ICLR 2018. (The batch is in a random order already, so the next image is
  a random one.)

Zeros are what scaling makes of the mean ("standardize"), of mid-grey ("range") or of black ("none").

All numbers are drawn by :mod:`tunesmith.train.counter` from the key of the step, with the position in the batch as
their index. So what happens to an image is a function of the seed, the step and its position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn import functional

from tunesmith.train import counter
from tunesmith.train.hyperparameters import Hyperparameters

#: What the random numbers of a step are for; ``counter.at_step(key, purpose)`` is the key.
_FLIP, _TOP, _LEFT, _ANGLE, _NOISE, _ROW, _COLUMN, _MIX = range(8)


@dataclass(frozen=True)
class Augmentation:
    """The hyperparameters of the same names; see :class:`~tunesmith.train.hyperparameters.Hyperparameters`."""

    flip: bool = False
    crop: int = 0
    rotation: float = 0.0
    noise: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    @classmethod
    def of(cls, h: Hyperparameters) -> Augmentation | None:
        """What a training does to its images; None for nothing."""
        found = cls(h.flip, h.crop, h.rotation, h.noise, h.cutout, h.mixup)
        return None if found == cls() else found

    def apply(self, images: Tensor, targets: Tensor, key: counter.Key) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            images: (b, c, h, w) float32; not changed in place.
            targets: (b, k) float32.
            key: of the step.

        Returns:
            The new images and targets, of the same shapes.
        """
        position = torch.arange(len(images), device=images.device)
        if self.flip:
            mirrored = counter.uniform(counter.at_step(key, _FLIP), position) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        if self.crop:
            images = _cropped(images, self.crop, key, position)
        if self.rotation:
            images = _rotated(images, self.rotation, key, position)
        if self.noise:
            images = images + self.noise * _normal(images.shape, counter.at_step(key, _NOISE), position)
        if self.cutout:
            images = _cut(images, self.cutout, key, position)
        if self.mixup:
            share = mixup_share(self.mixup, key)
            images = share * images + (1.0 - share) * images.roll(-1, 0)
            targets = share * targets + (1.0 - share) * targets.roll(-1, 0)
        return images, targets


def mixup_share(alpha: float, key: counter.Key) -> float:
    """A number from Beta(alpha, alpha) for the step of this key: the inverse of its distribution at a uniform one."""
    uniform = (int(counter.bits(counter.at_step(key, _MIX), torch.zeros(1, dtype=torch.int64))) + 0.5) * 2.0**-32
    return float(betaincinv(alpha, alpha, uniform))


def _whole(key: counter.Key, purpose: int, position: Tensor, n: int) -> Tensor:
    """A uniform integer in [0, n) for each image; n < 2**16 makes its bias less than 2**-16."""
    return (counter.bits(counter.at_step(key, purpose), position) * n) >> 32


def _cropped(images: Tensor, padding: int, key: counter.Key, position: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = functional.pad(images, (padding, padding, padding, padding))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (b, c, tops, lefts, h, w), a view
    tops, lefts = (_whole(key, purpose, position, 2 * padding + 1) for purpose in (_TOP, _LEFT))
    return windows[position, :, tops, lefts]


def _rotated(images: Tensor, degrees: float, key: counter.Key, position: Tensor) -> Tensor:
    angle = (2.0 * counter.uniform(counter.at_step(key, _ANGLE), position) - 1.0) * math.radians(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    height, width = images.shape[2:]  # the grid's coordinates go from -1 to 1 along either side
    rows = [cos, -sin * (height / width), zero, sin * (width / height), cos, zero]
    grid = functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _normal(shape: torch.Size, key: counter.Key, position: Tensor) -> Tensor:
    """Standard normal numbers, (b, c, h, w): the inverse of their distribution at uniform ones with 24 bits."""
    values = math.prod(shape[1:])
    index = position.view(-1, 1) * values + torch.arange(values, device=position.device)
    odd = (counter.bits(key, index) >> 8).mul_(2).sub_(2**24 - 1)  # the middles of 2**24 equal cells of (-1, 1)
    return odd.to(torch.float32).mul_(2.0**-24).erfinv_().mul_(math.sqrt(2.0)).view(shape)


def _cut(images: Tensor, side: int, key: counter.Key, position: Tensor) -> Tensor:
    inside = []
    for purpose, n in zip((_ROW, _COLUMN), images.shape[2:], strict=True):
        first = _whole(key, purpose, position, n) - side // 2
        pixel = torch.arange(n, device=images.device)
        inside.append((pixel >= first.unsqueeze(1)) & (pixel < first.unsqueeze(1) + side))
    rows, columns = inside
    return images.masked_fill((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1), 0.0)
