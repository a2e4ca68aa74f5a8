"""Who works on a study now, as the log and the heartbeats say it."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.fold import Fold
from tunesmith.open_trials import OpenTrial
from tunesmith.study._log import StudyLog
from tunesmith.study._worker import is_dead
from tunesmith.trial import TrialState


@dataclass(frozen=True)
class TrialAtWork:
    """A trial that a worker holds.

    Attributes:
        number: of the trial.
        attempt: from 1.
        paused: whether it waits for the stopping rule.
        start: when its first attempt began, in microseconds since 1970 (UTC).
        step: of its last report, None before the first.
        value: the first objective at that step.
    """

    number: int
    attempt: int
    paused: bool
    start: int
    step: int | None
    value: float | None


@dataclass(frozen=True)
class WorkerInfo:
    """A process that works on a study, or has worked on a trial that is still open.

    Attributes:
        id: 8 hexadecimal digits.
        host: name of its machine.
        pid: its process there.
        silent: seconds since its last heartbeat, None if it sends none.
        lease: seconds without a heartbeat within which the others take it for dead, None if they do not.
        dead: whether this machine knows that the process is gone; its trials are given back by the next worker.
        trials: what it holds, by number.
    """

    id: str
    host: str
    pid: int
    silent: float | None
    lease: float | None
    dead: bool
    trials: tuple[TrialAtWork, ...]


def workers_of(log: StudyLog) -> list[WorkerInfo]:
    """Those whose heart beats, and those that hold trials, in the order in which they came."""
    with log.lock:
        log.sync()
        ages = log.storage.heartbeats(log.study)
        held: dict[str, list[TrialAtWork]] = {}
        for trial in sorted(log.fold.open.values(), key=lambda t: t.number):
            if trial.token is not None and trial.state in (TrialState.RUNNING, TrialState.PAUSED):
                held.setdefault(trial.token.partition(".")[0], []).append(_at_work(log.fold, trial))
        return [
            WorkerInfo(
                id=name, host=str(event.get("host", "")).partition("/")[0], pid=int(event.get("pid", 0)),
                silent=ages.get(name), lease=event.get("lease"), dead=is_dead(event), trials=tuple(held.get(name, ())),
            )
            for name, event in log.fold.workers.items()
            if name in ages or name in held
        ]  # fmt: skip


def _at_work(fold: Fold, trial: OpenTrial) -> TrialAtWork:
    reports = fold.reports(trial)[0]
    step = max(reports, default=None)
    value = None if step is None else reports[step]
    return TrialAtWork(trial.number, trial.attempt, trial.state == TrialState.PAUSED, trial.start, step, value)
