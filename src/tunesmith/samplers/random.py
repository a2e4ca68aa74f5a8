"""Random search.

Bergstra, J. and Bengio, Y. (2012): Random Search for Hyper-Parameter Optimization. JMLR 13, 281-305.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tunesmith.history import History
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.space import Space


@dataclass(frozen=True)
class RandomSampler(BaseSampler):
    """Uniform draws from the unit cube, each parameter on its own scale.

    Draws are independent as long as a parameter is continuous. Where all values are countable they are without
    replacement: what was tried, or is pending, is not drawn again while something else is left.

    Args:
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
    """

    singly: ClassVar[bool] = True

    seed: int | None = None

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        unit = rng.random((n, len(space)))
        novel = Novel(space, history)
        if novel.possible:
            unit = np.array([novel.new(row[None], rng) for row in unit])
        return [Proposal(space.to_params(row)) for row in space.decode(unit)]
