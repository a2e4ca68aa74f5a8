"""``log``, ``export`` of a whole study and ``import``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cli.cli_helpers import bad, good

import tunesmith
from tunesmith.storages import get_storage


@pytest.fixture
def storage(tmp_path: Path) -> str:
    place = f"sqlite:///{tmp_path}/a.db"
    with get_storage(place) as store:
        study = tunesmith.create_study(study_name="s", storage=store, seed=1, sampler="random")
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=4)
        study.edit_trial(0, values=-1.0, reason="typed wrongly")
        study.delete_trial(2)
    return place


def test_log(storage: str) -> None:
    lines = good("log", "s", "-s", storage).splitlines()
    assert "the study was made: minimize, seed 1" in lines[0]
    assert "trial 0 was edited to COMPLETE, -1.0: typed wrongly (before: COMPLETE, 0." in lines[-2]
    assert "trial 2 was deleted  [" in lines[-1]
    assert good("log", "s", "-s", storage, "--last", "2").splitlines() == lines[-2:]
    about = good("log", "s", "-s", storage, "--trial", "2").splitlines()
    assert [line for line in lines if "trial 2 " in line] == about
    entries = json.loads(good("log", "s", "-s", storage, "-f", "json"))
    assert len(entries) == len(lines)
    assert entries[-1]["kind"] == "delete"
    assert entries[-1]["time"].endswith("Z")


def test_export_and_import(storage: str, tmp_path: Path) -> None:
    file, other = tmp_path / "s.study", f"{tmp_path}/b.jsonl"
    assert "Wrote the study 's' (11 records)" in good("export", "-s", storage, "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "add --overwrite" in bad("export", "s", "-s", storage, "-o", str(file))
    good("export", "s", "-s", storage, "-o", str(file), "--overwrite", "--hosts")
    assert '"host"' in file.read_text()
    assert f"Imported the study 's' (3 trials) into {other}." in good("import", str(file), "-s", other)
    assert good("trials", "s", "-s", other, "-f", "csv") == good("trials", "s", "-s", storage, "-f", "csv")
    assert "use another name" in bad("import", str(file), "-s", other)
    good("import", str(file), "-s", other, "--name", "t")
    assert [s["name"] for s in json.loads(good("studies", other, "-f", "json"))] == ["s", "t"]


def test_what_is_refused(storage: str, tmp_path: Path) -> None:
    file = tmp_path / "s.study"
    assert "-o NAME.study" in bad("export", "s", "-s", storage, "-o", "-", "-f", "study")
    assert "--states" in bad("export", "s", "-s", storage, "-o", str(file), "--states", "complete")
    assert "--hosts" in bad("export", "s", "-s", storage, "-o", str(tmp_path / "s.csv"), "--hosts")
    assert "no file" in bad("import", str(file), "-s", storage)
    good("export", "s", "-s", storage, "-o", str(file))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:4], lines[4].replace("t", "T", 1), *lines[5:]]))
    assert "Line 5 of" in bad("import", str(file), "-s", storage, "--name", "new", code=1)
    assert "new" not in good("studies", storage)
    file.write_text("something else")
    assert "not a study that tunesmith has exported" in bad("import", str(file), "-s", storage)
