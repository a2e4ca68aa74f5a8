"""The fault runs, short; each file is also a command for the long one (``python tests/faults/kills.py --long``)."""

from __future__ import annotations

import signal
from pathlib import Path

import frozen_workers
import kills
import kills_inside_retry
import pytest
import queue_once

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")


@pytest.fixture(params=["sqlite", "jsonl"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/faults.db" if request.param == "sqlite" else f"{tmp_path}/faults.jsonl"


def test_kills(url: str) -> None:
    result = kills.run(url, kills=4, base=1.0)
    assert result["acknowledged"] > 0
    assert (result["lost"], result["changed"], result["attempts_made_twice"]) == (0, 0, 0)
    assert result["running_one_lease_after_the_last_kill"] == 0


def test_a_queue_is_emptied_once(url: str) -> None:
    result = queue_once.run(url)
    assert (result["queued_run_twice"], result["queued_not_run"], result["queued_with_another_value"]) == (0, 0, 0)


def test_kills_inside_expiry_and_retry(url: str) -> None:
    result = kills_inside_retry.run(url, kills=5)
    assert result["losses"] > 0
    assert (result["losses_without_one_successor"], result["attempts_executed_twice"]) == (0, 0)
    assert result["never_finished"] == 0


def test_frozen_workers(url: str) -> None:
    result = frozen_workers.run(url, workers=2, lease=1.2)
    assert result["released"] > 0
    assert (result["stale_writes_accepted"], result["unfinished"]) == (0, 0)
