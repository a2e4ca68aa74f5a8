"""How much memory lanes take, for choosing their number: measured on CUDA, computed elsewhere."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.signature import Signature

#: Bytes of a float32.
_FLOAT = 4


@dataclass(frozen=True)
class Memory:
    """Bytes of a stack: ``fixed + lanes * per_lane``.

    Attributes:
        fixed: what it takes whatever the number of lanes: libraries' workspaces, constants.
        per_lane: of weights, gradients, the optimizer's state, activations.
    """

    fixed: int
    per_lane: int

    def of(self, lanes: int) -> int:
        """Bytes of so many lanes."""
        return self.fixed + lanes * self.per_lane

    def lanes(self, available: int, share: float = 0.8) -> int:
        """The most lanes that fit; 0 if none does.

        Args:
            available: bytes that are free.
            share: of them that may be used. Default 0.8: allocators lose some to fragments.
        """
        return max(0, int(available * share - self.fixed) // self.per_lane)


def estimate(signature: Signature, batch_size: int, slots: int = 2) -> Memory:
    """What training takes, computed from the shapes.

    Each layer's output and its gradient are counted at the same time, of all layers; autograd frees some of that
    early, and libraries need workspaces that are not known here.

    Args:
        signature: of the networks.
        batch_size: images a step.
        slots: arrays like the weights that the optimizer keeps; two for Adam, which is the most.
    """
    outputs = sum(math.prod(o.shape) * _kept(o.kind) for o in signature.operations)
    images = batch_size * (math.prod(signature.input) + 2 * outputs)
    weights = (2 + slots + 1) * signature.n_parameters  # values, gradients, slots, scratch of the update
    return Memory(0, _FLOAT * (images + weights))


def _kept(kind: str) -> int:
    """Arrays of the size of its output that a layer keeps for the backward pass."""
    if kind == "recurrent":
        return 9  # four gates of the inputs and of the state, the states
    return {"dropout": 4, "batch-norm": 2, "group-norm": 3, "layer-norm": 3}.get(kind, 1)


def measure(run: Callable[[int], None], device: torch.device, widths: tuple[int, int] = (4, 12)) -> Memory:
    """What ``run(lanes)`` takes at its peak, by running it with two numbers of lanes.

    Args:
        run: makes a stack of so many lanes, trains a step, evaluates a batch, and keeps nothing.
        device: of CUDA.
        widths: the numbers of lanes; the second is the larger one.

    Raises:
        InvalidValueError: not a device of CUDA, where alone torch counts; use :func:`estimate`.
    """
    if device.type != "cuda":
        raise InvalidValueError(f"Memory can be measured on CUDA, not on {str(device)!r}; use estimate() instead.")
    few, many = widths
    run(few)  # once for what is loaded and kept at the first use
    small, large = (_peak(run, lanes, device) for lanes in widths)
    per_lane = max(1, (large - small) // (many - few))
    return Memory(max(0, small - few * per_lane), per_lane)


def _peak(run: Callable[[int], None], lanes: int, device: torch.device) -> int:
    """Bytes that were allocated at the same time, above what was allocated before."""
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(lanes)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def available(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where torch does not tell.

    Memory that torch's allocator holds without using it counts as free.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
