"""The training loop: minibatch gradient descent, one epoch at a time. It is what lanes are compared with.

Everything that is drawn (the order of the images, dropout masks, augmentation) is computed from keys of the training's
seed and from the number of the step, so the same configuration, data, seed, device and number of threads give the same
metrics, bit for bit, also when the training was interrupted after any epoch. torch's global random numbers are left
as they are; if a network draws from them by itself, they are seeded for each of its steps
(:mod:`tunesmith.train.global_random`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError, TunesmithError
from tunesmith.train import counter, identity, layers, losses, metrics
from tunesmith.train.augmentation import Augmentation
from tunesmith.train.device import check_precision, working
from tunesmith.train.errors import InvalidArchitectureError, TrainingDivergedError
from tunesmith.train.global_random import Watch
from tunesmith.train.job import Job, Part
from tunesmith.train.optimizers import Optimizer
from tunesmith.train.placing import place
from tunesmith.train.schedules import Schedule

#: What every epoch measures on the training part, after the metrics of the validation part.
TRAIN_METRICS = ("train_loss", "train_accuracy")
#: Images that are evaluated at a time; a constant, because it decides the order of summation.
EVALUATION_BATCH = 500
#: Of what a network draws by itself in evaluation: the same each time, so that equal weights give equal metrics.
_EVALUATION_KEY = counter.key(0)
#: torch has no class of errors for shapes that do not fit each other; this is how they sound.
_MISFIT = re.compile(r"shape|size|channel|dimension", re.IGNORECASE)


class Abandoned(Exception):
    """An epoch ended early because nobody wants it any more."""


def network_seed(training_seed: int) -> int:
    """The seed of the network's initial weights, below 2**62. (:class:`~tunesmith.train.job.Seeds` has the others.)"""
    (seed,) = np.random.SeedSequence(training_seed).generate_state(1, np.uint64)
    return int(seed >> 2)


def batch_sizes(n: int, size: int) -> list[int]:
    """Sizes of an epoch's batches of ``n`` images; the last one may be smaller.

    One image that would be left alone joins the batch before it: batch normalisation has no variance of one image, and
    its gradient would weigh as much as that of a whole batch.
    """
    sizes, rest = [size] * (n // size), n % size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def steps_per_epoch(job: Job) -> int:
    """How many updates an epoch has."""
    return len(batch_sizes(len(job.training), job.hyperparameters.batch_size))


def order(job: Job, epoch: int) -> Tensor:
    """The rows of the pool in the order in which an epoch (from 1) uses them: (n,) int64 on the pool's device."""
    places = counter.permutation(counter.at_step(job.seeds.order, epoch), len(job.training))
    return job.training.rows[torch.from_numpy(places).to(job.training.rows.device)]


def seen(part: Part, rows: Tensor) -> Tensor:
    """What the network sees of some images: (b, c, h, w) float32.

    Args:
        part: how they are scaled.
        rows: (b,) of the pool.
    """
    return (part.pool.images[rows].to(torch.float32) - part.shift).mul_(part.scale)


class Course:
    """How far a training has come: what happens at the end of an epoch, the same alone and in a lane.

    Attributes:
        schedule: of the learning rate.
        epochs_done: how many.
        best_epoch: the one (from 1) with the best objective so far, the first among equals; 0 before the first.
        result: metrics of the last epoch; with ``patience`` those of the best one.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.schedule = Schedule(job.hyperparameters, steps_per_epoch(job), job.epochs)
        self.epochs_done, self.best_epoch = 0, 0
        self.result: dict[str, float] = {}
        self._names = [name.removeprefix(metrics.VALIDATION) for name in job.metrics]
        self._sign = 1.0 if metrics.direction(self._names[0]) == "minimize" else -1.0
        self._best: float | None = None

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best so far."""
        return 0 < self.epochs_done == self.best_epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or so many in a row without improvement as ``patience`` says."""
        patience = self.job.hyperparameters.patience
        stopped = 0 < patience <= self.epochs_done - self.best_epoch
        return stopped or self.epochs_done >= self.job.epochs

    def observe(self, train_loss: float, train_accuracy: float, logits: Tensor) -> dict[str, float]:
        """End an epoch.

        Args:
            train_loss, train_accuracy: means over the epoch's images.
            logits: (n, k) of the validation part.

        Returns:
            The job's metrics, ``train_loss`` and ``train_accuracy``.

        Raises:
            TrainingDivergedError: the training loss or a logit is NaN or infinite.
        """
        labels = self.job.validation.labels
        if not (math.isfinite(train_loss) and bool(logits.isfinite().all())):
            loss = metrics.measure(["loss"], logits, labels)["loss"]
            raise TrainingDivergedError(
                f"Training diverged in epoch {self.epochs_done + 1}: training loss {train_loss}, validation loss "
                f"{loss}, with {self.job.hyperparameters}. A smaller lr or momentum, or clip_norm, may help.",
                self.epochs_done + 1,
            )
        measured = metrics.measure(self._names, logits, labels)
        values = dict(zip(self.job.metrics, measured.values(), strict=True))
        values |= dict(zip(TRAIN_METRICS, (train_loss, train_accuracy), strict=True))
        self.epochs_done += 1
        objective = self._sign * values[self.job.metrics[0]]
        objective = math.inf if math.isnan(objective) else objective  # no number (an AUC of one class) is the worst
        if self._best is None or objective < self._best:
            self._best, self.best_epoch = objective, self.epochs_done
        if self.improved or not self.job.hyperparameters.patience:
            self.result = values
        self.schedule.observe(objective)
        return values

    def state(self) -> dict[str, Any]:
        """Plain numbers; :meth:`restore` reads them back."""
        return {
            "epochs_done": self.epochs_done, "best_epoch": self.best_epoch, "best": self._best,
            "result": dict(self.result), "schedule": self.schedule.state(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.epochs_done, self.best_epoch = int(state["epochs_done"]), int(state["best_epoch"])
        self._best = None if state["best"] is None else float(state["best"])
        self.result = dict(state["result"])
        self.schedule.restore(state["schedule"])


class Training:
    """One training, alone on its device. The network of the job is trained in place.

    Attributes:
        abandoned: set by another thread, it ends the epoch before its next step, with :class:`Abandoned`.

    Raises:
        InvalidValueError: the device does not have the precision.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.course = job, Course(job)
        self._device = job.training.pool.images.device
        check_precision(job.precision, self._device)
        network = place(job.network, self._device, job.training.pool.images.shape[1:])
        layers.key_dropouts(network, job.seeds.dropout)
        self._optimizer = Optimizer(network.parameters(), job.hyperparameters)
        self._augmentation = Augmentation.of(job.hyperparameters)
        self._scaler = _scaler() if job.precision == "float16" else None
        self.abandoned = False
        self._best: dict[str, Tensor] = {}  # the weights of the best epoch, when there is patience

    @property
    def epochs_done(self) -> int:
        """How many."""
        return self.course.epochs_done

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the training has stopped early. With ``patience`` the network then has the
        weights of its best epoch."""
        return self.course.finished

    @property
    def result(self) -> dict[str, float]:
        """Metrics of the last epoch; with ``patience`` those of the best one."""
        return self.course.result

    def epoch(self) -> dict[str, float]:
        """Train for one epoch and measure.

        Returns:
            The job's metrics on the validation part, then the means over the epoch's images ``train_loss`` (of the
            loss that is trained, without penalties) and ``train_accuracy``; each batch before its step, with dropout
            and augmentation.

        Raises:
            TrainingDivergedError: a loss became NaN or infinite.
            InvalidArchitectureError: the images do not fit the network, or its output does not fit the classes.
            InvalidValueError: the training has finished.
        """
        if self.finished:
            raise InvalidValueError(f"This training has finished after {self.epochs_done} epochs.")
        with working(self._device, self.job.threads):
            train_loss, train_accuracy = self._pass(self.epochs_done + 1)
            logits = evaluate(self.job.network, self.job.validation, self.job.precision)
            values = self.course.observe(train_loss, train_accuracy, logits)
            if self.job.hyperparameters.patience:
                if self.course.improved:
                    self._best = _copy(self.job.network.state_dict())
                if self.finished:
                    self.job.network.load_state_dict(self._best)
        return values

    def _pass(self, epoch: int) -> tuple[float, float]:
        """Once through the training part; returns mean loss and accuracy."""
        self.job.network.train()
        rows, first = order(self.job, epoch), (epoch - 1) * steps_per_epoch(self.job)
        batches = rows.split(batch_sizes(len(rows), self.job.hyperparameters.batch_size))
        watch = Watch(self.job.network, counter.key(self.job.seeds.dropout, 0, 1), self.job.training.pool.images)
        done: list[tuple[Tensor, Tensor]] = []
        for i, batch in enumerate(batches):
            if self.abandoned:
                raise Abandoned
            with watch.piece(first + i):
                done.append(self._step(first + i, batch))
        layers.set_step(self.job.network, None)
        return _mean([loss for loss, _ in done], len(rows)), _mean([hits for _, hits in done], len(rows))

    def _step(self, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One update; returns the sum of the images' losses and how many were classified well, still on the device."""
        job, h, part = self.job, self.job.hyperparameters, self.job.training
        images = seen(part, rows)
        targets = losses.targets(part.pool.labels[rows], part.pool.n_classes, h.label_smoothing)
        if self._augmentation is not None:
            images, targets = self._augmentation.apply(images, targets, counter.at_step(job.seeds.augmentation, step))
        layers.set_step(job.network, step)
        logits = _forward(job.network, images, part.pool.n_classes, job.precision)
        loss = losses.loss(h.loss, logits, targets, h.focal_gamma).mean()
        self._optimizer.zero_grad()
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        self._optimizer.step(self.course.schedule.lr(step), self._scaler)
        hits = (logits.detach().argmax(1) == targets.argmax(1)).sum()
        return loss.detach() * len(rows), hits

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on: nested dictionaries of tensors (copies) and numbers."""
        found: dict[str, Any] = {
            "job": identity.of_job(self.job),
            "course": self.course.state(),
            "network": _copy(self.job.network.state_dict()),
            "optimizer": self._optimizer.state(),
            "best": _copy(self._best),
        }
        if self._scaler is not None:
            found["scaler"] = self._scaler.state_dict()
        return found

    def restore(self, state: dict[str, Any], *, inherit: bool = False) -> None:
        """Go on from the :meth:`state` of a training of an equal job, in this process or another, with the same bits.

        Args:
            state: weights, the optimizer's moments, and how far the training had come.
            inherit: go on with this job's own hyperparameters and seed, where they differ (population-based training).
                Epochs, and steps of the schedule, are counted from the beginning of the other training. What cannot
                change is in :data:`tunesmith.train.identity.LASTING`, and the network, the images and the length.

        Raises:
            InvalidValueError: the state is that of another job (other hyperparameters, another network, other images,
                another length or seed), or no state at all; the message says what differs.
        """
        try:
            there, here = state["job"], identity.of_job(self.job)
            if inherit:
                there, here = identity.lasting(there), identity.lasting(here)
            if text := identity.differences(there, here):
                wanted = "a job that is equal but for what may change" if inherit else "an equal job"
                raise InvalidValueError(f"This state does not fit this training, which must be of {wanted}: {text}.")
            self.job.network.load_state_dict(state["network"])
            self._optimizer.restore(state["optimizer"])
            self.course.restore(state["course"])
            if self._scaler is not None:
                self._scaler.load_state_dict(state["scaler"])
            self._best = _copy(state["best"])
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise InvalidValueError(f"This state does not fit this training: {error}.") from None


def train(job: Job) -> Iterator[dict[str, float]]:
    """Train to the end; yields what :meth:`Training.epoch` returns."""
    training = Training(job)
    while not training.finished:
        yield training.epoch()


def evaluate(network: nn.Module, part: Part, precision: str = "float32") -> Tensor:
    """The logits of a part's images in evaluation mode: (n, k), float32 also with mixed precision."""
    network.eval()
    with torch.inference_mode():
        watch, logits = Watch(network, _EVALUATION_KEY, part.pool.images), []
        for number, rows in enumerate(part.rows.split(EVALUATION_BATCH)):
            with watch.piece(number):
                logits.append(_forward(network, seen(part, rows), part.pool.n_classes, precision))
        return torch.cat(logits)


def _forward(network: nn.Module, images: Tensor, n_classes: int, precision: str) -> Tensor:
    shape, wanted = tuple(images.shape), (len(images), n_classes)
    try:
        with autocast(images.device, precision):
            logits = network(images)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, TunesmithError) or "memory" in str(error) or not _MISFIT.search(str(error)):
            raise
        raise InvalidArchitectureError(f"The network cannot take a batch of shape {shape}: {error}") from error
    if logits.shape != wanted:
        raise InvalidArchitectureError(f"The network gives {tuple(logits.shape)} for {shape}; logits are {wanted}.")
    return logits if precision == "float32" else logits.float()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Compute what torch considers safe with 16 bits; nothing for "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def _scaler() -> Any:
    """Scales the loss so that small gradients are not 0 in float16; its home changed with torch 2.3."""
    return torch.amp.GradScaler("cuda") if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler()


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _mean(sums: list[Tensor], n: int) -> float:
    """Sum of scalars that are still on the device, divided by ``n``; they are fetched in one go."""
    return math.fsum(torch.stack(sums).tolist()) / n
