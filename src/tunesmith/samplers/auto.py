"""The method that fits: chosen by the space, the budget, the workers and the objectives, and said why.

Up to a few hundred trials it is the method that learnt most from each (records/2026-11-21-search-efficiency). The
thresholds below are rules of thumb. On when a population pays: Hansen (2023): The CMA evolution strategy: a tutorial.
arXiv:1604.00772.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tunesmith.distributions import BaseDistribution, CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.samplers._axes import axis, n_values
from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.samplers._cells import count, lattice
from tunesmith.space import Space

#: Up to so many trials a Gaussian process is refitted to all of them at each proposal; its cost grows with their cube.
GP_TRIALS = 300
#: Beyond so many parameters, or choices of one, a Gaussian process learns little from so many trials.
GP_PARAMETERS, GP_CHOICES = 40, 200
#: Spaces of at most so many configurations are tried out when no budget is stated.
FEW_CELLS = 30
#: A population needs generations: so many trials at least before CMA-ES or NSGA-II take over.
POPULATION_TRIALS = 500
#: Workers that ask at the same time; the model answers each of them knowing nothing of the others' results.
MANY_JOBS = 64
#: Cells are counted by listing the values of each axis up to here.
_LISTED = 10_000


@dataclass(frozen=True)
class Stage:
    """From which trial on which method proposes, and why.

    Attributes:
        first: number of the first trial.
        method: its short name.
        reason: a sentence.
        options: arguments of the method.
    """

    first: int
    method: str
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)


def n_cells(space: Space) -> float:
    """How many different configurations a space has; infinity with a continuum, or when they are too many to count."""
    sizes = {name: n_values(d) for name, d in space.items()}
    if any(size > _LISTED for size in sizes.values()):
        return math.inf
    if not space.conditions:
        return math.prod(int(size) for size in sizes.values())
    try:
        axes = {name: axis(d, int(sizes[name])) for name, d in space.items()}
        return count(lattice(axes, space.conditions), {name: int(size) for name, size in sizes.items()})
    except InvalidValueError:
        return math.inf


def plan(
    space: Space, *, budget: int | None = None, jobs: int = 1, objectives: int = 1, deterministic: bool = False
) -> tuple[Stage, ...]:
    """Which methods search ``space``, one after the other.

    Args:
        space: what is searched.
        budget: trials there will be; None when that is open.
        jobs: trials that run at a time.
        objectives: how many there are.
        deterministic: whether the same configuration always gives the same value. Trainings do not: their seeds differ.
    """
    searched = {name: d for name, d in space.items() if not d.single()}
    if not searched:
        return (Stage(0, "random", "No parameter is known that could take two values."),)
    cells = n_cells(space)
    if cells <= (FEW_CELLS if budget is None else budget):
        return (Stage(0, "random", f"There are only {cells:.0f} configurations: each is tried once, in random order."),)
    if objectives > 1:
        return _several(objectives, budget)
    numbers = [d for d in searched.values() if not isinstance(d, CategoricalDistribution)]
    if obstacle := _against_gp(searched, jobs):
        return (Stage(0, "tpe", f"{obstacle}, so the tree-structured Parzen estimator, whose cost stays flat."),)
    gp = Stage(
        0,
        "gp",
        f"{_counted(len(searched), 'parameter')} and few trials: a Gaussian process learns most from each trial.",
        {"deterministic_objective": True} if deterministic else {},
    )
    if budget is not None and budget <= GP_TRIALS:
        return (gp,)
    smooth = len(numbers) == len(searched) and not space.conditions and math.isinf(cells)
    if smooth and budget is not None and budget >= POPULATION_TRIALS:
        reason = f"After {GP_TRIALS} trials a Gaussian process is slow; all parameters are numbers, so CMA-ES refines."
        return gp, Stage(GP_TRIALS, "cmaes", reason)
    reason = f"After {GP_TRIALS} trials a Gaussian process is slow; the cost of TPE stays flat."
    return gp, Stage(GP_TRIALS, "tpe", reason)


def _several(objectives: int, budget: int | None) -> tuple[Stage, ...]:
    tpe = Stage(0, "tpe", f"{objectives} objectives and few trials: TPE learns from the non-dominated ones.")
    if budget is not None and budget < POPULATION_TRIALS:
        return (tpe,)
    return tpe, Stage(GP_TRIALS, "nsgaii", f"After {GP_TRIALS} trials NSGA-II spreads a population along the front.")


def _against_gp(searched: Mapping[str, BaseDistribution], jobs: int) -> str | None:
    """Why a Gaussian process would not do."""
    if len(searched) > GP_PARAMETERS:
        return f"{len(searched)} parameters are too many for a Gaussian process"
    widest = max((n_values(d) for d in searched.values() if isinstance(d, CategoricalDistribution)), default=0)
    if widest > GP_CHOICES:
        return f"A choice of {widest:,.0f} is too wide for a Gaussian process"
    if jobs > MANY_JOBS:
        return f"{jobs} trials at a time make the joint proposals of a Gaussian process slow"
    return None


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


@dataclass(frozen=True, kw_only=True)
class AutoSampler(BaseSampler):
    """Chooses the method: by the space, the study's budget, the objectives and how many trials run at a time.

    ``tunesmith advise`` prints the choice and its reasons before anything is run. The choice may change during a study
    (a Gaussian process gives way to a cheaper method when there are many trials); it is a function of the space, the
    arguments and the number of trials, so a study that is resumed goes on with the same method.

    Args:
        jobs: trials that will run at a time.
        deterministic_objective: whether the same configuration always gives the same value.
        seed: becomes the study's seed; ``None`` takes a fresh one (which the log keeps).

    Raises:
        InvalidTypeError, InvalidValueError: ``jobs`` is no positive integer.
    """

    by_level: ClassVar[bool] = True
    jobs: int = 1
    deterministic_objective: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.jobs, bool) or not isinstance(self.jobs, int):
            raise InvalidTypeError(f"`jobs` must be a positive integer, but is {self.jobs!r}.")
        if self.jobs < 1:
            raise InvalidValueError(f"`jobs` must be at least 1, but is {self.jobs}.")

    def chosen(self, space: Space, history: History) -> BaseSampler:
        """The method that proposes the next trial."""
        from tunesmith.samplers import get_sampler

        stages = plan(
            space,
            budget=history.budget,
            jobs=self.jobs,
            objectives=len(history.directions),
            deterministic=self.deterministic_objective,
        )
        stage = [stage for stage in stages if stage.first <= history.n_trials][-1]
        return get_sampler(stage.method, **stage.options)

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        return self.chosen(space, history).propose(space, history, rng, n)

    def complete(
        self, given: Mapping[str, Any], space: Space, history: History, rng: np.random.Generator
    ) -> dict[str, Any]:
        return self.chosen(space, history).complete(given, space, history, rng)

    def independent(self, name: str, distribution: BaseDistribution, history: History, rng: np.random.Generator) -> Any:
        return self.chosen(Space(history.distributions), history).independent(name, distribution, history, rng)

    @property
    def uses_budget(self) -> bool:
        """Proposals depend on ``history.budget``."""
        return True
