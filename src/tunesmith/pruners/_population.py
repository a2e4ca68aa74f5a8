"""A population of trainings that learn from each other: who is in it, and what happens when all are at a ready point.

A *member* is a place in the population, numbered from 0. What trains there one after the other are trials, the *lives*
of the member: the first is an ordinary one, a later one has begun with the state of a better member. Ready points are
rounds 1, 2, ...: a life is in round r with its first report of a step of at least ``r * interval``, and pauses there.
When all lives are there, the worst of the population are replaced by children of the best, and the others go on.

Everything is read from the tags ``pbt.member``, ``pbt.round`` and ``pbt.step`` (that the life began after), and
``pbt.parent`` (a trial's number), and from the reports.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tunesmith._arguments import number, whole
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.streams import stream
from tunesmith.pruners._base import BasePruner, Continue, Idle, Schedule, Start, Stop, Verdict, Wish
from tunesmith.space import Space
from tunesmith.trial._state import TrialState

MEMBER, ROUND, STEP, PARENT = "pbt.member", "pbt.round", "pbt.step", "pbt.parent"

#: (history, the parent, the round, the child's generator) -> the child's configuration.
Explore = Callable[[History, OpenRow, int, np.random.Generator], dict[str, Any]]


@dataclass(eq=False)
class Life:
    """One trial of a member.

    Attributes:
        number: of the trial.
        member: whose.
        begin: the round that it began in, 0 for the first life of a member.
        state: of the trial.
        loss: round -> (step, loss) of the report that was the first in this round.
        row: the trial while it is open.
        index: its row of the history when it has ended.
        parent: number of the trial whose state it began with.
    """

    number: int
    member: int
    begin: int
    state: TrialState
    loss: dict[int, tuple[int, float]] = field(default_factory=dict)
    row: OpenRow | None = None
    index: int = -1
    parent: int | None = None

    @property
    def reached(self) -> int:
        """The last round that it was in."""
        return max(self.loss, default=self.begin)

    def at(self, round_: int) -> tuple[int, float] | None:
        """Step and loss at the first report in this round or a later one."""
        later = [r for r in self.loss if r >= round_]
        return self.loss[min(later)] if later else None


def by_round(reports: Mapping[int, float], interval: int, begin: int, sign: int) -> dict[int, tuple[int, float]]:
    """Round -> (step, loss) of its first report, for the rounds after ``begin``; NaN counts as infinite."""
    found: dict[int, tuple[int, float]] = {}
    for step in sorted(reports):
        loss = reports[step] * sign
        if step // interval > begin:
            found.setdefault(step // interval, (step, loss if loss == loss else math.inf))
    return found


class _Ended:
    """Memo: the lives of finished trials."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.n, self.reports = 0, 0
        self.lives: list[Life] = []

    def extend(self, history: History) -> None:
        begin, first = self.n, self.reports
        reports = history.reports
        self.n, self.reports = history.n, len(reports.row)
        members, rounds, parents = (history.tag(name)[begin:] for name in (MEMBER, ROUND, PARENT))
        mine = reports.metric[first:] == 0
        told: dict[int, dict[int, float]] = {}
        columns = (reports.row[first:][mine], reports.step[first:][mine], reports.value[first:][mine])
        for row, step, value in zip(*(column.tolist() for column in columns), strict=True):
            told.setdefault(row, {})[step] = value
        for i in np.flatnonzero(members == members).tolist():
            row, start = begin + i, int(rounds[i])
            loss = by_round(told.get(row, {}), self.interval, start, history.directions[0])
            state = TrialState(int(history.state[row]))
            parent = int(parents[i]) if parents[i] == parents[i] else None
            life = Life(int(history.number[row]), int(members[i]), start, state, loss, index=row, parent=parent)
            self.lives.append(life)


def lives_of(history: History, interval: int) -> dict[int, list[Life]]:
    """Member -> its lives in the order of their numbers."""
    with history.memo(("population", interval), lambda: _Ended(interval)) as memo:
        found = list(memo.lives)
    for trial in history.open:
        if MEMBER in trial.tags:
            begin = int(trial.tags[ROUND])
            loss = by_round(trial.reports, interval, begin, history.directions[0])
            parent = int(trial.tags[PARENT]) if PARENT in trial.tags else None
            member = int(trial.tags[MEMBER])
            found.append(Life(trial.number, member, begin, trial.state, loss, trial, parent=parent))
    members: dict[int, list[Life]] = {}
    for life in sorted(found, key=lambda life: life.number):
        members.setdefault(life.member, []).append(life)
    return members


@dataclass(frozen=True)
class PopulationPruner(BasePruner):
    """What the rules that train a population have in common; they say how a child's configuration is made.

    The arguments are those of :class:`~tunesmith.pruners.pbt.PBTPruner`.
    """

    population: int
    interval: int
    quantile: float
    resample_probability: float
    params: Sequence[str] | None
    steps: int | None
    needs_states: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("population", self.population, 2)
        whole("interval", self.interval, 1)
        number("quantile", self.quantile, 0.0, 0.5)
        number("resample_probability", self.resample_probability, 0.0, 1.0)
        listed = isinstance(self.params, Sequence) and not isinstance(self.params, (str, bytes))
        if self.params is not None and not (listed and all(isinstance(name, str) for name in self.params)):
            raise InvalidTypeError(f"`params` must be a list of names, or None for all, but is {self.params!r}.")
        if self.steps is not None:
            whole("steps", self.steps, 1)

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return judge(trial, self.interval, self.steps)

    def schedule(self, history: History) -> Schedule:
        return moves(history, self.population, self.interval, self.quantile, self.explore)

    @abstractmethod
    def explore(self, history: History, parent: OpenRow, now: int, rng: np.random.Generator) -> dict[str, Any]:
        """The configuration of a child.

        Args:
            history: the study.
            parent: whose state the child begins with.
            now: the round.
            rng: the child's.
        """

    def changes(self, name: str, distribution: BaseDistribution) -> bool:
        """Whether a child may have another value."""
        return not distribution.single() and (self.params is None or name in self.params)


def judge(trial: OpenRow, interval: int, steps: int | None) -> Verdict:
    """PAUSE at a ready point.

    Raises:
        InvalidValueError: the trial has not saved its state there.
    """
    if MEMBER not in trial.tags:
        return Verdict.GO
    step = max(trial.reports)
    before = max((s for s in trial.reports if s < step), default=int(trial.tags[STEP]))
    if step // interval <= before // interval or (steps is not None and step >= steps):
        return Verdict.GO
    if trial.saved != step:
        last = "has not saved any" if trial.saved is None else f"has saved that of step {trial.saved} last"
        raise InvalidValueError(
            f"Population-based training copies the states of trials every {interval} steps, but trial {trial.number} "
            f"{last} at step {step}: call trial.save(state) before each yield, and begin with state = trial.load()."
        )
    return Verdict.PAUSE


def moves(history: History, population: int, interval: int, quantile: float, explore: Explore) -> Iterator[Wish]:
    """What a free worker does next, in order of preference.

    Args:
        history: the study.
        population: number of members.
        interval: steps from one ready point to the next.
        quantile: the share of the population that is replaced, and of those that replace them.
        explore: makes a child's configuration; asked when it is needed.
    """
    members = lives_of(history, interval)
    for lives in members.values():
        yield from (Stop(life.number) for life in lives[:-1] if life.state == TrialState.PAUSED)  # its place is taken
    missing = [member for member in range(population) if member not in members]
    yield from (Start({MEMBER: member, ROUND: 0, STEP: 0}) for member in missing[:1])
    last = {member: lives[-1] for member, lives in members.items()}
    open_lives = [life for life in last.values() if life.row is not None]
    if not open_lives:
        if any(trial.state == TrialState.WAITING for trial in history.open):
            yield Start()  # what a user has enqueued
        return
    now = min(life.reached for life in open_lives)
    ready = [life for life in open_lives if life.reached == now and life.state == TrialState.PAUSED]
    losers = replaced(history, members, now, quantile) if now > 0 and ready else {}
    for member, parent in losers.items():
        if parent.row is not None and parent.row.saved is not None and last[member].begin < now:
            tags = {MEMBER: member, ROUND: now, STEP: parent.row.saved, PARENT: parent.number}
            rng = stream(history.seed, now, f"pbt.{member}.child")
            yield Start(tags, explore(history, parent.row, now, rng), (parent.number, parent.row.saved))
    ready.sort(key=lambda life: (life.member in losers, life.member))
    yield from (Continue(life.number) for life in ready)
    if any(life.state != TrialState.PAUSED for life in open_lives):
        yield Idle.WAIT


def replaced(history: History, members: Mapping[int, list[Life]], now: int, quantile: float) -> dict[int, Life]:
    """Member -> the life whose state a child there begins with, for those that are to be replaced in a round.

    Truncation selection (Jaderberg et al. 2017, section 4.1.1): each of the worst ``quantile`` gets one of the best,
    drawn at random. So does a member whose trial has failed. What a life did after the
    round does not matter, except that its state may be gone; then another one of the best takes its part.
    """
    held = [[life for life in lives if life.begin < now] for lives in members.values()]
    holders = [lives[-1] for lives in held if lives]
    scored = [(found[1], life.number, life) for life in holders if (found := life.at(now)) is not None]
    ranked = [life for _, _, life in sorted(scored, key=lambda entry: entry[:2])]
    k = min(max(1, math.floor(quantile * len(ranked))), len(ranked) // 2) if quantile > 0 else 0
    best, worst = ranked[:k], ranked[len(ranked) - k :]
    dead = [life for life in holders if life.at(now) is None and life.state in (TrialState.FAIL, TrialState.PRUNED)]
    chosen: dict[int, Life] = {}
    for life in [*worst, *dead]:
        if life in worst and life.state != TrialState.PAUSED and members[life.member][-1] is life:
            continue  # it has gone on, or has ended
        first = int(stream(history.seed, now, f"pbt.{life.member}").random() * len(best))
        for parent in best[first:] + best[:first]:
            score = parent.at(now)
            good = score is not None and score[1] < math.inf
            if good and parent.row is not None and score is not None and parent.row.saved == score[0]:
                chosen[life.member] = parent
                break
    return chosen


def sampled(distribution: BaseDistribution, place: float) -> Any:
    """The value at a place in [0, 1) of a distribution."""
    space = Space({"value": distribution})
    return space.to_params(space.decode(np.array([[place]]))[0])["value"]


@dataclass(frozen=True)
class Stretch:
    """A piece of a training with one configuration.

    Attributes:
        first, last: the steps, both included.
        number: of the trial.
        params: its configuration.
    """

    first: int
    last: int
    number: int
    params: dict[str, Any]


def lineage(study: Any, number: int | None = None) -> list[Stretch]:
    """The schedule of hyperparameters that a training went through: its own last, before it those of its ancestors.

    Args:
        study: a study that was optimized with population-based training, or its history.
        number: of the trial at the end; None for the best COMPLETE one.

    Raises:
        InvalidValueError: there is no such trial, or none is complete yet.
    """
    history: History = study if isinstance(study, History) else study.history
    if number is None:
        if history.best_row is None:
            raise InvalidValueError("No trials are completed (and feasible) yet, so there is no best schedule.")
        number = int(history.number[history.best_row])
    stretches: list[Stretch] = []
    last: int | None = None
    while True:
        params, tags, reached = _trial(history, number)
        begin = int(tags.get(STEP, 0))
        stretches.append(Stretch(begin + 1, reached if last is None else last, number, params))
        if PARENT not in tags:
            return stretches[::-1]
        number, last = int(tags[PARENT]), begin


def _trial(history: History, number: int) -> tuple[dict[str, Any], dict[str, float], int]:
    """Parameters, tags and last step of a trial."""
    for trial in history.open:
        if trial.number == number:
            return dict(trial.params), dict(trial.tags), max(trial.reports, default=int(trial.tags.get(STEP, 0)))
    rows = np.flatnonzero(history.number == number)
    if not len(rows):
        raise InvalidValueError(f"There is no trial {number} in this study.")
    row = int(rows[0])
    params = {name: history.value(name)[row] for name in history.asked(row)}
    tags = {name: float(history.tag(name)[row]) for name in (STEP, PARENT)}
    tags = {name: value for name, value in tags.items() if value == value}
    steps = history.reports.step[history.reports.row == row]
    return params, tags, int(steps.max()) if len(steps) else int(tags.get(STEP, 0))
