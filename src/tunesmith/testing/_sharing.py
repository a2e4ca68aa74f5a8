"""The part of the conformance kit for storages that needs other processes."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tunesmith.storages import BaseStorage
from tunesmith.testing._jobs import padded, sized
from tunesmith.testing._places import Backend, Kit, Place, check_shares

_SIGXFSZ = getattr(signal, "SIGXFSZ", 0)


class Sharing(Kit):
    """What holds for a backend whose records outlive the handle, when processes share it, die, fork and run out of
    space.
    """

    def test_processes_start_at_once(self, backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Processes that find nothing make the store, race for the study's name, and append side by side."""
        place = Place(backend[0], tmp_path_factory.mktemp("empty"), backend[1], self.patience)
        try:
            processes = [place.start("append", worker) for worker in range(3)]
            for message in ("started", "opened"):
                place.meet(processes, message)
            acknowledged = [[int(position) for position in place.finish(process)] for process in processes]
            store = place.open()
            studies = store.studies()
            assert len(studies) == 1
            (study,) = studies
            records = store.read(study.id)
            check_shares(records, {worker: len(positions) for worker, positions in enumerate(acknowledged)}, "worker")
            for worker, positions in enumerate(acknowledged):
                expected = [[{"worker": worker, "k": k}] for k in range(len(positions))]
                assert [records[position - 1] for position in positions] == expected
        finally:
            place.close()

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
    def test_kill(self, place: Place, store: BaseStorage) -> None:
        """After kill -9 in the midst of appends, all that was acknowledged is there, and nothing by halves."""
        study, random_delay = store.create("study"), random.Random(0)
        before = 0
        for _ in range(3):
            process = place.start("forever", study)
            assert process.stdout is not None
            acknowledged = before
            while acknowledged < before + 15:
                line = process.stdout.readline()
                assert line, "a process that only appends died"
                acknowledged = int(line)
            time.sleep(random_delay.uniform(0, 0.02))
            process.kill()
            acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
            process.wait()
            records = place.open().read(study)
            assert acknowledged <= len(records) <= acknowledged + 1
            assert records == store.read(study)
            assert [padded(position) for position in range(1, len(records) + 1)] == records
            assert store.append(study, padded(len(records) + 1)) == len(records) + 1
            before = len(records) + 1

    @pytest.mark.skipif(not _SIGXFSZ, reason="this system cannot limit the size of files")
    def test_no_space(self, place: Place, store: BaseStorage) -> None:
        """A write that the system cuts off, and one whose process dies of it, leave what was acknowledged as it was."""
        study = store.create("study")
        process = place.start("full", study)
        acknowledged = [tuple(map(int, pair.split(":"))) for pair in place.finish(process, -_SIGXFSZ)]
        assert {0, 1, 3, 5} <= {k for _, k in acknowledged}
        for handle in (store, place.open()):
            records = handle.read(study)
            kept = [record[0]["k"] for record in records]
            assert records == [sized(k) for k in kept]
            assert kept == sorted(kept)
            assert all(kept[position - 1] == k for position, k in acknowledged)
            assert set(kept) <= {0, 1, 2, 3, 5, 8}
        for k in (9, 11):
            assert store.append(study, sized(k)) == len(records) + 1
            records.append(sized(k))
            assert place.open().read(study) == records

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_fork(self, place: Place, store: BaseStorage) -> None:
        """A handle inherited through fork works in the child and in the parent, wherever in an append a thread was."""
        study = store.create("study")
        total, points = map(int, place.finish(place.start("fork", study, place.patience)))
        records = store.read(study)
        assert len(records) == total
        shares = {"parent": 20, "child": 20, "stopped": points + 1, "forked": points}
        shares["thread"] = total - sum(shares.values())
        assert {who: sum(event["who"] == who for (event,) in records) for who in shares} == shares
