"""Training one configuration of a problem outside of a study: for the test part, or to keep the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from tunesmith.train import device as devices
from tunesmith.train import loop, metrics, planning
from tunesmith.train.checkpointing import Checkpoint
from tunesmith.train.evaluation import Evaluation
from tunesmith.train.job import Job, Part
from tunesmith.train.loop import Training
from tunesmith.train.preparation import Prepared
from tunesmith.train.saving import Trained

if TYPE_CHECKING:
    from tunesmith.train.problem import Problem


@runtime_checkable
class TrialLike(Protocol):
    """What :func:`fit` needs of a trial: any of tunesmith's has it."""

    @property
    def number(self) -> int: ...

    @property
    def params(self) -> dict[str, Any]: ...


class TestEvaluation(Evaluation):
    """An evaluation that also measures each trained network on the test part.

    Args:
        problem, params, training_seed, epochs: as of ``Problem.evaluation``.
    """

    __test__ = False  # for pytest, which takes it for a test

    def __init__(
        self, problem: Problem, params: Mapping[str, Any], training_seed: int, epochs: int | None = None
    ) -> None:
        configuration = problem.configuration(params)
        self._prepared = planning.prepared_for(problem, configuration.get("data", problem.data))
        self._found: list[dict[str, float]] = []
        self._job: Job | None = None
        super().__init__(problem.evaluation(params, training_seed, epochs=epochs).runs, problem.metrics)

    def next_job(self) -> Job | None:
        self._job = super().next_job()
        return self._job

    def ended(self, result: Mapping[str, float]) -> dict[str, float] | None:
        assert self._job is not None
        part = self._prepared.test(self._job.hyperparameters.normalize, self.current.index)
        self._found.append(_measured(self._job, part))
        return super().ended(result)

    @property
    def outcome(self) -> dict[str, float]:
        """``test_loss``, ``test_accuracy`` and the other metrics of the test part, then the last report."""
        found = self._found
        means = {name: sum(values[name] for values in found) / len(found) for name in found[0]}
        first = dict.fromkeys([f"{metrics.TEST}loss", f"{metrics.TEST}accuracy", *means])
        return {**{name: means[name] for name in first}, **self.report}


def evaluate_test(
    problem: Problem, params: Mapping[str, Any], training_seed: int, *, epochs: int | None = None
) -> dict[str, float]:
    """See :attr:`tunesmith.train.Problem.evaluate_test`."""
    evaluation = TestEvaluation(problem, params, training_seed, epochs)
    for _ in evaluation.run():
        pass
    return evaluation.outcome


def _measured(job: Job, part: Part) -> dict[str, float]:
    names = [name.removeprefix(metrics.VALIDATION) for name in job.metrics]
    with devices.working(part.pool.images.device, job.threads):
        values = metrics.measure(names, loop.evaluate(job.network, part, job.precision), part.labels)
    return {metrics.TEST + name: value for name, value in values.items()}


def fit(
    problem: Problem,
    params: Mapping[str, Any] | TrialLike,
    training_seed: int | None,
    epochs: int | None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """See :meth:`tunesmith.train.Problem.fit`."""
    if isinstance(params, TrialLike):
        seed = problem.training_seed(params.number, params.params) if training_seed is None else training_seed
        params = params.params
    else:
        seed = 0 if training_seed is None else training_seed
    job = problem.evaluation(params, seed, epochs=epochs).next_job()
    assert job is not None  # there is always a first one
    training = Training(job)
    about = {} if checkpoint is None else planning.identity_of(problem, params, seed, job.epochs)
    history = [] if checkpoint is None else checkpoint.resume(training, about)
    while not training.finished:
        history.append(training.epoch())
        if checkpoint is not None:
            checkpoint.after_epoch(training, about, history)
    shape = job.training.pool.images.shape[1:]
    return Trained(
        job.network.eval(), problem, dict(params), seed, dict(training.result), history,
        (shape[0], shape[1], shape[2]), job.training.pool.n_classes, job.training.shift, job.training.scale,
    )  # fmt: skip


def warm_up(prepared: Prepared, measured: Sequence[str]) -> None:
    """Let torch and the metrics import what they import late; the data are loaded by then."""
    weight = torch.zeros(1, requires_grad=True)
    torch.optim.SGD([weight]).step()
    labels = torch.arange(prepared.pool.n_classes)
    metrics.measure(measured, torch.eye(prepared.pool.n_classes), labels)
