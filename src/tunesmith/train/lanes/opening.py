"""Opening the lanes of a problem: how many there are, and whether stacks are worth while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tunesmith._machine import cores
from tunesmith.executors.lanes import check_lanes
from tunesmith.space import Space
from tunesmith.train import device as devices
from tunesmith.train import layers
from tunesmith.train.evaluation import Evaluation
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.choice import Load, Planner
from tunesmith.train.lanes.kinds import kinds
from tunesmith.train.lanes.remembered import memory_file
from tunesmith.train.lanes.runner import Runner
from tunesmith.train.resolve import corners

#: Configurations that are looked at to see how often two of them may share a stack; fewer of large networks.
_SAMPLE, _FEW, _LARGE = 48, 12, 2_000_000
#: Stacks are for problems in which a configuration shares its bucket with at least this part of the others: each bucket
#: is measured, and with fewer in each that would take longer than it saves.
_CROWDED = 1 / 16


class Trainable(Protocol):
    """What lanes need of a problem."""

    @property
    def space(self) -> Space: ...

    @property
    def device(self) -> str: ...

    @property
    def epochs(self) -> int: ...

    def evaluation(self, params: Mapping[str, Any], training_seed: int) -> Evaluation: ...


def open_lanes(problem: Trainable, lanes: int | str, workers: int | None) -> Runner:
    """Lanes for the trials of a problem (and for those of its other repeats).

    Whether and how trainings are stacked depends on the problem, the machine, ``lanes`` and ``workers`` alone, not on
    how many there are at the moment, so that no result does.

    Args:
        problem: what will be trained.
        lanes: how many at a time; "auto": on a CPU a full stack for each core, on a GPU what its memory holds.
        workers: threads that compute; None is one a core on a CPU (as many as this process may use), else one.
    """
    lanes = check_lanes(lanes)
    found = _sample(problem)
    longest = max(corners(problem.space["epochs"])) if "epochs" in problem.space else problem.epochs
    if workers is None:
        workers = cores() if devices.choose(problem.device).type == "cpu" else 1
    share = crowd(found)
    plan = _Opening(problem, found, workers, share if share >= _CROWDED else 0.0, longest)
    planner = plan.fitting() if isinstance(lanes, str) else plan.planner(lanes)
    return Runner(planner, planner.load.lanes, workers)


@dataclass(frozen=True)
class _Opening:
    """What is known of a problem when its lanes are opened.

    Attributes:
        problem, found, workers: as above.
        crowd: see :class:`Load`.
        epochs: of the longest training.
    """

    problem: Trainable
    found: list[Sample]
    workers: int
    crowd: float
    epochs: int

    def planner(self, lanes: int) -> Planner:
        """For so many lanes."""
        load = Load(lanes, self.workers, self.crowd)
        return Planner(kinds(), load, memory=memory_file(), epochs=self.epochs)

    def fitting(self) -> Planner:
        """For as many as fill all workers: blocks as wide as the engine makes them, or one training each."""
        job = self.problem.evaluation(self.found[0].params, 0).next_job() if self.crowd else None
        if job is None:
            return self.planner(self.workers)
        widest = max((kind.widest(job) for kind in kinds() if not kind.refuses(job)), default=1)
        planner = self.planner(widest * self.workers)
        best = planner.kind(job, Bucket.of(job))
        lanes = self.workers * (1 if best is None else best.widest(job))
        return planner if lanes == planner.load.lanes else self.planner(lanes)


@dataclass(frozen=True)
class Sample:
    """A configuration of a problem.

    Attributes:
        params: name -> value.
        bucket: of its training.
    """

    params: dict[str, Any]
    bucket: Bucket


def crowd(found: list[Sample]) -> float:
    """How likely two configurations share a bucket; 0 if that is not known."""
    n = len(found)
    if n < 2:
        return 0.0
    return sum(count * (count - 1) for count in Counter(each.bucket for each in found).values()) / (n * (n - 1))


def _sample(problem: Trainable) -> list[Sample]:
    """Configurations that are spread over the space; always the same ones. Their networks have shapes, no weights."""
    space, enough = problem.space, _SAMPLE
    rows = space.decode(np.random.RandomState(0).random_sample((_SAMPLE, len(space))))
    found: list[Sample] = []
    for number, row in enumerate(rows):
        params = space.active(space.to_params(row))
        try:
            with layers.shapes_only():
                job = problem.evaluation(params, number).next_job()
        except Exception:  # a configuration that is impossible, for whatever reason: its trial will say so
            continue
        if job is not None:
            found.append(Sample(params, Bucket.of(job)))
            if sum(p.numel() for p in job.network.parameters()) > _LARGE:
                enough = _FEW
        if len(found) >= enough:
            break
    return found
