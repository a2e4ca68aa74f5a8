"""Turning a sampler's proposal into the fields of an ``ask`` event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith import events as ev
from tunesmith import logging
from tunesmith.curves import STEP
from tunesmith.distributions import BaseDistribution, choice_to_json
from tunesmith.exceptions import SearchSpaceExhaustedError
from tunesmith.fold import Fold
from tunesmith.history import History, OpenRow
from tunesmith.levels import MODEL_FREE, levelled
from tunesmith.numerics.streams import stream
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.samplers.random import RandomSampler
from tunesmith.space import Space
from tunesmith.trial._state import TrialState

_logger = logging.get_logger("tunesmith.study")

#: What a claimed trial starts with: values and distributions of its joint proposal.
Given = tuple[dict[str, Any], Mapping[str, BaseDistribution]]


class Proposer:
    """Asks the sampler and writes down what it says.

    Args:
        sampler: the search method.
        declared: the space given at ``create_study``, or ``None`` when it grows with the names the objective uses.

    Attributes:
        resource: what the stopping rule counts budgets in.
    """

    def __init__(self, sampler: BaseSampler, declared: Space | None) -> None:
        self.sampler = sampler
        self.declared = declared
        self.resource = STEP
        self._grown = Space()
        self._grown_at = (0, -1)

    def fill(
        self,
        event: ev.Event,
        fold: Fold,
        given: Mapping[str, Any] | None,
        fixed: Space | None,
        tags: Mapping[str, Any] | None,
        proposal: Proposal,
    ) -> tuple[list[ev.Event], Given]:
        """Add the proposal's fields to ``event``; return the events that must stand before it, and what was proposed.

        Args:
            event: the ``ask`` of a trial.
            fold: the state it is made from.
            given: the configuration, or a part of it, if somebody else than the sampler has chosen it.
            fixed: the space, if it is not the study's.
            tags: the scheduler's.
            proposal: of :meth:`ask`; without meaning where something is given: what that leaves open is asked for here.
        """
        space = fixed if fixed is not None else self.space(fold)
        if given is not None:
            proposal = self._complete(given, space, fold, event["n"])
        given = given or {}
        params = {**proposal.params, **given} if given else proposal.params
        before: list[ev.Event] = []
        active = self._active(space, params, given)
        if active:
            if space.id not in fold.spaces:
                before.append(ev.space_event(space))
                fold.register(space)
            event["s"] = space.id
            event["p"] = space.to_event(active)
            if given:  # 3.0 for an integer parameter is 3 from here on
                known = zip(space.names, space.from_event(event["p"]), strict=True)
                active = {name: value for name, value in known if name in active}
        if len(active) < len(params):
            # a value whose distribution is not known yet, or outside it, is judged when the objective asks for it
            outside = {n: v for n, v in params.items() if n not in active and (n in given or n not in space)}
            if outside:
                event["f"] = {n: choice_to_json(v) for n, v in outside.items()}
        if tags or proposal.tags:
            event["g"] = ev.tags_to_json({**(tags or {}), **proposal.tags})
        whole = len(active) == len(space)
        return before, (active, space.distributions if whole else {n: space[n] for n in active})

    def _complete(self, given: Mapping[str, Any], space: Space, fold: Fold, number: int) -> Proposal:
        """What a given configuration leaves open; nothing if it is an impossible one, which the objective tells."""
        if all(name in given for name in space):
            return Proposal({})
        try:
            rng = stream(fold.meta["seed"], number)
            return Proposal(self.sampler.complete(given, space, self._seen(fold), rng))
        except (ValueError, TypeError, OverflowError) as error:
            _logger.warning("Trial %d: %r cannot complete the given %r: %s", number, self.sampler, given, error)
            return Proposal({})

    def ask(self, fold: Fold, numbers: Sequence[int], fixed: Space | None) -> list[Proposal]:
        """Proposals for new trials with these numbers; fewer when the sampler has no more.

        They are one joint question to the sampler, with the generator of the first trial; a sampler that looks at no
        results is asked for each with the generator of its own, the ones before it running, so that trial k is the
        same in whatever batch it comes. While a method learns from paused trials, some are drawn at random
        (``MODEL_FREE``).
        """
        space = fixed if fixed is not None else self.space(fold)
        seed, history = fold.meta["seed"], self._seen(fold)
        if history is fold.history():
            return self._of_sampler(space, history, seed, numbers)
        free = {number for number in numbers if stream(seed, number, "model-free").random() < MODEL_FREE}
        others = [number for number in numbers if number not in free]
        proposals = iter(self._of_sampler(space, history, seed, others) if others else [])
        found: list[Proposal] = []
        for number in numbers:
            if number in free:
                found += RandomSampler().propose(space, history, stream(seed, number), 1)
            elif (proposal := next(proposals, None)) is not None:
                found.append(proposal)
            else:
                break
        return found

    def _of_sampler(self, space: Space, history: History, seed: int, numbers: Sequence[int]) -> list[Proposal]:
        if len(numbers) == 1 or not self.sampler.singly:
            return self.sampler.propose(space, history, stream(seed, numbers[0]), len(numbers))[: len(numbers)]
        found: list[Proposal] = []
        for number in numbers:
            proposals = self.sampler.propose(space, history, stream(seed, number), 1)
            found += proposals
            expected = [OpenRow(number, TrialState.RUNNING, p.params, tags=p.tags) for p in proposals]
            history = history.expecting(expected)
        return found

    def exhausted(self) -> SearchSpaceExhaustedError:
        """The sampler has nothing left to propose."""
        return SearchSpaceExhaustedError(
            f"{self.sampler!r} has proposed every configuration it can; stop here, or widen the space."
        )

    def _seen(self, fold: Fold) -> History:
        """What the sampler is shown."""
        return levelled(fold.history(), self.resource) if self.sampler.by_level else fold.history()

    @staticmethod
    def _active(space: Space, params: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of ``space`` that are active and whose values fit."""
        if not given and not space.conditions and params.keys() == space.distributions.keys():
            return params
        try:
            active = space.active({n: v for n, v in params.items() if n in space})
        except (ValueError, TypeError):
            if not given:
                raise
            return {}  # a condition cannot be evaluated; every value is judged when the objective asks for it
        return {n: v for n, v in active.items() if n not in given or space[n].contains(v)}

    def space(self, fold: Fold) -> Space:
        """The declared space, or the one that grew from all names seen so far (with their latest distributions)."""
        if self.declared is not None:
            return self.declared
        if self._grown_at != (id(fold), fold.table.shape):
            self._grown, self._grown_at = Space(fold.distributions), (id(fold), fold.table.shape)
        return self._grown
