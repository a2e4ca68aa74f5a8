"""Printed descriptions of search spaces."""

from __future__ import annotations

import pytest

from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.space import Space
from tunesmith.train import hyperparameters, models, spaces
from tunesmith.train.describing import describe_space, parameter_rows
from tunesmith.train.model_families import family, find_model


def test_a_row_says_everything() -> None:
    space = Space(
        {
            "lr": FloatDistribution(1e-4, 0.1, log=True),
            "layers": IntDistribution(1, 3),
            "width_2": IntDistribution(64, 512, step=64),
            "dropout": FloatDistribution(0.0, 0.5, step=0.25),
            "activation": CategoricalDistribution(("relu", "tanh")),
            "seed": IntDistribution(0, 9),
        },
        {"width_2": "layers >= 2"},
    )
    rows = {row.name: row for row in parameter_rows(space, "mlp")}
    assert list(rows) == list(space)
    found = {name: (row.values, row.scale, row.condition) for name, row in rows.items()}
    assert found == {
        "lr": ("0.0001 to 0.1", "log", ""),
        "layers": ("1 to 3", "linear", ""),
        "width_2": ("64 to 512 by 64", "linear", "layers >= 2"),
        "dropout": ("0.0 to 0.5 by 0.25", "linear", ""),
        "activation": ("relu, tanh", "choice", ""),
        "seed": ("0 to 9", "linear", ""),
    }
    assert rows["lr"].meaning == hyperparameters.MEANINGS["lr"]
    assert rows["width_2"].meaning == "units of hidden layer 2"


@pytest.mark.parametrize("name", models())
def test_every_parameter_of_every_ready_space_is_explained(name: str) -> None:
    for size in spaces.SIZES:
        for space in (find_model(name).space(size), spaces.space(size)):
            assert all(row.meaning for row in parameter_rows(space, name))


def test_the_table_shows_every_cell_in_its_column() -> None:
    space = find_model("cnn").space("all")
    lines = describe_space(space, "cnn").splitlines()
    head = lines[0]
    assert head.split() == ["Parameter", "Values", "Scale", "Only", "if", "Meaning"]
    assert set(lines[1]) == {"-"}
    assert max(map(len, lines)) <= len(lines[1])
    columns = [head.index(title) for title in ("Parameter", "Values", "Scale", "Only if", "Meaning")]
    texts = dict.fromkeys(space, "")
    name = ""
    for line in lines[2:]:
        cells = [line[a:b].strip() for a, b in zip(columns, [*columns[1:], None], strict=True)]
        name = cells[0] or name
        texts[name] += " ".join([*cells[1:], ""])
    for row in parameter_rows(space, "cnn"):
        words = f"{row.values} {row.scale} {row.condition} {row.meaning}".split()
        assert sorted(texts[row.name].split()) == sorted(words)


def test_columns_without_entries_are_left_out() -> None:
    assert "Only if" not in describe_space(Space({"lr": FloatDistribution(0.1, 1)}))
    assert "Meaning" not in describe_space(Space({"x": FloatDistribution(0.1, 1)}))
    assert describe_space(Space()) == "Nothing is searched."


def test_without_a_model_every_family_may_explain() -> None:
    space = Space({"layers": IntDistribution(1, 2), "cell": CategoricalDistribution(("lstm",))})
    layers, cell = parameter_rows(space)
    assert (
        layers.meaning == "cnn: number of convolutions; mlp: number of hidden layers; rnn: number of recurrent layers"
    )
    assert cell.meaning == find_model("rnn").MEANINGS["cell"]


def test_a_users_model_is_explained_by_its_meanings() -> None:
    def net(n_classes: int, depth: int = 2, other: float = 0.5) -> None: ...

    space = Space({"depth": IntDistribution(1, 2), "other": FloatDistribution(0, 1)})
    known = family(net, meanings={"depth": "how deep"})  # type: ignore[arg-type]
    assert [row.meaning for row in parameter_rows(space, known)] == ["how deep", ""]
