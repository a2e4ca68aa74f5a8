"""Memory that lines can lie in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Bytes that all arrays begin at a multiple of: a line of 16 lanes, and of a cache.
_ALIGNMENT = 64


def aligned(*shape: int) -> Tensor:
    """Float32 zeros that begin where a line may begin."""
    n = math.prod(shape)
    room = torch.zeros(n + _ALIGNMENT // 4)
    start = -(room.data_ptr() // 4) % (_ALIGNMENT // 4)
    return room[start : start + n].view(shape)


def is_aligned(x: Tensor) -> bool:
    """Whether lines can lie in this tensor: (n, lanes), float32, without gaps, and beginning where a line may begin."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.is_contiguous()
        and x.data_ptr() % (4 * x.shape[-1]) == 0
    )
