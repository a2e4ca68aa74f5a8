"""Stopping rules played back to known curves: by hand, and against studies that really ran under them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from synthetic import known, synthetic

import tunesmith
from tunesmith.compare import compare, replay, report, tables
from tunesmith.compare.replays import replay_run
from tunesmith.compare.result import ComparisonResult, RuleOutcome
from tunesmith.compare.stopping import outcomes, stopping_table
from tunesmith.distributions import Float
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History, OpenRow
from tunesmith.pruners import BasePruner, Continue, Idle, Schedule, Start, Stop, Verdict, get_pruner


def study_of(curves: list[list[float]], direction: str = "minimize", **options: Any) -> tunesmith.Study:
    """Trials that reported these values, one a step from 1; the last one is the value."""

    def objective(trial: Any) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", None, 1.0])
        yield from curves[trial.number]

    study = tunesmith.create_study(seed=3, sampler="random", pruner="nop", direction=direction, **options)
    study.optimize(objective, n_trials=len(curves))
    return study


def random_curves(n: int, steps: int, seed: int) -> list[list[float]]:
    """Falling curves that cross; one of them has NaNs, one is short."""
    rng = np.random.default_rng(seed)
    epochs = np.arange(1, steps + 1)
    level, rate = rng.random((n, 1)), rng.uniform(0.05, 1.0, (n, 1))
    found = (level + np.exp(-rate * epochs) + 0.02 * rng.standard_normal((n, steps))).tolist()
    found[1][2] = math.nan
    found[4] = found[4][:3]
    return found


RULES = [
    get_pruner("median"),
    get_pruner("percentile", percentile=25.0, n_startup_trials=3),
    get_pruner("nop"),
    get_pruner("halving", min_resource=1, reduction_factor=2),
    get_pruner("asha", min_resource=1, reduction_factor=3),
    get_pruner("hyperband", min_resource=1, max_resource=9),
    get_pruner("hyperband"),
]


class TestAgainstARealStudy:
    @pytest.mark.parametrize("rule", RULES, ids=str)
    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_the_same_trials_are_stopped_at_the_same_steps(self, rule: BasePruner, direction: str) -> None:
        """With random search, a study under the rule has the same configurations, so it can be had."""
        curves = random_curves(30, 9, seed=1)
        if direction == "maximize":
            curves = [[-v for v in curve] for curve in curves]
        found = replay(study_of(curves, direction).history, rule)
        real = tunesmith.create_study(seed=3, pruner=rule, direction=direction, sampler="random")

        def objective(trial: Any) -> Iterator[float]:
            yield from curves[trial.number]

        real.optimize(objective, n_trials=30)
        ended = {t.number: max(t.intermediate_values) for t in real.trials if t.state.name == "PRUNED"}
        assert dict(found.stopped) == ended
        assert found.used == sum(len(t.intermediate_values) for t in real.trials)
        assert found.steps == {k: len(curve) for k, curve in enumerate(curves)}
        complete = [t for t in real.trials if t.state.name == "COMPLETE"]
        assert found.kept == (real.best_trial.number if complete else None)

    def test_a_run_of_a_comparison_is_as_its_study(self) -> None:
        result = synthetic(repeats=2)
        for run in result.runs:
            study = tunesmith.create_study(direction="minimize", seed=run.seed)
            for trial in run.trials:
                space = {n: d for n, d in result.parsed_space().items() if n in trial.params}
                steps = {int(step): value for step, value in trial.curves["loss"]}
                study.add_trial(
                    tunesmith.create_trial(
                        params=trial.params, distributions=space, value=trial.value, intermediate_values=steps
                    )
                )
            for rule in ("median", "halving"):
                one, other = replay(study.history, rule), replay_run(run, result, rule)
                assert (one.stopped, one.used, one.best, one.regret) == (
                    other.stopped, other.used, other.best, other.regret,
                )  # fmt: skip
                assert one.best == run.best


class TestByHand:
    #: Five trials to begin with, a late bloomer that turns out best, and a bad one.
    CURVES = ([[5, 4, 3], [6, 5, 4], [7, 6, 5], [5, 4, 3.5], [6, 5, 4.5]], [9, 8, 1], [8, 8, 8])

    def test_the_median_rule_kills_a_late_bloomer(self) -> None:
        first, bloomer, bad = self.CURVES
        found = replay(study_of([*first, bloomer, bad]).history, "median")
        assert found.stopped == {5: 1, 6: 1}
        assert (found.best, found.best_stopped, found.kept, found.regret) == (5, True, 0, 2.0)
        assert (found.used, found.saved) == (17, pytest.approx(4 / 21))
        spared = replay(study_of([*first, bad, [5, 4, 1]]).history, "median")
        assert (spared.stopped, spared.best_stopped, spared.regret) == ({5: 1}, False, 0.0)

    def test_a_stop_at_the_last_step_is_a_stop(self) -> None:
        first = self.CURVES[0]
        found = replay(study_of([*first, [5, 4, 9]]).history, get_pruner("threshold", upper=8.5))
        assert (found.stopped, found.saved) == ({5: 3}, 0.0)

    def test_all_stopped(self) -> None:
        found = replay(study_of([[2.0, 2.0], [1.0, 1.0]]).history, get_pruner("threshold", upper=0.5))
        assert (found.kept, found.best, found.regret) == (None, 1, math.inf)

    def test_what_did_not_complete_is_left_out(self) -> None:
        def objective(trial: Any) -> Iterator[float]:
            yield 1.0
            if trial.number == 1:
                raise tunesmith.TrialPruned
            if trial.number == 2:
                raise ValueError
            yield 2.0

        study = tunesmith.create_study(pruner="nop")
        study.optimize(objective, n_trials=4, catch=ValueError)
        found = replay(study.history, "nop")
        assert (found.left_out, found.steps) == (2, {0: 2, 3: 2})

    def test_infeasible_trials_are_not_the_best(self) -> None:
        def objective(trial: Any) -> Iterator[float]:
            trial.set_constraint("c", 1.0 if trial.number == 0 else 0.0)
            yield float(trial.number)

        study = tunesmith.create_study(pruner="nop")
        study.optimize(objective, n_trials=3)
        assert replay(study.history, "nop").best == 1

    def test_resources_that_are_metrics(self) -> None:
        def objective(trial: Any) -> Iterator[Any]:
            for k in (1, 2, 3, 4):
                yield {"loss": float(trial.number), "samples": 10.0 * k}

        study = tunesmith.create_study(pruner="nop")
        study.optimize(objective, n_trials=6)
        rule = get_pruner("halving", min_resource=10, reduction_factor=2, max_resource=40, resource="samples")
        found = replay(study.history, rule)
        assert found.stopped
        assert not found.best_stopped
        with pytest.raises(InvalidValueError, match="'images'"):
            replay(study.history, get_pruner("halving", resource="images"))

    def test_what_cannot_be_replayed(self) -> None:
        study = tunesmith.create_study()
        study.optimize(lambda t: 1.0, n_trials=2)
        with pytest.raises(InvalidValueError, match="nothing to replay"):
            replay(study.history, "median")
        with pytest.raises(InvalidValueError, match="one objective"):
            replay(tunesmith.create_study(directions=["minimize"] * 2).history, "median")

        @dataclass(frozen=True)
        class Prescribes(BasePruner):
            wish: Any = None

            def verdict(self, history: History, trial: OpenRow) -> Verdict:
                return Verdict.GO

            def schedule(self, history: History) -> Schedule:
                return self.wish

        history = study_of([[1.0, 2.0]]).history
        with pytest.raises(InvalidValueError, match="prescribes"):
            replay(history, Prescribes(Start(params={"x": 0.5})))
        with pytest.raises(InvalidValueError, match="not paused"):
            replay(history, Prescribes(Continue(7)))
        assert replay(history, Prescribes(Idle.DONE)).left_out == 1

    def test_pauses_and_what_becomes_of_them(self) -> None:
        """All pause after a step; the best goes on, the worst is stopped at once, the rest at the end."""

        @dataclass(frozen=True)
        class Rung(BasePruner):
            def verdict(self, history: History, trial: OpenRow) -> Verdict:
                return Verdict.PAUSE if len(trial.reports) == 1 else Verdict.GO

            def schedule(self, history: History) -> Schedule:
                if history.n_trials < 3:
                    return Start()
                order = sorted(history.open, key=lambda t: t.reports[1])
                if len(order) == 3:
                    return Stop(order[-1].number)
                return Continue(order[0].number) if history.n == 1 else Idle.DONE

        found = replay(study_of([[3.0, 0.0], [1.0, 2.0], [2.0, 1.0]]).history, Rung())
        assert (found.stopped, found.used, found.best, found.kept) == ({0: 1, 2: 1}, 4, 0, 1)

    def test_the_history_is_left_alone(self) -> None:
        study = study_of(random_curves(12, 6, seed=0))
        before = study.history
        one = replay(before, "median")
        assert (study.history.n, study.history.state.tolist()) == (12, [1] * 12)
        assert replay(study.history, "median") == one


class TestTable:
    def test_says_what_the_replays_say(self) -> None:
        result = synthetic(repeats=3)
        result.stopping = outcomes(result)
        table = stopping_table(result)
        assert table is not None
        assert table.title == "Stopping rules, played back to 108 complete trials of 9 runs"
        replays = [replay_run(run, result, "median") for run in result.runs]
        saved = 1 - sum(r.used for r in replays) / (108 * 3)
        assert [cell.text for cell in table.rows[0]][:4] == [
            "median rule",
            f"{100 * sum(len(r.stopped) for r in replays) / 108:.0f} %",
            f"{100 * saved:.0f} %",
            f"in {sum(r.best_stopped for r in replays)} of 9 runs",
        ]
        assert [row[0].text for row in table.rows] == ["median rule", "successive halving", "Hyperband"]
        assert any("taken as they were proposed" in note for note in table.notes)

    def test_the_price(self) -> None:
        """A run whose best trial blooms late."""
        result = synthetic({"random": 0.0}, repeats=1, trials=8)
        for trial in result.runs[0].trials:
            trial.value = 1.0 - 0.01 * trial.number
            trial.curves = {"loss": [[1.0, 2.0], [2.0, trial.value]]}
        late = result.runs[0].trials[7]
        late.value, late.curves = 0.5, {"loss": [[1.0, 3.0], [2.0, 0.5]]}
        result.stopping = outcomes(result)
        table = stopping_table(result)
        assert table is not None
        assert [cell.text for cell in table.rows[0]] == ["median rule", "12 %", "6 %", "in 1 of 1 run", "0.44"]

    def test_runs_in_which_nothing_is_left(self) -> None:
        result = known({"a": [1.0]})
        left = "(nothing left in 1)"
        for regrets, text in (([], "-"), ([math.inf], f"- {left}"), ([1.0, 3.0, math.inf], f"2 {left}")):
            result.stopping = [RuleOutcome("rule", 3, 1000, 1, 1000, 999, regrets)]
            table = stopping_table(result)
            assert table is not None
            assert [c.text for c in table.rows[0]][1:] == ["< 1 %", "< 1 %", f"in {len(regrets)} of 3 runs", text]

    def test_kept_in_the_file(self) -> None:
        result = synthetic(repeats=1)
        assert stopping_table(result) is None
        result.stopping = [*outcomes(result), RuleOutcome("rule", 1, 2, 2, 6, 2, [math.inf])]
        again = ComparisonResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
        assert again.stopping == result.stopping
        old = result.to_dict()
        del old["stopping"]  # a file of an earlier version
        assert ComparisonResult.from_dict(old).stopping == []

    def test_parameters_that_the_space_does_not_have(self) -> None:
        """The curves count, whatever the configurations are made of."""
        plain, odd = synthetic(repeats=1), synthetic(repeats=1)
        for trial in odd.runs[0].trials:
            trial.params |= {"optimizer": object(), "width": 10**9, "undeclared": 1.0}
        assert outcomes(odd) == outcomes(plain)

    def test_nothing_to_say_without_curves(self) -> None:
        assert outcomes(known({"random": [1.0, 2.0]})) == []

    def test_part_of_a_finished_comparison(self, tmp_path: Any) -> None:
        def objective(trial: Any) -> Iterator[float]:
            x = trial.suggest_float("x", 0, 1)
            for epoch in range(1, 5):
                yield x + 1 / epoch

        def run() -> ComparisonResult:
            space = {"x": Float(0, 1)}
            return compare(objective, ["random", "sobol"], space=space, trials=6, repeats=2, out=tmp_path)

        result = run()
        assert [o.trials for o in result.stopping] == [24] * 3
        assert run().stopping == result.stopping
        assert "Stopping rules, played back" in tables.to_markdown(result)
        assert "Would a stopping rule have kept the best trial?" in report.to_html(result)
        result.stopping = []
        assert "stopping rule" not in report.to_html(result).lower()
