"""A fit that is interrupted goes on from its checkpoint, and ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import DataDamagedError, Dataset, Problem, Trained, load_dataset
from tunesmith.train.loop import Training
from tunesmith.train.saving import save_state

GOOD = {"lr": 0.02, "momentum": 0.9}
FIXED = {"dropout": 0.2, "schedule": "cosine", "patience": 3, "noise": 0.1}


def problem(**other: Any) -> Problem:
    given = {"data": "digits", "model": "cnn", "epochs": 4, "n_train": 150, "device": "cpu", "fixed": FIXED}
    return Problem(**{**given, **other})


def same(a: Trained, b: Trained) -> bool:
    """Whether metrics and weights have the same bits."""
    weights = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    return (a.metrics, a.history) == (b.metrics, b.history) and all(torch.equal(x, y) for x, y in weights)


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, fit: Callable[[], Trained]) -> None:
    """Begin ``fit`` and interrupt it after some epochs."""
    usual = Training.epoch

    def epoch(training: Training) -> dict[str, float]:
        if training.epochs_done == after:
            raise KeyboardInterrupt
        return usual(training)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            fit()


@pytest.mark.parametrize(("every", "redone"), [(1, 1), (2, 2), (3, 1)])
def test_an_interrupted_fit_goes_on(every: int, redone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    options = {"checkpoint": path, "checkpoint_every": every}
    interrupted(monkeypatch, 3, lambda: problem().fit(GOOD, 7, **options))
    done: list[int] = []
    usual = Training.epoch
    monkeypatch.setattr(Training, "epoch", lambda t: done.append(t.epochs_done) or usual(t))
    found = problem().fit(GOOD, 7, **options)
    assert len(done) == redone
    assert same(found, problem().fit(GOOD, 7))
    done.clear()
    assert same(problem().fit(GOOD, 7, **options), found)  # a finished one is not trained again
    assert not done
    assert os.listdir(tmp_path) == ["state"]


KILLED = """
import os, signal, sys
from tests_checkpointing import GOOD, problem
from tunesmith.train import saving
from tunesmith.train.loop import Training
where, after, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def dying(usual, calls=[]):
    def call(*arguments):
        calls.append(1)
        if len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments)
    return call
if where == "epoch":
    Training.epoch = dying(Training.epoch)
else:
    saving.os.replace = dying(os.replace)
problem().fit(GOOD, 7, checkpoint=path)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("where", "after"), [("epoch", 2), ("write", 1)])
def test_a_killed_process_is_continued(where: str, after: int, tmp_path: Path) -> None:
    """Killed between epochs, or while it writes: the file is that of the epoch before."""
    path = tmp_path / "state"
    (tmp_path / "tests_checkpointing.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-c", KILLED, where, str(after), str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.exists()
    assert same(problem().fit(GOOD, 7, checkpoint=path), problem().fit(GOOD, 7))


def other_digits() -> Dataset:
    """The same images, one pixel excepted."""
    data = load_dataset("digits")
    images = data.images.copy()
    images[0, 0, 0, 0] += 1
    return Dataset("digits", images, data.labels, data.test_images, data.test_labels, 10)


@pytest.mark.parametrize(
    ("other", "params", "seed", "message"),
    [
        ({}, {**GOOD, "lr": 0.03}, 7, r"lr is 0\.02 there and 0\.03 here"),
        ({}, GOOD, 8, "training_seed is 7 there and 8 here"),
        ({"epochs": 3}, GOOD, 7, "epochs is 4 there and 3 here"),
        ({"fixed": {**FIXED, "optimizer": "adam"}, "space": None}, {}, 7, "optimizer is 'sgd' there and 'adam' here"),
        ({"fixed": {**FIXED, "filters_1": 9}}, GOOD, 7, "filters_1 is 10 there and 9 here"),
        ({"split_seed": 1}, GOOD, 7, "training part is '150 images .* here"),
        ({"objective": "val_accuracy"}, GOOD, 7, "metrics is 'val_loss, .* and 'val_accuracy, "),
        ({"data": other_digits}, GOOD, 7, "data is 'digits-[0-9a-f]{16}' there and 'digits-[0-9a-f]{16}' here"),
        ({"model": "mlp"}, GOOD, 7, "model is 'cnn' there and 'mlp' here"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(
    other: dict[str, Any], params: dict[str, Any], seed: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    problem().fit(GOOD, 7, checkpoint=path)
    content = path.read_bytes()
    made = problem(**{name: value() if callable(value) else value for name, value in other.items()})
    with pytest.raises(InvalidValueError, match=message) as found:
        made.fit(params, seed, checkpoint=path)
    assert str(path) in str(found.value)
    assert "remove this one to begin anew" in str(found.value)
    assert path.read_bytes() == content


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state({"x": 1}, path)
    with pytest.raises(DataDamagedError, match="holds no checkpoint"):
        problem().fit(GOOD, checkpoint=path)
    path.unlink()
    problem().fit(GOOD, checkpoint=path, epochs=1)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataDamagedError, match="is damaged"):
        problem().fit(GOOD, checkpoint=path, epochs=1)
    problem().fit(GOOD).save(path)
    with pytest.raises(InvalidValueError, match="holds a network, not a state"):
        problem().fit(GOOD, checkpoint=path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": "nowhere/state"}, InvalidValueError, "would be in nowhere, which is no folder"),
        ({"checkpoint": "."}, InvalidValueError, "is a folder; give the path of a file"),
        ({"checkpoint": 3}, InvalidTypeError, "must be the path of a file, not 3"),
        ({"checkpoint": "state", "checkpoint_every": 0}, InvalidValueError, "checkpoint_every must be at least 1"),
    ],
)
def test_impossible_checkpoints_are_refused_before_the_training(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Training, "epoch", lambda _: pytest.fail("it was trained"))
    with pytest.raises(error, match=message):
        problem().fit(GOOD, **options)


def test_a_set_of_ones_own_is_known_by_its_content(tmp_path: Path) -> None:
    """An equal set, made once more, goes on."""
    path = tmp_path / "state"
    first, second = (problem(data=other_digits()).fit(GOOD, 7, checkpoint=path) for _ in range(2))
    assert same(first, second)
    assert not np.array_equal(first.problem.data.images, load_dataset("digits").images)  # type: ignore[union-attr]
