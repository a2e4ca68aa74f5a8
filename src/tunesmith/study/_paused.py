"""Paused trials: how many stay alive, which are given up, and what becomes of them when the loop ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunesmith import logging
from tunesmith.exceptions import InvalidValueError, StaleTrialError, TrialPruned
from tunesmith.executors import Work
from tunesmith.executors._evaluate import close
from tunesmith.study._gone import end_paused
from tunesmith.study._session import Session
from tunesmith.study._values import last_report
from tunesmith.trial import Trial, TrialState

_logger = logging.get_logger("tunesmith.study")

#: Tells that a trial is PRUNED, and why.
Prune = Callable[[Trial, TrialPruned], None]


class PausedTrials:
    """The paused trials that are alive in this process: their generators, or what else executors keep of them.

    Args:
        session: of the study.
        kept: number -> what is kept; shared by all loops of the study.
        most: how many may stay alive; None: all.
        resumes: whether something that is kept is alive.
        prune: ends a trial.
    """

    def __init__(
        self, session: Session, kept: dict[int, Work], most: int | None, resumes: Callable[[Any], bool], prune: Prune
    ) -> None:
        self._session, self._kept, self._most = session, kept, most
        self._resumes, self._prune = resumes, prune
        self.stopped: list[int] = []  # trials that were ended here, and whose callbacks are still to be called

    def add(self, work: Work) -> None:
        """Keep one more, and give up those that are too many: saved ones can go on without, others are stopped."""
        with self._session.log.lock:
            self._kept[work.trial.number] = work
            while self._most is not None:
                alive = [w for w in self._kept.values() if self._resumes(w.kept)]
                if len(alive) <= self._most:
                    return
                self._give_up(min(alive, key=self._promise))

    def usable(self, number: int, reach: Callable[[Any], bool]) -> bool:
        """Whether a trial can go on now: what is kept of it is within reach, or lost, so that it needs nothing."""
        work = self._kept.get(number)
        return work is None or not self._resumes(work.kept) or reach(work.kept)

    def take(self, number: int) -> Work | None:
        """What is kept of a trial, if it is still this process's; None if it must begin with its state, or anew."""
        work = self._kept.pop(number, None)
        if work is not None and not (self._session.holds(work.trial) and self._resumes(work.kept)):
            self._drop(work)  # somebody else has it, or has ended it
            return None
        return work

    def one(self, number: int) -> int:
        """The number of a trial that the stopping rule wants to stop or to continue.

        Raises:
            InvalidValueError: it is not paused.
        """
        held = self._session.log.fold.open.get(number)
        if held is None or held.state != TrialState.PAUSED:
            rule, state = type(self._session.pruner).__name__, "not open" if held is None else held.state.name
            raise InvalidValueError(f"{rule} has a wish for trial {number}, which is {state}; it must be PAUSED.")
        return number

    def stop(self, number: int) -> None:
        """End a paused trial, whoever keeps it, because the stopping rule says so.

        Raises:
            InvalidValueError: it is not paused.
        """
        rule = type(self._session.pruner).__name__
        work = self.take(self.one(number))
        if work is None:
            trial = self._session.take(self._session.log.fold.open[number], by_ask=False)
            trial._params = dict(trial._proposal)
            work = Work(trial)
        work.trial._ruled_at = self._session.log.position
        self._end(work, f"Stopped by {rule} after it was paused at step {work.trial._last_step}.")

    def end(self) -> None:
        """Trials that nobody will continue become PRUNED with their last value; saved ones wait as they are."""
        for number, work in list(self._kept.items()):
            del self._kept[number]
            if work.trial._saved is not None:
                self._drop(work)
                continue
            close(work.kept, work.trial)
            try:
                values = last_report(work.trial._reported, len(self._session.log.fold.directions))
                self._session.finish(work.trial, TrialState.PRUNED, values)
            except StaleTrialError as stale:
                _logger.warning("%s", stale)
        end_paused(self._session)

    def _drop(self, work: Work) -> None:
        close(work.kept, work.trial)
        self._session.forget(work.trial)

    def _end(self, work: Work, why: str) -> None:
        if work.kept is not None:
            close(work.kept, work.trial)
        self._prune(work.trial, TrialPruned(why))
        self.stopped.append(work.trial.number)

    def _give_up(self, work: Work) -> None:
        trial = work.trial
        del self._kept[trial.number]
        if not self._session.holds(trial):
            self._drop(work)
        elif trial._saved is not None:
            self._drop(work)
            _logger.info(
                "Trial %d is kept as its state of step %d alone: more than max_paused=%d trials are paused here.",
                trial.number, trial._saved, self._most,
            )  # fmt: skip
        else:
            self._end(
                work,
                f"More than max_paused={self._most} trials are paused here, none of them saved; of those with the "
                f"fewest steps ({trial._last_step}) it has the worst value.",
            )

    def _promise(self, work: Work) -> tuple[int, float, float, int]:
        """Least for the trial that is given up first: what loses least by it, then what is least promising.

        A saved trial loses the steps since; the others are lost, those first that have come least far (a rule has gone
        on with the better ones), the worst of them, the oldest of equals.
        """
        trial = work.trial
        if trial._saved is not None:
            return 0, trial._last_step - trial._saved, 0.0, trial.number
        loss = trial._reported.get(trial._last_step, float("nan")) * self._session.log.fold.directions[0]
        return 1, trial._last_step, -loss if loss == loss else -float("inf"), trial.number
