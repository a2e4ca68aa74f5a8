"""Deep learning: data sets, model families, one readable training loop, and the problem that joins them.

Names are resolved when first used; what needs torch says so when torch is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import MissingDependencyError

if TYPE_CHECKING:
    from tunesmith.train.dataset import Dataset, datasets, load_dataset
    from tunesmith.train.describing import describe_space
    from tunesmith.train.errors import (
        DataDamagedError,
        DataNotFoundError,
        InvalidArchitectureError,
        TrainingDivergedError,
    )
    from tunesmith.train.hyperparameters import Hyperparameters
    from tunesmith.train.model_families import build_model, family, models
    from tunesmith.train.network_summary import ModelSummary, summary
    from tunesmith.train.problem import Problem
    from tunesmith.train.saving import Trained, load
    from tunesmith.train.splitting import Split, k_fold, split

#: Module -> what it gives to the room.
_HOMES = {
    "dataset": ("Dataset", "datasets", "load_dataset"),
    "describing": ("describe_space",),
    "errors": ("DataDamagedError", "DataNotFoundError", "InvalidArchitectureError", "TrainingDivergedError"),
    "hyperparameters": ("Hyperparameters",),
    "model_families": ("build_model", "family", "models"),
    "network_summary": ("ModelSummary", "summary"),
    "problem": ("Problem",),
    "saving": ("Trained", "load"),
    "splitting": ("Split", "k_fold", "split"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DataDamagedError", "DataNotFoundError", "Dataset", "Hyperparameters", "InvalidArchitectureError", "ModelSummary",
    "Problem", "Split", "Trained", "TrainingDivergedError", "build_model", "datasets", "describe_space", "family",
    "k_fold", "load", "load_dataset", "models", "split", "summary",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tunesmith.train' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"tunesmith.train.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            f"tunesmith.train.{name} needs PyTorch, which is not installed: pip install 'tunesmith[train]'."
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
