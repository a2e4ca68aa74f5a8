"""The trials that a process holds, and everything that it appends for them, up to their end."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import Any

from tunesmith import events as ev
from tunesmith.exceptions import StaleTrialError, StorageInternalError
from tunesmith.records import deleted
from tunesmith.space import Space
from tunesmith.study._attempts import Attempts
from tunesmith.study._leases import Lease, is_gone
from tunesmith.study._log import StudyLog
from tunesmith.study._states import TrialStates, gained
from tunesmith.study._worker import new_worker, same_process
from tunesmith.trial import Trial, TrialState
from tunesmith.trial._pending import Pending

#: A report or attribute goes out at once if the trial's last append is this old (seconds), else with the next one, or
#: with the next heartbeat.
FLUSH_SECONDS = 0.5

#: Those of this process by worker id.
_here: weakref.WeakValueDictionary[str, LiveTrials] = weakref.WeakValueDictionary()


class LiveTrials:
    """Trials by number, with what is pending of them, and the worker that holds them.

    Attributes:
        log, states: of the study.
        live: number -> trial, of those that this process has claimed and not ended.
        loops: how many calls of ``optimize`` are running.
        attempts: how often trials are attempted; of the last call of ``optimize``.
        lease: of the worker, while its heart beats.
    """

    def __init__(self, log: StudyLog, states: TrialStates) -> None:
        self.log = log
        self.states = states
        self.live: dict[int, Trial] = {}
        self.loops = 0
        self.attempts = Attempts()
        self.lease: Lease | None = None
        self._by_ask: set[int] = set()
        self._flushed: dict[int, float] = {}
        self._worker: ev.Event | None = None

    @property
    def worker(self) -> ev.Event:
        """This process in the log; a forked child gets an identity of its own."""
        if self._worker is None or self._worker["pid"] != os.getpid():
            self._worker = new_worker()
            _here[self._worker["w"]] = self
        return self._worker

    # -- what a trial asks for ----------------------------------------------------------------------------------

    def changed(self, trial: Trial) -> None:
        """Flush at once for trials of ``study.ask()``, else when the oldest pending change may be too old.

        Raises:
            StaleTrialError: the trial has ended, or another worker holds it.
        """
        ended = self.live.get(trial.number) is not trial
        age = time.monotonic() - self._flushed.get(trial.number, 0.0)
        if ended or trial.number in self._by_ask or trial.pending.saved is not None or age > FLUSH_SECONDS:
            self.flush(trial)

    def save(self, trial: Trial, state: Any, step: int) -> None:
        """Write a state of a trial that this process holds.

        Raises:
            StaleTrialError: it does not (any more).
        """
        if self.live.get(trial.number) is not trial:
            raise self.stale(trial)
        self.states.save(trial, state, step)

    def load(self, trial: Trial) -> Any:
        """See :meth:`~tunesmith.trial.Trial.load`."""
        return self.states.load(trial)

    # -- appends ------------------------------------------------------------------------------------------------

    def _changes(self, trial: Trial, pending: Pending) -> tuple[list[ev.Event], dict[str, Any]]:
        """Events to stand first, and the fields of the trial's own event, for everything not yet in the log."""
        before: list[ev.Event] = []
        fields = ev.changes_to_json(pending.reports, pending.user_attrs, pending.constraints)
        if pending.late:
            late = Space(pending.late)
            if late.id not in self.log.fold.spaces:
                before.append(ev.space_event(late))
                self.log.fold.register(late)
            fields["l"] = [late.id, late.to_event(trial._params)]
        if pending.saved is not None:
            fields["sv"] = pending.saved
        return before, fields

    def write(self, trial: Trial, event: ev.Event) -> bool:
        """Append an event of a live trial together with all that is pending; return whether it was valid."""
        with self.log.lock:
            event["n"], event["k"] = trial.number, trial._token
            event.setdefault("t", ev.now())
            held = self.log.fold.open.get(trial.number)
            saved = False
            if trial.pending:
                pending = trial.take_pending()  # what the objective's thread adds from here on goes out next time
                saved = pending.saved is not None
                try:
                    before, fields = self._changes(trial, pending)
                    fate = self.log.append([*before, {**event, **fields}])[-1]
                except BaseException:
                    trial.put_back(pending)
                    raise
            else:
                fate = self.log.append([event])[-1]
            self._flushed[trial.number] = time.monotonic()
            self.log.changed.notify_all()
            if fate and (saved or (held is not None and held.state_of and trial.number not in self.log.fold.open)):
                self.states.tidy(trial.number, None if held is None else held.source)
            return fate

    def flush(self, trial: Trial) -> None:
        """Write what is pending now.

        Raises:
            StaleTrialError: another worker holds the trial by now.
        """
        with self.log.lock:
            if trial.pending and not self.write(trial, {"e": "up"}):
                raise self.stale(trial)

    def flush_all(self) -> None:
        """Write what is pending of every live trial, so that a reader sees it."""
        with self.log.lock:
            if self._worker is None or self._worker["pid"] != os.getpid():
                return  # a forked child: the trials are its parent's
            for trial in list(self.live.values()):
                if trial.pending:
                    with contextlib.suppress(StorageInternalError):  # a full disk must not keep anybody from reading
                        self.write(trial, {"e": "up"})

    def stale(self, trial: Trial) -> StaleTrialError:
        number = trial.number
        if self.log.fold.is_deleted(number):
            return deleted(number)
        if number not in self.log.fold.open and number < self.log.fold.n_trials:
            return StaleTrialError(f"Trial {number} is finished already and cannot be changed.")
        return StaleTrialError(
            f"Trial {number} is no longer held by this worker: it was released meanwhile. Its result is not recorded."
        )

    def finish(self, trial: Trial, state: TrialState, values: list[float] | None, why: str | None = None) -> None:
        """Tell a live trial's end.

        Raises:
            StaleTrialError: another worker holds the trial by now.
        """
        event: ev.Event = {"e": "tell", "st": int(state), "t": ev.now()}
        if values is not None:
            event["y"] = [ev.number_to_json(v) for v in values]
        if why:
            event["why"] = why[:2000]
        if unused := [n for n in trial._proposal if n not in trial._params]:
            event["x"] = unused
        if state is TrialState.PRUNED and trial._ruled_at is not None:
            event["at"] = trial._ruled_at
        fate = self.write(trial, event)
        self.forget(trial)
        if not fate:
            raise self.stale(trial)

    def forget(self, trial: Trial | None) -> None:
        """Keep a trial no longer; a later attempt under its number is another trial, and is kept."""
        if trial is not None and self.live.get(trial.number) is trial:
            del self.live[trial.number]
            self._flushed.pop(trial.number, None)
            self._by_ask.discard(trial.number)

    def release(self, trial: Trial, *, free: bool = False, cause: str = "") -> bool:
        """Give an interrupted trial back: it waits for another attempt under the same number and parameters.

        After so many attempts it becomes FAIL instead: a trial that kills its process must not do so for ever.

        Args:
            trial: which.
            free: this attempt does not count, as it was not the trial that ended it. One that has saved a state does
                not count either: the next one begins further on.
            cause: what ended it, for the reason of a trial that is not attempted again.

        Returns:
            Whether the trial has ended.
        """
        held = self.log.fold.open.get(trial.number)
        if held is None or free or gained(held):
            self.write(trial, {"e": "release", "free": 1})
        elif self.attempts.used_up(held):
            with contextlib.suppress(StaleTrialError):  # another worker has it: nothing to give back
                self.finish(trial, TrialState.FAIL, None, self.attempts.why_failed(held, cause))
            return True
        else:
            self.write(trial, {"e": "release"})
        self.forget(trial)
        return False

    def pause(self, trial: Trial) -> None:
        """The trial is PAUSED; it stays live, because its generator is kept.

        Raises:
            StaleTrialError: another worker holds the trial by now.
        """
        ruled = {} if trial._ruled_at is None else {"at": trial._ruled_at}
        if not self.write(trial, {"e": "pause", **ruled}):
            raise self.stale(trial)

    # -- who holds a trial --------------------------------------------------------------------------------------

    def holds(self, trial: Trial) -> bool:
        """Whether the log says that the trial is this handle's."""
        with self.log.lock:
            self.log.sync()
            held = self.log.fold.open.get(trial.number)
            return held is not None and held.token == trial._token

    def is_gone(self, worker: ev.Event) -> bool:
        """Whether another worker is dead, or is to be taken for dead."""
        return is_gone(worker, self.lease)

    def elsewhere(self, number: int) -> bool:
        """Whether another live process, or another running loop of this one, keeps the generator of a PAUSED trial
        that has not saved its state."""
        held = self.log.fold.open.get(number)
        if held is not None and held.saved:
            return False
        worker = None if held is None else self.log.fold.holder(held)
        if worker is None or worker["w"] == self.worker["w"] or self.is_gone(worker):
            return False
        if not same_process(worker, self.worker):
            return True
        other = _here.get(worker["w"])
        return other is not None and other.loops > 0 and number in other.live
