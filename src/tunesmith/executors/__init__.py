"""Who evaluates, one way a file. An executor takes trials from a study and tells it what becomes of them."""

from tunesmith.executors._base import BaseExecutor, Host, Work
from tunesmith.executors.inline import InlineExecutor
from tunesmith.executors.lanes import LaneExecutor
from tunesmith.executors.simulator import Heard, SimulatorExecutor
from tunesmith.executors.threads import ThreadExecutor

__all__ = [
    "BaseExecutor", "Heard", "Host", "InlineExecutor", "LaneExecutor", "SimulatorExecutor", "ThreadExecutor", "Work",
]  # fmt: skip
