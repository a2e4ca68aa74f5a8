"""Trials of a problem save their states: they go on after a kill, and populations of networks hand them on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tunesmith
from tunesmith import Categorical, Float, Int, Space, TrialState
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners import PB2Pruner, PBTPruner, SuccessiveHalvingPruner
from tunesmith.pruners.pbt import lineage
from tunesmith.train import Hyperparameters, Problem, loop
from tunesmith.train.evaluation import Evaluation
from tunesmith.train.hyperparameters import OPTIMIZERS
from tunesmith.train.job import Job, Part, Pool, Seeds
from tunesmith.trial import FixedTrial

LR = {"lr": Float(1e-3, 1.0, log=True)}
RATES = {**LR, "momentum": Float(0.0, 0.99), "weight_decay": Float(1e-6, 1e-2, log=True), "dropout": Float(0.0, 0.5)}
SMALL: dict[str, Any] = {"data": "digits", "model": "mlp", "n_train": 120, "n_validation": 60, "device": "cpu"}
KEPT: dict[str, Any] = {
    "single": {"space": Space(RATES), "epochs": 6, "fixed": {"schedule": "cosine", "optimizer": "rmsprop"}},
    "patience": {"space": Space({"lr": Float(0.5, 1.0)}), "epochs": 9, "fixed": {"patience": 1, "schedule": "plateau"}},
    "folds": {"space": Space(LR), "epochs": 3, "folds": 3, "n_validation": None, "executions_per_trial": 2},
}


def problem(kind: str, **changes: Any) -> Problem:
    return Problem(**{**SMALL, **KEPT[kind], "save_every": 1, **changes})


def halving() -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2, promote_first=False)


def population(**changes: Any) -> PBTPruner:
    return PBTPruner(**{"population": 4, "interval": 2, "quantile": 0.25, "steps": 8, **changes})


def networks(space: dict[str, Any] | None = None, **changes: Any) -> Problem:
    return Problem(**{**SMALL, "space": Space(space or RATES), "epochs": 8, **changes})


def optimized(kind: str, storage: Any = None) -> Any:
    """A study that is made, or gone on with, as far as it goes; random search, so nothing depends on the clock."""
    objective, rule, n = {
        "asha": (problem("single"), halving(), 8),
        "pbt": (networks(), population(), None),
    }.get(kind, (problem(kind) if kind in KEPT else None, "nop", 2))
    study = tunesmith.create_study(
        study_name="s", storage=storage, sampler="random", pruner=rule, seed=4, load_if_exists=True
    )
    study.optimize(objective, n_trials=n if n is None else n - len(study.trials) + waiting(study))
    return study


def waiting(study: Any) -> int:
    """Trials that were begun and whose process is gone; they count as started once more."""
    return sum(trial.state == TrialState.RUNNING for trial in study.trials)


def killed(kind: str, storage: str, after: int) -> None:
    """Optimize in another process (it runs this file, see the end), which kills itself after so many epochs."""
    done = subprocess.run(
        [sys.executable, __file__, kind, storage, str(after)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def outcome(study: Any) -> list[Any]:
    return [(t.number, t.state, t.params, t.intermediate_values, t.values, t.user_attrs) for t in study.trials]


class Epochs:
    """Counts the epochs that are trained, and presses Ctrl-C before one of them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.stop_after: int | None = None

    def before(self, training: loop.Training) -> None:
        if self.stop_after == len(self.numbers):
            self.stop_after = None
            raise KeyboardInterrupt
        self.numbers.append(training.epochs_done + 1)


def watch(before: Callable[[loop.Training], None]) -> Callable[[loop.Training], dict[str, float]]:
    original = loop.Training.epoch

    def epoch(self: loop.Training) -> dict[str, float]:
        before(self)
        return original(self)

    return epoch


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> Epochs:
    counter = Epochs()
    monkeypatch.setattr(loop.Training, "epoch", watch(counter.before))
    return counter


# -- interruptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KEPT)
def test_interrupted_before_any_epoch_it_ends_the_same(kind: str, epochs: Epochs) -> None:
    """And no epoch is trained twice, but those before the first report of several trainings."""
    wanted = outcome(optimized(kind))
    whole = len(epochs.numbers)
    assert wanted[0][1] == TrialState.COMPLETE
    for after in range(whole // 2 + 1):
        study = tunesmith.create_study(study_name="s", sampler="random", pruner="nop", seed=4)
        epochs.numbers, epochs.stop_after = [], after
        with pytest.raises(KeyboardInterrupt):
            study.optimize(problem(kind), n_trials=2)
        study.optimize(problem(kind), n_trials=2 - sum(t.state.is_finished() for t in study.trials))
        assert outcome(study) == wanted
        lost = after % (whole // 2) if kind == "folds" and after % (whole // 2) < 3 else 0
        assert len(epochs.numbers) == whole + lost


def test_patience_ended_a_training_without_a_report() -> None:
    """So that the test above would notice if a state were saved for a report that never comes."""
    (first, *_) = optimized("patience").trials
    assert 1 < len(first.intermediate_values) < KEPT["patience"]["epochs"]
    assert first.value == list(first.intermediate_values.values())[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "after"), [("single", 9), ("folds", 11), ("asha", 11), ("pbt", 21)])
def test_killed_in_the_middle_it_ends_the_same(kind: str, after: int, tmp_path: Path, epochs: Epochs) -> None:
    """kill -9: reports, values and states are those of a study that was never interrupted, bit for bit."""
    wanted = optimized(kind, f"{tmp_path}/whole.jsonl")
    whole, epochs.numbers = len(epochs.numbers), []
    storage = f"{tmp_path}/killed.jsonl"
    killed(kind, storage, after)
    study = optimized(kind, storage)
    assert outcome(study) == outcome(wanted)
    assert len(epochs.numbers) == whole - after
    if kind != "asha":
        assert not list(tmp_path.glob("killed.jsonl.states/*/*"))


@pytest.mark.slow
def test_paused_trials_go_on_in_a_later_process(tmp_path: Path) -> None:
    """Those that a killed process had paused; and those that wait when ``optimize`` has ended."""
    storage = f"{tmp_path}/log.jsonl"
    killed("asha", storage, 11)
    study = tunesmith.load_study(study_name="s", storage=storage, sampler="random", pruner=halving())
    for more in (lambda: optimized("asha", storage), lambda: study.optimize(problem("single"), n_trials=8)):
        paused = lengths(study)
        more()
        gone_on = [t for t in study.trials if len(t.intermediate_values) > paused.get(t.number, 6)]
        assert gone_on
        for trial in gone_on:
            told = list(trial.intermediate_values.values())
            whole = problem("single").train(trial.params, problem("single").training_seed(trial.number))
            assert told == [found["val_loss"] for found in whole][: len(told)]


def lengths(study: Any) -> dict[int, int]:
    """Of what paused trials have reported."""
    return {t.number: len(t.intermediate_values) for t in study.trials if t.state == TrialState.PAUSED}


def test_a_trial_that_had_nothing_left_but_its_end(monkeypatch: pytest.MonkeyPatch, epochs: Epochs) -> None:
    """Interrupted after the last report: it is COMPLETE at once, with its value."""
    study = tunesmith.create_study(sampler="random", pruner="nop", seed=4)
    wanted = optimized("single").trials[0].values

    def interrupt(self: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "attributes", property(interrupt))
        with pytest.raises(KeyboardInterrupt):
            study.optimize(problem("single"), n_trials=1)
    epochs.numbers = []
    study.optimize(problem("single"), n_trials=1)
    assert (study.trials[0].values, epochs.numbers) == (wanted, [])


@pytest.mark.parametrize(("every", "trained"), [(None, 10), (1, 6), (3, 7), (50, 10)])
def test_how_often_is_an_argument(every: int | None, trained: int, epochs: Epochs) -> None:
    """Of six epochs, interrupted before the fifth."""
    objective = problem("single", save_every=every)
    study = tunesmith.create_study(sampler="random", pruner="nop", seed=4)
    epochs.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)
    assert len(epochs.numbers) == trained


def test_it_is_no_part_of_the_problem() -> None:
    one, other = problem("single"), problem("single", save_every=None)
    assert one == other
    assert one.to_dict() == other.to_dict()
    assert one.for_repeat(1).save_every == 1
    for wrong, error in ((0, InvalidValueError), ("epoch", InvalidTypeError)):
        with pytest.raises(error, match="save_every"):
            problem("single", save_every=wrong)


def test_trials_that_save_nothing() -> None:
    params = {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-4, "dropout": 0.1}
    assert len(list(problem("single")(FixedTrial(params)))) == 6


def test_a_state_of_another_training_is_refused(epochs: Epochs) -> None:
    study = tunesmith.create_study(sampler="random", pruner="nop", seed=4)
    epochs.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        study.optimize(problem("single"), n_trials=1)
    with pytest.raises(InvalidValueError, match=r"Trial 0 has saved .*epochs is 6 there and 7 here.*Go on with"):
        study.optimize(problem("single", epochs=7), n_trials=1)


def test_a_state_that_no_problem_has_saved() -> None:
    study = tunesmith.create_study(sampler="random", pruner="nop", seed=4)

    def own(trial: Any) -> Iterator[float]:
        trial.suggest_float("lr", 0.5, 1.0)
        trial.save({"epoch": 1})
        yield 1.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(own, n_trials=1)
    with pytest.raises(InvalidValueError, match=r"was not saved by a tunesmith\.train\.Problem"):
        study.optimize(problem("patience"), n_trials=1)


def test_a_saved_trial_goes_on_in_a_lane(epochs: Epochs) -> None:
    study = tunesmith.create_study(sampler="random", pruner="nop", seed=4)
    epochs.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        study.optimize(problem("single"), n_trials=1)
    study.optimize(problem("single"), n_trials=1, lanes=2)
    assert study.trials[0].intermediate_values == optimized("single").trials[0].intermediate_values
    assert study.trials[0].state == TrialState.COMPLETE


# -- populations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [population(), PB2Pruner(population=4, interval=2, quantile=0.25, steps=8)])
def test_children_go_on_with_the_networks_of_their_parents(rule: Any) -> None:
    """Each child's reports are those of a training that is copied by hand."""
    study, again = (tunesmith.create_study(sampler="random", pruner=rule, seed=4) for _ in range(2))
    objective = networks()
    study.optimize(objective)
    again.optimize(objective)
    assert outcome(study) == outcome(again)
    found = {t.number: t for t in study.trials}
    children = [t.number for t in study.trials if len(lineage(study, t.number)) > 1]
    assert children
    for number in children:
        stretches = lineage(study, number)
        state: dict[str, Any] | None = None
        for stretch in stretches:
            evaluation = objective.evaluation(stretch.params, objective.training_seed(stretch.number))
            training = loop.Training(evaluation.next_job())  # type: ignore[arg-type]
            if state is not None:
                training.restore(state, inherit=True)
            assert training.epochs_done == stretch.first - 1
            curve = {step: training.epoch()["val_loss"] for step in range(stretch.first, stretch.last + 1)}
            told = found[stretch.number].intermediate_values
            assert curve == {step: value for step, value in told.items() if step <= stretch.last}
            state = training.state()


def test_a_child_that_has_nothing_left_to_train_is_pruned() -> None:
    """Without ``steps`` the rule replaces members at the end, too."""
    study = tunesmith.create_study(sampler="random", pruner=population(steps=None), seed=4)
    study.optimize(networks(epochs=4))
    empty = [t for t in study.trials if not t.intermediate_values]
    assert empty
    assert all((t.state, t.values) == (TrialState.PRUNED, None) for t in empty)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"width_1": Int(16, 64)}, r"cannot change in the middle of a training: width_1 is \d+ there and \d+ here"),
        ({"activation": Categorical(["relu", "tanh", "elu", "gelu"])}, "activation is "),
        ({"optimizer": Categorical(["sgd", "adam", "rmsprop"])}, "optimizer is "),
        ({"normalize": Categorical(["standardize", "range"])}, "normalize is "),
        ({"epochs": Int(8, 90)}, "epochs is "),
    ],
)
def test_what_cannot_change_is_named(more: dict[str, Any], message: str) -> None:
    objective = networks({**LR, **more})
    rule = population(resample_probability=1.0)
    study = tunesmith.create_study(sampler="random", pruner=rule, seed=4)
    with pytest.raises(InvalidValueError, match=message):
        study.optimize(objective)
    if "epochs" not in more:
        study = tunesmith.create_study(sampler="random", pruner=population(params=["lr"]), seed=4)
        study.optimize(objective)
        assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 4


def test_batch_size_schedule_and_loss_can_change() -> None:
    space = {
        **LR,
        "batch_size": Int(8, 64),
        "schedule": Categorical(["cosine", "one-cycle", "exponential"]),
        "loss": Categorical(["cross-entropy", "hinge"]),
        "crop": Int(0, 2),
    }
    study = tunesmith.create_study(sampler="random", pruner=population(resample_probability=1.0), seed=4)
    study.optimize(networks(space))
    assert len(study.trials) > 4
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in study.trials)


def test_several_trainings_have_no_population() -> None:
    study = tunesmith.create_study(sampler="random", pruner=population(interval=1, steps=None), seed=4)
    with pytest.raises(InvalidValueError, match="each has 3 trainings: leave out folds"):
        study.optimize(networks(LR, folds=3, n_validation=None, epochs=1))


def test_lanes_have_no_population() -> None:
    study = tunesmith.create_study(sampler="random", pruner=population(), seed=4)
    with pytest.raises(InvalidValueError, match=r"PBTPruner copies the states of trials.* leave `lanes` out"):
        study.optimize(networks(), lanes=2)


def own_network(input_shape: tuple[int, int, int], n_classes: int, width: int = 16, slope: float = 0.1) -> nn.Module:
    pixels = input_shape[0] * input_shape[1] * input_shape[2]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, width), nn.LeakyReLU(slope), nn.Dropout(slope), nn.Linear(width, n_classes)
    )


def test_of_a_model_of_ones_own_the_weights_must_fit() -> None:
    study = tunesmith.create_study(sampler="random", pruner=population(), seed=4)
    study.optimize(networks({**LR, "slope": Float(0.01, 0.5)}, model=own_network))
    assert len(study.trials) > 4
    study = tunesmith.create_study(sampler="random", pruner=population(), seed=4)
    with pytest.raises(InvalidValueError, match=r"network 1\.weight is .* there and .* here"):
        study.optimize(networks({**LR, "width": Int(8, 64)}, model=own_network))


# -- the training loop -------------------------------------------------------------------------------------------------


def job(h: Hyperparameters, seed: int = 1) -> Job:
    images = torch.linspace(-1, 1, 40 * 4).sin().view(40, 1, 2, 2)
    pool, rows = Pool("p", images, torch.arange(40) % 2, 2), torch.arange(40)
    parts = (Part(pool, part, torch.zeros(1, 1, 1), torch.ones(1, 1, 1)) for part in (rows[:30], rows[30:]))
    torch.manual_seed(seed)
    return Job(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), h, *parts, 4, Seeds.of(seed))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [(0.0, 0.9), (0.9, 0.0)])
def test_every_optimizer_goes_on_with_other_settings(optimizer: str, momentum: tuple[float, float]) -> None:
    """Also when the state has no momentum yet, or has one that is not needed any more."""
    first, second = (
        Hyperparameters(optimizer=optimizer, lr=lr, momentum=m, weight_decay=d, schedule="cosine", batch_size=8)
        for lr, m, d in ((0.01, momentum[0], 0.0), (0.02, momentum[1], 0.1))
    )
    parent, child = loop.Training(job(first)), loop.Training(job(second, seed=2))
    parent.epoch()
    child.restore(parent.state(), inherit=True)
    for a, b in zip(parent.job.network.parameters(), child.job.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert child.course.schedule.lr(4) == pytest.approx(2 * parent.course.schedule.lr(4))
    assert child.epochs_done == 1
    rest = [child.epoch() for _ in range(3)]
    assert child.finished
    assert rest[0] != parent.epoch()


def test_inheriting_from_an_equal_training_changes_nothing() -> None:
    h = Hyperparameters(momentum=0.9, lr=0.05, batch_size=8, schedule="one-cycle")
    whole, copy = loop.Training(job(h)), loop.Training(job(h))
    whole.epoch()
    copy.restore(whole.state(), inherit=True)
    assert [copy.epoch() for _ in range(3)] == [whole.epoch() for _ in range(3)]


if __name__ == "__main__":  # the process that kills itself
    _left = int(sys.argv[3])

    def _kill(training: loop.Training) -> None:
        global _left
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _left -= 1

    loop.Training.epoch = watch(_kill)  # type: ignore[method-assign]
    optimized(sys.argv[1], sys.argv[2])
