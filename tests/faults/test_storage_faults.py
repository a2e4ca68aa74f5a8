"""The fault runs on storages, short; each file is also a command for the long one (``python tests/faults/damage.py
--long``).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import damage
import failing_disk
import failing_steps
import first_starts
import pytest
import writers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the runs need fork, kill -9 and flock")


def test_damage() -> None:
    """Cut files open to what is intact or are refused; flipped bits are refused, by line in the file log."""
    result = damage.run()
    outcomes = {kind: found for kind, found in result.items() if isinstance(found, dict)}
    assert len(outcomes) == 6
    for kind, found in outcomes.items():
        assert found["silent"] == 0, kind
        assert set(found) <= {"silent", "whole", "shorter", "refused", "refused by line"}, kind
    assert outcomes["file log, cut"].get("refused", 0) == 0
    assert outcomes["file log, flip"]["refused by line"] > 0


def test_first_starts() -> None:
    result = first_starts.run(rounds=3, processes=4)
    for kind in ("sqlite", "jsonl"):
        assert (result[kind]["failures"], result[kind]["rounds_with_a_wrong_log"]) == (0, 0), result[kind]["examples"]


def test_failing_steps() -> None:
    """What was acknowledged is intact, and errors are typed, whichever step fails or kills."""
    result = failing_steps.run(points=6)
    assert set(result["file_log"]) <= {"intact, killed", "intact, typed error", "intact, done all the same"}
    assert result["file_log"]["intact, typed error"] > 50
    assert set(result["sqlite_killed"]) == {"intact, killed"}
    assert result["disks_wrong"] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how calls are made to fail is Linux's")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_failing_disk() -> None:
    """Also SQLite's own calls."""
    found = failing_disk.run()["process"]
    assert set(found["outcomes"]) <= {"intact, typed error", "intact, done all the same"}
    assert found["outcomes"]["intact, typed error"] > 100
    assert min(found["calls"].values()) > 10


def test_many_writers(tmp_path: Path) -> None:
    """None fails, none starves, and nothing is lost; a killed holder's lock is free at once."""
    result = writers.run(f"sqlite:///{tmp_path}/log.db", writers=4, trials_by=2, seconds=0.5, kills=1)
    appends, trials = result["appends"], result["trials"]
    assert [appends[key] for key in ("failed", "lost", "doubled", "changed")] == [0, 0, 0, 0]
    assert appends["all_go_on"]
    assert trials["in_the_log"] == trials["trials"] > 0
    assert result["lock_of_the_file_log"]["milliseconds_p99"] < 2000
