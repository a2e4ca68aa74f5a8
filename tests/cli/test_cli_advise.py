"""What to run, said by the command line."""

from __future__ import annotations

import json

from cli.cli_helpers import bad, good

SPACE = '{"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": true}, "opt": {"choices": ["adam", "sgd"]}}'


def test_a_space() -> None:
    text = good("advise", "--space", SPACE, "--trials", "40", "--seconds", "90", "-j", "2", "--epochs", "20")
    lines = text.splitlines()
    assert lines[0].startswith("Method  gp: 2 parameters and few trials")
    assert lines[1] == "Trials  40: as you say."
    assert lines[2] == "Time    30.0 minutes, 2 at a time."
    assert lines[3].startswith("Stops   median: ")
    assert lines[-1] == 'create_study(sampler="auto", pruner="median", budget=40) does this.'


def test_a_model() -> None:
    found = json.loads(good("advise", "--model", "lenet5", "--format", "json"))
    assert found["methods"][0]["method"] == "gp"
    assert found["pruner"] == "median"  # ten epochs


def test_mistakes() -> None:
    assert "Say what is searched" in bad("advise")
    assert "--trials" in bad("advise", "--space", SPACE, "--trials", "0")
    assert "positive number" in bad("advise", "--space", SPACE, "--seconds", "-3")
    assert "hgih" in bad("advise", "--space", '{"lr": {"type": "float", "low": 0, "hgih": 1}}')
