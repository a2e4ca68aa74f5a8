"""What a stopping rule asks for and what the loop makes of it: races, interrupted trials, trials that others keep."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Verdict
from tunesmith.storages import InMemoryStorage
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState

PAUSED = TrialState.PAUSED


def ten_epochs(trial: Any) -> Iterator[float]:
    x = trial.suggest_float("x", 0, 1)
    for _ in range(10):
        yield x


@dataclass(frozen=True)
class Slots(BasePruner):
    """Each slot is started once."""

    n: int = 4

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO

    def schedule(self, history: History) -> Schedule:
        used = {int(s) for s in history.tag("b.slot") if s == s} | {int(t.tags["b.slot"]) for t in history.open}
        free = [i for i in range(self.n) if i not in used]
        return Start({"b.slot": free[0]}) if free else Idle.DONE


def test_a_slot_is_not_started_twice_when_a_claim_comes_in_between() -> None:
    """The rule is asked again; otherwise the second worker would use a decision that is out of date."""
    storage = InMemoryStorage()
    study = tunesmith.create_study(study_name="s", storage=storage, pruner=Slots(), seed=0)
    other = tunesmith.load_study(study_name="s", storage=storage, pruner=Slots())
    fill = study._session.proposer.fill
    calls = itertools.count()

    def interrupted(*args: Any) -> Any:
        filled = fill(*args)
        if next(calls) in (0, 2):
            wish = other.pruner.schedule(other.history)
            assert isinstance(wish, Start)
            other._session.claim(by_ask=False, tags=wish.tags)
        return filled

    study._session.proposer.fill = interrupted  # type: ignore[method-assign]
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=10)
    slots = [t.system_attrs["tags"]["b.slot"] for t in study.trials]
    assert slots == [0, 1, 2, 3]
    check_reload(study)


@dataclass(frozen=True)
class Rung(BasePruner):
    """Three trials pause after one epoch; the best of them goes on to its end, and waits for all to come there."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == 1 else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < 3:
            return Start()
        if history.n:
            return Idle.DONE
        if all(t.state == PAUSED for t in history.open):
            return Continue(min(history.open, key=lambda t: t.reports[1]).number)
        return Idle.WAIT


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_trial_is_attempted_again_though_the_rule_waits_for_it(place: Place) -> None:
    study = study_in(place, pruner=Rung(), seed=0)

    def objective(trial: Any) -> Iterator[float]:
        if trial.number == 2 and trial.attempt == 1:
            raise KeyboardInterrupt
        yield from ten_epochs(trial)

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=3, keep_paused=True)
    assert [t.state.name for t in study.trials] == ["PAUSED", "PAUSED", "WAITING"]
    study.optimize(objective, n_trials=3)
    assert sorted(t.state.name for t in study.trials) == ["COMPLETE", "PRUNED", "PRUNED"]
    check_reload(study)


@dataclass(frozen=True)
class StartFirst(BasePruner):
    """Every trial pauses after each epoch; start a new one, else go on with the shortest, else be done."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE

    def schedule(self, history: History) -> Schedule:
        paused = sorted((len(t.reports), t.number) for t in history.open if t.state == PAUSED)
        return [Start(), *(Continue(number) for _, number in paused)]


def test_continuing_goes_on_when_no_more_may_be_started() -> None:
    study = tunesmith.create_study(pruner=StartFirst(), seed=0)
    study.optimize(ten_epochs, n_trials=3)
    assert [(t.state.name, len(t.intermediate_values)) for t in study.trials] == [("COMPLETE", 10)] * 3
    check_reload(study)


@pytest.mark.parametrize("wishes", [[], [Idle.DONE, Start()], iter(())], ids=["none", "done first", "an iterator"])
def test_no_wish_left_is_the_end(wishes: Any) -> None:
    @dataclass(frozen=True)
    class Fixed(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            return Verdict.GO

        def schedule(self, history: History) -> Schedule:
            return wishes

    study = tunesmith.create_study(pruner=Fixed())
    study.optimize(lambda t: 1.0, n_trials=3)
    assert study.trials == []


KEEPER = """
import sys, time
import tunesmith
sys.path.insert(0, {tests!r})
from core.test_core_wishes import StartFirst

def objective(trial):
    for epoch in range(3):
        if trial.number == 1:
            print("ready", flush=True)
            sys.stdin.readline()          # holds trial 1, while trial 0 is paused here
        yield 1.0

study = tunesmith.load_study(study_name="s", storage={url!r}, pruner=StartFirst())
study.optimize(objective, n_trials=2)
"""


def test_a_trial_that_another_process_keeps_is_left_to_it(disk: Place, tmp_path: Path) -> None:
    """Its generator, and the epochs it has done, would be lost."""
    study = study_in(disk, pruner=StartFirst(), seed=0)
    code = textwrap.dedent(KEEPER).format(tests=str(Path(__file__).parents[1]), url=disk.url)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tunesmith.__file__).parents[1])])}
    keeper = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "ready\n"
    attempts = []

    def objective(trial: Any) -> Iterator[float]:
        attempts.append((trial.number, trial.attempt))
        yield 1.0
        keeper.stdin.write("go\n" * 3)  # type: ignore[union-attr]
        keeper.stdin.flush()  # type: ignore[union-attr]
        yield 2.0

    study.optimize(objective, n_trials=1)
    assert keeper.wait(30) == 0
    assert attempts == [(2, 1)]
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert [t.system_attrs.get("attempt") for t in study.trials] == [None] * 3
    check_reload(study)


def test_a_worker_that_lost_its_trial_goes_on(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Its reports are refused, the generator is closed, and the next trial is taken."""
    study = study_in(place, seed=0)
    closed = []

    def objective(trial: Any) -> Iterator[float]:
        try:
            for epoch in range(3):
                if (trial.number, trial.attempt, epoch) == (0, 1, 1):
                    held = study._log.fold.open[0]
                    study._log.append([{"e": "release", "n": 0, "k": held.token, "t": 1}])
                    time.sleep(0.6)  # the next report goes out at once
                yield float(epoch)
        finally:
            closed.append((trial.number, trial.attempt))

    study.optimize(objective, n_trials=3)
    assert [(t.state.name, t.system_attrs.get("attempt")) for t in study.trials] == [
        ("COMPLETE", 2),
        ("COMPLETE", None),
    ]
    assert closed == [(0, 1), (0, 2), (1, 1)]
    assert "no longer held" in caplog.text
    check_reload(study)


def test_a_stale_error_of_another_study_fails_the_trial() -> None:
    study = tunesmith.create_study()

    def objective(trial: Any) -> float:
        raise tunesmith.exceptions.StaleTrialError("of some other study")

    study.optimize(objective, n_trials=1, catch=tunesmith.exceptions.StaleTrialError)
    assert [t.state.name for t in study.trials] == ["FAIL"]


def test_a_pause_that_is_void_keeps_nothing() -> None:
    """The trial was taken away between its report and the rule's PAUSE."""
    study = tunesmith.create_study()

    @dataclass(frozen=True)
    class Thief(BasePruner):
        def verdict(self, history: History, trial: OpenRow) -> Verdict:
            held = study._log.fold.open[trial.number]
            if trial.number == 0 and held.attempt == 1:
                study._log.append([{"e": "release", "n": 0, "k": held.token, "t": 1}])
                return Verdict.PAUSE
            return Verdict.GO

    study.pruner = Thief()
    study.optimize(ten_epochs, n_trials=2)
    assert [(t.state.name, t.system_attrs.get("attempt")) for t in study.trials] == [("COMPLETE", 2)]
    assert study._paused == {}


class TestWhatRulesSee:
    def test_the_snapshot_has_what_this_process_knows(self) -> None:
        """The trial that is judged, and the others that run here, with all that they have reported."""
        seen: list[tuple[dict[int, float], dict[int, float], dict[str, Any]]] = []

        @dataclass(frozen=True)
        class Look(BasePruner):
            def verdict(self, history: History, trial: OpenRow) -> Verdict:
                (row,) = history.open
                seen.append((dict(row.reports), dict(trial.reports), dict(trial.metrics)))
                assert trial.start == row.start > 0
                assert trial.params == row.params
                return Verdict.GO

        def objective(trial: Any) -> Iterator[Any]:
            trial.suggest_float("x", 0, 1)
            yield {"loss": 2.0, "accuracy": 0.5}
            yield {"loss": 1.0, "accuracy": 0.75}

        study = tunesmith.create_study(pruner=Look())
        study.optimize(objective, n_trials=1)
        assert seen == [
            ({1: 2.0}, {1: 2.0}, {"accuracy": {1: 0.5}}),
            ({1: 2.0, 2: 1.0}, {1: 2.0, 2: 1.0}, {"accuracy": {1: 0.5, 2: 0.75}}),
        ]

    def test_the_users_history_too(self) -> None:
        study = tunesmith.create_study()
        seen = []

        def objective(trial: Any) -> float:
            for step in range(3):
                trial.report(step, step)
            seen.extend(study.history.open)
            return 1.0

        study.optimize(objective, n_trials=1)
        assert dict(seen[0].reports) == {0: 0.0, 1: 1.0, 2: 2.0}
        assert study.history.open == ()

    def test_late_values_are_drawn_from_what_the_claim_saw(self) -> None:
        """So that ``at`` in the log tells what every value of the trial was computed from."""
        seen = []

        @dataclass(frozen=True)
        class Counting(tunesmith.samplers.RandomSampler):
            def independent(self, name: str, distribution: Any, history: History, rng: Any) -> Any:
                seen.append((name, history.n))
                return super().independent(name, distribution, history, rng)

        study = tunesmith.create_study(sampler=Counting())
        trial = study.ask()
        study.tell(study.ask(), 1.0)
        trial.suggest_float("late", 0, 1)
        assert seen == [("late", 0)]

    def test_who_wanted_it(self, place: Place) -> None:
        """The log says of each pause, stop and resumption whether the rule wanted it, and what it had read."""
        study = study_in(place, pruner=StartFirst())
        study.optimize(lambda t: (v for v in (1.0, 2.0)), n_trials=1)

        def gives_up(trial: Any) -> float:
            trial.report(1.0, 1)
            raise tunesmith.TrialPruned

        study.optimize(gives_up, n_trials=1)
        store = place.open()
        (found,) = store.studies()
        events = [e for record in store.read(found.id) for e in record]
        assert all("at" in e for e in events if e["e"] in ("pause", "resume", "ask"))
        assert {e["e"] for e in events} >= {"pause", "resume"}
        assert ["at" in e for e in events if e["e"] == "tell"] == [False, False]
        assert all("t" in e for e in events if "n" in e)


@dataclass(frozen=True)
class ContinuesAnother(BasePruner):
    """Wants to go on with a trial that is complete."""

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.GO

    def schedule(self, history: History) -> Schedule:
        return Continue(0) if history.n else Start()


def test_a_wish_for_a_trial_that_is_not_paused_is_an_error():
    study = tunesmith.create_study(pruner=ContinuesAnother())
    with pytest.raises(
        ValueError, match="ContinuesAnother has a wish for trial 0, which is not open; it must be PAUSED"
    ):
        study.optimize(lambda trial: 1.0, n_trials=2)


def test_an_objective_that_the_study_does_not_have_is_refused():
    def objective(trial):
        yield 1, (0.5, 0.25)

    study = tunesmith.create_study()
    with pytest.raises(ValueError, match="reports objective 1 at step 1, but its study has 1"):
        study.optimize(objective, n_trials=1)
    assert study.trials[0].state.name == "FAIL"
    for index in (-1, 0, 1):
        with pytest.raises(ValueError, match=f"reports objective {index} at step 4"):
            study.ask().report_objective(index, 2.0, 4)
