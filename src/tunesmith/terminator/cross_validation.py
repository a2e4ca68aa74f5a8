"""The error of a result that is the mean over the folds of a cross-validation.

Makarova, A. et al. (2022): Automatic termination for hyperparameter optimization. AutoML conference (section 3.2), with
the correction of Nadeau, C. and Bengio, Y. (2003): Inference for the generalization error. Machine Learning 52,
239-281: the folds share training data, so the variance of their mean is (1 / k + 1 / (k - 1)) times that of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.terminator._base import BaseErrorEvaluator, some_results

#: The metric that holds the scores: one a fold, at steps 1, 2, ...
SCORES = "cross_validation_score"


class _Reporting(Protocol):
    """What is asked of a running trial."""

    def report_metric(self, name: str, value: float, step: int) -> None: ...


def report_cross_validation_scores(trial: _Reporting, scores: Iterable[float]) -> None:
    """Keep the scores of the folds with the trial, for :class:`CrossValidationErrorEvaluator`.

    They are the metric ``"cross_validation_score"`` of the trial, the k-th fold at step k.

    Args:
        trial: the running trial.
        scores: of its folds, whose mean is its value.

    Raises:
        InvalidValueError: fewer than two, or one is NaN.
    """
    found = [float(score) for score in scores]
    if len(found) < 2 or any(map(math.isnan, found)):
        raise InvalidValueError(f"`scores` must be the numbers of at least two folds, but is {found!r}.")
    for fold, score in enumerate(found, 1):
        trial.report_metric(SCORES, score, fold)


@dataclass(frozen=True)
class CrossValidationErrorEvaluator(BaseErrorEvaluator):
    """The standard deviation of the best trial's value, estimated from the scores of its folds.

    Raises:
        InvalidValueError: in ``evaluate``: no trial is COMPLETE, or the best one has no scores.
    """

    def evaluate(self, history: History) -> float:
        rows = some_results(history)
        best = rows[np.argmin(history.loss[rows, 0])]
        scores = np.empty(0)
        if SCORES in history.metrics:
            reports = history.reports
            scores = reports.value[(reports.row == best) & (reports.metric == history.metrics.index(SCORES))]
        k = len(scores)
        if k < 2:
            raise InvalidValueError(
                f"The best trial ({history.number[best]}) has no cross-validation scores: call "
                "report_cross_validation_scores(trial, scores) in the objective, or give the terminator another "
                "`error_evaluator`, such as StaticErrorEvaluator(0.01)."
            )
        return float(np.sqrt((1.0 / k + 1.0 / (k - 1.0)) * np.var(scores)))
