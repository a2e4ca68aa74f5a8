"""Trials whose worker is gone: given back, or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith import events as ev
from tunesmith.open_trials import OpenTrial
from tunesmith.study._log import StudyLog
from tunesmith.study._states import gained
from tunesmith.study._values import last_report
from tunesmith.study._worker import is_dead, same_process
from tunesmith.trial import TrialState

if TYPE_CHECKING:
    from tunesmith.study._session import Session

#: How often an interrupted trial is attempted before it becomes FAIL.
ATTEMPTS = 3


def why_failed(attempts: int) -> str:
    """The reason of a trial that is not attempted again."""
    return f"interrupted {attempts} times; no further attempt"


def sweep(session: Session, *, own: bool = False, others: bool = False) -> int:
    """Release what dead processes of this machine left RUNNING; return how many trials these were.

    After ``ATTEMPTS`` attempts a trial becomes FAIL instead. Trials of ``study.ask()`` belong to whoever will tell
    them and are left alone.

    Args:
        session: who asks.
        own: also what the session itself left.
        others: also what any other process holds, dead or not, PAUSED trials too.
    """
    released = 0
    log, own_worker = session.log, session.worker
    with log.lock:
        log.sync()
        for held in list(log.fold.open.values()):
            if held.by_ask or held.token is None or held.state not in (TrialState.RUNNING, TrialState.PAUSED):
                continue
            worker = log.fold.holder(held)
            if held.state == TrialState.PAUSED:  # left alone, unless somebody says that the others are gone
                gone = others and worker is not None and not same_process(worker, own_worker)
            elif worker is not None and worker["w"] == own_worker["w"]:
                gone = own
            elif others and worker is not None and not same_process(worker, own_worker):
                gone = True
            else:
                gone = worker is not None and is_dead(worker)
            if gone:
                _give_back(log, held)
                session.forget(session.live.get(held.number))
                released += 1
    return released


def end_paused(log: StudyLog) -> None:
    """PAUSED trials whose process is gone become PRUNED with their last value, as if it had ended them itself.

    Those that have saved their state stay PAUSED: whoever optimizes next may continue them.
    While others still work, their rule may want these trials; the last one to end does this.
    """
    with log.lock:
        log.sync()
        open_trials = list(log.fold.open.values())
        if any(held.state == TrialState.RUNNING and not held.by_ask for held in open_trials):
            return
        for held in open_trials:
            worker = log.fold.holder(held)
            if held.state == TrialState.PAUSED and not held.saved and worker is not None and is_dead(worker):
                event: ev.Event = {"e": "tell", "st": int(TrialState.PRUNED), "n": held.number, "k": held.token}
                values = last_report(log.fold.reports(held)[0], len(log.fold.directions))
                if values is not None:
                    event["y"] = [ev.number_to_json(v) for v in values]
                log.append([{**event, "t": ev.now()}])


def _give_back(log: StudyLog, held: OpenTrial) -> None:
    base = {"n": held.number, "k": held.token, "t": ev.now()}
    lost = held.attempt - held.spared
    if gained(held):  # the next attempt begins further on
        log.append([{"e": "release", "free": 1, **base}])
    elif lost >= ATTEMPTS:
        log.append([{"e": "tell", "st": int(TrialState.FAIL), "why": why_failed(lost), **base}])
    else:
        log.append([{"e": "release", **base}])
