"""From a problem and the parameters of one trial to the trainings that evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import device as devices
from tunesmith.train import loop, metrics
from tunesmith.train.arguments import whole
from tunesmith.train.dataset import Dataset
from tunesmith.train.errors import DataDamagedError, InvalidArchitectureError, UnusableDataError
from tunesmith.train.evaluation import Evaluation, Run
from tunesmith.train.hyperparameters import Hyperparameters, from_configuration
from tunesmith.train.job import Job, Seeds
from tunesmith.train.model_families import build_model, family_of
from tunesmith.train.preparation import Cut, Prepared, prepare

if TYPE_CHECKING:
    from tunesmith.train.problem import Problem

#: What a seed is for; part of its derivation, so that equal seeds for two purposes give unrelated random numbers.
TRIAL, AXIS, SPLIT, CONFIRMATION, RUN = 1, 2, 3, 4, 5


def derived(*entropy: int) -> int:
    """63 bits of ``SeedSequence(entropy)``; the last number is one of the purposes above."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def plan(problem: Problem, params: Mapping[str, Any], training_seed: int, epochs: int | None) -> Evaluation:
    """See :meth:`tunesmith.train.Problem.evaluation`."""
    configuration = problem.configuration(params)
    length = whole("epochs", configuration.get("epochs", problem.epochs) if epochs is None else epochs, 1)
    seed = whole("training_seed", training_seed, 0)
    hyperparameters = from_configuration(configuration)
    try:
        prepared = prepared_for(problem, configuration.get("data", problem.data))
    except (InvalidTypeError, InvalidValueError, DataDamagedError) as error:
        if "data" not in problem.space:
            raise  # every trial would meet it
        return Evaluation([Run(partial(_raise, UnusableDataError(str(error))), 0, {})], problem.metrics)
    runs: list[Run] = []
    for index in range(len(prepared.splits)):
        for execution in range(problem.executions_per_trial):
            own = derived(seed, len(runs), 0, RUN) if runs else seed
            make = partial(_job, problem, dict(params), hyperparameters, prepared, index, own, length)
            runs.append(Run(make, index, _labels(problem, index, execution)))
    return Evaluation(runs, problem.metrics)


def _raise(error: Exception) -> Job:
    raise error


def _labels(problem: Problem, index: int, execution: int) -> dict[str, int]:
    """What tells a training from the others of its trial."""
    labels: dict[str, int] = {}
    if problem.folds is not None:
        labels = {"repeat": index // problem.folds, "fold": index % problem.folds}
        if problem.fold_repeats == 1:
            del labels["repeat"]
    return labels if problem.executions_per_trial == 1 else {**labels, "execution": execution}


def _job(
    problem: Problem,
    params: Mapping[str, Any],
    h: Hyperparameters,
    prepared: Prepared,
    index: int,
    seed: int,
    epochs: int,
) -> Job:
    data = prepared.splits[index].dataset
    return Job(
        build(problem, params, data.shape, data.n_classes, seed),
        h,
        prepared.training(h.normalize, index),
        prepared.validation(h.normalize, index),
        epochs,
        Seeds.of(seed),
        tuple(metrics.VALIDATION + name for name in problem.measured),
        problem.precision,
        problem.threads,
    )


def identity_of(problem: Problem, params: Mapping[str, Any], training_seed: int, epochs: int) -> dict[str, Any]:
    """What a training of the problem is told from others by, in words of the user; the data by their content."""
    configuration = problem.configuration(params)
    data = prepared_for(problem, configuration.get("data", problem.data)).splits[0].dataset
    model = family_of(configuration.get("model", problem.model))
    own = {"data": data.id, "model": model.id, "training_seed": training_seed, "epochs": epochs}
    return own | {name: value for name, value in configuration.items() if name not in own}


def build(
    problem: Problem, params: Mapping[str, Any] | None, shape: tuple[int, int, int], n_classes: int, training_seed: int
) -> nn.Module:
    """The network before training, for images of this shape; without ``params`` that of the fixed values.

    Raises:
        InvalidArchitectureError: it cannot be built for such images.
    """
    configuration = dict(problem.fixed) if params is None else problem.configuration(params)
    family = family_of(configuration.get("model", problem.model))
    own = {key: value for key, value in configuration.items() if key in family.DEFAULTS}
    seed = loop.network_seed(whole("training_seed", training_seed, 0))
    try:
        with devices.working(torch.device("cpu"), problem.threads):
            return build_model(family, own, shape, n_classes, seed)
    except InvalidValueError as error:  # a value that the family does not have is this trial's fault, not the study's
        raise error if isinstance(error, InvalidArchitectureError) else InvalidArchitectureError(str(error)) from error


def prepared_for(problem: Problem, data: str | Dataset) -> Prepared:
    """A data set on the problem's device, cut into its parts.

    Raises:
        InvalidValueError: parts that are impossible, or a metric that means nothing with so many classes.
    """
    cut = Cut(
        problem.split_seed_of_repeat, problem.validation, problem.folds, problem.fold_repeats, problem.n_train,
        problem.n_validation, problem.n_test,
    )  # fmt: skip
    prepared = prepare(data, cut, devices.choose(problem.device))
    for name in problem.measured:
        metrics.check_classes(name, prepared.pool.n_classes)
    return prepared
