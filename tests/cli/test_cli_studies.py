"""Looking at studies, and moving them about."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.cli_helpers import COMMAND, bad, cli, environment, good, process, terminal

import tunesmith
from tunesmith.cli import inputs
from tunesmith.storages import get_storage


def strict(text: str) -> Any:
    """JSON in the strict sense: NaN and Infinity are errors."""

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def records(storage: str) -> dict[str, list[Any]]:
    """Everything a storage holds."""
    with get_storage(storage) as store:
        return {record.name: store.read(record.id) for record in store.studies()}


# -- studies -------------------------------------------------------------------------------------------------------


def test_studies_lists_every_study(filled: str) -> None:
    lines = good("studies", filled).splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("─")] == ["study", "digits", "two", "empty"]
    header, digits = lines[0].split(), lines[2].split()
    assert digits[header.index("trials")] == "7"
    assert digits[header.index("complete")] == "3"
    assert "0.125" in digits
    entries = strict(good("studies", "--storage", filled, "--format", "json"))
    assert entries[0]["states"] == {"RUNNING": 1, "COMPLETE": 3, "PRUNED": 1, "FAIL": 1, "WAITING": 1}
    assert entries[0]["best_value"] == 0.125
    assert entries[1]["directions"] == ["minimize", "maximize"]
    assert entries[2]["last_activity"] is None


def test_studies_of_an_empty_storage_and_from_the_environment(storage: str) -> None:
    with get_storage(storage):
        pass
    assert good("studies", env={"TUNESMITH_STORAGE": storage}) == "There are no studies in this storage.\n"
    assert good("studies", "-f", "json", env={"TUNESMITH_STORAGE": storage}) == "[]\n"


# -- show ----------------------------------------------------------------------------------------------------------


def test_show_has_the_statistics(filled: str) -> None:
    text = good("show", "digits", "--storage", filled)
    found = {}
    for line in text.splitlines():
        name, _, value = line.strip().rpartition(" ")
        found.setdefault(name.strip(), value)
    wanted = {"finished": 5, "complete": 3, "pruned": 1, "failed": 1, "running": 1, "waiting": 1, "paused": 0}
    wanted["seed"] = 7
    assert {name: found[name] for name in wanted} == {name: str(n) for name, n in wanted.items()}
    assert found["Trials:"] == "7"
    assert found["sampler"] == "TPESampler"
    assert "Best: trial 2, value 0.125\n  lr   0.03\n  opt  None\n  n    5\n" in text


def test_show_as_json_is_strict(filled: str) -> None:
    found = strict(good("show", "digits", "-s", filled, "-f", "json", "--last", "3"))
    assert (found["finished"], found["complete"], found["fail"], found["paused"]) == (5, 3, 1, 0)
    assert found["best"] == [{"number": 2, "values": [0.125], "params": {"lr": 0.03, "opt": None, "n": 5}}]
    assert [t["number"] for t in found["last_trials"]] == [4, 5, 6]
    assert found["last_trials"][0]["value"] == "inf"
    assert found["last_trials"][0]["user_attrs"]["note"] == [1, "nan"]


def test_show_of_several_objectives_and_of_nothing(filled: str) -> None:
    assert "Best: 2 trials that no other one beats in every objective" in good("show", "two", "-s", filled)
    text = good("show", "empty", "-s", filled)
    assert "Best: no trial is complete yet." in text
    assert "none yet" in text


def test_show_gives_the_reason_of_a_failure(storage: str) -> None:
    study = tunesmith.create_study(study_name="f", storage=storage)

    def fails(trial: Any) -> float:
        raise ValueError("too\x1b[31m hot\nhere")

    study.optimize(fails, n_trials=1, catch=(ValueError,))
    text = good("show", "f", "-s", storage)
    assert "Trial 0 failed: ValueError: too\ufffd[31m hot here" in text
    assert "\x1b" not in text


def test_looking_changes_nothing(filled: str) -> None:
    before = records(filled)
    for line in ("studies", "show digits", "best digits", "trials digits", "export digits -o - -f csv", "show nope"):
        cli(*line.split(), "--storage", filled)
    assert records(filled) == before


@pytest.mark.parametrize(
    "command",
    [
        "studies", "show x", "best x", "trials x", "enqueue x -p a=1", "ask x", "tell x -n 0 -v 1", "delete x --yes",
        "copy x --to-name y", "export x -o x.csv",
    ],
)  # fmt: skip
def test_a_typing_error_makes_no_file(command: str, storage: str, tmp_path: Path) -> None:
    message = bad(*command.split(), "--storage", storage)
    assert message.startswith("There is no file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("", "No storage is named"),
        ("sqlite://", "a database in memory"),
        ("study.db", "A database is written sqlite:///study.db"),
        ("redis://localhost/x", "is of a kind that is not supported"),
    ],
)
def test_storages_that_are_none(storage: str, message: str) -> None:
    assert message in bad("show", "x", "--storage", storage)
    assert message in bad("studies", storage)


def test_files_that_are_no_storage(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.db"):
        file = tmp_path / name
        file.write_text("this is something else\n" * 20)
        before = file.read_bytes()
        bad("studies", str(file) if name.endswith("jsonl") else f"sqlite:///{file}")
        assert file.read_bytes() == before


def test_names_that_are_not_there(filled: str) -> None:
    message = bad("show", "nope", "-s", filled)
    assert message == "There is no study 'nope' in this storage; it holds: 'digits', 'two', 'empty'."
    assert "holds 3 studies ('digits', 'two', 'empty'); name one of them" in bad("show", "-s", filled)
    good("delete", "two", "--yes", "-s", filled)
    good("delete", "empty", "--yes", "-s", filled)
    assert good("show", "-s", filled).startswith("Study digits\n")


# -- best ----------------------------------------------------------------------------------------------------------


def test_best_in_three_formats(filled: str) -> None:
    assert good("best", "digits", "-s", filled) == "Trial 2: value 0.125\n  lr   0.03\n  opt  None\n  n    5\n"
    params = {"lr": 0.03, "opt": None, "n": 5}
    assert strict(good("best", "digits", "-s", filled, "-f", "json")) == params
    assert yaml.safe_load(good("best", "digits", "-s", filled, "-f", "yaml")) == params


def test_best_of_several_objectives_and_of_nothing(filled: str) -> None:
    front = strict(good("best", "two", "-s", filled, "-f", "json"))
    assert len(front) == 2
    assert len(good("best", "two", "-s", filled).splitlines()) == 4
    assert "no complete trial yet" in bad("best", "empty", "-s", filled)


# -- trials and export ---------------------------------------------------------------------------------------------


def test_trials_as_a_table(filled: str) -> None:
    lines = good("trials", "digits", "-s", filled).splitlines()
    assert len(lines) == 9
    assert [line.split()[:2] for line in lines[2:]] == [
        ["0", "complete"], ["1", "pruned"], ["2", "complete"], ["3", "failed"], ["4", "complete"], ["5", "running"],
        ["6", "waiting"],
    ]  # fmt: skip
    assert [line for line in lines if "*" in line] == [lines[4]]
    assert good("trials", "empty", "-s", filled) == "No trials.\n"
    assert good("trials", "digits", "-s", filled, "--states", "paused") == "No such trials.\n"


def test_a_waiting_trial_shows_what_was_enqueued(filled: str) -> None:
    waiting = good("trials", "digits", "-s", filled).splitlines()[-1]
    assert waiting.split()[:4] == ["6", "waiting", "-", "0.06"]


def test_piped_lines_end_where_their_text_ends(filled: str) -> None:
    for command in (["studies"], ["show", "digits"], ["best", "two"], ["trials", "digits"], ["names"]):
        given = ["-s", filled] if command != ["names"] else []
        assert [line for line in good(*command, *given).splitlines() if line != line.rstrip()] == []


def test_a_narrow_terminal_says_what_it_leaves_out(filled: str) -> None:
    text = good("trials", "digits", "-s", filled, env={"COLUMNS": "30"})
    assert max(map(len, text.splitlines()[:-1])) <= 30
    assert "Too narrow here for:" in text
    assert "--format csv" in text


def test_states_and_limit(filled: str) -> None:
    found = strict(good("trials", "digits", "-s", filled, "-f", "json", "--states", "complete,FAILED"))
    assert [t["number"] for t in found] == [0, 2, 3, 4]
    found = strict(good("trials", "digits", "-s", filled, "-f", "json", "--states", "complete", "--limit", "2"))
    assert [t["number"] for t in found] == [2, 4]
    assert strict(good("trials", "digits", "-s", filled, "-f", "json", "--limit", "0")) == []
    assert "Unknown state 'complet'" in bad("trials", "digits", "-s", filled, "--states", "complet")


def test_csv_reads_back(filled: str) -> None:
    rows = list(csv.DictReader(io.StringIO(good("trials", "digits", "-s", filled, "-f", "csv"))))
    assert len(rows) == 7
    assert list(rows[0])[:6] == ["number", "state", "value", "params_lr", "params_opt", "params_n"]
    assert float(rows[2]["value"]) == 0.125
    assert [r["value"] for r in rows[3:6]] == ["", "inf", ""]
    assert [r["params_opt"] for r in rows[:4]] == ["adam", "8", "null", "sgd"]
    assert rows[0]["user_attrs_text"] == 'a,"b"\nc'
    assert json.loads(rows[0]["user_attrs_note"]) == [1, "nan"]
    two = list(csv.DictReader(io.StringIO(good("trials", "two", "-s", filled, "-f", "csv"))))
    assert [(r["values_0"], r["values_1"]) for r in two] == [("1.0", "5.0"), ("2.0", "6.0"), ("3.0", "4.0")]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "md"])
def test_export_writes_every_format(ending: str, filled: str, tmp_path: Path) -> None:
    target = tmp_path / f"out.{ending}"
    assert f"Wrote 7 trials of 'digits' to {target}" in good("export", "digits", "-s", filled, "--out", str(target))
    text = target.read_text()
    if ending == "csv":
        assert text == good("trials", "digits", "-s", filled, "-f", "csv")
    elif ending == "json":
        assert [t["number"] for t in strict(text)] == list(range(7))
    elif ending == "jsonl":
        found = [strict(line) for line in text.splitlines()]
        assert found[2]["params"] == {"lr": 0.03, "opt": None, "n": 5}
        assert found[4]["values"] == ["inf"]
        assert found[0]["datetime_start"].endswith("Z")
    else:
        assert text.startswith("### Study digits: 7 trials\n")
        assert "| **0.125** \\* |" in text.replace("0.1250", "0.125")
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


def test_export_never_overwrites_unasked(filled: str, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("mine")
    assert "add --overwrite" in bad("export", "digits", "-s", filled, "-o", str(target))
    assert target.read_text() == "mine"
    good("export", "digits", "-s", filled, "-o", str(target), "--overwrite", "--states", "complete")
    assert len(list(csv.DictReader(io.StringIO(target.read_text())))) == 3
    own = inputs.storage_path(filled)
    assert own is not None
    before = own.read_bytes()
    message = bad("export", "digits", "-s", filled, "-o", str(own), "--overwrite", "-f", "jsonl")
    assert "is the storage itself" in message
    assert own.read_bytes() == before
    assert "The format of 'out.xlsx' is not clear" in bad("export", "digits", "-s", filled, "-o", "out.xlsx")
    assert "is a folder" in bad("export", "digits", "-s", filled, "-o", str(tmp_path), "-f", "csv")
    assert "Create it (mkdir -p)" in bad("export", "digits", "-s", filled, "-o", str(tmp_path / "no" / "out.csv"))


def test_metric_names_and_metrics_are_columns(storage: str) -> None:
    study = tunesmith.create_study(study_name="m", storage=storage, seed=1)
    study.set_metric_names(["loss"])

    def objective(trial: Any) -> Any:
        x = trial.suggest_float("x", 0, 1)
        for epoch in range(2):
            yield {"loss": x + epoch, "accuracy": 1 - x - epoch}

    study.optimize(objective, n_trials=2)
    rows = list(csv.DictReader(io.StringIO(good("trials", "m", "-s", storage, "-f", "csv"))))
    assert float(rows[0]["value_loss"]) == float(rows[0]["params_x"]) + 1
    assert float(rows[0]["metrics_accuracy"]) == pytest.approx(-float(rows[0]["params_x"]))
    assert good("trials", "m", "-s", storage).split()[:5] == ["#", "state", "loss", "x", "accuracy"]


# -- delete and copy -----------------------------------------------------------------------------------------------


def test_delete_asks(filled: str, tmp_path: Path) -> None:
    assert "nobody can be asked here" in bad("delete", "digits", "-s", filled)
    code, sent = terminal("delete", "digits", "-s", filled, cwd=tmp_path, answer=("[y/N]", "n\n"))
    assert code == 1
    assert "Delete the study 'digits' with its 7 trials?" in sent
    assert "digits" in records(filled)
    code, sent = terminal("delete", "digits", "-s", filled, cwd=tmp_path, answer=("[y/N]", "y\n"))
    assert code == 0
    assert "digits" not in records(filled)
    assert "Deleted the study 'two' (3 trials)." in good("delete", "two", "--yes", "-s", filled)
    bad("delete", "two", "--yes", "-s", filled)


def test_a_study_without_content_can_be_deleted(storage: str) -> None:
    with get_storage(storage) as store:
        store.create("half")
    assert "its creator died" in bad("show", "half", "-s", storage)
    good("delete", "half", "--yes", "-s", storage)
    assert records(storage) == {}


def copied(log: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The log of a copy without the event that says that it is one."""
    assert log[0][0]["e"] == "import"
    return [log[0][1:], *log[1:]]


def test_copy_between_storages_and_names(filled: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db" if filled.endswith("jsonl") else f"{tmp_path}/other.jsonl"
    good("copy", "digits", "-s", filled, "--to-storage", other)
    assert copied(records(other)["digits"]) == records(filled)["digits"]
    good("copy", "digits", "-s", filled, "--to-name", "again")
    assert copied(records(filled)["again"]) == records(filled)["digits"]
    assert "name the copy with --to-name" in bad("copy", "digits", "-s", filled, "--to-name", "again")
    assert "Say where to" in bad("copy", "digits", "-s", filled)
    bad("copy", "nope", "-s", filled, "--to-storage", f"{tmp_path}/third.jsonl")
    assert not (tmp_path / "third.jsonl").exists()


# -- output --------------------------------------------------------------------------------------------------------


def test_piped_output_is_plain_and_a_broken_pipe_quiet(tmp_path: Path) -> None:
    storage = f"{tmp_path}/s.jsonl"
    study = tunesmith.create_study(study_name="long", storage=storage, seed=1)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=300)
    found = process("show", "long", "-s", storage, cwd=tmp_path, env={"TERM": "xterm-256color"})
    assert found.returncode == 0
    assert "\x1b" not in found.stdout + found.stderr
    for kind in ("csv", "table", "json"):
        reader = subprocess.Popen(
            [*COMMAND, "trials", "long", "-s", storage, "-f", kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(), cwd=tmp_path,
        )  # fmt: skip
        assert reader.stdout is not None
        reader.stdout.close()  # before it writes anything: how much a pipe holds differs from system to system
        assert reader.communicate(timeout=30)[1] == b""
        assert reader.returncode == 1


def test_colours_on_a_terminal_unless_unwanted(tmp_path: Path) -> None:
    storage = f"{tmp_path}/s.jsonl"
    study = tunesmith.create_study(study_name="s", storage=storage, seed=1)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=3)
    code, sent = terminal("trials", "-s", storage, cwd=tmp_path)
    assert (code, "\x1b[" in sent) == (0, True)
    code, sent = terminal("trials", "-s", storage, cwd=tmp_path, NO_COLOR="1")
    assert (code, "\x1b" in sent) == (0, False)


def test_hostile_names_cannot_steer_the_terminal(storage: str) -> None:
    name = "a\x1b]0;owned\x07\x9b31m\u202eb"
    study = tunesmith.create_study(study_name=name, storage=storage)
    study.add_trial(tunesmith.create_trial(value=1.0, params={"x\x1b": "\x1b[2J"}, distributions={
        "x\x1b": tunesmith.Categorical(["\x1b[2J"])}))  # fmt: skip
    for args in (["studies"], ["show"], ["best"], ["trials"], ["show", "-f", "json"], ["best", "-f", "yaml"]):
        text = good(*args, "--storage", storage)
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert "\x07" not in text
    assert strict(good("show", "-f", "json", "-s", storage))["name"] == name


def test_text_that_is_no_unicode_can_be_looked_at_and_exported(tmp_path: Path) -> None:
    storage = f"{tmp_path}/s.jsonl"
    study = tunesmith.create_study(study_name="é", storage=storage)
    text = "é\ud800"
    study.add_trial(tunesmith.create_trial(value=1.0, user_attrs={"fail_reason": text}))
    for kind in ("csv", "json", "jsonl", "md"):
        good("export", "-s", storage, "-o", f"{tmp_path}/out.{kind}")
    assert strict((tmp_path / "out.json").read_text())[0]["user_attrs"]["fail_reason"] == text
    assert "é\\ud800" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    for args, encoding in ((["show"], "ascii"), (["show"], "utf-8"), (["trials", "-f", "json"], "ascii")):
        found = process(*args, "-s", storage, cwd=tmp_path, env={"PYTHONIOENCODING": encoding})
        assert (found.returncode, found.stderr) == (0, "")
    assert strict(found.stdout)[0]["user_attrs"]["fail_reason"] == text
