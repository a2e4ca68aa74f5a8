"""The conformance kit for storages: every sentence of :class:`tunesmith.storages.BaseStorage` as a test.

Whoever writes a backend subclasses both kits in a test module (:class:`PersistenceKit` only if it is persistent)::

    class TestMyStorage(StorageKit, PersistenceKit):
        storage_class = MyStorage

The class must be importable by its module and name, since other processes open it, too. Needs pytest.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.storages import BaseStorage, StudyRecord
from tunesmith.testing._heartbeats import NOBODY, Heartbeats, SharedHeartbeats
from tunesmith.testing._places import Backend, Place, check_shares
from tunesmith.testing._sharing import Sharing


class StorageKit(Heartbeats):
    """What holds for every backend."""

    def test_positions_count_from_one(self, store: BaseStorage) -> None:
        """Each append returns the next position, study by study."""
        one, two = store.create("one"), store.create("two")
        assert [store.append(one, [{"k": k}]) for k in range(3)] == [1, 2, 3]
        assert [store.append(two, [{"k": k}]) for k in range(2)] == [1, 2]
        assert store.append(one, []) == 4

    def test_read_gives_the_records_after_a_position(self, store: BaseStorage) -> None:
        """Records come back whole, in order, from any position on."""
        study = store.create("study")
        assert store.read(study) == []
        records = [[{"k": k, "part": part} for part in range(k % 3)] for k in range(10)]
        for record in records:
            store.append(study, record)
        for after in range(11):
            assert store.read(study, after) == records[after:]
            for limit in (1, 3, 10, 10**30):
                assert store.read(study, after, limit) == records[after : after + limit]
        assert store.read(study, 11) == store.read(study, 10**30) == []
        with pytest.raises(InvalidValueError, match="-1"):
            store.read(study, -1)
        for limit in (0, -2):
            with pytest.raises(InvalidValueError, match=str(limit)):
                store.read(study, 0, limit)

    def test_what_read_returns_is_the_callers(self, store: BaseStorage) -> None:
        """Changing the list of records, or the list that was appended, does not change the log."""
        study, events = store.create("study"), [{"k": 1}]
        store.append(study, events)
        events.clear()
        store.read(study).clear()
        assert store.read(study) == [[{"k": 1}]]

    def test_studies_are_isolated(self, store: BaseStorage) -> None:
        """Interleaved appends stay apart, and a deletion touches one study only."""
        studies = [store.create(f"study {k}") for k in range(4)]
        for k in range(40):
            store.append(studies[k * k % 4], [{"k": k}])
        store.append(studies[2], [{"k": -1}])
        expected = {s: [[{"k": k}] for k in range(40) if k * k % 4 == i] for i, s in enumerate(studies)}
        expected[studies[2]].append([{"k": -1}])
        assert {study: store.read(study) for study in studies} == expected
        store.delete(studies[0])
        assert {study: store.read(study) for study in studies[1:]} == {s: expected[s] for s in studies[1:]}

    def test_studies_are_listed_in_order(self, store: BaseStorage) -> None:
        """In order of creation, without those that were deleted."""
        assert store.studies() == []
        names = ["b", "a", "", "c" * 300]
        ids = [store.create(name) for name in names]
        assert store.studies() == [StudyRecord(study, name) for study, name in zip(ids, names, strict=True)]
        assert all(len(study) == 32 and set(study) <= set("0123456789abcdef") for study in ids)
        store.delete(ids[1])
        assert [record.name for record in store.studies()] == ["b", "", "c" * 300]

    def test_names_are_unique(self, store: BaseStorage) -> None:
        """A name can be taken once, in this very spelling; a deletion frees it, but not the id."""
        first = store.create("digits")
        store.append(first, [{"k": 1}])
        with pytest.raises(DuplicatedStudyError, match="'digits'"):
            store.create("digits")
        store.create("Digits")
        store.create("digits ")
        store.delete(first)
        second = store.create("digits")
        assert second != first
        assert store.read(second) == []
        assert store.append(second, [{"k": 2}]) == 1
        with pytest.raises(StudyNotFoundError):
            store.read(first)

    def test_unknown_study(self, store: BaseStorage) -> None:
        """Every method says which id it does not find, before and after a deletion; also as a KeyError."""
        study = store.create("study")
        store.append(study, [{"k": 1}])
        store.delete(study)
        for missing in (study, NOBODY, "study", ""):
            calls: list[Callable[[], Any]] = [
                lambda m=missing: store.read(m),  # type: ignore[misc]
                lambda m=missing: store.read(m, 5),  # type: ignore[misc]
                lambda m=missing: store.append(m, [{"k": 1}]),  # type: ignore[misc]
                lambda m=missing: store.delete(m),  # type: ignore[misc]
            ]
            for call in calls:
                with pytest.raises(StudyNotFoundError, match=repr(missing)) as caught:
                    call()
                assert isinstance(caught.value, KeyError)
        assert store.studies() == []

    def test_names_that_cannot_be(self, store: BaseStorage) -> None:
        """A wrong name is refused before anything is made."""
        of_wrong_type: list[Any] = [None, 3, b"bytes"]
        for name in of_wrong_type:
            with pytest.raises(InvalidTypeError):
                store.create(name)
        for wrong in ("half \ud800", "nul \0 inside"):
            with pytest.raises(InvalidValueError):
                store.create(wrong)
        assert store.studies() == []

    def test_values_come_back_as_they_were(self, store: BaseStorage) -> None:
        """Values and their types: 1, 1.0 and True differ, floats and integers are exact."""
        values: list[Any] = [None, True, False, 0, 1, -1, 2**53 + 1, -(2**53) - 1, 2**63]
        values += [2**64 + 1, 10**20 + 1, -(2**200), 10**600]
        values += [1.0, -0.0, 0.1, 0.1 + 0.2, 1e22, 5e-324, 1.7976931348623157e308, ""]
        values += ["text", [], {}, [[], [{}]], {"": {"deep": [1, [2, [3, {"x": None}]]]}}]
        study = store.create("study")
        store.append(study, [{"value": value} for value in values])
        (record,) = store.read(study)
        assert [repr(event["value"]) for event in record] == [repr(value) for value in values]

    def test_text_of_any_kind(self, store: BaseStorage) -> None:
        """Names and events in any script, with line ends, quotes, control characters, and half surrogate pairs."""
        texts = ["Grüße", "数据", "🜁🔥", "a\nb\r\nc", "\u2028\u2029\x85\x0b\x1c", "e\u0301", "% ? :x", "\x7f"]
        texts.append("\"quoted\" \\ 'x'")
        ids = {text: store.create(text) for text in texts}
        for text, study in ids.items():
            store.append(study, [{text: text, "nul": "\0", "half": "\udc80" + text}])
        assert [record.name for record in store.studies()] == texts
        for text, study in ids.items():
            assert store.read(study) == [[{text: text, "nul": "\0", "half": "\udc80" + text}]]

    def test_large_records(self, store: BaseStorage) -> None:
        """A megabyte in one string, and in many small events, between small records."""
        study = store.create("study")
        records: list[list[dict[str, Any]]] = [
            [{"k": 0}],
            [{"text": "äb" * 500_000}],
            [{"k": k, "x": k / 7} for k in range(40_000)],
            [{"k": 3}],
        ]
        assert [store.append(study, record) for record in records] == [1, 2, 3, 4]
        assert store.read(study) == records
        assert store.read(study, 3) == records[3:]

    def test_many_threads_append(self, store: BaseStorage) -> None:
        """Four threads on one handle: no gap, nothing lost, and a reader sees ever longer prefixes of one history."""
        study = store.create("study")
        snapshots: list[list[Any]] = []
        running = threading.Event()
        running.set()

        def look() -> None:
            seen: list[Any] = []
            while running.is_set():
                seen = seen + store.read(study, len(seen))
                snapshots.append(seen)
                time.sleep(0.001)

        def write(thread: int) -> list[int]:
            return [store.append(study, [{"thread": thread, "k": k}]) for k in range(60)]

        reader = threading.Thread(target=look)
        reader.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                positions = list(pool.map(write, range(4)))
        finally:
            running.clear()
            reader.join()
        final = store.read(study)
        check_shares(final, dict.fromkeys(range(4), 60), "thread")
        for thread, got in enumerate(positions):
            assert [final[position - 1] for position in got] == [[{"thread": thread, "k": k}] for k in range(60)]
        assert all(final[: len(seen)] == seen for seen in snapshots)

    def test_threads_race_for_a_name(self, store: BaseStorage) -> None:
        """Exactly one of those who create the same study at once gets it."""

        def create(_: int) -> str | None:
            barrier.wait()
            try:
                return store.create("contested")
            except DuplicatedStudyError:
                return None

        barrier = threading.Barrier(6)
        with ThreadPoolExecutor(6) as pool:
            (winner,) = [study for study in pool.map(create, range(6)) if study is not None]
        assert store.studies() == [StudyRecord(winner, "contested")]

    def test_deletion_during_appends(self, store: BaseStorage) -> None:
        """Who appends to a study while it is deleted gets a position or StudyNotFoundError, nothing else."""
        study, other = store.create("study"), store.create("other")
        deleted = threading.Event()

        def write(_: int) -> bool:
            """Whether the deletion was noticed, by the second append after it at the latest."""
            late = 0
            with contextlib.suppress(StudyNotFoundError):
                while late < 2:
                    late += deleted.is_set()
                    store.append(study, [{"k": 1}])
                return False
            return True

        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write, k) for k in range(3)]
            while len(store.read(study)) < 10:
                time.sleep(0.001)
            store.delete(study)
            deleted.set()
            assert all(writer.result(timeout=60) for writer in writers)
        assert store.studies() == [StudyRecord(other, "other")]
        assert store.append(other, [{"k": 1}]) == 1

    def test_close_twice(self, place: Place) -> None:
        """Closing is idempotent, and a ``with`` statement does it."""
        with place.open() as handle:
            handle.create("made in with")
        handle.close()

    def test_strings_of_others(self, backend: Backend) -> None:
        """A backend leaves alone what is not for it."""
        for string in ("", "nonsense", "nobody://knows/this", "/some/path.csv"):
            assert backend[0].from_string(string) is None


class PersistenceKit(SharedHeartbeats, Sharing):
    """What holds in addition for a backend whose records outlive the handle."""

    def test_reopen(self, place: Place, store: BaseStorage) -> None:
        """A new handle finds everything, and the positions go on."""
        kept, gone = store.create("kept"), store.create("gone")
        records = [[{"k": k, "text": "ü" * k}] for k in range(20)]
        for record in records:
            store.append(kept, record)
            store.append(gone, record)
        store.delete(gone)
        store.close()
        again = place.open()
        assert again.studies() == [StudyRecord(kept, "kept")]
        assert again.read(kept) == records
        assert again.append(kept, [{"k": 20}]) == 21
        assert again.create("gone") != gone
        with pytest.raises(StudyNotFoundError):
            again.append(gone, [{"k": 21}])

    def test_two_handles(self, place: Place, store: BaseStorage) -> None:
        """What one handle does, the other sees at once."""
        other = place.open()
        study = store.create("study")
        assert other.studies() == [StudyRecord(study, "study")]
        with pytest.raises(DuplicatedStudyError):
            other.create("study")
        for k in range(10):
            assert other.append(study, [{"k": 2 * k}]) == 2 * k + 1
            assert store.append(study, [{"k": 2 * k + 1}]) == 2 * k + 2
            assert other.read(study, 2 * k) == [[{"k": 2 * k}], [{"k": 2 * k + 1}]]
        assert store.read(study) == other.read(study) == [[{"k": k}] for k in range(20)]
        other.delete(study)
        for call in (store.read, store.delete, lambda study: store.append(study, [{"k": 1}])):
            with pytest.raises(StudyNotFoundError):
                call(study)
        assert store.studies() == []
        assert other.append(store.create("study"), [{"k": 1}]) == 1

    def test_reads_are_fresh(self, place: Place, store: BaseStorage) -> None:
        """A handle that only ever reads sees at once what others do, also when it has read the same before."""
        reader = place.open()
        study = store.create("study")
        for k in range(10):
            assert reader.read(study) == [[{"k": k}] for k in range(k)]
            assert reader.read(study, k) == []
            assert store.append(study, [{"k": k}]) == k + 1
            assert reader.read(study, k) == [[{"k": k}]]
            assert reader.read(study, k + 1) == []
        second = store.create("second")
        assert [record.name for record in reader.studies()] == ["study", "second"]
        assert reader.read(second) == []
        store.delete(second)
        assert [record.name for record in reader.studies()] == ["study"]
        with pytest.raises(StudyNotFoundError):
            reader.read(second)
        assert reader.read(study) == [[{"k": k}] for k in range(10)]

    def test_handles_of_many_threads(self, place: Place, store: BaseStorage) -> None:
        """Threads with a handle each share a study as processes do."""
        study = store.create("study")

        def write(thread: int) -> None:
            handle = place.open()
            for k in range(30):
                handle.append(study, [{"thread": thread, "k": k}])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        check_shares(store.read(study), dict.fromkeys(range(4), 30), "thread")

    def test_refused_events_leave_nothing(self, place: Place, store: BaseStorage) -> None:
        """What JSON cannot hold is refused, and no part of the record is kept."""
        study = store.create("study")
        endless: list[Any] = []
        endless.append(endless)
        for wrong in (object(), {1, 2}, b"bytes", float("nan"), float("-inf"), endless):
            with pytest.raises((InvalidTypeError, InvalidValueError)):
                store.append(study, [{"fine": 1}, {"wrong": wrong}])
        assert store.append(study, [{"k": 1}]) == 1
        assert place.open().read(study) == [[{"k": 1}]]

    def test_closed_handle(self, store: BaseStorage) -> None:
        """A closed handle says so."""
        study = store.create("study")
        store.close()
        calls: list[Callable[[], Any]] = [
            lambda: store.read(study),
            lambda: store.append(study, [{"k": 1}]),
            lambda: store.create("other"),
            lambda: store.delete(study),
            store.studies,
            lambda: store.heartbeat(study, "a"),
            lambda: store.heartbeats(study),
            lambda: store.end_heartbeat(study, "a"),
        ]
        for call in calls:
            with pytest.raises(StorageInternalError, match="closed"):
                call()

    def test_pickle(self, store: BaseStorage) -> None:
        """A pickled handle is another handle on the same place."""
        study = store.create("study")
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.append(study, [{"k": 1}]) == 1
            assert store.append(study, [{"k": 2}]) == 2
            assert copy.read(study) == [[{"k": 1}], [{"k": 2}]]
