"""What to run, said before anything is run: which method, which stopping rule, how many trials, and whether at all.

Sources: ten trials a parameter as a first budget (Loeppky, Sacks and Welch 2009: Choosing the sample size of a computer
experiment. Technometrics 51, 366-376); the luck of the seed in the best value of a search (Bouthillier et al. 2021:
Accounting for variance in machine learning benchmarks. MLSys 3, 747-769).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers.auto import Stage, n_cells, plan
from tunesmith.space import Space

#: Trials for each parameter that can vary, as a first budget; and at least so many.
TRIALS_EACH, TRIALS_LEAST = 10, 20
#: Trainings of fewer epochs end too soon for a stopping rule to save much.
EPOCHS_TO_STOP = 5
#: Trials before a median means something (five, as in ``MedianPruner``), and as many again to use it.
TRIALS_TO_STOP = 15


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes:
        methods: which method proposes from which trial on, with the reason.
        trials: how many to plan.
        trials_reason: why.
        pruner: short name of the stopping rule.
        pruner_reason: why.
        seconds: how long it will take, if the time of a trial is known.
        warnings: what speaks against tuning, or against believing its result; maybe none.
    """

    methods: tuple[Stage, ...]
    trials: int
    trials_reason: str
    pruner: str
    pruner_reason: str
    seconds: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        methods = [{"first": s.first, "method": s.method, "reason": s.reason, **s.options} for s in self.methods]
        return {**self.__dict__, "methods": methods, "warnings": list(self.warnings)}


def advise(
    space: Space,
    *,
    trials: int | None = None,
    jobs: int = 1,
    objectives: int = 1,
    epochs: int = 1,
    seconds_per_trial: float | None = None,
    deterministic: bool = False,
) -> Advice:
    """Recommend how to search a space.

    Args:
        space: what is searched.
        trials: how many there may be; None to be told.
        jobs: trials that run at a time.
        objectives: how many there are.
        epochs: reports of a trial, which a stopping rule could look at.
        seconds_per_trial: to say how long it will take.
        deterministic: whether the same configuration always gives the same value.

    Raises:
        InvalidTypeError, InvalidValueError: a number that is none, or too small.
    """
    for name, value in (("jobs", jobs), ("objectives", objectives), ("epochs", epochs), ("trials", trials)):
        _check(name, value)
    varied = sum(not d.single() for d in space.values())
    cells = n_cells(space)
    usual = max(TRIALS_LEAST, TRIALS_EACH * varied * objectives)
    wanted = int(min(usual, cells)) if varied else 1
    if trials is not None:
        number, reason = trials, _judged(trials, usual, wanted)
    elif wanted == cells:
        number, reason = wanted, "all configurations there are"
    elif wanted == TRIALS_LEAST:
        number, reason = wanted, f"a first budget; fewer than {TRIALS_LEAST} teach a model too little"
    else:
        number, reason = wanted, f"a first budget: {TRIALS_EACH} for each of {varied} parameters"
    pruner, pruner_reason = _pruner(number, epochs, objectives)
    return Advice(
        plan(space, budget=number, jobs=jobs, objectives=objectives, deterministic=deterministic),
        number,
        reason,
        pruner,
        pruner_reason,
        None if seconds_per_trial is None else math.ceil(number / jobs) * seconds_per_trial,
        tuple(_warnings(varied, number, cells, jobs, deterministic)),
    )


def _check(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"`{name}` must be a positive integer, but is {value!r}.")
    if value < 1:
        raise InvalidValueError(f"`{name}` must be at least 1, but is {value}.")


def _judged(trials: int, usual: int, wanted: int) -> str:
    if trials > wanted and wanted < usual:
        return f"as you say; there are only {wanted} configurations"
    if trials < usual:
        return f"as you say; {usual} would be usual"
    return "as you say"


def _pruner(trials: int, epochs: int, objectives: int) -> tuple[str, str]:
    if objectives > 1:
        return "nop", "a stopping rule compares single values, and there are several objectives"
    if epochs < EPOCHS_TO_STOP:
        shown = f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"
        return "nop", f"with {shown} there is little to save, and slow starters would be lost"
    if trials < TRIALS_TO_STOP:
        return "nop", f"{trials} trials are too few to know what an ordinary training curve looks like"
    return "median", "stops what is worse than the median of earlier trials at the same epoch; look at what it stopped"


def _warnings(varied: int, trials: int, cells: float, jobs: int, deterministic: bool) -> list[str]:
    found = []
    if varied == 0:
        found.append("Tuning is not worth it: no parameter can take two values.")
    elif trials < varied + 2 and trials < cells:
        found.append(
            f"Tuning is hardly worth it: {trials} trials cannot tell {varied} parameters apart. Take known good "
            "values, or tune the learning rate alone."
        )
    if jobs > 1 and jobs > trials / 4 and varied:
        found.append(
            f"With {jobs} trials at a time there are only {math.ceil(trials / jobs)} rounds; a method learns between "
            "rounds, so expect little more than from quasi-random search."
        )
    if not deterministic and varied:
        found.append(
            "The best value of a search is too good by the luck of its seed; train the winners again "
            "(`study.confirm`) before you believe differences between them."
        )
    return found
