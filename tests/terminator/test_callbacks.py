"""Callbacks that end a search: what they count, for several objectives, several processes, and studies read again."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.study import MaxTrialsCallback, NoImprovementCallback, TargetCallback
from tunesmith.trial import TrialState

NOON = datetime(2026, 1, 1, 12)


def ended(values: list[Any], callback: Any, direction: Any = "minimize") -> int:
    """How many trials a search with these values has, when the callback may end it."""
    several = isinstance(values[0], tuple)
    study = tunesmith.create_study(**({"directions": direction} if several else {"direction": direction}))
    study.optimize(lambda t: values[t.number], n_trials=len(values), callbacks=[callback])
    return len(study.trials)


class TestNoImprovement:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([5, 4, 4, 3, 3, 3, 2], 6),
            ([5, 4, 3, 2, 1], 5),
            ([1, 1, 0.5], 3),
            ([math.nan] * 6, 6),  # failed trials are no evidence
            ([2, math.nan, 2, math.nan, 2, 1], 5),
            ([math.inf, math.inf, 3.0, 3.0, 3.0], 5),
        ],
    )
    @pytest.mark.parametrize("sign", [1, -1])
    def test_trials(self, values: list[float], expected: int, sign: int) -> None:
        direction = "minimize" if sign == 1 else "maximize"
        assert ended([sign * v for v in values], NoImprovementCallback(2), direction) == expected

    def test_small_steps_add_up(self) -> None:
        """An improvement is over the last one that was an improvement, not over the last best value."""
        falling = [round(1 - 0.4 * k, 1) for k in range(10)]
        assert ended(falling, NoImprovementCallback(2, min_delta=0.5)) == 10
        assert ended(falling, NoImprovementCallback(2, min_delta=1.0)) == 3

    def test_pruned_trials_count(self) -> None:
        def objective(trial: Any) -> float:
            if trial.number:
                raise tunesmith.TrialPruned
            return 1.0

        for states, expected in (((TrialState.COMPLETE, TrialState.PRUNED), 4), ((TrialState.COMPLETE,), 9)):
            study = tunesmith.create_study()
            study.optimize(objective, n_trials=9, callbacks=[NoImprovementCallback(3, states=states)])
            assert len(study.trials) == expected

    def test_infeasible_trials_are_no_improvement(self) -> None:
        def objective(trial: Any) -> float:
            trial.set_constraint("c", float(trial.number % 2))
            return -float(trial.number) if trial.number % 2 else 1.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=9, callbacks=[NoImprovementCallback(4)])
        assert len(study.trials) == 5

    def test_several_objectives(self) -> None:
        """A trial improves when it widens the front."""
        front = [(3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (2.0, 2.0), (3.0, 3.0), (0.0, 9.0)]
        both = ["minimize", "minimize"]
        assert ended(front, NoImprovementCallback(2), both) == 5
        assert ended(front, NoImprovementCallback(2, min_delta=(2.5, 0.0)), both) == 3
        assert ended([(a, -b) for a, b in front], NoImprovementCallback(2), ["minimize", "maximize"]) == 5

    @pytest.mark.parametrize("seed", range(3))
    def test_memo_and_definition(self, seed: int) -> None:
        """Asked after each trial it says what it says of the whole, and what its definition says."""
        rng = np.random.default_rng(seed)
        rule = NoImprovementCallback(4, min_delta=0.3)
        study = tunesmith.create_study(directions=["minimize", "maximize"])
        kept: list[np.ndarray] = []
        since = 0
        for values in rng.random((60, 2)):
            study.tell(study.ask(), values.tolist())
            loss = values * [1, -1]
            better = not any((k - 0.3 <= loss).all() for k in kept)
            kept, since = (kept + [loss], 0) if better else (kept, since + 1)
            again = tunesmith.create_study(directions=["minimize", "maximize"])
            again.add_trials(study.trials)
            assert rule.reached(study.history) == rule.reached(again.history) == (since >= 4)

    def test_seconds(self) -> None:
        """Time in which trials ran: two at a time count once, and the night between sessions not at all."""

        def at(value: float, begin: float, end: float) -> tunesmith.FrozenTrial:
            start, stop = (NOON + timedelta(seconds=s) for s in (begin, end))
            trial = tunesmith.create_trial(value=value)
            trial.datetime_start, trial.datetime_complete = start, stop
            return trial

        night = 36_000.0
        study = tunesmith.create_study()
        times = [(0, 10), (5, 20), (12, 22), (night, night + 8), (night + 2, night + 3), (night + 30, night + 31)]
        for k, (begin, end) in enumerate(times):
            study.add_trial(at(1.0 if k == 0 else 2.0, begin, end))
        busy = [0, 10, 12, 20, 20, 21]  # after the first trial, the only improvement, had ended
        for k, seconds in enumerate(busy, 1):
            part = tunesmith.create_study()
            part.add_trials(study.trials[:k])
            if seconds:
                assert NoImprovementCallback(seconds=seconds).reached(part.history)
            assert not NoImprovementCallback(seconds=seconds + 0.01).reached(part.history)

    def test_what_it_needs(self) -> None:
        for wrong in (
            {},
            {"n_trials": 0},
            {"seconds": -1.0},
            {"n_trials": 1, "min_delta": -1.0},
            {"seconds": math.nan},
        ):
            with pytest.raises(InvalidValueError, match=r"must|Nothing"):
                NoImprovementCallback(**wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="min_delta"):
            NoImprovementCallback(1, min_delta="much")  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="1 objectives"):
            ended([1.0], NoImprovementCallback(1, min_delta=(1.0, 2.0)))


class TestTarget:
    def test_one_objective(self) -> None:
        assert ended([5, 4, 3, 2], TargetCallback(3)) == 3
        assert ended([1, 2, 3], TargetCallback(2.5), "maximize") == 3
        assert ended([math.nan, 5, 4], TargetCallback(1)) == 3

    def test_one_trial_must_reach_all(self) -> None:
        values = [(1.0, 0.1), (9.0, 0.9), (1.0, 0.9), (0.0, 1.0)]
        assert ended(values, TargetCallback((2.0, 0.5)), ["minimize", "maximize"]) == 3
        with pytest.raises(InvalidValueError, match="2 objectives"):
            ended(values, TargetCallback(2.0), ["minimize", "maximize"])
        with pytest.raises(InvalidValueError, match="target"):
            TargetCallback(math.nan)


class TestMaxTrials:
    def test_counts_open_trials_too(self) -> None:
        study = tunesmith.create_study()
        study.ask()
        both = (TrialState.RUNNING, TrialState.COMPLETE)
        study.optimize(lambda t: 1.0, n_trials=9, callbacks=[MaxTrialsCallback(3, both)])
        assert len(study.trials) == 3


@pytest.mark.parametrize(
    "callback", [MaxTrialsCallback(6), NoImprovementCallback(5), TargetCallback(1.0)], ids=["most", "stuck", "target"]
)
def test_several_processes_count_together(callback: Any, tmp_path: Path) -> None:
    """Each process is a handle of its own: the second one learns of the first one's trials from the log."""
    url = f"{tmp_path}/study.jsonl"
    first = tunesmith.create_study(study_name="s", storage=url)
    first.optimize(lambda t: 1.0, n_trials=5)
    second = tunesmith.load_study(study_name="s", storage=url)
    second.optimize(lambda t: 2.0, n_trials=20, callbacks=[callback])
    assert len(first.trials) == 6
    assert callback.reached(tunesmith.load_study(study_name="s", storage=url).history)
