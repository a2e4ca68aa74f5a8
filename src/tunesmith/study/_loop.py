"""The loop: hands out trials to an executor, and hears what becomes of them, until there is no more to do."""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith import logging
from tunesmith.exceptions import SearchSpaceExhaustedError, StaleTrialError, TrialPruned
from tunesmith.executors import BaseExecutor, Work
from tunesmith.pruners import Continue, Idle, Start, Stop, Verdict
from tunesmith.study._gone import sweep
from tunesmith.study._leases import Lease
from tunesmith.study._paused import PausedTrials
from tunesmith.study._progress import NoProgress, Progress
from tunesmith.study._recorder import Recorder
from tunesmith.study._session import LostRaceError
from tunesmith.study._settings import Settings
from tunesmith.study._signals import terminating
from tunesmith.trial import Trial, TrialState

if TYPE_CHECKING:
    from tunesmith.study._study import Study

_logger = logging.get_logger("tunesmith.study")

#: A worker that waits for others looks again after this many seconds (other processes cannot notify it).
WAIT_SECONDS = 0.2


class Loop:
    """One call of ``study.optimize``; the :class:`~tunesmith.executors.Host` of its executor."""

    def __init__(self, study: Study, settings: Settings, progress: Progress | NoProgress) -> None:
        self.study = study
        self.session = study._session
        self.settings = settings
        self.progress = progress
        self.started = 0
        self.busy = 0
        self.begin = time.monotonic()
        self._abort = False
        self._resumes: Callable[[Any], bool] = inspect.isgenerator
        self._recorder = Recorder(study, settings, progress)
        self._paused = PausedTrials(
            self.session, study._paused, settings.max_paused, lambda kept: self._resumes(kept), self._recorder.prune
        )

    def run(self, executor: BaseExecutor) -> None:
        """Evaluate until done; whatever happens, no trial of this loop is left RUNNING."""
        self._resumes = executor.resumes

        def waits() -> bool:
            return any(executor.stops(trial) for trial in list(self.session.live.values()))

        with terminating(self.stop, waits, self._give_up), self.opened():
            executor.run(self)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """While trials may be taken: before it and after it, what dead workers (and this loop) left is released."""
        session = self.session
        try:
            with session.log.lock:  # held over the sweep, or it could release what another loop has just claimed
                session.loops += 1
                try:
                    session.attempts = self.settings.attempts
                    self._begin_lease()
                    sweep(session, own=session.loops == 1)
                except BaseException:
                    session.loops -= 1
                    raise
        except BaseException:
            self._end_lease()
            raise
        try:
            yield
        finally:
            try:
                with session.log.lock:
                    session.loops -= 1
                    last = session.loops == 0
                    if last:
                        sweep(session, own=True)
            finally:
                self._end_lease()
            if last:
                if not self.settings.keep_paused:
                    self._paused.end()
                session.states.tidy_finished()

    def _begin_lease(self) -> None:
        """The first loop of a study decides; in memory there is nobody who could miss this process."""
        session, seconds = self.session, self.settings.lease
        if session.lease is None and seconds is not None and session.log.storage.persistent:
            session.lease = Lease(session.log, session.worker, seconds, self._look)
            session.lease.begin()

    def _look(self) -> None:
        """Now and then: show what is held back here, and give back what dead workers have left."""
        self.session.flush_all()
        sweep(self.session)

    def _end_lease(self) -> None:
        """The last loop ends it; not under the lock of the log, for which the lease's thread may wait."""
        lease = self.session.lease
        if lease is not None and self.session.loops == 0:
            self.session.lease = None
            lease.end()

    def _give_up(self) -> None:
        """Release what runs although it was asked to stop; the process ends."""
        session = self.session
        if session.log.lock.acquire(timeout=1.0):  # a thread that holds it for longer is stuck in the store
            for trial in list(session.live.values()):
                held = session.log.fold.open.get(trial.number)
                if held is not None and held.state == TrialState.RUNNING and not held.by_ask:
                    session.release(trial, free=True)
        if session.lease is not None:
            session.lease.end()

    @property
    def objective(self) -> Callable[[Trial], Any]:
        """What the user wants evaluated."""
        return self.settings.objective

    @property
    def stopping(self) -> bool:
        """Whether trials should end now, unfinished."""
        return self._abort

    def stop(self) -> None:
        """Let trials end now, unfinished."""
        self._abort = True

    @property
    def _over(self) -> bool:
        timeout = self.settings.timeout
        late = timeout is not None and time.monotonic() - self.begin >= timeout
        return self._abort or self.study._stop_flag or late

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A thread of this loop: in it ``study.stop()`` is allowed and another ``optimize`` is not."""
        self.study._local.in_loop = True
        try:
            yield
        finally:
            self.study._local.in_loop = False

    # -- what next ----------------------------------------------------------------------------------------------

    def take(self, n: int = 1, *, wait: bool = True, reach: Callable[[Any], bool] | None = None) -> list[Work]:
        """Up to ``n`` trials, new ones or paused ones to continue; see :class:`~tunesmith.executors.Host`."""
        try:
            return self._take(n, wait, reach or _anywhere)
        finally:
            self._after_stopped()

    def _take(self, n: int, wait: bool, reach: Callable[[Any], bool]) -> list[Work]:
        while not self._over:
            with self.session.log.lock:
                if self._over:  # stopped while this worker waited for the lock
                    return []
                self.session.log.sync()
                try:
                    works = self._decide(n, reach)
                except LostRaceError:
                    continue  # what is to be done may be another thing now
                except SearchSpaceExhaustedError as error:
                    _logger.info("%s", error)
                    return []
                if works is Idle.DONE:
                    return []
                if not isinstance(works, Idle):
                    for work in works:
                        self.progress.trial_started(work.trial.number)
                    return works
                if not wait:
                    return []
                if self.busy == 0 and not self._freed() and not self._others_run():
                    _logger.warning("%r waits, but no trial is running; the loop ends.", self.session.pruner)
                    return []
            self._after_stopped()
            self.session.wait(WAIT_SECONDS)
        return []

    def _decide(self, n: int, reach: Callable[[Any], bool]) -> list[Work] | Idle:
        """What to do with ``n`` free places; an error or an idle wish counts only if there is nothing else to do."""
        found: list[Work] = []
        while len(found) < n:
            try:
                more = self._wish(n - len(found), reach)
            except (LostRaceError, SearchSpaceExhaustedError):
                if not found:
                    raise
                break
            if isinstance(more, Idle):
                return found or more
            found += more
        return found

    def _wish(self, n: int, reach: Callable[[Any], bool]) -> list[Work] | Idle:
        """The first of the rule's wishes that can be fulfilled here; interrupted trials come before all of them."""
        if self._may_start() and self.session.log.fold.next_waiting(released=True) is not None:
            return self._start({}, n, released=True)
        rest = Idle.DONE
        for wish in self._wishes():
            if isinstance(wish, Idle):
                return wish
            if isinstance(wish, Start):
                if self._may_start():
                    return self._begin(wish, n)
            elif self.session.elsewhere(self._paused.one(wish.number)) or not self._paused.usable(wish.number, reach):
                rest = Idle.WAIT  # its own worker will go on with it
            else:
                return [self._continue(wish.number)]
        return rest

    def _wishes(self) -> Iterator[Start | Continue | Idle]:
        """What the rule wants next, in order of preference; after each trial that it wants to end it is asked anew."""
        while True:
            wishes = self.session.pruner.schedule(self.session.snapshot())
            for wish in (wishes,) if isinstance(wishes, (Start, Continue, Stop, Idle)) else wishes:
                if isinstance(wish, Stop):
                    self._paused.stop(wish.number)
                    break
                yield wish
            else:
                return

    def _may_start(self) -> bool:
        return self.settings.n_trials is None or self.started < self.settings.n_trials

    def _freed(self) -> bool:
        """Release what died meanwhile; whether there was any."""
        version = self.session.log.fold.version
        sweep(self.session)
        return self.session.log.fold.version != version

    def _others_run(self) -> bool:
        return any(t.state == TrialState.RUNNING for t in self.session.log.fold.open.values())

    def _begin(self, wish: Start, n: int) -> list[Work]:
        """A wish with tags or a configuration is for one trial; the rule looks again before the next."""
        if wish.params is None:
            return self._start(wish.tags, 1 if wish.tags else n)
        if self.session.log.fold.next_waiting() is not None:
            return self._start({}, 1)  # what a user has enqueued comes first
        return self._start(wish.tags, 1, params=wish.params, state=wish.state)

    def _start(
        self, tags: Mapping[str, Any], n: int, *, params: Mapping[str, Any] | None = None,
        state: tuple[int, int] | None = None, released: bool = False,
    ) -> list[Work]:  # fmt: skip
        if self.settings.n_trials is not None:
            n = min(n, self.settings.n_trials - self.started)
        trials = self.session.claim(
            by_ask=False, tags=tags, params=params, state=state, synced=True, released=released, n=n
        )
        self.started += len(trials)
        self.busy += len(trials)
        return [Work(trial) for trial in trials]

    def _continue(self, number: int) -> Work:
        """With what was kept; without it (its process is gone) from its saved state, else from its start."""
        work = self._paused.take(number)
        if not self.session.resume(number, again=work is None):
            if work is not None:
                self._paused.add(work)
            raise LostRaceError
        self.busy += 1
        if work is not None:
            work.trial._since = time.monotonic()
            return work
        trial = self.session.take(self.session.log.fold.open[number], by_ask=False)
        if trial._from is None:
            _logger.info("Trial %d cannot go on where it was paused, so it begins again.", number)
        else:
            _logger.info("Trial %d goes on from the state that it saved at step %d.", number, trial._from)
        return Work(trial)

    # -- what becomes of a trial --------------------------------------------------------------------------------

    def reported(self, trial: Trial, item: Any) -> Verdict:
        """Record what the objective yielded and ask the stopping rule."""
        self._recorder.report(trial, item)
        self.progress.reported(trial.number, len(trial._reported))
        return self.session.verdict(trial) if self.session.judges and not self._abort else Verdict.GO

    def ended(self, trial: Trial, result: Any = None, error: Exception | None = None) -> None:
        """The objective returned or raised."""
        try:
            if isinstance(error, TrialPruned) and trial._pausable and self._set_aside(trial):
                return
            if isinstance(error, TrialPruned):
                told = self._recorder.tell(trial, None, TrialState.PRUNED, error)
            elif isinstance(error, StaleTrialError) and not self.session.holds(trial):
                # another worker has the trial by now: what was done here does not count, and the loop goes on
                self.session.forget(trial)
                _logger.warning("%s", error)
                return
            elif isinstance(error, self.settings.attempts.retry) and self._recorder.attempts_left(trial):
                self._lose(trial, error)
                return
            elif error is not None:
                told = self._recorder.tell(trial, None, TrialState.FAIL, error)
                if not isinstance(error, self.settings.catch):
                    raise error
            elif result is None and trial._last_values is None and trial._from is not None:
                nothing = f"There was nothing left to train after step {trial._from}, where its state was saved."
                told = self._recorder.tell(trial, None, TrialState.PRUNED, TrialPruned(nothing))
            else:
                told = self._recorder.tell(trial, trial._last_values if result is None else result, None, None)
        finally:
            self._free()
        if told:
            self._recorder.announce(trial.number)

    def pruned(self, trial: Trial) -> None:
        """The stopping rule's STOP was obeyed."""
        rule = type(self.session.pruner).__name__
        self.ended(trial, error=TrialPruned(f"Stopped by {rule} at step {trial._last_step}."))

    def paused(self, trial: Trial, kept: Any) -> None:
        """The stopping rule's PAUSE was obeyed."""
        with self.session.log.lock:
            self.session.pause(trial)
            trial._computed += time.monotonic() - trial._since
            self._paused.add(Work(trial, kept))
        self._free()
        _logger.debug("Trial %d paused at step %d.", trial.number, max(trial._reported))
        self._after_stopped()

    def released(self, trial: Trial, cause: BaseException | None = None) -> None:
        """Ctrl-C and a loop that was stopped say nothing about a trial; what ended its process may be its fault."""
        try:
            ended = self._lose(trial, cause)
        finally:
            self._free()
        if ended:
            self._recorder.announce(trial.number)

    def _set_aside(self, trial: Trial) -> bool:
        """Pause the trial of a function, which is called again and begins with its state; whether it is ours."""
        with self.session.log.lock:
            if not self.session.holds(trial):
                return False
            try:
                self.session.pause(trial)
            except StaleTrialError:  # another worker was faster than this append
                return False
            self.session.forget(trial)
            return True

    def _lose(self, trial: Trial, cause: BaseException | None) -> bool:
        """An attempt is lost; whether it was the last one, so that the trial has ended."""
        ended = self._recorder.lose(trial, cause)
        if not ended:
            with self.session.log.lock:
                self.started -= 1  # it was counted when it was started, and will be again
        return ended

    def _free(self) -> None:
        with self.session.log.lock:
            self.busy -= 1
        if self.settings.gc_after_trial:
            gc.collect()

    def _after_stopped(self) -> None:
        """Callbacks of paused trials that were stopped, when the log is not locked any more."""
        while self._paused.stopped:
            self._recorder.announce(self._paused.stopped.pop(0))


def _anywhere(kept: Any) -> bool:
    """Whoever is free may go on with a paused trial."""
    return True
