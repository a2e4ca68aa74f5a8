"""The objective of one run: looks results up, keeps the trace and its own time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.efficiency.tables import Axis, Table


class Evaluation:
    """A table's noisy results as a function to minimise.

    Attributes:
        rows: configurations in the order in which they were evaluated.
        noisy: their results.
        seconds, cpu_seconds: spent in here (wall clock, this process's processors), so that they can be left out.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self.rows: list[int] = []
        self.noisy: list[float] = []
        self.seconds = self.cpu_seconds = 0.0
        self._visits: Counter[int] = Counter()

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.table.axes

    def __call__(self, params: Mapping[str, Any]) -> float:
        """The loss of a configuration: name -> index of an ordered axis, or choice of another."""
        wall, cpu = time.perf_counter(), time.process_time()
        row = self.table.row(params)
        loss = self.table.result(row, self.seed, self._visits[row])
        self._visits[row] += 1
        self.rows.append(row)
        self.noisy.append(loss)
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu
        return loss
