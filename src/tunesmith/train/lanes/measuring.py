"""How long a training step takes on this machine: alone, and in a block of an engine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import torch

from tunesmith import logging
from tunesmith._machine import processor
from tunesmith._version import __version__
from tunesmith.train.device import working
from tunesmith.train.job import Job
from tunesmith.train.lanes import catalogue
from tunesmith.train.lanes.block import Block, SoloBlock, StackBlock
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.catalogue import Kind

_logger = logging.get_logger("tunesmith.train")

#: Steps that are timed: enough for so many seconds, within bounds; and how often.
_LONG, _FEWEST, _MOST, _ROUNDS = 0.1, 2, 50, 3
#: What an engine takes that cannot be measured, for lack of memory for instance: then it is not this one.
NEVER = 1e9


def seconds(job: Job, kind: Kind | None, lanes: int) -> float:
    """Of a step of a whole block: one of so many lanes, all in use, or (None) of the ordinary loop.

    Nothing that counts is touched: the networks are copies, what is drawn is drawn by keys.
    """
    try:
        return _seconds(SoloBlock if kind is None else lambda: _full(kind, job, lanes), job)
    except Exception as error:
        name = "a training alone" if kind is None else kind.name
        _logger.info("Lanes: %s cannot be measured: %s: %s", name, type(error).__name__, error)
        return NEVER


def key(bucket: Bucket) -> str:
    """What the seconds of a bucket depend on, the machine included; the same in every process."""
    device = bucket.pool.images.device
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    shape = tuple(bucket.pool.images.shape[1:]), str(bucket.pool.images.dtype)
    parts = (
        __version__, torch.__version__, str(device), what, repr(bucket.form), shape, bucket.batch_size, bucket.loss,
        bucket.threads,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:24]


def _full(kind: Kind, job: Job, lanes: int) -> Block:
    engine = kind.make(job, kind.width(lanes))
    return StackBlock(engine, kind.update(engine))


def _seconds(make: Callable[[], Block], job: Job) -> float:
    """What a longer training takes more than one of a single step, each the least of several."""
    block, size, clock = make(), job.hyperparameters.batch_size, _clock(job)
    device = job.training.pool.images.device

    def least(steps: int, times: int) -> float:
        return min(_once(block, lambda: catalogue.shortened(job, steps * size), device, clock) for _ in range(times))

    with working(device, job.threads):
        least(1, 1)
        one = least(1, _ROUNDS)
        more = min(max(_FEWEST, round(_LONG / one)), _MOST)
        return max((least(1 + more, _ROUNDS) - one) / more, 1e-9)


def _clock(job: Job) -> Callable[[], float]:
    """The calling thread's own time where it does all the work: what else the machine does then counts little."""
    alone = job.training.pool.images.device.type == "cpu" and job.threads == 1
    fine = time.get_clock_info("thread_time").resolution < 1e-6  # not on Windows
    return time.thread_time if alone and fine else time.perf_counter


def _once(block: Block, job: Callable[[], Job], device: torch.device, clock: Callable[[], float]) -> float:
    for slot in range(block.capacity):
        block.add(catalogue.lane_of(job(), slot))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = clock()
    outcomes = block.epoch()
    taken = clock() - begin
    for outcome in outcomes:
        block.remove(outcome.lane)
    return taken
