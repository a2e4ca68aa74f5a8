"""The rule that never stops anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunesmith.history import History, OpenRow
from tunesmith.pruners._base import BasePruner, Verdict


@dataclass(frozen=True)
class NopPruner(BasePruner):
    """Every trial runs to its end."""

    aliases: ClassVar = {"none": {}}

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO
