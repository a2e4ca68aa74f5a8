"""Freeze-thaw: who goes on, who waits, and what happens at the end of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors.simulator import SimulatorExecutor
from tunesmith.pruners import Continue, FreezeThawPruner, Start, get_pruner
from tunesmith.pruners.freeze_thaw import levels_below
from tunesmith.testing.studies import check_reload
from tunesmith.trial import Trial

EPOCHS = 20
Curve = Callable[[int, int], float]


def learning(number: int, epoch: int) -> float:
    """Every fourth trial learns; the others hardly do."""
    depth = 0.6 + 0.02 * (number % 5) if number % 4 == 3 else 0.01 * (number % 3)
    return 1.0 - depth * (1.0 - 0.8**epoch)


def run(curve: Curve = learning, n_trials: int = 24, epochs: int = EPOCHS, **options: Any) -> tunesmith.Study:
    """A study of generators with these curves."""

    def objective(trial: Trial) -> Iterator[tuple[int, float]]:
        for epoch in range(1, epochs + 1):
            yield epoch, curve(trial.number, epoch)

    rule = options.pop("pruner", FreezeThawPruner(max_resource=epochs))
    study = tunesmith.create_study(pruner=rule, seed=0, direction=options.pop("direction", "minimize"))
    study.optimize(objective, n_trials=n_trials, **options)
    check_reload(study)
    return study


def came(study: tunesmith.Study) -> list[int]:
    return [len(trial.intermediate_values) for trial in study.trials]


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_who_learns_goes_on(n_jobs: int) -> None:
    study = run(n_jobs=n_jobs)
    epochs = np.array(came(study))
    learns = np.arange(24) % 4 == 3
    assert epochs[learns].mean() > 3.0 * epochs[~learns].mean()
    assert epochs.sum() < 24 * EPOCHS / 3
    assert study.best_trial.number % 4 == 3
    assert len(study.best_trial.intermediate_values) == EPOCHS


@pytest.mark.parametrize("diverges", [False, True])
def test_nobody_goes_on_before_the_startup_trials_have_come(diverges: bool) -> None:
    """Nor when the first one is stopped, as functions are."""
    order: list[int] = []

    def curve(number: int, epoch: int) -> float:
        order.append(number)
        return math.nan if diverges and number == 0 else learning(number, epoch)

    run(curve, pruner=FreezeThawPruner(max_resource=EPOCHS, n_startup_trials=10))
    assert order[:10] == list(range(10))
    assert len(set(order[:16])) < 16


def test_pauses_are_at_levels() -> None:
    study = run()
    assert set(came(study)) <= {1, 2, 3, 4, 6, 8, 11, 16, EPOCHS}


def test_levels() -> None:
    assert levels_below(1.0, 20.0, True) == (1, 2, 3, 4, 6, 8, 11, 16, 20)
    assert levels_below(3.0, 8.0, True) == (3, 4, 6, 8)
    assert levels_below(5.0, 5.0, True) == (5.0,)
    assert levels_below(0.5, 1.0, False) == pytest.approx((0.5, math.sqrt(0.5), 1.0))
    assert len(levels_below(1.0, math.inf, False)) == 126


def test_the_leader_is_trained_to_its_end_at_last() -> None:
    """Flat curves that a new trial is preferred to; the best of them ends, the others do not."""
    study = run(lambda number, epoch: 1.0 + 0.01 * ((number * 7) % 12), 12)
    assert study.best_trial.number == 0
    assert sorted(came(study))[-1:] == [EPOCHS]
    assert max(sorted(came(study))[:-1]) <= 4


@pytest.mark.parametrize("loss", [0.0, 1.0, -3.0, 1e308])
def test_equal_curves(loss: float) -> None:
    study = run(lambda number, epoch: loss)
    assert came(study) == [EPOCHS] + [1] * 23


def test_huge_losses() -> None:
    study = run(lambda number, epoch: (-1.7e308 if number == 9 else 1.7e308) * (epoch / EPOCHS))
    assert study.best_trial.number == 9


@pytest.mark.parametrize("n_trials", [1, 2])
def test_few_trials(n_trials: int) -> None:
    assert came(run(n_trials=n_trials)).count(EPOCHS) == 1


def test_diverged_trials_are_stopped_and_teach_that_some_do_not_fall() -> None:
    study = run(lambda number, epoch: math.nan if number % 2 else learning(number // 2, epoch), 40)
    epochs = np.array(came(study))
    assert (epochs[1::2] == 1).all()
    assert study.best_trial.number % 8 == 6


def test_steps_from_zero() -> None:
    def objective(trial: Trial) -> Iterator[tuple[int, float]]:
        for step in range(12):
            yield step, learning(trial.number, step)

    study = tunesmith.create_study(pruner=FreezeThawPruner(), seed=0)
    study.optimize(objective, n_trials=16)
    check_reload(study)
    assert {max(trial.intermediate_values) for trial in study.trials} <= {1, 2, 3, 4, 6, 8, 11}
    assert study.best_trial.number % 4 == 3


def test_units_and_direction_do_not_matter() -> None:
    plain = came(run(n_trials=14))
    assert came(run(lambda number, epoch: 0.25 * learning(number, epoch), 14)) == plain
    assert came(run(lambda number, epoch: -learning(number, epoch), 14, direction="maximize")) == plain


def test_epochs_may_be_counted_in_samples() -> None:
    def objective(trial: Trial) -> Iterator[dict[str, float]]:
        for epoch in range(1, EPOCHS + 1):
            yield {"loss": learning(trial.number, epoch), "samples": 64.0 * epoch}

    rule = FreezeThawPruner(64, 64 * EPOCHS, resource="samples")
    study = tunesmith.create_study(pruner=rule, seed=0)
    study.optimize(objective, n_trials=24)
    epochs = np.array(came(study))
    assert epochs.sum() < 24 * EPOCHS / 3
    assert study.best_trial.number % 4 == 3


def test_a_function_is_stopped_unless_it_is_worth_more_than_a_new_trial() -> None:
    def objective(trial: Trial) -> float:
        for epoch in range(1, EPOCHS + 1):
            trial.report(learning(trial.number, epoch), epoch)
            if trial.should_prune():
                raise tunesmith.TrialPruned
        return learning(trial.number, EPOCHS)

    study = tunesmith.create_study(pruner="freeze-thaw", seed=0)
    study.optimize(objective, n_trials=40)
    epochs = np.array(came(study))
    learns = np.arange(40) % 4 == 3
    assert epochs[learns].mean() > 2.0 * epochs[~learns].mean()


def falls_at_once(number: int, epoch: int) -> float:
    """Trial 5 has come down after one epoch and stays there; the others differ by hundredths."""
    return 0.7 if number == 5 else 1.0 - 0.002 * (number % 5)


def test_who_has_fallen_goes_on_before_a_new_trial_is_begun() -> None:
    study = run(falls_at_once, 100, backend=SimulatorExecutor(1, max_reports=8), keep_paused=True)
    assert came(study) == [1] * 8
    wishes = list(FreezeThawPruner(max_resource=EPOCHS).schedule(study.history))
    assert wishes[0] == Continue(5)
    assert wishes.index(Start()) < 4


def test_new_trials_are_begun_where_the_best_one_falls_no_further() -> None:
    study = run(falls_at_once, 100, backend=SimulatorExecutor(1, max_reports=60), keep_paused=True)
    epochs = came(study)
    assert 1 < epochs[5] < EPOCHS
    assert len(epochs) > 25


def test_several_workers_go_on_with_several() -> None:
    """In virtual time, four at once: nobody waits, and those that learn get most of it."""
    study = run(learning, 100, backend=SimulatorExecutor(4, max_reports=100), keep_paused=True)
    epochs = np.array(came(study))
    learns = np.arange(len(epochs)) % 4 == 3
    assert epochs.sum() >= 100
    assert (epochs[learns] > 4).sum() >= 2
    assert epochs[learns].mean() > 2.0 * epochs[~learns].mean()


def test_the_default_learns_how_long_a_training_is() -> None:
    study = run(pruner=FreezeThawPruner())
    assert max(came(study)) == EPOCHS
    assert study.best_trial.number % 4 == 3
    assert get_pruner("freeze-thaw") == get_pruner("freezethaw") == FreezeThawPruner()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"min_resource": 0}, InvalidValueError),
        ({"min_resource": 1.5}, InvalidTypeError),
        ({"min_resource": "auto"}, InvalidValueError),
        ({"min_resource": 4, "max_resource": 3}, InvalidValueError),
        ({"max_resource": "long"}, InvalidValueError),
        ({"n_startup_trials": 1}, InvalidValueError),
        ({"n_startup_trials": 2.0}, InvalidTypeError),
        ({"resource": ""}, InvalidValueError),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        FreezeThawPruner(**options)
