"""The kit finds the faults it is there for: each rule below breaks one promise, and the named test fails."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.numerics.streams import stream
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.storages import JournalStorage
from tunesmith.testing import _rules
from tunesmith.testing._rules_reports import REPORTS
from tunesmith.testing.pruners import PrunerKit
from tunesmith.trial import TrialState

STOP, PAUSE, GO = Verdict.STOP, Verdict.PAUSE, Verdict.GO
CALLS: list[int] = []


@dataclass(frozen=True)
class Sound(BasePruner):
    """Stops a trial whose newest report is worse than those of half of the finished trials; the faulty ones differ."""

    invariant: ClassVar[bool] = True
    share: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.share, float) or not 0 <= self.share <= 1:
            raise InvalidValueError(f"`share` must be between 0 and 1, but is {self.share!r}.")

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        if not trial.reports:
            return GO
        step = max(trial.reports)
        return STOP if self.worse(history, trial, step) else GO

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        reports, sign = history.reports, history.directions[0]
        at = (reports.step == step) & (reports.metric == 0) & history.is_complete[reports.row]
        better = reports.value[at] * sign < trial.reports[step] * sign
        return len(better) > 2 and float(better.mean()) > self.share


@dataclass(frozen=True)
class Pauses(Sound):
    """Sound, too: each trial pauses after its second report, and the best of every three paused ones goes on."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return PAUSE if len(trial.reports) == 2 else GO

    def schedule(self, history: History) -> Schedule:
        return [*self.promoted(history), Start()]

    def promoted(self, history: History) -> list[Start | Continue | Idle]:
        paused = [t for t in history.open if t.state == TrialState.PAUSED and len(t.reports) == 2]
        best = sorted(paused, key=lambda t: (t.reports[max(t.reports)] * history.directions[0], t.number))
        return [Continue(best[0].number)] if len(paused) >= 3 else []


@dataclass(frozen=True)
class PausesAtTheEnd(Sound):
    """Sound: it has every trial wait at its last epoch (the kit's, which is 9) before it may end."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return PAUSE if max(trial.reports, default=0) == 9 else super().verdict(history, trial)

    def schedule(self, history: History) -> Schedule:
        paused = [t.number for t in history.open if t.state == TrialState.PAUSED]
        return [Start(), *map(Continue, paused)]


@dataclass(frozen=True)
class CountsCalls(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        CALLS.append(1)
        return len(CALLS) % 3 == 0


@dataclass(frozen=True)
class Remembers(Sound):
    seen: list[float] = field(default_factory=list, init=False, compare=False)

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        self.seen.append(trial.reports[step])
        return len(self.seen) > 20 and trial.reports[step] > sorted(self.seen)[10]


class _Fading:
    """A memo that a new one does not equal: it has taken in its rows one by one."""

    def __init__(self) -> None:
        self.n, self.mean = 0, 0.0

    def extend(self, history: History) -> None:
        self.n, self.mean = history.n, self.mean / 2 + float(np.nansum(history.loss[self.n :]))


@dataclass(frozen=True)
class KeepsAPoorMemo(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        with history.memo("fading", _Fading) as memo:
            return 0 < memo.mean < trial.reports[step]


@dataclass(frozen=True)
class OwnRandomness(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return np.random.default_rng().random() < 0.2


@dataclass(frozen=True)
class GlobalRandomness(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return random.random() < 0.2


@dataclass(frozen=True)
class ReadsTheClock(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return trial.start % 7 == 0

    def schedule(self, history: History) -> Schedule:
        return Start({"late": float(history.complete.max(initial=0) % 1009)})


@dataclass(frozen=True)
class IgnoresDirection(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return history.n > 3 and trial.reports[step] > np.nanmedian(history.Y)


@dataclass(frozen=True)
class LooksAtLevels(Sound):
    """It stops what is above 0.9, and says that it is invariant."""

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return step > 2 and trial.reports[step] * history.directions[0] > 0.9


@dataclass(frozen=True)
class StopsTheBest(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        reports, sign = history.reports, history.directions[0]
        at = reports.value[(reports.step == step) & (reports.metric == 0)] * sign
        return len(at) > 0 and bool(trial.reports[step] * sign < np.nanmin(at))


@dataclass(frozen=True)
class NeedsAReport(Sound):
    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return STOP if self.worse(history, trial, max(trial.reports)) else GO


@dataclass(frozen=True)
class NeedsAFinishedTrial(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return bool(trial.reports[step] * history.directions[0] > 3 * history.loss[history.best_row or 0, 0])


@dataclass(frozen=True)
class DividesByTheSpread(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        values = np.array(list(trial.reports.values()))
        return bool((values[-1] - values.min()) / np.ptp(values) > 2)


@dataclass(frozen=True)
class CountsSteps(Sound):
    """Its memory grows with the largest step."""

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return bool(np.bincount([step], minlength=0)[-1] > 1)


@dataclass(frozen=True)
class NeedsItsTags(Pauses):
    def schedule(self, history: History) -> Schedule:
        slots = [t.tags["slot"] for t in history.open]
        return [*self.promoted(history), Start({"slot": max(slots, default=0) + 1})]


@dataclass(frozen=True)
class ContinuesWhatRuns(Pauses):
    def promoted(self, history: History) -> list[Start | Continue | Idle]:
        return [Continue(t.number) for t in history.open[:1]] if history.n_trials > 3 else []


@dataclass(frozen=True)
class WaitsForEver(Pauses):
    def schedule(self, history: History) -> Schedule:
        return [*self.promoted(history), Start() if history.n_trials < 8 else Idle.WAIT]


@dataclass(frozen=True)
class WaitsWhenAllIsStarted(Pauses):
    """It expects more trials than there may be."""

    def schedule(self, history: History) -> Schedule:
        return [*self.promoted(history), Start(), Idle.WAIT]


@dataclass(frozen=True)
class FinishesNothing(Pauses):
    def schedule(self, history: History) -> Schedule:
        return Start()


@dataclass(frozen=True)
class LosesAnArgument(Sound):
    def spec(self) -> dict[str, Any]:
        return {"name": type(self).__name__, "args": {}}


@dataclass(frozen=True)
class TakesAnything(Sound):
    def __post_init__(self) -> None: ...


@dataclass(frozen=True)
class SaysTrue(Sound):
    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return True  # type: ignore[return-value]


@dataclass(frozen=True)
class WritesIntoRows(Sound):
    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        trial.reports[step] += 1.0  # type: ignore[index]
        return False


@dataclass(frozen=True)
class UnpacksOneObjective(Sound):
    several_objectives: ClassVar[bool] = True

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        (sign,) = history.directions
        return sign > 1


@dataclass(frozen=True)
class HalfTheTime(Sound):
    """Not a fault: random, with a stream of its own."""

    may_stop_best: ClassVar[bool] = True

    def worse(self, history: History, trial: OpenRow, step: int) -> bool:
        return stream(history.seed, trial.number, f"half.{step}").random() < 0.1


FAULTS: list[tuple[BasePruner, str, dict[str, Any]]] = [
    (CountsCalls(), "test_pure_at_every_moment", {}),
    (Remembers(), "test_pure_at_every_moment", {}),
    (Remembers(), "test_leaves_the_history_alone", {}),
    (Remembers(), "test_killed_anywhere", {}),
    (Remembers(), "test_resumed", {"backend": JournalStorage}),
    (KeepsAPoorMemo(), "test_pure_at_every_moment", {}),
    (OwnRandomness(), "test_pure_at_every_moment", {}),
    (OwnRandomness(), "test_killed_anywhere", {}),
    (OwnRandomness(), "test_one_lane_is_one_worker", {}),
    (GlobalRandomness(), "test_no_clock_and_no_other_generator", {}),
    (ReadsTheClock(), "test_no_clock_and_no_other_generator", {}),
    (IgnoresDirection(), "test_symmetries", {"scale": -1.0}),
    (IgnoresDirection(), "test_hard_reports", {"kind": "ties"}),
    (LooksAtLevels(), "test_symmetries", {"scale": 4.0}),
    (StopsTheBest(), "test_the_best_of_all_is_not_stopped", {}),
    (StopsTheBest(), "test_the_winner_was_not_stopped", {}),
    (NeedsAReport(), "test_nothing_reported", {}),
    (NeedsAReport(), "test_hard_reports", {"kind": "none"}),
    (NeedsAFinishedTrial(), "test_hard_reports", {"kind": "one trial"}),
    (NeedsAFinishedTrial(), "test_company", {"states": "running"}),
    (DividesByTheSpread(), "test_hard_reports", {"kind": "constant"}),
    (DividesByTheSpread(), "test_hard_reports", {"kind": "infinite"}),
    (CountsSteps(), "test_hard_reports", {"kind": "huge steps"}),
    (NeedsItsTags(), "test_company", {"states": "running"}),
    (NeedsItsTags(), "test_trials_of_others", {}),
    (ContinuesWhatRuns(), "test_pure_at_every_moment", {}),
    (WaitsForEver(), "test_studies_end", {"kind": "generator", "n_jobs": 1}),
    (WaitsForEver(), "test_lanes", {"lanes": 3}),
    (WaitsWhenAllIsStarted(), "test_studies_end", {"kind": "generator", "n_jobs": 1}),
    (FinishesNothing(), "test_studies_end", {"kind": "generator", "n_jobs": 1}),
    (FinishesNothing(), "test_lanes", {"lanes": 3}),
    (LosesAnArgument(0.25), "test_is_a_value", {}),
    (LosesAnArgument(), "test_every_argument_is_kept", {}),
    (TakesAnything(), "test_bad_arguments", {}),
    (SaysTrue(), "test_hard_reports", {"kind": "ties"}),
    (SaysTrue(), "test_company", {"states": "finished"}),
    (WritesIntoRows(), "test_leaves_the_history_alone", {}),
    (UnpacksOneObjective(), "test_two_objectives", {}),
]


@pytest.mark.parametrize(
    ("pruner", "test", "arguments"), FAULTS, ids=[f"{type(rule).__name__}-{test}" for rule, test, _ in FAULTS]
)
@pytest.mark.filterwarnings("ignore")
def test_a_fault_is_found(
    pruner: BasePruner, test: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rules, "PATIENCE", 1.0)
    if "backend" in arguments:
        arguments = {**arguments, "tmp_path": tmp_path}
    with pytest.raises((AssertionError, LookupError, ValueError, RuntimeWarning, MemoryError, pytest.fail.Exception)):
        getattr(PrunerKit(), test)(pruner, **arguments)


class TestSound(PrunerKit):
    """The kit is for rules of other packages, too: these are known to no registry."""

    @pytest.fixture(params=[Sound, Pauses, PausesAtTheEnd, HalfTheTime])
    def rule(self, request: pytest.FixtureRequest) -> tuple[type[BasePruner], dict[str, Any]]:
        return request.param, {}


def test_reports_are_of_all_kinds() -> None:
    values = [value for curves in REPORTS.values() for curve in curves for _, value in curve]
    assert {float("inf"), float("-inf"), 1.7e308, 0.0} <= set(values)
    assert any(value != value for value in values)
    assert max(step for curves in REPORTS.values() for curve in curves for step, _ in curve) > 2**52
