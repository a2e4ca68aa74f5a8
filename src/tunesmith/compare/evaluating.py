"""How a comparison evaluates one trial: it tells the listener, heeds interruptions, and keeps to the budget."""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from tunesmith.compare.collect import SECONDS
from tunesmith.compare.course import Course, course_of
from tunesmith.compare.lanes import LanesStopped
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.study import Study
from tunesmith.study._yielded import yielded
from tunesmith.train.errors import DataDamagedError, DataNotFoundError
from tunesmith.trial import Trial, TrialState


class Interrupted(KeyboardInterrupt):
    """Ends an evaluation because the comparison was interrupted; the study gives its trial back, like at Ctrl-C."""


class BrokenError(Interrupted):
    """Ends the comparison because of an error that is no configuration's fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class BudgetSpent(KeyboardInterrupt):
    """Ends a trial in its middle, because its study has spent its budget. It could go on with a larger one."""


#: Errors of the machine: another configuration would meet them too, and the same one might not tomorrow.
_NO_RESULTS = (MissingDependencyError, DataNotFoundError, DataDamagedError)

#: tell(event, trial, step, value): what happens to a trial, for the listener.
Tell = Callable[..., None]
#: count(steps): so many were made.
Count = Callable[[int], None]


class Evaluator:
    """The objective of one study of a comparison.

    Args:
        problem: of the repeat.
        tell: hears what happens.
        count: hears of every step that is made (for the progress).
        stop: set when the comparison is interrupted.
        timed: whether the seconds that a trial takes are measured here (in lanes it has its share of them).
        whole: steps of a whole training, if some method has a rule: then the objective must be a generator, and report
            no more often.
    """

    def __init__(
        self, problem: Any, tell: Tell, count: Count, stop: threading.Event, *, timed: bool, whole: int | None
    ) -> None:
        self._problem, self._tell, self._count, self._stop = problem, tell, count, stop
        self._timed, self._whole = timed, whole

    def __call__(self, trial: Trial) -> Any:
        self._tell("trial", trial.number)
        begin = time.monotonic()
        outcome = None
        try:
            outcome = self._problem(trial)
        except _NO_RESULTS as error:
            raise BrokenError(error) from None
        finally:
            if not inspect.isgenerator(outcome):
                trial.set_user_attr(SECONDS, time.monotonic() - begin)
        if inspect.isgenerator(outcome):
            return self._drive(outcome, trial, begin)
        if self._whole is not None:
            raise BrokenError(
                InvalidTypeError(
                    "A comparison with stopping rules needs an objective that yields a value after every step, so that "
                    "it can be stopped and paused there; this one is a function that returns. `yield value` in its "
                    "loop (instead of trial.report) makes it a generator."
                )
            )
        return outcome

    def _drive(self, epochs: Generator[Any, Any, Any], trial: Trial, begin: float) -> Generator[Any, Any, Any]:
        """Pass on what the objective yields; between two epochs, tell the listener and heed an interruption."""
        step = 0
        try:
            while True:
                ended, item = self._next(epochs, step)
                if ended:
                    return item
                step += 1
                self._count(1)
                yield item
                self.passed(trial, step, item)
        finally:
            epochs.close()
            if self._timed:
                trial.set_user_attr(SECONDS, time.monotonic() - begin)

    def _next(self, epochs: Generator[Any, Any, Any], step: int) -> tuple[bool, Any]:
        """(False, what the objective yields after so many steps), or (True, what it returns)."""
        try:
            item = next(epochs)
        except StopIteration as end:
            return True, end.value
        except _NO_RESULTS as error:
            raise BrokenError(error) from None
        except LanesStopped as stopped:
            raise interruption(stopped) from None
        if self._whole is not None and step >= self._whole:
            raise BrokenError(
                InvalidValueError(
                    f"A trial has reported more than {self._whole} times, which was said to be a whole training, so "
                    "budgets would not be equal. Give `steps` (of the problem, or of compare) the right number."
                )
            )
        return False, item

    def passed(self, trial: Trial, step: int, item: Any) -> None:
        """After an epoch."""
        self._tell("epoch", trial.number, step, _first_number(item))
        if self._stop.is_set():
            raise Interrupted


class RuledEvaluator(Evaluator):
    """The objective of a study with a stopping rule, whose budget is counted in steps.

    A trial whose generator is lost (its process has ended while it ran, or was paused) is trained again. Up to where
    it was its reports are recorded without asking the rule, which has said its word about them: asked once more, among
    trials that have come since, it might say something else.

    Args:
        problem, tell, count, stop: as for :class:`Evaluator`.
        study: which is evaluated.
        whole: steps of a whole training.

    Attributes:
        course: what the study had spent when its log was read last.
    """

    def __init__(self, problem: Any, tell: Tell, count: Count, stop: threading.Event, study: Study, whole: int) -> None:
        super().__init__(problem, tell, count, stop, timed=True, whole=whole)
        self._study, self.course = study, Course(whole)
        self._left = 0
        self._alive: list[Generator[Any, Any, Any]] = []

    def run(self, budget: int, callback: Callable[[Study, Any], None]) -> int:
        """Train until the budget is spent, or until the sampler and the rule have nothing left to do.

        Trials that are paused then stay so in the store, and the one that was in its middle waits there: with a larger
        budget they go on. Their networks are let go.

        Args:
            budget: steps that the study may spend in all, over all sessions.
            callback: called after each finished trial.

        Returns:
            How many steps are left.

        Raises:
            Interrupted: the comparison was.
        """

        def after(study: Study, trial: Any) -> None:
            if not trial.intermediate_values:
                self._spend(self.course.whole if trial.state == TrialState.COMPLETE else 1)
            elif self._left <= 0:
                study.stop()
            callback(study, trial)

        options: dict[str, Any] = {"catch": (Exception,), "callbacks": [after], "keep_paused": True}
        self._give_back()
        before = None
        try:
            while True:
                course = self.course = course_of(self._study, self.course.whole)
                self._left = budget - course.spent
                if course.spent == before or (self._left <= 0 and not course.unsettled):
                    return max(0, self._left)
                before = course.spent
                self._optimize(options)
        finally:
            for generator in self._alive:
                generator.close()

    def _optimize(self, options: Mapping[str, Any]) -> None:
        try:
            # a trial takes a step at least, but an interrupted one may have no more to report
            most = max(self._left, 0) + len(self._study.get_trials(deepcopy=False))
            self._study.optimize(self, n_trials=most, **options)
            if self._left > 0 and not self._stop.is_set():
                # nothing to start is left: the rule may wish to go on with what it would have compared with that
                self._study.optimize(self, n_trials=0, **options)
        except BudgetSpent:
            pass
        if self._stop.is_set():
            raise Interrupted

    def _give_back(self) -> None:
        """What other machines hold, which are gone, as the folder has one owner.

        What dead processes of this machine held is found by the loop, which leaves paused trials to the rule.
        """
        workers = self._study.workers()
        if any(worker.trials and not worker.dead and worker.pid != os.getpid() for worker in workers):
            self._study.release_running()

    def _spend(self, steps: int) -> None:
        """So many steps of the budget are used; when all are, the study takes no more trials."""
        self._left -= steps
        self._count(steps)
        if self._left <= 0:
            self._study.stop()

    def __call__(self, trial: Trial) -> Any:
        generator = super().__call__(trial)
        self._alive.append(generator)
        return generator

    def _drive(self, epochs: Generator[Any, Any, Any], trial: Trial, begin: float) -> Generator[Any, Any, Any]:
        """A report costs a step, unless an earlier session has paid for it."""
        course, number = self.course, trial.number
        decided, known, whole = course.decided(number), course.steps(number), course.whole
        step = len(trial._reported)  # more than 0 if the trial goes on from a state that it has saved
        seconds, names, last = time.monotonic() - begin, self._study.metric_names, trial._last_values
        try:
            while True:
                if self._left <= 0 and step >= known and step < whole:
                    raise BudgetSpent
                since = time.monotonic()
                ended, item = self._next(epochs, step)
                seconds += time.monotonic() - since
                if ended:
                    return (last[0] if last else None) if item is None else item
                step += 1
                at, last, others = yielded(item, trial._last_step + 1, names)
                if step <= decided:
                    _record(trial, at, last[0], others)
                else:
                    if step > known:
                        self._spend(1)
                    yield item
                self.passed(trial, step, item)
        finally:
            epochs.close()
            trial.set_user_attr(SECONDS, seconds)


def _record(trial: Trial, step: int, value: Any, others: Mapping[str, Any]) -> None:
    trial.report(value, step)
    for name, other in others.items():
        trial.report_metric(name, other, step)


def interruption(stopped: LanesStopped) -> Interrupted:
    """How a study ends whose lanes were stopped: by an error of the lanes, or because all end."""
    cause = stopped.__cause__
    return BrokenError(cause) if isinstance(cause, Exception) else Interrupted()


def _first_number(item: Any) -> float | None:
    if isinstance(item, tuple) and len(item) == 2:
        item = item[1]
    if isinstance(item, Mapping):
        item = next(iter(item.values()), None)
    try:
        return float(item)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
