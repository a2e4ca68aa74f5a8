"""Stop a study when what could still be gained is less than what its results are uncertain by.

Makarova, A. et al. (2022): Automatic termination for hyperparameter optimization. AutoML conference (algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunesmith import logging
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseErrorEvaluator, BaseImprovementEvaluator, BaseTerminator, Judged, results
from tunesmith.terminator.best_value_stagnation import BestValueStagnationEvaluator
from tunesmith.terminator.cross_validation import CrossValidationErrorEvaluator
from tunesmith.terminator.regret_bound import RegretBoundEvaluator
from tunesmith.terminator.static_error import StaticErrorEvaluator

_logger = logging.get_logger("tunesmith.terminator")


@dataclass(frozen=True)
class Terminator(BaseTerminator):
    """The end is reached when the possible improvement is smaller than the error.

    Args:
        improvement_evaluator: what could still be gained; :class:`RegretBoundEvaluator` by default.
        error_evaluator: what it must exceed; by default :class:`CrossValidationErrorEvaluator`, or a
            :class:`StaticErrorEvaluator` of 0 beside a :class:`BestValueStagnationEvaluator`.
        min_n_trials: no end before this many trials are COMPLETE.

    Raises:
        InvalidValueError: ``min_n_trials`` is not positive.
    """

    improvement_evaluator: BaseImprovementEvaluator | None = None
    error_evaluator: BaseErrorEvaluator | None = None
    min_n_trials: int = 20

    def __post_init__(self) -> None:
        if self.min_n_trials < 1:
            raise InvalidValueError(f"`min_n_trials` must be at least 1, but is {self.min_n_trials!r}.")

    def should_terminate(self, study: Judged) -> bool:
        """Whether the study has reached its end: :meth:`reached` of its history."""
        return self.reached(study.history)

    def reached(self, history: History) -> bool:
        """Whether a study with this history has reached its end.

        Raises:
            RuntimeError: it has several objectives. InvalidValueError: an evaluator lacks what it judges by.
        """
        if len(results(history)) < self.min_n_trials:
            return False
        improvement, error = self._evaluators()
        return improvement.evaluate(history) < error.evaluate(history)

    def _evaluators(self) -> tuple[BaseImprovementEvaluator, BaseErrorEvaluator]:
        improvement = RegretBoundEvaluator() if self.improvement_evaluator is None else self.improvement_evaluator
        if self.error_evaluator is not None:
            return improvement, self.error_evaluator
        stagnation = isinstance(improvement, BestValueStagnationEvaluator)
        return improvement, StaticErrorEvaluator(0.0) if stagnation else CrossValidationErrorEvaluator()


@dataclass(frozen=True)
class TerminatorCallback:
    """Stop ``optimize`` when a terminator says so: ``study.optimize(objective, callbacks=[TerminatorCallback()])``.

    It is asked after each finished trial, in the process that has finished it, and judges the study as a whole.

    Args:
        terminator: by default a :class:`Terminator` with its defaults.
    """

    terminator: BaseTerminator | None = None

    def __call__(self, study: Judged, trial: Any) -> None:
        terminator = Terminator() if self.terminator is None else self.terminator
        if terminator.should_terminate(study):
            _logger.info("The study is stopped by %r.", terminator)
            study.stop()
