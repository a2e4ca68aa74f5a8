"""Model families: sizes, determinism, independence of torch's global random numbers; the summary table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import build_model, families, models, summary
from tunesmith.train.layers import Dropout, initialised
from tunesmith.train.model_families import find_model


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_names_are_the_files() -> None:
    assert models() == ["cnn", "lenet5"]
    with pytest.raises(InvalidValueError, match="Unknown model 'lenet'; known: cnn, lenet5"):
        find_model("lenet")


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("lenet5", (1, 32, 32), 61_706),
        ("lenet5", (1, 28, 28), 61_706),  # padded to 32x32
        ("lenet5", (3, 32, 32), 62_006),
        ("lenet5", (1, 8, 8), 61_706),  # enlarged to 32x32
        ("cnn", (3, 32, 32), 10_790),
        ("cnn", (1, 28, 28), 260 + 5020 + 3210),
        ("cnn", (1, 8, 8), 260 + 5020 + 5010),
    ],
)
def test_parameter_counts(name: str, shape: tuple[int, int, int], parameters: int) -> None:
    network = build_model(name, {}, shape, 10, seed=0)
    assert count(network) == parameters
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_lenet_layers_are_the_papers() -> None:
    shapes = {
        row.name: row.output_shape for row in summary(build_model("lenet5", {}, (1, 28, 28), 10, 0), (1, 28, 28)).rows
    }
    paper = {"C1": (6, 28, 28), "S2": (6, 14, 14), "C3": (16, 10, 10), "S4": (16, 5, 5), "C5": (120,), "F6": (84,)}
    assert {name: shapes[name] for name in paper} == paper


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("shape", [(1, 17, 23), (2, 31, 32), (1, 16, 16)])
def test_odd_shapes(name: str, shape: tuple[int, int, int]) -> None:
    assert build_model(name, {}, shape, 3, 0)(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", models())
def test_every_family_keeps_the_contract(name: str) -> None:
    family = find_model(name)
    for size in ("small", "medium", "large"):
        space = family.space(size)
        assert isinstance(space, Space)
        assert set(space) <= set(family.DEFAULTS)
        for parameter, distribution in space.items():
            assert distribution.contains(family.DEFAULTS[parameter]), parameter
    with pytest.raises(InvalidValueError, match="known: small, medium, large"):
        family.space("huge")
    with pytest.raises(InvalidValueError, match=r"no hyperparameter \['depth'\]; it has: \["):
        family.build({"depth": 3}, (1, 28, 28), 10, 0)


@pytest.mark.parametrize("name", models())
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    before = torch.get_rng_state()
    first = build_model(name, {"dropout": 0.3}, (1, 28, 28), 10, 5)
    torch.rand(7)
    state = torch.get_rng_state()
    same, other = (build_model(name, {"dropout": 0.3}, (1, 28, 28), 10, seed) for seed in (5, 6))
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.train()(x), same.train()(x))  # the dropout masks too
    assert not torch.equal(first.eval()(x), other.eval()(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(before, state)  # the test itself drew, so the comparison means something


@pytest.mark.parametrize(
    ("name", "configuration", "message"),
    [
        ("lenet5", {"activation": "gelu"}, "known: tanh, relu"),
        ("lenet5", {"pooling": None}, "known: average, max"),
        ("lenet5", {"dropout": 1.0}, r"in \[0, 1\)"),
        ("cnn", {"filters_1": 0}, "at least 1"),
        ("cnn", {"filters_2": 2.5}, "at least 1"),
        ("cnn", {"dropout": -0.1}, r"in \[0, 1\)"),
    ],
)
def test_impossible_architectures(name: str, configuration: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        build_model(name, configuration, (1, 28, 28), 10, 0)


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(InvalidValueError, match="up to 32x32"):
        build_model("lenet5", {}, (3, 64, 64), 10, 0)
    with pytest.raises(InvalidValueError, match="too small: 16x16"):
        build_model("cnn", {}, (1, 4, 30), 10, 0)


def test_a_new_family_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linear.py").write_text(
        "from torch import nn\nfrom tunesmith import Space\nfrom tunesmith.train import layers\n"
        "DEFAULTS = {}\n"
        "def space(size): return Space()\n"
        "def build(configuration, input_shape, n_classes, seed):\n"
        "    c, h, w = input_shape\n"
        "    make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, n_classes))\n"
        "    return layers.initialised(make, seed, rectified=False)\n"
    )
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    assert "linear" in models()
    from tunesmith.train import Problem

    problem = Problem(data="digits", model="linear", epochs=2)
    assert list(problem.train({"lr": 0.01, "momentum": 0.9}, 0))[-1]["val_accuracy"] > 0.8


# -- layers ------------------------------------------------------------------------------------------------------


def test_initial_weights_follow_the_papers() -> None:
    network = initialised(lambda: nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 100)), 0, rectified=True)
    first, last = network[0].weight, network[1].weight  # type: ignore[index]
    assert first.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=1e-3)
    assert first.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert last.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)  # Glorot: fan_in + fan_out = 300
    assert last.abs().max().item() == pytest.approx((6 / 300) ** 0.5, rel=1e-3)
    assert torch.count_nonzero(network[0].bias) == 0  # type: ignore[index]


def test_normalising_layers_start_as_the_identity_and_unknown_layers_are_refused() -> None:
    network = initialised(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), 0, rectified=True)
    norm = network[1]  # type: ignore[index]
    assert norm.weight.tolist() == [1] * 4
    assert norm.running_mean.tolist() == [0] * 4
    assert norm.running_var.tolist() == [1] * 4
    with pytest.raises(InvalidTypeError, match="LSTM"):
        initialised(lambda: nn.LSTM(3, 4), 0, rectified=False)


def test_dropout_keeps_the_mean_and_only_works_in_training() -> None:
    x = torch.ones(200, 500)
    layer = Dropout(0.3, seed=1)
    dropped = layer(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert not torch.equal(dropped, layer(x))  # each call has its own mask
    assert layer.eval()(x) is x


# -- summary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models())
def test_summary_agrees_with_the_network(name: str) -> None:
    network = build_model(name, {"dropout": 0.1}, (3, 32, 32), 10, 0)
    table = summary(network, (3, 32, 32))
    assert table.parameters == table.trainable == count(network) == sum(row.parameters for row in table.rows)
    assert table.parameters_mb == pytest.approx(4 * count(network) / 2**20)
    assert table.input_mb == pytest.approx(4 * 3 * 32 * 32 / 2**20)
    text = str(table)
    assert f"{count(network):,}" in text
    assert all(row.name in text for row in table.rows)
    assert len({line.find("-") for line in text.splitlines() if set(line) == {"-"}}) == 1
    assert network.training
    assert not any(m._forward_hooks for m in network.modules())


def test_summary_of_shared_and_nested_layers() -> None:
    shared = nn.Linear(4, 4)
    shared.bias.requires_grad = False
    network = nn.Sequential(nn.Sequential(shared, nn.ReLU()), shared)
    network[0].eval()
    table = summary(network, (4,))
    assert [(row.name, row.kind, row.output_shape, row.parameters) for row in table.rows] == [
        ("0.0", "Linear", (4,), 20),
        ("0.1", "ReLU", (4,), 0),
        ("0.0", "Linear", (4,), 0),
    ]
    assert (table.parameters, table.trainable) == (20, 16)
    assert table.activations_mb == pytest.approx(2 * 4 * 12 / 2**20)
    assert network.training
    assert not network[0].training
    assert table.to_dict()["rows"][0]["name"] == "0.0"


def test_summary_in_rich() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(build_model("cnn", {}, (3, 32, 32), 10, 0), (3, 32, 32)))
    assert "5,020" in console.export_text()


def test_summary_of_something_else() -> None:
    with pytest.raises(InvalidTypeError, match="needs a torch"):
        summary("lenet5", (1, 28, 28))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="cannot take an input of 3x28x28"):
        summary(build_model("lenet5", {}, (1, 28, 28), 10, 0), (3, 28, 28))
