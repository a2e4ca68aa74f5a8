"""The part of the conformance kit for samplers that makes searching hard."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import BaseSampler
from tunesmith.space import Space
from tunesmith.study import Study, suggest_all
from tunesmith.testing._searches import (
    CONTINUOUS,
    SPACES,
    Objective,
    check_domain,
    configurations,
    loss,
    new_study,
    on,
    run,
)
from tunesmith.trial import Trial

#: 24 configurations; and 3 + 9, of which some have parameters that others lack.
FEW = Space({"c": Categorical(["a", "b", "c"]), "i": Int(1, 4), "z": Float(0, 1, step=1)})
BRANCHED = Space(
    {"n": Int(1, 2), "a": Categorical(["x", "y", "z"]), "b": Int(1, 7, step=3)}, conditions={"b": "n >= 2"}
)

Values = Callable[[Trial, dict[str, Any]], float]

#: What an objective may return, whatever its configuration is worth.
RESULTS: dict[str, Values] = {
    "constant": lambda trial, params: 3.0,
    "enormous": lambda trial, params: (-1.0) ** trial.number * 1e300 * (1 + loss(CONTINUOUS, params)),
    "tiny": lambda trial, params: 1e-300 * loss(CONTINUOUS, params),
    "one outlier": lambda trial, params: 1e300 if trial.number == 3 else loss(CONTINUOUS, params),
    "two levels": lambda trial, params: float(trial.number % 2),
    "infinite": lambda trial, params: float("inf"),
    "mostly nan": lambda trial, params: loss(CONTINUOUS, params) if trial.number == 6 else float("nan"),
}

#: Spaces that are wide.
WIDE: dict[str, Space] = {
    "500 parameters": Space(
        {f"p{k}": (Float(0, 1), Int(0, 9), Categorical(["a", "b", "c"]))[k % 3] for k in range(500)}
    ),
    "10,000 choices": Space({"c": Categorical(list(range(10_000))), "x": Float(0, 1)}),
}


class Hardship:
    """Constant, enormous and missing results, wide and tiny spaces, the same configuration again and again.

    A method still proposes configurations that fit, without a warning of NumPy's, or refuses with an
    InvalidValueError that says why.
    """

    trials: ClassVar[int] = 14

    @pytest.mark.parametrize("kind", RESULTS)
    def test_hard_results(self, sampler: BaseSampler, kind: str) -> None:
        """Results that no model fits."""

        def objective(trial: Trial) -> float:
            return RESULTS[kind](trial, suggest_all(trial, CONTINUOUS))

        study = _strictly(new_study(sampler, CONTINUOUS), objective, 2 * self.trials)
        check_domain(study, CONTINUOUS)
        assert study.history.n == 2 * self.trials or sampler.finite

    @pytest.mark.parametrize("name", WIDE)
    def test_wide_spaces(self, sampler: BaseSampler, name: str) -> None:
        """Many parameters, many choices."""
        space = WIDE[name]
        study = _unless_refused(new_study(sampler, space), space, self.trials)
        if study is not None:
            check_domain(study, space)

    def test_one_feasible(self, sampler: BaseSampler) -> None:
        """A single trial satisfies the constraint."""

        def objective(trial: Trial) -> float:
            value = loss(CONTINUOUS, suggest_all(trial, CONTINUOUS))
            trial.set_constraint("c", -1.0 if trial.number == 4 else 1.0 + value)
            return value

        study = _strictly(new_study(sampler, CONTINUOUS), objective, 2 * self.trials)
        check_domain(study, CONTINUOUS)
        assert study.history.n == 2 * self.trials or sampler.finite

    def test_one_point_again_and_again(self, sampler: BaseSampler) -> None:
        """Ten equal rows with different results, then the search goes on."""
        study = new_study(sampler, CONTINUOUS)
        for _ in range(10):
            study.enqueue_trial({"x": 1.0, "y": 1e-2, "z": 0.5})
        noise = iter(np.random.default_rng(0).normal(size=100).tolist())

        def objective(trial: Trial) -> float:
            return loss(CONTINUOUS, suggest_all(trial, CONTINUOUS)) + next(noise)

        _strictly(study, objective, 10 + self.trials)
        check_domain(study, CONTINUOUS)
        found = configurations(study)[10:]
        assert len(set(found)) == len(found) or sampler.may_repeat

    @pytest.mark.parametrize("space", [FEW, BRANCHED], ids=["flat", "conditional"])
    def test_no_replacement(self, sampler: BaseSampler, space: Space) -> None:
        """While something is untried in a space of countably many values, nothing comes twice; then it goes on."""
        cells = 24 if space is FEW else 12
        study = _unless_refused(new_study(sampler, space), space, cells)
        if study is None:
            return
        found = configurations(study)
        assert len(set(found)) == len(found) or sampler.with_replacement
        if not sampler.finite:
            check_domain(run(study, on(space), cells + 3), space)

    def test_batches_without_replacement(self, sampler: BaseSampler) -> None:
        """Neither within a batch, nor what is pending."""
        study = _unless_refused(new_study(sampler, FEW), FEW, 8)
        if study is None:
            return
        pending = [study.ask() for _ in range(4)]
        known = set(configurations(study)) | {_key(t.relative_params) for t in pending}
        batch = [_key(p.params) for p in sampler.propose(FEW, study.history, stream(1, 2), 8)]
        assert (len(set(batch)) == len(batch) and not known & set(batch)) or sampler.with_replacement

    def test_batch_of_mixed_kinds(self, sampler: BaseSampler) -> None:
        """A large batch with conditions, from nothing and from some results."""
        space = SPACES["conditional"]
        for trials in (0, self.trials):
            study = run(new_study(sampler, space), on(space), trials)
            with _strict():
                batch = sampler.propose(space, study.history, stream(1, 2), 32)
            assert len(batch) == 32 or sampler.finite
            keys = [_key(space.active(p.params)) for p in batch]
            assert len(set(keys)) == len(keys) or sampler.may_repeat


def _unless_refused(study: Study, space: Space, trials: int) -> Study | None:
    try:
        return _strictly(study, on(space), trials)
    except InvalidValueError:
        return None


def _strictly(study: Study, objective: Objective, trials: int) -> Study:
    """As :func:`run`, but NumPy's warnings are errors."""
    with _strict():
        study.optimize(objective, n_trials=trials - study.history.n)
    return study


def _key(params: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))


@contextmanager
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield
