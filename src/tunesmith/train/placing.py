"""Where a network lies, and how: on its device, in the layout that is fastest there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tunesmith.train.signature import signature


def place(network: nn.Module, device: torch.device, input_shape: Sequence[int]) -> nn.Module:
    """Move a network to a device; on a CPU convolutions are 10 % faster with the channels last.

    Only sequences of known layers get that layout: code of a user may rely on the usual one (``x.view(len(x), -1)``).
    """
    network.to(device)
    channels, height, width = input_shape
    if device.type == "cpu" and signature(network, (channels, height, width)) is not None:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
