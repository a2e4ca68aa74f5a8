"""``tunesmith import-optuna``."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cli.cli_helpers import bad, cli, good

import tunesmith as ts

FILES = Path(__file__).parents[1] / "integrations" / "files"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("journal.log").write_bytes(gzip.decompress((FILES / "optuna4.log.gz").read_bytes()))
    return "journal.log"


def test_it_says_what_was_imported(journal: str) -> None:
    printed = good(
        "import-optuna", journal, "-s", "sqlite:///ours.db", "-n", "order", "-n", "added", "--rename", "added=b=c"
    )
    assert printed == "Imported 'order' (6 trials).\nImported 'b=c' (3 trials).\n"
    assert ts.get_all_study_names("sqlite:///ours.db") == ["order", "b=c"]
    assert "already in the storage" in bad("import-optuna", journal, "-s", "sqlite:///ours.db")
    assert "2 wait for another attempt" in cli("import-optuna", journal, "-s", "sqlite:///other.db").stderr


def test_running_trials_fail(journal: str) -> None:
    good("import-optuna", journal, "-s", "ours.jsonl", "-n", "order", "--running", "fail")
    states = [t.state.name for t in ts.load_study(study_name="order", storage="ours.jsonl").trials]
    assert states.count("FAIL") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.log", "-s", "sqlite:///ours.db"], "no file 'nothing.log'"),
        (["journal.log"], "No storage is named"),
        (["journal.log", "-s", "ours.db"], "sqlite:///ours.db"),
        (["journal.log", "-s", "sqlite:///ours.db", "--rename", "order"], "--rename takes OLD=NEW"),
        (["journal.log", "-s", "sqlite:///ours.db", "--running", "keep"], "--running takes wait or fail"),
        (["journal.log", "-s", "sqlite:///ours.db", "-n", "missing"], "no study 'missing'"),
    ],
)
def test_a_mistake_leaves_no_file(words: list[str], message: str, journal: str) -> None:
    assert message in bad("import-optuna", *words)
    assert [p.name for p in Path().iterdir()] == [journal]
