"""The engines to choose from."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

import torch

from tunesmith.train.job import Job
from tunesmith.train.lanes import stack_memory
from tunesmith.train.lanes.block import StackBlock
from tunesmith.train.lanes.catalogue import Kind, lane_of, shortened
from tunesmith.train.lanes.engine import Engine
from tunesmith.train.lanes.functional import FunctionalEngine
from tunesmith.train.lanes.stack import StackEngine
from tunesmith.train.lanes.updates import Update
from tunesmith.train.signature import Signature, signature

#: Lanes of a stack on a CPU: more do not make it faster. On a GPU at most so many, if they fit.
_CPU_LANES, _GPU_LANES = 16, 512


def kinds() -> list[Kind]:
    """The engines, the best guess first."""
    return [SimdKind(), StackKind(), FunctionalKind()]


def signature_of(job: Job) -> Signature | None:
    """The signature of a training's network."""
    return signature(job.network, _shape(job))


def _shape(job: Job) -> tuple[int, int, int]:
    channels, height, width = job.training.pool.images.shape[1:]
    return channels, height, width


def _device(job: Job) -> torch.device:
    return job.training.pool.images.device


class SimdKind(Kind):
    """One network in each lane of the processor's registers; needs numba."""

    name: ClassVar[str] = "simd"
    sure: ClassVar[bool] = True

    def refuses(self, job: Job) -> str:
        if importlib.util.find_spec("numba") is None:
            return "numba is not installed (pip install 'tunesmith[train]')"
        from tunesmith.train.lanes.simd.engine import SimdEngine

        return SimdEngine.supports(signature_of(job), _device(job))

    def make(self, job: Job, lanes: int) -> Engine:
        from tunesmith.train.lanes.simd.engine import SimdEngine

        found = signature_of(job)
        assert found is not None  # or it would have been refused
        return SimdEngine(found, lanes)

    def update(self, engine: Engine) -> Update:
        from tunesmith.train.lanes.simd.update import SimdUpdate

        return SimdUpdate(engine.lanes, engine.axis, engine.parameters)

    def width(self, lanes: int) -> int:
        from tunesmith.train.lanes.simd.engine import SimdEngine

        return min(8 if lanes <= 8 else 16, SimdEngine.width())

    def least(self) -> int:
        return self.width(1)

    def widest(self, job: Job) -> int:
        return self.width(1 << 30)


class _TorchKind(Kind):
    """Engines in PyTorch, of any width."""

    def width(self, lanes: int) -> int:
        return max(1, min(lanes, _GPU_LANES))

    def least(self) -> int:
        return 1

    def widest(self, job: Job) -> int:
        """On a CPU a number that is enough; on a GPU as many as fit into its memory, measured with a few."""
        device = _device(job)
        free = stack_memory.available(device)
        if device.type == "cpu" or free is None:
            return _CPU_LANES
        return max(1, min(_GPU_LANES, stack_memory.measure(lambda n: self._once(job, n), device).lanes(free)))

    def usual(self, job: Job) -> int:
        return min(_CPU_LANES, self.widest(job))

    def _once(self, job: Job, lanes: int) -> None:
        engine = self.make(job, lanes)
        block = StackBlock(engine, self.update(engine))
        for slot in range(lanes):
            block.add(lane_of(shortened(job, job.hyperparameters.batch_size), slot))
        block.epoch()


class StackKind(_TorchKind):
    """Tensors of all networks stacked, by layers written for it; also on a GPU."""

    name: ClassVar[str] = "stack"

    def refuses(self, job: Job) -> str:
        return StackEngine.supports(signature_of(job), _device(job))

    def make(self, job: Job, lanes: int) -> Engine:
        found = signature_of(job)
        assert found is not None  # or it would have been refused
        return StackEngine(found, lanes, _device(job))


class FunctionalKind(_TorchKind):
    """Any network, by torch.func where that can."""

    name: ClassVar[str] = "functional"

    def refuses(self, job: Job) -> str:
        if not StackEngine.supports(signature_of(job), _device(job)):
            return "its layers have a stacked form of their own"
        return FunctionalEngine.supports(job.network, _shape(job), job.training.pool.n_classes, _device(job))

    def make(self, job: Job, lanes: int) -> Engine:
        return FunctionalEngine(job.network, lanes, _device(job))
