"""The contract of a search method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tunesmith._plugins import component_spec
from tunesmith.distributions import BaseDistribution
from tunesmith.history import History
from tunesmith.space import Space


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed configuration.

    Attributes:
        params: name -> value, for every name of the space (those whose condition turns out false may be left out, and
            are dropped by the study) and for any other name the method knows (a grid's axes before the objective has
            named them).
        tags: bookkeeping that comes back as ``history.tag(name)`` and in ``OpenRow.tags``: numbers or lists of
            numbers. Names start with the method's own prefix (``"pso.v"``).
    """

    params: dict[str, Any]
    tags: Mapping[str, Any] = field(default_factory=dict)


class BaseSampler(ABC):
    """A search method: a pure function of the history.

    A sampler is a frozen dataclass: its fields are its arguments, and they are written to the log (so they must be
    JSON-able, or left out through ``spec``). It keeps nothing between calls but caches that may be dropped at any time.

    Attributes:
        aliases: short names for ``create_study(sampler="...")``, with the arguments they stand for.
        singly: whether proposals look at no result, only at which configurations there are already, so that a batch is
            asked for one by one, each with its own trial's generator and the ones before it as running trials. Trial
            k is then the same in whatever batch it comes.
        by_level: whether the method learns from trials that are paused, too, and so is shown a history in which they
            are finished (:mod:`tunesmith.levels`). Where its state is in its own proposals, or in their order, it is
            better off with those that ended.
    """

    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    singly: ClassVar[bool] = False
    by_level: ClassVar[bool] = False

    @abstractmethod
    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        """Up to ``n`` configurations to evaluate next; fewer means the method has nothing left to propose.

        Args:
            space: the parameters known so far (may be empty before the first trial of a define-by-run objective).
            history: finished trials as columns, pending ones in ``history.running``.
            rng: the generator of the trial that will be made (of the first one, if ``n > 1``); the only source of
                randomness besides ``history.seed``.
            n: how many.
        """

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Values for the names of ``space`` that an enqueued configuration leaves open.

        By default those of a joint proposal. Where that is a step of the method (it has tags), which a changed
        configuration cannot be, they are drawn independently instead, or every trial that is enqueued before the
        method's next step would get the same ones.

        Args:
            given: name -> value, what the user asked for.
            space, history, rng: as for :meth:`propose`.
        """
        proposals = self.propose(space, history, rng, 1)
        if proposals and not proposals[0].tags:
            return {name: value for name, value in proposals[0].params.items() if name not in given}
        return self.filled(given, space, rng)

    @staticmethod
    def filled(given: Mapping[str, Any], space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """For :meth:`complete`: independent draws for the names of ``space`` that are not given."""
        row = space.decode(rng.random((1, len(space))))[0]
        return {name: value for name, value in space.to_params(row).items() if name not in given}

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        """A value for a parameter that ``propose`` could not know yet; uniform on the parameter's scale."""
        space = Space({name: distribution})
        return space.to_params(space.decode(rng.random((1, 1)))[0])[name]

    @property
    def finite(self) -> bool:
        """Whether the method ends by itself, having proposed all it can, each once."""
        return False

    @property
    def deterministic(self) -> bool:
        """Whether the seed has no influence on what is proposed for a declared space."""
        return False

    @property
    def may_repeat(self) -> bool:
        """Whether the same configuration may come twice in a continuous space."""
        return False

    @property
    def with_replacement(self) -> bool:
        """Whether, where all values are countable, what was tried may come again while something else is left."""
        return False

    @property
    def uses_budget(self) -> bool:
        """Whether proposals depend on ``history.budget``, so that another budget makes another search."""
        return False

    @property
    def study_seed(self) -> int | None:
        """The seed a study made with this sampler gets, or ``None`` for a fresh one."""
        return getattr(self, "seed", None)

    def spec(self) -> dict[str, Any]:
        """What the log keeps: ``{"name": class name, "args": fields or None when they are not JSON-able}``."""
        return component_spec(self)
