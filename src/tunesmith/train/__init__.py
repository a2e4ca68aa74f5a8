"""Deep learning: data sets, model families, one readable training loop, and the problem that joins them.

Names are resolved when first used; what needs torch says so when torch is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import MissingDependencyError

if TYPE_CHECKING:
    from tunesmith.train.dataset import Dataset, datasets, load_dataset
    from tunesmith.train.errors import DataDamagedError, DataNotFoundError, TrainingDivergedError
    from tunesmith.train.hyperparameters import Hyperparameters
    from tunesmith.train.model_families import build_model, models
    from tunesmith.train.network_summary import ModelSummary, summary
    from tunesmith.train.problem import Problem
    from tunesmith.train.splitting import Split, split

_HOME = {
    "Dataset": "dataset", "datasets": "dataset", "load_dataset": "dataset", "DataDamagedError": "errors",
    "DataNotFoundError": "errors", "TrainingDivergedError": "errors", "Hyperparameters": "hyperparameters",
    "build_model": "model_families", "models": "model_families", "ModelSummary": "network_summary",
    "summary": "network_summary", "Problem": "problem", "Split": "splitting", "split": "splitting",
}  # fmt: skip

__all__ = [
    "DataDamagedError", "DataNotFoundError", "Dataset", "Hyperparameters", "ModelSummary", "Problem", "Split",
    "TrainingDivergedError", "build_model", "datasets", "load_dataset", "models", "split", "summary",
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
