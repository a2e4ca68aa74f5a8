"""Search methods by name: each minimises an :class:`Evaluation` through its library's own interface.

A name is ``library:method{options}``, for instance ``optuna:gp`` or ``tpe{"n_startup_trials": 5}``; no library means
tunesmith, and a library alone means its default. Options are JSON and go to the sampler. ``random`` is the yardstick:
uniform draws by NumPy, with replacement.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common.names import versions
from benchmarks.efficiency.evaluation import Evaluation

Run = Callable[[Evaluation, int, int], None]
"""(objective, number of trials, seed): minimise."""
Maker = Callable[[str, dict[str, Any]], Run]
"""(method of the library, options): imports the library and returns how to run it."""


def _random(method: str, options: dict[str, Any]) -> Run:
    def run(objective: Evaluation, trials: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(trials):
            codes = [int(rng.integers(len(axis.values))) for axis in objective.axes]
            objective(
                {a.name: code if a.ordered else a.values[code] for a, code in zip(objective.axes, codes, strict=True)}
            )

    return run


def _tunesmith(method: str, options: dict[str, Any]) -> Run:
    import tunesmith as ts

    ts.logging.set_verbosity(ts.logging.ERROR)
    sampler = ts.samplers.get_sampler(method, **options)  # keeps nothing, so it can be shared by runs

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        space = {
            axis.name: ts.Int(0, len(axis.values) - 1) if axis.ordered else ts.Categorical(axis.values)
            for axis in objective.axes
        }
        ts.minimize(lambda **params: objective(params), space, trials, sampler=sampler, seed=seed)

    return run


def _suggest(trial: Any, objective: Evaluation) -> dict[str, Any]:
    """Define by run, as in Optuna's tutorial."""
    return {
        axis.name: trial.suggest_int(axis.name, 0, len(axis.values) - 1)
        if axis.ordered
        else trial.suggest_categorical(axis.name, list(axis.values))
        for axis in objective.axes
    }


_SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler", "random": "RandomSampler"}


def _optuna(method: str, options: dict[str, Any]) -> Run:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler_class = getattr(optuna.samplers, _SAMPLERS.get(method, method))

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        study = optuna.create_study(sampler=sampler_class(seed=seed, **options))
        study.optimize(lambda trial: objective(_suggest(trial, objective)), n_trials=trials)

    return run


def _rustuna(method: str, options: dict[str, Any]) -> Run:
    import rustuna
    from rustuna import samplers

    sampler_class = getattr(samplers, _SAMPLERS.get(method, method))

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        study = rustuna.create_study(sampler=sampler_class(seed=seed, **options))
        study.optimize(lambda trial: objective(_suggest(trial, objective)), n_trials=trials)

    return run


def _hyperopt(method: str, options: dict[str, Any]) -> Run:
    from hyperopt import fmin, hp, tpe

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        space = {
            axis.name: hp.uniformint(axis.name, 0, len(axis.values) - 1)
            if axis.ordered
            else hp.choice(axis.name, list(axis.values))
            for axis in objective.axes
        }
        fmin(
            objective,
            space,
            algo=tpe.suggest,
            max_evals=trials,
            rstate=np.random.default_rng(seed),
            show_progressbar=False,
            verbose=False,
        )

    return run


def _nevergrad(method: str, options: dict[str, Any]) -> Run:
    import nevergrad as ng

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        space = ng.p.Dict(
            **{
                axis.name: ng.p.Scalar(lower=0, upper=len(axis.values) - 1).set_integer_casting()
                if axis.ordered
                else ng.p.Choice(list(axis.values))
                for axis in objective.axes
            }
        )
        space.random_state = np.random.RandomState(seed)
        optimizer = ng.optimizers.registry[method](parametrization=space, budget=trials, num_workers=1)
        for _ in range(trials):
            candidate = optimizer.ask()
            optimizer.tell(candidate, objective(candidate.value))

    return run


def _smac(method: str, options: dict[str, Any]) -> Run:
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformIntegerHyperparameter
    from smac import BlackBoxFacade, HyperparameterOptimizationFacade, Scenario

    facade = {"hpo": HyperparameterOptimizationFacade, "blackbox": BlackBoxFacade}[method]

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        space = ConfigurationSpace(seed=seed)
        for axis in objective.axes:
            if axis.ordered:
                space.add(UniformIntegerHyperparameter(axis.name, 0, len(axis.values) - 1))
            else:
                space.add(CategoricalHyperparameter(axis.name, list(axis.values)))
        with tempfile.TemporaryDirectory() as folder:
            scenario = Scenario(space, deterministic=True, n_trials=trials, seed=seed, output_directory=folder)
            facade(
                scenario,
                lambda configuration, seed=0: objective(dict(configuration)),
                overwrite=True,
                logging_level=logging.ERROR,
                **options,
            ).optimize()

    return run


def _hebo(method: str, options: dict[str, Any]) -> Run:
    from hebo.design_space.design_space import DesignSpace
    from hebo.optimizers.hebo import HEBO

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        import torch

        np.random.seed(seed)
        torch.manual_seed(seed)
        space = DesignSpace().parse(
            [
                {"name": axis.name, "type": "int", "lb": 0, "ub": len(axis.values) - 1}
                if axis.ordered
                else {"name": axis.name, "type": "cat", "categories": list(axis.values)}
                for axis in objective.axes
            ]
        )
        optimizer = HEBO(space, scramble_seed=seed, **options)
        for _ in range(trials):
            proposed = optimizer.suggest(n_suggestions=1)
            optimizer.observe(proposed, np.array([[objective(proposed.iloc[0].to_dict())]]))

    return run


def _ax(method: str, options: dict[str, Any]) -> Run:
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
    from ax.utils.common.logger import set_stderr_log_level

    set_stderr_log_level(logging.ERROR)

    def run(objective: Evaluation, trials: int, seed: int) -> None:
        client = Client(random_seed=seed)
        client.configure_experiment(
            [
                RangeParameterConfig(axis.name, (0, len(axis.values) - 1), "int")
                if axis.ordered
                else ChoiceParameterConfig(axis.name, list(axis.values), "str", is_ordered=False)
                for axis in objective.axes
            ]
        )
        client.configure_optimization("-loss")
        client.configure_generation_strategy(method, initialization_random_seed=seed, **options)
        for _ in range(trials):
            for index, params in client.get_next_trials(1).items():
                client.complete_trial(index, {"loss": objective(params)})

    return run


_LIBRARIES: dict[str, tuple[Maker, str, tuple[str, ...]]] = {
    # name -> (maker, default method, distributions whose versions are noted)
    "random": (_random, "uniform", ("numpy",)),
    "tunesmith": (_tunesmith, "tpe", ("tunesmith", "numpy")),
    "optuna": (_optuna, "tpe", ("optuna", "cmaes", "torch")),
    "rustuna": (_rustuna, "tpe", ("rustuna",)),
    "hyperopt": (_hyperopt, "tpe", ("hyperopt",)),
    "nevergrad": (_nevergrad, "NGOpt", ("nevergrad",)),
    "smac": (_smac, "hpo", ("smac", "scikit-learn")),
    "hebo": (_hebo, "hebo", ("HEBO", "torch", "numpy")),
    "ax": (_ax, "fast", ("ax-platform", "botorch", "torch")),
}


@dataclass(frozen=True)
class Method:
    """A search method that can be run.

    Attributes:
        name: as it was asked for.
        run: minimises an objective.
        versions: distribution -> version, of what it depends on.
    """

    name: str
    run: Run
    versions: dict[str, str]


def resolve(name: str) -> Method:
    """The method of that name; imports its library."""
    match = re.fullmatch(r"(?:(\w+):)?([\w-]+)(\{.*\})?", name.strip())
    if match is None:
        raise SystemExit(f"{name!r} is no method: write library:method, and options as JSON in braces.")
    library, method, options = match.groups()
    if library is None:
        library, method = (method, None) if method in _LIBRARIES else ("tunesmith", method)
    if library not in _LIBRARIES:
        raise SystemExit(f"Unknown library {library!r}; known: {', '.join(_LIBRARIES)}.")
    make, default, distributions = _LIBRARIES[library]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = make(method or default, json.loads(options or "{}"))
    return Method(name.strip(), run, versions(distributions))
