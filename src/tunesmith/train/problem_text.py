"""A problem in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from tunesmith.distributions import CategoricalDistribution
from tunesmith.space import Space
from tunesmith.train import device as devices
from tunesmith.train import hyperparameters, planning
from tunesmith.train.dataset import Dataset
from tunesmith.train.splitting import OFFICIAL

if TYPE_CHECKING:
    from tunesmith.train.problem import Problem

#: Hyperparameters that are shown even when they have their defaults.
_SHOWN = ("optimizer", "lr", "momentum", "batch_size")


def describe(problem: Problem) -> str:
    """See :meth:`tunesmith.train.Problem.describe`."""
    space = problem.space
    lines = [f"data    {_axis_text(space, 'data') or _data(problem)}"]
    if text := _axis_text(space, "model"):
        lines.append(f"model   {text}")
    else:
        size = "" if "data" in space else f", {_count(problem.network()):,} parameters"
        lines.append(f"model   {problem.family.name}{size}")
    lines += [f"search  {name}: {distribution!r}" for name, distribution in space.items()]
    lines += [f"        {name} only if {text}" for name, text in space.conditions.items()]
    lines.append(f"fixed   {_fixed(problem)}")
    lines += [f"measure {text}" for text in _measuring(problem)]
    seeds = f"split seed {problem.split_seed}, training seed {problem.seed}, repeat {problem.repeat}"
    epochs = f"{problem.epochs} epoch{'s' * (problem.epochs != 1)}"
    precision = "" if problem.precision == "float32" else f", {problem.precision}"
    where = f"{devices.choose(problem.device)}, threads {problem.threads}{precision}"
    lines.append(f"train   {epochs}, {seeds}, {where}")
    return "\n".join(lines)


def _data(problem: Problem) -> str:
    split = planning.prepared_for(problem, problem.data).splits[0]
    return f"{split!r}, {problem.data.id}" if isinstance(problem.data, Dataset) else repr(split)


def _fixed(problem: Problem) -> str:
    defaults = {**hyperparameters.DEFAULTS, **({} if "model" in problem.space else problem.family.DEFAULTS)}
    shown = {
        name: value
        for name, value in problem.fixed.items()
        if name in _SHOWN or name not in defaults or _differ(value, defaults[name])
    }
    rest = "" if len(shown) == len(problem.fixed) else "defaults" if not shown else "; defaults for the rest"
    return ", ".join(f"{name}={value!r}" for name, value in shown.items()) + rest or "nothing"


def _differ(value: Any, default: Any) -> bool:
    return type(value) is not type(default) or bool(value != default)


def _measuring(problem: Problem) -> list[str]:
    """What is out of the ordinary about it."""
    lines = []
    direction = problem.directions[0]
    more = [name for name in problem.metrics if name not in (problem.objective, "val_accuracy", "val_loss")]
    more = [name for name in more if name.startswith("val_") and not name.endswith("_sd")]
    if problem.objective != "val_loss" or more:
        lines.append(f"{problem.objective} ({direction}){''.join(f', {name}' for name in more)}")
    if problem.folds is not None:
        times = "" if problem.fold_repeats == 1 else f", repeated {problem.fold_repeats} times"
        lines.append(f"{problem.folds}-fold cross-validation{times}; each training is a report, the value is the mean")
    if problem.executions_per_trial > 1:
        what = "fold of each trial" if problem.folds is not None else "trial"
        lines.append(f"{problem.executions_per_trial} trainings with different seeds for each {what}")
    if problem.validation == OFFICIAL:
        lines.append("on the official test part: no test is left, and the best value is an optimistic one")
    return lines


def _axis_text(space: Space, name: str) -> str:
    distribution = space.get(name)
    return f"one of {', '.join(distribution.choices)}" if isinstance(distribution, CategoricalDistribution) else ""


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
