"""When a study has learned enough: what could still be gained, against what a result is uncertain by.

An improvement evaluator says the former, an error evaluator the latter; :class:`Terminator` compares them. All are
frozen dataclasses without state, functions of the study's history alone.
"""

from tunesmith.terminator._base import BaseErrorEvaluator, BaseImprovementEvaluator, BaseTerminator
from tunesmith.terminator.best_value_stagnation import BestValueStagnationEvaluator
from tunesmith.terminator.cross_validation import CrossValidationErrorEvaluator, report_cross_validation_scores
from tunesmith.terminator.emmr import EMMREvaluator
from tunesmith.terminator.median_error import MedianErrorEvaluator
from tunesmith.terminator.regret_bound import RegretBoundEvaluator
from tunesmith.terminator.static_error import StaticErrorEvaluator
from tunesmith.terminator.terminator import Terminator, TerminatorCallback

__all__ = [
    "BaseErrorEvaluator", "BaseImprovementEvaluator", "BaseTerminator", "BestValueStagnationEvaluator",
    "CrossValidationErrorEvaluator", "EMMREvaluator", "MedianErrorEvaluator", "RegretBoundEvaluator",
    "StaticErrorEvaluator", "Terminator", "TerminatorCallback", "report_cross_validation_scores",
]  # fmt: skip
