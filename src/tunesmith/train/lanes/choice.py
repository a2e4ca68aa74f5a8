"""How lanes are computed: which engine is fastest for a network on this machine.

The answer is looked for once, by training a few steps with each, and kept in a file, because it decides the arithmetic:
two engines add the same numbers in different orders. It depends on the network, the batch and the machine, never on
how many lanes there are at the moment, so that a configuration's result does not either.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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

#: The engine that is no engine: one training after the other by the ordinary loop.
SOLO = "solo"
#: Trainings shorter than this many steps are not worth a measurement; the first engine that can is taken.
_WORTH_STEPS = 200
#: Steps that are timed: enough for so many seconds, within bounds; and how often.
_LONG, _FEWEST, _MOST, _ROUNDS = 0.1, 2, 50, 3


class Planner:
    """Chooses an engine for each bucket, and makes its blocks.

    Args:
        kinds: the engines to choose from, the best guess first.
        stacked: whether lanes are worth while at all: False when the problem's configurations hardly ever share a
            bucket; then every training is alone.
        memory: where choices are kept: a file, or None for this object only.
        epochs: of the longest training there may be; short ones are not worth a measurement.
    """

    def __init__(
        self, kinds: Sequence[Kind], *, stacked: bool = True, memory: Path | None = None, epochs: int = 1
    ) -> None:
        self._engines, self.stacked, self._memory, self.epochs = list(kinds), stacked, memory, epochs
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

    def block(self, job: Job, bucket: Bucket, lanes: int) -> Block:
        """A block for at most so many lanes (or for as many as the engine holds)."""
        kind = self.kind(job, bucket)
        if kind is None:
            return SoloBlock()
        engine = kind.make(job, kind.width(lanes))
        return StackBlock(engine, kind.update(engine))

    def most(self, job: Job) -> int:
        """How many lanes a block may have at most."""
        kind = self.kind(job, Bucket.of(job))
        return 1 if kind is None else kind.widest(job)

    def _choose(self, job: Job, bucket: Bucket) -> Kind | None:
        if not self.stacked or job.precision != "float32":
            return None
        able = [kind for kind in self._engines if not kind.refuses(job)]
        if not able:
            return None
        if self.epochs * -(-len(job.training) // job.hyperparameters.batch_size) < _WORTH_STEPS:
            return able[0] if able[0].sure else None
        name = self._remembered(job, bucket, able)
        return next((kind for kind in able if kind.name == name), None)

    def _remembered(self, job: Job, bucket: Bucket, able: list[Kind]) -> str:
        key = _key(bucket, able)
        known = _read(self._memory)
        if key not in known:
            times = measure(job, bucket, able)
            best = min(times, key=times.__getitem__)
            shown = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in times.items())
            _logger.info("Lanes: a step takes %s; %s is chosen.", shown, best)
            known = {**_read(self._memory), key: {"engine": best, "seconds": times}}
            _write(self._memory, known)
        return str(known[key]["engine"])


def measure(job: Job, bucket: Bucket, able: list[Kind]) -> dict[str, float]:
    """Seconds of a training step, per lane: alone, and with each engine in a full block.

    Nothing that counts is touched: the networks are copies, what is drawn is drawn by keys.
    """
    makers: dict[str, Callable[[], Block]] = {SOLO: SoloBlock}
    for kind in able:
        makers[kind.name] = lambda kind=kind: _full(kind, job)  # type: ignore[misc]
    found: dict[str, float] = {}
    for name, make in makers.items():
        try:
            found[name] = _seconds(make, job)
        except Exception as error:  # too little memory, for instance: then it is not this one
            _logger.info("Lanes: %s cannot be measured: %s: %s", name, type(error).__name__, error)
    return found or {SOLO: 0.0}


def _full(kind: Kind, job: Job) -> Block:
    engine = kind.make(job, kind.usual(job))
    return StackBlock(engine, kind.update(engine))


def _seconds(make: Callable[[], Block], job: Job) -> float:
    """Per step and lane: what a longer training takes more than one of a single step, each the least of several."""
    block, size = make(), job.hyperparameters.batch_size
    device = job.training.pool.images.device

    def least(steps: int, times: int) -> float:
        return min(_once(block, lambda: catalogue.shortened(job, steps * size), device) for _ in range(times))

    with working(device, job.threads):
        least(1, 1)
        one = least(1, _ROUNDS)
        more = min(max(_FEWEST, round(_LONG / one)), _MOST)
        return max((least(1 + more, _ROUNDS) - one) / more / block.capacity, 1e-9)


def _once(block: Block, job: Callable[[], Job], device: torch.device) -> float:
    for slot in range(block.capacity):
        block.add(catalogue.lane_of(job(), slot))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    outcomes = block.epoch()
    seconds = time.perf_counter() - begin
    for outcome in outcomes:
        block.remove(outcome.lane)
    return seconds


def _key(bucket: Bucket, able: list[Kind]) -> str:
    device = bucket.pool.images.device
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    shape = tuple(bucket.pool.images.shape[1:]), str(bucket.pool.images.dtype)
    parts = (
        __version__, torch.__version__, str(device), what, repr(bucket.form), shape, bucket.batch_size, bucket.loss,
        bucket.threads, [kind.name for kind in able],
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def memory_file() -> Path | None:
    """Where choices are kept: in the user's cache folder; ``TUNESMITH_LANES`` names another file, or "" for none."""
    named = os.environ.get("TUNESMITH_LANES")
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tunesmith" / "lanes.json"


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path | None, known: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(file.name, path)
    except OSError as error:
        _logger.info("The choice of how lanes are computed could not be kept in %s: %s", path, error)
