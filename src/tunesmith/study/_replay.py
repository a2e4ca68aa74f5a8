"""Asking the sampler again for every proposal in a log: the same ones must come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith import events as ev
from tunesmith.exceptions import InvalidValueError, SearchSpaceExhaustedError
from tunesmith.fold import Fold
from tunesmith.pruners import from_spec as pruner_of
from tunesmith.samplers import BaseSampler
from tunesmith.samplers import from_spec as sampler_of
from tunesmith.space import Space
from tunesmith.storages._base import Record
from tunesmith.study._propose import Proposer

#: Fields of an ``ask`` event that say what was proposed.
_PROPOSED = ("s", "p", "f")


@dataclass(frozen=True)
class Replayed:
    """What came out when the samplers were asked again.

    Attributes:
        same: numbers of the trials whose proposals came out bit by bit.
        differing: those for which something else came out: a sampler that is no function of the history, other versions
            of the libraries, another machine's arithmetic.
        not_asked: those that no sampler has proposed alone (enqueued, added, or given by the stopping rule), or whose
            sampler is not known here.
    """

    same: tuple[int, ...]
    differing: tuple[int, ...]
    not_asked: tuple[int, ...]


@dataclass
class _Batch:
    """Proposals that were made by one question: the position it was asked at, who was asked, and the claims."""

    at: int
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    asks: list[ev.Event]


def replay(records: list[Record], declared: Space | None, sampler: BaseSampler | None = None) -> Replayed:
    """Ask again, in the order in which the questions were asked.

    Args:
        records: of the log, all of them.
        declared: the study's space, if it was given when the study was made.
        sampler: whom to ask, instead of those that the log names.
    """
    batches, spaces, numbers = _questions(records)
    fold, position = Fold(), 0
    same: list[int] = []
    differing: list[int] = []
    ask = _Asker(declared, sampler)
    for batch in sorted(batches, key=lambda b: b.at):
        for record in records[position : batch.at]:
            for event in record:
                fold.apply(event)
        position = max(position, batch.at)
        answers = ask(fold, batch, spaces)
        for event, answer in zip(batch.asks, answers, strict=True):
            if answer is not None:
                (same if _alike(event, answer) else differing).append(event["n"])
    rest = numbers - set(same) - set(differing)
    return Replayed(tuple(sorted(same)), tuple(sorted(differing)), tuple(sorted(rest)))


def _questions(records: list[Record]) -> tuple[list[_Batch], Mapping[str, Space], set[int]]:
    """The valid claims of new trials, the spaces, and the numbers of all trials."""
    fold = Fold()
    batches: list[_Batch] = []
    for record in records:
        batch: _Batch | None = None
        for event in record:
            valid = fold.apply(event)
            if event["e"] == "ask" and valid and event.get("a") == 0 and "at" in event and not event.get("gv"):
                if batch is None:
                    config = {**fold.config, **fold.configs.get(event["k"].partition(".")[0], {})}
                    batch = _Batch(event["at"], config.get("sampler", {}), config.get("pruner", {}), [])
                    batches.append(batch)
                batch.asks.append(event)
    return batches, fold.spaces, set(range(fold.n_trials))


class _Asker:
    """Answers the questions; one proposer for each sampler, so that its caches grow with the fold."""

    def __init__(self, declared: Space | None, sampler: BaseSampler | None) -> None:
        self._declared, self._sampler = declared, sampler
        self._proposers: dict[str, Proposer | None] = {}

    def __call__(self, fold: Fold, batch: _Batch, spaces: Mapping[str, Space]) -> list[ev.Event | None]:
        """An event with what is proposed now, for each of a batch; None where nobody can be asked."""
        proposer = self._proposer(batch)
        if proposer is None:
            return [None] * len(batch.asks)
        numbers = [event["n"] for event in batch.asks]
        wanted = {event["s"] for event in batch.asks if "s" in event} - {proposer.space(fold).id}
        fixed = spaces[wanted.pop()] if len(wanted) == 1 else None
        try:
            proposals = proposer.ask(fold, numbers, fixed)
        except SearchSpaceExhaustedError:
            proposals = []
        answers: list[ev.Event | None] = []
        for number, proposal in zip(numbers, proposals, strict=False):
            answer: ev.Event = {"n": number}
            proposer.fill(answer, fold, None, fixed, None, proposal)
            answers.append(answer)
        return answers + [{}] * (len(numbers) - len(answers))

    def _proposer(self, batch: _Batch) -> Proposer | None:
        key = json.dumps([batch.sampler, batch.pruner], sort_keys=True)
        if key not in self._proposers:
            self._proposers[key] = self._made(batch)
        return self._proposers[key]

    def _made(self, batch: _Batch) -> Proposer | None:
        sampler = self._sampler or _known(sampler_of, batch.sampler)
        if sampler is None:
            return None
        made = Proposer(sampler, self._declared)
        rule = _known(pruner_of, batch.pruner)
        if rule is not None:
            made.resource = rule.resource
        return made


def _known(make: Callable[[Mapping[str, Any]], Any], spec: Mapping[str, Any]) -> Any:
    try:
        return make(spec)
    except (InvalidValueError, KeyError):
        return None


def _alike(event: ev.Event, answer: ev.Event) -> bool:
    """Whether an ``ask`` says the same of its proposal; of the tags, some may be the stopping rule's."""
    tags = event.get("g", {})
    own = all(name in tags and tags[name] == value for name, value in answer.get("g", {}).items())
    return own and all(event.get(key) == answer.get(key) for key in _PROPOSED)
