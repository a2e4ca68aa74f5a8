"""``study.tell``: the end of a trial, by its handle or its number."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialFinishedError
from tunesmith.records import frozen_trial
from tunesmith.study._session import Session
from tunesmith.study._values import as_values, check_told, infeasible, last_report
from tunesmith.trial import FrozenTrial, Trial, TrialState


def tell(
    session: Session,
    trial: Trial | int,
    values: float | Sequence[float] | None,
    state: TrialState | None,
    skip_if_finished: bool,
) -> FrozenTrial:
    """See :meth:`tunesmith.study.Study.tell`."""
    number = _number_of(trial)
    log = session.log
    with log.lock:
        log.sync()
        if not 0 <= number < log.fold.n_trials:
            raise InvalidValueError(f"Cannot tell trial {number}: it has not been created.")
        held = log.fold.open.get(number)
        if held is None:
            record = frozen_trial(log.fold, number)
            if skip_if_finished:
                return record
            raise TrialFinishedError(f"Cannot tell trial {number}: it is {record.state.name} already.")
        if held.state not in (TrialState.RUNNING, TrialState.PAUSED):
            raise InvalidValueError(f"Cannot tell a {held.state.name} trial ({number}); ask() for it first.")
        told = as_values(values)
        check_told(state, told)
        live = trial if isinstance(trial, Trial) else session.live.get(number)
        if live is None or (live is not trial and live._token != held.token):  # another worker's
            live = session.take(held, by_ask=held.by_ask)
            live._params = dict(live._proposal)
        _finish(session, live, told, state)
        return frozen_trial(log.fold, number)


def _number_of(trial: Trial | int) -> int:
    if isinstance(trial, Trial):
        return trial.number
    if isinstance(trial, int) and not isinstance(trial, bool):
        return trial
    raise InvalidTypeError(f"`trial` must be a Trial or its number, but is {trial!r}.")


def _finish(session: Session, live: Trial, told: list[Any] | None, state: TrialState | None) -> None:
    why = None
    objectives = len(session.log.fold.directions)
    if state is TrialState.PRUNED:
        told = last_report(live._reported, objectives)
    elif state is not TrialState.FAIL:
        why = infeasible(told, objectives)
        if why and state is TrialState.COMPLETE:
            raise InvalidValueError(why)
        if why:
            warnings.warn(f"Trial {live.number} is told as FAIL: {why}", stacklevel=4)
        state = TrialState.FAIL if why else TrialState.COMPLETE
    values = [float(v) for v in told] if told is not None and not why and state is not TrialState.FAIL else None
    session.finish(live, state, values, why)
