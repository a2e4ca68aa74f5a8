"""Learning-rate schedules against torch.optim.lr_scheduler."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from tunesmith.train import Hyperparameters
from tunesmith.train.hyperparameters import SCHEDULES
from tunesmith.train.schedules import Schedule

LR, STEPS, EPOCHS = 0.3, 7, 6


def ours(epochs: int = EPOCHS, **options: Any) -> list[float]:
    schedule = Schedule(Hyperparameters(lr=LR, **options), STEPS, epochs)
    return [schedule.lr(step) for step in range(STEPS * epochs)]


def theirs(make: Any, *, each_epoch: bool = False, epochs: int = EPOCHS) -> list[float]:
    """The learning rates of a customary loop."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)
    found = []
    for step in range(STEPS * epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not each_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return found


def same(a: list[float], b: list[float]) -> None:
    assert a == pytest.approx(b, rel=1e-10, abs=1e-15)


def test_constant() -> None:
    assert ours() == [LR] * STEPS * EPOCHS


@pytest.mark.parametrize("every", [1, 2, 5])
def test_step(every: int) -> None:
    torchs = theirs(lambda o: lr_scheduler.StepLR(o, every, gamma=0.3), each_epoch=True)
    same(ours(schedule="step", gamma=0.3, step_epochs=every), torchs)
    assert len(set(torchs)) == -(-EPOCHS // every)


def test_step_after_each_epoch_is_torchs_exponential() -> None:
    same(
        ours(schedule="step", gamma=0.9, step_epochs=1),
        theirs(lambda o: lr_scheduler.ExponentialLR(o, 0.9), each_epoch=True),
    )


def test_exponential_has_no_stairs() -> None:
    gamma = 0.3 ** (1 / (STEPS * 2))
    found = ours(schedule="exponential", gamma=0.3, step_epochs=2)
    same(found, theirs(lambda o: lr_scheduler.ExponentialLR(o, gamma)))
    assert found[2 * STEPS] == pytest.approx(0.3 * LR)  # where the stairs of "step" are, both agree


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine(final: float) -> None:
    torchs = theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS * EPOCHS, eta_min=final * LR))
    same(ours(schedule="cosine", final_lr=final), torchs)


@pytest.mark.parametrize("epochs", [1, 2, 6, 30])
def test_one_cycle(epochs: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        total = STEPS * epochs + 1  # one more: torch refuses to step after the last
        scheduler = lr_scheduler.OneCycleLR(optimizer, LR, total, cycle_momentum=False)
        scheduler.total_steps = total
        scheduler._schedule_phases[0]["end_step"] = 0.3 * STEPS * epochs - 1
        scheduler._schedule_phases[1]["end_step"] = STEPS * epochs - 1
        return scheduler

    found = ours(epochs, schedule="one-cycle", warmup=3.0)  # it has its own warm-up
    same(found, theirs(make, epochs=epochs))
    assert found[0] == pytest.approx(LR / 25)
    assert found[-1] == pytest.approx(LR / 250_000)
    assert max(found) <= LR * (1 + 1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_short_trainings_have_a_learning_rate(kind: str, steps: int) -> None:
    schedule = Schedule(Hyperparameters(lr=LR, schedule=kind), steps, 1)
    found = [schedule.lr(step) for step in range(steps)]
    assert all(0 < lr <= LR * (1 + 1e-12) for lr in found)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0.1, 1.0) | st.sampled_from([0.5, 0.50001, 0.4999999]), min_size=1, max_size=30),
    patience=st.integers(0, 4),
    maximize=st.booleans(),
)
def test_plateau(values: list[float], patience: int, maximize: bool) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    torchs = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max" if maximize else "min", factor=0.5, patience=patience, eps=0.0
    )
    schedule = Schedule(Hyperparameters(lr=LR, schedule="plateau", plateau_patience=patience), STEPS, len(values))
    for epoch, value in enumerate(values):
        assert schedule.lr(epoch * STEPS + 3) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        torchs.step(value)
        schedule.observe(-value if maximize else value)


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES if kind != "one-cycle"])
def test_warmup_multiplies(kind: str) -> None:
    plain, warmed = ours(schedule=kind), ours(schedule=kind, warmup=1.5)
    factor = [min(1.0, (step + 1) / (1.5 * STEPS)) for step in range(STEPS * EPOCHS)]
    same(warmed, [lr * f for lr, f in zip(plain, factor, strict=True)])


def test_warmup_is_torchs_linear() -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        steps = 2 * STEPS
        ramp = lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)
        return lr_scheduler.ChainedScheduler([ramp, lr_scheduler.CosineAnnealingLR(optimizer, STEPS * EPOCHS)])

    same(ours(schedule="cosine", warmup=2), theirs(make))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_state_goes_through_json(kind: str) -> None:
    h = Hyperparameters(lr=LR, schedule=kind, plateau_patience=1)
    whole, first, second = (Schedule(h, STEPS, 12) for _ in range(3))
    values = [0.9, 0.5, 0.5, 0.6, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    for value in values:
        whole.observe(value)
    for value in values[:4]:
        first.observe(value)
    second.restore(json.loads(json.dumps(first.state())))
    for value in values[4:]:
        second.observe(value)
    assert [second.lr(s) for s in range(80)] == [whole.lr(s) for s in range(80)]
    assert (whole.lr(79) < LR) == (kind != "constant")


def test_a_fresh_state_goes_through_json() -> None:
    schedule = Schedule(Hyperparameters(schedule="plateau"), 1, 1)
    schedule.restore(json.loads(json.dumps(schedule.state())))
    schedule.observe(-math.inf)
    assert schedule.state()["best"] == -math.inf
