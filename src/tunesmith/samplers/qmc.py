"""Quasi-Monte Carlo search: the next unused point of a Sobol' or Halton sequence.

Sequences and scramblings: see :mod:`tunesmith.numerics.low_discrepancy`. On keeping the first point: Owen, A. B.
(2020): On dropping the first Sobol' point. arXiv:2008.08051. For hyperparameters: Bousquet, O. et al. (2017):
Critical hyper-parameters: no random, no cry. arXiv:1706.03200.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tunesmith import logging
from tunesmith._arguments import one_of
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError
from tunesmith.history import History
from tunesmith.numerics.low_discrepancy import KINDS, points
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._novel import Novel
from tunesmith.samplers._unused import first_unused, taken
from tunesmith.space import Space

_logger = logging.get_logger(__name__)
_TAG = "qmc.i"


@dataclass(frozen=True, kw_only=True)
class QMCSampler(BaseSampler):
    """Points that fill the unit cube more evenly than independent draws.

    The class speaks Optuna's language, so a plain ``QMCSampler()`` is an unscrambled Sobol' sequence, whose first point
    is the origin: every parameter at its lower end (a choice at its first). The short names ``"sobol"`` and
    ``"halton"`` are the *scrambled* sequences: scrambling makes that first point a uniform one, gives every repeat of
    an experiment another sequence, and lowers the error further, whereas dropping or shifting the first point would
    break the balance of the first 2**m (Owen 2020). ``"sobol-unscrambled"`` and ``"halton-unscrambled"`` are the
    plain ones.

    Every trial's index in the sequence is its tag ``qmc.i``; the next trial gets the smallest index that no finished,
    pending or interrupted trial has, so that nothing is repeated or left out by parallel workers or after a restart.
    When the space changes (the objective names a new parameter), the sequence of the new dimension goes on at the next
    unused index. The scrambling depends on the study's seed alone. A choice of k owns k equal parts of its coordinate,
    so it is spread as evenly as the numbers are.

    Where all values are countable, a point whose configuration was tried already, or is pending, is replaced by a
    random one that was not, while there is one.

    Args:
        qmc_type: ``"sobol"`` (at most 21,201 parameters) or ``"halton"`` (for many parameters its first points line up;
            scramble it).
        scramble: randomise the sequence by the study's seed.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).
        independent_sampler: draws a parameter that is met for the first time in a trial; uniform by default.
        warn_asynchronous_seeding: accepted for Optuna's sake; all workers share the study's seed, so there is nothing
            to warn of.
        warn_independent_sampling: warn when a later trial meets a new parameter.

    Raises:
        InvalidValueError: unknown ``qmc_type``.
    """

    qmc_type: str = "sobol"
    scramble: bool = False
    seed: int | None = None
    independent_sampler: BaseSampler | None = None
    warn_asynchronous_seeding: bool = True
    warn_independent_sampling: bool = True

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sobol": {"qmc_type": "sobol", "scramble": True},
        "halton": {"qmc_type": "halton", "scramble": True},
        "sobol-unscrambled": {"qmc_type": "sobol"},
        "halton-unscrambled": {"qmc_type": "halton"},
    }

    def __post_init__(self) -> None:
        one_of("qmc_type", self.qmc_type, KINDS)
        if isinstance(self.independent_sampler, Mapping):  # as it stands in a log
            from tunesmith.samplers import from_spec

            object.__setattr__(self, "independent_sampler", from_spec(self.independent_sampler))
        elif not isinstance(self.independent_sampler, (BaseSampler, type(None))):
            raise InvalidTypeError(f"`independent_sampler` must be a sampler, but is {self.independent_sampler!r}.")

    @property
    def deterministic(self) -> bool:
        """Whether the seed has no influence on what is proposed for a declared space."""
        return not self.scramble

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        if not len(space):
            return [Proposal({})] * n
        index = first_unused(taken(history, _TAG), n)
        seed = int(np.random.SeedSequence([history.seed, zlib.crc32(b"qmc")]).generate_state(1, np.uint64)[0])
        unit = points(self.qmc_type, len(space), index, scramble=self.scramble, seed=seed)
        novel = Novel(space, history)
        if novel.possible:
            unit = np.array([novel.new(row[None], rng) for row in unit])
        rows = space.decode(unit)
        return [Proposal(space.to_params(row), {_TAG: i}) for row, i in zip(rows, index.tolist(), strict=True)]

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        if self.warn_independent_sampling and history.n:
            _logger.warning(
                "The parameter %r is new, so it is drawn independently here, not from the %s sequence. "
                "Declare the space (create_study(space=...)) to have it in the sequence from the start.",
                name,
                self.qmc_type,
            )
        if self.independent_sampler is not None:
            return self.independent_sampler.independent(name, distribution, history, rng)
        return super().independent(name, distribution, history, rng)

    def spec(self) -> dict[str, Any]:
        fields = super().spec()
        if self.independent_sampler is not None:
            plain = QMCSampler(**{**self.__dict__, "independent_sampler": None}).spec()
            inner = self.independent_sampler.spec()
            args = None if inner["args"] is None else {**plain["args"], "independent_sampler": inner}
            return {"name": fields["name"], "args": args}
        return fields
