"""The engines to choose from."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

from tunesmith.train.job import Job
from tunesmith.train.lanes.catalogue import Kind
from tunesmith.train.lanes.engine import Engine
from tunesmith.train.lanes.signature import Signature, signature
from tunesmith.train.lanes.stack import StackEngine
from tunesmith.train.lanes.updates import Update


def kinds() -> list[Kind]:
    """The engines, the best guess first."""
    return [SimdKind(), StackKind()]


def signature_of(job: Job) -> Signature | None:
    """The signature of a training's network."""
    shape = job.training.pool.images.shape[1:]
    return signature(job.network, (shape[0], shape[1], shape[2]))


class SimdKind(Kind):
    """One network in each lane of the processor's registers; needs numba."""

    name: ClassVar[str] = "simd"
    sure: ClassVar[bool] = True

    def refuses(self, job: Job) -> str:
        if importlib.util.find_spec("numba") is None:
            return "numba is not installed (pip install 'tunesmith[train]')"
        from tunesmith.train.lanes.simd.engine import SimdEngine

        return SimdEngine.supports(signature_of(job), job.training.pool.images.device)

    def make(self, job: Job, lanes: int) -> Engine:
        from tunesmith.train.lanes.simd.engine import SimdEngine

        found = signature_of(job)
        assert found is not None  # or it would have been refused
        return SimdEngine(found, lanes)

    def width(self, lanes: int) -> int:
        from tunesmith.train.lanes.simd.engine import SimdEngine

        return min(8 if lanes <= 8 else 16, SimdEngine.width())

    def widest(self, job: Job) -> int:
        return self.width(1 << 30)


class StackKind(Kind):
    """Tensors of all networks stacked, computed by PyTorch; also on a GPU."""

    name: ClassVar[str] = "stack"

    def refuses(self, job: Job) -> str:
        return StackEngine.supports(signature_of(job), job.training.pool.images.device)

    def make(self, job: Job, lanes: int) -> Engine:
        found = signature_of(job)
        assert found is not None  # or it would have been refused
        return StackEngine(found, lanes, job.training.pool.images.device)

    def width(self, lanes: int) -> int:
        return max(1, min(lanes, 16))

    def widest(self, job: Job) -> int:
        return 16
