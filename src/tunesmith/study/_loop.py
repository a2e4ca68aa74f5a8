"""The loop: claims trials, evaluates them, and tells their end, until there is no more to do."""

from __future__ import annotations

import gc
import inspect
import time
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from tunesmith import logging
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    SearchSpaceExhaustedError,
    StaleTrialError,
    TrialPruned,
)
from tunesmith.executors import get_executor
from tunesmith.pruners import Continue, Idle, Start, Verdict
from tunesmith.study._gone import end_paused, sweep
from tunesmith.study._progress import NoProgress, Progress
from tunesmith.study._session import LostRaceError
from tunesmith.study._settings import Settings
from tunesmith.study._values import as_values, infeasible, last_report
from tunesmith.trial import Trial, TrialState

if TYPE_CHECKING:
    from tunesmith.study._study import Study

_logger = logging.get_logger("tunesmith.study")

#: A worker that waits for others looks again after this many seconds (other processes cannot notify it).
WAIT_SECONDS = 0.2


@dataclass
class Paused:
    """A paused trial whose generator is kept in this process."""

    trial: Trial
    generator: Generator[Any, Any, Any]


class Stopped(BaseException):
    """The loop wants a running generator to end here; its trial is released."""


class Loop:
    """One call of ``study.optimize``."""

    def __init__(self, study: Study, settings: Settings, progress: Progress | NoProgress) -> None:
        self.study = study
        self.session = study._session
        self.settings = settings
        self.progress = progress
        self.started = 0
        self.busy = 0
        self.begin = time.monotonic()
        self._abort = False

    def run(self) -> None:
        """Evaluate until done; whatever happens, no trial of this loop is left RUNNING."""
        session = self.session
        with session.log.lock:  # held over the sweep, or it could release what another loop has just claimed
            session.loops += 1
            try:
                sweep(session, own=session.loops == 1)
            except BaseException:
                session.loops -= 1
                raise
        try:
            get_executor(self.settings.n_jobs).run(self._worker, self._stop_workers)
        finally:
            with session.log.lock:
                session.loops -= 1
                last = session.loops == 0
                if last:
                    sweep(session, own=True)
            if last and not self.settings.keep_paused:
                self._end_paused()

    def _stop_workers(self) -> None:
        self._abort = True

    @property
    def _over(self) -> bool:
        timeout = self.settings.timeout
        late = timeout is not None and time.monotonic() - self.begin >= timeout
        return self._abort or self.study._stop_flag or late

    def _worker(self) -> None:
        self.study._local.in_loop = True
        try:
            while (work := self._next()) is not None:
                try:
                    number = self._evaluate(work)
                finally:
                    with self.session.log.lock:
                        self.busy -= 1
                    if self.settings.gc_after_trial:
                        gc.collect()
                if number is not None:
                    self._after(number)
        finally:
            self.study._local.in_loop = False

    # -- what next ----------------------------------------------------------------------------------------------

    def _next(self) -> Trial | Paused | None:
        """A new trial, a paused one to continue, or ``None`` when this worker is done."""
        while not self._over:
            with self.session.log.lock:
                if self._over:  # stopped while this worker waited for the lock
                    return None
                self.session.log.sync()
                try:
                    work = self._decide()
                except LostRaceError:
                    continue  # what is to be done may be another thing now
                except SearchSpaceExhaustedError as error:
                    _logger.info("%s", error)
                    return None
                if work is Idle.DONE:
                    return None
                if not isinstance(work, Idle):
                    return work
                if self.busy == 0 and not self._freed() and not self._others_run():
                    _logger.warning("%r waits, but no trial is running; the loop ends.", self.session.pruner)
                    return None
            self.session.wait(WAIT_SECONDS)
        return None

    def _decide(self) -> Trial | Paused | Idle:
        """The first of the rule's wishes that can be fulfilled here; interrupted trials come before all of them."""
        if self._may_start() and self.session.log.fold.next_waiting(released=True) is not None:
            return self._start({}, released=True)
        rest = Idle.DONE
        wishes = self.session.pruner.schedule(self.session.snapshot())
        for wish in (wishes,) if isinstance(wishes, (Start, Continue, Idle)) else wishes:
            if isinstance(wish, Idle):
                return wish
            if isinstance(wish, Start):
                if self._may_start():
                    return self._start(wish.tags)
            elif not self.session.elsewhere(wish.number):
                return self._continue(wish.number)
            else:
                rest = Idle.WAIT  # its own worker will go on with it
        return rest

    def _may_start(self) -> bool:
        return self.settings.n_trials is None or self.started < self.settings.n_trials

    def _freed(self) -> bool:
        """Release what died meanwhile; whether there was any."""
        version = self.session.log.fold.version
        sweep(self.session)
        return self.session.log.fold.version != version

    def _others_run(self) -> bool:
        return any(t.state == TrialState.RUNNING for t in self.session.log.fold.open.values())

    def _start(self, tags: Mapping[str, Any], *, released: bool = False) -> Trial:
        trial = self.session.claim(by_ask=False, tags=tags, synced=True, released=released)
        self.started += 1
        self.busy += 1
        return trial

    def _continue(self, number: int) -> Trial | Paused:
        """The kept generator; without one (its process is gone) the trial begins again under its number."""
        paused = self.study._paused.get(number)
        if paused is not None and not self.session.holds(paused.trial):
            self._drop(self.study._paused.pop(number))  # somebody else has it, or has ended it
            paused = None
        if not self.session.resume(number, again=paused is None):
            raise LostRaceError
        self.busy += 1
        if paused is not None:
            return self.study._paused.pop(number)
        _logger.info("Trial %d was paused in a process that is gone; it begins again.", number)
        return self.session.take(self.session.log.fold.open[number], by_ask=False)

    def _drop(self, paused: Paused) -> None:
        _close(paused.generator, paused.trial)
        self.session.forget(paused.trial)

    # -- one trial ----------------------------------------------------------------------------------------------

    def _evaluate(self, work: Trial | Paused) -> int | None:
        """Run the objective (or go on with its generator) and tell the end; return the number if it ended."""
        trial = work.trial if isinstance(work, Paused) else work
        self.progress.trial_started(trial.number)
        result: Any = None
        error: BaseException | None = None
        state: TrialState | None = None
        generator: Any = None
        try:
            result = work.generator if isinstance(work, Paused) else self.settings.objective(trial)
            if inspect.isgenerator(result):
                generator = result
                result = self._drive(generator, trial)
                if result is Verdict.PAUSE:
                    self._pause(trial, generator)
                    return None
        except TrialPruned as pruned:
            state, error = TrialState.PRUNED, pruned
        except Exception as failure:
            if isinstance(failure, StaleTrialError) and not self.session.holds(trial):
                self._lost(trial, generator, failure)
                return None
            state, error = TrialState.FAIL, failure
        except BaseException as interrupt:
            stopped = isinstance(interrupt, Stopped)
            if not stopped:
                self._abort = True  # first, or another worker may claim the trial at once
            # Ctrl-C says nothing about the trial, so it is no failed attempt; what ended its process may be its fault
            self.session.release(trial, free=isinstance(interrupt, (Stopped, KeyboardInterrupt)))
            _logger.warning(
                "Trial %d was interrupted (%s) and waits for another attempt.", trial.number, _name(interrupt)
            )
            if stopped:
                return None
            raise
        self._tell(trial, result, state, error)
        if state is TrialState.FAIL and not isinstance(error, self.settings.catch):
            raise error  # type: ignore[misc]
        return trial.number

    def _lost(self, trial: Trial, generator: Any, error: StaleTrialError) -> None:
        """Another worker has the trial by now: what was done here does not count, and the loop goes on."""
        if generator is not None:
            _close(generator, trial)
        self.session.forget(trial)
        _logger.warning("%s", error)

    def _drive(self, generator: Generator[Any, Any, Any], trial: Trial) -> Any:
        """Resume the generator until it returns, or the stopping rule ends or pauses it."""
        one_objective = len(self.session.log.fold.directions) == 1
        while True:
            try:
                item = next(generator)
            except StopIteration as end:
                return end.value if end.value is not None else trial._last_values
            try:
                self._report(trial, item)
            except BaseException:
                _close(generator, trial)
                raise
            self.progress.reported(trial.number, len(trial._reported))
            if self._abort:
                _close(generator, trial)
                raise Stopped("the loop was stopped")
            verdict = self.session.verdict(trial) if one_objective else Verdict.GO
            if verdict is Verdict.PAUSE:
                return verdict
            if verdict is Verdict.STOP:
                _close(generator, trial)
                raise TrialPruned(f"Stopped by {type(self.session.pruner).__name__} at step {trial._last_step}.")

    def _report(self, trial: Trial, item: Any) -> None:
        """A yielded item as a report: ``value``, ``(step, value)``, ``(step, (v1, v2))`` or a dict of metrics."""
        step: Any = trial._last_step + 1
        if isinstance(item, tuple):
            if len(item) != 2:
                raise InvalidTypeError(f"A yielded tuple is (step, value), but {item!r} has {len(item)} entries.")
            step, item = item
            if isinstance(step, bool) or not isinstance(step, Real) or float(step) % 1 != 0:
                raise InvalidTypeError(
                    f"The first entry of a yielded tuple is the step, a whole number, but is {step!r}; several "
                    "objectives are yielded as (step, (value, value))."
                )
        others: dict[str, Any] = {}
        if isinstance(item, Mapping):
            if not item:
                raise InvalidTypeError("The objective yielded an empty dictionary; yield at least its value.")
            mains = self._objectives_in(item)
            others = {str(k): v for k, v in item.items() if k not in mains}
            values = [item[n] for n in mains]
        else:
            values = list(as_values(item) or [item])
        if texts := [v for v in values if isinstance(v, (str, bytes, bytearray))]:
            raise InvalidTypeError(f"The objective yielded the text {texts[0]!r}; yield numbers.")
        trial.report(values[0], step)
        for index, value in enumerate(values[1:], 1):
            trial.report_objective(index, value, step)
        for name, value in others.items():
            trial.report_metric(name, value, step)
        trial._last_values = [float(v) for v in values]

    def _objectives_in(self, item: Mapping[Any, Any]) -> list[Any]:
        """Which of the yielded metrics are objectives: those that the study names, or the first if it names none."""
        names = self.session.log.fold.metric_names
        if not names:
            return [next(iter(item))]
        found = [name for name in names if name in item]
        if not found:
            raise InvalidValueError(
                f"The objective yielded {', '.join(map(repr, item))}, but in this study it is called "
                f"{', '.join(map(repr, names))}; yield it under that name, or name it otherwise (set_metric_names)."
            )
        return found

    def _pause(self, trial: Trial, generator: Generator[Any, Any, Any]) -> None:
        with self.session.log.lock:
            self.session.pause(trial)
            self.study._paused[trial.number] = Paused(trial, generator)
        _logger.debug("Trial %d paused at step %d.", trial.number, max(trial._reported))

    def _tell(self, trial: Trial, result: Any, state: TrialState | None, error: BaseException | None) -> None:
        values: list[Any] | None = None
        why = None
        if state is None:
            values = as_values(result)
            why = infeasible(values, len(self.session.log.fold.directions))
            state = TrialState.FAIL if why else TrialState.COMPLETE
        elif state is TrialState.PRUNED:
            values = last_report(trial._reported, len(self.session.log.fold.directions))
        elif error is not None:
            why = _describe(error)
        told = None if why or values is None else [float(v) for v in values]
        try:
            self.session.finish(trial, state, told, why)
        except StaleTrialError as stale:
            _logger.warning("%s", stale)
            return
        self._log_end(trial, state, told, why, error)

    def _log_end(
        self, trial: Trial, state: TrialState, values: list[float] | None, why: str | None, error: BaseException | None
    ) -> None:
        if state is TrialState.COMPLETE:
            if _logger.isEnabledFor(logging.INFO):
                _logger.info("%s", self.study._describe_end(trial, values or []))
        elif state is TrialState.PRUNED:
            _logger.info("Trial %d pruned. %s", trial.number, error or "")
        else:
            detail = "\n" + "".join(traceback.format_exception(error)).rstrip() if error is not None else ""
            _logger.warning("Trial %d failed with parameters %s: %s%s", trial.number, trial.params, why, detail)

    def _after(self, number: int) -> None:
        """Callbacks and progress, in the worker that evaluated the trial."""
        if self.settings.callbacks:
            frozen = self.study._frozen(number)
            for callback in self.settings.callbacks:
                callback(self.study, frozen.__deepcopy__({}))
        self.progress.trial_ended(self.study)

    def _end_paused(self) -> None:
        """Paused trials that nobody will continue become PRUNED with their last value."""
        for number, paused in list(self.study._paused.items()):
            del self.study._paused[number]
            _close(paused.generator, paused.trial)
            try:
                values = last_report(paused.trial._reported, len(self.session.log.fold.directions))
                self.session.finish(paused.trial, TrialState.PRUNED, values)
            except StaleTrialError as stale:
                _logger.warning("%s", stale)
        end_paused(self.session.log)


def _close(generator: Generator[Any, Any, Any], trial: Trial) -> None:
    try:
        generator.close()
    except Exception as error:
        _logger.warning("Trial %d: its generator did not close cleanly: %r", trial.number, error)


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__} (which cannot be shown as text)"


def _name(error: BaseException) -> str:
    return type(error).__name__
