"""What becomes of a loop's trials: as it is written, as it is logged, and as callbacks hear of it."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tunesmith import logging
from tunesmith.curves import SECONDS, STEP
from tunesmith.exceptions import StaleTrialError, TrialDeletedError, TrialPruned
from tunesmith.study._progress import NoProgress, Progress
from tunesmith.study._settings import Settings
from tunesmith.study._signals import Terminated
from tunesmith.study._values import as_values, infeasible, last_report
from tunesmith.study._yielded import yielded
from tunesmith.trial import Trial, TrialState

if TYPE_CHECKING:
    from tunesmith.study._study import Study

_logger = logging.get_logger("tunesmith.study")


class Recorder:
    """Records what the objective has yielded, returned and raised. May be used by several threads.

    Args:
        study: whose trials.
        settings: of this call of ``optimize``.
        progress: hears of each end.
    """

    def __init__(self, study: Study, settings: Settings, progress: Progress | NoProgress) -> None:
        self._study, self._session = study, study._session
        self._settings, self._progress = settings, progress
        self._warned = False

    def report(self, trial: Trial, item: Any) -> None:
        """Report what was yielded."""
        step, values, others = yielded(item, trial._last_step + 1, self._session.log.fold.metric_names)
        trial.report(values[0], step)
        for index, value in enumerate(values[1:], 1):
            trial.report_objective(index, value, step)
        for name, value in others.items():
            trial.report_metric(name, value, step)
        if trial._awaited is not None:
            trial._settle()
            self._session.changed(trial)
        trial._last_values = [float(v) for v in values]

    def attempts_left(self, trial: Trial) -> bool:
        """Whether a trial is still this worker's, and may be attempted again."""
        held = self._session.log.fold.open.get(trial.number)
        return held is not None and self._session.holds(trial) and not self._settings.attempts.used_up(held)

    def lose(self, trial: Trial, cause: BaseException | None) -> bool:
        """An attempt is lost; whether it was the last one, so that the trial has ended."""
        free = cause is None or isinstance(cause, (KeyboardInterrupt, Terminated))
        why = "the loop was stopped" if cause is None else _describe(cause)
        if self._session.release(trial, free=free, cause=why):
            _logger.warning("Trial %d was interrupted too often, and failed: %s", trial.number, why)
            return True
        _logger.warning("Trial %d was interrupted (%s) and waits for another attempt.", trial.number, why)
        return False

    def tell(self, trial: Trial, result: Any, state: TrialState | None, error: BaseException | None) -> bool:
        """Record the end of a trial; whether it was still this worker's to tell."""
        values: list[Any] | None = None
        why = None
        if state is None:
            values = as_values(result)
            why = infeasible(values, len(self._session.log.fold.directions))
            state = TrialState.FAIL if why else TrialState.COMPLETE
        elif state is TrialState.PRUNED:
            values = last_report(trial._reported, len(self._session.log.fold.directions))
        elif error is not None:
            why = _describe(error)
        told = None if why or values is None else [float(v) for v in values]
        try:
            self._session.finish(trial, state, told, why)
        except StaleTrialError as stale:
            _logger.warning("%s", stale)
            return False
        self._log_end(trial, state, told, why, error)
        if state is TrialState.COMPLETE:
            self._check_resource(trial)
        return True

    def _check_resource(self, trial: Trial) -> None:
        """A rule that counts in something that nobody reports stops nothing: say so once."""
        rule = self._session.pruner
        if self._warned or rule.resource in (STEP, SECONDS) or rule.resource in trial._metrics or not trial._reported:
            return
        self._warned = True
        _logger.warning(
            "Trial %d has not reported %r, which %s counts in, so nothing is stopped: yield {...: loss, %r: number}, "
            "or call trial.report_metric(%r, number, step).",
            trial.number, rule.resource, type(rule).__name__, rule.resource, rule.resource,
        )  # fmt: skip

    def prune(self, trial: Trial, why: TrialPruned) -> None:
        """Record the end of a trial that the stopping rule, or the lack of room, has ended."""
        self.tell(trial, None, TrialState.PRUNED, why)

    def _log_end(
        self, trial: Trial, state: TrialState, values: list[float] | None, why: str | None, error: BaseException | None
    ) -> None:
        if state is TrialState.COMPLETE:
            if _logger.isEnabledFor(logging.INFO):
                _logger.info("%s", self._study._describe_end(trial, values or []))
        elif state is TrialState.PRUNED:
            _logger.info("Trial %d pruned. %s", trial.number, error or "")
        else:
            detail = "\n" + "".join(traceback.format_exception(error)).rstrip() if error is not None else ""
            _logger.warning("Trial %d failed with parameters %s: %s%s", trial.number, trial.params, why, detail)

    def announce(self, number: int) -> None:
        """Callbacks and progress, in the worker that evaluated the trial."""
        frozen = None
        if self._settings.callbacks:
            with suppress(TrialDeletedError):  # in this moment: there is nothing to call them with
                frozen = self._study._frozen(number)
        if frozen is not None:
            for callback in self._settings.callbacks:
                callback(self._study, frozen.__deepcopy__({}))
        self._progress.trial_ended(self._study)


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    except Exception:
        return f"{type(error).__name__} (which cannot be shown as text)"
