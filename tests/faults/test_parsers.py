"""Whatever a parser is given, it understands it or raises one of our errors: valid inputs, damaged at random."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tunesmith
from tunesmith.artifacts.packing import pack, unpack
from tunesmith.cli import experiment
from tunesmith.compare import compare
from tunesmith.compare.methods import parse_methods
from tunesmith.compare.result import ComparisonResult
from tunesmith.distributions import distribution_to_json, json_to_distribution
from tunesmith.exceptions import LogDamagedError, StorageInternalError, TunesmithError
from tunesmith.space import Space
from tunesmith.storages import InMemoryStorage
from tunesmith.storages._urls import parse_url
from tunesmith.train import Problem
from tunesmith.train.errors import DataDamagedError
from tunesmith.train.saving import state_from_bytes, state_to_bytes

N = 150  # of each

SPACE = Space(
    {
        "x": tunesmith.Float(1e-3, 1, log=True),
        "n": tunesmith.Int(1, 9, step=2),
        "c": tunesmith.Categorical(["a", None, (1, 2)]),
    },
    {"n": "c == 'a' and x > 0.1"},
)
YAML = """problem:
  data: fashion-mnist-small
  model: cnn
  n_train: 200
space:
  lr: {type: float, low: 0.001, high: 1.0, log: true}
methods: [grid, 'pso(inertia=0.7)', {tpe: {n_startup_trials: 3}}]
trials: 4
repeats: 2
"""
URLS = ("postgresql://u:p@h:5432/d?sslmode=require", "sqlite:///a/b.db", "mysql+pymysql://u:p@h/d")
_ODD = [
    None, True, -1, 0, 3, 10**30, 1.5, float("nan"), "", "x", [], {}, [1], {"a": 1}, [[]], {"$float": "x"},
    {"$object": "os.system"}, {"$json": "["}, "9" * 30,
]  # fmt: skip


class Damage:
    """Random changes, by a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def value(self, value: Any) -> Any:
        """One place of a JSON value is removed, added, or another one."""
        rng = self._rng
        if not isinstance(value, (dict, list)) or not value or rng.random() < 0.2:
            return rng.choice(_ODD)
        value, chance = copy.copy(value), rng.random()
        where = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if chance < 0.2:
            del value[where]
        elif chance < 0.3 and isinstance(value, dict):
            value[rng.choice(["zz", "n", "type", "low", "name", "e"])] = rng.choice(_ODD)
        elif chance < 0.3:
            value.insert(where, rng.choice(_ODD))
        else:
            value[where] = self.value(value[where])
        return value

    def text(self, text: str) -> str:
        """Some characters are others, new, or gone."""
        return "".join(self._pieces(list(text), "()[]{}:,'\"=*&!#\n\t -+.0x\u00e9\0@%/\\?"))

    def content(self, content: bytes) -> bytes:
        """Some bytes are others, new, or gone."""
        return bytes(self._pieces(list(content), range(256)))

    def _pieces(self, pieces: list[Any], others: Any) -> list[Any]:
        rng = self._rng
        for _ in range(rng.randint(1, 3)):
            where, chance = rng.randrange(len(pieces) + 1), rng.random()
            if chance < 0.5:
                pieces[where : where + 1] = [rng.choice(others)]
            elif chance < 0.75:
                pieces.insert(where, rng.choice(others))
            else:
                del pieces[where : where + rng.randint(1, 9)]
        return pieces


def _condition(damage: Damage) -> None:
    text = damage.text("x > 0.5 and (x in (1, 2) or not x == 'a')")
    Space({"x": tunesmith.Float(0, 1), "n": tunesmith.Int(1, 3)}, {"n": text}).active({"x": 0.7, "n": 1})


PARSERS: dict[str, Callable[[Damage], Any]] = {
    "condition": _condition,
    "distribution": lambda d: json_to_distribution(d.text(distribution_to_json(tunesmith.Float(0.0, 1.0)))),
    "methods": lambda d: parse_methods(d.text("grid,pso(inertia=0.7,topology=ring),optuna:tpe")),
    "problem": lambda d: Problem.from_dict(d.value(Problem(data="digits", model="mlp", space="medium").to_dict())),
    "space": lambda d: Space.from_dict(d.value(SPACE.to_dict())),
    "URL": lambda d: parse_url(d.text(random.Random(d.text("")).choice(URLS))),
}


@pytest.mark.parametrize("name", PARSERS)
def test_parsers(name: str) -> None:
    refused = 0
    for seed in range(N):
        try:
            PARSERS[name](Damage(seed))
        except TunesmithError:
            refused += 1
    assert refused > N // 4  # it was damage


def test_experiments(tmp_path: Path) -> None:
    """The file that describes a comparison."""
    path, refused = tmp_path / "experiment.yaml", 0
    for seed in range(N):
        path.write_text(Damage(seed).text(YAML))
        try:
            entries = experiment.load(str(path))
            experiment.methods_of(entries)
            experiment.budget(entries)
            experiment.make_problem(entries)
        except TunesmithError:
            refused += 1
    assert refused > N // 4


def test_results_of_comparisons(tmp_path: Path) -> None:
    x = {"x": tunesmith.Float(0, 1)}
    compare(lambda trial: trial.suggest_float("x", 0, 1), ["random"], trials=2, repeats=2, out=tmp_path, space=x)
    path, refused = tmp_path / "result.json", 0
    whole = json.loads(path.read_text())
    for seed in range(N):
        path.write_text(json.dumps(Damage(seed).value(whole)))
        try:
            ComparisonResult.load(path)
        except TunesmithError:
            refused += 1
    assert refused > N // 10


def test_saved_states() -> None:
    """Damage is noticed wherever it is."""
    content = pack({"a": np.arange(5), "b": [1, {"c": "d"}], "t": torch.zeros(3)}, {"n": 1})
    state = state_to_bytes({"model": {"w": torch.arange(400.0)}, "epoch": 3})
    for seed in range(N):
        if (damaged := Damage(seed).content(content)) != content:
            with pytest.raises(StorageInternalError):
                unpack(damaged, "the state")
        if (damaged := Damage(seed).content(state)) != state:
            with pytest.raises(DataDamagedError):
                state_from_bytes(damaged)


def test_exported_studies(tmp_path: Path) -> None:
    study = tunesmith.create_study(study_name="s", storage=f"sqlite:///{tmp_path}/a.db", seed=1, space=SPACE)
    study.optimize(lambda trial: trial.suggest_float("x", 1e-3, 1, log=True), n_trials=3)
    path = tmp_path / "a.study"
    tunesmith.export_study(study_name="s", storage=study.storage, path=path)
    content = path.read_bytes()
    refused = 0
    for seed in range(N):
        path.write_bytes(Damage(seed).content(content))
        try:
            assert tunesmith.import_study(path=path, storage=None).trials == study.trials  # a space more, say
        except TunesmithError:
            refused += 1
    assert refused > 0.9 * N


def test_events() -> None:
    """Events that no version of ours has written, as they are in a log that somebody else writes to."""

    def objective(trial: Any) -> Any:
        x = trial.suggest_float("x", 1e-3, 1, log=True)
        trial.set_user_attr("k", [1])
        trial.report(x, 1)
        trial.set_constraint("q", -1.0)
        yield x

    study = tunesmith.create_study(seed=1, space=SPACE)
    study.enqueue_trial({"x": 0.5})
    study.optimize(objective, n_trials=4)
    study.edit_trial(1, values=3.0)
    study.delete_trial(2)
    study.set_metric_names(["loss"])
    study.ask()
    records = study.storage.read(study._log.study)
    refused = 0
    for seed in range(4 * N):
        damaged = list(records)
        where = seed % len(records)
        damaged[where] = Damage(seed).value(records[where])
        store = InMemoryStorage()
        new = store.create("s")
        for record in damaged:
            if isinstance(record, list) and all(isinstance(event, dict) for event in record):
                store.append(new, record)
        try:
            found = tunesmith.load_study(study_name="s", storage=store)
            assert len(found.trials) == len(found.get_trials())
            found.history.encode(SPACE)
            found.events()
            found.optimize(objective, n_trials=1)
        except LogDamagedError:
            refused += 1
        except TunesmithError:
            pass
    assert refused > N // 4
