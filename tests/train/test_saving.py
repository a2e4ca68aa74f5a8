"""Trained networks in files, and the state of a training that is to go on later."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import tunesmith
from tunesmith import train
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError, NewerFormatError
from tunesmith.train import Problem, load_dataset, saving
from tunesmith.train.errors import DataDamagedError
from tunesmith.train.loop import Training
from tunesmith.train.saving import _checksum, load_state, save_state, state_from_bytes, state_to_bytes

GOOD = {"lr": 0.03, "momentum": 0.9}
DIGITS: dict[str, Any] = {"data": "digits", "model": "cnn", "epochs": 2, "n_train": 300, "device": "cpu"}


# -- a trained network ---------------------------------------------------------------------------------------------


def test_fit_is_the_training_of_the_trial() -> None:
    problem = Problem(**DIGITS)
    study = tunesmith.create_study(directions=problem.directions, space=problem.space, seed=0)
    study.optimize(problem, n_trials=2)
    trained = problem.fit(study.best_trial)
    assert trained.metrics["val_loss"] == study.best_value
    assert trained.params == study.best_params
    assert [metrics["val_loss"] for metrics in trained.history] == list(study.best_trial.intermediate_values.values())
    assert not trained.network.training
    assert problem.fit(GOOD).metrics == problem.evaluate(GOOD, 0)
    assert problem.fit(GOOD, 5, epochs=1).metrics == problem.evaluate(GOOD, 5, epochs=1)


@pytest.mark.parametrize("normalize", ["standardize", "range", "none"])
def test_predictions_on_raw_images_are_the_measured_ones(normalize: str) -> None:
    """The scaling of the training images is part of what was trained."""
    problem = Problem(**DIGITS, fixed={"normalize": normalize})
    trained, data = problem.fit(GOOD, 1), load_dataset("digits")
    tested = problem.evaluate_test(GOOD, 1)
    predicted, probability = trained.predict(data.test_images), trained.predict_proba(data.test_images)
    assert (predicted == data.test_labels).mean() == pytest.approx(tested["test_accuracy"], abs=1e-12)
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    loss = -np.log(probability[np.arange(297), data.test_labels].astype(float)).mean()
    assert loss == pytest.approx(tested["test_loss"], rel=1e-5)
    np.testing.assert_array_equal(trained.predict(torch.tensor(data.test_images)), predicted)
    assert trained.predict(data.test_images[:0]).shape == (0,)
    few = data.test_images[:5]
    for images in (few.tolist(), few.astype(np.uint8), few.astype(np.float64), few.astype(np.int32), few[::-1][::-1]):
        np.testing.assert_array_equal(trained.predict_proba(images), trained.predict_proba(few))
    for tensor in (torch.tensor(few, dtype=torch.bfloat16), torch.tensor(few, requires_grad=True)):
        np.testing.assert_array_equal(trained.predict_proba(tensor), trained.predict_proba(few))


@pytest.fixture(scope="module")
def some_network() -> train.Trained:
    return Problem(**{**DIGITS, "epochs": 1, "n_train": 100}).fit(GOOD)


IMAGES = np.zeros((3, 1, 8, 8), np.float32)
WITH_NAN, INFINITE = IMAGES.copy(), IMAGES.copy()
WITH_NAN[1, 0, 2, 3], INFINITE[:2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES[0, 0], InvalidValueError, r"must be \(n, 1, 8, 8\), not \(8, 8\)"),
        (IMAGES[:, :, :7], InvalidValueError, r"not \(3, 1, 7, 8\)"),
        (torch.zeros(3, 8, 8), InvalidValueError, r"not \(3, 8, 8\)"),
        (5, InvalidValueError, r"not \(\)"),
        ([[1, 2], [3]], InvalidValueError, "lists have different ones"),
        (WITH_NAN, InvalidValueError, "1 of 3 images hold NaN or infinite pixels"),
        (torch.tensor(INFINITE), InvalidValueError, "2 of 3 images"),
        (np.full((3, 1, 8, 8), 1e300), InvalidValueError, "3 of 3 images"),
        ("digits", InvalidTypeError, "must be real numbers, not <U6"),
        (None, InvalidTypeError, "must be real numbers, not object"),
        (IMAGES.astype(complex), InvalidTypeError, "not complex128"),
        (IMAGES > 0, InvalidTypeError, "not bool"),
        (torch.zeros(3, 1, 8, 8, dtype=torch.bool), InvalidTypeError, r"not torch\.bool"),
    ],
)
def test_what_are_no_images(images: Any, error: type[Exception], message: str, some_network: train.Trained) -> None:
    for use in (some_network.predict, some_network.predict_proba, some_network.logits):
        with pytest.raises(error, match=message):
            use(images)


def test_saved_and_loaded(tmp_path: Path) -> None:
    problem = Problem(**DIGITS, space="medium", fixed={"schedule": "cosine"})
    params = {**{name: d.low for name, d in problem.space.items() if hasattr(d, "low")}, "lr": 0.05}
    params |= {name: d.choices[0] for name, d in problem.space.items() if hasattr(d, "choices")}
    trained = problem.fit(problem_params(problem, params), 4)
    trained.save(tmp_path / "best.safetensors")
    again = train.load(tmp_path / "best.safetensors")
    assert again.problem == problem
    assert (again.params, again.training_seed) == (trained.params, 4)
    assert (again.metrics, again.history) == (trained.metrics, trained.history)
    images = load_dataset("digits").test_images
    np.testing.assert_array_equal(again.predict_proba(images), trained.predict_proba(images))
    assert repr(again) == repr(trained)
    assert again.problem.fit(again.params, again.training_seed).metrics == trained.metrics
    assert os.listdir(tmp_path) == ["best.safetensors"]


def problem_params(problem: Problem, params: dict[str, Any]) -> dict[str, Any]:
    """Those that are active."""
    return {name: params[name] for name in problem.space.ordered if problem.space.holds(name, params)}


def test_a_file_is_read_without_the_data_and_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    Problem(**DIGITS).fit(GOOD).save(path)
    code = (
        "import sys, pickle\n"
        "def refuse(*_, **__): raise RuntimeError('pickle')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "from tunesmith import train\n"
        "import numpy as np\n"
        f"trained = train.load({str(path)!r})\n"
        "print(trained.predict(np.zeros((3, 1, 8, 8), np.float32)).shape, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3,) False"


def small(input_shape: tuple[int, int, int], n_classes: int, width: int = 4) -> nn.Module:
    """With tied weights and a buffer."""
    shared = nn.Linear(width, width)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], width), shared, nn.BatchNorm1d(width), shared,
        nn.Linear(width, n_classes),
    )  # fmt: skip


def other(input_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Not the one that was saved."""
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], n_classes))


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    trained = Problem(**{**DIGITS, "model": small}).fit(GOOD)
    path = tmp_path / "own.safetensors"
    trained.save(path)
    images = load_dataset("digits").images
    np.testing.assert_array_equal(train.load(path, model=small).predict(images), trained.predict(images))
    with pytest.raises(InvalidValueError, match=r"train\.load\(path, model=\.\.\.\)"):
        train.load(path)
    with pytest.raises(InvalidValueError, match="its source differs"):
        train.load(path, model=other)


def test_another_device(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    Problem(**{**DIGITS, "device": "auto"}).fit(GOOD).save(path)
    assert train.load(path, device="cpu").problem.device == "cpu"
    with pytest.raises(InvalidValueError, match="there are: auto, cpu"):
        train.load(path, device="cuda:99")


def changed(path: Path, **header: Any) -> Path:
    """A copy of a file with other entries in its header; None leaves one out."""
    with safetensors.safe_open(path, "pt") as file:
        content = {**json.loads(file.metadata()["tunesmith"]), **header}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    entries = {name: value for name, value in content.items() if value is not None and name not in ("format", "crc")}
    text = json.dumps({"format": content["format"], **entries, "crc": _checksum(entries, tensors)})
    other = path.with_name("changed.safetensors")
    safetensors.torch.save_file(tensors, other, {"tunesmith": text})
    return other


@pytest.fixture
def saved(tmp_path: Path, some_network: train.Trained) -> Path:
    some_network.save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_mixed_precision_without_the_device_it_needs(saved: Path, some_network: train.Trained) -> None:
    fields = some_network.problem.to_dict()
    path = changed(saved, problem={**fields, "precision": "float16"})
    found = train.load(path, device="cpu")
    assert found.problem.precision == "float32"
    np.testing.assert_array_equal(found.predict_proba(IMAGES), some_network.predict_proba(IMAGES))
    half = changed(saved, problem={**fields, "precision": "bfloat16"})
    assert train.load(half).problem.precision == "bfloat16"
    np.testing.assert_allclose(train.load(half).predict_proba(IMAGES), found.predict_proba(IMAGES), atol=0.02)
    np.testing.assert_array_equal(
        train.load(half, precision="float32").predict_proba(IMAGES), some_network.predict_proba(IMAGES)
    )
    with pytest.raises(InvalidValueError, match=r"changed\.safetensors: float16 needs CUDA"):
        train.load(path, device="cpu", precision="float16")


def test_a_device_that_is_not_here_can_be_replaced(saved: Path, some_network: train.Trained) -> None:
    path = changed(saved, problem={**some_network.problem.to_dict(), "device": "cuda:99"})
    with pytest.raises(InvalidValueError, match=r"no device 'cuda:99'.* train\.load\(path, device='cpu'\)"):
        train.load(path)
    assert train.load(path, device="cpu").predict(IMAGES).shape == (3,)


def test_predictions_need_no_data_set(saved: Path, some_network: train.Trained) -> None:
    """Whatever it was called: a name that is not known here, one among several, a set of one's own."""
    fields = some_network.problem.to_dict()
    axis = Problem(**{**DIGITS, "space": {"data": tunesmith.Categorical(["digits", "mnist"])}}).space.to_dict()
    axis["parameters"]["data"]["choices"][1] = "elsewhere"
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
        "name": ({**fields, "data": "elsewhere"}, GOOD, "Unknown data set 'elsewhere'"),
        "axis": ({**fields, "space": axis, "fixed": GOOD}, {"data": "elsewhere"}, "Unknown data set 'elsewhere'"),
        "own": ({**fields, "data": "mine-0123456789abcdef"}, GOOD, r"hand it in: .*train\.load\(path, data=\.\.\.\)"),
    }
    for name, (problem, params, message) in cases.items():
        found = train.load(changed(saved, problem=problem, params=params))
        np.testing.assert_array_equal(found.predict_proba(IMAGES), some_network.predict_proba(IMAGES))
        assert found.problem.to_dict()["data"] == problem["data"]
        assert found.problem.for_repeat(1).repeat == 1
        if name != "axis":
            with pytest.raises(InvalidValueError, match=message):
                found.problem.fit(found.params)


def test_data_of_ones_own_are_handed_in(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    own = train.Dataset("own", digits.images, digits.labels, digits.test_images, digits.test_labels, 10)
    trained = Problem(**{**DIGITS, "data": own}).fit(GOOD)
    path = tmp_path / "net.safetensors"
    trained.save(path)
    assert repr(trained).startswith("Trained('cnn' on 'own', ")
    assert train.load(path).predict(digits.test_images).tolist() == trained.predict(digits.test_images).tolist()
    again = train.load(path, data=own)
    assert again.problem == trained.problem
    assert again.problem.fit(again.params, again.training_seed).metrics == trained.metrics


@pytest.mark.parametrize(
    "header",
    [
        {"params": None}, {"params": [1]}, {"problem": None}, {"training_seed": "0"}, {"history": None},
        {"input_shape": [1, 8]}, {"input_shape": "188"}, {"input_shape": [1, 8, -8]}, {"n_classes": None},
        {"input_shape": [2, 8, 8]},
    ],
)  # fmt: skip
def test_headers_that_lack_something(header: dict[str, Any], saved: Path) -> None:
    with pytest.raises(DataDamagedError, match=r"changed\.safetensors lacks .*Train the network again"):
        train.load(changed(saved, **header))


def test_headers_that_do_not_fit(saved: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"changed\.safetensors: The parameter 'lr' is missing"):
        train.load(changed(saved, params={}))
    with pytest.raises(InvalidValueError, match=r"changed\.safetensors: Unknown keys \['x'\]"):
        train.load(changed(saved, problem={"x": 1}))
    with pytest.raises(DataDamagedError, match="not a file that tunesmith"):
        train.load(changed(saved, kind="something"))
    with pytest.raises(InvalidValueError, match="do not fit the network"):
        train.load(changed(saved, n_classes=3))


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError):
        train.load(path)
    Problem(**DIGITS).fit(GOOD).save(path)
    content = path.read_bytes()
    with pytest.raises(InvalidValueError, match=r"holds a network, not a state; read it with tunesmith\.train\.load"):
        load_state(path)
    for damaged in (b"", b"hello", content[:100], content[:-10], os.urandom(5000)):
        path.write_bytes(damaged)
        with pytest.raises(DataDamagedError, match=r"x\.safetensors"):
            train.load(path)
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(3)}))
    with pytest.raises(DataDamagedError, match="not a file that tunesmith"):
        train.load(path)
    path.write_bytes(safetensors.torch.save({}, {"tunesmith": json.dumps({"format": 99, "kind": "network"})}))
    with pytest.raises(NewerFormatError, match="format 99"):
        train.load(path)


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tunesmith\[train\]'"):
        save_state({}, tmp_path / "x")


# -- the state of a training ---------------------------------------------------------------------------------------


STATE: dict[str, Any] = {
    "numbers": {"a": 1, "b": -0.1, "nan": math.nan, "inf": -math.inf, "big": 2**70, "yes": True, "none": None},
    "tensors": [torch.arange(6).reshape(2, 3), torch.tensor(0.1), torch.zeros(0, 3), torch.tensor([True, False])],
    "types": {str(t): torch.ones(3, dtype=t) for t in (torch.float64, torch.bfloat16, torch.float16, torch.uint8)},
    "keys": {0: "zero", "0": "text", -1: ()},
    "nested": ({"x": [(), [], {}]}, "text ü"),
    "strided": torch.arange(12.0).reshape(3, 4).T,
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_a_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    save_state(STATE, tmp_path / "state")
    assert same(load_state(tmp_path / "state"), STATE)
    assert same(state_from_bytes(state_to_bytes(STATE)), STATE)
    assert same(state_from_bytes(state_to_bytes({})), {})
    shared = torch.zeros(3)
    first, second = state_from_bytes(state_to_bytes({"a": shared, "b": shared})).values()
    first += 1
    assert second.sum() == 0  # like shared on the way there


@pytest.mark.parametrize("bad", [object(), np.zeros(3), {1.5: 2}, {"a": {True: 1}}, [1j], np.float64(0.5)])
def test_states_that_cannot_be_kept(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidTypeError, match="state"):
        save_state({"a": bad}, tmp_path / "state")
    assert os.listdir(tmp_path) == []


def test_damaged_states(tmp_path: Path) -> None:
    content = state_to_bytes(STATE)
    for damaged in (content[:-1], content[:50], b""):
        with pytest.raises(DataDamagedError, match="these bytes"):
            state_from_bytes(damaged)
    header = {"format": 1, "kind": "state", "state": {"tensor": "7"}}
    with pytest.raises(DataDamagedError, match="holds no state"):
        state_from_bytes(safetensors.torch.save({}, {"tunesmith": json.dumps(header)}))


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    save_state({"a": 1}, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_state({"a": 2}, path)
    assert os.listdir(tmp_path) == ["state"]
    assert load_state(path) == {"a": 1}


def test_a_training_goes_on_from_a_file(tmp_path: Path) -> None:
    fixed = {"lr": 0.02, "dropout": 0.2, "schedule": "plateau", "patience": 3, "noise": 0.1}
    problem = Problem(**{**DIGITS, "epochs": 4, "n_train": 150}, space=None, optimizer="adam", fixed=fixed)
    trainings = [Training(job) for _ in range(3) if (job := problem.evaluation({}, 3).next_job()) is not None]
    whole, first, second = trainings
    curve = [whole.epoch() for _ in range(4)]
    assert [first.epoch() for _ in range(2)] == curve[:2]
    save_state(first.state(), tmp_path / "state")
    second.restore(load_state(tmp_path / "state"))
    assert [second.epoch() for _ in range(2)] == curve[2:]
    assert same(second.state(), whole.state())
