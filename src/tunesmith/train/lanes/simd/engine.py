"""The SIMD engine: one network in each lane of a CPU's registers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import counter
from tunesmith.train.lanes.engine import Engine, Images, Step
from tunesmith.train.lanes.simd import features
from tunesmith.train.lanes.simd import records as r
from tunesmith.train.lanes.simd.buffers import aligned
from tunesmith.train.lanes.simd.nodes import refusal
from tunesmith.train.lanes.simd.plan import Arena, Plan
from tunesmith.train.signature import Signature


class SimdEngine(Engine):
    """A network in each of the 16 (AVX-512) or 8 (AVX2) lanes of a core.

    Parameters lie side by side, ``(p, lanes)``, so that one instruction does the same thing for all networks; nothing
    is ever exchanged between lanes. Numbers differ from torch's by rounding only (convolutions sum in another order,
    see :mod:`filtering`), and not at all between 8 and 16 lanes.

    One thread computes a step. Two engines may be used by two threads at the same time.

    Args:
        signature: of the networks; see :meth:`supports`.
        width: number of lanes, 8 or 16. Default: what the processor has.

    Raises:
        InvalidValueError: the processor or the signature is not supported; the message says why.
    """

    name: ClassVar[str] = "simd"
    axis = 1

    def __init__(self, signature: Signature, width: int | None = None) -> None:
        reason = self.supports(signature)
        if reason:
            raise InvalidValueError(f"These networks cannot be trained in SIMD lanes: {reason}.")
        self.lanes = self.width() if width is None else width
        if self.lanes not in (8, 16) or self.lanes > self.width():
            raise InvalidValueError(f"This processor has {self.width()} lanes (8 can be chosen too), not {width!r}.")
        self.signature = signature
        self._plan = Plan(signature, self.lanes)
        self.parameters = aligned(signature.n_parameters, self.lanes)
        self.gradients = aligned(signature.n_parameters, self.lanes)
        self._arena = aligned(self._plan.lines(), self.lanes)
        self._operations, self._groups = self._plan.records(
            Arena(self._arena.data_ptr(), 4 * self.lanes), self.parameters.data_ptr(), self.gradients.data_ptr()
        )
        self._dropouts = [i for i, node in enumerate(self._plan.nodes) if node.kind == "dropout"]
        self._kernels = _kernels()
        self._program = self._kernels.connect(self._plan, self._operations)
        self._buffers: dict[str, Tensor] = {}

    @classmethod
    def width(cls) -> int:
        """Lanes of this machine's processor, 16 or 8; 0 if SIMD lanes cannot be used on it."""
        return features.lanes()[0]

    @classmethod
    def supports(cls, signature: Signature | None, device: torch.device | str = "cpu") -> str:
        """Why networks of this signature cannot be trained here; "" if they can.

        Args:
            signature: of the networks; None if they have none.
            device: where the data are.
        """
        if torch.device(device).type != "cpu":
            return "SIMD lanes are for the CPU"
        lanes, reason = features.lanes()
        if lanes == 0:
            return reason
        if signature is None:
            return "the network is not a plain sequence of known layers"
        return refusal(signature)

    # -- networks ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def load(self, lane: int, network: nn.Module) -> None:
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
        if len(flat) != len(self.parameters):
            raise InvalidValueError(f"This engine's networks have {len(self.parameters)} parameters, not {len(flat)}.")
        self.parameters[:, lane] = flat

    @torch.no_grad()
    def store(self, lane: int, network: nn.Module) -> None:
        column, place = self.parameters[:, lane], 0
        for parameter in network.parameters():
            parameter.copy_(column[place : place + parameter.numel()].view(parameter.shape))
            place += parameter.numel()

    # -- computing -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, step: Step) -> tuple[Tensor, Tensor]:
        losses = self._kernels.LOSSES
        if step.loss not in losses:
            raise InvalidValueError(f"Unknown loss {step.loss!r}; known: {', '.join(losses)}.")
        if len(step.dropout) != len(self._dropouts) or len(step.p) != len(self._dropouts):
            raise InvalidValueError(
                f"The networks have {len(self._dropouts)} dropout layers, but the step has keys of {len(step.dropout)} "
                f"and probabilities of {len(step.p)}."
            )
        record, kept = self._images(step.images)
        lines = aligned(3, self.lanes)
        lines[0] = step.gamma
        targets = self._buffer("targets", int(record["batch"]))
        targets.copy_(step.targets.permute(1, 2, 0))
        for place, keys, p in zip(self._dropouts, step.dropout, step.p, strict=True):
            self._mask(place, keys, p)
        record["training"], record["targets"] = 1, targets.data_ptr()
        record["gamma"], record["losses"], record["hits"] = (line.data_ptr() for line in lines)
        self._run(record, step.loss)
        del kept  # until here the program reads from it
        return lines[1].clone(), lines[2].to(torch.int64)

    @torch.no_grad()
    def logits(self, images: Images) -> Tensor:
        record, kept = self._images(images)
        logits = self._buffer("logits", int(record["batch"]))
        record["logits"] = logits.data_ptr()
        self._run(record, None)
        del kept
        return logits.permute(2, 0, 1).contiguous()

    def _run(self, step: np.ndarray, loss: str | None) -> None:
        operations, groups = self._operations, self._groups
        operations[-1]["forward"] = self._kernels.last_kernel(loss, self.lanes)
        self._program(operations.ctypes.data, len(operations), groups.ctypes.data, len(groups), step.ctypes.data, 0)

    def _buffer(self, name: str, batch: int) -> Tensor:
        """(batch, classes, lanes), kept for the next step of the same size."""
        found = self._buffers.get(name)
        if found is None or len(found) < batch:
            found = aligned(batch, self.signature.n_classes, self.lanes)
            self._buffers[name] = found
        return found[:batch]

    def _images(self, images: Images) -> tuple[np.ndarray, Any]:
        """A record with everything about the images, and what must stay alive while it is used."""
        pool, shape = images.pool.images, tuple(self.signature.input)
        record = np.zeros((), r.STEP)
        lines = aligned(2, shape[0], self.lanes)  # shift and scale
        if images.pixels is None and _plain(pool):
            assert images.index is not None
            assert images.shift is not None
            assert images.scale is not None
            index, pixels = images.index.to(torch.int64).contiguous(), pool
            _check(tuple(pool.shape[1:]), shape, len(index), self.lanes)
            if index.numel():
                least, most = torch.aminmax(index)
                if least < 0 or most >= len(pool):
                    raise InvalidValueError(f"Rows of the pool are 0 to {len(pool) - 1}; others are asked for.")
            batch = index.shape[1]
            record["index"] = index.data_ptr()
            lines[0], lines[1] = images.shift.T, images.scale.T
        else:
            pixels = images.dense().to(torch.float32).contiguous()
            _check(tuple(pixels.shape[2:]), shape, len(pixels), self.lanes)
            index, batch = None, pixels.shape[1]
            lines[1] = 1.0
        record["batch"], record["until"] = batch, self._plan.until
        record["block"] = self._plan.block(batch)
        record["images"], record["floats"] = pixels.data_ptr(), pixels.dtype == torch.float32
        record["image_bytes"] = math.prod(shape) * pixels.element_size()
        record["shift"], record["scale"] = lines[0].data_ptr(), lines[1].data_ptr()
        record["classes"] = self.signature.n_classes
        record["target_size"] = 4 * self.lanes * self.signature.n_classes
        return record, (pixels, index, lines)

    def _mask(self, place: int, keys: Tensor, p: Tensor) -> None:
        """Say which elements a dropout layer drops in the next step."""
        operation = self._operations[place]
        first = (int(operation["keys"]) - self._arena.data_ptr()) // (4 * self.lanes)
        lines = self._arena.numpy().view(np.int32)[first : first + 4]
        below = np.array([counter.dropped_below(x) for x in p.tolist()], np.int32)
        lines[:2] = keys.numpy().T.astype(np.uint32).view(np.int32)
        lines[2] = below
        lines[3] = (1.0 - p.numpy()).astype(np.float32).view(np.int32)
        operation["active"] = below.any()


def _plain(pool: Tensor) -> bool:
    """Whether the program can read images from this tensor."""
    return pool.dtype in (torch.uint8, torch.float32) and pool.is_contiguous() and pool.device.type == "cpu"


def _check(found: tuple[int, ...], wanted: tuple[int, ...], lanes: int, width: int) -> None:
    if found != wanted or lanes != width:
        raise InvalidValueError(
            f"This engine takes images of shape {wanted} for {width} lanes, not of shape {found} for {lanes}."
        )


def _kernels() -> Any:
    """The module of the compiled program; numba is imported here, not before."""
    from tunesmith.train.lanes.simd import program

    return program
