"""Successive halving, asynchronous and synchronous: against simulations written here, and against Optuna."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialPruned
from tunesmith.numerics.dominance import crowding_distance, nondomination_ranks
from tunesmith.pruners import Idle, Start, SuccessiveHalvingPruner, SynchronousHalvingPruner, Verdict, get_pruner
from tunesmith.pruners._rungs import arrivals, best, geometric, new_rung
from tunesmith.testing.studies import check_reload, refolded
from tunesmith.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)
Curves = np.ndarray[Any, Any]


def crossing(trials: int, steps: int = 27, seed: int = 0) -> Curves:
    """(trials, steps) losses whose order changes with the step."""
    rng = np.random.default_rng(seed)
    return rng.random((trials, 1)) + rng.random((trials, steps)) / np.sqrt(np.arange(1, steps + 1))


def generator(curves: Curves) -> Callable[[Any], Iterator[float]]:
    def objective(trial: Any) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        yield from curves[trial.number].tolist()

    return objective


def function(curves: Curves) -> Callable[[Any], float]:
    """Steps count from 1. Optuna's trials can be evaluated with it, too."""

    def objective(trial: Any) -> float:
        for step, value in enumerate(curves[trial.number].tolist(), 1):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned if isinstance(trial, optuna.Trial) else TrialPruned
        return value

    return objective


def used(study: Any) -> list[int]:
    """How far each trial came."""
    return [max(t.intermediate_values, default=0) for t in study.trials]


def run(rule: Any, curves: Curves, n_trials: int | None = None, **options: Any) -> Any:
    study = tunesmith.create_study(pruner=rule, sampler="random", seed=0)
    study.optimize(generator(curves), n_trials=len(curves) if n_trials is None else n_trials, **options)
    check_reload(study)
    return study


def asha(curves: Curves, eta: int, first_goes_on: bool) -> list[int]:
    """Algorithm 2 of Li et al. (2020) with one worker, of which a trial that is promotable at once is the next job."""
    steps = curves.shape[1]
    rungs = [eta**k for k in range(20) if eta**k < steps]
    at: list[dict[int, float]] = [{} for _ in rungs]  # rung -> trial -> loss
    came = [0] * len(curves)

    def top(rung: int) -> list[int]:
        size = len(at[rung]) // eta or int(first_goes_on)
        return sorted(at[rung], key=lambda i: (at[rung][i], i))[:size]

    def go(trial: int) -> None:
        """To the next rung, and on from there while it is among the best."""
        for rung, level in enumerate(rungs):
            if level > came[trial]:
                came[trial] = level
                at[rung][trial] = curves[trial, level - 1]
                if trial not in top(rung):
                    return
        came[trial] = steps

    def promotable() -> int | None:
        for rung in reversed(range(len(rungs))):
            for trial in top(rung):
                if came[trial] == rungs[rung]:
                    return trial
        return None

    for new in range(len(curves)):
        while (job := promotable()) is not None:
            go(job)
        go(new)
    while (job := promotable()) is not None:
        go(job)
    while steps not in came:
        far = max(came)
        go(min((curves[i, far - 1], i) for i in range(len(curves)) if came[i] == far)[1])
    return came


class TestAsynchronous:
    @pytest.mark.parametrize("eta", [2, 3, 4])
    @pytest.mark.parametrize("first_goes_on", [False, True])
    def test_as_simulated(self, eta: int, first_goes_on: bool) -> None:
        for seed in range(3):
            curves = crossing(40, 27, seed)
            rule = SuccessiveHalvingPruner(1, eta, max_resource=27, promote_first=first_goes_on)
            assert used(run(rule, curves)) == asha(curves, eta, first_goes_on)

    def test_exact_counts_when_the_best_come_first(self) -> None:
        """Of 64 trials 16, 4 and 1 come farther."""
        curves = np.linspace(0, 1, 64)[:, None] + 1 / np.arange(1, 65)
        study = run(get_pruner("asha", min_resource=1), curves)
        assert Counter(used(study)) == {1: 48, 4: 12, 16: 3, 64: 1}
        assert used(study)[0] == 64
        assert Counter(t.state.name for t in study.trials) == {"PRUNED": 63, "COMPLETE": 1}

    def test_a_trace(self) -> None:
        """eta = 2: trial 1 is the better one of two and goes on at once; trial 0 belongs to the best two of four."""
        losses = np.array([2.0, 1.0, 4.0, 3.0])[:, None] + np.zeros((4, 4))
        study = tunesmith.create_study(pruner=SuccessiveHalvingPruner(1, 2, max_resource=4, promote_first=False))
        order: list[tuple[int, int]] = []

        def objective(trial: Any) -> Iterator[float]:
            for step, loss in enumerate(losses[trial.number].tolist(), 1):
                order.append((trial.number, step))
                yield loss

        study.optimize(objective, n_trials=4)
        expected = [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1), (0, 2), (1, 3), (1, 4)]
        assert order == expected

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("options", [{}, {"min_early_stopping_rate": 1}, {"bootstrap_count": 5}], ids=str)
    def test_functions_go_as_with_optuna(self, direction: str, options: dict[str, int]) -> None:
        for seed in range(4):
            curves = crossing(30, 20, seed)
            theirs = optuna.create_study(
                direction=direction, pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3, **options)
            )
            theirs.optimize(function(curves), n_trials=30)
            ours = tunesmith.create_study(direction=direction, pruner=SuccessiveHalvingPruner(1, 3, **options))
            ours.optimize(function(curves), n_trials=30)
            assert used(ours) == used(theirs)
            assert [t.state.name for t in ours.trials] == [t.state.name for t in theirs.trials]

    def test_auto_is_a_hundredth_of_the_first_complete_trial(self) -> None:
        curves = crossing(12, 300)
        study = run(SuccessiveHalvingPruner(), curves)
        lengths = used(study)
        assert lengths[0] == 300
        assert 3 in lengths
        assert set(lengths) <= {3, 12, 48, 192, 300}

    def test_a_rung_at_the_end_is_no_place_to_stop(self) -> None:
        """64 = 1 * 4**3 steps: that the first trial ended there tells so."""
        study = run(SuccessiveHalvingPruner(1), -np.arange(6)[:, None] + 1 / np.arange(1, 65))
        assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 6

    def test_of_equals_the_earlier_one_is_better(self) -> None:
        assert Counter(used(run(get_pruner("asha", min_resource=1, max_resource=16), np.ones((16, 16))))) == {
            1: 12, 4: 3, 16: 1,
        }  # fmt: skip

    def test_nan_and_infinite_losses_end(self) -> None:
        curves = crossing(9, 9)
        curves[2, 0], curves[3, 0], curves[4, :] = np.nan, np.inf, np.nan
        study = run(SuccessiveHalvingPruner(1, 3), curves, keep_paused=True)
        assert [study.trials[i].state for i in (2, 3, 4)] == [TrialState.PRUNED] * 3
        assert [used(study)[i] for i in (2, 3, 4)] == [1, 1, 1]

    def test_one_that_diverged_makes_nobody_a_function(self) -> None:
        """That it was stopped does not say that trials cannot be paused here."""
        curves = crossing(4)
        curves[0] = np.nan
        study = tunesmith.create_study(pruner=SuccessiveHalvingPruner(min_resource=1, promote_first=False))
        order: list[int] = []

        def objective(trial: Any) -> Iterator[float]:
            for value in generator(curves)(trial):
                order.append(trial.number)
                yield value

        study.optimize(objective, n_trials=4)
        assert order[:4] == [0, 1, 2, 3]

    def test_one_that_fails_blocks_nobody(self) -> None:
        curves = np.arange(8.0)[:, None] + np.zeros((8, 4))

        def objective(trial: Any) -> Iterator[float]:
            for step, loss in enumerate(curves[trial.number].tolist(), 1):
                if trial.number == 0 and step == 2:
                    raise ValueError
                yield loss

        study = tunesmith.create_study(pruner=get_pruner("asha", min_resource=1, reduction_factor=2, max_resource=4))
        study.optimize(objective, n_trials=8, catch=ValueError)
        assert [t.state.name for t in study.trials[:2]] == ["FAIL", "COMPLETE"]
        assert Counter(used(study)[1:]) == {1: 4, 2: 2, 4: 1}

    def test_budgets_in_samples(self) -> None:
        """Rungs at 100, 300, 900 samples, of which an epoch sees 50 or 150."""

        def objective(trial: Any) -> Iterator[Any]:
            seen = 0
            for epoch in range(1, 25):
                seen += 150 if trial.number % 2 else 50
                yield epoch, {"loss": trial.number + 1 / epoch, "samples": seen}

        study = tunesmith.create_study(
            pruner=SuccessiveHalvingPruner(100, 3, resource="samples", promote_first=False, max_resource=1200)
        )
        study.optimize(objective, n_trials=9)
        samples = [max(t.metrics["samples"].values()) for t in study.trials]
        assert samples[0] == 1200
        assert samples[1:3] in ([300, 300], [300, 100])
        assert samples[3::2] == [150] * 3
        assert samples[4::2] == [100] * 3

    def test_a_budget_that_nobody_reports(self, caplog: pytest.LogCaptureFixture) -> None:
        """The rule can stop nothing, which is said once."""
        study = tunesmith.create_study(pruner=get_pruner("asha", resource="samples"))
        with caplog.at_level("WARNING", logger="tunesmith"):
            study.optimize(generator(crossing(3)), n_trials=3)
        (said,) = [record.getMessage() for record in caplog.records]
        assert "Trial 0 has not reported 'samples', which SuccessiveHalvingPruner counts in" in said
        assert used(study) == [27, 27, 27]

    def test_reports_over_several_rungs(self) -> None:
        """They come every tenth step, and count for the highest rung that they have reached."""
        curves = crossing(16, 8)

        def objective(trial: Any) -> Iterator[Any]:
            for k, loss in enumerate(curves[trial.number].tolist(), 1):
                yield 10 * k, loss

        study = tunesmith.create_study(pruner=get_pruner("asha", min_resource=1))
        study.optimize(objective, n_trials=16)
        assert Counter(used(study)) == {10: 12, 20: 3, 80: 1}

    def test_bootstrap(self) -> None:
        """Nobody goes on before four trials are there."""
        study = tunesmith.create_study(pruner=SuccessiveHalvingPruner(1, 2, bootstrap_count=3))
        study.optimize(generator(crossing(3, 8)), n_trials=3, keep_paused=True)
        assert sorted(used(study)) == [1, 1, 8]  # the last one: no more may be started
        study = run(SuccessiveHalvingPruner(1, 2, bootstrap_count=3, max_resource=8), crossing(4, 8))
        assert sorted(used(study)) == [1, 1, 2, 8]

    def test_several_objectives(self) -> None:
        """Both ends of the first front go on, nobody whom another one dominates."""
        first = np.array([[0.0, 9.0], [9.0, 0.0], [5.0, 5.0], [6.0, 6.0], [9.0, 9.0], [10.0, 10.0]])

        def objective(trial: Any) -> Iterator[Any]:
            for step in range(1, 10):
                yield step, tuple((first[trial.number] + 1 / step).tolist())

        rule = get_pruner("asha", min_resource=1, reduction_factor=3, max_resource=3)
        study = tunesmith.create_study(directions=["minimize", "minimize"], pruner=rule)
        study.optimize(objective, n_trials=6)
        assert used(study) == [9, 9, 1, 1, 1, 1]
        check_reload(study)

    def test_trials_that_others_keep_are_passed_over(self) -> None:
        """All that are due are wished for, in their order."""
        study = tunesmith.create_study(pruner="nop", seed=0)
        for value in (3.0, 1.0, 2.0, 5.0, 4.0, 6.0):
            (trial,) = study._session.claim(by_ask=False)
            trial.report(value, 1)
            study._session.pause(trial)
        wishes = list(get_pruner("asha", min_resource=1, reduction_factor=2).schedule(study.history))  # type: ignore[arg-type]
        assert [getattr(w, "number", None) for w in wishes] == [1, 2, 0, None]
        assert wishes[3] == Start()

    def test_the_highest_rung_comes_first(self) -> None:
        study = tunesmith.create_study(pruner="nop", seed=0)
        for values in ((1.0,), (2.0,), (3.0,), (9.0, 1.0), (9.0, 2.0)):
            (trial,) = study._session.claim(by_ask=False)
            for step, value in enumerate(values, 1):
                trial.report(value, step)
            study._session.pause(trial)
        wishes = list(get_pruner("asha", min_resource=1, reduction_factor=2).schedule(study.history))  # type: ignore[arg-type]
        assert [getattr(w, "number", None) for w in wishes] == [3, 0, 1, None]

    @pytest.mark.parametrize("rule", ["asha", "halving"])
    def test_workers_agree(self, rule: str) -> None:
        """Whatever the order, no rung lets more go on than its share, and none of those in it is left behind."""
        curves = crossing(48, 27)
        study = run(get_pruner(rule, min_resource=1, reduction_factor=3, max_resource=27), curves, n_jobs=4)
        came = np.array(used(study))
        assert set(came.tolist()) <= {1, 3, 9, 27}
        for level in (1, 3, 9):
            there = np.flatnonzero(came >= level)
            order = there[np.argsort(curves[there, level - 1])]
            share = len(there) // 3
            assert (came[order[:share]] > level).all()
            if rule == "asha" and share:
                assert (came > level).sum() <= 2 * share + 1


def synchronous(curves: Curves, n: int, eta: int) -> list[int]:
    """Brackets of n: sort, keep, continue."""
    steps, came = curves.shape[1], [0] * len(curves)
    for begin in range(0, len(curves), n):
        left, level = list(range(begin, min(begin + n, len(curves)))), 1
        size = len(left)
        for i in range(1, 20):
            if level >= min(n, steps):
                break
            for trial in left:
                came[trial] = level
            left = sorted(left, key=lambda t: curves[t, level - 1])[: max(1, size // eta**i)]
            level *= eta
        for trial in left:
            came[trial] = steps
    return came


class TestSynchronous:
    @pytest.mark.parametrize(("n", "eta"), [(9, 3), (8, 2), (10, 3), (27, 3), (16, 4), (1, 2)])
    @pytest.mark.parametrize("n_jobs", [1, 4])
    def test_as_simulated(self, n: int, eta: int, n_jobs: int) -> None:
        """Also the last bracket, which is not full."""
        for seed in range(2):
            curves = crossing(40, 27, seed)
            rule = SynchronousHalvingPruner(n, reduction_factor=eta)
            study = run(rule, curves, n_jobs=n_jobs)
            of = [int(t.system_attrs["tags"]["halving.bracket"]) for t in study.trials]
            assert [of.count(i) for i in range(max(of) + 1)] == [n] * (40 // n) + ([40 % n] if 40 % n else [])
            if n_jobs == 1:
                assert of == sorted(of)
            order = np.argsort(of, kind="stable")
            assert np.array(used(study))[order].tolist() == synchronous(curves[order], n, eta)

    def test_who_goes_on_waits_for_the_rung(self) -> None:
        losses = np.array([2.0, 1.0, 4.0, 3.0])[:, None] + np.zeros((4, 4))
        order: list[tuple[int, int]] = []

        def objective(trial: Any) -> Iterator[float]:
            for step, loss in enumerate(losses[trial.number].tolist(), 1):
                order.append((trial.number, step))
                yield loss

        study = tunesmith.create_study(pruner=SynchronousHalvingPruner(4, reduction_factor=2))
        study.optimize(objective, n_trials=4)
        assert order == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2), (0, 2), (1, 3), (1, 4)]

    def test_a_largest_resource_ends_the_rungs(self) -> None:
        study = run(SynchronousHalvingPruner(16, max_resource=4, reduction_factor=2), crossing(16, 27))
        assert Counter(used(study)) == {1: 8, 2: 4, 27: 4}

    def test_failed_and_nan_trials_block_no_rung(self) -> None:
        curves = np.arange(9.0)[:, None] + np.zeros((9, 9))
        curves[1] = np.nan

        def objective(trial: Any) -> Iterator[float]:
            for step, loss in enumerate(curves[trial.number].tolist(), 1):
                if (trial.number, step) in ((0, 1), (2, 2)):
                    raise ValueError
                yield loss

        study = tunesmith.create_study(pruner=SynchronousHalvingPruner(9))
        study.optimize(objective, n_trials=9, catch=ValueError)
        assert [t.state.name for t in study.trials[:4]] == ["FAIL", "PRUNED", "FAIL", "COMPLETE"]
        assert used(study)[3:] == [9, 3, 1, 1, 1, 1]

    def test_nobody_is_left(self) -> None:
        study = run(SynchronousHalvingPruner(3), np.full((6, 9), np.nan))
        assert [t.state for t in study.trials] == [TrialState.PRUNED] * 6

    def test_functions_are_judged_among_those_before(self) -> None:
        study = tunesmith.create_study(pruner=SynchronousHalvingPruner(27))
        study.optimize(function(np.arange(20, 0, -1.0)[:, None] + np.zeros((20, 9))), n_trials=20)
        assert used(study) == [1] + [9] * 19  # the first cannot know; then each is the best so far

    def test_workers_wait_only_for_what_runs(self) -> None:
        """All are started, one runs: wait. A trial of ``ask`` is none of the bracket's."""
        study = tunesmith.create_study(pruner="nop")
        rule = SynchronousHalvingPruner(2, reduction_factor=2)
        study.ask()
        first, second = (study._session.claim(by_ask=False, tags={"halving.bracket": 0})[0] for _ in range(2))
        first.report(1.0, 1)
        study._session.pause(first)
        assert list(rule.schedule(study.history)) == [Start({"halving.bracket": 1}), Idle.WAIT]  # type: ignore[arg-type]
        study._session.release(second)
        wishes = list(rule.schedule(study.history))  # type: ignore[arg-type]
        assert [getattr(w, "number", None) for w in wishes] == [first.number, None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "rule", [get_pruner("asha", min_resource=1, reduction_factor=3), SynchronousHalvingPruner(9)], ids=["asha", "sha"]
)
def test_taken_up_in_the_middle(rule: Any) -> None:
    """Interrupted at any trial, a study becomes what it would have become without."""
    curves = crossing(18, 9)
    whole = run(rule, curves)
    for number, step in ((0, 1), (4, 1), (8, 1), (17, 1), (int(np.argmax(used(whole))), 3)):
        study = tunesmith.create_study(pruner=rule, sampler="random", seed=0)

        def objective(trial: Any, number: int = number, step: int = step) -> Iterator[float]:
            trial.suggest_float("x", 0, 1)
            for k, loss in enumerate(curves[trial.number].tolist(), 1):
                if (trial.number, trial.attempt, k) == (number, 1, step):
                    raise KeyboardInterrupt
                yield loss

        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=18, keep_paused=True)
        begun = sum(t.state != TrialState.WAITING for t in study.trials)
        study.optimize(objective, n_trials=18 - begun)
        came = used(study)
        assert Counter(came) == Counter(used(whole)), (number, step)
        check_reload(study)


def test_the_log_read_again_says_the_same() -> None:
    """What was kept in between changes no wish."""
    rule = SuccessiveHalvingPruner(1, 3)
    study = run(rule, crossing(30, 27), keep_paused=True)
    levels = geometric(1, 3, 100)
    fresh = refolded(study).history()
    again = arrivals(fresh, levels)
    for ours, theirs in zip(vars(arrivals(study.history, levels)).values(), vars(again).values(), strict=False):
        np.testing.assert_array_equal(ours, theirs)
    assert list(rule.schedule(study.history)) == list(rule.schedule(fresh))  # type: ignore[arg-type]


def test_who_is_best() -> None:
    loss = np.array([[3.0], [1.0], [np.inf], [1.0], [2.0]])
    assert best(loss, np.array([0, 9, 2, 3, 4]), 3).tolist() == [3, 1, 4]
    assert best(loss, np.arange(5), 5).tolist() == [1, 3, 4, 0]
    assert best(loss, np.arange(5), 0).tolist() == []


@pytest.mark.parametrize("objectives", [2, 3])
def test_who_is_best_of_several_objectives(objectives: int) -> None:
    """Whole fronts, of the last one the loneliest; ties and infinities among them."""
    rng = np.random.default_rng(objectives)
    for high in (4, 1000):
        loss = rng.integers(0, high, (60, objectives)).astype(float)
        loss[5, 0], loss[6, 0] = np.inf, -np.inf
        ranks = nondomination_ranks(loss)
        found = best(loss, np.arange(60), 25)
        assert len(set(found.tolist())) == 25
        assert 5 not in found
        assert (np.diff(ranks[found]) >= 0).all()
        others = np.setdiff1d(np.arange(60), [*found, 5])
        assert ranks[found].max() <= ranks[others].min()
        last = np.flatnonzero(ranks == ranks[found[-1]])
        lonely = dict(zip(last.tolist(), crowding_distance(loss[last]).tolist(), strict=True))
        taken = [lonely[i] for i in found.tolist() if i in lonely]
        assert taken == sorted(taken, reverse=True)
        assert all(lonely[i] <= taken[-1] for i in lonely if i not in found and i != 5)


def test_a_verdict_of_a_row_that_the_history_does_not_have() -> None:
    study = run(SuccessiveHalvingPruner(1, 2), crossing(4, 8))
    row = tunesmith.history.OpenRow(99, TrialState.RUNNING, {}, {1: -5.0})
    assert SuccessiveHalvingPruner(1, 2).verdict(study.history, row) is Verdict.GO
    table = arrivals(study.history, (1.0, 2.0), trial=row)
    assert (table.number[-1], table.loss[-1, 0, 0], len(table.number)) == (99, -5.0, 5)
    assert len(arrivals(study.history, (1.0, 2.0)).number) == 4
    assert new_rung(row, (1.0, 2.0), "step") == 0
    assert new_rung(row, (1.0, 2.0), "samples") == -1


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"min_resource": 0}, InvalidValueError, "min_resource"),
        ({"min_resource": "all"}, InvalidValueError, "min_resource"),
        ({"min_resource": 1.5}, InvalidTypeError, "min_resource"),
        ({"min_resource": True}, InvalidTypeError, "min_resource"),
        ({"min_resource": 0.0, "resource": "seconds"}, InvalidValueError, "min_resource"),
        ({"min_resource": float("nan"), "resource": "seconds"}, InvalidValueError, "min_resource"),
        ({"reduction_factor": 1}, InvalidValueError, "reduction_factor"),
        ({"reduction_factor": 2.5}, InvalidTypeError, "reduction_factor"),
        ({"min_early_stopping_rate": -1}, InvalidValueError, "min_early_stopping_rate"),
        ({"bootstrap_count": -1, "min_resource": 1}, InvalidValueError, "bootstrap_count"),
        ({"bootstrap_count": 1}, InvalidValueError, "min_resource"),
        ({"min_resource": 10, "max_resource": 5}, InvalidValueError, "max_resource"),
        ({"resource": 3}, InvalidTypeError, "resource"),
        ({"resource": ""}, InvalidValueError, "resource"),
        ({"promote_first": 1}, InvalidTypeError, "promote_first"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        SuccessiveHalvingPruner(**options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_configurations": 0}, InvalidValueError, "n_configurations"),
        ({"n_configurations": 2.0}, InvalidTypeError, "n_configurations"),
        ({"min_resource": "auto"}, InvalidValueError, "min_resource"),
        ({"min_resource": 3, "max_resource": 2}, InvalidValueError, "max_resource"),
        ({"reduction_factor": 1}, InvalidValueError, "reduction_factor"),
    ],
)
def test_bad_arguments_of_the_synchronous_rule(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        SynchronousHalvingPruner(**options)
