"""Claiming trials, feeding them, and judging them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

from tunesmith import events as ev
from tunesmith.curves import SECONDS
from tunesmith.distributions import BaseDistribution, CategoricalDistribution, check_same_kind
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.streams import stream
from tunesmith.open_trials import OpenTrial
from tunesmith.pruners import BasePruner, Verdict
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.space import Space
from tunesmith.study._live_trials import LiveTrials
from tunesmith.study._log import StudyLog
from tunesmith.study._propose import Given, Proposer
from tunesmith.study._states import TrialStates
from tunesmith.trial import Trial, TrialState


class LostRaceError(Exception):
    """A claim was void because another worker's came first; decide again."""


class Session(LiveTrials):
    """What one process does to a study: it claims trials, and answers them as their ``TrialOwner``."""

    def __init__(
        self, log: StudyLog, sampler: BaseSampler, pruner: BasePruner, space: Space | None, states: TrialStates
    ) -> None:
        super().__init__(log, states)
        self.pruner = pruner
        self.proposer = Proposer(sampler, space)
        self._claims = 0
        self._announced: tuple[Any, ...] = ()
        self.study: Any = None  # for `trial.study`

    @property
    def sampler(self) -> BaseSampler:
        """The search method; may be replaced between trials."""
        return self.proposer.sampler

    @sampler.setter
    def sampler(self, sampler: BaseSampler) -> None:
        self.proposer = Proposer(sampler, self.proposer.declared)

    # -- claim --------------------------------------------------------------------------------------------------

    def claim(
        self,
        *,
        by_ask: bool,
        fixed: Space | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        state: tuple[int, int] | None = None,
        synced: bool = False,
        released: bool = False,
        n: int = 1,
    ) -> list[Trial]:
        """Claim waiting trials, or make new ones; proposals and claims are one append.

        Args:
            by_ask: made by ``study.ask()``: never released on its own.
            fixed: propose for this space instead of the study's.
            tags: the scheduler's tags.
            params: the configuration (or a part of it) of a new trial, instead of the sampler's or an enqueued one.
            state: with it: number and step of the trial whose state it begins with.
            synced: the caller has just read the log (and holds its lock).
            released: those to attempt again, and no others.
            n: how many at most. There may be fewer, at least one: the sampler has no more, other workers were faster.

        Raises:
            SearchSpaceExhaustedError: the sampler has nothing left to propose.
            LostRaceError: another worker was faster, and the caller's tags or choice may be out of date.
        """
        with self.log.lock:
            if not synced:
                self.log.sync()
            announced = self._identity()
            while True:
                before = [] if self._announced == announced else self._preamble()
                history = self.log.fold.history()
                new, asks = self._asks(announced[0], by_ask, fixed, tags, params, released, n)
                if state is not None:
                    self.states.begin_with(asks[0][0], *state)
                fates = self.log.append([*before, *new, *(event for event, _ in asks)])[-len(asks) :]
                self._announced = announced
                won = [ask for ask, fate in zip(asks, fates, strict=True) if fate]
                if won:
                    held = self.log.fold.open
                    return [self.take(held[event["n"]], by_ask, given, history) for event, given in won]
                if tags or released or params is not None:
                    raise LostRaceError

    def _asks(
        self,
        worker: str,
        by_ask: bool,
        fixed: Space | None,
        tags: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        released: bool,
        n: int,
    ) -> tuple[list[ev.Event], list[tuple[ev.Event, Given | None]]]:
        """The ``ask`` events of up to ``n`` trials with what they start with, and what must stand before them."""
        fold, position = self.log.fold, self.log.position
        self.proposer.resource = self.pruner.resource
        if params is None:
            numbers = fold.waiting(n, released=released)
            fresh = [] if released else list(range(fold.n_trials, fold.n_trials + n - len(numbers)))
            proposals = self.proposer.ask(fold, fresh, fixed) if fresh else []
            numbers += fresh[: len(proposals)]
        else:
            numbers, proposals = [fold.n_trials], []
        if not numbers:
            raise self.proposer.exhausted()
        before: list[ev.Event] = []
        asks: list[tuple[ev.Event, Given | None]] = []
        for number in numbers:
            self._claims += 1
            waiting = fold.open.get(number)
            event: ev.Event = {"e": "ask", "n": number, "k": f"{worker}.{self._claims}", "t": ev.now(), "at": position}
            # void if the trial is not what was seen here: enqueued meanwhile, or given back once more
            event["a"] = 0 if waiting is None else waiting.attempt + 1
            if by_ask:
                event["o"] = 1
            if waiting is not None and waiting.attempt:
                given: Given | None = None  # an earlier attempt's configuration stands, also if it has no names yet
                self.states.go_on(event, waiting.state_of)
            else:
                chosen = params if waiting is None else waiting.fixed
                proposal = Proposal({}) if chosen is not None else proposals[number - fold.n_trials]
                if params is not None:
                    event["gv"] = 1
                new, given = self.proposer.fill(event, fold, chosen, fixed, tags, proposal)
                before += [e for e in new if e not in before]
            asks.append((event, given))
        return before, asks

    def _identity(self) -> tuple[Any, ...]:
        """What stands before the first claim, and is written again when it has changed."""
        seconds = None if self.lease is None else self.lease.seconds
        return self.worker["w"], self.proposer.sampler, self.pruner, seconds

    def _preamble(self) -> list[ev.Event]:
        """Written before the first claim: who we are, and the sampler and pruner when they changed."""
        sampler, pruner = self.proposer.sampler.spec(), self.pruner.spec()
        config = {"e": "config", "sampler": sampler, "pruner": pruner, "w": self.worker["w"]}
        known = self.log.fold.configs.get(config["w"], self.log.fold.config)
        changed = any(known.get(k) != config[k] for k in ("sampler", "pruner"))
        worker = self.worker if self.lease is None else {**self.worker, "lease": self.lease.seconds}
        return [worker, *([config] if changed else [])]

    def take(self, held: OpenTrial, by_ask: bool, given: Given | None = None, history: History | None = None) -> Trial:
        """The live handle of a trial this process holds; ``given`` saves decoding what was just proposed.

        ``history`` is what late values are drawn from: that of the claim, so that the log can be replayed.
        """
        params, distributions = given if given is not None else self.log.fold.params(held.parts)
        trial = Trial(
            self, held.number, held.token or "", params, distributions, start=held.start, attempt=held.attempt,
            user_attrs=dict(held.user_attrs), enqueued=held.fixed,
        )  # fmt: skip
        trial._history = self.log.fold.history() if history is None else history
        if held.reports:  # told by number, added with reports, or attempted again from a later step
            trial._reported, trial._metrics = self.log.fold.reports(held)
            trial._last_step = max(trial._reported, default=0)
            trial._last_values = self._values_at(trial, trial._last_step)
            trial._computed = max(trial._metrics.get(SECONDS, {}).values(), default=0.0)
        self.states.hand_over(trial, held)
        trial.study = self.study
        self.live[held.number] = trial
        if by_ask:
            self._by_ask.add(held.number)
        else:
            self._flushed[held.number] = time.monotonic()
        return trial

    def _values_at(self, trial: Trial, step: int) -> list[float] | None:
        """What was reported of all objectives at a step, if it was."""
        others = (trial._metrics.get(f"values_{i}", {}) for i in range(1, len(self.log.fold.directions)))
        found = [values.get(step) for values in (trial._reported, *others)]
        return None if None in found else [v for v in found if v is not None]

    # -- a running trial (TrialOwner) ---------------------------------------------------------------------------

    def draw(self, trial: Trial, name: str, distribution: BaseDistribution) -> Any:
        """A value for a parameter that the joint proposal does not cover."""
        with self.log.lock:
            fold = self.log.fold
            if name in fold.distributions:
                check_same_kind(name, fold.distributions[name], distribution)
            for source in (trial._enqueued, trial._proposal):
                if name in source:
                    value = source[name]
                    if distribution.contains(value):
                        if isinstance(distribution, CategoricalDistribution):
                            return distribution.choices[int(distribution.to_internal_repr(value))]
                        return int(value) if distribution.kind == "int" else float(value)
                    if source is trial._enqueued:
                        return self._out_of_range(name, distribution, value)
            if distribution.single():
                low = getattr(distribution, "low", None)
                return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else low
            rng = stream(fold.meta["seed"], trial.number, name)
            return self.proposer.sampler.independent(name, distribution, trial._history, rng)

    def _out_of_range(self, name: str, distribution: BaseDistribution, value: Any) -> Any:
        internal = distribution.to_internal_repr(value)  # a ValueError for what is no value at all
        if isinstance(distribution, CategoricalDistribution):
            raise InvalidValueError(f"The enqueued value {value!r} of {name!r} is not among {distribution.choices!r}.")
        warnings.warn(f"The given value {value!r} of {name!r} is outside {distribution!r}; it is used.", stacklevel=5)
        return distribution.to_external_repr(internal)

    def should_prune(self, trial: Trial) -> bool:
        """A function objective cannot be paused, so PAUSE ends it too; one that has saved its state there is called
        again when it is to go on."""
        verdict = self.verdict(trial)
        trial._pausable = verdict is Verdict.PAUSE and trial._saved is not None and trial._saved == trial._last_step
        return verdict is not Verdict.GO

    @property
    def objectives(self) -> int:
        """How many the study has."""
        return len(self.log.fold.directions)

    @property
    def judges(self) -> bool:
        """Whether the stopping rule can judge trials of this study."""
        return self.objectives == 1 or self.pruner.several_objectives

    def verdict(self, trial: Trial) -> Verdict:
        """The stopping rule's word on what was reported so far.

        Raises:
            NotImplementedError: the rule judges by one objective, and the study has several.
        """
        with self.log.lock:
            if not self.judges:
                raise NotImplementedError(
                    f"{type(self.pruner).__name__} judges by one objective, but this study has "
                    f"{len(self.log.fold.directions)}."
                )
            if self.pruner.resource == SECONDS:
                self._clock(trial)
            self.log.sync()
            verdict = self.pruner.verdict(self.snapshot(), self._row(trial))
            trial._ruled_at = None if verdict is Verdict.GO else self.log.position
            return verdict

    @staticmethod
    def _clock(trial: Trial) -> None:
        """Report how long the trial has computed, unless the objective has."""
        for step in [*trial._reported][-1:]:
            if step not in trial._metrics.get(SECONDS, {}):
                trial.report_metric(SECONDS, trial._computed + time.monotonic() - trial._since, step)

    def snapshot(self) -> History:
        """The history, and in it what this process's trials have reported and the log does not have yet."""
        with self.log.lock:
            history = self.log.fold.history()
            newer = {t.number: self._row(t) for t in self.live.values() if t.pending.reports}
            return history.showing(newer) if newer else history

    def _row(self, trial: Trial) -> OpenRow:
        held = self.log.fold.open.get(trial.number)
        metrics = {name: dict(values) for name, values in trial._metrics.items()}
        return OpenRow(
            trial.number, TrialState.RUNNING, {**trial._proposal, **trial._params}, dict(trial._reported), metrics,
            held.tags if held is not None else {}, trial._start, trial._saved,
        )  # fmt: skip

    def resume(self, number: int, *, again: bool) -> bool:
        """Take a PAUSED trial; ``again`` when what was kept of it is not here: from its state, or from its start."""
        with self.log.lock:
            self._claims += 1
            announced = self._identity()
            token = f"{announced[0]}.{self._claims}"
            event: ev.Event = {"e": "resume", "n": number, "k": token, "t": ev.now(), "at": self.log.position}
            if again:
                event["again"] = 1
                held = self.log.fold.open.get(number)
                self.states.go_on(event, None if held is None else held.state_of)
            before = [] if self._announced == announced else self._preamble()
            fate = self.log.append([*before, event])[-1]
            self._announced = announced
            if not fate:
                return False
            if not again:
                self.live[number]._token = token
            return True

    def wait(self, seconds: float) -> None:
        """Sleep until some trial changes in this process, at most ``seconds``."""
        with self.log.changed:
            self.log.changed.wait(seconds)
