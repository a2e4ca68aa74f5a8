"""What one hyperparameter may be: a float, an integer, or one of several choices.

Names, arguments and the JSON form are Optuna's. ``Float``, ``Int`` and ``Categorical`` are short aliases.
Distributions are immutable values: equal when all their fields are equal (for choices: also of equal types).
"""

from __future__ import annotations

from tunesmith._choices import OpaqueChoice, choice_from_json, choice_key, choice_to_json
from tunesmith.distributions._base import BaseDistribution, check_distribution_compatibility, check_same_kind
from tunesmith.distributions._categorical import CategoricalDistribution
from tunesmith.distributions._forms import (
    distribution_from_dict,
    distribution_to_dict,
    distribution_to_json,
    json_to_distribution,
)
from tunesmith.distributions._numbers import FloatDistribution, IntDistribution

__all__ = [
    "BaseDistribution", "Categorical", "CategoricalChoiceType", "CategoricalDistribution", "Float", "FloatDistribution",
    "Int", "IntDistribution", "OpaqueChoice", "check_distribution_compatibility", "check_same_kind", "choice_from_json",
    "choice_key", "choice_to_json", "distribution_from_dict", "distribution_to_dict", "distribution_to_json",
    "json_to_distribution",
]  # fmt: skip

CategoricalChoiceType = None | bool | int | float | str | tuple

Float = FloatDistribution
Int = IntDistribution
Categorical = CategoricalDistribution
