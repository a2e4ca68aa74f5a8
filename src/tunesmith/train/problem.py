"""A training problem: a data set, a model family, a search space. It is an objective that a study can optimize."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from tunesmith.distributions import CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import device as devices
from tunesmith.train import hyperparameters, loop, resolve, suggesting
from tunesmith.train.dataset import load_dataset
from tunesmith.train.errors import TrainingDivergedError
from tunesmith.train.model_families import build_model, find_model
from tunesmith.train.preparation import Prepared, prepare

#: What a seed is for; part of its derivation, so that equal seeds for two purposes give unrelated random numbers.
_TRIAL, _AXIS, _SPLIT = 1, 2, 3


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """Train a network and minimize its validation loss.

    Calling it with a trial gives a generator objective: it suggests every active parameter of the space, trains, and
    yields the metrics of each epoch (``val_loss`` first, which is the objective). So::

        problem = Problem(data="fashion-mnist-small", model="lenet5", epochs=5)
        study = tunesmith.create_study(directions=problem.directions, space=problem.space)
        study.optimize(problem, n_trials=20)

    A problem is a value: it cannot be changed, equal problems are equal and hash alike, it can be pickled, and
    :meth:`to_dict` and :meth:`from_dict` carry it through JSON.

    Args:
        data: a data set by name; see :func:`tunesmith.train.datasets`.
        model: a model family by name; see :func:`tunesmith.train.models`.
        space: what to search: ``"small"``, ``"medium"``, ``"large"`` (ready spaces of the training loop, see
            :func:`tunesmith.train.hyperparameters.space`, joined with the family's; ``"small"`` is ``lr`` and
            ``momentum``), a :class:`~tunesmith.space.Space`, its JSON-able form, or None for nothing. A parameter
            ``"data"`` or ``"model"`` (choices) or ``"seed"`` (integers) overrides the problem's own for a trial.
        epochs: how long each configuration trains. Default 10.
        batch_size, optimizer: short for these entries of ``fixed``. Defaults 64 and "sgd".
        fixed: values of hyperparameters that are not searched; the rest has the defaults of
            :class:`~tunesmith.train.hyperparameters.Hyperparameters` and of the family.
        n_train, n_validation, n_test: at most so many images of each part, for reduced runs.
        split_seed: draws the validation part; None takes the one that the data set ships with, in every repeat.
        seed: of the trainings.
        repeat: 0, 1, 2, ...: another split and other training seeds; see :meth:`for_repeat`.
        device: "auto" (CUDA, else MPS, else CPU) or a name such as "cpu".
        threads: of torch on a CPU, while training. Default 1: the same results on machines with different numbers of
            cores, and trials that run side by side do not compete. None leaves torch's setting.

    Raises:
        InvalidTypeError, InvalidValueError: an argument that is impossible; unknown names are answered with the known
            ones. Data are not loaded before they are needed.
    """

    data: str
    model: str
    space: Space
    epochs: int
    fixed: Mapping[str, Any]
    n_train: int | None
    n_validation: int | None
    n_test: int | None
    split_seed: int | None
    seed: int
    repeat: int
    device: str
    threads: int | None

    def __init__(
        self,
        data: str = "fashion-mnist-small",
        model: str = "lenet5",
        space: Space | str | Mapping[str, Any] | None = "small",
        *,
        epochs: int = 10,
        batch_size: int | None = None,
        optimizer: str | None = None,
        fixed: Mapping[str, Any] | None = None,
        n_train: int | None = None,
        n_validation: int | None = None,
        n_test: int | None = None,
        split_seed: int | None = 0,
        seed: int = 0,
        repeat: int = 0,
        device: str = "auto",
        threads: int | None = 1,
    ) -> None:
        values = _merged(fixed, batch_size=batch_size, optimizer=optimizer)
        found, complete = resolve.resolve(data, model, space, values)
        devices.choose(device)
        fields = {
            "data": _canonical(data),
            "model": _canonical(model),
            "space": found,
            "epochs": _whole("epochs", epochs, 1),
            "fixed": complete,
            "n_train": _whole("n_train", n_train, 1, optional=True),
            "n_validation": _whole("n_validation", n_validation, 1, optional=True),
            "n_test": _whole("n_test", n_test, 1, optional=True),
            "split_seed": _whole("split_seed", split_seed, 0, optional=True),
            "seed": _whole("seed", seed, 0),
            "repeat": _whole("repeat", repeat, 0),
            "device": device,
            "threads": _whole("threads", threads, 1, optional=True),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # -- as a value ----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The full configuration, JSON-able; defaults are written out, so that later defaults do not change it."""
        names = (name for name in inspect.signature(Problem).parameters if name not in ("batch_size", "optimizer"))
        fields = {name: getattr(self, name) for name in names}
        return {**fields, "space": self.space.to_dict(), "fixed": dict(self.fixed)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Problem:
        """Inverse of :meth:`to_dict`; also any part of it, and every argument of the constructor (a YAML file's).

        Raises:
            InvalidValueError: unknown keys; the message lists the known ones.
        """
        if not isinstance(fields, Mapping):
            raise InvalidTypeError(f"A problem is described by a mapping, not by {fields!r}.")
        known = list(inspect.signature(cls).parameters)
        if unknown := [key for key in fields if key not in known]:
            raise InvalidValueError(f"Unknown keys {unknown} of a problem; known: {', '.join(known)}.")
        return cls(**fields)

    @cached_property
    def id(self) -> str:
        """A short content hash: equal problems have equal ids, in every process."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Problem) and self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Problem({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    # -- seeds ---------------------------------------------------------------------------------------------------

    def for_repeat(self, repeat: int) -> Problem:
        """The same problem with the split and the training seeds of repeat 0, 1, 2, ...

        All methods that search ``for_repeat(r)`` have the same images and, trial by trial, the same training seeds.
        """
        return self.from_dict({**self.to_dict(), "repeat": repeat})

    def training_seed(self, number: int, params: Mapping[str, Any] | None = None) -> int:
        """The seed of trial ``number``: 63 bits of ``SeedSequence([seed, repeat, number, 1])``.

        When the space has a parameter ``"seed"``, its value s in ``params`` decides instead of the number:
        ``SeedSequence([s, repeat, 0, 2])``, so that equal parameters are the same training.
        """
        number = _whole("number", number, 0)
        if params is not None and "seed" in params and "seed" in self.space:
            return _derived(_whole("seed", params["seed"], 0), self.repeat, 0, _AXIS)
        return _derived(self.seed, self.repeat, number, _TRIAL)

    @property
    def split_seed_of_repeat(self) -> int | None:
        """The seed given to :func:`~tunesmith.train.splitting.split`; None for the split the data set ships with."""
        return None if self.split_seed is None else _derived(self.split_seed, self.repeat, 0, _SPLIT)

    # -- as an objective -----------------------------------------------------------------------------------------

    @property
    def directions(self) -> list[str]:
        """``["minimize"]``: the objective is the validation loss after the last epoch."""
        return ["minimize"]

    @property
    def metric_names(self) -> list[str]:
        """The name of the objective: ``["val_loss"]``."""
        return [loop.METRICS[0]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of everything that an epoch yields, the objective first."""
        return loop.METRICS

    def __call__(self, trial: suggesting.SuggestingTrial) -> Generator[dict[str, float], None, float | None]:
        """Suggest, train, and yield the metrics of each epoch.

        A training that diverges ends the trial with the value NaN, which a study records as FAIL, and leaves the
        reason in the user attribute ``fail_reason``.
        """
        params = self.suggest(trial)
        try:
            yield from self.train(params, self.training_seed(trial.number, params))
        except TrainingDivergedError as error:
            trial.set_user_attr("fail_reason", str(error))
            return float("nan")
        return None

    def suggest(self, trial: suggesting.SuggestingTrial) -> dict[str, Any]:
        """The values of all active parameters, in the order of the space."""
        return suggesting.suggest(self.space, trial)

    def train(
        self, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None
    ) -> Iterator[dict[str, float]]:
        """Train one configuration; yields the metrics of each epoch (see :func:`tunesmith.train.loop.train`).

        Args:
            params: a value for every active parameter of the space, and no others.
            training_seed: decides everything that is drawn.
            epochs: instead of the problem's.

        Raises:
            InvalidValueError: missing, unknown or impossible parameters.
            TrainingDivergedError: a loss became NaN or infinite.
        """
        return self._started(params, training_seed, epochs)[1]

    def evaluate_test(
        self, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None
    ) -> dict[str, float]:
        """Train one configuration again and measure it on the test part, which nothing else looks at.

        With the seed and the number of epochs of a trial, ``val_loss`` is that of the trial, bit for bit (on the same
        machine, with the same versions).

        Returns:
            ``test_loss``, ``test_accuracy``, and the metrics of the last epoch.

        Raises:
            InvalidValueError, TrainingDivergedError: as :meth:`train`.
        """
        network, epoch_metrics, prepared = self._started(params, training_seed, epochs)
        last: dict[str, float] = {}
        for metrics in epoch_metrics:
            last = metrics
        part = prepared.test()
        with devices.working(part.images.device, self.threads):
            loss, accuracy = loop.evaluate(network, part)
        return {"test_loss": loss, "test_accuracy": accuracy, **last}

    def network(self, params: Mapping[str, Any] | None = None, training_seed: int = 0) -> nn.Module:
        """The network before training; without ``params``, that of the fixed values and defaults."""
        configuration = dict(self.fixed) if params is None else self.configuration(params)
        return self._network(configuration, training_seed)

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` joined with the fixed values.

        Raises:
            InvalidValueError: an active parameter is missing, or one is not active or not in the space.
        """
        return {**self.fixed, **suggesting.complete(self.space, params)}

    def warm_up(self) -> None:
        """Do now what only the first training of a process has to: load the data, and torch's late imports.

        A comparison calls it before it starts a clock. Nothing is drawn, no result depends on it.
        """
        for name in self.space["data"].choices if "data" in self.space else [self.data]:  # type: ignore[attr-defined]
            self._prepared(name)  # each, so that one that is missing is noticed now
        weight = torch.zeros(1, requires_grad=True)
        torch.optim.SGD([weight]).step()

    # -- as a text -----------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """What is trained on what, in a few lines. Loads the data unless the data set is an axis."""
        lines = [f"data    {_axis_text(self.space, 'data') or repr(self._prepared(self.data).split)}"]
        if text := _axis_text(self.space, "model"):
            lines.append(f"model   {text}")
        else:
            size = "" if "data" in self.space else f", {_count(self.network()):,} parameters"
            lines.append(f"model   {self.model}{size}")
        lines += [f"search  {name}: {distribution!r}" for name, distribution in self.space.items()]
        lines += [f"        {name} only if {text}" for name, text in self.space.conditions.items()]
        fixed = ", ".join(f"{name}={value!r}" for name, value in self.fixed.items())
        lines.append(f"fixed   {fixed or 'nothing'}")
        seeds = f"split seed {self.split_seed}, training seed {self.seed}, repeat {self.repeat}"
        epochs = f"{self.epochs} epoch{'s' * (self.epochs != 1)}"
        lines.append(f"train   {epochs}, {seeds}, {devices.choose(self.device)}, threads {self.threads}")
        return "\n".join(lines)

    # -- inside --------------------------------------------------------------------------------------------------

    def _started(
        self, params: Mapping[str, Any], training_seed: int, epochs: int | None
    ) -> tuple[nn.Module, Iterator[dict[str, float]], Prepared]:
        configuration = self.configuration(params)
        settings = hyperparameters.from_configuration(configuration)
        prepared = self._prepared(configuration.get("data", self.data))
        network = self._network(configuration, training_seed)
        metrics = loop.train(
            network,
            prepared.training,
            prepared.validation,
            settings,
            epochs=self.epochs if epochs is None else _whole("epochs", epochs, 1),
            order_seed=loop.seeds(training_seed)[1],
            threads=self.threads,
        )
        return network, metrics, prepared

    def _network(self, configuration: Mapping[str, Any], training_seed: int) -> nn.Module:
        name = configuration.get("model", self.model)
        known = find_model(name).DEFAULTS
        data = load_dataset(configuration.get("data", self.data))
        return build_model(
            name,
            {key: value for key, value in configuration.items() if key in known},
            data.shape,
            data.n_classes,
            loop.seeds(_whole("training_seed", training_seed, 0))[0],
        )

    def _prepared(self, name: str) -> Prepared:
        limits = {"n_train": self.n_train, "n_validation": self.n_validation, "n_test": self.n_test}
        return prepare(name, self.split_seed_of_repeat, limits, devices.choose(self.device))


def _merged(fixed: Mapping[str, Any] | None, **short: Any) -> Mapping[str, Any]:
    """``fixed`` with the arguments that are short for its entries."""
    given = {name: value for name, value in short.items() if value is not None}
    if not isinstance(fixed, (Mapping, type(None))):
        raise InvalidTypeError(f"fixed must be a mapping hyperparameter -> value, not {fixed!r}.")
    if both := sorted(set(given) & set(fixed or {})):
        raise InvalidValueError(f"{both} are given twice: as arguments and in fixed.")
    return {**(fixed or {}), **given}


def _whole(name: str, value: Any, lowest: int, optional: bool = False) -> Any:
    """``value`` as an int of at least ``lowest`` (or None), or a typed error."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{name} must be an integer{' or None' if optional else ''}, not {value!r}.")
    if value < lowest:
        raise InvalidValueError(f"{name} must be at least {lowest}, but is {value}.")
    return int(value)


def _derived(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _axis_text(space: Space, name: str) -> str:
    distribution = space.get(name)
    return f"one of {', '.join(distribution.choices)}" if isinstance(distribution, CategoricalDistribution) else ""


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
