"""What a stopping rule would have done to trials whose whole curves are known, above all to the best of them.

The curves are played back to the rule by one worker, in the order in which the trials were started, and the rule
decides as it would have: it stops trials, pauses them, goes on with them. What it would not have seen is not shown to
it: a stopped trial counts with the reports it had until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunesmith import events as ev
from tunesmith.compare.result import ComparisonResult, Run
from tunesmith.curves import STEP
from tunesmith.exceptions import InvalidValueError
from tunesmith.fold import Fold
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Start, Stop, Verdict, get_pruner
from tunesmith.space import Space
from tunesmith.trial import TrialState

#: Who holds all trials of a replay.
_TOKEN = "replay"
#: What has been reported of a trial: (step, metric -> value), the objective under "".
Reports = Sequence[tuple[int, Mapping[str, float]]]


@dataclass(frozen=True)
class Curve:
    """A COMPLETE trial.

    Attributes:
        number: of the trial.
        params: its configuration, and ``space`` that of it.
        reports: by step; empty if it reported nothing, so that no rule can stop it.
        value: its final value.
        feasible: whether it may be the best.
    """

    number: int
    params: Mapping[str, Any]
    space: Space
    reports: Reports
    value: float
    feasible: bool = True


@dataclass(frozen=True)
class Replay:
    """What became of the trials of one study under a rule.

    Attributes:
        rule: the rule.
        steps: number -> how many reports the trial had in the study; of all that the rule has started, in this order.
        stopped: number -> the step at which the rule stopped it (or paused it and never went on with it).
        used: reports that were made under the rule, those of the trials that ran to their end included.
        best: number of the best of these trials in the study; None if none is feasible.
        kept: number of the best one under the rule; None if it stopped all.
        regret: by how much ``kept`` is worse than ``best``; infinite if there is no ``kept``.
        left_out: trials that were not COMPLETE, whose curves are not known to their ends, and those that the rule has
            not started because it was done before.
    """

    rule: BasePruner
    steps: Mapping[int, int]
    stopped: Mapping[int, int]
    used: int
    best: int | None
    kept: int | None
    regret: float
    left_out: int

    @property
    def best_stopped(self) -> bool:
        """Whether the rule has stopped the trial that turned out best."""
        return self.best in self.stopped

    @property
    def saved(self) -> float:
        """Part of the reports that were not made, from 0 to 1."""
        whole = sum(self.steps.values())
        return 1.0 - self.used / whole if whole else 0.0


def replay(history: History, rule: str | BasePruner) -> Replay:
    """What a stopping rule would have done in a finished study.

    The trials are taken as they were proposed. With a method that learns from results a real study under the rule would
    have gone another way.

    Args:
        history: of one objective. Only COMPLETE trials are played back.
        rule: a stopping rule or its short name.

    Raises:
        InvalidValueError: no COMPLETE trial has reported anything; the study has several objectives; or the rule
            prescribes configurations, or counts in a resource that was not reported, so that it cannot be replayed.
    """
    if len(history.directions) != 1:
        raise InvalidValueError(f"A replay judges by one objective, but this study has {len(history.directions)}.")
    found = list(_curves_of(history))
    left_out = history.n - len(found)
    return _replay(found, history.directions[0], get_pruner(rule), history.seed, history.budget, left_out)


def replay_run(run: Run, result: ComparisonResult, rule: str | BasePruner) -> Replay:
    """As :func:`replay` for a run of a comparison. The rule sees those parameters that the problem's space declares (a
    choice that is an object of the user is not one that can be read back)."""
    space = result.parsed_space()
    spaces: dict[tuple[str, ...], Space] = {}
    found = []
    for trial in run.trials:
        if trial.state != "COMPLETE" or trial.value is None:
            continue
        params = {n: v for n, v in trial.params.items() if n in space and space[n].contains(v)}
        names = tuple(params)
        if names not in spaces:
            spaces[names] = Space({name: space[name] for name in names})
        reports = _merged({"" if k == result.objective else k: v for k, v in trial.curves.items()})
        found.append(Curve(trial.number, params, spaces[names], reports, trial.value))
    sign = 1 if result.direction == "minimize" else -1
    return _replay(found, sign, get_pruner(rule), run.seed, result.trials, len(run.trials) - len(found))


def _curves_of(history: History) -> Iterator[Curve]:
    """The COMPLETE trials by number."""
    columns = {name: history.value(name) for name in history.names}
    reports, active = history.reports, history.active
    order = np.argsort(reports.row, kind="stable")
    first = np.searchsorted(reports.row[order], np.arange(history.n + 1))
    rows = np.flatnonzero(history.is_complete)
    for row in rows[np.argsort(history.number[rows], kind="stable")].tolist():
        mine = order[first[row] : first[row + 1]]
        by_metric: dict[str, list[list[float]]] = {}
        for i in mine.tolist():
            name = history.metrics[reports.metric[i]]
            by_metric.setdefault(name, []).append([reports.step[i], reports.value[i]])
        params = {name: columns[name][row] for name, there in zip(history.names, active[row], strict=True) if there}
        feasible = bool(history.violation[row] <= 0)
        number, value = int(history.number[row]), float(history.Y[row, 0])
        yield Curve(number, params, Space(history.asked(row)), _merged(by_metric), value, feasible)


def _merged(by_metric: Mapping[str, Sequence[Sequence[float]]]) -> Reports:
    """Metric -> [step, value] pairs, as step -> metrics; only steps with a value of the objective."""
    steps: dict[int, dict[str, float]] = {int(step): {"": float(value)} for step, value in by_metric.get("", ())}
    for name, pairs in by_metric.items():
        for step, value in pairs:
            if int(step) in steps:
                steps[int(step)][name] = float(value)
    return [(step, steps[step]) for step in sorted(steps)]


def _replay(
    curves: Sequence[Curve], sign: int, rule: BasePruner, seed: int, budget: int | None, left_out: int
) -> Replay:
    if not any(curve.reports for curve in curves):
        raise InvalidValueError("No COMPLETE trial has reported anything, so there is nothing to replay.")
    for curve in curves:
        if rule.resource != STEP and not all(rule.resource in metrics for _, metrics in curve.reports):
            raise InvalidValueError(
                f"{rule!r} counts in {rule.resource!r}, which trial {curve.number} has not reported with every step."
            )
    stage = _Stage(curves, sign, rule, seed, budget)
    stage.play()
    started = curves[: stage.started]
    able = sorted((sign * c.value, c.number) for c in started if c.feasible)
    kept = [(loss, number) for loss, number in able if number not in stage.stopped]
    regret = 0.0
    if able and (not kept or kept[0][0] != able[0][0]):
        regret = kept[0][0] - able[0][0] if kept else np.inf
    return Replay(
        rule=rule,
        steps={c.number: len(c.reports) for c in started},
        stopped=stage.stopped,
        used=stage.used,
        best=able[0][1] if able else None,
        kept=kept[0][1] if kept else None,
        regret=float(regret),
        left_out=left_out + len(curves) - len(started),
    )


@dataclass
class _Going:
    """A trial on the stage, under the number that it has there."""

    number: int
    curve: Curve
    tags: Mapping[str, Any]
    done: int = 0
    reports: dict[int, float] = field(default_factory=dict)
    metrics: dict[str, dict[int, float]] = field(default_factory=dict)

    def row(self, state: TrialState) -> OpenRow:
        """What the rule sees of it."""
        metrics = {name: dict(values) for name, values in self.metrics.items()}
        return OpenRow(self.number, state, self.curve.params, dict(self.reports), metrics, self.tags)


class _Stage:
    """One worker that plays curves back to a rule.

    Attributes:
        started: how many curves were begun.
        stopped: trial number -> step.
        used: reports that were made.
    """

    def __init__(self, curves: Sequence[Curve], sign: int, rule: BasePruner, seed: int, budget: int | None) -> None:
        self._curves, self._rule = curves, rule
        self.started, self.used = 0, 0
        self.stopped: dict[int, int] = {}
        self._paused: dict[int, _Going] = {}
        self._rows: dict[int, OpenRow] = {}  # of the paused ones
        self._fold = Fold()
        meta: ev.Event = {"e": "study", "v": ev.VERSION, "directions": [sign], "seed": seed, "versions": {}, "t": 0}
        self._fold.apply(meta if budget is None else {**meta, "budget": budget})

    def play(self) -> None:
        """Until the rule wishes nothing more, or nothing that is possible; what is paused then has been stopped."""
        while (wish := self._wish()) is not None:
            if isinstance(wish, Stop):
                self._end(self._take(wish.number), TrialState.PRUNED)
            else:
                self._go_on(self._take(wish.number) if isinstance(wish, Continue) else self._begin(wish.tags))
        for going in self._paused.values():
            self._end(going, TrialState.PRUNED)

    def _wish(self) -> Start | Continue | Stop | None:
        """The first of the rule's wishes that can be fulfilled. A worker that is alone waits for nobody."""
        wishes = self._rule.schedule(self._history())
        for wish in (wishes,) if isinstance(wishes, (Start, Continue, Stop, Idle)) else wishes:
            if isinstance(wish, Idle):
                return None
            if isinstance(wish, Start) and wish.params is not None:
                raise InvalidValueError(
                    f"{self._rule!r} prescribes configurations, so it cannot be replayed with those of another study."
                )
            if not isinstance(wish, Start) or self.started < len(self._curves):
                return wish
        return None

    def _begin(self, tags: Mapping[str, Any]) -> _Going:
        number, curve = self.started, self._curves[self.started]
        self.started += 1
        if curve.space.id not in self._fold.spaces:
            self._fold.apply(ev.space_event(curve.space))
        event: ev.Event = {"e": "ask", "n": number, "k": _TOKEN, "t": 0, "a": 1}
        event |= {"s": curve.space.id, "p": curve.space.to_event(curve.params)}
        if tags:
            event["g"] = ev.tags_to_json(tags)
        self._fold.apply(event)
        return _Going(number, curve, tags)

    def _take(self, number: int) -> _Going:
        if number not in self._paused:
            raise InvalidValueError(f"{self._rule!r} wants trial {number}, which is not paused.")
        del self._rows[number]
        return self._paused.pop(number)

    def _go_on(self, going: _Going) -> None:
        """Report by report, until the rule stops or pauses the trial, or it has come to its end."""
        for step, metrics in going.curve.reports[going.done :]:
            going.done += 1
            self.used += 1
            for name, value in metrics.items():
                (going.metrics.setdefault(name, {}) if name else going.reports)[step] = value
            row = going.row(TrialState.RUNNING)
            verdict = self._rule.verdict(self._history(row), row)
            if verdict is Verdict.STOP:
                self._end(going, TrialState.PRUNED)
                return
            if verdict is Verdict.PAUSE:
                self._paused[going.number] = going
                self._rows[going.number] = going.row(TrialState.PAUSED)
                return
        self._end(going, TrialState.COMPLETE)

    def _history(self, running: OpenRow | None = None) -> History:
        rows = self._rows if running is None else {**self._rows, running.number: running}
        return self._fold.history().showing(rows)

    def _end(self, going: _Going, state: TrialState) -> None:
        reports: list[list[Any]] = [[step, value] for step, value in going.reports.items()]
        reports += [[step, value, name] for name, values in going.metrics.items() for step, value in values.items()]
        value = going.curve.value
        if state is TrialState.PRUNED:
            self.stopped[going.curve.number] = max(going.reports)
            value = going.reports[max(going.reports)]
        event: ev.Event = {"e": "tell", "n": going.number, "k": _TOKEN, "st": int(state), "t": 0}
        if value == value:
            event["y"] = [ev.number_to_json(value)]
        self._fold.apply({**event, **ev.changes_to_json(reports, {}, {})})
