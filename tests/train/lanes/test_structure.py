"""What tells networks of a user apart: within a process, and for what is remembered in others."""

from __future__ import annotations

import functools
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tunesmith as ts
from tunesmith import logging as own_logging
from tunesmith.train import Problem
from tunesmith.train.lanes import measuring, structure
from tunesmith.train.lanes.bucket import Bucket
from tunesmith.train.lanes.choice import Load, Planner
from tunesmith.train.lanes.kinds import FunctionalKind
from tunesmith.train.lanes.opening import _sample, crowd
from tunesmith.train.lanes.structure import Unknown


class Net(nn.Module):
    """``what`` is any attribute."""

    def __init__(self, what: Any, width: int = 4) -> None:
        super().__init__()
        self.what, self.layer = what, nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.what(self.layer(x))


def form(*args: Any) -> Any:
    return structure.structure(Net(*args))


def scaled(by: float) -> Any:
    return lambda x: x * by


@pytest.mark.parametrize(
    "what",
    [
        functional.relu, torch.tanh, scaled, nn.ReLU, 3, None, "relu", b"relu", (1, [2.5, "a"]),
        {"p": 0.5, "f": torch.sin}, functools.partial(functional.leaky_relu, negative_slope=0.2),
        torch.float32, torch.device("cpu"),
    ],
)  # fmt: skip
def test_what_can_be_compared(what: Any) -> None:
    assert form(what) == form(what)
    assert hash(form(what)) == hash(form(what))
    assert form(what) != form(what, 5)
    others = [functional.gelu, 4, (1, [2.5, "b"]), {"p": 0.5, "f": torch.cos}, functools.partial(functional.leaky_relu)]
    assert form(what) not in map(form, others)
    assert " at 0x" not in repr(form(what))


def test_functions_that_hold_something_are_themselves_alone() -> None:
    assert form(scaled(2.0)) != form(scaled(2.0))
    assert form(lambda x: x) != form(lambda x: x)
    made = [form(lambda x: x * 2) for _ in range(2)]
    assert made[0] == made[1]


def test_classes_of_one_name_are_two() -> None:
    def make() -> type[nn.Module]:
        class Inner(nn.Module):
            pass

        return Inner

    first, second = make(), make()
    assert structure.structure(first()) == structure.structure(first())
    assert structure.structure(first()) != structure.structure(second())


def test_what_cannot_be_compared_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "_said", set())
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = own_logging.get_logger("tunesmith")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        network = Net(torch.zeros(2))
        first, second = structure.structure(network), structure.structure(network)
        assert isinstance(form({"deep": [object()]}), Unknown)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert isinstance(first, Unknown)
    assert first != second
    (message,) = messages
    assert message.startswith("Networks with the attribute Net.what, a Tensor, are trained one at a time")


def odd(n_classes: int) -> nn.Module:
    class Odd(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.LazyLinear(n_classes))
            self.things = {1, 2}

    return Odd()


def test_unknown_networks_are_neither_counted_as_equal_nor_tried() -> None:
    """Their form does not live on in an ``id`` that the next network gets."""
    space = ts.Space({"lr": ts.Float(0.01, 0.1)})
    problem = Problem(data="digits", model=odd, space=space, epochs=2, n_train=96, n_validation=40, device="cpu")
    assert crowd(_sample(problem)) == 0.0
    job = problem.evaluation({"lr": 0.05}, 0).next_job()
    assert job is not None

    class Refusing(FunctionalKind):
        def refuses(self, job: Any) -> str:
            raise AssertionError("not to be asked")

    assert Planner([Refusing()], Load(8, 1)).kind(job, Bucket.of(job)) is None


SOURCE = """
import torch
from torch import nn
from torch.nn import functional

import tunesmith as ts
from tunesmith.train import Problem
from tunesmith.train.lanes import measuring
from tunesmith.train.lanes.bucket import Bucket


class Net(nn.Module):
    def __init__(self, n_classes, width=8):
        super().__init__()
        self.first, self.last, self.unit = nn.LazyLinear(width), nn.Linear(width, n_classes), functional.relu
        self.more = lambda x: x

    def forward(self, x):
        return self.last(FORMULA)


def key():
    space = ts.Space({"lr": ts.Float(0.01, 0.1)})
    problem = Problem(data="digits", model=Net, space=space, n_train=96, n_validation=40, device="cpu")
    return measuring.key(Bucket.of(problem.evaluation({"lr": 0.05}, 0).next_job()))


if __name__ == "__main__":
    import nets

    print(nets.key())
"""


def test_the_key_is_the_same_in_every_process_and_follows_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(folder: str, formula: str) -> Any:
        path = tmp_path / folder / "nets.py"
        path.parent.mkdir()
        path.write_text(SOURCE.replace("FORMULA", formula))
        spec = importlib.util.spec_from_file_location("nets", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "nets", module)
        spec.loader.exec_module(module)
        return module.key()

    first = imported("a", "self.unit(self.first(x.flatten(1)))")
    process = subprocess.run([sys.executable, tmp_path / "a" / "nets.py"], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == first
    assert imported("b", "self.unit(self.first(x.flatten(1))) * 2") != first


def test_a_key_knows_the_batch_and_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**options: Any) -> str:
        space = ts.Space({"lr": ts.Float(0.01, 0.1)})
        problem = Problem(data="digits", model="mlp", space=space, n_train=96, n_validation=40, device="cpu", **options)
        job = problem.evaluation({"lr": 0.05}, 0).next_job()
        assert job is not None
        return measuring.key(Bucket.of(job))

    keys = [of(), of(fixed={"batch_size": 16}), of(threads=2), of(fixed={"width_1": 7})]
    assert len(set(keys)) == 4
    assert of() == keys[0]
    monkeypatch.setattr(measuring, "processor", lambda: "another")
    assert of() != keys[0]
