"""The tables: learning curves of 1,000 configurations on each of 12 tasks."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import names

#: The environment variable with the path of the file.
VARIABLE = "TUNESMITH_TASKSET"
#: What all tasks' names begin with.
PREFIX = "FixedTextRNNClassification_imdb_"
#: Epochs of a full training, and configurations of a table.
EPOCHS, CONFIGURATIONS = 50, 1000


@dataclass(frozen=True)
class Axis:
    """A hyperparameter, on a logarithmic scale.

    Attributes:
        name: of the parameter that methods are given.
        column: its name in the file.
        low, high: the range from which TaskSet drew it.
        complement: whether the parameter is one less the column (a momentum of .999 is .001).
    """

    name: str
    column: str
    low: float
    high: float
    complement: bool = False

    def unit(self, values: np.ndarray | float) -> np.ndarray:
        """Values of the parameter in the unit interval."""
        low, high = math.log(self.low), math.log(self.high)
        return np.clip((np.log(values) - low) / (high - low), 0.0, 1.0)


AXES = (
    Axis("learning_rate", "learning_rate", 1e-8, 1e1),
    Axis("one_minus_beta1", "beta1", 1e-4, 1.0, complement=True),
    Axis("one_minus_beta2", "beta2", 1e-6, 1.0, complement=True),
    Axis("epsilon", "epsilon", 1e-10, 1e3),
    Axis("l1", "l1", 1e-8, 1e1),
    Axis("l2", "l2", 1e-8, 1e1),
    Axis("linear_decay", "linear_decay", 1e-7, 1e-4),
    Axis("exponential_decay", "exponential_decay", 1e-6, 1e-3),
)

ALL = (
    "patch128_LSTM128_avg_bs64",
    "patch128_LSTM128_bs64",
    "patch128_LSTM128_embed128_bs64",
    "patch32_GRU128_bs128",
    "patch32_GRU64_avg_bs128",
    "patch32_IRNN64_relu_avg_bs128",
    "patch32_IRNN64_relu_last_bs128",
    "patch32_LSTM128_E128_bs128",
    "patch32_LSTM128_bs128",
    "patch32_VRNN128_tanh_bs128",
    "patch32_VRNN64_relu_avg_bs128",
    "patch32_VRNN64_tanh_avg_bs128",
)
#: In the order of their names the first, third, ... are for developing, the second, fourth, ... for confirming.
DEV, CONFIRM = ALL[::2], ALL[1::2]


@dataclass(frozen=True, eq=False)
class Table:
    """A task.

    Attributes:
        name: without what all names begin with.
        unit: (configurations, axes) in the unit cube.
        valid, test: (configurations, epochs) losses after each epoch; from the epoch on at which the validation loss is
            not finite, both are NaN.
    """

    name: str
    unit: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @functools.cached_property
    def least(self) -> np.ndarray:
        """(configurations,) the least validation loss over all epochs; infinite where there is none."""
        return np.where(np.isnan(self.valid), np.inf, self.valid).min(axis=1)

    @functools.cached_property
    def best(self) -> float:
        return float(self.least.min())

    @functools.cached_property
    def median(self) -> float:
        return float(np.median(self.least))

    @functools.cached_property
    def test_at_least(self) -> np.ndarray:
        """(configurations,) the test loss at the epoch with the least validation loss; infinite where there is none."""
        epoch = np.where(np.isnan(self.valid), np.inf, self.valid).argmin(axis=1)
        found = np.take_along_axis(self.test, epoch[:, None], axis=1)[:, 0]
        return np.where(np.isnan(found), np.inf, found)

    @functools.cached_property
    def test_best(self) -> float:
        return float(self.test_at_least.min())

    @functools.cached_property
    def test_median(self) -> float:
        return float(np.median(self.test_at_least))


class Draw:
    """The configurations that one run has used: a proposal is answered by the nearest one that it has not."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: dict[int, int] = {}  # by trial
        self._free = np.ones(len(table.unit), bool)

    def take(self, number: int, params: Mapping[str, float]) -> int:
        """The row for trial ``number``: the nearest in the unit cube (of equally near ones the first).

        Raises:
            IndexError: all are used.
        """
        if not self._free.any():
            raise IndexError(f"All {len(self._free)} configurations of {self.table.name} are used.")
        point = np.array([axis.unit(params[axis.name]) for axis in AXES])
        distance = ((self.table.unit - point) ** 2).sum(axis=1)
        row = int(np.where(self._free, distance, np.inf).argmin())
        self._free[row] = False
        self.rows[number] = row
        return row

    def curve(self, row: int, after: int = 0, until: int | None = None) -> Iterator[tuple[int, float]]:
        """(epoch, validation loss) of the epochs ``after + 1`` to ``until`` (the last); a NaN is the last of a run."""
        for epoch, loss in enumerate(self.table.valid[row, after:until].tolist(), after + 1):
            yield epoch, loss
            if math.isnan(loss):
                return


@functools.lru_cache(maxsize=len(ALL))
def load(name: str) -> Table:
    """A task by its short name, from the file that ``$TUNESMITH_TASKSET`` names."""
    path = os.environ.get(VARIABLE)
    if not path or not Path(path).is_file():
        raise SystemExit(f"Set {VARIABLE} (or --data) to the path of taskset_rnn_imdb.npz; it is {path!r}.")
    with np.load(path) as file:
        if name not in ALL:
            raise SystemExit(f"No task is called {name!r}; there are {', '.join(ALL)}.")
        columns = file["hp_names"].tolist()
        values = file["hp_" + PREFIX + name]
        curves = file["curves_" + PREFIX + name].astype(float)
    return make(name, {column: values[:, i] for i, column in enumerate(columns)}, curves[1], curves[2])


def make(name: str, columns: Mapping[str, np.ndarray], valid: np.ndarray, test: np.ndarray) -> Table:
    """A table from arrays of the file; the first point of a curve, from before the training, is left out."""
    unit = np.stack(
        [axis.unit(1.0 - columns[axis.column] if axis.complement else columns[axis.column]) for axis in AXES], axis=1
    )
    diverged = np.logical_or.accumulate(~np.isfinite(valid[:, 1:]), axis=1)
    return Table(name, unit, np.where(diverged, np.nan, valid[:, 1:]), np.where(diverged, np.nan, test[:, 1:]))


def choose(text: str) -> tuple[str, ...]:
    """``"dev"``, ``"confirm"``, ``"all"``, or, with commas between them, names and parts that names have in common."""
    return names.choose(text, "task", ALL, DEV, CONFIRM)
