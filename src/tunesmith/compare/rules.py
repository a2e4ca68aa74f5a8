"""Stopping rules as parts of methods: which can be compared, and what they are told of a whole training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tunesmith._arguments import whole
from tunesmith.curves import STEP
from tunesmith.distributions import CategoricalDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.pruners import BasePruner, TopKPruner, get_pruner

_AUTO = "auto"


def training_steps(problem: Any, given: Any = None) -> int | None:
    """How many reports a whole training makes; None if neither the problem nor the user says.

    A problem says it by ``steps``, or by ``epochs``; one that trains several networks for a trial (``folds``,
    ``fold_repeats``, ``executions_per_trial``) reports after each of them instead.

    Args:
        problem: of the comparison.
        given: the argument ``steps`` of ``compare``.

    Raises:
        InvalidTypeError, InvalidValueError: ``given`` is no positive integer, or not what the problem does.
    """
    if given is not None:
        whole("steps", given, 1)
    known = _steps_of(problem)
    if given is not None and known not in (None, given):
        raise InvalidValueError(
            f"`steps` is {given}, but a whole training of this problem reports {known} times; leave `steps` out."
        )
    return known if given is None else int(given)


def step_name(problem: Any) -> str:
    """What a report stands for: ``"epoch"``, if the problem counts in them, else ``"step"``."""
    return "epoch" if hasattr(problem, "epochs") and _trainings(problem) == 1 else "step"


def _trainings(problem: Any) -> int:
    """How many networks a trial of the problem trains."""
    names = ("folds", "fold_repeats", "executions_per_trial")
    return math.prod(int(getattr(problem, name, None) or 1) for name in names)


def _steps_of(problem: Any) -> int | None:
    """None also where the epochs are searched: then no number of steps is that of a whole training."""
    if (trainings := _trainings(problem)) > 1:
        return trainings
    axis = problem.space.get("epochs")
    if axis is not None and hasattr(problem, "epochs"):
        if not axis.single():
            return None
        return int(axis.choices[0] if isinstance(axis, CategoricalDistribution) else axis.low)
    found = getattr(problem, "steps", None)
    found = getattr(problem, "epochs", None) if found is None else found
    if found is not None:
        whole("steps (or epochs) of the problem", found, 1)
    return found


def rule_for(
    given: str | BasePruner, options: Mapping[str, Any], label: str, trials: int, steps: int | None
) -> tuple[BasePruner, bool]:
    """The rule of a method, which knows how long a whole training is.

    ``max_resource="auto"`` becomes ``steps`` (if the rule counts in steps), so that no trial has to be trained to its
    end for it. :class:`TopKPruner`, which compares all configurations of a study, is told how many the budget allows.

    Args:
        given: its short name, or an instance.
        options: its arguments, if it is a name.
        label: of the method.
        trials: the budget of a study, in whole trainings.
        steps: of a whole training.

    Returns:
        The rule, and whether another budget makes another one.

    Raises:
        InvalidValueError: an unknown rule, impossible options, a rule that cannot be compared, or no ``steps``.
    """
    try:
        rule = get_pruner(given, **options)
    except InvalidValueError as error:
        raise InvalidValueError(f"The method {label!r}: {error}") from error
    if rule.needs_states:
        raise InvalidValueError(
            f"The method {label!r} cannot be compared: what {type(rule).__name__} finds is a schedule of "
            "hyperparameters over several trials, which is no configuration that could be trained again for the test. "
            "Use a rule such as 'asha' or 'hyperband', or run it by study.optimize(pruner=...)."
        )
    if steps is None:
        raise InvalidValueError(
            f"The method {label!r} has a stopping rule, so its budget is counted in steps of training, but this "
            "problem does not say how many a whole training has (or searches over it). Say it: compare(..., steps=10) "
            "for trials that report 10 times; `steps: 10` in a file."
        )
    changes: dict[str, Any] = {}
    if getattr(rule, "max_resource", None) == _AUTO and rule.resource == STEP:
        changes["max_resource"] = steps
    planned = isinstance(rule, TopKPruner) and rule.n_configurations is None
    if planned:
        changes["n_configurations"] = _as_many(rule, trials, steps)
    try:
        return (dataclasses.replace(rule, **changes) if changes else rule), planned  # type: ignore[type-var]
    except InvalidValueError as error:
        raise InvalidValueError(f"The method {label!r} does not fit trainings of {steps} steps: {error}") from error


def _as_many(rule: Any, trials: int, steps: int) -> int:
    """n configurations get ``first`` steps, and k of them the rest: so many as the budget allows, but at least k."""
    first = min(rule.first, steps) if rule.resource == STEP else 1
    return max(rule.k, int((trials * steps - rule.k * (steps - first)) // first))
