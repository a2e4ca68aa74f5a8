"""Snapshots of long studies: a study that was opened with one is the study that its log says, or there is none."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.helpers import Place, study_in
from core.test_core_fold import some_events

import tunesmith
from tunesmith.distributions import Float, Int
from tunesmith.fold import Fold
from tunesmith.numerics.streams import stream
from tunesmith.records import frozen_trials
from tunesmith.storages import BaseStorage, InMemoryStorage, JournalFileBackend, JournalStorage, RDBStorage
from tunesmith.study import _log, _snapshots
from tunesmith.study._log import StudyLog
from tunesmith.study._snapshots import Snapshots, _nested, _plain
from tunesmith.testing.studies import check_same_history, check_same_trials, refolded
from tunesmith.trial import Trial, TrialState


class Named:
    """A choice that is no plain value."""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot after every append."""
    monkeypatch.setattr(_log, "SNAPSHOT_AFTER", 1)


def objective(trial: Trial) -> float:
    n = trial.number
    x = trial.suggest_float("x", 1e-3, 1, log=True)
    c = trial.suggest_categorical("c", [(1, (2.5,)), None, True, 1, "a", float("nan")])
    if n % 3 == 0:
        trial.suggest_int("big", 0, 2**62)
    trial.set_user_attr("$tuple", [n, {"$float": float("inf")}])
    trial.set_constraint("c", float("inf") if n == 4 else -1.0)
    for step in range(n % 4):
        trial.report(x + step, step)
        trial.report_metric("m", float("nan"), step)
    if n == 7:
        raise ValueError("on purpose")
    return x + (c is None)


def busy(store: BaseStorage, n: int = 12) -> tunesmith.Study:
    """Everything that a state can hold."""
    study = tunesmith.create_study(study_name="s", storage=store, sampler="pso", seed=1, load_if_exists=True)
    study.set_metric_names(["loss"])
    study.set_user_attr("a", float("nan"))
    study.enqueue_trial({"x": 0.5, "c": (1, (2.5,)), "typo": float("-inf")}, user_attrs={"k": None})
    study.optimize(objective, n_trials=n, catch=ValueError)
    study.edit_trial(2, values=3.0, user_attrs={"note": [1]})
    study.edit_trial(3, state=TrialState.FAIL, reason="void")
    study.delete_trial(5)
    study.enqueue_trial({"c": None})
    for _ in range(3):
        trial = study.ask({"x": tunesmith.Float(1e-3, 1, log=True), "k": Int(0, 2**70)})
        trial.report(0.5, 1)
    study._session.release(trial)
    study.delete_trial(trial.number - 1)
    return study


def dumped(fold: Fold) -> Any:
    """The state as comparable values."""
    fold.history()  # rows of deleted trials are gone from here on
    fields, arrays = fold.dump()
    return _plain(fields), {name: (array.dtype, array.tobytes()) for name, array in arrays.items()}


def check_same(one: Fold, other: Fold) -> None:
    """Equal in all that is ever looked at, and in all that later events look at."""
    fields, others = (repr(dumped(fold)[0]) for fold in (one, other))
    assert fields == others
    check_same_trials(frozen_trials(one), frozen_trials(other))
    check_same_history(one.history(), other.history())
    assert [one.waiting(99, released=r) for r in (False, True)] == [
        other.waiting(99, released=r) for r in (False, True)
    ]


class TestState:
    def test_at_every_event(self) -> None:
        """Put away and taken back at any moment, a state goes on as it would have."""
        events = [{"e": "study", "v": 1, "directions": [1], "seed": 7, "versions": {}, "t": 1}, *some_events()]
        for n in (20, 21, 60):
            events.insert(n * 3, {"e": "edit", "ver": 2, "n": n // 2, "t": 9, "ua": {"k": n}})
            events.insert(n * 3, {"e": "delete", "ver": 2, "n": n // 3, "t": 9})
        straight = Fold()
        for i, event in enumerate(events):
            straight.apply(event)
            if i % 7 and i < len(events) - 1:
                continue
            fields, arrays = straight.dump()
            again = Fold()
            again.load(_nested(_plain(fields)), {name: array.copy() for name, array in arrays.items()})
            check_same(again, straight)
            for later in events[i + 1 : i + 15]:
                again.apply(later)
            expected = Fold()
            for earlier in events[: i + 15]:
                expected.apply(earlier)
            check_same(again, expected)

    @pytest.mark.parametrize(
        "value",
        [None, True, 1, 1.5, float("inf"), "ü\ud800", [], (), {}, [1, (2, [3])], {"a": {"$tuple": [1]}}, {"$dict": 1},
         {1: 2, "1": 3}, {("a", 1): 2**80}, {"$float": "nan"}, {"$object": "x"}, {"$json": "1", "$float": 2}],
        ids=repr,
    )  # fmt: skip
    def test_values(self, value: Any) -> None:
        again = _nested(json.loads(json.dumps(_plain(value), allow_nan=False)))
        assert repr(again) == repr(value)


@pytest.mark.usefixtures("often")
class TestOpening:
    def test_with_and_without(self, disk: Place) -> None:
        """After every step, a study that is opened with its snapshot is the one that its log leads to."""
        used = 0
        busy(disk.open())
        for _ in range(7):
            study = study_in(disk)
            study.optimize(objective, n_trials=2, catch=ValueError)
            log = StudyLog(disk.open(), study._log.study)
            log.sync()
            used += log._kept > 0
            assert log.position == study._log.position
            check_same(log.fold, refolded(study))
        assert used == 7

    def test_it_goes_on_as_the_one_that_was_never_closed(self, disk: Place) -> None:
        study = busy(disk.open())
        for _ in range(4):
            again = study_in(disk)
            assert again._log._kept
            assert again.sampler == study.sampler
            space = tunesmith.Space(study.history.distributions)
            proposals = [s.sampler.propose(space, s.history, stream(1, 2), 2) for s in (again, study)]
            assert proposals[0] == proposals[1]
            again.optimize(objective, n_trials=2, catch=ValueError)
            check_same_trials(again.trials, study.trials)

    def test_several_writers(self, disk: Place) -> None:
        busy(disk.open())
        handles = [study_in(disk) for _ in range(3)]
        for n in range(9):
            handles[n % 3].optimize(objective, n_trials=1, catch=ValueError)
        fresh = study_in(disk)
        assert fresh._log._kept > 0
        check_same(fresh._log.fold, refolded(handles[0]))

    def test_looking_writes_nothing(self, disk: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        study = busy(disk.open())
        folder = Path(f"{disk.open().file}.snapshots")
        shutil.rmtree(folder)
        again = study_in(disk)
        assert len(again.trials) == len(study.trials)
        again.at(3), again.events(), again.best_trial
        assert not folder.exists()
        again.set_user_attr("a", 1)
        assert len(os.listdir(folder)) == 1

    def test_it_is_as_private_as_its_log(self, disk: Place) -> None:
        busy(disk.open())
        file = str(disk.open().file)
        (snapshot,) = Path(f"{file}.snapshots").iterdir()
        assert stat.S_IMODE(snapshot.stat().st_mode) == stat.S_IMODE(os.stat(file).st_mode)
        assert stat.S_IMODE(snapshot.parent.stat().st_mode) & 0o077 == 0 or os.stat(file).st_mode & 0o077

    def test_it_goes_with_its_study(self, disk: Place) -> None:
        store = disk.open()
        study = busy(store)
        other = tunesmith.create_study(study_name="other", storage=store)
        other.optimize(objective, n_trials=1)
        folder = Path(f"{store.file}.snapshots")
        (folder / f"{study._log.study}.{'0' * 32}.part").touch()
        tunesmith.delete_study(study_name="s", storage=store)
        assert os.listdir(folder) == [f"{other._log.study}.npz"]
        tunesmith.delete_study(study_name="other", storage=store)
        assert not folder.exists()

    def test_objects_as_choices(self, disk: Place) -> None:
        """The caller's own object at ask; its name for whoever reads the log, or the snapshot."""
        study = study_in(disk, seed=1)
        with pytest.warns(UserWarning, match="keeps only its name"):
            study.optimize(lambda t: float(t.suggest_categorical("c", [Named, int]) is Named), n_trials=5)
        assert study.trials[0].params["c"] in (Named, int)
        again = study_in(disk)
        assert again._log._kept
        check_same(again._log.fold, refolded(study))

    def test_a_study_in_memory_keeps_none(self, often: None) -> None:
        study = tunesmith.create_study()
        study.optimize(objective, n_trials=3)
        assert _snapshots.folder_of(study.storage) is None


class Server(InMemoryStorage):
    """A place that is no file."""

    persistent = True


class TestOfAServer:
    """They are on the machine of each worker, in its user's folder for caches."""

    @pytest.fixture
    def cache(self, often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache" / "snapshots"

    def test_one_is_used(self, cache: Path) -> None:
        study = busy(Server())
        (path,) = cache.iterdir()
        assert path.name == f"{study._log.study}.npz"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
        os.utime(path, (0, 0))
        again = tunesmith.load_study(study_name="s", storage=study.storage)
        assert again._log._kept
        check_same(again._log.fold, refolded(study))
        assert path.stat().st_mtime > 0  # so that it is known to be in use

    def test_it_goes_with_its_study_or_when_nobody_uses_it(self, cache: Path) -> None:
        study = busy(Server())
        tunesmith.delete_study(study_name="s", storage=study.storage)
        assert not cache.exists()
        cache.mkdir()
        for name, age in (("old.npz", _snapshots.UNUSED + 10), ("old.part", _snapshots.UNUSED + 10), ("new.npz", 10.0)):
            (cache / name).touch()
            os.utime(cache / name, (0, time.time() - age))
        study = busy(Server())
        assert sorted(os.listdir(cache)) == sorted(["new.npz", f"{study._log.study}.npz"])

    @pytest.mark.parametrize("named", ["", "/proc/none"])
    def test_no_cache(self, cache: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
        monkeypatch.setenv("TUNESMITH_CACHE", named)
        study = busy(Server())
        assert not cache.exists()
        check_same(study._log.fold, refolded(study))

    def test_a_database_in_memory_has_none(self, cache: Path) -> None:
        study = busy(RDBStorage("sqlite://"))
        assert not cache.exists()
        trial = study.ask({"x": Float(0, 1)})
        trial.save({"epoch": 1})
        assert trial.load() == {"epoch": 1}


class TestDoubt:
    """Whatever is wrong with a snapshot, the study is that of the log, and nobody hears of it."""

    @pytest.fixture
    def snapshot(self, often: None, tmp_path: Path) -> Path:
        busy(JournalStorage(JournalFileBackend(str(tmp_path / "study.jsonl"))))
        (path,) = (tmp_path / "study.jsonl.snapshots").iterdir()
        return path

    def opened(self, snapshot: Path) -> StudyLog:
        store = JournalStorage(JournalFileBackend(str(snapshot.parents[1] / "study.jsonl")))
        log = StudyLog(store, store.studies()[0].id)
        log.sync()
        return log

    def check(self, snapshot: Path, *, used: bool = False) -> None:
        log = self.opened(snapshot)
        assert (log._kept > 0) == used
        expected = Fold()
        for record in log.storage.read(log.study):
            for event in record:
                expected.apply(event)
        check_same(log.fold, expected)

    def test_a_good_one_is_used(self, snapshot: Path) -> None:
        self.check(snapshot, used=True)

    def test_damage(self, snapshot: Path) -> None:
        """Truncated anywhere, a bit turned over anywhere, or something else: it is not used, or it is right."""
        whole, rng = snapshot.read_bytes(), random.Random(1)
        pieces = [whole[:length] for length in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
        for _ in range(150):
            place = rng.randrange(len(whole))
            pieces.append(whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :])
        expected = dumped(self.opened(snapshot).fold)
        for piece in [*pieces, b"something else", b"PK\x03\x04" * 99]:
            snapshot.write_bytes(piece)
            assert dumped(self.opened(snapshot).fold) == expected

    def test_pickles_are_refused(self, snapshot: Path, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return (os.mkdir, (str(tmp_path / "executed"),))

        with np.load(snapshot) as archive:
            arrays = {name: archive[name] for name in archive.files}
        np.savez(snapshot, **{**arrays, "where": np.array([Trap()], object)})
        self.check(snapshot)
        assert not (tmp_path / "executed").exists()

    def test_other_code(self, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_snapshots, "_key", lambda: "another version")
        self.check(snapshot)
        monkeypatch.setattr(_snapshots, "_key", lambda: None)
        self.check(snapshot)

    def test_the_key_is_that_of_the_code(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        _snapshots._key.cache_clear()
        before = _snapshots._key()
        changed = tmp_path / "fold.py"
        changed.write_text(Path(str(_snapshots.fold.__file__)).read_text() + "# changed\n")
        monkeypatch.setattr(_snapshots.fold, "__file__", str(changed))
        _snapshots._key.cache_clear()
        assert _snapshots._key() != before
        monkeypatch.setattr(_snapshots.fold, "__file__", str(tmp_path / "missing.py"))
        _snapshots._key.cache_clear()
        assert _snapshots._key() is None
        _snapshots._key.cache_clear()

    def test_a_log_that_was_put_back_from_a_copy(self, snapshot: Path) -> None:
        """The snapshot has seen what is not there any more, or something else than what is there now."""
        file = snapshot.parents[1] / "study.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:9]))
        self.check(snapshot)
        store = JournalStorage(JournalFileBackend(str(file)))
        kept, (study,) = snapshot.read_bytes(), store.studies()
        while len(store.read(study.id)) < len(lines):
            store.append(study.id, [{"e": "attr", "k": "a", "v": 1}])
        snapshot.write_bytes(kept)
        self.check(snapshot)

    def test_a_full_disk(self, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        store = JournalStorage(JournalFileBackend(str(snapshot.parents[1] / "study.jsonl")))
        study = tunesmith.load_study(study_name="s", storage=store)
        study.set_user_attr("b", 2)
        assert os.listdir(snapshot.parent) == [snapshot.name]
        monkeypatch.undo()
        self.check(snapshot, used=True)

    def test_a_folder_that_may_not_be_written(self, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.rmtree(snapshot.parent)
        snapshot.parent.write_text("a file is in the way")
        store = JournalStorage(JournalFileBackend(str(snapshot.parents[1] / "study.jsonl")))
        study = tunesmith.load_study(study_name="s", storage=store)
        study.set_user_attr("b", 2)
        assert study.user_attrs["b"] == 2

    def test_of_two_writers_one_writes(self, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_log, "SNAPSHOT_AFTER", 10)
        one, other = self.opened(snapshot), self.opened(snapshot)
        written: list[StudyLog] = []
        write = Snapshots.write

        def noted(self: Snapshots, fold: Fold, position: int) -> None:
            written.append(one if self is one._snapshots else other)
            write(self, fold, position)

        monkeypatch.setattr(Snapshots, "write", noted)
        for log in [one] * 5 + [other] * 6 + [one] * 5:
            log.append([{"e": "attr", "k": "a", "v": 1}])
        assert len(written) == 1
        self.check(snapshot, used=True)

    def test_one_of_another_log_is_replaced(self, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Although it claims to have seen more."""
        monkeypatch.setattr(_log, "SNAPSHOT_AFTER", 2)
        file = snapshot.parents[1] / "study.jsonl"
        older = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(older[:-20]))
        log = self.opened(snapshot)
        assert not log._kept
        log.append([{"e": "attr", "k": "a", "v": 1}])
        self.check(snapshot, used=True)


def test_how_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rarely enough that a long study spends little on it, often enough that little is left to read."""
    monkeypatch.setattr(_log, "SNAPSHOT_AFTER", 20)
    written: list[int] = []
    monkeypatch.setattr(Snapshots, "write", lambda self, fold, position: written.append(position))
    study = tunesmith.create_study(storage=f"sqlite:///{tmp_path}/a.db")
    for i in range(1000):
        study._log.append([{"e": "attr", "k": "a", "v": i}])
    assert written[:3] == [20, 40, 60]
    steps = np.diff([0, *written, study._log.position])
    assert (steps[:-1] >= 20).all()
    assert (steps[1:] <= np.maximum(20, np.array(written) // 8 + 1)).all()


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_log_is_read_in_pieces(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is opened, and when others have appended much between two appends."""
    url = f"sqlite:///{tmp_path}/a.db"
    study = busy(RDBStorage(url))
    monkeypatch.setattr(_log, "CHUNK", chunk)
    other = tunesmith.load_study(study_name="s", storage=url)
    check_same(other._log.fold, refolded(study))
    for i in range(8):
        study.set_user_attr("a", i)
    claim = {"e": "ask", "n": len(study._log.fold.where), "k": "w.1", "t": 1, "at": 0}
    assert study._log.append([claim]) == [True]
    late = [{"e": "attr", "k": "b", "v": 1}, {**claim, "k": "x.1"}]
    assert other._log.append(late) == [True, False]  # its fates, not those of the records before it
    check_same(other._log.fold, refolded(study))
