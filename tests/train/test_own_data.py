"""Data sets that a user hands to a problem instead of a name."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import Dataset, Problem, load_dataset, preparation
from tunesmith.train.device import choose
from tunesmith.train.preparation import Cut

GOOD = {"lr": 0.03, "momentum": 0.9}
SMALL: dict[str, Any] = {"model": "cnn", "epochs": 2, "n_train": 200, "device": "cpu"}


def own(name: str = "mine", change: int = 0, **other: Any) -> Dataset:
    data = load_dataset("digits")
    images = data.images + np.float32(change)
    given = {"n_classes": 10, "validation": None, **other}
    return Dataset(name, images, data.labels, data.test_images, data.test_labels, **given)


def test_it_is_trained_on_like_one_with_a_name() -> None:
    problem, named = Problem(data=own(), **SMALL), Problem(data="digits", **SMALL)
    assert problem.evaluate(GOOD, 3) == named.evaluate(GOOD, 3)
    assert problem.evaluate_test(GOOD, 3) == named.evaluate_test(GOOD, 3)
    study = tunesmith.create_study(space=problem.space, seed=0)
    study.optimize(problem, n_trials=2)
    assert study.best_value == problem.fit(study.best_trial).metrics["val_loss"]
    assert sum(p.numel() for p in problem.network().parameters()) == 10_290


def test_its_identity_is_its_content() -> None:
    data = own()
    assert data.id == own().id
    assert data.id.startswith("mine-")
    parts = [own(validation=np.arange(n)) for n in (5, 6)]
    others = [own("other"), own(change=1), own(n_classes=11), *parts]
    assert len({data.id, *(other.id for other in others)}) == 6
    as_bytes = Dataset("mine", *(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, int)) * 2, 2)
    as_floats = Dataset("mine", *(np.zeros((2, 1, 2, 2), np.float32), np.zeros(2, int)) * 2, 2)
    assert as_bytes.id != as_floats.id
    problem = Problem(data=data, **SMALL)
    assert problem == Problem(data=own(), **SMALL)
    assert problem != Problem(data=own(change=1), **SMALL)
    assert problem != Problem(data="digits", **SMALL)
    assert problem.to_dict()["data"] == data.id
    assert data.id in problem.describe().splitlines()[0]
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem.for_repeat(1).data is data


def test_it_must_be_handed_in_again() -> None:
    data = own()
    fields = Problem(data=data, **SMALL).to_dict()
    assert Problem.from_dict(fields, data=own()) == Problem(data=data, **SMALL)
    with pytest.raises(InvalidValueError, match=r"hand it in: Problem\.from_dict\(fields, data=\.\.\.\)"):
        Problem.from_dict(fields)
    with pytest.raises(InvalidValueError, match="its content or name differs"):
        Problem.from_dict(fields, data=own(change=1))


def test_equal_sets_share_one_copy() -> None:
    first, second = (preparation.prepare(own(), Cut(0), choose("cpu")) for _ in range(2))
    assert first.pool is second.pool
    assert first.pool is not preparation.prepare(own(change=1), Cut(0), choose("cpu")).pool


@pytest.mark.parametrize("data", [3, None, (np.zeros(3), np.zeros(3)), np.zeros((3, 1, 2, 2)), ["digits"]])
def test_what_is_neither_a_name_nor_a_set(data: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"a name \(cifar10, .*Dataset\(name, images, labels"):
        Problem(data=data)
    with pytest.raises(InvalidTypeError, match="named by a text"):
        own(name=data)
