"""How lanes are computed: which engine is fastest for a network on this machine.

A block of an engine takes about as long with one lane in use as with all, so the answer depends on how many trainings
there will be at a time. It is worked out from the seconds of a step, which are measured once by training a few steps
with each engine, and kept in a file, because the choice decides the arithmetic: two engines add the same numbers in
different orders. It depends on the problem, the machine, and the number of lanes and workers that were asked for, never
on how many lanes there are at the moment, so that a configuration's result does not either.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith import logging
from tunesmith.train.job import Job
from tunesmith.train.lanes import measuring
from tunesmith.train.lanes.block import Block, SoloBlock, StackBlock
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.catalogue import Kind
from tunesmith.train.lanes.remembered import Remembered
from tunesmith.train.lanes.structure import Unknown

_logger = logging.get_logger("tunesmith.train")

#: The engine that is no engine: one training after the other by the ordinary loop.
SOLO = "solo"
#: Trainings shorter than this many steps are not worth a measurement; the first engine that can is taken.
_WORTH_STEPS = 200


@dataclass(frozen=True)
class Load:
    """How many trainings there will be at a time.

    Attributes:
        lanes: as many as were asked for.
        workers: threads that compute.
        crowd: how likely two of them share a bucket, so that they may be stacked; 0: none ever are.
    """

    lanes: int
    workers: int
    crowd: float = 1.0

    @property
    def together(self) -> int:
        """Trainings in one bucket, on average and from the point of view of one of them."""
        return round(1 + (self.lanes - 1) * self.crowd)

    def lanes_in(self, least: int, most: int) -> int:
        """Lanes in a block: those of a bucket, shared out among workers that would be idle, within bounds.

        Args:
            least: lanes that are not shared out.
            most: lanes that a block can have.
        """
        workers = max(1, self.workers * self.together // self.lanes)  # for each bucket
        return min(max(math.ceil(self.together / workers), min(least, self.together)), most)

    def seconds(self, step: float, lanes: int) -> float:
        """Until every training has made a step.

        Args:
            step: seconds of a step of a block.
            lanes: of the block that are in use.
        """
        return step * max(1.0, self.lanes / lanes / self.workers)


class Planner:
    """Chooses an engine for each bucket, and makes its blocks.

    Args:
        kinds: the engines to choose from, the best guess first.
        load: how many trainings there will be.
        memory: where measurements are kept: a file, or None for this object only.
        epochs: of the longest training there may be; short ones are not worth a measurement.
    """

    def __init__(self, kinds: Sequence[Kind], load: Load, *, memory: Path | None = None, epochs: int = 1) -> None:
        self._engines, self.load, self.epochs = list(kinds), load, epochs
        self._remembered = Remembered(memory)
        self._kinds: dict[Bucket, Kind | None] = {}
        self._lock = threading.Lock()

    def kind(self, job: Job, bucket: Bucket) -> Kind | None:
        """The engine of a bucket; None for one training after the other."""
        with self._lock:
            if bucket not in self._kinds:
                self._kinds[bucket] = self._choose(job, bucket)
            return self._kinds[bucket]

    def width(self, bucket: Bucket, lanes: int) -> int:
        """How wide a block for so many lanes is (the bucket's engine is known by now)."""
        kind = self._kinds.get(bucket)
        return 1 if kind is None else kind.width(lanes)

    def least(self, job: Job, bucket: Bucket) -> int:
        """How many lanes should be in a block before another one is begun."""
        kind = self.kind(job, bucket)
        return 1 if kind is None else kind.least()

    def block(self, job: Job, bucket: Bucket, lanes: int) -> Block:
        """A block for at most so many lanes (or for as many as the engine holds)."""
        kind = self.kind(job, bucket)
        if kind is None:
            return SoloBlock()
        engine = kind.make(job, kind.width(lanes))
        return StackBlock(engine, kind.update(engine))

    def _choose(self, job: Job, bucket: Bucket) -> Kind | None:
        if self.load.together < 2 or isinstance(bucket.form, Unknown) or job.precision != "float32":
            return None
        able = [kind for kind in self._engines if not kind.refuses(job)]
        if not able:
            return None
        if self.epochs * -(-len(job.training) // job.hyperparameters.batch_size) < _WORTH_STEPS:
            return able[0] if able[0].sure and self.load.together >= able[0].least() else None
        times = self._times(job, bucket, able)
        best = min(times, key=times.__getitem__)
        shown = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in times.items())
        _logger.info("Lanes: a step of all takes %s; %s is chosen.", shown, best)
        return next((kind for kind in able if kind.name == best), None)

    def _times(self, job: Job, bucket: Bucket, able: list[Kind]) -> dict[str, float]:
        """Seconds of a step of all trainings: alone, and with each engine."""
        key = measuring.key(bucket)
        found = {SOLO: self.load.seconds(self._step(f"{key} {SOLO}", job, None, 1), 1)}
        for kind in able:
            lanes = self.load.lanes_in(kind.least(), kind.usual(job))
            width = kind.width(1 << (lanes - 1).bit_length())  # a measurement for 5 lanes serves 8
            step = self._step(f"{key} {kind.name} {width}", job, kind, width)
            found[kind.name] = self.load.seconds(step, lanes)
        return found

    def _step(self, key: str, job: Job, kind: Kind | None, width: int) -> float:
        """Seconds of a step of a block, remembered or measured."""
        known = self._remembered.get(key)
        if known is not None:
            return known
        found = measuring.seconds(job, kind, width)
        return found if found == measuring.NEVER else self._remembered.keep(key, found)
