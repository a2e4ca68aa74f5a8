"""Population-based training: who copies whom, what changes, and that it helps."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tunesmith
from tunesmith.distributions import BaseDistribution, Categorical, Float, Int
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialPruned
from tunesmith.pruners import get_pruner
from tunesmith.pruners._population import sampled
from tunesmith.pruners.pbt import PBTPruner, lineage, perturbed
from tunesmith.testing.studies import check_reload
from tunesmith.trial import TrialState


class Toy:
    """Figure 2 of the paper: ``Q = 1.2 - theta_0^2 - theta_1^2`` is wanted, and what is climbed is the gradient of the
    surrogate ``1.2 - h_0 theta_0^2 - h_1 theta_1^2``, whose hyperparameters h are what is searched.

    Attributes:
        steps: of a whole training.
        trained: (trial, step) in the order in which they were computed.
    """

    def __init__(self, steps: int = 60, rate: float = 0.02) -> None:
        self.steps, self.rate = steps, rate
        self.trained: list[tuple[int, int]] = []

    def __call__(self, trial: Any) -> Iterator[float]:
        h = np.array([trial.suggest_float("h0", 0, 1), trial.suggest_float("h1", 0, 1)])
        state = trial.load() or {"step": 0, "theta": np.array([0.9, 0.9])}
        theta = state["theta"]
        for step in range(state["step"] + 1, self.steps + 1):
            self.before(trial, step)
            self.trained.append((trial.number, step))
            theta = theta - self.rate * 2 * h * theta
            trial.save({"step": step, "theta": theta})
            yield 1.2 - float(theta @ theta)

    def before(self, trial: Any, step: int) -> None:
        """Something may happen."""


def rule(**options: Any) -> PBTPruner:
    return PBTPruner(**{"population": 6, "interval": 5, "steps": 60, **options})


def study_of(pruner: Any, seed: int = 0, **options: Any) -> tunesmith.Study:
    return tunesmith.create_study(direction="maximize", sampler="random", pruner=pruner, seed=seed, **options)


def run(toy: Toy | None = None, seed: int = 0, n_jobs: int = 1, **options: Any) -> tunesmith.Study:
    study = study_of(rule(**options), seed)
    study.optimize(toy or Toy(), n_jobs=n_jobs)
    return study


def facts(study: tunesmith.Study) -> list[Any]:
    return [(t.number, t.state, t.params, t.intermediate_values, t.system_attrs["tags"]) for t in study.trials]


def tag(trial: Any, name: str) -> int:
    return int(trial.system_attrs["tags"][f"pbt.{name}"])


# -- it helps ----------------------------------------------------------------------------------------------------------


def test_it_beats_the_best_of_as_many_trainings() -> None:
    """The same steps in all, six seeds."""
    gains = []
    for seed in range(6):
        fixed = study_of("nop", seed)
        fixed.optimize(Toy(), n_trials=6)
        gains.append(run(seed=seed).best_value - fixed.best_value)
    assert min(gains) > -0.05
    assert np.mean(gains) > 0.03
    assert sum(gain > 0 for gain in gains) >= 5


def test_the_papers_figure() -> None:
    """Two members, each of which can improve one coordinate alone: without copying neither gets above 0.4."""
    results = []
    for pruner in ("nop", PBTPruner(population=2, interval=5, quantile=0.5, resample_probability=0.0, steps=200)):
        study = study_of(pruner)
        study.enqueue_trial({"h0": 1.0, "h1": 0.0})
        study.enqueue_trial({"h0": 0.0, "h1": 1.0})
        study.optimize(Toy(200), n_trials=2 if pruner == "nop" else None)
        results.append(study.best_value)
    assert results[0] < 0.4
    assert results[1] > 1.0


# -- who does what -----------------------------------------------------------------------------------------------------


def test_each_round_the_worst_is_replaced_by_a_copy_of_the_best() -> None:
    toy = Toy()
    study = run(toy)
    check_reload(study)
    assert len(toy.trained) == 6 * 60  # no step is lost, and none is done twice
    trials = study.trials
    children = [t for t in trials if "pbt.parent" in t.system_attrs["tags"]]
    assert len(children) > 5
    for child in children:
        parent, step = trials[tag(child, "parent")], tag(child, "step")
        assert min(child.intermediate_values) == step + 1
        (loser,) = [
            t for t in trials
            if tag(t, "member") == tag(child, "member") and max(t.intermediate_values) == step and t is not child
        ]  # fmt: skip
        assert loser.state == TrialState.PRUNED
        there = [t.intermediate_values[step] for t in trials if step in t.intermediate_values]
        assert len(there) == 6
        assert parent.intermediate_values[step] == max(there)
        assert loser.intermediate_values[step] == min(there)
    assert sum(t.state == TrialState.COMPLETE for t in trials) == 6
    assert all(max(t.intermediate_values) == 60 for t in trials if t.state == TrialState.COMPLETE)


def test_a_child_goes_on_with_its_parents_weights() -> None:
    study = run()
    for child in study.trials[6:]:
        parent, step = study.trials[tag(child, "parent")], tag(child, "step")
        assert child.intermediate_values[step + 1] >= parent.intermediate_values[step]


@pytest.mark.parametrize("quantile", [0.0, 0.34, 0.5])
def test_how_many_are_replaced(quantile: float) -> None:
    study = run(quantile=quantile, population=6)
    rounds = [tag(t, "round") for t in study.trials[6:]]
    assert max(np.bincount(rounds), default=0) == int(quantile * 6)


def test_the_schedule_of_the_best() -> None:
    study = run()
    found = lineage(study)
    assert found[-1].number == study.best_trial.number
    assert [found[0].first, found[-1].last] == [1, 60]
    assert all(a.last + 1 == b.first for a, b in itertools.pairwise(found))
    theta = np.array([0.9, 0.9])
    for stretch in found:
        assert stretch.params == study.trials[stretch.number].params
        for _ in range(stretch.first, stretch.last + 1):
            theta = theta - 0.02 * 2 * np.array([stretch.params["h0"], stretch.params["h1"]]) * theta
    assert 1.2 - float(theta @ theta) == study.best_value  # the schedule alone gives the same training
    assert lineage(study.history, 0)[-1].number == 0
    with pytest.raises(InvalidValueError, match="no trial 99"):
        lineage(study, 99)
    with pytest.raises(InvalidValueError, match="no best schedule"):
        lineage(study_of("pbt"))


def test_members_that_fail_are_replaced() -> None:
    class Failing(Toy):
        failed = 0

        def before(self, trial: Any, step: int) -> None:
            if (trial.number, step) == (2, 7) or (self.failed == 1 and step == 23):
                self.failed += 1
                raise ZeroDivisionError

    study = study_of(rule())
    study.optimize(Failing(), catch=ZeroDivisionError)
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 6
    assert sum(t.state == TrialState.FAIL for t in study.trials) == 2
    (after,) = [t for t in study.trials if tag(t, "member") == 2 and tag(t, "round") == 2]
    assert tag(after, "step") == 10
    check_reload(study)


def test_trials_that_end_by_themselves_and_values_that_are_none() -> None:
    class Odd(Toy):
        def __call__(self, trial: Any) -> Iterator[float]:
            for value in super().__call__(trial):
                yield float("nan") if trial.number % 3 == 1 else value
                if trial.number == 0 and self.trained[-1][1] == 12:
                    return

    study = run(Odd())
    assert study.trials[0].state == TrialState.COMPLETE
    assert not any(tag(t, "parent") % 3 == 1 for t in study.trials[6:])
    check_reload(study)


def test_without_the_number_of_steps_the_last_children_are_pruned() -> None:
    study = run(steps=None)
    last = [t for t in study.trials if tag(t, "step") == 60]
    assert last
    assert all(t.state == TrialState.PRUNED and t.value is None for t in last)
    assert len(lineage(study)) > 1
    check_reload(study)


def test_few_trials_alone() -> None:
    """``n_trials`` counts children too; who cannot be replaced goes on."""
    for n_trials in (1, 4, 6, 8):
        study = study_of(rule())
        study.optimize(Toy(), n_trials=n_trials)
        assert len(study.trials) == n_trials
        assert sum(t.state == TrialState.COMPLETE for t in study.trials) == min(n_trials, 6)
        check_reload(study)


def test_trials_that_are_not_of_the_population_run_to_their_end() -> None:
    study = study_of(rule())
    study.optimize(Toy(), n_trials=8)
    study.enqueue_trial({"h0": 0.5, "h1": 0.5})
    study.optimize(Toy(), n_trials=1)
    assert study.trials[-1].state == TrialState.COMPLETE


def test_a_function_takes_part() -> None:
    def objective(trial: Any) -> float:
        h = np.array([trial.suggest_float("h0", 0, 1), trial.suggest_float("h1", 0, 1)])
        state = trial.load() or {"step": 0, "theta": np.array([0.9, 0.9])}
        theta = state["theta"]
        for step in range(state["step"] + 1, 61):
            theta = theta - 0.02 * 2 * h * theta
            trial.report(1.2 - float(theta @ theta), step)
            trial.save({"step": step, "theta": theta})
            if trial.should_prune():
                raise TrialPruned
        return 1.2 - float(theta @ theta)

    study = study_of(rule())
    study.optimize(objective)
    assert facts(study) == facts(run())


@pytest.mark.parametrize("every", [2, 100])
def test_an_objective_that_does_not_save(every: int) -> None:
    def objective(trial: Any) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        for step in range(1, 20):
            if step % every == 0:
                trial.save(step)
            yield float(step)

    with pytest.raises(InvalidValueError, match=r"trial 0 has (not saved any|saved that of step 4 last).*trial.save"):
        study_of(rule()).optimize(objective)


# -- the same again ----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    assert facts(run(seed=3)) == facts(run(seed=3))
    assert facts(run(seed=3)) != facts(run(seed=4))


def test_paused_members_need_not_stay_in_memory() -> None:
    study = study_of(rule(), 3)
    study.optimize(Toy(), max_paused=0)
    values = [(t.params, t.intermediate_values, t.state) for t in study.trials]
    assert values == [(t.params, t.intermediate_values, t.state) for t in run(seed=3).trials]


def test_several_workers() -> None:
    toy = Toy()
    study = run(toy, n_jobs=3)
    assert len(toy.trained) == len(set(toy.trained)) == 6 * 60
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 6
    check_reload(study)


def test_interrupted_anywhere_it_comes_to_the_same_end() -> None:
    """Ctrl-C after every so many steps, and each time another handle goes on."""
    whole = facts(run())

    class Interrupted(Toy):
        def before(self, trial: Any, step: int) -> None:
            if len(self.trained) % 17 == 16 and len(self.trained) != self.last:
                self.last = len(self.trained)
                raise KeyboardInterrupt

        last = 0

    storage = tunesmith.storages.InMemoryStorage()
    study, toy = study_of(rule(), storage=storage, study_name="s"), Interrupted()
    for _ in range(30):
        try:
            study.optimize(toy)
            break
        except KeyboardInterrupt:
            study = tunesmith.load_study(study_name="s", storage=storage)
    assert len(toy.trained) == 6 * 60
    assert facts(study) == whole
    check_reload(study)


class Killed(Toy):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def before(self, trial: Any, step: int) -> None:
        if len(self.trained) == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_processes(tmp_path: Path) -> None:
    """The population, killed again and again, becomes what it would have become; no state stays on the disk."""
    url = f"{tmp_path}/s.jsonl"
    study = study_of(rule(), storage=url, study_name="s")
    for after in (13, 41, 150):
        child = os.fork()
        if child == 0:
            try:
                tunesmith.load_study(study_name="s", storage=url).optimize(Killed(after))
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    study.optimize(Toy())
    assert facts(study) == facts(run())
    assert [f.name for f in tmp_path.rglob("*") if ".alive" not in str(f)] == ["s.jsonl"]  # heartbeats of the dead stay
    check_reload(study)


def test_two_processes_share_a_population(tmp_path: Path) -> None:
    """Each may continue what the other has paused, because that was saved."""
    url = f"sqlite:///{tmp_path}/s.db"
    study = study_of(rule(population=4), storage=url, study_name="s")
    children = []
    for _ in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                tunesmith.load_study(study_name="s", storage=url).optimize(Toy(rate=0.01))
                code = 0
            finally:
                os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 4
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        first, last = tag(trial, "step") + 1, max(trial.intermediate_values)
        assert list(trial.intermediate_values) == list(range(first, last + 1))
    assert not (tmp_path / "s.db.states").exists()
    check_reload(study)


def test_minimising_the_negative_goes_the_same_way() -> None:
    class Negative(Toy):
        def __call__(self, trial: Any) -> Iterator[float]:
            for value in super().__call__(trial):
                yield -value

    study = tunesmith.create_study(sampler="random", pruner=rule(), seed=0)
    study.optimize(Negative())
    assert [t.params for t in study.trials] == [t.params for t in run().trials]


def test_it_comes_back_from_the_log() -> None:
    study = study_of(rule(params=["h0"], factors=[0.5, 2.0]), storage="sqlite://", study_name="s")
    other = tunesmith.load_study(study_name="s", storage=study.storage)
    assert other.pruner == study.pruner
    assert get_pruner("pbt") == PBTPruner()


# -- what changes ------------------------------------------------------------------------------------------------------


def test_only_the_named_parameters_change() -> None:
    study = run(params=["h0"])
    assert len(study.trials) > 8
    for child in study.trials[6:]:
        parent = study.trials[tag(child, "parent")]
        assert child.params["h1"] == parent.params["h1"]
    assert any(c.params["h0"] != study.trials[tag(c, "parent")].params["h0"] for c in study.trials[6:])


def test_conditions() -> None:
    """A parameter that a new choice switches on is drawn; one that it switches off is gone."""
    space = tunesmith.Space(
        {"kind": Categorical(["a", "b"]), "lr": Float(1e-4, 1.0, log=True), "m": Float(0, 1), "depth": Int(1, 9)},
        conditions={"m": "kind == 'b'"},
    )

    def objective(trial: Any) -> Iterator[float]:
        kind, lr = trial.suggest_categorical("kind", ["a", "b"]), trial.suggest_float("lr", 1e-4, 1.0, log=True)
        m = trial.suggest_float("m", 0, 1) if kind == "b" else 0.0
        depth = trial.suggest_int("depth", 1, 9)
        for step in range((trial.load() or 0) + 1, 41):
            trial.save(step)
            yield -abs(np.log(lr) + 3) + m + depth / 9 + step * 1e-3

    study = tunesmith.create_study(
        direction="maximize", space=space, seed=1, pruner=PBTPruner(population=6, interval=4, steps=40, quantile=0.34)
    )
    study.optimize(objective)
    kinds = set()
    for trial in study.trials:
        assert ("m" in trial.params) == (trial.params["kind"] == "b")
        if "pbt.parent" in trial.system_attrs["tags"]:
            kinds.add((study.trials[tag(trial, "parent")].params["kind"], trial.params["kind"]))
    assert len(kinds) >= 2
    check_reload(study)


numbers = st.sampled_from([0.5, 0.8, 1.2, 2.0])
ranges = st.sampled_from([
    Float(1e-5, 1e-1, log=True), Float(0.0, 1.0), Float(-2.0, 3.0), Float(0.1, 0.9, step=0.1), Float(0, 10, step=2.5),
    Int(1, 512, log=True), Int(0, 7), Int(-5, 5), Int(2, 20, step=3), Categorical([16, 32, 64]), Categorical(["a"]),
    Categorical(["a", "b"]), Categorical([0.5, "x"]), Categorical([3, 1, 2]), Categorical([True, False]),
    Categorical([None, 1]),
])  # fmt: skip


@given(ranges, st.floats(0, 1, exclude_max=True), numbers)
@settings(max_examples=300, deadline=None)
def test_perturbed_values_are_in_their_range_and_go_the_right_way(
    distribution: BaseDistribution, place: float, factor: float
) -> None:
    value = sampled(distribution, place)
    moved = perturbed(distribution, value, factor)
    assert distribution.contains(moved)
    assert type(moved) is type(value)
    if isinstance(distribution, Categorical):
        if distribution.choices in ((16, 32, 64), (3, 1, 2)):
            assert (moved > value) == (factor > 1 and value != max(distribution.choices))
        else:
            assert moved == value
    elif distribution.low > 0 and distribution.step is None:
        assert moved == min(max(value * factor, distribution.low), distribution.high)
    else:
        assert moved >= value if factor > 1 else moved <= value
        at_end = value == (distribution.high if factor > 1 else distribution.low)
        assert (moved == value) == at_end


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"population": 1}, InvalidValueError, "population"),
        ({"population": 2.5}, InvalidTypeError, "population"),
        ({"interval": 0}, InvalidValueError, "interval"),
        ({"quantile": 0.6}, InvalidValueError, "quantile"),
        ({"quantile": float("nan")}, InvalidValueError, "quantile"),
        ({"resample_probability": 1.5}, InvalidValueError, "resample_probability"),
        ({"factors": []}, InvalidTypeError, "factors"),
        ({"factors": [0.0]}, InvalidValueError, "factors"),
        ({"factors": "ab"}, InvalidTypeError, "factors"),
        ({"params": "lr"}, InvalidTypeError, "params"),
        ({"params": [1]}, InvalidTypeError, "params"),
        ({"steps": 0}, InvalidValueError, "steps"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        PBTPruner(**options)
