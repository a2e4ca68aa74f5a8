"""The conformance kit for stopping rules: the promises of :class:`tunesmith.pruners.BasePruner`, as tests.

Whoever writes a rule subclasses the kit in a test module::

    class TestMyRule(PrunerKit):
        pruner_class = MyRule
        options = {"patience": 3}

Some promises depend on the rule, which may say so by attributes (or properties) of the class, all false or empty when
missing:

- ``may_stop_best``: a trial may be stopped at a step where it is better than every other one was there;
- ``absolute``: the rule looks at the values themselves, so that maximising -f goes another way than minimising f;
- ``invariant``: adding a number to all losses, or multiplying all with a positive one, changes no verdict;
- ``metrics``: names of reported metrics that the rule looks at beside the objective and its ``resource``. The kit's
  objectives report them, with the loss as their value.

Needs pytest.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tunesmith.exceptions import MissingDependencyError
from tunesmith.pruners import BasePruner
from tunesmith.storages import BaseStorage, discover
from tunesmith.study import Study
from tunesmith.testing._rules import (
    INF,
    NAN,
    OnPurpose,
    Task,
    facts,
    interleaved,
    load,
    new_study,
    rebuilt,
    records,
    search,
)
from tunesmith.testing._rules_purity import RulePurity
from tunesmith.testing._rules_reports import RuleReports
from tunesmith.testing._searches import stored
from tunesmith.trial import Trial, TrialState

Rule = tuple[type[BasePruner], dict[str, Any]]
PERSISTENT = [found for found in discover() if found.persistent]


class PrunerKit(RulePurity, RuleReports):
    """What holds for every stopping rule.

    Attributes:
        pruner_class: the class under test.
        options: its arguments.
        trials: how many trials most tests begin; enough for the rule to have stopped or paused some.
        epochs: of each trial; enough for several rungs.
        cuts: where a log is cut to see that the study goes on: after every record, or after every so many.
    """

    pruner_class: ClassVar[type[BasePruner]]
    options: ClassVar[dict[str, Any]] = {}
    trials: ClassVar[int] = 12
    epochs: ClassVar[int] = 9
    cuts: ClassVar[int] = 3

    @pytest.fixture
    def rule(self) -> Rule:
        """The class under test and its options. Override it with a parametrised fixture to test several."""
        return self.pruner_class, self.options

    @pytest.fixture
    def pruner(self, rule: Rule) -> BasePruner:
        """A new instance."""
        try:
            return rule[0](**rule[1])
        except MissingDependencyError as error:
            pytest.skip(str(error))

    def _task(self, pruner: BasePruner, **options: Any) -> Task:
        return Task(pruner, self.epochs, most=self.trials * self.epochs, **options)

    def _any_whole(self, study: Study) -> bool:
        """Whether a trial came to its end."""
        return any(max(t.intermediate_values, default=0) == self.epochs for t in study.trials)

    # -- studies end --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("n_jobs", [1, 2])
    @pytest.mark.parametrize("kind", ["generator", "function"])
    def test_studies_end(self, pruner: BasePruner, kind: str, n_jobs: int) -> None:
        """No step is computed twice, and no trial is left open. A function, which cannot be paused, is stopped."""
        task = self._task(pruner)
        study = search(new_study(pruner), getattr(task, kind), self.trials, n_jobs=n_jobs)
        assert 1 <= len(study.trials) <= self.trials
        assert task.steps == sum(len(t.intermediate_values) for t in study.trials)
        assert self._any_whole(study) or kind == "function", "no trial came to its end"

    @pytest.mark.parametrize("lanes", [1, 3, 20])
    def test_lanes(self, pruner: BasePruner, lanes: int) -> None:
        """Trials side by side, also more than there will be."""
        task = self._task(pruner)
        study = search(new_study(pruner), task, self.trials, lanes=lanes)
        assert task.steps == sum(len(t.intermediate_values) for t in study.trials)
        assert self._any_whole(study), "no trial came to its end"

    def test_one_lane_is_one_worker(self, pruner: BasePruner) -> None:
        """A study in one lane goes the way of one with a generator."""
        one = search(new_study(pruner), self._task(pruner).generator, self.trials)
        assert facts(search(new_study(pruner), self._task(pruner), self.trials, lanes=1)) == facts(one)

    def test_in_two_parts(self, pruner: BasePruner) -> None:
        """A second ``optimize`` goes on after the first, which ended the trials that it had paused."""
        task = self._task(pruner)
        study = search(new_study(pruner), task.generator, self.trials // 2)
        search(study, task.generator, self.trials)
        assert len(study.trials) <= self.trials
        kept = search_keeping_paused(pruner, self._task(pruner), self.trials)
        assert task.steps == sum(len(t.intermediate_values) for t in study.trials)
        assert kept <= self.trials

    def test_trials_of_others(self, pruner: BasePruner) -> None:
        """Enqueued configurations, added trials, and trials of ``ask`` have no tags of the rule's."""
        study = new_study(pruner)
        task = Task(pruner, self.epochs)
        search(study, task.generator, 3)
        for trial in study.get_trials():
            study.add_trial(trial)
        study.enqueue_trial({"x": 0.25, "y": 0.5})
        study.enqueue_trial({"x": 0.5})
        asked = study.ask()
        study.optimize(task.generator, n_trials=self.trials - 3, timeout=60)
        study.tell(asked, 1.0)
        search(study, task.generator, len(study.trials) + 1)
        assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}

    @pytest.mark.parametrize("how", ["raises", "never yields", "returns", "nan", "swallows", "ends early", "infinite"])
    @pytest.mark.parametrize("lot", ["some", "all"])
    def test_odd_generators(self, pruner: BasePruner, how: str, lot: str) -> None:
        """They raise in the middle, yield nothing, return a value at once, yield NaN or infinities, go on after they
        were told to stop, or end after a step."""
        task = self._task(pruner)

        def objective(trial: Trial) -> Generator[Any, None, float | None]:
            odd = lot == "all" or trial.number % 3 == 1
            yield from _odd(how, task, trial) if odd else task.generator(trial)
            return float(trial.number) if odd and how == "returns" else None

        study = search(new_study(pruner), objective, self.trials)
        assert 1 <= len(study.trials) <= self.trials

    def test_the_winner_was_not_stopped(self, pruner: BasePruner) -> None:
        """The rule stops no trial at a step where it is better than every other one was there."""
        if getattr(pruner, "may_stop_best", False):
            return
        study = interleaved(pruner, self.trials, self.epochs)
        ruled = {e["n"] for record in records(study) for e in record if e["e"] == "tell" and "at" in e}
        for number in ruled:
            trial = study.trials[number]
            (step, value) = max(trial.intermediate_values.items())
            others = [t.intermediate_values for t in study.trials if t.number != number]
            at = [reports[step] for reports in others if step in reports]
            assert any(other <= value for other in at), f"trial {number} was stopped at step {step}, as the best there"

    def test_two_objectives(self, pruner: BasePruner) -> None:
        """A rule that cannot judge them lets generators run to their end, and says so to a function."""
        task = self._task(pruner)

        def generator(trial: Trial) -> Iterator[Any]:
            for item in task.generator(trial):
                yield {"loss": item.pop("loss"), "time": float(trial.number % 4), **item}

        study = new_study(pruner, directions=["minimize", "maximize"])
        study.set_metric_names(["loss", "time"])
        search(study, generator, self.trials)
        if not pruner.several_objectives:
            assert all(len(t.intermediate_values) == self.epochs for t in study.trials)
            with pytest.raises(NotImplementedError, match="one objective"):
                study.ask().should_prune()
        assert self._any_whole(study), "no trial came to its end"

    # -- stop and resume ----------------------------------------------------------------------------------------

    def test_killed_anywhere(self, pruner: BasePruner) -> None:
        """Killed after any append, and taken up again by another process, a study ends; and if nothing was paused, it
        becomes what it would have become. (What was paused begins again: its generator is gone.)

        A rule that needs states has to be tested with real processes: those of a study that has ended are removed.
        """
        if pruner.needs_states:
            return
        whole = search(new_study(pruner), self._task(pruner, flush=True).generator, self.trials)
        log = records(whole)
        paused = any(event["e"] == "pause" for record in log for event in record)
        for length in itertools.islice(range(1, len(log) + 1), self.cuts // 2, None, self.cuts):
            study = load(stored(log[:length]), rebuilt(pruner))
            search(study, Task(pruner, self.epochs).generator, self.trials)
            assert paused or facts(study) == facts(whole), f"cut after record {length}"
            assert len(study.trials) <= self.trials

    @pytest.mark.parametrize("backend", PERSISTENT, ids=lambda backend: backend.__name__)
    def test_resumed(self, pruner: BasePruner, backend: type[BaseStorage], tmp_path: Path) -> None:
        """Closed and opened again, its store shows the same study to the rule, which goes on."""
        half = self.trials // 2
        here = search(new_study(pruner), self._task(pruner).generator, half)
        search(here, self._task(pruner).generator, self.trials)
        try:
            store = backend.for_testing(tmp_path)
        except MissingDependencyError as error:
            pytest.skip(str(error))
        states = {"artifacts": tmp_path / "states"} if pruner.needs_states else {}
        with store:
            search(new_study(pruner, storage=store, **states), self._task(pruner).generator, half)
        with backend.for_testing(tmp_path) as store:
            study = load(store, rebuilt(pruner), **states)
            assert study.pruner == pruner
            assert facts(search(study, self._task(pruner).generator, self.trials)) == facts(here)

    @pytest.mark.parametrize("lanes", [None, 3])
    def test_interrupted(self, pruner: BasePruner, lanes: int | None) -> None:
        """Ctrl-C in the middle of a trial: it is attempted again, and the study ends."""
        study, hit = new_study(pruner), set()

        class Interrupted(Task):
            def item(self, trial: Trial, step: int) -> dict[str, float]:
                if (trial.number, step) in ((1, 1), (3, 3)) and trial.number not in hit:
                    hit.add(trial.number)
                    raise KeyboardInterrupt
                return super().item(trial, step)

        task = Interrupted(pruner, self.epochs)
        options = {} if lanes is None else {"lanes": lanes}
        for _ in range(len(hit) + 3):
            try:
                search(study, task, self.trials, **options)
            except KeyboardInterrupt:
                continue
            break
        assert hit
        assert len(study.trials) <= self.trials


def search_keeping_paused(pruner: BasePruner, task: Task, trials: int) -> int:
    """Two calls of ``optimize``, the first of which keeps what it has paused; the number of trials in the end.

    The second goes on with the very generators.
    """
    study = new_study(pruner)
    study.optimize(task.generator, n_trials=trials // 2, keep_paused=True, timeout=60)
    search(study, task.generator, trials)
    assert task.steps == sum(len(t.intermediate_values) for t in study.trials)
    return len(study.trials)


def _odd(how: str, task: Task, trial: Trial) -> Iterator[Any]:
    """The first steps of a generator that does what it should not."""
    if how in ("never yields", "returns"):
        return
    for step in range(task.begin_at(trial), task.epochs + 1):
        item = task.item(trial, step)
        if how == "nan" and step % 2:
            item = {**item, "loss": NAN}
        if how == "infinite" and step > 1:
            item = {**item, "loss": INF if step % 2 else -INF}
        try:
            yield item
        except GeneratorExit:
            if how != "swallows":
                raise
            yield item
            return
        if how == "raises" and step == 2 + trial.number % 3:
            raise OnPurpose
        if how == "ends early":
            return
