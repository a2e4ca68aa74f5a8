"""Who evaluates, one way a file. An executor takes trials from a study and tells it what becomes of them."""

from tunesmith.executors._base import BaseExecutor, Host, Work
from tunesmith.executors.inline import InlineExecutor
from tunesmith.executors.lanes import LaneExecutor
from tunesmith.executors.threads import ThreadExecutor

__all__ = ["BaseExecutor", "Host", "InlineExecutor", "LaneExecutor", "ThreadExecutor", "Work"]
