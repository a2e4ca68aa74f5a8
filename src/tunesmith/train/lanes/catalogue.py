"""The engines there are, each with what the choice between them needs to know."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from tunesmith.train.evaluation import Evaluation, Run
from tunesmith.train.job import Job, Part
from tunesmith.train.lanes.engine import Engine
from tunesmith.train.lanes.lane import Lane
from tunesmith.train.lanes.updates import TorchUpdate, Update


class Kind(ABC):
    """A way to compute lanes.

    Attributes:
        name: of the engine.
        sure: whether it beats one training after the other wherever it can be used and :meth:`least` lanes are
            together, so that short trainings may have it unmeasured.
    """

    name: ClassVar[str]
    sure: ClassVar[bool] = False

    @abstractmethod
    def refuses(self, job: Job) -> str:
        """Why it cannot train this; "" if it can."""

    @abstractmethod
    def make(self, job: Job, lanes: int) -> Engine:
        """An engine of so many lanes (one of :meth:`width`)."""

    def update(self, engine: Engine) -> Update:
        """The optimizers that go with it."""
        return TorchUpdate(engine.lanes, engine.axis, engine.parameters)

    @abstractmethod
    def width(self, lanes: int) -> int:
        """How wide an engine for so many lanes is; what exceeds the widest goes into another block."""

    @abstractmethod
    def least(self) -> int:
        """Lanes that should be together before another block is begun: fewer take as long."""

    @abstractmethod
    def widest(self, job: Job) -> int:
        """The widest engine that is worth while."""

    def usual(self, job: Job) -> int:
        """Lanes of a block when there are as many as one likes."""
        return self.widest(job)


def shortened(job: Job, images: int) -> Job:
    """A copy of a training with one epoch of so many images and a tiny validation part, for measuring."""
    rows = job.training.rows
    repeated = rows.repeat(-(-images // len(rows)))[:images]
    part = job.training
    return dataclasses.replace(
        job,
        network=copy.deepcopy(job.network),
        hyperparameters=dataclasses.replace(job.hyperparameters, patience=0),
        training=Part(part.pool, repeated, part.shift, part.scale),
        validation=Part(part.pool, job.validation.rows[:1], part.shift, part.scale),
        epochs=1,
        metrics=("val_loss",),
    )


def lane_of(job: Job, key: Any) -> Lane:
    """A lane with this training alone."""
    labels: Mapping[str, int] = {}
    lane = Lane(key, Evaluation([Run(lambda: job, 0, labels)], job.metrics))
    lane.next_job()
    return lane
