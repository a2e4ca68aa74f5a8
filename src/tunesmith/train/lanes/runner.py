"""Trials in lanes: forms stacks of what may run together, trains them epoch by epoch, and tells what happens.

Stacks are computed by a few threads, but everything that is decided is decided in one, and in an order that no clock
has a say in: each epoch is heard when it should be over by an estimate of its cost, so that a short one seldom waits
for a long one. A study therefore makes the same proposals every time it runs in the same lanes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from tunesmith import logging
from tunesmith.executors.lanes import LaneEvent, Parked
from tunesmith.train.evaluation import Evaluation
from tunesmith.train.lanes.block import Block, Outcome, SoloBlock
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.choice import Planner
from tunesmith.train.lanes.lane import Lane
from tunesmith.train.loop import Abandoned

_logger = logging.get_logger("tunesmith.train")


@dataclass(order=True)
class _Flight:
    """An epoch in work."""

    over: float
    count: int
    bucket: Bucket = field(compare=False)
    block: Block = field(compare=False)
    future: Future[list[Outcome]] = field(compare=False)


class Runner:
    """The lanes of one problem, or of several that share their data.

    Args:
        planner: says for each bucket how it is computed.
        lanes: how many trials at a time.
        workers: threads that compute.
    """

    def __init__(self, planner: Planner, lanes: int, workers: int) -> None:
        self.planner, self.lanes, self.workers = planner, lanes, workers
        self._all: dict[Hashable, Lane] = {}
        self._waiting: dict[Bucket, deque[Lane]] = {}
        self._blocks: dict[Bucket, list[Block]] = {}
        self._home: dict[Hashable, Block] = {}
        self._flying: list[_Flight] = []  # a heap
        self._now, self._flights = 0.0, 0  # when the last epoch should have been over; how many there were
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="tunesmith-lanes")
        self._said: deque[LaneEvent] = deque()

    # -- what goes in and out --------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more trials it would take now."""
        return self.lanes - len(self._all)

    def start(self, key: Hashable, evaluation: Evaluation) -> None:
        """Take in a trial."""
        self._begin(Lane(key, evaluation))

    def resume(self, key: Hashable, kept: Parked) -> None:
        """Take in again what :meth:`park` gave."""
        assert isinstance(kept, Lane)
        kept.key = key
        if kept.course.finished:
            self._begin(kept)
        else:
            self._enter(kept)

    def park(self, key: Hashable) -> Parked:
        """Take a lane out, while its events are gone through or before its first epoch, never during one."""
        lane = self._all.pop(key)
        if key in self._home:
            self._take_out(lane)
        elif lane in self._waiting.get(lane.bucket, ()):
            self._waiting[lane.bucket].remove(lane)
        return lane

    def drop(self, key: Hashable) -> None:
        """Forget a lane, at any time; an epoch of it that is being computed counts for nothing."""
        if key not in self._all:
            return
        if key in self._home and self._home[key].busy:
            del self._all[key]  # it leaves its block when the epoch is over
        else:
            self.park(key).close()

    def stop(self) -> None:
        """Let epochs that are being computed end early, with an error; may be called from any thread."""
        for flight in list(self._flying):
            flight.block.abandon()

    def close(self) -> None:
        """End; what is still in work is lost."""
        self.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._all.clear()
        self._blocks.clear()
        self._home.clear()

    def _begin(self, lane: Lane) -> None:
        self._all[lane.key] = lane
        for event in self._go_on(lane):
            self._said.append(event)

    def _enter(self, lane: Lane) -> None:
        self._all[lane.key] = lane
        self._waiting.setdefault(lane.bucket, deque()).append(lane)

    # -- work ------------------------------------------------------------------------------------------------------

    def step(self) -> Iterable[LaneEvent]:
        """Wait for an epoch in work and tell what it gave; each lane's events come in their order.

        Lanes that are parked or dropped while these events are gone through have no more of them.
        """
        if not self._said:
            self._arrange()
        if self._flying and not self._said:
            flight = self._flying[0]  # it stays there while it is waited for, so that stop() reaches it
            block, self._now = flight.block, flight.over
            try:
                outcomes = flight.future.result()
            except Abandoned:
                return
            except Exception as error:
                self._landed(flight)
                self._failed(flight.bucket, block, error)
                outcomes = []
            else:
                self._landed(flight)
            for outcome in outcomes:
                yield from self._heard(outcome)
        while self._said:
            event = self._said.popleft()
            if event.item is None:
                self._all.pop(event.key, None)
            yield event

    def _landed(self, flight: _Flight) -> None:
        self._flying.remove(flight)
        heapq.heapify(self._flying)
        flight.block.busy = False

    def _heard(self, outcome: Outcome) -> Iterable[LaneEvent]:
        lane = outcome.lane
        if self._all.get(lane.key) is not lane:  # dropped meanwhile
            self._take_out(lane)
            lane.close()
            return
        if outcome.metrics is None:
            self._take_out(lane)
            del self._all[lane.key]
            yield self._failure(lane, outcome.error)
            return
        if lane.course.finished:
            self._take_out(lane)
            lane.finish()
        try:
            item = lane.evaluation.observe(outcome.metrics, lane.course)
        except Exception as error:
            self.drop(lane.key)
            yield self._failure(lane, error)
            return
        if item is not None:
            yield LaneEvent(lane.key, item=item)
        if lane.course.finished and self._all.get(lane.key) is lane:  # or it was stopped by what it reported
            del self._all[lane.key]
            yield from self._go_on(lane)

    def _go_on(self, lane: Lane) -> Iterable[LaneEvent]:
        """A training has ended: the trial's next one, or its end."""
        try:
            more = lane.next_job()
        except Exception as error:
            yield self._failure(lane, error)
            return
        if more:
            self._enter(lane)
        else:
            yield lane.end()

    def _take_out(self, lane: Lane) -> None:
        self._home.pop(lane.key).remove(lane)

    def _failure(self, lane: Lane, error: Exception | None) -> LaneEvent:
        """What the evaluation makes of an error, as it would alone: a value with a reason, or the error itself."""
        assert error is not None
        reason = lane.evaluation.fail_reason(error)
        if reason is None:
            return lane.end(error)
        attributes = (("fail_reason", reason), *lane.evaluation.attributes.items())
        return LaneEvent(lane.key, value=float("nan"), attributes=attributes, seconds=lane.seconds)

    def _failed(self, bucket: Bucket, block: Block, error: Exception) -> None:
        """A stack could not be computed: two of half its width can perhaps; a lane that fails alone has the error.

        So too little memory means fewer lanes, and a network that raises takes nobody with it.
        """
        lanes = block.held
        self._blocks[bucket].remove(block)
        block.lanes = []
        if isinstance(error, torch.OutOfMemoryError) and torch.cuda.is_available():
            torch.cuda.empty_cache()
        for lane in lanes:
            del self._home[lane.key]
            if self._all.get(lane.key) is not lane:
                lane.close()
            elif len(lanes) == 1 and not lane.alone and lane.course.epochs_done == 0:
                lane.alone = True
                self._waiting.setdefault(bucket, deque()).appendleft(lane)
            elif len(lanes) == 1:
                self._said.append(self._failure(lane, error))
            else:
                lane.most = max(1, len(lanes) // 2)
                self._waiting.setdefault(bucket, deque()).appendleft(lane)
        if len(lanes) > 1:
            _logger.warning("A stack of %d lanes failed (%s); it is halved.", len(lanes), _short(error))

    # -- which lanes go where --------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Fill what is idle, make blocks for what is left, and hand out the next epochs."""
        for bucket in list(self._blocks):
            self._settle(bucket)
        for bucket in [b for b, lanes in self._waiting.items() if lanes]:
            self._place(bucket)
        for bucket, blocks in self._blocks.items():
            for block in blocks:
                if not block.busy and block.held:
                    block.busy = True
                    self._flights += 1
                    over = self._now + bucket.cost * block.capacity**0.5
                    future = self._threads.submit(block.epoch)
                    heapq.heappush(self._flying, _Flight(over, self._flights, bucket, block, future))

    def _settle(self, bucket: Bucket) -> None:
        """Idle blocks are dissolved when their lanes would be faster in others: too empty, or too narrow."""
        blocks = self._blocks[bucket]
        waiting = self._waiting.get(bucket, ())
        for block in [b for b in blocks if not b.busy]:
            others = sum(b.capacity - len(b.held) for b in blocks if b is not block)
            crowded = self._active() > self.workers
            fits = self.planner.width(bucket, len(block.held) + len(waiting))
            if not block.held or fits < block.capacity or (crowded and 0 < len(block.held) <= others):
                for lane in block.held:
                    block.remove(lane)
                    del self._home[lane.key]
                    self._waiting.setdefault(bucket, deque()).append(lane)
                blocks.remove(block)
        if not blocks:
            del self._blocks[bucket]

    def _place(self, bucket: Bucket) -> None:
        waiting = self._waiting[bucket]
        blocks = self._blocks.setdefault(bucket, [])
        for block in blocks:
            while (
                not block.busy
                and waiting
                and not waiting[0].alone
                and len(block.held) < min(block.capacity, _most(waiting[0]))
            ):
                self._put(waiting.popleft(), block)
        room = sum(b.capacity - len(b.held) for b in blocks if b.busy)
        for lane in [lane for lane in waiting if lane.alone]:
            waiting.remove(lane)
            blocks.append(SoloBlock())
            self._put(lane, blocks[-1])
        while waiting and (room < len(waiting) or self._active() < self.workers):
            free = max(1, self.workers - self._active())
            most = min(_most(lane) for lane in waiting)
            wanted = min(max(-(-len(waiting) // free), self.planner.least(waiting[0].job, bucket)), most)
            try:
                block = self.planner.block(waiting[0].job, bucket, wanted)
            except Exception as error:  # too little memory for so many, or for a stack at all
                _logger.warning("A stack of %d lanes cannot be made (%s); it is halved.", wanted, _short(error))
                for lane in waiting:
                    lane.most = max(1, wanted // 2)
                block = SoloBlock()
                if wanted > 1:
                    continue
            blocks.append(block)
            while waiting and len(block.held) < min(block.capacity, wanted):
                self._put(waiting.popleft(), block)
        if not blocks:
            del self._blocks[bucket]

    def _put(self, lane: Lane, block: Block) -> None:
        try:
            block.add(lane)
        except Exception as error:
            self._said.append(self._failure(lane, error))
        else:
            self._home[lane.key] = block

    def _active(self) -> int:
        return sum(bool(b.held) for blocks in self._blocks.values() for b in blocks)


def _most(lane: Lane) -> int:
    return lane.most if lane.most is not None else 1 << 30


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
