"""Studies as files: what comes back, what is refused, and what is never left behind."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place

import tunesmith
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
from tunesmith.storages import BaseStorage, InMemoryStorage
from tunesmith.study._transfer import _line
from tunesmith.testing.studies import check_reload, check_same_history, check_same_trials
from tunesmith.trial import Trial, TrialState


def objective(trial: Trial) -> float:
    x = trial.suggest_float("x", 1e-3, 1, log=True)
    trial.report(x, 1)
    trial.set_user_attr("naïve", [1, "ü\ud800", float("nan")])
    return x + len(trial.suggest_categorical("c", ["a", "bb"]))


def searched(store: BaseStorage, n: int = 6) -> tunesmith.Study:
    study = tunesmith.create_study(study_name="s", storage=store, sampler="pso", seed=1)
    study.optimize(objective, n_trials=n)
    study.edit_trial(1, values=9.0, reason="wrong")
    study.delete_trial(2)
    return study


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s.study"


@pytest.fixture
def exported(file: Path) -> Path:
    tunesmith.export_study(study_name="s", storage=searched(InMemoryStorage()).storage, path=file)
    return file


def test_a_compact_copy_lacks_void_claims_alone(place: Place) -> None:
    """What came too late is left out; positions, which proposals refer to, stay."""
    study = searched(place.open())
    log = study._log
    claim = {"e": "ask", "n": 0, "k": "late.1", "t": 5, "at": 1, "a": 0, "p": [0.5], "s": "0"}
    assert log.append([claim]) == [False]
    assert log.append([{"e": "up", "n": 0, "k": "late.1", "t": 6, "r": [[1, 0.5]]}, claim]) == [False, False]
    study.optimize(objective, n_trials=3)
    whole, compact = InMemoryStorage(), InMemoryStorage()
    for target, leave_out in ((whole, False), (compact, True)):
        tunesmith.copy_study(from_study_name="s", from_storage=study.storage, to_storage=target, compact=leave_out)
    ((one,), (other,)) = (target.studies() for target in (whole, compact))
    records, fewer = whole.read(one.id), compact.read(other.id)
    left_out = [
        (position, event)
        for position, (record, kept) in enumerate(zip(records, fewer, strict=True), 1)
        for event in record
        if event not in kept and event["e"] != "import"
    ]
    assert [event for _, event in left_out] == [claim, claim]
    copy = tunesmith.load_study(study_name="s", storage=compact)
    check_same_trials(study.trials, copy.trials)
    check_same_history(study.history, copy.history)
    assert copy.replay() == study.replay()
    assert len(copy.replay().same) >= 8


class TestRoundTrip:
    def test_everything_comes_back(self, place: Place, file: Path) -> None:
        study = searched(place.open())
        n = tunesmith.export_study(study_name="s", storage=place.open(), path=file)
        assert n == study._log.position == len(file.read_text().splitlines()) - 1
        copy = tunesmith.import_study(path=file, storage=place.open(), study_name="again")
        assert copy.study_name == "again"
        check_same_trials(copy.trials, study.trials)
        check_same_history(copy.history, study.history)
        assert [e.text for e in copy.events()][1:] == [e.text for e in study.events() if e.kind != "worker"]
        for position in range(1, n + 1):
            check_same_trials(copy.at(position).trials, study.at(position).trials)
        check_reload(copy)

    def test_it_goes_on_as_the_original(self, place: Place, file: Path) -> None:
        study = searched(place.open())
        tunesmith.export_study(study_name="s", storage=place.open(), path=file)
        copy = tunesmith.import_study(path=file, storage=None)
        for one in (study, copy):
            one.optimize(objective, n_trials=6)
        assert [(t.params, t.values) for t in copy.trials] == [(t.params, t.values) for t in study.trials]

    def test_a_copy_of_a_copy(self, file: Path, exported: Path) -> None:
        one = tunesmith.import_study(path=exported, storage=None)
        tunesmith.export_study(study_name="s", storage=one.storage, path=file, overwrite=True)
        two = tunesmith.import_study(path=file, storage=None)
        tunesmith.copy_study(from_study_name="s", from_storage=two.storage, to_storage=two.storage, to_study_name="3")
        three = tunesmith.load_study(study_name="3", storage=two.storage)
        check_same_trials(three.trials, one.trials)
        assert [e.kind for e in three.events()].count("import") == 1
        assert three._log.position == one._log.position

    def test_running_trials_wait_for_another_attempt(self, place: Place, file: Path) -> None:
        study = searched(place.open())

        def stuck(trial: Trial) -> Iterator[float]:
            yield trial.suggest_float("x", 1e-3, 1, log=True)
            tunesmith.export_study(study_name="s", storage=study.storage, path=file)

        study.optimize(stuck, n_trials=1)
        copy = tunesmith.import_study(path=file, storage=None)
        (waiting,) = copy.get_trials(states=(TrialState.WAITING,))
        copy.optimize(objective, n_trials=1)
        assert copy.trials[-1].number == waiting.number
        assert copy.trials[-1].params["x"] == study.trials[-1].params["x"]

    def test_hosts_stay_at_home(self, file: Path) -> None:
        study = searched(InMemoryStorage())
        host, pid = os.uname().nodename, f'"pid":{os.getpid()}'
        tunesmith.export_study(study_name="s", storage=study.storage, path=file)
        text = file.read_text()
        assert host not in text
        assert pid not in text
        tunesmith.export_study(study_name="s", storage=study.storage, path=file, hosts=True, overwrite=True)
        assert pid in file.read_text()
        check_same_trials(tunesmith.import_study(path=file, storage=None).trials, study.trials)

    def test_the_file_is_private(self, exported: Path) -> None:
        assert stat.S_IMODE(exported.stat().st_mode) == 0o600
        assert os.listdir(exported.parent) == [exported.name]


class TestRefusals:
    def test_every_damaged_line(self, exported: Path) -> None:
        """A character that is another one, anywhere, is found, and the line is named; nothing is made."""
        lines, store = exported.read_bytes().splitlines(keepends=True), InMemoryStorage()
        for number, line in enumerate(lines, 1):
            for place in range(0, len(line) - 1, max(1, len(line) // 12)):
                other = bytes([line[place] ^ 1])
                exported.write_bytes(
                    b"".join([*lines[: number - 1], line[:place] + other + line[place + 1 :], *lines[number:]])
                )
                with pytest.raises(StorageInternalError) as caught:
                    tunesmith.import_study(path=exported, storage=store)
                if number > 1:
                    assert isinstance(caught.value, LogDamagedError)
                    assert caught.value.line == number
                    assert f"Line {number} " in str(caught.value)
        assert store.studies() == []

    def test_every_truncation(self, exported: Path) -> None:
        whole, store = exported.read_bytes(), InMemoryStorage()
        for length in [*range(0, len(whole) - 1, 97), len(whole) - 2, whole.rindex(b"\n", 0, -1) + 1]:
            exported.write_bytes(whole[:length])
            with pytest.raises((LogDamagedError, NotALogError)):
                tunesmith.import_study(path=exported, storage=store)
        assert store.studies() == []

    def test_lines_in_another_order_or_twice(self, exported: Path) -> None:
        lines = exported.read_text().splitlines(keepends=True)
        for changed in (
            [*lines[:3], lines[4], lines[3], *lines[5:]],
            [*lines[:4], lines[3], *lines[4:]],
            [*lines, lines[-1]],
        ):
            exported.write_text("".join(changed))
            with pytest.raises(LogDamagedError):
                tunesmith.import_study(path=exported, storage=None)

    @pytest.mark.parametrize(
        ("records", "kind", "line"),
        [
            ([[{"e": "ask"}]], LogDamagedError, 2),
            ([[{"e": "study", "v": 1, "directions": [1], "seed": 0}], [5]], LogDamagedError, 3),
            ([[{"e": "study", "v": 1, "directions": [1], "seed": 0}], [{"e": "teleport"}]], NewerFormatError, None),
            ([[{"e": "study", "v": 99, "directions": [1], "seed": 0}]], NewerFormatError, None),
            (
                [[{"e": "import", "records": 9}, {"e": "study", "v": 1, "directions": [1], "seed": 0}]],
                LogDamagedError,
                2,
            ),
            ([[]], LogDamagedError, 2),
            ([], LogDamagedError, 2),
        ],
        ids=["malformed", "no event", "unknown", "newer", "half", "empty", "nothing"],
    )
    def test_what_is_no_study(self, file: Path, records: Any, kind: type[Exception], line: int | None) -> None:
        """A file that is whole and whose events are not is refused as well."""
        header = {"format": "tunesmith study", "version": 1, "name": "s", "records": len(records)}
        numbered = [{"position": i, "events": events} for i, events in enumerate(records, 1)]
        file.write_text("".join(_line(fields) for fields in (header, *numbered)))
        store = InMemoryStorage()
        with pytest.raises(kind) as caught:
            tunesmith.import_study(path=file, storage=store)
        assert line is None or getattr(caught.value, "line", None) == line
        assert store.studies() == []

    @pytest.mark.parametrize(
        "text", ["", "\n", "{}", "[]", "5", "null", "no json", '{"format": "optuna"}', "\x00" * 50, "[" * 9000]
    )
    def test_other_files(self, file: Path, text: str) -> None:
        file.write_text(text)
        with pytest.raises(NotALogError, match="not a study"):
            tunesmith.import_study(path=file, storage=None)

    def test_a_newer_format(self, file: Path) -> None:
        file.write_text(json.dumps({"format": "tunesmith study", "version": 2}))
        with pytest.raises(NewerFormatError, match="format 2"):
            tunesmith.import_study(path=file, storage=None)

    def test_names_and_paths(self, exported: Path, tmp_path: Path) -> None:
        store = InMemoryStorage()
        tunesmith.create_study(study_name="s", storage=store)
        with pytest.raises(DuplicatedStudyError):
            tunesmith.import_study(path=exported, storage=store)
        with pytest.raises(InvalidValueError, match="exists; say overwrite"):
            tunesmith.export_study(study_name="s", storage=store, path=exported)
        with pytest.raises(InvalidValueError, match="no folder"):
            tunesmith.export_study(study_name="s", storage=store, path=tmp_path / "no" / "s.study")
        with pytest.raises(InvalidValueError, match="no file"):
            tunesmith.import_study(path=tmp_path / "none", storage=store)
        with pytest.raises(StorageInternalError, match="Is a directory"):
            tunesmith.import_study(path=tmp_path, storage=store)
        with pytest.raises(StudyNotFoundError):
            tunesmith.export_study(study_name="t", storage=store, path=tmp_path / "t.study")
        with pytest.raises(InvalidTypeError):
            tunesmith.export_study(study_name="s", storage=store, path=5)  # type: ignore[arg-type]
        assert sorted(os.listdir(tmp_path)) == [exported.name]


class Failing(InMemoryStorage):
    """Its third append fails; of ``delete`` too, as if the process had been killed there."""

    appends = 0

    def append(self, study: str, events: list[dict[str, Any]]) -> int:
        self.appends += 1
        if self.appends == 3:
            raise StorageInternalError("the disk is full")
        return super().append(study, events)


class Killed(Failing):
    def delete(self, study: str) -> None:
        raise StorageInternalError("the process is gone")


class TestAllOrNothing:
    def test_a_failure_leaves_nothing(self, exported: Path) -> None:
        store = Failing()
        with pytest.raises(StorageInternalError, match="disk is full"):
            tunesmith.import_study(path=exported, storage=store)
        assert store.studies() == []

    def test_half_a_study_is_none(self, exported: Path) -> None:
        """Who is killed in the middle leaves a name, which nobody takes for a study."""
        store = Killed()
        with pytest.raises(StorageInternalError, match="disk is full"):
            tunesmith.import_study(path=exported, storage=store)
        for call in (
            lambda: tunesmith.load_study(study_name="s", storage=store),
            lambda: tunesmith.create_study(study_name="s", storage=store, load_if_exists=True),
            lambda: tunesmith.copy_study(from_study_name="s", from_storage=store, to_storage=InMemoryStorage()),
        ):
            with pytest.raises(StudyNotFoundError, match=r"being copied: 2 of .* delete_study"):
                call()
        assert tunesmith.get_all_study_summaries(store) == []

    def test_another_process_takes_the_name(self, exported: Path) -> None:
        class Crowded(InMemoryStorage):
            def create(self, name: str) -> str:
                study = super().create(name)
                if name == "s":
                    tunesmith.create_study(study_name="s", storage=self, load_if_exists=True, seed=7)
                return study

        store = Crowded()
        with pytest.raises(DuplicatedStudyError, match="in this moment"):
            tunesmith.import_study(path=exported, storage=store)
        assert study_seed(store) == 7


def study_seed(store: BaseStorage) -> int:
    return tunesmith.load_study(study_name="s", storage=store).seed
