"""An objective that keeps what it was asked, and a sampler that counts."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from tunesmith import Float, Space
from tunesmith.compare import ComparisonResult, FunctionProblem
from tunesmith.samplers import BaseSampler, Proposal

SPACE = Space({"x": Float(-5, 5), "y": Float(1e-3, 10, log=True)})
TWO = {"one": "random", "two": "random"}


@dataclass(frozen=True)
class CountingSampler(BaseSampler):
    """x = the trial's number; has nothing left after ``most`` trials."""

    most: int = 1000

    def propose(self, space, history, rng, n):
        number = history.n_trials
        return [Proposal({"x": float(number), "y": 1.0})] if number < self.most else []

    def n_initial(self, space):
        return len(space)


class Objective:
    """A noisy bowl; keeps what it was asked, and can be interrupted or fail."""

    def __init__(self, stop_at=None, error=KeyboardInterrupt, hook=None):
        self.calls, self.tests, self._stop_at, self.error, self._hook = [], [], stop_at, error, hook

    def __call__(self, trial, seed, repeat):
        x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", 1e-3, 10, log=True)
        self.calls.append((repeat, trial.number, seed))
        call = len(self.calls)
        loss = (x - 1) ** 2 + math.log10(y) ** 2 + random.Random(seed).random()
        for epoch in (2, 1):
            if self._hook is not None:
                self._hook(self)
            if epoch == 1 and call == self._stop_at:
                raise self.error("stop here")
            yield {"loss": loss + epoch - 1, "accuracy": 1 / (1 + loss)}

    def test(self, params, seed):
        self.tests.append((params, seed))
        return {"accuracy": 1 / (1 + params["x"] ** 2)}


def problem(objective=None, **options):
    objective = objective or Objective()
    options = {"name": "bowl", "metric_names": ["loss", "accuracy"], "test": objective.test, **options}
    return FunctionProblem(objective, SPACE, **options)


def same(a: ComparisonResult, b: ComparisonResult) -> bool:
    return a.to_dict(timings=False) == b.to_dict(timings=False)
