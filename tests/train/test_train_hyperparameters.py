"""Hyperparameters of the loop: which values they may have, which are in use, and the ready spaces over them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith._expressions import Condition
from tunesmith.distributions import CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import Hyperparameters
from tunesmith.train.hyperparameters import (
    DEFAULTS,
    MEANINGS,
    NAMES,
    OPTIMIZERS,
    SCHEDULES,
    USED_BY,
    condition,
    from_configuration,
    unused,
)
from tunesmith.train.spaces import SIZES, space


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 0}, InvalidValueError, "lr must be positive and finite, but is 0"),
        ({"lr": math.inf}, InvalidValueError, "finite"),
        ({"lr": math.nan}, InvalidValueError, "nan"),
        ({"lr": "0.1"}, InvalidTypeError, "'0.1'"),
        ({"lr": True}, InvalidTypeError, "lr must be a number"),
        ({"momentum": 1.0}, InvalidValueError, r"in \[0, 1\)"),
        ({"weight_decay": -1e-3}, InvalidValueError, "not negative and finite"),
        ({"batch_size": 0}, InvalidValueError, "at least 1"),
        ({"batch_size": 32.0}, InvalidTypeError, "integer"),
        ({"batch_size": True}, InvalidTypeError, "integer"),
        ({"optimizer": "lion"}, InvalidValueError, "Unknown optimizer 'lion'; known: sgd, rmsprop, adam"),
        ({"optimizer": ["sgd"]}, InvalidValueError, "known: sgd, rmsprop, adam"),
        ({"schedule": "linear"}, InvalidValueError, "Unknown schedule 'linear'; known: constant, step"),
        ({"loss": "l2"}, InvalidValueError, "Unknown loss 'l2'; known: cross-entropy"),
        ({"normalize": True}, InvalidValueError, "Unknown normalization True; known: standardize, range, none"),
        ({"nesterov": 1}, InvalidTypeError, "nesterov must be True or False, not 1"),
        ({"epsilon": 0.0}, InvalidValueError, "epsilon must be positive"),
        ({"epsilon": "1"}, InvalidTypeError, "a number or None"),
        ({"gamma": 0.0}, InvalidValueError, r"in \(0, 1\]"),
        ({"gamma": 1.1}, InvalidValueError, r"in \(0, 1\]"),
        ({"final_lr": -0.1}, InvalidValueError, r"in \[0, 1\]"),
        ({"rotation": 181}, InvalidValueError, r"in \[0, 180\]"),
        ({"crop": -1}, InvalidValueError, "crop must be at least 0"),
        ({"cutout": 2.5}, InvalidTypeError, "cutout must be an integer"),
        ({"patience": None}, InvalidTypeError, "patience must be an integer"),
    ],
)
def test_impossible_values(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Hyperparameters(**arguments)  # type: ignore[arg-type]


def test_limits_are_allowed() -> None:
    Hyperparameters(gamma=1.0, final_lr=1.0, momentum=0.0, rotation=180, warmup=2, epsilon=None, lr=np.float64(0.1))


def test_it_shows_what_differs() -> None:
    h = Hyperparameters(momentum=0.5, flip=True)
    assert repr(h) == "Hyperparameters(optimizer='sgd', lr=0.01, momentum=0.5, flip=True)"
    assert eval(repr(h)) == h
    assert repr(Hyperparameters()) == "Hyperparameters(optimizer='sgd', lr=0.01)"


def test_of_a_configuration() -> None:
    assert from_configuration({"lr": 0.5, "filters_1": 3}) == Hyperparameters(lr=0.5)


def test_each_has_a_meaning_of_one_line() -> None:
    assert tuple(MEANINGS) == NAMES
    assert all("\n" not in text and 5 < len(text) < 90 for text in MEANINGS.values())


def test_what_is_unused() -> None:
    assert unused("momentum", {"optimizer": "adam"}) == (
        "the optimizer 'adam' has no 'momentum' to set; these have: sgd, rmsprop"
    )
    assert unused("momentum", {"optimizer": "sgd"}) == unused("momentum", {}) == unused("lr", {"optimizer": "x"}) == ""
    assert unused("gamma", {"optimizer": "sgd", "schedule": "cosine"}).startswith(
        "the schedule 'cosine' has no 'gamma'"
    )


@pytest.mark.parametrize("name", USED_BY)
def test_conditions_say_the_same(name: str) -> None:
    chooser, users = USED_BY[name]
    choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": ("cross-entropy", "focal", "hinge")}[chooser]
    assert set(users) < set(choices)
    for value in choices:
        decided = {chooser: value}
        assert Condition(condition(name))(decided) == (value in users) == (unused(name, decided) == "")


def test_small_is_lr_and_momentum() -> None:
    assert list(space("small")) == list(space("small", "rmsprop")) == ["lr", "momentum"]
    assert list(space("small", "adam")) == ["lr", "weight_decay"]
    assert not space("small").conditions


def test_medium() -> None:
    assert list(space("medium")) == ["lr", "momentum", "weight_decay", "batch_size", "schedule"]
    assert list(space("medium", "adamw")) == ["lr", "weight_decay", "batch_size", "schedule"]
    assert not space("medium").conditions


def test_all_is_everything() -> None:
    assert tuple(space("all")) == NAMES
    assert set(space("all").conditions) == set(USED_BY)
    fixed = space("all", "sgd")
    assert {"optimizer", "rho", "alpha", "beta_1", "beta_2", "epsilon"}.isdisjoint(fixed)
    assert {"momentum", "nesterov", "decoupled"} <= set(fixed)
    assert set(fixed.conditions) == {name for name, (chooser, _) in USED_BY.items() if chooser != "optimizer"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("optimizer", [None, *OPTIMIZERS])
def test_every_configuration_is_possible_and_all_of_it_is_used(size: str, optimizer: str | None) -> None:
    ready = space(size, optimizer)
    corners = [np.zeros(len(ready)), np.ones(len(ready)), *np.random.default_rng(0).random((50, len(ready)))]
    for row in ready.decode(np.array(corners)):
        configuration = ready.active(ready.to_params(row))
        h = from_configuration(configuration)  # raises if a value is not allowed
        decided = {"optimizer": h.optimizer if optimizer is None else optimizer, "schedule": h.schedule, "loss": h.loss}
        assert not any(unused(name, decided) for name in configuration)


def test_batch_sizes_are_few_so_that_lanes_fill() -> None:
    for size in ("medium", "all"):
        assert isinstance(space(size)["batch_size"], CategoricalDistribution)


def test_unknown_size() -> None:
    with pytest.raises(InvalidValueError, match="Unknown size of a space 'large'; known: small, medium, all"):
        space("large")


def test_defaults_are_those_of_the_class() -> None:
    assert from_configuration(DEFAULTS) == Hyperparameters()
