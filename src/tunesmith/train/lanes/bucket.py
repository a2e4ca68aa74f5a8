"""Which trainings may run as one program."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

from tunesmith.train.job import Job, Pool
from tunesmith.train.lanes.structure import structure
from tunesmith.train.signature import Shape, Signature, signature

#: Seconds that a layer takes whatever its size (forward and backward), and that a multiplication takes.
_PER_OPERATION, _PER_PRODUCT = 5e-5, 5e-11


@dataclass(frozen=True)
class Bucket:
    """What trainings have in common that may share a stack: everything that decides shapes and operations.

    What is left out may differ from lane to lane: weights, learning rate and schedule, optimizer, decay, dropout's
    probability, label smoothing, clipping, augmentation, the rows of the pool, the number of epochs.

    Attributes:
        form: the :class:`~tunesmith.train.signature.Signature`, or for networks that have none what
            :func:`~tunesmith.train.lanes.structure.structure` says.
        pool: where the images lie (the very object).
        n_train, n_validation: sizes of the parts.
        batch_size: images a step.
        loss: its name.
        precision: of :class:`~tunesmith.train.job.Job`.
        threads: likewise.
    """

    form: Hashable
    pool: Pool
    n_train: int
    n_validation: int
    batch_size: int
    loss: str
    precision: str
    threads: int | None

    @cached_property
    def cost(self) -> float:
        """About how many seconds an epoch of one training takes on one core; no clock is asked.

        Each operation has a price of its own in every step, and one for its multiplications (three times: forward,
        and backward to the weights and to the inputs).
        """
        steps = -(-self.n_train // self.batch_size)
        if isinstance(self.form, Signature):
            operations, products = work_of(self.form)
        else:
            operations, products = 10, 1_000_000
        return steps * operations * _PER_OPERATION + 3 * self.n_train * products * _PER_PRODUCT

    @classmethod
    def of(cls, job: Job) -> Bucket:
        """The bucket of a training."""
        h, pool = job.hyperparameters, job.training.pool
        shape: Shape = tuple(pool.images.shape[1:])
        return cls(
            signature(job.network, shape) or structure(job.network), pool, len(job.training), len(job.validation),
            h.batch_size, h.loss, job.precision, job.threads,
        )  # fmt: skip


def work_of(form: Signature) -> tuple[int, int]:
    """Operations, and multiplications of one image's way forward.

    A recurrent layer is one operation for each step of its sequence. Every weight is used once at each position.
    """
    operations, products = 0, 0
    for operation in form.operations:
        places = {"conv": operation.shape[1:], "recurrent": operation.shape[:1]}.get(operation.kind, ())
        operations += places[0] if operation.kind == "recurrent" else 1
        products += math.prod(places) * sum(math.prod(shape) for shape in operation.parameters)
    return operations, products
