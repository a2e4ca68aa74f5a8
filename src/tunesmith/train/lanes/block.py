"""Lanes that compute together: an epoch of all of them at a time."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.train import counter
from tunesmith.train.device import working
from tunesmith.train.lanes.engine import Engine, Images, Step
from tunesmith.train.lanes.lane import Lane
from tunesmith.train.lanes.updates import Update
from tunesmith.train.loop import EVALUATION_BATCH, Abandoned, Training, batch_sizes, order, steps_per_epoch
from tunesmith.train.losses import targets


@dataclass(frozen=True)
class Outcome:
    """What an epoch gave in one lane: the metrics, or the error that ended its training."""

    lane: Lane
    metrics: dict[str, float] | None
    error: Exception | None = None


class Block(ABC):
    """Lanes of one bucket. ``epoch`` may be called from another thread, all else from the runner's own.

    Attributes:
        capacity: most lanes it can hold.
        lanes: those it holds, by slot.
        busy: whether an epoch is being computed.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.lanes: list[Lane | None] = [None] * capacity
        self.busy = False
        self._abandoned = False

    @property
    def held(self) -> list[Lane]:
        """The lanes, without empty slots."""
        return [lane for lane in self.lanes if lane is not None]

    def add(self, lane: Lane) -> None:
        """Take a lane in, where it stands."""
        slot = self.lanes.index(None)
        self._load(slot, lane)
        self.lanes[slot] = lane

    def remove(self, lane: Lane) -> None:
        """Let a lane go; all of it is in the lane again."""
        slot = self.lanes.index(lane)
        self._store(slot, lane)
        self._clear(slot)
        self.lanes[slot] = None

    def epoch(self) -> list[Outcome]:
        """Train each lane for one epoch and measure it; seconds are shared equally."""
        begin = time.perf_counter()
        outcomes = self._epoch()
        share = (time.perf_counter() - begin) / len(outcomes)
        for outcome in outcomes:
            outcome.lane.seconds += share
        return outcomes

    def abandon(self) -> None:
        """Let an epoch that is being computed end early, with :class:`Abandoned`."""
        self._abandoned = True

    @abstractmethod
    def _load(self, slot: int, lane: Lane) -> None: ...

    @abstractmethod
    def _store(self, slot: int, lane: Lane) -> None: ...

    @abstractmethod
    def _clear(self, slot: int) -> None: ...

    @abstractmethod
    def _epoch(self) -> list[Outcome]: ...


class SoloBlock(Block):
    """One lane, trained by the ordinary loop."""

    def abandon(self) -> None:
        for lane in self.held:
            if lane.training is not None:
                lane.training.abandoned = True

    def __init__(self) -> None:
        super().__init__(1)

    def _load(self, slot: int, lane: Lane) -> None:
        if lane.training is None:
            lane.training = Training(lane.job)
            lane.course = lane.training.course

    def _store(self, slot: int, lane: Lane) -> None: ...

    def _clear(self, slot: int) -> None: ...

    def _epoch(self) -> list[Outcome]:
        (lane,) = self.held
        assert lane.training is not None
        try:
            return [Outcome(lane, lane.training.epoch())]
        except Abandoned:
            raise
        except Exception as error:  # this lane's own: nobody else is here
            return [Outcome(lane, None, error)]


class StackBlock(Block):
    """Lanes that an engine computes as one program.

    Args:
        engine: computes forward and backward; holds the parameters.
        update: the optimizers.
    """

    def __init__(self, engine: Engine, update: Update) -> None:
        super().__init__(engine.lanes)
        self.engine, self.update = engine, update

    def _load(self, slot: int, lane: Lane) -> None:
        self.engine.load(slot, lane.job.network)
        self.update.put(slot, lane.job.hyperparameters)
        if lane.update is not None:
            self.update.restore(slot, lane.update)

    def _store(self, slot: int, lane: Lane) -> None:
        self.engine.store(slot, lane.job.network)
        lane.update = self.update.state(slot)

    def _clear(self, slot: int) -> None:
        self.update.remove(slot)
        self.engine.parameters.select(self.engine.axis, slot).zero_()

    # -- an epoch ------------------------------------------------------------------------------------------------

    def _epoch(self) -> list[Outcome]:
        for slot, lane in enumerate(self.lanes):
            if lane is not None:
                self._store(slot, lane)  # if something fails, the lanes stand where they stood before this epoch
        job = self.held[0].job
        with working(job.training.pool.images.device, job.threads):
            losses, hits = self._train()
            logits = self._logits()
        n = len(job.training)
        return [
            self._measured(slot, lane, losses[slot] / n, hits[slot] / n, logits[slot])
            for slot, lane in enumerate(self.lanes)
            if lane is not None
        ]

    def _measured(self, slot: int, lane: Lane, loss: float, accuracy: float, logits: Tensor) -> Outcome:
        try:
            metrics = lane.course.observe(loss, accuracy, logits)
        except Exception as error:  # diverged, or a metric that cannot be computed: the other lanes are fine
            return Outcome(lane, None, error)
        if lane.course.improved and lane.job.hyperparameters.patience > 0:
            self.engine.store(slot, lane.job.network)
            lane.keep_best()
        return Outcome(lane, metrics)

    def _train(self) -> tuple[list[float], list[int]]:
        """Sums over the epoch's images of the loss and of what was classified rightly, lane by lane."""
        job = self.held[0].job
        sizes = batch_sizes(len(job.training), job.hyperparameters.batch_size)
        index, inputs = self._rows(self._orders()), _Inputs(self)
        sums: list[Tensor] = []
        hits: list[Tensor] = []
        for at, rows in enumerate(index.split(sizes, dim=1)):
            if self._abandoned:
                raise Abandoned
            step = inputs.step(rows, at)
            loss, hit = self.engine.step(step)
            self.update.step(self.engine.parameters, self.engine.gradients, inputs.rates(at))
            sums.append(loss * step.targets.shape[1])
            hits.append(hit)
        columns = torch.stack(sums).to("cpu").T.tolist()
        return [math.fsum(column) for column in columns], torch.stack(hits).sum(0).tolist()

    def _orders(self) -> list[Tensor]:
        """The rows of the pool that each lane trains on, in the order of this epoch."""
        return [order(lane.job, lane.course.epochs_done + 1) for lane in self.held]

    def _rows(self, of_lanes: list[Tensor]) -> Tensor:
        """(lanes, n): what each lane has, and for the empty slots what some lane has."""
        found = iter(of_lanes)
        return torch.stack([of_lanes[0] if lane is None else next(found) for lane in self.lanes])

    def _logits(self) -> Tensor:
        """(lanes, n, classes) of the validation part."""
        index = self._rows([lane.job.validation.rows for lane in self.held])
        shift, scale = self._scales(lambda lane: (lane.job.validation.shift, lane.job.validation.scale))
        pool = self.held[0].job.validation.pool
        chunks = index.split(EVALUATION_BATCH, dim=1)
        with torch.no_grad():
            return torch.cat([self.engine.logits(Images(pool, chunk, shift, scale)) for chunk in chunks], dim=1)

    def _scales(self, of: Callable[[Lane], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """(lanes, c) each."""
        known = iter([of(lane) for lane in self.held])
        first = of(self.held[0])
        pairs = [first if lane is None else next(known) for lane in self.lanes]
        return torch.stack([p[0].flatten() for p in pairs]), torch.stack([p[1].flatten() for p in pairs])


class _Inputs:
    """What a stack's steps are made of, apart from the rows."""

    def __init__(self, block: StackBlock) -> None:
        self.lanes = block.lanes
        first = block.held[0]
        self.job = first.job
        pool = self.job.training.pool
        self.pool, device = pool, pool.images.device
        self.steps = steps_per_epoch(self.job)
        self.shift, self.scale = block._scales(lambda lane: (lane.job.training.shift, lane.job.training.scale))
        filled = [lane or first for lane in self.lanes]
        h = [lane.job.hyperparameters for lane in filled]
        smoothing = torch.tensor([x.label_smoothing for x in h], dtype=torch.float64, device=device)
        self.smoothing = smoothing.view(-1, 1, 1)
        self.gamma = torch.tensor([x.focal_gamma for x in h], dtype=torch.float32, device=device)
        layers = range(len(first.masks))
        self.p = [torch.tensor([lane.dropped[k] for lane in filled], dtype=torch.float64) for k in layers]
        self.filled = filled
        self.augmented = any(lane is not None and lane.augmentation is not None for lane in self.lanes)

    def _global(self, lane: Lane, at: int) -> int:
        return lane.course.epochs_done * self.steps + at

    def rates(self, at: int) -> list[float]:
        """The learning rate of each slot."""
        return [0.0 if lane is None else lane.course.schedule.lr(self._global(lane, at)) for lane in self.lanes]

    def step(self, index: Tensor, at: int) -> Step:
        """The ``at``-th step of the epoch, on these rows of the pool."""
        images = Images(self.pool, index, self.shift, self.scale)
        wanted = targets(self.pool.labels[index], self.pool.n_classes, self.smoothing)
        if self.augmented:
            images, wanted = self._augment(images, wanted, at)
        keys = [
            torch.tensor([counter.at_step(lane.masks[k], self._global(lane, at)) for lane in self.filled])
            for k in range(len(self.p))
        ]
        return Step(images, wanted, self.job.hyperparameters.loss, self.gamma, keys, self.p)

    def _augment(self, images: Images, wanted: Tensor, at: int) -> tuple[Images, Tensor]:
        pixels = images.dense()
        for slot, lane in enumerate(self.lanes):
            if lane is not None and lane.augmentation is not None:
                key = counter.at_step(lane.job.seeds.augmentation, self._global(lane, at))
                pixels[slot], wanted[slot] = lane.augmentation.apply(pixels[slot], wanted[slot], key)
        return Images(self.pool, pixels=pixels), wanted
