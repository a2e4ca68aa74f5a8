"""Every sampler found by discovery, under each of its short names, passes the kit."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tunesmith import samplers
from tunesmith.samplers import BaseSampler
from tunesmith.testing.samplers import Method, SamplerKit

#: What differs from the defaults.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "grid-in-order": ("grid", {"shuffle": False, "points": 4}),
    "pso-absorb": ("pso", {"boundary": "absorb", "init": "random", "swarm_size": 3, "v_max": 0.2}),
}
METHODS: dict[str, Method] = {}
for _name, (_cls, _args) in samplers.known_names().items():
    # another short name for the same is left out, and what has a kit of its own because it searches no continuum
    if (_cls, dict(_args)) not in METHODS.values() and not getattr(_cls, "countable_only", False):
        METHODS[_name] = (_cls, dict(_args))
METHODS |= {label: (samplers.known_names()[name][0], options) for label, (name, options) in FURTHER.items()}


#: Methods that fit a model at each proposal: fewer trials, of which some still come after their start.
MODELS = ("auto", "gp", "randomforest", "thompson")


class TestSamplers(SamplerKit):
    cuts = 5

    @pytest.fixture(params=[name for name in METHODS if name not in MODELS])
    def method(self, request: pytest.FixtureRequest) -> Method:
        return METHODS[request.param]


@pytest.mark.slow
class TestModels(SamplerKit):
    trials = 12
    long = 60
    cuts = 7

    @pytest.fixture(params=MODELS)
    def method(self, request: pytest.FixtureRequest) -> Method:
        return samplers.known_names()[request.param]  # type: ignore[return-value]


def test_discovery_finds_the_methods() -> None:
    found = {cls for cls, _ in METHODS.values()}
    assert len(found) >= 18
    assert {"GridSampler", "RandomSampler", "QMCSampler", "PSOSampler"} <= {cls.__name__ for cls in found}
    assert all(issubclass(cls, BaseSampler) and not inspect.isabstract(cls) for cls in found)
    assert {"grid", "random", "sobol", "halton", "pso", "pso-ring", "pso-constriction"} <= set(samplers.known_names())
