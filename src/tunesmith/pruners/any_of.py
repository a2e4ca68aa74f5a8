"""Several rules at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict
from tunesmith.pruners._wrapped import Wrapper, all_resolved


@dataclass(frozen=True)
class AnyOfPruner(Wrapper):
    """Stop a trial if any of several rules stops it; else pause it if any pauses it.

    At most one of them may be a rule that decides which trial comes next (halving, a population); the others only
    stop.

    Args:
        pruners: instances or short names.
    """

    aliases: ClassVar = {"any-of": {}}
    _field: ClassVar = "pruners"
    pruners: Sequence[BasePruner | str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pruners", all_resolved("pruners", self.pruners))

    @property
    def invariant(self) -> bool:
        """Whether all rules are."""
        return all(getattr(rule, "invariant", False) for rule in self.inner)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        found = {rule.verdict(history, trial) for rule in self.inner}
        return next((v for v in (Verdict.STOP, Verdict.PAUSE) if v in found), Verdict.GO)
