"""What belongs to trials and is no event: the states that :meth:`Trial.save <tunesmith.trial.Trial.save>` writes."""

from tunesmith.artifacts.packing import StateDamagedError, pack, unpack
from tunesmith.artifacts.places import FolderStates, MemoryStates, StateKey, States, states_of

__all__ = [
    "FolderStates", "MemoryStates", "StateDamagedError", "StateKey", "States", "pack", "states_of", "unpack",
]  # fmt: skip
