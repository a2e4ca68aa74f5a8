"""Studies that Optuna 2 to 5 wrote (``files/make_optuna_files.py``), against what Optuna 5 itself reads in them."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tunesmith as ts
from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    NewerFormatError,
    NotALogError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.integrations import import_optuna

optuna = pytest.importorskip("optuna", minversion="5")
FILES = Path(__file__).parent / "files"
NAMES = ["plain", "order", "pareto", "cma", "added"]
DATABASES = ["optuna2.db", "optuna3.db", "optuna4.db", "optuna5.db"]
JOURNALS = ["optuna3.log", "optuna4.log", "optuna5.log"]


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone in which the files were made: Optuna before 5 wrote local times."""
    with zone("UTC", monkeypatch):
        yield


class zone:
    """A local time zone for a while."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._name, self._patch = name, monkeypatch

    def __enter__(self) -> None:
        self._patch.setenv("TZ", self._name)
        time.tzset()

    def __exit__(self, *error: object) -> None:
        self._patch.undo()
        time.tzset()


@pytest.fixture
def given(tmp_path: Path) -> Callable[[str], Path]:
    """Unpack one of the files."""

    def unpack(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.decompress((FILES / f"{name}.gz").read_bytes()))
        return path

    return unpack


def as_optuna_reads(path: Path, folder: Path) -> dict[str, Any]:
    """Name -> study, from a copy: Optuna writes to what it opens, and must upgrade what version 2 made."""
    copied = folder / f"copy-{path.name}"
    copied.write_bytes(path.read_bytes())
    if path.suffix == ".log":
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(copied)))
    else:
        url = f"sqlite:///{copied}"
        optuna.storages.RDBStorage(url, skip_compatibility_check=True).upgrade()
        storage = optuna.storages.RDBStorage(url)
    return {name: optuna.load_study(study_name=name, storage=storage) for name in NAMES}


def same(a: Any, b: Any) -> bool:
    """Equal, where NaN equals NaN and 1 is not 1.0 or True."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def is_place_of_its_own(key: str) -> bool:
    return key.partition(":")[0] == "constraints" or "cma:optimizer" in key


def compare(ours: ts.trial.FrozenTrial, theirs: Any) -> None:
    kept = {k: v for k, v in theirs.system_attrs.items() if not is_place_of_its_own(k)}
    assert ours.number == theirs.number
    assert same(ours.user_attrs, theirs.user_attrs)
    if theirs.state.name == "RUNNING":
        assert ours.state.name == "WAITING"
        assert ours.system_attrs["fixed_params"] == theirs.params
        assert ours.intermediate_values == {}
        return
    assert ours.state.name == theirs.state.name
    assert same(ours.values, theirs.values)
    assert same(list(ours.params.items()), list(theirs.params.items()))
    for name, distribution in theirs.distributions.items():
        written = ts.distributions.distribution_to_json(ours.distributions[name])
        assert json.loads(written) == json.loads(optuna.distributions.distribution_to_json(distribution))
    assert same(ours.intermediate_values, dict(sorted(theirs.intermediate_values.items())))
    assert (ours.datetime_start, ours.datetime_complete) == (theirs.datetime_start, theirs.datetime_complete)
    assert same(ours.system_attrs, kept)
    assert same(ours.constraints, theirs.constraints)


@pytest.mark.parametrize("name", [*DATABASES, *JOURNALS])
def test_every_field_is_as_optuna_reads_it(name: str, given: Any, tmp_path: Path) -> None:
    path = given(name)
    before = path.read_bytes()
    studies = {study.study_name: study for study in import_optuna(path)}
    assert list(studies) == NAMES
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]
    for found, theirs in as_optuna_reads(path, tmp_path).items():
        ours = studies[found]
        assert [d.name for d in ours.directions] == [d.name for d in theirs.directions]
        assert same(ours.user_attrs, theirs.user_attrs)
        assert ours.metric_names == theirs.metric_names
        assert len(ours.trials) == len(theirs.trials)
        for our_trial, their_trial in zip(ours.trials, theirs.trials, strict=True):
            compare(our_trial, their_trial)
        if len(theirs.directions) == 1 and found != "plain":  # there infinities are best
            assert ours.best_trial.number == theirs.best_trial.number
        by_end = sorted((t for t in theirs.trials if t.state.is_finished()), key=lambda t: t.datetime_complete)
        assert ours.history.number.tolist() == [t.number for t in by_end]


def test_the_files_hold_what_they_should(given: Any) -> None:
    """The comparison above is worth as much as what is in the files."""
    plain, order, pareto, cma, _ = import_optuna(given("optuna5.db"))
    states = {t.state.name for t in plain.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "WAITING"}
    assert {float("inf"), float("-inf")} <= {t.value for t in plain.trials}
    assert plain.trials[11].params["x"] == 99.0
    assert {repr(t.params["activation"]) for t in plain.trials if t.params} & {"True", "1.5", "None", "7"}
    assert order.history.number.tolist() == [3, 0, 1, 5]
    assert pareto.trials[0].constraints == {"size": -1.0, "time:max": -0.5}
    assert pareto.metric_names == ["error", "speed"]
    assert not any("optimizer" in key for t in cma.trials for key in t.system_attrs)
    assert sum("cma:generation" in t.system_attrs for t in cma.trials) > 0


def test_an_imported_study_goes_on(given: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ours.db'}"
    import_optuna(given("optuna4.log"), url, study_names="order", seed=3)
    study = ts.load_study(study_name="order", storage=url, sampler="tpe")
    seen = []
    study.optimize(lambda trial: seen.append((trial.number, trial.suggest_int("n", 0, 100))) or seen[-1][1], n_trials=4)
    waiting = {2, 4}
    theirs = as_optuna_reads(tmp_path / "optuna4.log", tmp_path)["order"]
    assert [number for number, _ in seen] == [2, 4, 6, 7]
    assert all(n == theirs.trials[number].params["n"] for number, n in seen if number in waiting)
    assert all(t.state.name == "COMPLETE" for t in study.trials)
    again = ts.load_study(study_name="order", storage=url)
    assert again.trials == study.trials


def test_running_trials_may_fail(given: Any) -> None:
    (study,) = import_optuna(given("optuna5.log"), study_names=["order"], running="fail")
    assert [t.number for t in study.trials if t.state.name == "FAIL"] == [2, 4]
    assert "RUNNING" in study.trials[2].system_attrs["fail_reason"]
    assert study.trials[2].params
    assert study.trials[2].intermediate_values == {1: 0.5}
    assert study.history.number.tolist() == [3, 0, 1, 5, 2, 4]


def test_naive_times_are_local_before_optuna_5(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def start(name: str) -> datetime:
        (study,) = import_optuna(given(name), study_names="added")
        found = study.trials[0].datetime_start
        assert found is not None
        return found

    files = ["optuna2.db", "optuna3.log", "optuna4.db", "optuna4.log", "optuna5.db", "optuna5.log"]
    in_utc = [start(name) for name in files]
    with zone("Asia/Tokyo", monkeypatch):
        hours = [(start(name) - before).total_seconds() / 3600 for name, before in zip(files, in_utc, strict=True)]
    assert hours == [0, 0, 0, 0, 9, 9]  # what the clock showed; the moment


def test_optuna_is_not_needed(given: Any, tmp_path: Path) -> None:
    """Nor anything else that could execute what is in the file."""
    script = (
        "import pickle, sys\n"
        "sys.modules['optuna'] = None\n"
        "from tunesmith.integrations import import_optuna\n"
        "pickle.loads = pickle.load = pickle.Unpickler = None\n"
        f"print([len(s.trials) for s in import_optuna({str(given('optuna3.db'))!r})])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[13, 6, 3, 9, 3]\n"


@pytest.mark.parametrize("name", ["optuna2.db", "optuna5.db", "optuna4.log"])
def test_who_opens_such_a_file_as_a_storage_is_told_of_the_import(name: str, given: Any, tmp_path: Path) -> None:
    path = given(name).rename(tmp_path / ("theirs.jsonl" if name.endswith("log") else "theirs.db"))
    before = path.read_bytes()
    with pytest.raises(NotALogError, match=r"made by Optuna: `tunesmith import-optuna`"):
        ts.create_study(storage=str(path) if path.suffix == ".jsonl" else f"sqlite:///{path}")
    assert path.read_bytes() == before


# -- names ---------------------------------------------------------------------------------------------------------


def test_names(given: Any, tmp_path: Path) -> None:
    path, url = given("optuna5.log"), f"sqlite:///{tmp_path / 'ours.db'}"
    (study,) = import_optuna(path, url, study_names="added", rename={"added": "new"})
    assert study.study_name == "new"
    import_optuna(path, url, study_names=["pareto", "added"])
    with pytest.raises(DuplicatedStudyError, match=r"'pareto' is already .* rename=\{'pareto': \.\.\.\}"):
        import_optuna(path, url)
    assert ts.get_all_study_names(url) == ["new", "pareto", "added"]  # all or none
    with pytest.raises(DuplicatedStudyError, match="'order'"):
        import_optuna(path, url, study_names=["plain", "order"], rename={"plain": "order"})
    with pytest.raises(StudyNotFoundError, match=r"'nothing'.*found: .*'plain'"):
        import_optuna(path, study_names=["plain", "nothing"])
    with pytest.raises(StudyNotFoundError, match="'gone'"):  # deleted with Optuna
        import_optuna(path, study_names=["gone"])
    with pytest.raises(InvalidValueError, match="`rename` names 'plane'"):
        import_optuna(path, rename={"plane": "a"})


@pytest.mark.parametrize("name", ["what?.db", "100%25.db", "a#b.db", "x?mode=ro.log", "a b.log"])
def test_any_name_of_a_file(name: str, given: Any) -> None:
    path = given("optuna4.db" if name.endswith("db") else "optuna4.log")
    assert [study.study_name for study in import_optuna(path.rename(path.with_name(name)))] == NAMES


def test_a_failure_leaves_nothing(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ts.storages.get_storage(None)
    append, calls = store.append, []

    def fails(study: str, events: Any) -> int:
        calls.append(study)
        if len(calls) == 4:  # the trials of the second study
            raise StorageInternalError("the disk is full")
        return append(study, events)

    monkeypatch.setattr(store, "append", fails)
    with pytest.raises(StorageInternalError, match="full"):
        import_optuna(given("optuna5.db"), store)
    assert store.studies() == []


# -- what cannot be imported ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "error", "message"),
    [
        (3, InvalidTypeError, "a path or a URL, but is 3"),
        ("missing.log", InvalidValueError, "no file 'missing.log'"),
        ("sqlite:///missing.db", InvalidValueError, "no file 'missing.db'"),
        ("sqlite://", InvalidValueError, "no file"),
        ("redis://localhost", InvalidValueError, "'redis' cannot be read.*copy_study"),
        ("postgresql+psycopg2://me:secret@localhost:1/optuna", StorageInternalError, r"me:\*\*\*@localhost"),
    ],
)
def test_impossible_sources(
    storage: Any, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as raised:
        import_optuna(storage)
    assert "secret" not in str(raised.value)
    assert os.listdir() == []


def test_impossible_arguments(given: Any) -> None:
    with pytest.raises(InvalidValueError, match="'wait' or 'fail', but is 'keep'"):
        import_optuna(given("optuna5.log"), running="keep")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="`study_names` must be names, but 3"):
        import_optuna(given("optuna5.log"), study_names=[3])  # type: ignore[list-item]
    with pytest.raises(InvalidValueError, match="`study_names` is empty"):
        import_optuna(given("optuna5.log"), study_names=[])


def test_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear diary,\nno studies today.\n")
    with pytest.raises(NotALogError, match=r"no journal of Optuna.*Dear diary"):
        import_optuna(text)
    text.write_text('{"json": "but no journal"}\n')
    with pytest.raises(NotALogError, match="no journal of Optuna"):
        import_optuna(text)
    text.write_bytes(b"")
    with pytest.raises(StudyNotFoundError, match="holds no study"):
        import_optuna(text)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE studies (id)")
    with pytest.raises(NotALogError, match="not one of Optuna: its tables are: studies"):
        import_optuna(other)
    with pytest.raises(NotALogError, match="not an SQLite database"):
        import_optuna(f"sqlite:///{tmp_path / 'notes.sql'}" if (tmp_path / "notes.sql").write_text("x" * 200) else "")
    ours = tmp_path / "ours.jsonl"
    ts.create_study(storage=str(ours))
    with pytest.raises(NotALogError, match="log of tunesmith itself"):
        import_optuna(ours)


def test_an_unknown_schema(given: Any) -> None:
    path = given("optuna5.db")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE trial_params RENAME COLUMN param_value TO number")
    with pytest.raises(NotALogError, match=r"no trial_params\.param_value.*optuna storage upgrade"):
        import_optuna(path)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement).rowcount


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE trials SET state = 'DONE' WHERE trial_id = 3", "trial 2 of the study 'plain'.*no state 'DONE'"),
        ("UPDATE trials SET datetime_start = 'noon' WHERE trial_id = 3", "trial 2 of the study 'plain'.*'noon'"),
        ("UPDATE trial_params SET param_value = 'much' WHERE param_id = 1", r"trial 0 .*\(trial_params\).*'much'"),
        ("UPDATE trial_params SET param_value = 1e999 WHERE param_id = 1", r"trial 0 .*\(trial_params\).*inf"),
        ("UPDATE trial_params SET param_value = 9 WHERE param_name = 'activation'", r"trial 0 .*\(trial_params\)"),
        ("UPDATE trial_params SET param_value = -1 WHERE param_name = 'activation'", r"trial 0 .*\(trial_params\)"),
        ("UPDATE trial_params SET distribution_json = '[1]'", r"trial 0 .*\(trial_params\)"),
        ('UPDATE trial_params SET distribution_json = \'{"name": "Normal", "attributes": {}}\'', "'Normal'"),
        ("UPDATE trial_user_attributes SET value_json = '{'", r"\(trial_user_attributes\).*JSONDecodeError"),
        ("UPDATE trial_intermediate_values SET step = -1 WHERE step = 3", "the step -1"),
        ("UPDATE trial_intermediate_values SET intermediate_value_type = 'ODD'", "'ODD'"),
        ("UPDATE study_directions SET direction = 'SIDEWAYS'", "the study 'plain'.*'SIDEWAYS'"),
        ("DELETE FROM study_directions", "the study 'plain'.*no direction"),
        ("UPDATE study_user_attributes SET value_json = NULL", "the study 'plain'"),
    ],
)
def test_contradictions_in_a_database(statement: str, message: str, given: Any) -> None:
    path = given("optuna5.db")
    change(path, statement)
    with pytest.raises(LogDamagedError, match=message):
        import_optuna(path)


def test_a_damaged_database(given: Any) -> None:
    path = given("optuna5.db")
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 20] = b"\xff" * (4096 * 17)
    path.write_bytes(data)
    with pytest.raises(StorageInternalError, match="Nothing was imported"):
        import_optuna(path)


def test_a_database_that_was_edited_by_hand(given: Any) -> None:
    """What users do with sqlite3: rows go, the rest stays usable."""
    path = given("optuna5.db")
    change(
        path,
        "DELETE FROM trials WHERE number = 1 AND study_id = (SELECT study_id FROM studies WHERE study_name = 'order')",
    )
    change(path, "DELETE FROM trial_values WHERE trial_id = 1")
    plain, order, *_ = import_optuna(path)
    assert [t.number for t in order.trials] == [0, 1, 2, 3, 4]
    assert [t.system_attrs.get("optuna:number") for t in order.trials] == [None, 2, 3, 4, 5]
    assert order.history.number.tolist() == [2, 0, 4]
    assert plain.trials[0].state.name == "FAIL"
    assert "without" in plain.trials[0].system_attrs["fail_reason"]


def test_damaged_journals(given: Any) -> None:
    path = given("optuna5.log")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + lines[-1][:-9])  # an append that was interrupted
    assert len(import_optuna(path)) == len(NAMES)
    path.write_bytes(b"".join([*lines[:40], lines[40][:20] + b"\n", *lines[41:]]))
    with pytest.raises(LogDamagedError, match="line 41 is not JSON") as raised:
        import_optuna(path)
    assert raised.value.line == 41
    for wrong, message in (
        (b'{"op_code":0}', "line 41 cannot be understood .*KeyError"),
        (b'{"op_code":"x"}', "line 41 cannot be understood .*'x'"),
        (b"[5]", "line 41 cannot be understood"),
        (b'{"op_code":6,"trial_id":0,"state":9,"values":null}', "line 41 .*no state 9"),
        (b"[" * 100_000 + b"]" * 100_000, "line 41"),
    ):
        path.write_bytes(b"".join([*lines[:40], wrong + b"\n", *lines[41:]]))
        with pytest.raises(LogDamagedError, match=message):
            import_optuna(path)
    path.write_bytes(b"".join([*lines[:40], b'{"op_code":77}\n', *lines[41:]]))
    with pytest.raises(NewerFormatError, match=r"operation 77 in line 41.*copy_study"):
        import_optuna(path)


def test_operations_that_lost_a_race(given: Any, tmp_path: Path) -> None:
    """Two workers wrote at once; Optuna's reader ignores the later ones."""
    path = given("optuna5.log")
    lines = path.read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if '"op_code":6' in line and '"trial_id":0,' in line)
    x = next(line for line in lines if '"param_name":"x"' in line and '"trial_id":0,' in line)
    new = sum('"op_code":4' in line for line in lines)  # the trial that the line but one makes
    late = [
        lines[0],  # the study exists
        lines[end].replace('"state":1', '"state":3'),  # it has ended
        x.replace("-5.0", "-9.0"),
        '{"op_code":7,"worker_id":"w","trial_id":0,"step":9,"intermediate_value":1.0}',
        '{"op_code":8,"worker_id":"w","trial_id":999,"user_attr":{"a":1}}',
        '{"op_code":4,"worker_id":"w","study_id":77,"datetime_start":"2026-01-01T00:00:00"}',
        '{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"2026-01-01T00:00:00"}',
        x.replace('"trial_id":0', f'"trial_id":{new}')
        .replace('\\"log\\": false', '\\"log\\": true')
        .replace("-5.0", "0.5"),
    ]
    path.write_text("\n".join([*lines, *late]) + "\n")
    theirs = as_optuna_reads(path, tmp_path)["plain"].trials
    (ours,) = import_optuna(path, study_names="plain")
    assert len(ours.trials) == len(theirs) == 14
    assert theirs[13].params == {}
    for our_trial, their_trial in zip(ours.trials[:13], theirs[:13], strict=True):
        compare(our_trial, their_trial)


@pytest.mark.parametrize("name", ["optuna5.log", "optuna5.db"])
def test_flipped_bytes_give_typed_errors(name: str, given: Any) -> None:
    path = given(name)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            import_optuna(path)
            outcomes["imported"] += 1
        except (StorageInternalError, StudyNotFoundError) as error:
            outcomes[type(error).__name__] += 1
    assert len(outcomes) > 1


# -- size ----------------------------------------------------------------------------------------------------------


def test_many_trials(tmp_path: Path) -> None:
    """10,000 trials of 5 parameters and 5 reports in seconds (the bound is ten times what it takes)."""
    path = tmp_path / "large.log"
    uniform = json.dumps(
        {"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0, "log": False, "step": None}}
    )
    now = datetime(2026, 1, 1).isoformat(timespec="microseconds")
    with path.open("w") as file:
        write = lambda **fields: file.write(json.dumps({"worker_id": "w", **fields}) + "\n")  # noqa: E731
        write(op_code=0, study_name="large", directions=[1])
        for n in range(10_000):
            write(op_code=4, study_id=0, datetime_start=now)
            for j in range(5):
                write(op_code=5, trial_id=n, param_name=f"p{j}", param_value_internal=n / 1e4, distribution=uniform)
                write(op_code=7, trial_id=n, step=j, intermediate_value=1.0 / (n + j + 1))
            write(op_code=6, trial_id=n, state=1, values=[n], datetime_complete=now)
    begun = time.perf_counter()
    (study,) = import_optuna(path, f"sqlite:///{tmp_path / 'ours.db'}")
    assert time.perf_counter() - begun < 20
    assert study.history.n == 10_000
    assert study.best_value == 0.0
