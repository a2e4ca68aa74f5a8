"""Searching from the shell: enqueue, ask, tell, create."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from cli.cli_helpers import bad, cli, good, process

import tunesmith
from tunesmith.distributions import FloatDistribution
from tunesmith.trial import TrialState

SPACE = '{"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": true}, "opt": {"choices": ["adam", "sgd"]}}'


def load(name: str, storage: str) -> Any:
    return tunesmith.load_study(study_name=name, storage=storage)


# -- create --------------------------------------------------------------------------------------------------------


def test_create_says_what_it_made(storage: str) -> None:
    text = good("create", "s", "-s", storage, "--seed", "3", "--sampler", "qmc(scramble=false)", "--space", SPACE,
                "--direction", "maximize", "--pruner", "nop", "--budget", "9")  # fmt: skip
    assert text == f"Created the study 's' in {storage} (seed 3).\n"
    study = load("s", storage)
    assert study.seed == 3
    assert study.direction.name == "MAXIMIZE"
    assert type(study.sampler).__name__ == "QMCSampler"
    assert study.sampler.scramble is False
    assert type(study.pruner).__name__ == "NopPruner"
    assert list(study.space) == ["lr", "opt"]
    assert study.history.budget == 9


def test_create_twice(storage: str) -> None:
    good("create", "s", "-s", storage, "-d", "minimize", "-d", "maximize")
    assert [d.name for d in load("s", storage).directions] == ["MINIMIZE", "MAXIMIZE"]
    assert "already in this storage" in bad("create", "s", "-s", storage)
    assert "exists already" in good("create", "s", "-s", storage, "--skip-if-exists")


def test_a_grid_from_the_shell_ends(storage: str) -> None:
    space = '{"x": {"type": "float", "low": 0, "high": 1}, "c": {"choices": [1, 2]}}'
    good("create", "g", "-s", storage, "--sampler", "grid", "--space", space, "--budget", "4")
    found = [json.loads(good("ask", "g", "-s", storage))["params"] for _ in range(4)]
    assert sorted((p["x"], p["c"]) for p in found) == [(0.0, 1), (0.0, 2), (1.0, 1), (1.0, 2)]
    assert "every configuration" in bad("ask", "g", "-s", storage, code=1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sampler", "randm"], "Unknown sampler 'randm'"),
        (["--sampler", "random,sobol"], "--sampler takes one method"),
        (["--sampler", "grid"], "add --space and --budget"),
        (["--sampler", "optuna:tpe"], "cannot be kept in a log"),
        (["--sampler", "qmc(scramle=true)"], "cannot be made with"),
        (["--pruner", "medain"], "Unknown pruner 'medain'"),
        (["--space", '{"lr": {"type": "float", "low": 2, "high": 1}}'], "space.lr: `low <= high` must hold"),
    ],
)
def test_create_refuses(args: list[str], message: str, tmp_path: Path) -> None:
    assert message in bad("create", "s", "-s", f"{tmp_path}/s.jsonl", *args)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "there is no folder" in bad("create", "s", "-s", f"{tmp_path}/no/s.jsonl")
    assert "there is no folder" in bad("create", "s", "-s", f"sqlite:///{tmp_path}/no/s.db")


# -- enqueue -------------------------------------------------------------------------------------------------------


def test_enqueue_single_parameters_and_json(filled: str) -> None:
    text = good("enqueue", "digits", "-s", filled, "--param", "lr=0.01", "-p", "opt=8", "-p", "n=3")
    assert text == "Enqueued: lr=0.01, opt='8', n=3\n2 trials are waiting in 'digits'.\n"
    good("enqueue", "digits", "-s", filled, "--params", '[{"lr": 1e-2, "opt": null}, {"n": 9}]')
    waiting = load("digits", filled).get_trials(states=[TrialState.WAITING])
    assert [t.system_attrs["fixed_params"] for t in waiting] == [
        {"lr": 0.06}, {"lr": 0.01, "opt": "8", "n": 3}, {"lr": 0.01, "opt": None}, {"n": 9},
    ]  # fmt: skip


def test_enqueue_from_a_file_and_only_once(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("lr: 2e-2\nopt: sgd\n")
    good("enqueue", "digits", "-s", filled, "--params", str(file))
    text = good("enqueue", "digits", "-s", filled, "--params", str(file), "--skip-if-exists")
    assert text == "There is such a trial already; nothing was enqueued.\n"
    assert load("digits", filled).trials[-1].number == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Give the configuration as --param lr=0.01"),
        (["-p", "lr=0.01", "--params", "{}"], "either as --params or as --param, not both"),
        (["-p", "lr"], "'lr' is no assignment"),
        (["-p", "ler=0.01"], "This study has no parameter 'ler'; known: lr, opt, n. Did you mean 'lr'?"),
        (["-p", "lr=3"], "3 is no value of 'lr': FloatDistribution(low=0.0001, high=0.1"),
        (["-p", "opt=adm"], "'adm' is no value of 'opt'"),
        (["-p", "n=2.5"], "2.5 is no value of 'n'"),
        (["--params", "{lr: [}"], "no valid YAML"),
        (["--params", "[]"], "empty list"),
        (["--params", "[3]"], "takes a mapping"),
        (["--params", "lr"], "--params takes JSON"),
    ],
)
def test_enqueue_refuses(args: list[str], message: str, filled: str) -> None:
    assert message in bad("enqueue", "digits", "-s", filled, *args)
    assert load("digits", filled).trials[-1].number == 6


def test_enqueue_with_force_and_into_a_study_that_knows_nothing(filled: str) -> None:
    good("enqueue", "digits", "-s", filled, "-p", "lr=3", "-p", "other=x", "--force")
    good("enqueue", "empty", "-s", filled, "-p", "whatever=1")
    assert load("digits", filled).trials[-1].system_attrs["fixed_params"] == {"lr": 3, "other": "x"}
    assert load("empty", filled).trials[-1].system_attrs["fixed_params"] == {"whatever": 1}


def test_what_the_shell_enqueues_comes_next_in_a_running_search(storage: str, tmp_path: Path) -> None:
    """A search in this process, an enqueue in another one: the next trials take it, in between those of the method."""
    study = tunesmith.create_study(study_name="s", storage=storage, seed=1)
    reached, go_on = threading.Event(), threading.Event()

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 2:
            reached.set()
            assert go_on.wait(60)
        return x

    search = threading.Thread(target=study.optimize, args=(objective, 6))
    search.start()
    assert reached.wait(60)
    found = process("enqueue", "s", "-s", storage, "--params", '[{"x": 0.25}, {"x": 0.75}]', cwd=tmp_path)
    go_on.set()
    search.join(60)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "2 trials are waiting in 's'."
    trials = load("s", storage).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert [t.params["x"] for t in trials[3:5]] == [0.25, 0.75]
    alone = tunesmith.create_study(seed=1)
    alone.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=6)
    for number in (0, 1, 2, 5):  # the method's own trials are what they would have been
        assert trials[number].params == alone.trials[number].params


# -- ask and tell --------------------------------------------------------------------------------------------------


def test_ask_and_tell(storage: str) -> None:
    good("create", "s", "-s", storage, "--space", SPACE, "--seed", "1")
    text = good("ask", "s", "-s", storage)
    assert text.count("\n") == 1
    asked = json.loads(text)
    assert asked["number"] == 0
    assert set(asked["params"]) == {"lr", "opt"}
    assert good("tell", "s", "-s", storage, "--number", "0", "--values", "-0.5") == "Trial 0 of 's': COMPLETE, -0.5\n"
    trial = load("s", storage).trials[0]
    assert (trial.params, trial.value) == (asked["params"], -0.5)
    json.loads(good("ask", "s", "-s", storage))
    assert good("tell", "s", "-s", storage, "-n", "1", "--state", "fail") == "Trial 1 of 's': FAIL\n"
    assert load("s", storage).trials[1].state is TrialState.FAIL


def test_asking_from_the_shell_and_from_python_is_the_same(storage: str) -> None:
    good("create", "s", "-s", storage, "--space", SPACE, "--seed", "5")
    shell = [json.loads(good("ask", "s", "-s", storage))["params"] for _ in range(3)]
    study = tunesmith.create_study(seed=5, space=load("s", storage).space)
    assert shell == [study.ask(study.space).params for _ in range(3)]


def test_ask_with_a_space_and_with_a_grown_one(storage: str) -> None:
    good("create", "s", "-s", storage)
    assert "add --space" in bad("ask", "s", "-s", storage)
    first = json.loads(good("ask", "s", "-s", storage, "--space", SPACE))
    second = json.loads(good("ask", "s", "-s", storage))
    assert list(first["params"]) == list(second["params"]) == ["lr", "opt"]


def test_ask_takes_what_is_enqueued_and_heeds_conditions(storage: str) -> None:
    space = (
        '{"parameters": {"layers": {"type": "int", "low": 1, "high": 2}, '
        '"width": {"type": "int", "low": 4, "high": 8}}, "conditions": {"width": "layers >= 2"}}'
    )
    good("create", "s", "-s", storage, "--space", space)
    good("enqueue", "s", "-s", storage, "-p", "layers=1")
    good("enqueue", "s", "-s", storage, "-p", "layers=2", "-p", "width=5")
    assert json.loads(good("ask", "s", "-s", storage))["params"] == {"layers": 1}
    assert json.loads(good("ask", "s", "-s", storage))["params"] == {"layers": 2, "width": 5}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["-n", "5"], 2, "Give the result"),
        (["-n", "99", "-v", "1"], 2, "Cannot tell trial 99: it has not been created"),
        (["-n", "0", "-v", "1"], 1, "it is COMPLETE already"),
        (["-n", "6", "-v", "1"], 2, "Cannot tell a WAITING trial"),
        (["-n", "5", "--state", "complete"], 2, "values are required"),
        (["-n", "5", "-v", "1", "--state", "pruned"], 2, "takes none"),
    ],
)
def test_tell_refuses(args: list[str], code: int, message: str, filled: str) -> None:
    assert message in bad("tell", "digits", "-s", filled, *args, code=code)


def test_tell_what_is_no_result_and_twice(filled: str) -> None:
    found = cli("tell", "digits", "-s", filled, "-n", "5", "-v", "nan")
    assert (found.exit_code, found.stdout) == (0, "Trial 5 of 'digits': FAIL\n")
    assert found.stderr.startswith("warning: Trial 5 is told as FAIL: The value nan is not acceptable.")
    again = good("tell", "digits", "-s", filled, "-n", "5", "-v", "1", "--skip-if-finished")
    assert again == "Trial 5 of 'digits': FAIL\n"
    study = load("two", filled)
    study.ask({"x": FloatDistribution(0, 1)})
    told = good("tell", "two", "-s", filled, "-n", "3", "-v", "1", "-v", "2")
    assert told == "Trial 3 of 'two': COMPLETE, 1.0, 2.0\n"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("digits", ["1", "2"], "The study 'digits' has 1 objective, so --values is given once, but got 2 values"),
        ("two", ["1"], "has 2 objectives (minimize, maximize), so --values is given 2 times, but got 1 value: [1.0]"),
    ],
)
def test_tell_with_another_number_of_values_leaves_the_trial_open(
    name: str, values: list[str], message: str, filled: str
) -> None:
    study = load(name, filled)
    number = study.ask({"x": FloatDistribution(0, 1)}).number
    study.storage.close()
    given = [part for value in values for part in ("--values", value)]
    assert message in bad("tell", name, "-s", filled, "--number", str(number), *given)
    assert load(name, filled).trials[number].state is TrialState.RUNNING


def test_create_with_options_of_a_stopping_rule(storage: str) -> None:
    good("create", "s", "-s", storage, "--pruner", "percentile(percentile=10, n_warmup_steps=2)")
    pruner = load("s", storage).pruner
    assert (pruner.percentile, pruner.n_warmup_steps) == (10, 2)  # type: ignore[attr-defined]
    assert "nonsense" in bad("create", "t", "-s", storage, "--pruner", "median(nonsense=1)")
    assert "known: " in bad("create", "t", "-s", storage, "--pruner", "mediam")
    text = bad("create", "t", "-s", storage, "--space", '{"lr": {"type": "float", "low": 1, "high": 2, "lgo": true}}')
    assert "Did you mean 'space.lr.log'?" in text
    assert "add --skip-if-exists" in bad("create", "s", "-s", storage)
