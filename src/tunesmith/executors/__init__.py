"""Who evaluates, one way a file. An executor takes trials from a study and tells it what becomes of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tunesmith.executors._base import BaseExecutor, Host, Work
from tunesmith.executors.inline import InlineExecutor
from tunesmith.executors.lanes import LaneExecutor
from tunesmith.executors.simulator import Heard, SimulatorExecutor
from tunesmith.executors.threads import ThreadExecutor

if TYPE_CHECKING:
    from tunesmith.executors.processes import ProcessExecutor
    from tunesmith.executors.ray import RayExecutor

#: Loaded when first used: they need what a study in one process does not.
_LATER = {"ProcessExecutor": "processes", "RayExecutor": "ray"}

__all__ = [
    "BaseExecutor", "Heard", "Host", "InlineExecutor", "LaneExecutor", "ProcessExecutor", "RayExecutor",
    "SimulatorExecutor", "ThreadExecutor", "Work",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return value
