"""The engines to choose from."""

from __future__ import annotations

from tunesmith.train.lanes.catalogue import Kind


def kinds() -> list[Kind]:
    """The engines that this machine can use, the best guess first."""
    return []
