"""Random search.

Bergstra, J. and Bengio, Y. (2012): Random Search for Hyper-Parameter Optimization. JMLR 13, 281-305.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.space import Space


@dataclass(frozen=True)
class RandomSampler(BaseSampler):
    """Independent uniform draws from the unit cube, each parameter on its own scale.

    Args:
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
    """

    singly: ClassVar[bool] = True

    seed: int | None = None

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        raw = space.decode(rng.random((n, len(space))))
        return [Proposal(space.to_params(row)) for row in raw]
