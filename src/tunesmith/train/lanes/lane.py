"""One trial on its way through the lanes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tunesmith.executors.lanes import LaneEvent, Parked
from tunesmith.train import counter
from tunesmith.train.augmentation import Augmentation
from tunesmith.train.evaluation import Evaluation
from tunesmith.train.job import Job
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.layers import Dropout
from tunesmith.train.loop import Course, Training


@dataclass(eq=False)
class Lane(Parked):
    """A trial's evaluation, and the training that it is at.

    Outside of a stack everything is here: the weights in ``job.network``, the optimizer's state in ``update``.

    Attributes:
        key: the trial's.
        evaluation: gives one training after the other, and the reports.
        seconds: the lane's share of the time so far.
        job: the training.
        course: how far it has come.
        bucket: which trainings it may run with.
        update: the optimizer's state, or None at the beginning.
        training: its own loop when it trains alone.
        best: with patience, the network's state at its best epoch.
        most: the widest stack that it may be in; halved when a stack fails.
        alone: whether it is trained by the ordinary loop: not even a stack of its own could be computed, and that loop
            says what is wrong; or the training goes on from a state.
    """

    key: Hashable
    evaluation: Evaluation
    seconds: float = 0.0
    job: Job = field(init=False)
    course: Course = field(init=False)
    bucket: Bucket = field(init=False)
    update: dict[str, Any] | None = None
    training: Training | None = None
    best: dict[str, Tensor] | None = None
    most: int | None = None
    alone: bool = False

    def next_job(self) -> bool:
        """Go on to the evaluation's next training, if there is one."""
        job = self.evaluation.next_job()
        if job is None:
            return False
        self.job, self.bucket = job, Bucket.of(job)
        self.update = self.best = None
        self.training = self.evaluation.resumed(job)
        self.alone = self.alone or self.training is not None
        self.course = Course(job) if self.training is None else self.training.course
        layers = [m for m in job.network.modules() if isinstance(m, Dropout)]
        self.dropped = [layer.p for layer in layers]
        self.masks = [counter.key(job.seeds.dropout, k) for k in range(len(layers))]
        self.augmentation = Augmentation.of(job.hyperparameters)
        return True

    def keep_best(self) -> None:
        """Remember the network's weights as the best so far."""
        self.best = {name: tensor.clone() for name, tensor in self.job.network.state_dict().items()}

    def finish(self) -> None:
        """The training has ended; its network gets the weights that count."""
        if self.best is not None:
            self.job.network.load_state_dict(self.best)

    def end(self, error: Exception | None = None) -> LaneEvent:
        """The end of the trial."""
        value = self.evaluation.value if error is None else None
        attributes = tuple(self.evaluation.attributes.items())
        return LaneEvent(self.key, value=value, error=error, attributes=attributes, seconds=self.seconds)

    def close(self) -> None:
        """The trial will not go on."""
        self.training = self.update = self.best = None
