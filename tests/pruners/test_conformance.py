"""Every stopping rule found by discovery, under each of its short names, passes the kit."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tunesmith import pruners
from tunesmith.pruners import BasePruner
from tunesmith.testing.pruners import PrunerKit, Rule

#: What a rule needs that has arguments without a default; by its short name.
REQUIRED: dict[str, dict[str, Any]] = {
    "anyof": {"pruners": ["median", {"name": "ThresholdPruner", "args": {"upper": 5.0}}]},
    "onmetric": {"pruner": "median", "metric": "accuracy", "direction": "minimize"},
    "patient": {"wrapped_pruner": "median", "patience": 1},
    "threshold": {"upper": 1.25, "n_warmup_steps": 2},
}
REQUIRED |= {"any-of": REQUIRED["anyof"], "on-metric": REQUIRED["onmetric"]}
#: What differs from the defaults.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "median-at-once": ("median", {"n_startup_trials": 1, "n_warmup_steps": 1, "interval_steps": 2}),
    "any-of-metrics": (
        "any-of",
        {
            "pruners": [
                {"name": "OnMetricPruner", "args": {"pruner": "median", "metric": "a", "direction": "minimize"}},
                {"name": "PatientPruner", "args": {"wrapped_pruner": None, "patience": 3}},
            ]
        },
    ),
    "early-stopping": ("patient", {"wrapped_pruner": None, "patience": 2, "min_delta": 0.01}),
    "on-each-objective": ("on-metric", {"pruner": "percentile", "metric": "values_0"}),
    "threshold-low": ("threshold", {"lower": 0.5, "interval_steps": 2}),
    "wilcoxon-eager": ("wilcoxon", {"p_threshold": 0.4}),
    "percentile-strict": ("percentile", {"percentile": 75.0, "n_startup_trials": 0, "n_min_trials": 2}),
}
RULES: dict[str, Rule] = {}
for _name, (_cls, _args) in pruners.known_names().items():
    _options = {**REQUIRED.get(_name, {}), **_args}
    if (_cls, _options) not in RULES.values():  # another short name for the same is left out
        RULES[_name] = (_cls, _options)
RULES |= {label: (pruners.known_names()[name][0], options) for label, (name, options) in FURTHER.items()}


class TestPruners(PrunerKit):
    cuts = 5

    @pytest.fixture(params=RULES)
    def rule(self, request: pytest.FixtureRequest) -> Rule:
        return RULES[request.param]


def test_discovery_finds_the_rules() -> None:
    found = {cls for cls, _ in RULES.values()}
    assert {"NopPruner", "MedianPruner", "PercentilePruner"} <= {cls.__name__ for cls in found}
    assert all(issubclass(cls, BasePruner) and not inspect.isabstract(cls) for cls in found)
