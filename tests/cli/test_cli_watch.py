"""``watch``: who works on a study, how fast, and for how long."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from cli.cli_helpers import bad, good

import tunesmith
from tunesmith.cli import output
from tunesmith.cli.watch import WINDOW, Moment, Pace, _rows, _summary
from tunesmith.study import TrialAtWork, WorkerInfo


def moment(at: float, finished: int = 0, reports: int = 0, **more: Any) -> Moment:
    return Moment(at, {"COMPLETE": finished} if finished else {}, reports, more.get("best"), more.get("workers", ()))


class TestPace:
    def test_rates_and_time_left(self) -> None:
        pace = Pace(total=50)
        pace.take(moment(100.0, 10, 200))
        assert (pace.reports, pace.trials, pace.left) == (None, None, None)
        pace.take(moment(110.0, 15, 300))
        assert (pace.reports, pace.trials, pace.left) == (10.0, 0.5, 70.0)

    def test_only_the_last_minute_counts(self) -> None:
        pace = Pace(total=1000)
        for second in range(0, 300, 10):
            pace.take(moment(float(second), 2 * second if second < 150 else 300, second))
        assert pace.trials == 0.0
        assert pace.left is None
        assert len(pace._moments) <= WINDOW / 10 + 2

    def test_more_than_planned(self) -> None:
        pace = Pace(total=5)
        pace.take(moment(0.0, 4))
        pace.take(moment(1.0, 7))
        assert pace.left == 0.0
        assert _summary(pace).startswith("7/5 trials")


@pytest.mark.parametrize(
    ("seconds", "text", "clock"),
    [
        (0.0, "0 seconds", "0:00"),
        (1.2, "1 second", "0:01"),
        (119.0, "119 seconds", "1:59"),
        (600.0, "10.0 minutes", "10:00"),
        (7333.0, "2.0 hours", "2:02:13"),
        (345600.0, "4.0 days", "96:00:00"),
    ],
)
def test_durations(seconds: float, text: str, clock: str) -> None:
    assert (output.duration(seconds), output.clock(seconds)) == (text, clock)


def test_a_row_for_each_trial() -> None:
    running = [TrialAtWork(3, 1, False, 0, None, None), TrialAtWork(4, 2, False, 0, 7, 0.25)]
    trials = (*running, TrialAtWork(5, 1, True, 0, 1, 1.0))
    worker = WorkerInfo("ab", "node7", 42, 3.0, 60.0, False, trials)
    assert _rows(worker, 60.0) == [
        ["node7:42", "3 seconds ago", "3", "", "", "60 seconds", "1 paused"],
        ["", "", "4", "7", "0.25", "60 seconds", "attempt 2"],
    ]
    silent = WorkerInfo("ab", "node7", 42, 61.0, 60.0, False, ())
    assert _rows(silent, 0.0) == [["node7:42", "61 seconds ago", "-", "", "", "", "dead"]]


def test_a_worker_is_seen_while_it_works(storage: str) -> None:
    study = tunesmith.create_study(study_name="s", storage=storage, budget=4)
    inside, go_on = threading.Event(), threading.Event()

    def objective(trial: Any) -> Any:
        yield trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            yield 0.125
            inside.set()
            go_on.wait(30)

    thread = threading.Thread(target=study.optimize, args=(objective, 2))
    thread.start()
    try:
        assert inside.wait(30)
        study.trials  # noqa: B018  (writes what is pending)
        text = good("watch", "-s", storage, "--once")
    finally:
        go_on.set()
        thread.join()
    first, *_, header, row = text.splitlines()
    assert first.startswith("s: 1/4 trials  best 0.")
    assert header.split() == ["worker", "heard", "trial", "epoch", "value", "for"]
    assert row.split()[3:7] == ["ago", "1", "2", "0.125"]
    assert good("watch", "s", "-s", storage, "--once", "--trials", "9").splitlines()[-1] == (
        "Nobody works on this study now."
    )


def test_bad_input(storage: str) -> None:
    tunesmith.create_study(study_name="s", storage=storage)
    assert "--every" in bad("watch", "-s", storage, "--every", "0")
    assert "'t'" in bad("watch", "t", "-s", storage)
