"""Objectives, histories and runs for the conformance kit of stopping rules."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import tempfile
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.curves import STEP
from tunesmith.distributions import Float
from tunesmith.executors.lanes import LaneEvent, Parked
from tunesmith.fold import Fold
from tunesmith.history import History
from tunesmith.pruners import BasePruner, Continue, Start, Stop, Verdict, available, from_spec
from tunesmith.pruners._base import Wish
from tunesmith.space import Space
from tunesmith.storages import BaseStorage
from tunesmith.study import Study, create_study, load_study
from tunesmith.testing._logged import logged
from tunesmith.testing.studies import check_reload
from tunesmith.trial import Trial, TrialPruned, TrialState

#: No search of the kit takes so many seconds, unless a rule makes its loop go round in circles.
PATIENCE = 60.0
SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
INF, NAN = float("inf"), float("nan")


class OnPurpose(Exception):
    """What an objective of the kit raises, and nobody else."""


def height(x: float, y: float, step: int) -> float:
    """The loss of a configuration at a step, from 1.

    The curves fall, cross each other, and end at different heights. Values are multiples of 2**-20, so that adding a
    whole number and doubling are exact.
    """
    value = x + (1 + y) / (1 + step) ** (0.3 + y)
    return round(value * 2**20) / 2**20


@dataclass(eq=False)
class Task:
    """A training of ``epochs`` epochs, as a generator (:meth:`generator`), a function, or in lanes.

    Attributes:
        rule: the metrics it looks at are reported.
        epochs: steps of a trial.
        scale, shift: the loss is ``scale * height + shift``; -1 and 0 for a study that maximises.
        flush: whether each report is in the log before the next one.
        steps: how many were computed, of all trials.
        most: more than that is an error.
    """

    rule: BasePruner
    epochs: int
    scale: float = 1.0
    shift: float = 0.0
    flush: bool = False
    steps: int = 0
    most: int = 10**6

    def item(self, trial: Trial, step: int) -> dict[str, float]:
        """What the trial reports at a step."""
        self.steps += 1
        assert self.steps <= self.most, f"more than {self.most} steps: some were computed twice"
        if self.flush:
            trial._owner.flush(trial)  # type: ignore[attr-defined]
        x, y = (trial.suggest_float(name, 0, 1) for name in SPACE)
        loss = height(x, y, step)
        if self.rule.needs_states:
            trial.save({"step": step}, step)
        metrics = dict.fromkeys(metrics_of(self.rule), loss)
        if self.rule.resource != STEP:
            metrics[self.rule.resource] = 2.0 * step
        return {"loss": self.scale * loss + self.shift, **metrics}

    def begin_at(self, trial: Trial) -> int:
        """The step after that of the state which the trial goes on from."""
        state = trial.load() if self.rule.needs_states else None
        return 1 if state is None else state["step"] + 1

    def generator(self, trial: Trial) -> Iterator[dict[str, float]]:
        """Yields after each epoch."""
        for step in range(self.begin_at(trial), self.epochs + 1):
            yield self.item(trial, step)

    def function(self, trial: Trial) -> float:
        """Reports after each epoch, and asks whether to end."""
        value = NAN
        for step in range(self.begin_at(trial), self.epochs + 1):
            value = report(trial, self.item(trial, step), step)
            if trial.should_prune():
                raise TrialPruned
        return value

    # -- lanes --------------------------------------------------------------------------------------------------

    def open_lanes(self, lanes: int | str, workers: int | None = None) -> Lanes:
        """See :class:`~tunesmith.executors.lanes.LaneObjective`."""
        return Lanes(self, 4 if isinstance(lanes, str) else lanes)

    def begin(self, trial: Trial) -> Lane:
        """See :class:`~tunesmith.executors.lanes.LaneObjective`."""
        return Lane(trial, self.begin_at(trial) - 1)

    __call__ = generator


@dataclass(eq=False)
class Lane(Parked):
    """A trial in a lane."""

    trial: Trial
    step: int = 0


@dataclass
class Lanes:
    """Steps all trials that it holds, one after the other."""

    task: Task
    lanes: int
    held: dict[Any, Lane] = field(default_factory=dict)

    def room(self) -> int:
        """How many more it takes."""
        return self.lanes - len(self.held)

    def start(self, key: Any, evaluation: Any) -> None:
        """A new one."""
        self.held[key] = evaluation

    def resume(self, key: Any, kept: Any) -> None:
        """One that was paused."""
        self.held[key] = kept

    def step(self) -> Iterable[LaneEvent]:
        """An epoch of each; one that was paused at its last epoch has only to end."""
        for key, lane in list(self.held.items()):
            if lane.step < self.task.epochs:
                lane.step += 1
                yield LaneEvent(key, item=self.task.item(lane.trial, lane.step))
            if lane.step == self.task.epochs and self.held.get(key) is lane:
                del self.held[key]
                yield LaneEvent(key)

    def drop(self, key: Any) -> None:
        """It was stopped."""
        self.held.pop(key, None)

    def park(self, key: Any) -> Lane:
        """It was paused."""
        return self.held.pop(key)

    def stop(self) -> None:
        """Nothing to cut short."""

    def close(self) -> None:
        """Nothing to give back."""


# -- reports ----------------------------------------------------------------------------------------------------


def metrics_of(rule: BasePruner) -> tuple[str, ...]:
    """The reported metrics that a rule looks at beside the objective, its resource left out."""
    return tuple(getattr(rule, "metrics", ()))


def report(trial: Trial, item: dict[str, float], step: int) -> float:
    """Report what a generator would yield; return the loss."""
    loss = item["loss"]
    for name, value in item.items():
        if name != "loss":
            trial.report_metric(name, value, step)
    trial.report(loss, step)
    return loss


# -- studies ----------------------------------------------------------------------------------------------------


def new_study(rule: BasePruner, **options: Any) -> Study:
    """A study with random configurations, and a folder for states if the rule needs it."""
    given = {"sampler": "random", "space": SPACE, "seed": 5, "pruner": rule, **options}
    if not rule.needs_states or "artifacts" in options:
        return create_study(**given)
    folder = tempfile.TemporaryDirectory()
    study = create_study(**given, artifacts=folder.name)
    weakref.finalize(study, folder.cleanup)
    return study


def search(study: Study, objective: Any, trials: int, **options: Any) -> Study:
    """Optimize until ``trials`` configurations were begun, or the rule is done; what comes of it is in order.

    NumPy's warnings are errors, and so is a loop that waits for nothing.
    """
    begun = sum(t.state.is_finished() or t.state == TrialState.PAUSED for t in study.get_trials())
    begin = time.monotonic()
    with _strict(), logged("tunesmith.study", logging.WARNING) as messages:
        study.optimize(objective, trials - begun, timeout=PATIENCE, catch=(OnPurpose,), **options)
    assert time.monotonic() - begin < PATIENCE, "the search did not end"
    idle = [m for m in messages if "waits, but no trial is running" in m]
    assert not idle, f"the rule waits, though nothing runs that could change its mind: {idle[0]}"
    check_ended(study)
    return study


def check_ended(study: Study) -> None:
    """No trial is left open, and the log says what the study says."""
    left = {t.number: t.state.name for t in study.get_trials() if not t.state.is_finished()}
    assert not left, f"open after the end: {left}"
    check_reload(study)


def facts(study: Study) -> list[tuple[Any, ...]]:
    """What must be equal in two runs that are to be the same: everything but times, attempts and metrics."""
    return [
        (t.number, t.state.name, t.params, repr(t.values), repr(t.intermediate_values), repr(_tags(t)))
        for t in study.get_trials()
    ]


def _tags(trial: Any) -> Any:
    return trial.system_attrs.get("tags", {})


def interleaved(rule: BasePruner, trials: int, epochs: int, **options: Any) -> Study:
    """A study of four lanes, with each report in the log before the next one of its trial."""
    return search(new_study(rule, **options), Task(rule, epochs, flush=True), trials, lanes=4)


def records(study: Study) -> list[list[dict[str, Any]]]:
    """The log as JSON brings it back."""
    return json.loads(json.dumps(study.storage.read(study._log.study), allow_nan=False))


def folded(log: list[list[dict[str, Any]]]) -> History:
    """What a process sees that reads the log from its beginning."""
    fold = Fold()
    for event in itertools.chain.from_iterable(log):
        fold.apply(event)
    return fold.history()


def reloadable(rule: BasePruner) -> bool:
    """Whether a log alone can bring the rule back (it belongs to ``tunesmith.pruners``)."""
    return available().get(type(rule).__name__) is type(rule) and rule.spec()["args"] is not None


def rebuilt(rule: BasePruner) -> BasePruner:
    """The rule from what a log keeps of it."""
    spec = json.loads(json.dumps(rule.spec(), allow_nan=False))
    return from_spec(spec) if reloadable(rule) else type(rule)(**spec["args"])


def load(storage: BaseStorage, rule: BasePruner, artifacts: Path | None = None) -> Study:
    """The study of a storage that holds one; with the rule from its log, if that can be."""
    given = None if reloadable(rule) else rule
    return load_study(study_name=None, storage=storage, pruner=given, artifacts=artifacts)


# -- what a rule says -------------------------------------------------------------------------------------------


def wishes(rule: BasePruner, history: History) -> list[Wish]:
    """The rule's schedule as a list; each wish is one that a loop could fulfil."""
    given = rule.schedule(history)
    found = [given] if isinstance(given, Wish) else list(itertools.islice(given, 1000))
    paused = {t.number for t in history.open if t.state == TrialState.PAUSED}
    for wish in found:
        assert isinstance(wish, Wish), f"{wish!r} is no wish"
        if isinstance(wish, (Continue, Stop)):
            assert wish.number in paused, f"{wish!r}, but paused are {paused}"
        elif isinstance(wish, Start):
            json.dumps(dict(wish.tags), allow_nan=False)
            json.dumps(dict(wish.params or {}), allow_nan=False)
    return found


def answers(rule: BasePruner, history: History) -> list[str]:
    """All that a rule says to a history: of each running trial, and what is next."""
    with _strict():
        judged = [t for t in history.open if t.state == TrialState.RUNNING and t.reports]
        return [*(f"{t.number}: {_verdict(rule, history, t)}" for t in judged), repr(wishes(rule, history))]


def _verdict(rule: BasePruner, history: History, trial: Any) -> str:
    verdict = rule.verdict(history, trial)
    assert isinstance(verdict, Verdict), f"{verdict!r} is no verdict"
    return verdict.name


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        yield
