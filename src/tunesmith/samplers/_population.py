"""What evolutionary methods have in common: chromosomes of trials, and which configurations were tried."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tunesmith.distributions import CategoricalDistribution
from tunesmith.history import History
from tunesmith.numerics.low_discrepancy import MAX_SOBOL_DIMENSION, points
from tunesmith.numerics.variation import Genome
from tunesmith.samplers._base import Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.space import FloatArray, Space
from tunesmith.trial import TrialState

#: How often a child that is a known configuration is mutated once more.
REDRAWS = 16


class Chromosomes:
    """How the configurations of a space are written as chromosomes: rows of the unit cube, one gene a parameter.

    A choice's gene is the middle of its bin. Genes of parameters whose condition does not hold are carried on, unused,
    in the tag ``<prefix>.x`` of their trial; without it (an enqueued trial) they are unknown: NaN.

    Attributes:
        genome: what the genes are.
        varied: (d,) genes of parameters with more than one value.
        id: the space as a number.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        columns = space.columns
        kin: dict[str, int] = {}
        labels = [kin.setdefault(repr(d), len(kin)) for d in space.values()]
        choices = [len(d.choices) if isinstance(d, CategoricalDistribution) else 0 for d in space.values()]
        self.genome = Genome(np.array(choices, np.int64), np.array(labels, np.int64))
        self.varied = (columns.high > columns.low) & (columns.levels != 1)
        self.id = int(space.id, 16)  # 48 bits: exact as a float
        self._conditional = bool(space.conditions)

    def read(self, history: History, prefix: str, first: int) -> FloatArray:
        """(n - first, d) chromosomes of the finished trials from row ``first`` on."""
        genes = history.encode(self.space)[first:]
        if self._conditional:
            kept = history.tag(f"{prefix}.x")
            if kept.ndim == 2 and kept.shape[1] >= len(self.space):
                latent = kept[first:, : len(self.space)]
                here = history.tag(f"{prefix}.s")[first:, None] == self.id
                genes = np.where(np.isnan(genes) & here, latent, genes)
        return genes

    def proposal(self, genes: FloatArray, raw: FloatArray, prefix: str) -> Proposal:
        """The configuration of a chromosome (``raw``: decoded), all parameters, active or not."""
        tags = {f"{prefix}.x": genes.tolist(), f"{prefix}.s": self.id} if self._conditional else {}
        return Proposal(self.space.to_params(raw), tags)

    def active(self, genes: FloatArray) -> NDArray[np.bool_]:
        """(d,) which genes are parameters whose condition holds."""
        if not self._conditional:
            return np.ones(len(genes), bool)
        params = self.space.active(self.space.to_params(self.space.decode(genes)))
        return np.array([name in params for name in self.space], bool)


@lru_cache(maxsize=16)
def chromosomes(space: Space) -> Chromosomes:
    """The one of a space; a cache."""
    return Chromosomes(space)


class _Keys:
    """Memo: what was tried."""

    def __init__(self, space: Space) -> None:
        self.space, self.n = space, 0
        self.found: set[bytes] = set()

    def extend(self, history: History) -> None:
        self.found.update(_keys(history.encode(self.space)[self.n :]))
        self.n = history.n


def _keys(unit: FloatArray) -> list[bytes]:
    """One a row of the unit cube, NaN where inactive: the same for the same configuration, however it was rounded."""
    return [row.tobytes() for row in np.round(unit, 12) + 0.0]


class Tried:
    """Which configurations a study has: finished, open, or proposed in this call. Unlike ``Novel`` it knows them in
    spaces with a continuum, too: there a child can be the copy of an earlier one where only a choice has changed.

    Args:
        space: what is searched.
        history: finished and open trials.
    """

    def __init__(self, space: Space, history: History) -> None:
        self.space, self._history = space, history
        self._novel = Novel(space, history) if (space.columns.levels > 0).all() else None
        self._open: set[bytes] = set()
        if history.open:
            fits = [{n: v for n, v in t.params.items() if n in space and space[n].contains(v)} for t in history.open]
            self._open.update(_keys(space.encode(np.array([space.from_params(space.active(p)) for p in fits]))))

    def fresh(
        self,
        genes: FloatArray,
        again: Callable[[FloatArray], FloatArray],
        rng: np.random.Generator,
        redraws: int = REDRAWS,
    ) -> tuple[FloatArray, FloatArray]:
        """The chromosome, or what ``again`` (applied as often as needed, at most ``redraws`` times) makes of it, or a
        random one: the first that was not tried, and its raw row. What is returned counts as tried."""
        with self._history.memo(("tried", self.space.id), lambda: _Keys(self.space)) as seen:
            child = genes
            for _ in range(1 + redraws):
                raw, key = self._decoded(child)
                if key not in seen.found and key not in self._open:
                    break
                child = again(child)
            else:
                unit = rng.random(len(genes)) if self._novel is None else self._novel.untried(rng)
                child = genes if unit is None else unit
                raw, key = self._decoded(child)
        self._open.add(key)
        if self._novel is not None:
            self._novel.add(child)
        return child, raw

    def _decoded(self, genes: FloatArray) -> tuple[FloatArray, bytes]:
        """The raw row of a chromosome, and its key."""
        raw = self.space.decode(genes)
        if not self.space.conditions:
            return raw, _keys(self.space.encode(raw[None]))[0]
        here = self.space.from_params(self.space.active(self.space.to_params(raw)))
        return raw, _keys(self.space.encode(here[None]))[0]


def first_points(space: Space, history: History, index: int, init: str, rng: np.random.Generator) -> FloatArray:
    """(d,) chromosome number ``index`` of those that are made before there are parents.

    Args:
        init: ``"sobol"``, a scrambled Sobol' sequence of the study's seed, or ``"random"``.
    """
    genome, d = chromosomes(space).genome, len(space)
    if init == "sobol" and d <= MAX_SOBOL_DIMENSION:
        scramble = int(
            np.random.SeedSequence([history.seed, zlib.crc32(b"population")]).generate_state(1, np.uint64)[0]
        )
        return genome.snap(points("sobol", d, np.array([index]), scramble=True, seed=scramble)[0])
    return genome.draw(rng)


def usable(history: History, first: int) -> NDArray[np.int64]:
    """Rows from ``first`` on with a result: neither failed nor without a value."""
    lost = np.isnan(history.Y[first:]).any(axis=1) | (history.state[first:] == TrialState.FAIL)
    return first + np.flatnonzero(~lost)
