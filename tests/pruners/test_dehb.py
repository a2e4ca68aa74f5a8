"""DEHB: its brackets, who is trained how far, several workers, and that it helps."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pruners.dehb_studies import CUBE, FIRST, LATER, NINE, generator, job, run, steps, tags

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors.simulator import SimulatorExecutor
from tunesmith.pruners import BasePruner, Start, get_pruner
from tunesmith.pruners._subpopulations import rounds_of_hyperband
from tunesmith.pruners.dehb import DEHBPruner
from tunesmith.pruners.hyperband import HyperbandPruner, _brackets
from tunesmith.testing.pruners import PrunerKit
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialPruned, TrialState

# -- brackets ----------------------------------------------------------------------------------------------------------


def test_the_brackets_of_hyperbands_paper() -> None:
    """Its table for R = 81."""
    plan = rounds_of_hyperband(1.0, 81.0, 3, True)
    assert plan.levels == (1, 3, 9, 27, 81)
    assert plan.sizes.tolist() == [
        [81, 27, 9, 3, 1], [0, 34, 11, 3, 1], [0, 0, 15, 5, 1], [0, 0, 0, 8, 2], [0, 0, 0, 0, 5],
    ]  # fmt: skip
    assert plan.places.tolist() == [81, 34, 15, 8, 5]


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 50), (2, 100), (3, 30), (5, 9), (1, 1000)])
def test_the_brackets_are_those_of_our_hyperband(low: int, high: int, factor: int) -> None:
    plan = rounds_of_hyperband(float(low), float(high), factor, True)
    levels, brackets = _brackets(float(low), float(high), factor, True)
    assert plan.levels == (*levels, high)
    assert [plan.size(i, plan.first(i)) for i in range(plan.round)] == [bracket.size for bracket in brackets]
    for i, bracket in enumerate(brackets):
        kept = [bracket.kept(int(bracket.size), rung) for rung in range(bracket.rungs)]
        assert [plan.size(i, level) for level in range(i + 1, plan.round)] == kept


def test_enormous_brackets_are_cut_off() -> None:
    plan = rounds_of_hyperband(1e-300, 1e300, 10, False)
    assert (plan.sizes >= 0).all()
    assert plan.sizes.max() == 2**40
    pruner = DEHBPruner(max_resource=2**60)
    assert len(run(pruner, 5, lambda trial: generator(trial, 2)).trials) == 5


def test_places_are_targets_in_turn() -> None:
    """One after the other over all brackets, whatever part of the population a bracket needs."""
    plan = rounds_of_hyperband(1.0, 27.0, 3, True)
    for level in range(4):
        found = [
            int(plan.place(np.array([bracket]), np.array([level]), np.array([job]))[0])
            for bracket in range(11)
            for job in range(plan.size(bracket, level))
        ]
        assert found == [i % int(plan.places[level]) for i in range(len(found))]


# -- who is trained how far --------------------------------------------------------------------------------------------


def test_the_first_round_is_successive_halving() -> None:
    """Synchronous Hyperband in all but the configurations of the later brackets."""
    study = run(n=FIRST)
    assert Counter(steps(study)[:9]) == {1: 6, 3: 2, 9: 1}
    assert Counter(steps(study)[9:14]) == {3: 4, 9: 1}
    assert Counter(steps(study)[14:]) == {9: 3}
    ended = run(HyperbandPruner(max_resource=9, synchronous=True), n=9)
    assert [t.params for t in ended.trials] == [t.params for t in study.trials[:9]]
    assert steps(ended) == steps(study)[:9]
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 5
    check_reload(study)


def test_later_rounds_promote_nobody() -> None:
    study = run()
    for first in (FIRST, FIRST + LATER):
        later = study.trials[first : first + LATER]
        assert Counter(len(t.intermediate_values) for t in later) == {1: 9, 3: 3 + 5, 9: 1 + 1 + 3}
        for trial in later:
            whole = len(trial.intermediate_values) == 9
            assert trial.state == (TrialState.COMPLETE if whole else TrialState.PRUNED)
            assert len(trial.intermediate_values) == (1, 3, 9)[job(trial)[1]]
            assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
    assert [job(t)[0] for t in study.trials] == sorted(job(t)[0] for t in study.trials)
    assert not any(event["e"] == "pause" for r in _log(study)[_begun_at(study, FIRST) :] for event in r)


def _log(study: tunesmith.Study) -> list[list[dict[str, Any]]]:
    return study.storage.read(study._log.study)


def _begun_at(study: tunesmith.Study, number: int) -> int:
    return next(i for i, r in enumerate(_log(study)) if any(e["e"] == "ask" and e["n"] == number for e in r))


def test_promotion_in_all_rounds() -> None:
    """Every bracket is halved, and what it begins with evolves. It begins as the search that promotes in one round."""
    study = run(DEHBPruner(max_resource=9, promote_rounds=None), n=3 * FIRST)
    for first in (0, FIRST, 2 * FIRST):
        assert Counter(steps(study)[first : first + 9]) == {1: 6, 3: 2, 9: 1}
        assert Counter(steps(study)[first + 9 : first + 14]) == {3: 4, 9: 1}
        assert Counter(steps(study)[first + 14 : first + FIRST]) == {9: 3}
    once = run(n=FIRST + 1)
    assert [t.params for t in once.trials] == [t.params for t in study.trials[: FIRST + 1]]
    twice = run(DEHBPruner(max_resource=9, promote_rounds=2), n=2 * FIRST + LATER)
    assert [t.params for t in twice.trials[: 2 * FIRST]] == [t.params for t in study.trials[: 2 * FIRST]]
    assert Counter(steps(twice)[2 * FIRST :]) == {1: 9, 3: 8, 9: 5}
    check_reload(study)


def test_a_function_is_trained_anew_where_a_generator_goes_on() -> None:
    def function(trial: Any) -> float:
        value = np.nan
        for step, value in enumerate(generator(trial), 1):
            trial.report(value, step)
            if trial.should_prune():
                raise TrialPruned
        return value

    study, paused = run(n=60, objective=function), run(n=FIRST)
    copies = [t for t in study.trials if "copied" in tags(t)]
    assert [job(t) for t in copies] == [(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 0), (1, 2, 0)]
    assert all(t.params == study.trials[int(tags(t)["copied"])].params for t in copies)
    best = sorted(study.trials[:9], key=lambda t: t.intermediate_values[1])[:3]
    assert [int(tags(t)["copied"]) for t in copies[:3]] == [t.number for t in best]
    went_on = [t.params for t in paused.trials[:9] if len(t.intermediate_values) >= 3]
    assert {tuple(p.values()) for p in went_on} == {tuple(t.params.values()) for t in copies[:3]}
    assert {len(t.intermediate_values) for t in study.trials} == {1, 3, 9}
    assert len({job(t) for t in study.trials}) == 60


def test_when_there_are_few_trials_the_first_bracket_is_halved_as_it_is() -> None:
    study = run(n=6)
    assert Counter(steps(study)) == {1: 4, 3: 1, 9: 1}
    assert study.best_trial.state == TrialState.COMPLETE


def test_trials_that_fail_or_diverge_are_not_waited_for() -> None:
    def odd(trial: Any) -> Iterator[float]:
        for step, value in enumerate(generator(trial), 1):
            if trial.number % 4 == 1 and step == 1:
                raise ZeroDivisionError
            yield np.nan if trial.number % 4 == 2 and step >= 2 else value

    study = run(objective=odd, catch=ZeroDivisionError)
    counts = Counter((b, level) for b, level, _ in map(job, study.trials))
    assert all(counts[6 + b, b] == n for b, n in enumerate((9, 5, 3)))
    for trial in study.trials:
        if trial.state == TrialState.PRUNED and trial.number % 4 == 2:
            assert len(trial.intermediate_values) <= 3  # it is stopped on the first rung after it has diverged
    check_reload(study)


def test_trials_that_end_by_themselves_count_with_their_last_value() -> None:
    """Trainings of four epochs, and R = 9."""
    study = run(objective=lambda trial: generator(trial, 4), n=FIRST + LATER)
    assert Counter(steps(study)[:9]) == {1: 6, 3: 2, 4: 1}
    assert Counter(job(t)[:2] for t in study.trials[FIRST:]) == {
        (3, 0): 9, (3, 1): 3, (3, 2): 1, (4, 1): 5, (4, 2): 1, (5, 2): 3,
    }  # fmt: skip


# -- several workers, and the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [3, 16])
def test_nobody_waits(workers: int) -> None:
    """While a rung waits for its last trials the next bracket begins. No job is done twice or left out."""
    study = tunesmith.create_study(space=CUBE, sampler="random", pruner=NINE, seed=0)
    executor = SimulatorExecutor(workers, max_reports=600)
    study.optimize(generator, backend=executor, keep_paused=True)
    assert executor.seconds == -(-600 // workers)
    jobs = Counter(job(t) for t in study.trials)
    assert set(jobs.values()) == {1}
    plan = rounds_of_hyperband(1.0, 9.0, 3, True)
    done = max(b for b, _, _ in jobs) - workers
    assert done >= 3
    for bracket in range(3, done):
        for level in range(3):
            assert sum(b == bracket and at == level for b, at, _ in jobs) == plan.size(bracket, level)
    overlapping = sum(a > b for a, b in itertools.pairwise(job(t)[0] for t in study.trials))
    assert overlapping > 0


def test_threads() -> None:
    study = run(n=60, n_jobs=4)
    assert len({job(t) for t in study.trials}) == 60
    check_reload(study)


@pytest.mark.parametrize("promote_rounds", [1, None])
def test_a_study_in_many_pieces_is_that_of_one(tmp_path: Path, promote_rounds: int | None) -> None:
    """Cut off in the middle of trials and opened again, so that what was paused or was running begins again."""
    url, pruner = str(tmp_path / "log.jsonl"), DEHBPruner(max_resource=9, promote_rounds=promote_rounds)
    for reports in (7, 23, 50, 81, 3, 40, 60):
        study = tunesmith.create_study(
            study_name="s", storage=url, space=CUBE, sampler="random", pruner=pruner, seed=0, load_if_exists=True
        )
        study.optimize(generator, backend=SimulatorExecutor(1, max_reports=reports), keep_paused=True)
        study.storage.close()
    found = tunesmith.load_study(study_name="s", storage=url).trials
    assert len(found) > FIRST + 20
    whole = run(pruner, n=len(found)).trials
    assert [(t.params, tags(t)) for t in found] == [(t.params, tags(t)) for t in whole]
    ended = [k for k, t in enumerate(found) if t.state.is_finished()]
    assert [found[k].intermediate_values for k in ended] == [whole[k].intermediate_values for k in ended]


def test_jobs_of_other_arguments_are_trials_of_others() -> None:
    """The rule may be replaced in the middle."""
    study = run(DEHBPruner(max_resource=9, reduction_factor=2), n=30)
    study.pruner = DEHBPruner(min_resource=9, max_resource=9)
    study.optimize(generator, n_trials=5)
    assert [len(t.intermediate_values) for t in study.trials[30:]] == [9] * 5
    study.pruner = NINE
    study.optimize(generator, n_trials=20)
    assert len(study.trials) == 55
    check_reload(study)


class TestKit(PrunerKit):
    """The conformance kit over several rounds: with R = 9 from 3 on, a round is 3-1 and 2."""

    pruner_class = DEHBPruner
    options: ClassVar = {"min_resource": 3, "max_resource": 9}
    trials = 24
    cuts = 11


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_auto_is_what_the_first_complete_trial_has_used() -> None:
    study = run(get_pruner("dehb"), n=1 + FIRST)
    assert tags(study.trials[0]) == {}
    assert Counter(steps(study)) == {9: 1 + 1 + 1 + 3, 3: 2 + 4, 1: 6}

    def from_zero(trial: Any) -> Iterator[Any]:
        yield from enumerate(generator(trial))

    counted = run(get_pruner("dehb"), n=1 + FIRST, objective=from_zero)
    assert {max(t.intermediate_values) for t in counted.trials} == {1, 3, 8}


def test_a_reported_metric_is_the_resource() -> None:
    def objective(trial: Any) -> Iterator[dict[str, float]]:
        for step, value in enumerate(generator(trial), 1):
            yield {"loss": value, "samples": 100.0 * step}

    pruner = DEHBPruner(min_resource=100, max_resource=900.0, resource="samples")
    by_metric, by_step = run(pruner, objective=objective), run()
    assert [t.params for t in by_metric.trials] == [t.params for t in by_step.trials]
    assert steps(by_metric) == steps(by_step)


def test_several_objectives_are_left_alone() -> None:
    study = tunesmith.create_study(directions=["minimize", "minimize"], sampler="random", pruner=NINE, space=CUBE)
    study.optimize(lambda trial: ((i, (v, -v)) for i, v in enumerate(generator(trial), 1)), n_trials=12)
    assert [tags(t) for t in study.trials] == [{}] * 12
    assert steps(study) == [9] * 12
    assert NINE.schedule(study.history) == Start()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"min_resource": 0}, InvalidValueError, "min_resource"),
        ({"min_resource": "auto"}, InvalidValueError, "min_resource"),
        ({"min_resource": 10, "max_resource": 9}, InvalidValueError, "max_resource"),
        ({"max_resource": 9.5}, InvalidTypeError, "max_resource"),
        ({"max_resource": "most"}, InvalidValueError, "max_resource"),
        ({"reduction_factor": 1}, InvalidValueError, "reduction_factor"),
        ({"reduction_factor": 3.0}, InvalidTypeError, "reduction_factor"),
        ({"mutation": -0.1}, InvalidValueError, "mutation"),
        ({"mutation": 2.5}, InvalidValueError, "mutation"),
        ({"mutation": None}, InvalidTypeError, "mutation"),
        ({"recombination": 1.5}, InvalidValueError, "recombination"),
        ({"recombination": True}, InvalidTypeError, "recombination"),
        ({"promote_rounds": 0}, InvalidValueError, "promote_rounds"),
        ({"promote_rounds": 1.5}, InvalidTypeError, "promote_rounds"),
        ({"resource": ""}, InvalidValueError, "resource"),
        ({"resource": 3}, InvalidTypeError, "resource"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        DEHBPruner(**options)


# -- it helps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("promote_rounds", [1, None])
def test_it_is_better_than_hyperband_with_as_many_steps(promote_rounds: int | None) -> None:
    """Four seeds, 400 steps each."""

    def best(pruner: BasePruner, seed: int) -> float:
        study = tunesmith.create_study(space=CUBE, sampler="random", pruner=pruner, seed=seed)
        study.optimize(generator, backend=SimulatorExecutor(1, max_reports=400))
        return study.best_value

    evolved = [best(DEHBPruner(max_resource=9, promote_rounds=promote_rounds), seed) for seed in range(4)]
    random = [best(HyperbandPruner(max_resource=9, synchronous=True), seed) for seed in range(4)]
    assert np.mean(evolved) < np.mean(random)
    assert sum(a < b for a, b in zip(evolved, random, strict=True)) >= 3
