"""A training problem: a data set, a model family, a search space. It is an objective that a study can optimize."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from torch import nn

from tunesmith.space import Space
from tunesmith.train import arguments, checkpointing, fitting, metrics, planning, suggesting, trial_states
from tunesmith.train.arguments import whole
from tunesmith.train.dataset import Dataset, load_dataset
from tunesmith.train.evaluation import FAIL_REASON, SPREAD, Evaluation, fail_reason
from tunesmith.train.model_families import Family, family_of
from tunesmith.train.problem_fields import checked
from tunesmith.train.problem_text import describe
from tunesmith.train.saving import PathLike, Trained
from tunesmith.train.splitting import OFFICIAL

if TYPE_CHECKING:
    from tunesmith.train.lanes.runner import Runner


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """Train a network and minimize its validation loss, or make another metric best.

    Calling it with a trial gives a generator objective: it suggests every active parameter of the space, trains, and
    yields the metrics of each epoch (the objective first). So::

        problem = Problem(data="fashion-mnist-small", model="lenet5", epochs=5)
        study = tunesmith.create_study(directions=problem.directions, space=problem.space)
        study.optimize(problem, n_trials=20)

    With folds, or several executions, it yields after each training instead: the means over the trainings so far.

    A problem is a value: it cannot be changed, equal problems are equal and hash alike, it can be pickled, and
    :meth:`to_dict` and :meth:`from_dict` carry it through JSON.

    Args:
        data: a data set by name, see :func:`tunesmith.train.datasets`; or a :class:`~tunesmith.train.dataset.Dataset`
            of your own, which :meth:`to_dict` and :attr:`id` know by a hash of its content.
        model: a model family by name, see :func:`tunesmith.train.models`; or a function or class that makes a network,
            see :func:`tunesmith.train.model_families.family_of`.
        space: what to search: ``"small"``, ``"medium"``, ``"all"`` (ready spaces of the training loop, see
            :func:`tunesmith.train.spaces.space`, joined with the family's; ``"small"`` is ``lr`` and ``momentum``), a
            :class:`~tunesmith.space.Space`, its JSON-able form, or None for nothing. A parameter ``"data"`` or
            ``"model"`` (choices), ``"seed"`` or ``"epochs"`` (integers) overrides the problem's own for a trial.
        epochs: how long each configuration trains, at most. Default 10.
        batch_size, optimizer: short for these entries of ``fixed``. Defaults 64 and "sgd".
        fixed: values of hyperparameters that are not searched; the rest has the defaults of
            :class:`~tunesmith.train.hyperparameters.Hyperparameters` and of the family.
        objective: the metric of the validation part that is searched by. Default "val_loss", the mean cross-entropy
            whatever loss is trained; any other of :func:`tunesmith.train.metrics.names`, e.g. "val_f1".
        metrics: more of them, to be reported beside the objective, the loss and the accuracy.
        validation: size of the validation part (a number or a share), or ``"official"``, which validates on the
            official test part as many publications do; then nothing is left to test with, and the best value found is
            an optimistic one. See :func:`tunesmith.train.split`.
        folds: stratified cross-validation with so many folds instead of one validation part.
        fold_repeats: how often, each time with another partition. Default 1.
        executions_per_trial: trainings of each configuration (in each fold), with different seeds. Default 1.
        n_train, n_validation, n_test: at most so many images of each part, for reduced runs.
        split_seed: draws the validation part; None takes the one that the data set ships with, in every repeat.
        seed: of the trainings.
        repeat: 0, 1, 2, ...: another split and other training seeds; see :meth:`for_repeat`.
        precision: "float32", or "bfloat16" or "float16" for mixed precision.
        device: "auto" (CUDA, else MPS, else CPU) or a name such as "cpu".
        save_every: epochs from one saving of a trial's state (``trial.save``) to the next, and at the end of each
            training, so that a trial that is interrupted or paused goes on from there in another process, with the same
            bits. Default None: only if the study's rule needs states (population-based training), then every epoch. A
            saving takes some 10 ms on a disk, and a paused trial that is saved stays PAUSED when ``optimize`` ends.
            Trainings in lanes save nothing. The problem's id and :meth:`to_dict` leave this out.
        threads: of torch on a CPU, while training. Default 1: the same results on machines with different numbers of
            cores, and trials that run side by side do not compete. None leaves torch's setting.

    Raises:
        InvalidTypeError, InvalidValueError: an argument that is impossible; unknown names are answered with the known
            ones. Data are not loaded before they are needed.
    """

    data: str | Dataset
    model: str | Family
    space: Space
    epochs: int
    fixed: Mapping[str, Any]
    objective: str
    metrics: tuple[str, ...]
    validation: int | float | str | None
    folds: int | None
    fold_repeats: int
    executions_per_trial: int
    n_train: int | None
    n_validation: int | None
    n_test: int | None
    split_seed: int | None
    seed: int
    repeat: int
    precision: str
    device: str
    threads: int | None
    save_every: int | None

    def __init__(
        self,
        data: str | Dataset = "fashion-mnist-small",
        model: str | Family | Callable[..., nn.Module] = "lenet5",
        space: Space | str | Mapping[str, Any] | None = "small",
        *,
        epochs: int = 10,
        batch_size: int | None = None,
        optimizer: str | None = None,
        fixed: Mapping[str, Any] | None = None,
        objective: str = "val_loss",
        metrics: tuple[str, ...] | list[str] = (),
        validation: int | float | str | None = None,
        folds: int | None = None,
        fold_repeats: int = 1,
        executions_per_trial: int = 1,
        n_train: int | None = None,
        n_validation: int | None = None,
        n_test: int | None = None,
        split_seed: int | None = 0,
        seed: int = 0,
        repeat: int = 0,
        precision: str = "float32",
        device: str = "auto",
        threads: int | None = 1,
        save_every: int | None = None,
    ) -> None:
        fields = checked(
            data=data, model=model, space=space, epochs=epochs,
            fixed=arguments.merged(fixed, batch_size=batch_size, optimizer=optimizer),
            objective=objective, metrics=metrics, validation=validation, folds=folds, fold_repeats=fold_repeats,
            executions_per_trial=executions_per_trial, n_train=n_train, n_validation=n_validation, n_test=n_test,
            split_seed=split_seed, seed=seed, repeat=repeat, precision=precision, device=device, threads=threads,
            save_every=save_every,
        )  # fmt: skip
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # -- as a value ----------------------------------------------------------------------------------------------

    def _fields(self) -> dict[str, Any]:
        names = (name for name in inspect.signature(Problem).parameters if name not in ("batch_size", "optimizer"))
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The full configuration, JSON-able, with the defaults of today; data and a model of your own by their ids."""
        own = {"data": getattr(self.data, "id", self.data), "model": self.family.id, "metrics": list(self.metrics)}
        fields = {name: value for name, value in self._fields().items() if name != "save_every"}
        return {**fields, **own, "space": self.space.to_dict(), "fixed": dict(self.fixed)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], *, model: Any = None, data: Dataset | None = None) -> Problem:
        """Inverse of :meth:`to_dict`; also any part of it, and every argument of the constructor (a YAML file's).

        Args:
            fields: argument -> value.
            model: the function or class that makes the network, if ``fields`` has a model of your own.
            data: the data set, if ``fields`` has one of your own.

        Raises:
            InvalidValueError: unknown keys (the message lists the known ones); a model or a data set of your own that
                is not handed in, or whose source or content differs.
        """
        return cls(**arguments.from_fields(fields, inspect.signature(cls).parameters, model, data))

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

    @property
    def family(self) -> Family:
        """What ``model`` means."""
        return family_of(self.model)

    # -- seeds ---------------------------------------------------------------------------------------------------

    def for_repeat(self, repeat: int) -> Problem:
        """The same problem with the split and the training seeds of repeat 0, 1, 2, ...

        All methods that search ``for_repeat(r)`` have the same images and, trial by trial, the same training seeds.
        """
        return Problem(**{**self._fields(), "repeat": repeat})

    def training_seed(self, number: int, params: Mapping[str, Any] | None = None) -> int:
        """The seed of trial ``number``: 63 bits of ``SeedSequence([seed, repeat, number, 1])``.

        When the space has a parameter ``"seed"``, its value s in ``params`` decides instead of the number:
        ``SeedSequence([s, repeat, 0, 2])``, so that equal parameters are the same training.
        """
        number = whole("number", number, 0)
        if params is not None and "seed" in params and "seed" in self.space:
            return planning.derived(whole("seed", params["seed"], 0), self.repeat, 0, planning.AXIS)
        return planning.derived(self.seed, self.repeat, number, planning.TRIAL)

    def confirmation_seed(self, number: int) -> int:
        """A fresh seed to train a chosen configuration with once more, for number 0, 1, 2, ...; no trial has it."""
        return planning.derived(self.seed, self.repeat, whole("number", number, 0), planning.CONFIRMATION)

    @property
    def split_seed_of_repeat(self) -> int | None:
        """The seed given to :func:`~tunesmith.train.splitting.split`; None for the split the data set ships with."""
        return None if self.split_seed is None else planning.derived(self.split_seed, self.repeat, 0, planning.SPLIT)

    # -- as an objective -----------------------------------------------------------------------------------------

    @property
    def directions(self) -> list[str]:
        """Of the objective: ``["minimize"]`` for the validation loss."""
        return [self.metric_directions[self.objective]]

    @property
    def metric_names(self) -> list[str]:
        """The name of the objective: ``["val_loss"]`` by default."""
        return [self.objective]

    @property
    def measured(self) -> list[str]:
        """What is measured on the validation part, without the prefix: ``["loss", "accuracy"]`` by default."""
        names = (name for name in self.metrics if name.startswith(metrics.VALIDATION) and not name.endswith(SPREAD))
        return [name.removeprefix(metrics.VALIDATION) for name in names]

    @property
    def metric_directions(self) -> dict[str, str]:
        """Metric of the validation part -> whether smaller or larger values are better."""
        return {metrics.VALIDATION + name: metrics.direction(name) for name in self.measured}

    def __call__(self, trial: suggesting.SuggestingTrial) -> Generator[dict[str, float], None, float | None]:
        """Suggest, train, and yield the metrics of each epoch (of several trainings: after each one).

        A training that diverges, a network that is impossible for the images, and memory that runs out end the trial
        with the value NaN, which a study records as FAIL, and leave the reason in the user attribute ``fail_reason``.
        """
        params = self.suggest(trial)
        evaluation = trial_states.begin(self, trial, params)
        value, kept = None, {}
        try:
            yield from evaluation.run(trial_states.keeper(self, trial, params, evaluation))
            value = evaluation.value
        except Exception as error:
            reason = evaluation.fail_reason(error)
            if reason is None:
                raise
            value, kept = float("nan"), {FAIL_REASON: reason}
        for name, entry in {**kept, **evaluation.attributes}.items():
            trial.set_user_attr(name, entry)
        return value

    fail_reason = staticmethod(fail_reason)

    def begin(self, trial: suggesting.SuggestingTrial) -> Evaluation:
        """Suggest, and return what is to be trained and reported in a lane; what an earlier attempt has saved is done.

        Raises:
            InvalidValueError: the study's rule needs states, which lanes do not save; the trial's state is of another
                training, and the message says what differs.
        """
        trial_states.check_lane(trial)
        return trial_states.begin(self, trial, self.suggest(trial))

    def suggest(self, trial: suggesting.SuggestingTrial) -> dict[str, Any]:
        """The values of all active parameters, in the order of the space."""
        return suggesting.suggest(self.space, trial)

    def evaluation(self, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None) -> Evaluation:
        """What one configuration is trained and reported by; see :class:`~tunesmith.train.evaluation.Evaluation`.

        Args:
            params: a value for every active parameter of the space, and no others.
            training_seed: decides everything that is drawn. The first training has this seed, others of the same trial
                have seeds derived from it.
            epochs: instead of the problem's or the trial's.

        Raises:
            InvalidValueError: missing, unknown or impossible parameters.
        """
        return planning.plan(self, params, training_seed, epochs)

    def train(
        self, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None
    ) -> Iterator[dict[str, float]]:
        """Train one configuration; yields what a trial would report. Arguments and errors as of :meth:`evaluation`.

        Raises:
            TrainingDivergedError: a loss became NaN or infinite.
        """
        return self.evaluation(params, training_seed, epochs=epochs).run()

    def evaluate(self, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None) -> dict[str, float]:
        """Train one configuration; the last report. With the seed of a trial, that of the trial, bit for bit."""
        *_, last = self.train(params, training_seed, epochs=epochs)
        return last

    @property
    def evaluate_test(self) -> Callable[..., dict[str, float]]:
        """``evaluate_test(params, training_seed, *, epochs=None)``: train one configuration again and measure it on the
        test part, which nothing else looks at.

        With the seed and the number of epochs of a trial, the objective is that of the trial, bit for bit (on the same
        machine, with the same versions). The function returns ``test_loss``, ``test_accuracy`` and what else the
        problem measures, then the last report. With folds or several executions the test metrics are means too.

        Raises:
            AttributeError: ``validation="official"``: no test part is left, so the problem has no such function.
        """
        if self.validation == OFFICIAL:
            raise AttributeError("There is no test: with validation='official' the test part is what is validated on.")
        return partial(fitting.evaluate_test, self)

    def test_evaluation(self, params: Mapping[str, Any], training_seed: int) -> fitting.TestEvaluation:
        """What :attr:`evaluate_test` does, to be driven by somebody else; its ``outcome`` are the metrics."""
        return fitting.TestEvaluation(self, params, training_seed)

    def open_lanes(self, lanes: int | str = "auto", workers: int | None = None) -> Runner:
        """Train many trials of this problem (and of its other repeats) side by side as one program.

        Args:
            lanes: how many; "auto" for as many as the machine is fastest with.
            workers: threads that compute; by default one a core on a CPU, else one.
        """
        from tunesmith.train.lanes.opening import open_lanes

        return open_lanes(self, lanes, workers)

    def fit(
        self,
        params: Mapping[str, Any] | fitting.TrialLike,
        training_seed: int | None = None,
        *,
        epochs: int | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int = 1,
    ) -> Trained:
        """Train one configuration and keep the network: ``problem.fit(study.best_trial)``.

        Args:
            params: a value for every active parameter of the space; or a trial, which stands for its parameters and
                its seed, and gives the trial's network once more. Of a trial with several trainings (folds,
                executions) it is the first one's.
            training_seed: decides everything that is drawn. Default: the trial's; 0 for parameters.
            epochs: instead of the problem's or the trial's.
            checkpoint: a file to keep the state of the training in, see :mod:`tunesmith.train.checkpointing`. If it is
                there, the training goes on from it; what comes out is the same, bit for bit on the same machine.
            checkpoint_every: epochs from one writing to the next; the end is always written. Default 1.

        Raises:
            InvalidValueError, TrainingDivergedError: as :meth:`train`; a checkpoint of another training.
            DataDamagedError: the file is no checkpoint, or damaged.
        """
        return fitting.fit(self, params, training_seed, epochs, checkpointing.open_at(checkpoint, checkpoint_every))

    def network(self, params: Mapping[str, Any] | None = None, training_seed: int = 0) -> nn.Module:
        """The network before training; without ``params``, that of the fixed values and defaults."""
        found = (params or {}).get("data", self.data)
        data = found if isinstance(found, Dataset) else load_dataset(found)
        return planning.build(self, params, data.shape, data.n_classes, training_seed)

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` joined with the fixed values.

        Raises:
            InvalidValueError: an active parameter is missing, or one is not active or not in the space.
        """
        return {**self.fixed, **suggesting.complete(self.space, params)}

    def warm_up(self) -> None:
        """Do now what only the first training of a process has to, before a clock starts; no result depends on it."""
        for name in self.space["data"].choices if "data" in self.space else [self.data]:  # type: ignore[attr-defined]
            prepared = planning.prepared_for(self, name)  # each, so that one that is missing is noticed now
        fitting.warm_up(prepared, self.measured)

    def describe(self) -> str:
        """What is trained on what, in a few lines. Loads the data unless the data set is an axis."""
        return describe(self)
