"""Heartbeats in the conformance kit for storages: who is alive, by the store's clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, StudyNotFoundError
from tunesmith.storages import BaseStorage
from tunesmith.testing._places import Kit, Place

NOBODY = "0" * 32  # an id that no study has
_CLOCK = 0.1  # seconds that a clock may be coarse by: a server counts in whole ticks, a file system in the kernel's


class Heartbeats(Kit):
    """What holds for every backend."""

    def test_heartbeats(self, store: BaseStorage) -> None:
        """Each worker of each study has an age, which begins anew with every heartbeat; no position is taken."""
        one, two = store.create("one"), store.create("two")
        assert store.heartbeats(one) == {}
        began = time.monotonic()
        store.heartbeat(one, "a1")
        store.heartbeat(one, "b" * 64)
        store.heartbeat(two, "a1")
        time.sleep(0.3)
        store.heartbeat(one, "a1")
        again = time.monotonic()
        ages = store.heartbeats(one)
        assert set(ages) == {"a1", "b" * 64}
        assert 0 <= ages["a1"] <= time.monotonic() - again + _CLOCK
        assert 0.3 - _CLOCK <= ages["b" * 64] <= time.monotonic() - began + _CLOCK
        assert set(store.heartbeats(two)) == {"a1"}
        assert store.read(one) == []
        assert store.append(one, []) == 1

    def test_heartbeats_end(self, store: BaseStorage) -> None:
        """A worker that has ended is forgotten, one that nobody knows is fine, and so is one whose study is gone."""
        one, two = store.create("one"), store.create("two")
        for study in (one, two):
            for worker in ("a", "b"):
                store.heartbeat(study, worker)
        store.end_heartbeat(one, "a")
        store.end_heartbeat(one, "a")
        store.end_heartbeat(one, "c")
        assert set(store.heartbeats(one)) == {"b"}
        store.delete(one)
        store.end_heartbeat(one, "b")
        store.end_heartbeat(NOBODY, "b")
        for missing in (one, NOBODY):
            with pytest.raises(StudyNotFoundError, match=missing):
                store.heartbeat(missing, "b")
            with pytest.raises(StudyNotFoundError, match=missing):
                store.heartbeats(missing)
        assert set(store.heartbeats(two)) == {"a", "b"}
        assert store.heartbeats(store.create("one")) == {}

    def test_workers_that_cannot_be(self, store: BaseStorage) -> None:
        """A worker is identified by 1 to 64 hexadecimal digits, in small letters."""
        study = store.create("study")
        for wrong in ("", "A", "g", "../a", "a\n", "a.", "a" * 65, "ä", "a\0"):
            for call in (store.heartbeat, store.end_heartbeat):
                with pytest.raises(InvalidValueError):
                    call(study, wrong)
        of_wrong_type: list[Any] = [None, 3, b"a"]
        for wrong in of_wrong_type:
            for call in (store.heartbeat, store.end_heartbeat):
                with pytest.raises(InvalidTypeError):
                    call(study, wrong)
        assert store.heartbeats(study) == {}


class SharedHeartbeats(Kit):
    """What holds in addition for a backend that several handles share."""

    def test_heartbeats_are_shared(self, place: Place, store: BaseStorage) -> None:
        """What one handle notes, another one sees at once, and one that is opened later, too."""
        other, study = place.open(), store.create("study")
        store.heartbeat(study, "a")
        other.heartbeat(study, "b")
        assert set(store.heartbeats(study)) == set(other.heartbeats(study)) == {"a", "b"}
        time.sleep(0.3)
        other.heartbeat(study, "a")
        ages = store.heartbeats(study)
        assert ages["a"] < 0.3 - _CLOCK <= ages["b"]
        other.end_heartbeat(study, "a")
        assert set(store.heartbeats(study)) == set(place.open().heartbeats(study)) == {"b"}
        other.delete(study)
        with pytest.raises(StudyNotFoundError):
            store.heartbeat(study, "b")
