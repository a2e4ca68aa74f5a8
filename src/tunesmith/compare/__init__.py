"""Search methods against each other on one problem: repeats, paired statistics, tables a reader can trust.

from tunesmith.compare import compare
result = compare(problem, ["grid", "random", "sobol", "pso"], trials=25, repeats=10, out="comparison")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.compare.problem import FunctionProblem
    from tunesmith.compare.replays import Replay, replay
    from tunesmith.compare.result import ComparisonResult
    from tunesmith.compare.runner import Progress, compare

__all__ = ["ComparisonResult", "FunctionProblem", "Progress", "Replay", "compare", "replay"]

_WHERE = {
    "ComparisonResult": "tunesmith.compare.result",
    "FunctionProblem": "tunesmith.compare.problem",
    "Progress": "tunesmith.compare.runner",
    "Replay": "tunesmith.compare.replays",
    "compare": "tunesmith.compare.runner",
    "replay": "tunesmith.compare.replays",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
