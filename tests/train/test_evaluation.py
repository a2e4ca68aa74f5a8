"""How a trial is evaluated: folds, repetitions, early stopping, and failures that end a trial and nothing else."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tunesmith
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.pruners import BasePruner, Verdict
from tunesmith.train import Dataset, Problem, TrainingDivergedError, load_dataset, loop, planning
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.evaluation import Evaluation, Run, is_out_of_memory
from tunesmith.train.job import Job
from tunesmith.train.loop import Training
from tunesmith.train.splitting import k_fold
from tunesmith.trial import FixedTrial, TrialState

GOOD = {"lr": 0.03, "momentum": 0.9}
DIGITS: dict[str, Any] = {
    "data": "digits",
    "model": "cnn",
    "epochs": 2,
    "n_train": 200,
    "n_validation": 100,
    "device": "cpu",
}


def jobs(problem: Problem) -> Iterator[Job]:
    """The trainings of a trial."""
    evaluation = problem.evaluation(GOOD, 0)
    while (job := evaluation.next_job()) is not None:
        yield job


def trainings(problem: Problem, seed: int = 0) -> Iterator[tuple[Run, dict[str, float]]]:
    """Each training of a trial by itself, through the loop alone."""
    evaluation = problem.evaluation(GOOD, seed)
    while (job := evaluation.next_job()) is not None:
        *_, last = loop.train(job)
        yield evaluation.current, last


def drain(generator: Iterator[Any]) -> None:
    """To its end."""
    while True:
        next(generator)


# -- several trainings ---------------------------------------------------------------------------------------------


def test_folds_are_reports_of_the_mean_so_far() -> None:
    problem = Problem(**DIGITS, folds=2, fold_repeats=2, metrics=["f1"])
    single = list(trainings(problem))
    assert [dict(run.labels) for run, _ in single] == [
        {"repeat": r, "fold": f} for r in range(2) for f in range(2)
    ]  # fmt: skip
    reports = list(problem.train(GOOD, 0))
    assert len(reports) == 4
    for k, report in enumerate(reports, 1):
        done = [result for _, result in single[:k]]
        for name in ("val_loss", "val_accuracy", "val_f1", "train_loss"):
            assert report[name] == pytest.approx(statistics.fmean(result[name] for result in done), abs=1e-12)
        if k > 1:
            assert report["val_loss_sd"] == pytest.approx(statistics.stdev(r["val_loss"] for r in done), rel=1e-9)
        assert next(iter(report)) == "val_loss"
    assert "val_loss_sd" not in reports[0]
    assert tuple(reports[-1]) == problem.metrics


def test_folds_validate_every_training_image_once() -> None:
    problem = Problem("digits", "cnn", folds=4, device="cpu")
    found = list(jobs(problem))
    held = np.concatenate([job.validation.rows.numpy() for job in found])
    assert sorted(held) == list(range(1500))
    splits = k_fold(load_dataset("digits"), problem.split_seed_of_repeat or 0, folds=4)
    for job, parts in zip(found, splits, strict=True):
        np.testing.assert_array_equal(job.training.rows.numpy(), parts.train)
    assert len({job.seeds for job in found}) == 4
    assert not torch.equal(found[0].training.shift, found[1].training.shift)  # no leak


def test_executions_repeat_the_training_with_other_seeds() -> None:
    once, thrice = Problem(**DIGITS), Problem(**DIGITS, executions_per_trial=3)
    reports = list(thrice.train(GOOD, 7))
    assert reports[0] == once.evaluate(GOOD, 7)  # the first is the training there would be without the others
    values = [result["val_loss"] for _, result in trainings(thrice, seed=7)]
    assert len(set(values)) == 3
    assert reports[-1]["val_loss"] == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert reports[-1]["val_loss_sd"] == pytest.approx(statistics.stdev(values), rel=1e-9)


def test_a_trial_keeps_every_result_and_its_value_is_the_mean() -> None:
    problem = Problem(**DIGITS, folds=2, executions_per_trial=2)
    study = tunesmith.create_study(directions=problem.directions, space=problem.space, seed=0)
    study.optimize(problem, n_trials=1)
    (trial,) = study.trials
    runs = trial.user_attrs["runs"]
    assert [(run["fold"], run["execution"]) for run in runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert trial.value == pytest.approx(statistics.fmean(run["val_loss"] for run in runs), abs=1e-12)
    assert len(trial.intermediate_values) == 4
    assert set(trial.metrics["val_loss_sd"]) == {2, 3, 4}
    assert study.best_value == problem.evaluate(trial.params, problem.training_seed(0))["val_loss"]


def test_a_rule_acts_between_folds() -> None:
    class AfterTwo(BasePruner):
        def verdict(self, history: Any, trial: Any) -> Verdict:
            return Verdict.STOP if len(trial.reports) == 2 else Verdict.GO

    problem = Problem(**DIGITS, folds=3)
    study = tunesmith.create_study(space=problem.space, pruner=AfterTwo(), seed=0)
    study.optimize(problem, n_trials=1)
    assert study.trials[0].state is TrialState.PRUNED
    assert len(study.trials[0].intermediate_values) == 2


def test_the_test_of_several_trainings_is_their_mean() -> None:
    problem = Problem(**DIGITS, folds=2)
    prepared = planning.prepared_for(problem, "digits")
    hits = []
    for index, job in enumerate(jobs(problem)):
        list(loop.train(job))
        part = prepared.test("standardize", index)
        assert torch.equal(part.shift, job.training.shift)  # the network sees what it was trained to see
        hits.append((loop.evaluate(job.network, part).argmax(1) == part.labels).double().mean().item())
    found = problem.evaluate_test(GOOD, 0)
    assert found["test_accuracy"] == pytest.approx(statistics.fmean(hits), abs=1e-12)
    assert {name: found[name] for name in problem.metrics} == problem.evaluate(GOOD, 0)


# -- one training --------------------------------------------------------------------------------------------------


def test_every_epoch_is_a_report() -> None:
    problem = Problem(**DIGITS)
    job = problem.evaluation(GOOD, 5).next_job()
    assert job is not None
    assert list(problem.train(GOOD, 5)) == list(loop.train(job))
    assert problem.evaluation(GOOD, 5).attributes == {}


def test_the_last_report_of_an_early_stop_is_that_of_the_weights_it_keeps() -> None:
    problem = Problem(**{**DIGITS, "epochs": 30, "fixed": {"patience": 2, "lr": 0.6}, "space": None, "n_train": 50})
    evaluation = problem.evaluation({}, 0)
    job = evaluation.next_job()
    assert job is not None
    training = Training(job)
    curve = []
    while not training.finished:
        curve.append(training.epoch())
    best = min(curve, key=lambda metrics: metrics["val_loss"])
    assert len(curve) < 30
    assert best is not curve[-1]
    reports = list(problem.train({}, 0))
    assert len(reports) == len(curve)
    assert reports[:-1] == curve[:-1]
    assert reports[-1] == best
    with pytest.raises(StopIteration) as end:
        drain(problem(FixedTrial({})))
    assert end.value.value == problem.evaluate({}, problem.training_seed(0))["val_loss"]
    trained = problem.fit({}, 0)
    assert trained.metrics == best
    assert trained.history == curve


def test_a_driver_may_also_tell_all_epochs_and_then_the_end() -> None:
    """What was reported is not reported again; a result that differs is."""
    curve = [{"val_loss": 2.0}, {"val_loss": 1.0}, {"val_loss": 3.0}]

    def evaluation() -> Evaluation:
        job: Any = SimpleNamespace(validation=None)
        found = Evaluation([Run(lambda: job, 0, {})], ["val_loss"])
        found.next_job()
        return found

    usual, early = evaluation(), evaluation()
    assert [usual.epoch(metrics) for metrics in curve] == [early.epoch(metrics) for metrics in curve] == curve
    assert usual.value is None
    assert usual.ended(curve[-1]) is None
    assert usual.value == 3.0
    assert early.ended(curve[1]) == {"val_loss": 1.0}
    assert early.value == 1.0
    assert early.next_job() is None


# -- failures ------------------------------------------------------------------------------------------------------


def failed(problem: Problem, params: dict[str, Any]) -> str:
    """The reason of a trial that is evaluated beside one that is all right."""
    study = tunesmith.create_study(directions=problem.directions, space=problem.space)
    study.enqueue_trial(params)
    study.enqueue_trial({**params, **{name: value for name, value in GOOD.items() if name in problem.space}})
    study.optimize(problem, n_trials=1)
    assert study.trials[0].state is TrialState.FAIL
    return str(study.trials[0].user_attrs["fail_reason"])


def test_divergence_in_a_fold() -> None:
    problem = Problem(**DIGITS, folds=2, space={"lr": FloatDistribution(1e-3, 1e30)})
    reason = failed(problem, {"lr": 1e30})
    assert reason.startswith("fold 0: Training diverged in epoch 1")
    with pytest.raises(TrainingDivergedError):
        problem.evaluate_test({"lr": 1e30}, 0)


def test_a_failure_keeps_what_was_found_before_it() -> None:
    problem = Problem(**DIGITS, executions_per_trial=2)
    evaluation = problem.evaluation(GOOD, 0)
    for _ in evaluation.trained(evaluation.next_job()):  # type: ignore[arg-type]
        pass
    evaluation.next_job()
    assert evaluation.fail_reason(MemoryError("no room")) == (
        "execution 1: Out of memory: no room. A smaller batch_size or network may help."
    )
    (run,) = evaluation.attributes["runs"]
    assert run == {"execution": 0, **Problem(**DIGITS).evaluate(GOOD, 0)}


def deep(input_shape: tuple[int, int, int], n_classes: int, pools: int = 1) -> nn.Module:
    """Nothing is left of a small image after a few poolings."""
    halves = [nn.MaxPool2d(2) for _ in range(pools)]
    return nn.Sequential(*halves, nn.Flatten(), nn.LazyLinear(n_classes))


def test_an_impossible_architecture() -> None:
    space = {"pools": IntDistribution(1, 9)}
    problem = Problem(**{**DIGITS, "model": deep, "space": space, "epochs": 1})
    assert "deep" in failed(problem, {"pools": 9})
    with pytest.raises(InvalidArchitectureError):
        problem.evaluate({"pools": 9}, 0)
    assert problem.evaluate({"pools": 1}, 0)["val_loss"] > 0


class Hungry(nn.Module):
    """Asks for more memory than there is, in one of the ways in which that fails."""

    def __init__(self, n_classes: int, way: str) -> None:
        super().__init__()
        self.output, self.way = nn.LazyLinear(n_classes), way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.way == "torch":
            torch.empty(10**15)
        if self.training and self.way == "numpy":
            np.empty(10**15)
        if self.training and self.way == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.output(x.flatten(1))


def hungry(n_classes: int, way: str = "none") -> nn.Module:
    """See :class:`Hungry`."""
    return Hungry(n_classes, way)


@pytest.mark.parametrize("way", ["torch", "numpy", "cuda"])
def test_memory_that_runs_out(way: str) -> None:
    space = {"way": CategoricalDistribution(["none", "torch", "numpy", "cuda"])}
    problem = Problem(**{**DIGITS, "model": hungry, "space": space, "epochs": 1})
    reason = failed(problem, {"way": way})
    assert reason.startswith("Out of memory: ")
    assert "smaller batch_size" in reason
    assert math.isfinite(problem.evaluate({"way": "none"}, 0)["val_loss"])  # the next one is not disturbed


def test_other_errors_are_raised() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise RuntimeError("a mistake of mine")
            return self.output(x.flatten(1))

    problem = Problem(**{**DIGITS, "model": Wrong, "space": None})
    with pytest.raises(RuntimeError, match="a mistake of mine"):
        list(problem(FixedTrial({})))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory of what happened"))


# -- the final report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [None, "official"])
def test_a_search_is_confirmed_on_fresh_seeds(validation: str | None) -> None:
    problem = Problem(**{**DIGITS, "epochs": 1}, validation=validation)
    study = tunesmith.create_study(directions=problem.directions, space=problem.space, seed=0)
    study.optimize(problem, n_trials=3)
    found = study.confirm(problem, top=1, repeats=2)
    (best,) = found.trials
    assert (best.number, best.search_value) == (study.best_trial.number, study.best_value)
    seeds = [problem.confirmation_seed(i) for i in range(2)]
    assert not {*seeds} & {problem.training_seed(n) for n in range(1000)}
    assert list(best.results) == [
        problem.evaluate(best.params, s) if validation else problem.evaluate_test(best.params, s) for s in seeds
    ]
    assert found.has_test is (validation is None)
    assert ("test_accuracy" in str(found)) is (validation is None)


def test_a_confirmation_counts_trainings_that_diverge() -> None:
    problem = Problem(**{**DIGITS, "epochs": 1}, space={"lr": FloatDistribution(1e-3, 1e30)})
    study = tunesmith.create_study()
    study.add_trial(tunesmith.create_trial(value=0.1, params={"lr": 1e30}, distributions=dict(problem.space)))
    (best,) = study.confirm(problem, top=1, repeats=2).trials
    assert best.results == ()
    assert all(reason.startswith("Training diverged in epoch 1") for reason in best.failures)


def rare(n: int = 60) -> Dataset:
    """Two classes, of which the second has one image."""
    data = load_dataset("digits")
    labels = np.arange(n) == 7
    return Dataset("rare", data.images[:n], labels.astype(int), data.test_images[:20], np.arange(20) % 2, 2)


@pytest.mark.parametrize("lanes", [None, 2])
@pytest.mark.parametrize("folds", [None, 2])
def test_a_metric_without_a_value_is_the_reason_of_the_failure(folds: int | None, lanes: int | None) -> None:
    given: dict[str, Any] = {"model": "mlp", "objective": "auc", "epochs": 1, "batch_size": 8, "device": "cpu"}
    problem = Problem(data=rare(), folds=folds, **given)
    study = tunesmith.create_study(directions=problem.directions, space=problem.space, seed=0)
    study.optimize(problem, n_trials=1, lanes=lanes)
    (trial,) = study.trials
    assert trial.state is TrialState.FAIL
    reason = trial.user_attrs["fail_reason"]
    where = r"fold \d: Validation part" if folds else "Validation part"
    assert re.match(where + r": 'auc' has no value where only one class occurs \(\d+ images of class 0\)", reason)
    assert "choose another metric" in reason


def test_a_metric_without_a_value_beside_the_objective_fails_nothing() -> None:
    problem = Problem(data=rare(), model="mlp", epochs=1, metrics=["auc"], batch_size=8, device="cpu")
    study = tunesmith.create_study(space=problem.space, seed=0)
    study.optimize(problem, n_trials=1)
    assert study.best_trial.user_attrs == {}
    assert math.isnan(study.best_trial.metrics["val_auc"][1])
