"""Metrics against torchmetrics and scikit-learn, and their edges."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch.nn import functional

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.train import metrics

ALL = ["loss", "accuracy", "nll", "f1", "auc", "brier", "ece", "top_2", "top_3"]


def case(n: int, k: int, seed: int, sharpness: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that know something of the labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    logits = random.normal(size=(n, k)) * sharpness
    logits[np.arange(n), labels] += 1.0
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(labels)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 300), k=st.integers(4, 12), seed=st.integers(0, 2**32), sharpness=st.floats(0.1, 8.0))
def test_against_scikit_learn(n: int, k: int, seed: int, sharpness: float) -> None:
    logits, labels = case(n, k, seed, sharpness)
    found = metrics.measure(ALL, logits, labels)
    assert list(found) == ALL
    probability, truth = logits.double().softmax(1).numpy(), labels.numpy()
    predicted = probability.argmax(1)
    assert found["loss"] == found["nll"] == pytest.approx(sk.log_loss(truth, probability, labels=range(k)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)
    assert found["f1"] == sk.f1_score(truth, predicted, average="macro")
    assert found["brier"] == pytest.approx(((probability - np.eye(k)[truth]) ** 2).sum(1).mean(), rel=1e-5)
    for top in (2, 3):
        expected = sk.top_k_accuracy_score(truth, probability, k=top, labels=range(k))
        assert found[f"top_{top}"] == pytest.approx(expected, abs=1e-12)
    if len(set(truth)) == k:
        assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, probability, multi_class="ovr"), abs=1e-12)


@pytest.mark.parametrize(("n", "k", "seed"), [(500, 10, 0), (37, 4, 1), (1000, 3, 2)])
def test_against_torchmetrics(n: int, k: int, seed: int) -> None:
    oracle = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = case(n, k, seed)
    found = metrics.measure(["ece", "f1", "auc", "accuracy"], logits, labels)
    probability = logits.softmax(1)
    ece = oracle.multiclass_calibration_error(probability, labels, k, n_bins=metrics.CALIBRATION_BINS, norm="l1")
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)
    assert found["f1"] == pytest.approx(float(oracle.multiclass_f1_score(probability, labels, k)), abs=1e-6)
    assert found["auc"] == pytest.approx(float(oracle.multiclass_auroc(probability, labels, k)), abs=1e-5)
    accuracy = oracle.multiclass_accuracy(probability, labels, k, average="micro")
    assert found["accuracy"] == pytest.approx(float(accuracy), abs=1e-6)


def test_perfect_and_hopeless() -> None:
    labels = torch.arange(5).repeat(4)
    right = functional.one_hot(labels, 5).float() * 100
    found = metrics.measure(ALL, right, labels)
    assert all(found[name] == 1.0 for name in ("accuracy", "f1", "auc", "top_2", "top_3"))
    assert all(found[name] == pytest.approx(0.0, abs=1e-12) for name in ("loss", "nll", "brier", "ece"))
    wrong = metrics.measure(ALL, -right, labels)
    assert all(wrong[name] == 0.0 for name in ("accuracy", "auc", "f1"))
    flat = metrics.measure(["loss", "brier", "ece"], torch.zeros(20, 5), labels)
    assert flat["loss"] == pytest.approx(math.log(5))
    assert flat["brier"] == pytest.approx(0.8)
    assert flat["ece"] == pytest.approx(0.0, abs=1e-7)  # a fifth of the images are class 0, and it says so


def test_a_sure_liar_is_badly_calibrated() -> None:
    labels = torch.tensor([0, 1] * 50)
    assert metrics.measure(["ece"], torch.tensor([[50.0, 0.0]]).repeat(100, 1), labels)["ece"] == pytest.approx(0.5)


def test_absent_classes_do_not_count() -> None:
    """A small validation part may lack a class; that is no reason for NaN or for a zero in the mean."""
    logits, labels = case(40, 3, 3)
    labels = labels.clamp(max=1)
    found = metrics.measure(["auc", "f1"], logits, labels)
    probability = logits.softmax(1).numpy()
    expected = np.mean([sk.roc_auc_score(labels.numpy() == c, probability[:, c]) for c in (0, 1)])
    assert found["auc"] == pytest.approx(expected, abs=1e-6)
    only = metrics.measure(["auc", "f1", "accuracy"], torch.tensor([[0.0, 1.0]] * 3), torch.tensor([1, 1, 1]))
    assert math.isnan(only["auc"])  # nothing to tell apart
    assert only["f1"] == only["accuracy"] == 1.0


def test_values_do_not_depend_on_what_else_is_measured_nor_on_the_order() -> None:
    logits, labels = case(100, 6, 4)
    together = metrics.measure(ALL, logits, labels)
    assert {name: metrics.measure([name], logits, labels)[name] for name in ALL} == together
    assert metrics.measure(ALL[::-1], logits, labels) == together
    assert metrics.measure([], logits, labels) == {}


def test_half_precision_is_measured_in_full() -> None:
    logits, labels = case(100, 4, 5)
    half = logits.bfloat16()
    assert metrics.measure(ALL, half, labels) == metrics.measure(ALL, half.float(), labels)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none(bad: float) -> None:
    logits, labels = case(20, 4, 6)
    logits[3, (labels[3] + 1) % 4] = bad
    found = metrics.measure(ALL, logits, labels)
    assert not math.isfinite(found["loss"])
    assert math.isnan(found["auc"])


def test_directions_and_names() -> None:
    down = {name for name in ALL if metrics.direction(name) == "minimize"}
    assert down == {"loss", "nll", "brier", "ece"}
    assert set(metrics.names()) == {*ALL, "top_k"} - {"top_2", "top_3"}
    with pytest.raises(InvalidValueError, match=r"'acuracy'; known: loss, accuracy, .*top_k.*mean 'accuracy'"):
        metrics.direction("acuracy")
    for name in ("top_0", "top_", "val_loss"):
        with pytest.raises(InvalidValueError, match="known: loss"):
            metrics.check_name(name)
    with pytest.raises(InvalidTypeError, match="3"):
        metrics.check_name(3)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit() -> None:
    logits, labels = case(10, 4, 7)
    with pytest.raises(InvalidValueError, match=r"\(10, 4\), \(9,\)"):
        metrics.measure(["loss"], logits, labels[:9])
    with pytest.raises(InvalidValueError, match="n >= 1"):
        metrics.measure(["loss"], logits[:0], labels[:0])
    with pytest.raises(InvalidValueError, match="'top_4' is always 1 with 4 classes"):
        metrics.measure(["top_4"], logits, labels)
    assert (
        metrics.measure(["top_1"], logits, labels)["top_1"] == metrics.measure(["accuracy"], logits, labels)["accuracy"]
    )


def test_scikit_learn_is_imported_only_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, torch\nfrom tunesmith.train import metrics\n"
        "metrics.measure(['loss', 'top_2', 'brier', 'ece'], torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))\n"
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tunesmith\[train\]'"):
        metrics.measure(["f1"], *case(5, 3, 0))


# -- where a metric has no value -----------------------------------------------------------------------------------


def test_an_auc_needs_two_classes() -> None:
    one, two = torch.tensor([3, 3, 3]), torch.tensor([3, 3, 1])
    reason = metrics.undefined("auc", one)
    assert reason is not None
    assert reason.startswith("'auc' has no value where only one class occurs (3 images of class 3)")
    assert "choose another metric, such as 'loss'" in reason
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for name in metrics.names():
        known = name.replace("_k", "_2")
        for labels in (one, two, one[:1]):
            value = metrics.measure([known], logits[: len(labels)], labels)[known]
            assert math.isnan(value) == (metrics.undefined(known, labels) is not None)
