"""Reading what people write: YAML, assignments, spaces, storage strings."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from tunesmith.cli import inputs, yamls
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import CLIUsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("-3.25e+2", -325.0), ("010", 10), ("-7", -7), ("0x10", "0x10"),
        ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), ("1_000", "1_000"), (".inf", math.inf), ("'1'", "1"),
        ("[1, 2.0, a]", [1, 2.0, "a"]), ('{"lr": 1e-3}', {"lr": 1e-3}), ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = yamls.parse(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "here: line 3: the key 'a' stands twice"),
        ("{a: {b: 1, b: 2}}", "the key 'b' stands twice"),
        ("? [1, 2]\n: 3", "a key must be a word"),
        ("a: [1", "here, line 1, column 6: this is no valid YAML"),
        ("a: *nowhere", "undefined alias"),
        ("!!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("!!bool 3", "this is no valid YAML"),
        ("!!int x", "is no integer"),
        ("a: \x00", "this is no valid YAML"),
        ("--- 1\n--- 2", "this is no valid YAML"),
        ("&x [*x]", "more than 20000 values"),
        ("[" * 100 + "]" * 100, "nested deeper than 50"),
        ("[" * 20000, "nested"),
    ],
)
def test_bad_yaml_is_one_typed_error(text: str, message: str) -> None:
    with pytest.raises(CLIUsageError) as caught:
        yamls.parse(text, "here")
    assert message in str(caught.value)
    assert str(caught.value).startswith("here")


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    begin = time.monotonic()
    with pytest.raises(CLIUsageError, match="aliases"):
        yamls.parse("\n".join(lines), "bomb")
    assert time.monotonic() - begin < 2
    merges = "a: &a {k: 1}\nb: {<<: [*a, *a]}"
    assert yamls.parse(merges, "merge")["b"] == {"<<": [{"k": 1}, {"k": 1}]}  # no merging: `<<` is a key like any other


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CLIUsageError, match="There is no file"):
        yamls.read(tmp_path / "none.yaml")
    with pytest.raises(CLIUsageError, match="cannot be read"):
        yamls.read(tmp_path)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"# " + b"x" * yamls.MAX_BYTES)
    with pytest.raises(CLIUsageError, match="larger than 256 KiB"):
        yamls.read(large)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe")
    with pytest.raises(CLIUsageError, match="not UTF-8"):
        yamls.read(binary)


# -- assignments ---------------------------------------------------------------------------------------------------


def test_assignments_are_typed() -> None:
    words = ["lr=1e-3", "n=3", "opt=adam", "flag=true", "none=null", "pair=[1, 2]", "eq=a=b", 'text="8"']
    words += ["empty=", "d={a: 1}"]
    assert inputs.parse_assignments(words, {}) == {
        "lr": 1e-3, "n": 3, "opt": "adam", "flag": True, "none": None, "pair": [1, 2], "eq": "a=b", "text": "8",
        "empty": None, "d": "{a: 1}",
    }  # fmt: skip


def test_the_reading_that_fits_the_parameter_is_taken() -> None:
    known = {
        "bits": CategoricalDistribution(["8", "16"]), "opt": CategoricalDistribution([None, "x"]),
        "flag": CategoricalDistribution([True, "true"]), "lr": FloatDistribution(0, 1), "n": IntDistribution(1, 9),
    }  # fmt: skip
    found = inputs.parse_assignments(["bits=8", "opt=None", "flag=true", "lr=1", "n=3"], known)
    assert found == {"bits": "8", "opt": None, "flag": True, "lr": 1, "n": 3}
    assert isinstance(found["flag"], bool)


@pytest.mark.parametrize("words", [["lr"], ["=3"], [""], ["a=1", "a=2"]])
def test_bad_assignments(words: list[str]) -> None:
    with pytest.raises(CLIUsageError):
        inputs.parse_assignments(words, {})


# -- spaces --------------------------------------------------------------------------------------------------------


def test_a_space_with_conditions() -> None:
    space = inputs.read_space(
        '{"parameters": {"layers": {"type": "int", "low": 1, "high": 3}, "opt": {"choices": ["a", "b"]}, '
        '"lr": {"type": "float", "low": 1e-4, "high": 1, "log": true}}, "conditions": {"lr": "layers >= 2"}}'
    )
    assert list(space) == ["layers", "opt", "lr"]
    assert space["lr"] == FloatDistribution(1e-4, 1, log=True)
    assert space.conditions == {"lr": "layers >= 2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{lr: {type: float, low: 0, hgih: 1}}", "'space.lr.hgih'; known in 'space.lr': type, low, high, log, step."),
        ("{lr: {type: float, low: 0, hgih: 1}}", "Did you mean 'space.lr.high'?"),
        ("{lr: {type: flaot, low: 0, high: 1}}", "'space.lr.type' must be one of float, int, categorical, not 'flaot'"),
        ("{lr: {low: 0, high: 1}}", "'space.lr.type' must be one of"),
        ("{lr: {type: float, low: 2, high: 1}}", "space.lr: `low <= high` must hold, but low=2.0 and high=1.0"),
        ("{lr: {type: float, low: 0, high: 1, log: true}}", "space.lr: log=True needs `low > 0`"),
        ("{lr: {type: float, low: .nan, high: 1}}", "space.lr: `low` must be finite"),
        ("{lr: {type: float, low: a, high: 1}}", "space.lr: `low` must be a real number"),
        ("{lr: {type: float, low: 1}}", "space.lr: A float parameter needs ['high']"),
        ("{lr: {choices: []}}", "space.lr: `choices` must hold at least one value"),
        ("{lr: 3}", "'space.lr' must be a mapping"),
        ("{parameters: {}, conditoins: {}}", "'space.conditoins'; known in 'space': parameters, conditions."),
        ("{parameters: {a: {choices: [1]}}, conditions: {b: a > 1}}", "names ['b']"),
        ("{parameters: {a: {choices: [1]}}, conditions: [a]}", "'conditions' must be a mapping"),
        ("{parameters: 3}", "'space.parameters' must be a mapping"),
        ("[1]", "'space' must be a mapping"),
    ],
)
def test_mistakes_in_a_space_name_their_path(text: str, message: str) -> None:
    with pytest.raises(CLIUsageError) as caught:
        inputs.read_space(text)
    assert message in str(caught.value)


def test_a_space_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("x: {type: int, low: 1, high: 4}\n")
    assert inputs.read_space(str(file))["x"] == IntDistribution(1, 4)
    with pytest.raises(CLIUsageError, match="no file"):
        inputs.read_space(str(tmp_path / "none.yaml"))
    with pytest.raises(CLIUsageError, match=r"--space takes JSON"):
        inputs.read_space("nonsense")


# -- storages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "path"),
    [
        ("sqlite:///study.db", "study.db"), ("sqlite:////tmp/study.db", "/tmp/study.db"),
        ("sqlite+pysqlite:///a/b.db?timeout=3", "a/b.db"), ("sqlite://", None), ("study.jsonl", "study.jsonl"),
        ("postgresql://host/db", None),
    ],
)  # fmt: skip
def test_the_file_behind_a_storage(storage: str, path: str | None) -> None:
    assert inputs.storage_path(storage) == (None if path is None else Path(path))
