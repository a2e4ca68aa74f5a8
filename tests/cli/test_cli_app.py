"""The application as a whole: help, version, errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli.cli_helpers import bad, cli, good, process

import tunesmith
from tunesmith.cli import guard
from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    NotALogError,
    StorageInternalError,
    StudyNotFoundError,
    TunesmithError,
    UpdateFinishedTrialError,
)

COMMANDS = (
    "compare", "advise", "studies", "show", "best", "trials", "log", "watch", "export", "create", "enqueue", "ask",
    "tell", "copy", "import", "import-optuna", "delete", "model", "names",
)  # fmt: skip


def test_version() -> None:
    assert good("--version") == f"tunesmith {tunesmith.__version__}\n"


def test_help_fits_into_80_columns_and_cuts_nothing_off() -> None:
    text = good("--help", env={"COLUMNS": "80"})
    assert max(map(len, text.splitlines())) <= 80
    assert [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines()] == list(COMMANDS)
    assert "..." not in text.partition("Commands:\n")[2].replace("data sets, models, ...", "")
    for command in COMMANDS:
        text = good(command, "-h", env={"COLUMNS": "80"})
        assert max(map(len, text.splitlines())) <= 80
        assert f" {command} [OPTIONS]" in text.splitlines()[0]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tunesmith.cli.app import app\n"
        "try:\n    app(['show', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'plotly', 'sklearn', 'sqlalchemy', 'numpy', 'scipy', 'rich.console'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "No such command 'nonsense'. See `tunesmith --help`."),
        ("show --nonsense", "No such option: --nonsense. See `tunesmith show --help`."),
        ("trials -f xml", "--format takes table, csv or json, not 'xml'."),
        ("trials --limit few", "--limit takes an integer of at least 0, not 'few'."),
        ("tell x", "Missing option '--number' / '-n'. See `tunesmith tell --help`."),
        ("tell x --number 0 --state done", "--state takes complete, pruned or fail, not 'done'."),
        ("enqueue", "Missing argument 'NAME'. See `tunesmith enqueue --help`."),
    ],
)
def test_unknown_words_are_usage_errors(line: str, message: str) -> None:
    """One line that says what is wrong and where the help is."""
    found = cli(*line.split())
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidValueError("x"), 2), (InvalidTypeError("x"), 2), (StudyNotFoundError("x"), 2),
        (DuplicatedStudyError("x"), 2), (NotALogError("x"), 2), (StorageInternalError("x"), 1),
        (MissingDependencyError("x"), 1), (UpdateFinishedTrialError("x"), 1), (TunesmithError("x"), 1),
        (PermissionError("x"), 1),
    ],
)  # fmt: skip
def test_exit_codes(error: Exception, code: int) -> None:
    assert guard.exit_code(error) == code


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    missing = f"{tmp_path}/none.jsonl"
    assert "Traceback" not in process("show", "x", "-s", missing, cwd=tmp_path).stderr
    for args in (["--debug", "show", "x", "-s", missing], ["show", "x", "-s", missing, "--debug"]):
        found = process(*args, cwd=tmp_path)
        assert "Traceback" in found.stderr
        assert "CLIUsageError: There is no file" in found.stderr
        assert found.returncode == 1
    found = process("show", "x", "-s", missing, cwd=tmp_path, env={"TUNESMITH_DEBUG": "1"})
    assert "Traceback" in found.stderr


def test_after_two_dashes_debug_is_a_name(tmp_path: Path) -> None:
    tunesmith.create_study(study_name="--debug", storage=f"{tmp_path}/s.jsonl")
    assert good("show", "-s", f"{tmp_path}/s.jsonl", "--", "--debug").startswith("Study --debug\n")


def test_interrupting_is_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunesmith.study.get_all_study_summaries", interrupted)
    tunesmith.create_study(study_name="s", storage=f"{tmp_path}/s.jsonl")
    found = cli("studies", f"{tmp_path}/s.jsonl")
    assert (found.exit_code, found.stderr) == (130, "\nInterrupted.\n")


def test_errors_of_files_are_messages_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunesmith.study.get_all_study_summaries", full)
    tunesmith.create_study(study_name="s", storage=f"{tmp_path}/s.jsonl")
    assert "No space left on device" in bad("studies", f"{tmp_path}/s.jsonl", code=1)


# -- names and networks --------------------------------------------------------------------------------------------


def test_names_lists_what_is_there() -> None:
    text = good("names", env={"COLUMNS": "80"})
    for name in ("random", "sobol", "median", "fashion-mnist-small", "cifar10", "lenet5", "cnn", "small"):
        assert f"\n  {name}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_layers_of_a_network() -> None:
    text = good("model", "lenet5", "--input", "3x32x32")
    assert text.startswith("lenet5 for images of 3x32x32 and 10 classes\n")
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert lines["C1"] == ["Conv2d", "6x28x28", "456"]
    assert lines["output"] == ["Linear", "10", "850"]
    assert "Parameters: 62,006 (62,006 trainable)" in text
    cnn = good("model", "cnn", "--input", "3x32x32", "--format", "json")
    assert '"parameters": 10790,' in cnn


def test_a_network_for_a_data_set_and_with_hyperparameters() -> None:
    assert "1x28x28 and 10 classes" in good("model", "lenet5", "--data", "fashion-mnist-small")
    assert "304" in good("model", "cnn", "--input", "3x32x32", "-p", "filters_1=4")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lenet6"], "Unknown model 'lenet6'; known: cnn, lenet5, mlp, rnn. Did you mean 'lenet5'?"),
        (["lenet5", "--data", "mnst"], "Unknown data set 'mnst'"),
        (["lenet5", "--data", "digits", "--input", "1x8x8"], "not both"),
        (["lenet5", "--input", "3x32"], "channels x height x width"),
        (["lenet5", "--input", "0x32x32"], "channels x height x width"),
        (["lenet5", "--input", "3x64x64"], "up to 32x32"),
        (["lenet5", "--input", "1x28x28", "-p", "filters=3"], "filters"),
    ],
)
def test_networks_that_are_impossible(args: list[str], message: str) -> None:
    assert message in bad("model", *args)
