"""Trials whose worker is gone: given back, or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith import events as ev
from tunesmith.open_trials import OpenTrial
from tunesmith.records import frozen_trial
from tunesmith.storages import RetryHeartbeatStaleTrialCallback
from tunesmith.study._add import fields_of
from tunesmith.study._states import gained
from tunesmith.study._values import last_report
from tunesmith.study._worker import same_process
from tunesmith.trial import TrialState

if TYPE_CHECKING:
    from tunesmith.study._session import Session


def sweep(session: Session, *, own: bool = False, others: bool = False) -> int:
    """Release what dead workers left RUNNING; return how many trials these were.

    After as many attempts as the session allows a trial becomes FAIL instead. Trials of ``study.ask()`` belong to
    whoever will tell them and are left alone.

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
                gone = worker is not None and session.is_gone(worker)
            if gone:
                _give_back(session, held)
                session.forget(session.live.get(held.number))
                released += 1
        if released:
            log.changed.notify_all()
    return released


def end_paused(session: Session) -> None:
    """PAUSED trials whose process is gone become PRUNED with their last value, as if it had ended them itself.

    Those that have saved their state stay PAUSED: whoever optimizes next may continue them.
    While others still work, their rule may want these trials; the last one to end does this.
    """
    log = session.log
    with log.lock:
        log.sync()
        open_trials = list(log.fold.open.values())
        if any(held.state == TrialState.RUNNING and not held.by_ask for held in open_trials):
            return
        for held in open_trials:
            worker = log.fold.holder(held)
            gone = session.is_gone(worker) if worker is not None else not held.by_ask  # imported: nobody keeps it
            if held.state == TrialState.PAUSED and not held.saved and gone:
                event: ev.Event = {"e": "tell", "st": int(TrialState.PRUNED), "n": held.number, "k": held.token}
                values = last_report(log.fold.reports(held)[0], len(log.fold.directions))
                if values is not None:
                    event["y"] = [ev.number_to_json(v) for v in values]
                log.append([{**event, "t": ev.now()}])


def _give_back(session: Session, held: OpenTrial) -> None:
    """Void if another worker was faster: a loss counts once."""
    base = {"n": held.number, "k": held.token, "t": ev.now()}
    if session.log.storage.stale_trial_callback is not None:
        _replace(session, held, base)
    elif gained(held):  # the next attempt begins further on
        session.log.append([{"e": "release", "free": 1, **base}])
    elif session.attempts.used_up(held):
        why = session.attempts.why_failed(held)
        session.log.append([{"e": "tell", "st": int(TrialState.FAIL), "why": why, **base}])
    else:
        session.log.append([{"e": "release", **base}])


def _replace(session: Session, held: OpenTrial, base: ev.Event) -> None:
    """As Optuna does: the trial fails, and a callback may put another one into the study.

    Of Optuna's own callback both are one append. What another one does, it does once, if nothing dies in between.
    """
    log, callback = session.log, session.log.storage.stale_trial_callback
    tell = {"e": "tell", "st": int(TrialState.FAIL), "why": "its worker is gone", **base}
    if isinstance(callback, RetryHeartbeatStaleTrialCallback):
        made = callback.successor(frozen_trial(log.fold, held.number))
        before, fields = fields_of(log, [] if made is None else [made])
        log.append([*before, {**tell, "next": fields[0], "ver": 2} if fields else tell])
    elif log.append([tell])[-1] and callback is not None:
        callback(session.study, frozen_trial(log.fold, held.number))
