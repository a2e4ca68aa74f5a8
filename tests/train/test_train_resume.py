"""A training that was interrupted goes on with the same bits, in this process or another."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import Hyperparameters, build_model, device, loop
from tunesmith.train.hyperparameters import OPTIMIZERS, SCHEDULES
from tunesmith.train.job import Job, Part, Pool, Seeds

RESUMED: dict[str, dict[str, Any]] = {
    **{name: {"optimizer": name, "lr": 0.01, "momentum": 0.7, "weight_decay": 1e-3} for name in OPTIMIZERS},
    **{name: {"schedule": name, "lr": 0.03, "plateau_patience": 0, "patience": 2} for name in SCHEDULES},
    "augmented": {"flip": True, "crop": 2, "mixup": 0.3, "noise": 0.1, "loss": "focal", "l1": 1e-4, "clip_norm": 1.0},
}  # fmt: skip
EPOCHS = 4


def pool(where: str = "cpu") -> Pool:
    """Two classes of 1x16x16 images: bright above, or bright below."""
    labels = np.arange(130) % 2
    images = np.random.default_rng(0).integers(0, 100, (130, 1, 16, 16), np.uint8)
    images[labels == 0, :, :8] += 100
    images[labels == 1, :, 8:] += 100
    return Pool("halves", torch.from_numpy(images).to(where), torch.from_numpy(labels).to(where), 2)


def job(h: Hyperparameters, where: str = "cpu", precision: str = "float32", network: nn.Module | None = None) -> Job:
    """A network with dropout and with buffers."""
    if network is None:
        network = nn.Sequential(build_model("cnn", {"dropout": 0.3}, (1, 16, 16), 2, loop.network_seed(1)))
        network.append(nn.BatchNorm1d(2))
    images, rows = pool(where), torch.arange(130, device=where)
    shift, scale = torch.full((1, 1, 1), 99.5, device=where), torch.full((1, 1, 1), 1 / 60, device=where)
    parts = Part(images, rows[:80], shift, scale), Part(images, rows[80:], shift, scale)
    return Job(network, h, *parts, EPOCHS, Seeds.of(1), ("val_accuracy", "val_loss"), precision)


def resumable(name: str) -> Job:
    return job(Hyperparameters(**{"batch_size": 32, **RESUMED[name]}))


def rest(training: loop.Training) -> list[dict[str, float]]:
    found = []
    while not training.finished:
        found.append(training.epoch())
    return found


@pytest.mark.parametrize("name", RESUMED)
def test_interrupted_after_any_epoch_it_goes_on_bit_for_bit(name: str) -> None:
    whole = resumable(name)
    wanted = list(loop.train(whole))
    for after in range(len(wanted)):
        first = loop.Training(resumable(name))
        begun = [first.epoch() for _ in range(after)]
        state = first.state()
        if not first.finished:
            first.epoch()  # the state is a copy: what happens later does not change it
        second = loop.Training(resumable(name))
        second.restore(state)
        assert begun + rest(second) == wanted
    assert second.result == loop_result(wanted, name)
    for a, b in zip(second.job.network.state_dict().values(), whole.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def loop_result(epochs: list[dict[str, float]], name: str) -> dict[str, float]:
    return max(epochs, key=lambda m: m["val_accuracy"]) if RESUMED[name].get("patience") else epochs[-1]


def test_plateau_and_patience_have_acted() -> None:
    """So that the tests above would notice if they were forgotten."""
    plateau, constant = (loop.Training(resumable(name)) for name in ("plateau", "constant"))
    rest(plateau)
    rest(constant)
    assert plateau.course.schedule.lr(0) < 0.03
    assert constant.epochs_done < EPOCHS


@pytest.mark.slow
def test_another_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """The other process runs this file, see the end."""
    for name in RESUMED:
        training = loop.Training(resumable(name))
        training.epoch()
        torch.save(training.state(), tmp_path / f"{name}.pt")
    done = subprocess.run([sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = [repr(list(loop.train(resumable(name)))[1:]) for name in RESUMED]
    assert done.stdout.splitlines() == wanted


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"optimizer": "adam"}, "hyperparameters optimizer is 'sgd' there and 'adam' here"),
        ({"schedule": "cosine"}, "schedule is 'constant' there and 'cosine' here"),
        ({"lr": 0.5}, r"lr is 0\.01 there and 0\.5 here"),
    ],
)
def test_a_state_of_other_hyperparameters(other: dict[str, Any], message: str) -> None:
    """The shapes of the weights are the same; without a check it would go on with the wrong moments."""
    given = {"lr": 0.01, "momentum": 0.5}
    first, second = (loop.Training(job(Hyperparameters(**h))) for h in (given, {**given, **other}))
    first.epoch()
    before = second.state()
    with pytest.raises(InvalidValueError, match=message):
        second.restore(first.state())
    for a, b in zip(second.state()["network"].values(), before["network"].values(), strict=True):
        assert torch.equal(a, b)  # nothing of it was taken over


def test_a_state_of_another_length_seed_or_part() -> None:
    usual = job(Hyperparameters())
    state = loop.Training(usual).state()
    fewer = replace(usual.training, rows=usual.training.rows[:70])
    for other, message in (
        ({"epochs": EPOCHS + 1}, "epochs is 4 there and 5 here"),
        ({"seeds": Seeds.of(2)}, "seeds order is "),
        ({"training": fewer}, r"training part is '80 images .*' there and '70 images .*' here"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            loop.Training(replace(job(Hyperparameters()), **other)).restore(state)


@pytest.mark.parametrize("state", [{}, {"job": 3}, None, "state"])
def test_what_is_no_state(state: Any) -> None:
    with pytest.raises(InvalidValueError, match="does not fit this training"):
        loop.Training(job(Hyperparameters())).restore(state)


def test_a_state_of_another_training() -> None:
    h = Hyperparameters()
    state = loop.Training(job(h)).state()
    with pytest.raises(InvalidValueError, match="does not fit this training"):
        loop.Training(job(h, network=nn.Sequential(nn.Flatten(), nn.Linear(256, 2)))).restore(state)
    with pytest.raises(InvalidValueError, match="does not fit this training: 'course'"):
        loop.Training(job(h)).restore({name: part for name, part in state.items() if name != "course"})


if torch.cuda.is_available():  # no skipped test elsewhere: a test that never runs is no test

    @pytest.mark.parametrize("precision", device.PRECISIONS)
    def test_on_cuda(precision: str) -> None:
        h = Hyperparameters(
            optimizer="nadam", lr=0.005, weight_decay=0.01, decoupled=True, clip_norm=1.0, l1=1e-5, batch_size=16,
            noise=0.1, flip=True, rotation=5.0, mixup=0.1,
        )  # fmt: skip
        wanted = list(loop.train(job(h, "cuda", precision)))
        assert wanted[-1]["val_accuracy"] > 0.9
        first, second = (loop.Training(job(h, "cuda", precision)) for _ in range(2))
        first.epoch()
        second.restore(first.state())
        assert rest(second) == wanted[1:]


def _continue_all(folder: Path) -> None:
    for name in RESUMED:
        training = loop.Training(resumable(name))
        training.restore(torch.load(folder / f"{name}.pt", weights_only=True))
        print(repr(rest(training)))


if __name__ == "__main__":
    _continue_all(Path(sys.argv[1]))
