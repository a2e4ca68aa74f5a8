"""Small studies with DEHB, for its tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tunesmith
from tunesmith import Float, Space
from tunesmith.pruners import BasePruner
from tunesmith.pruners.dehb import DEHBPruner

CUBE = Space({"a": Float(0, 1), "b": Float(0, 1), "c": Float(0, 1)})
NINE = DEHBPruner(max_resource=9)  # levels 1, 3, 9; brackets 9-3-1, 5-1 and 3
FIRST, LATER = 9 + 5 + 3, 9 + 3 + 1 + 5 + 1 + 3  # new trials in a round


def height(params: dict[str, float], step: int) -> float:
    """Curves that cross; their ends are least at (.2, .5, .8)."""
    a, b, c = params["a"], params["b"], params["c"]
    return (a - 0.2) ** 2 + (b - 0.5) ** 2 + (c - 0.8) ** 2 + (0.2 + a) / step


def generator(trial: Any, epochs: int = 9) -> Iterator[float]:
    """A training on the cube."""
    params = {name: trial.suggest_float(name, 0, 1) for name in CUBE}
    for step in range(1, epochs + 1):
        yield height(params, step)


def run(
    pruner: BasePruner = NINE, n: int = FIRST + 2 * LATER, objective: Any = generator, seed: int = 0,
    space: Space = CUBE, **options: Any,
) -> tunesmith.Study:  # fmt: skip
    """A search with random first configurations; by default of three rounds."""
    study = tunesmith.create_study(space=space, sampler="random", pruner=pruner, seed=seed)
    study.optimize(objective, n_trials=n, **options)
    return study


def tags(trial: Any) -> dict[str, Any]:
    """The rule's, without their prefix."""
    return {name.removeprefix("dehb."): value for name, value in trial.system_attrs.get("tags", {}).items()}


def job(trial: Any) -> tuple[int, int, int]:
    """Bracket, level, number within the rung."""
    found = tags(trial)
    return int(found["bracket"]), int(found["level"]), int(found["job"])


def steps(study: tunesmith.Study) -> list[int]:
    """How far each trial was trained."""
    return [len(t.intermediate_values) for t in study.trials]
