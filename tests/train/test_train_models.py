"""Model families: sizes, spaces, determinism, independence of torch's global random numbers; the summary table."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import build_model, families, hyperparameters, models, summary
from tunesmith.train.activations import ACTIVATIONS
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.model_families import find_model

FAMILIES = ["cnn", "lenet5", "mlp", "rnn"]
SIZES = ("small", "medium", "all")
#: Parameters whose default says "as it fits the rest" and is no value of the space.
FITTED = {("cnn", "padding"), ("rnn", "sequence_length")}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_names_are_the_files() -> None:
    assert models() == FAMILIES
    with pytest.raises(InvalidValueError, match="Unknown model 'lenet'; known: cnn, lenet5, mlp, rnn"):
        find_model("lenet")


# -- sizes -------------------------------------------------------------------------------------------------------


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
        ("mlp", (1, 28, 28), 784 * 128 + 128 + 128 * 10 + 10),
        ("rnn", (1, 28, 28), 82_186),
    ],
)
def test_parameter_counts(name: str, shape: tuple[int, int, int], parameters: int) -> None:
    network = build_model(name, {}, shape, 10, seed=0)
    assert count(network) == parameters
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def kinds(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.modules() if not any(True for _ in layer.children())]


def test_the_default_cnn_is_the_known_one() -> None:
    network = build_model("cnn", {}, (3, 32, 32), 10, 0)
    shapes = {row.name: row.output_shape for row in summary(network, (3, 32, 32)).rows}
    assert list(shapes.values()) == [
        (10, 28, 28), (10, 28, 28), (10, 14, 14), (20, 10, 10), (20, 10, 10), (20, 5, 5), (500,), (10,)
    ]  # fmt: skip
    assert kinds(network) == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"]


def sizes_after(side: int, o: dict[str, Any]) -> list[int]:
    """The side of the image after each layer of a cnn, from the definitions of convolution and pooling."""
    found = []
    for _ in range(o["layers"]):
        padding = o["kernel_size"] - 1 if o["padding"] == "same" else 0
        side = len(range(0, side + padding - o["kernel_size"] + 1, o["stride"]))
        if o["pooling"] != "none":
            side = len(range(0, side - o["pool_size"] + 1, o["pool_size"]))
        found.append(side)
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "layers": st.integers(1, 4), "filters_1": st.integers(1, 6), "filters_2": st.integers(1, 6),
            "filters_3": st.integers(1, 6), "filters_4": st.integers(1, 6), "kernel_size": st.integers(1, 7),
            "stride": st.integers(1, 3), "padding": st.sampled_from(["same", "valid"]),
            "pooling": st.sampled_from(["max", "avg", "none"]), "pool_size": st.integers(1, 3),
            "dense_layers": st.integers(0, 2), "dense_width": st.integers(1, 9),
            "norm_layer": st.sampled_from(["none", "batch", "layer"]),
        }
    ),
    st.integers(16, 33),
)  # fmt: skip
def test_any_cnn_has_the_sizes_of_the_formulas_or_says_where_nothing_is_left(o: dict[str, Any], side: int) -> None:
    sides = sizes_after(side, o)
    if min(sides) < 1:
        layer = 1 + next(i for i, s in enumerate(sides) if s < 1)
        with pytest.raises(InvalidArchitectureError, match=f"of layer {layer} leaves nothing of .* Use fewer"):
            build_model("cnn", o, (2, side, side), 3, 0)
        return
    network = build_model("cnn", o, (2, side, side), 3, 0)
    filters = [2, *(o[f"filters_{i}"] for i in range(1, o["layers"] + 1))]
    widths = [filters[-1] * sides[-1] ** 2, *[o["dense_width"]] * o["dense_layers"], 3]
    expected = sum((a * o["kernel_size"] ** 2 + 1) * b for a, b in itertools.pairwise(filters))
    expected += sum((a + 1) * b for a, b in itertools.pairwise(widths))
    if o["norm_layer"] != "none":
        expected += 2 * (sum(filters[1:]) + sum(widths[1:-1]))
    assert count(network) == expected
    assert network.eval()(torch.zeros(2, 2, side, side)).shape == (2, 3)


@pytest.mark.parametrize("layers", range(1, 6))
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_mlp_sizes(layers: int, norm: str) -> None:
    widths = [7, 5, 3, 9, 11]
    o = {f"width_{i}": width for i, width in enumerate(widths, 1)}
    network = build_model("mlp", {"layers": layers, "norm_layer": norm, **o}, (2, 4, 3), 6, 0)
    sizes = [24, *widths[:layers], 6]
    expected = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    assert count(network) == expected + (2 * sum(widths[:layers]) if norm == "layer" else 0)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
@pytest.mark.parametrize("both", [False, True])
def test_rnn_sizes(cell: str, gates: int, both: bool) -> None:
    o = {"cell": cell, "layers": 3, "width": 6, "bidirectional": both, "sequence_length": 5, "dropout": 0.2}
    network = build_model("rnn", o, (3, 8, 8), 4, 0)  # 64 pixels: 5 steps of 13, with a zero before them
    directions = 1 + both
    first, later = (gates * 6 * (inputs + 6 + 2) for inputs in (13 * 3, 6 * directions))
    assert count(network) == directions * (first + 2 * later) + (6 * directions + 1) * 4
    assert kinds(network).count("Dropout") == 3
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


def test_lenet_layers_are_the_papers() -> None:
    shapes = {
        row.name: row.output_shape for row in summary(build_model("lenet5", {}, (1, 28, 28), 10, 0), (1, 28, 28)).rows
    }
    paper = {"C1": (6, 28, 28), "S2": (6, 14, 14), "C3": (16, 10, 10), "S4": (16, 5, 5), "C5": (120,), "F6": (84,)}
    assert {name: shapes[name] for name in paper} == paper


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 17, 23), (2, 31, 32), (1, 16, 16)])
def test_odd_shapes(name: str, shape: tuple[int, int, int]) -> None:
    assert build_model(name, {}, shape, 3, 0)(torch.zeros(2, *shape)).shape == (2, 3)


# -- spaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_the_contract(name: str) -> None:
    family = find_model(name)
    assert family.name == family.id == name
    assert set(family.MEANINGS) == set(family.DEFAULTS)
    assert not set(family.DEFAULTS) & set(hyperparameters.NAMES)
    for size in SIZES:
        space = family.space(size)
        assert isinstance(space, Space)
        assert set(space) <= set(family.DEFAULTS)
        for parameter, distribution in space.items():
            fits = distribution.contains(family.DEFAULTS[parameter])
            assert fits != ((name, parameter) in FITTED), parameter
    assert set(family.space("all")) == set(family.DEFAULTS)
    assert set(family.space("medium")) <= set(family.space("all"))
    with pytest.raises(InvalidValueError, match="known: small, medium, all"):
        family.space("huge")
    with pytest.raises(InvalidValueError, match=r"no hyperparameter \['depth'\]; it has: \["):
        family.build({"depth": 3}, (1, 28, 28), 10, 0)


def drawn(space: Space, n: int) -> list[dict[str, Any]]:
    """``n`` configurations of a space, uniform."""
    rows = space.decode(np.random.RandomState(0).random_sample((n, len(space))))
    return [space.active(space.to_params(row)) for row in rows]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("shape", "n"), [((1, 28, 28), 60), ((3, 32, 32), 15), ((1, 8, 8), 15)])
def test_nearly_all_of_a_space_can_be_built(name: str, shape: tuple[int, int, int], n: int) -> None:
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    refused = 0
    for size in ("medium", "all"):
        for seed, configuration in enumerate(drawn(find_model(name).space(size), n if size == "all" else 3)):
            try:
                network = build_model(name, configuration, shape, 10, seed)
            except InvalidArchitectureError:
                refused += 1
                continue
            with torch.no_grad():
                logits = network.eval()(x)
            assert logits.shape == (2, 10)
            assert torch.isfinite(logits).all()
    assert refused <= (0.1 * n if name == "cnn" else 0)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_corners_and_odd_points_of_a_space(name: str, data: st.DataObject) -> None:
    space = find_model(name).space("all")
    strategies = {
        parameter: st.sampled_from(d.choices)
        if isinstance(d, CategoricalDistribution)
        else st.integers(d.low, d.high).filter(d.contains)
        if isinstance(d, IntDistribution)
        else st.floats(d.low, d.high)
        for parameter, d in space.items()
        if isinstance(d, (CategoricalDistribution, IntDistribution, FloatDistribution))
    }
    small = st.integers(1, 9)  # so that it takes no time; that every size works is tested above
    strategies |= {key: small for key in strategies if key.startswith(("width", "filters", "dense_width"))}
    configuration = space.active(data.draw(st.fixed_dictionaries(strategies)))
    try:
        network = build_model(name, configuration, (2, 28, 28), 3, 0)
    except InvalidArchitectureError:
        assert name == "cnn"
        return
    assert network(torch.ones(3, 2, 28, 28)).shape == (3, 3)


def test_conditions_keep_what_is_not_there_out() -> None:
    mlp, cnn = find_model("mlp").space("all"), find_model("cnn").space("all")
    complete = dict.fromkeys([f"width_{i}" for i in range(1, 6)], 16)
    assert list(mlp.active({"layers": 3, **complete})) == ["layers", "width_1", "width_2", "width_3"]
    everything = {**find_model("cnn").DEFAULTS, "layers": 4, "pooling": "none"}
    assert {"filters_4", "stride"} < set(cnn.active(everything))
    assert not {"padding", "pool_size", "dense_width"} & set(cnn.active(everything))
    assert not {"stride"} & set(cnn.active({**everything, "pooling": "max"}))


# -- weights and gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
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
    ("name", "configuration"),
    [
        *[("mlp", {"layers": 3, "activation": activation}) for activation in ACTIVATIONS],
        ("mlp", {"layers": 2, "norm_layer": "layer", "dropout": 0.2}),
        ("lenet5", {"activation": "swish", "pooling": "max"}),
        ("cnn", {"layers": 4, "kernel_size": 4, "padding": "same", "activation": "prelu", "dense_layers": 2}),
        ("cnn", {"layers": 3, "norm_layer": "layer", "pooling": "none", "stride": 2, "dropout": 0.3}),
        ("rnn", {"layers": 3, "width": 8, "bidirectional": True, "dropout": 0.3}),
        ("rnn", {"cell": "gru", "width": 8, "sequence_length": 60}),
        ("rnn", {"cell": "rnn", "width": 8, "sequence_length": 9}),
    ],
)
def test_gradients_reach_every_parameter(name: str, configuration: dict[str, Any]) -> None:
    network = build_model(name, configuration, (1, 28, 28), 10, 0)
    x = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(x), torch.arange(16) % 10).backward()
    for parameter, p in network.named_parameters():
        assert p.grad is not None, parameter
        assert torch.isfinite(p.grad).all(), parameter
        assert p.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_rnn_is_torchs(cell: Any, both: bool) -> None:
    o = {"cell": cell.__name__.lower(), "layers": 2, "width": 5, "bidirectional": both}
    network = build_model("rnn", o, (2, 6, 4), 3, 1)
    whole = cell(8, 5, num_layers=2, bidirectional=both, batch_first=True)
    own = [p for name, p in network.named_parameters() if "recurrent" in name]
    with torch.no_grad():
        for target, source in zip(whole.parameters(), own, strict=True):
            target.copy_(source)
    images = torch.randn(7, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([torch.cat([images[:, :, y, x] for x in range(4)], 1) for y in range(6)], 1)  # (7, 6, 4 * 2)
    states = whole(rows)[1]
    last = (states[0] if cell is nn.LSTM else states)[2 if both else 1 :]  # of the second layer
    expected = network[-1](torch.cat(list(last), 1))  # type: ignore[index]
    assert torch.allclose(network(images), expected, atol=1e-6)


def test_a_sequence_is_read_in_order_and_padded_before_it() -> None:
    from tunesmith.train.recurrent import ToSequence

    image = torch.arange(1.0, 13.0).view(1, 1, 3, 4)
    assert ToSequence(3, (1, 3, 4))(image).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]]
    assert ToSequence(5, (1, 3, 4))(image).tolist() == [[[0, 0, 0], [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]]
    two = torch.cat([image, -image], 1)
    assert ToSequence(6, (2, 3, 4))(two)[0, 0].tolist() == [1, -1, 2, -2]


# -- impossible --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "configuration", "message"),
    [
        ("lenet5", {"activation": "softmax"}, "known: sigmoid, tanh, relu"),
        ("lenet5", {"pooling": None}, "known: avg, max"),
        ("lenet5", {"dropout": 1.0}, r"in \[0, 1\)"),
        ("cnn", {"filters_1": 0}, "at least 1"),
        ("cnn", {"filters_2": 2.5}, "at least 1"),
        ("cnn", {"dropout": -0.1}, r"in \[0, 1\)"),
        ("cnn", {"layers": 5}, "layers must be at most 4, but is 5"),
        ("cnn", {"padding": "full"}, "known: valid, same, auto"),
        ("cnn", {"padding": -1}, "padding .* at least 0"),
        ("cnn", {"pooling": "sum"}, "known: max, avg, none"),
        ("cnn", {"norm_layer": "instance"}, "known: none, batch, layer"),
        ("cnn", {"dense_layers": 3}, "at most 2"),
        ("mlp", {"layers": 0}, "at least 1"),
        ("mlp", {"width_1": True}, "integer of at least 1"),
        ("mlp", {"activation": "relu6"}, "known: sigmoid"),
        ("rnn", {"cell": "transformer"}, "known: lstm, gru, rnn"),
        ("rnn", {"bidirectional": 1}, "True or False"),
        ("rnn", {"layers": 4}, "at most 3"),
        ("rnn", {"sequence_length": -1}, "at least 0"),
    ],
)
def test_values_without_meaning(name: str, configuration: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as caught:
        build_model(name, configuration, (1, 28, 28), 10, 0)
    assert not isinstance(caught.value, InvalidArchitectureError)


@pytest.mark.parametrize(
    ("name", "configuration", "shape", "message"),
    [
        ("lenet5", {}, (3, 64, 64), "up to 32x32"),
        ("cnn", {}, (1, 4, 30), "too small: 16x16"),
        ("cnn", {"layers": 4, "padding": "valid"}, (1, 28, 28), "convolution of layer 3 leaves nothing of 4x4 pixels"),
        ("cnn", {"kernel_size": 7, "pool_size": 5}, (1, 28, 28), "convolution of layer 2 .* Use fewer layers"),
        ("cnn", {"pool_size": 30}, (1, 28, 28), "pooling of layer 1 leaves nothing of 24x24"),
        ("rnn", {"sequence_length": 65}, (1, 8, 8), "65 is more than the 64 pixels .* use at most 64"),
    ],
)
def test_inputs_that_do_not_fit(
    name: str, configuration: dict[str, Any], shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        build_model(name, configuration, shape, 10, 0)


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


def test_summary_of_recurrent_layers() -> None:
    network = build_model("rnn", {"width": 6, "dropout": 0.5}, (1, 28, 28), 10, 0)
    rows = {row.name: (row.kind, row.output_shape, row.parameters) for row in summary(network, (1, 28, 28)).rows}
    assert rows["recurrent_1.cell"] == ("LSTM", (28, 6), 4 * 6 * (28 + 6 + 2))
    assert rows["last"] == ("LastState", (6,), 0)


def test_summary_in_rich() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(build_model("cnn", {}, (3, 32, 32), 10, 0), (3, 32, 32)))
    assert "5,020" in console.export_text()


def test_summary_of_something_else() -> None:
    with pytest.raises(InvalidTypeError, match="needs a torch"):
        summary("lenet5", (1, 28, 28))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="cannot take an input of 3x28x28"):
        summary(build_model("lenet5", {}, (1, 28, 28), 10, 0), (3, 28, 28))
