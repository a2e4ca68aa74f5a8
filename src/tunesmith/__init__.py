"""tunesmith: hyperparameter search for neural networks.

``import tunesmith as optuna`` runs an Optuna script; what is added is described in the documentation. Names are
resolved when first used, so that importing the package costs no more than importing NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tunesmith._version import __version__

if TYPE_CHECKING:
    from tunesmith.distributions import Categorical, Float, Int
    from tunesmith.exceptions import TrialPruned
    from tunesmith.history import History
    from tunesmith.space import Space
    from tunesmith.study import (
        Study,
        copy_study,
        create_study,
        delete_study,
        export_study,
        get_all_study_names,
        get_all_study_summaries,
        import_study,
        load_study,
        minimize,
    )
    from tunesmith.trial import FrozenTrial, Trial, TrialState, create_trial

_HOME = {
    "Categorical": "distributions", "Float": "distributions", "Int": "distributions", "TrialPruned": "exceptions",
    "History": "history", "Space": "space", "Study": "study", "copy_study": "study", "create_study": "study",
    "delete_study": "study", "export_study": "study", "get_all_study_names": "study",
    "get_all_study_summaries": "study", "import_study": "study", "load_study": "study", "minimize": "study",
    "FrozenTrial": "trial", "Trial": "trial", "TrialState": "trial", "create_trial": "trial",
}  # fmt: skip
_MODULES = {
    "advice", "artifacts", "cli", "compare", "curves", "distributions", "events", "exceptions", "executors", "history",
    "integrations", "levels", "logging", "numerics", "pruners", "samplers", "space", "storages", "study", "terminator",
    "testing", "train", "trial",
}  # fmt: skip

#: Rooms of Optuna that are not there yet.
_NOT_YET = {"importance", "integration", "search_space", "visualization"}

__all__ = [
    "Categorical", "Float", "FrozenTrial", "History", "Int", "Space", "Study", "Trial", "TrialPruned", "TrialState",
    "__version__", "copy_study", "create_study", "create_trial", "delete_study", "export_study", "get_all_study_names",
    "get_all_study_summaries", "import_study", "load_study", "minimize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"tunesmith.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"tunesmith.{name}")
    elif name in _NOT_YET:
        raise AttributeError(f"tunesmith has no `{name}` yet; docs/optuna.md lists what there is.")
    else:
        raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
