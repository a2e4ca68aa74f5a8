"""The conformance kit for samplers: what the contract of :class:`tunesmith.samplers.BaseSampler` promises, as tests.

Whoever writes a search method subclasses the kit in a test module::

    class TestMySampler(SamplerKit):
        sampler_class = MySampler
        options = {"points": 3}

Some promises depend on the method, which may say so by attributes (or properties) of the class, all false when missing:

- ``finite``: it ends by itself, having proposed all it can, each once;
- ``deterministic``: the seed has no influence on a declared space;
- ``may_repeat``: the same configuration may come twice in a continuous space;
- ``with_replacement``: where all values are countable, what was tried may come again while something else is left.

The class must be found by its module and name (or its module's file), since another process searches with it, too.
Needs pytest.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tunesmith.exceptions import InvalidValueError, MissingDependencyError, SearchSpaceExhaustedError
from tunesmith.numerics.streams import stream
from tunesmith.samplers import BaseSampler
from tunesmith.space import Space
from tunesmith.storages import BaseStorage, discover
from tunesmith.study import Study, create_study
from tunesmith.testing._hardship import Hardship
from tunesmith.testing._purity import Purity
from tunesmith.testing._searches import (
    CONTINUOUS,
    SMALL,
    SPACES,
    branching,
    busy,
    changing,
    check_domain,
    configurations,
    constrained,
    cut_logs,
    drop_caches,
    facts,
    load,
    loss,
    new_study,
    on,
    rebuilt,
    run,
    troubled,
    twofold,
    typed_on,
)
from tunesmith.trial import TrialState

Method = tuple[type[BaseSampler], dict[str, Any]]
PERSISTENT = [found for found in discover() if found.persistent]


class SamplerKit(Purity, Hardship):
    """What holds for every sampler.

    Attributes:
        sampler_class: the class under test.
        options: its arguments.
        trials: how many trials most tests run; enough for the method to have learnt from results.
        long: how many trials the longest search has.
        cuts: where a log is cut to see that the search goes on: after every record, or after every so many (an odd
            number, so that some cuts are behind the claim of a trial, and others behind its end).
        refuses: names of the kit's spaces that the method cannot search and refuses with an InvalidValueError.
    """

    sampler_class: ClassVar[type[BaseSampler]]
    options: ClassVar[dict[str, Any]] = {}
    trials: ClassVar[int] = 14
    long: ClassVar[int] = 200
    cuts: ClassVar[int] = 3
    refuses: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def method(self) -> Method:
        """The class under test and its options. Override it with a parametrised fixture to test several."""
        return self.sampler_class, self.options

    @pytest.fixture
    def sampler(self, method: Method) -> BaseSampler:
        """A new instance."""
        try:
            return method[0](**method[1])
        except MissingDependencyError as error:
            pytest.skip(str(error))

    # -- what is proposed ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", SPACES)
    @pytest.mark.parametrize("declared", [True, False], ids=["declared", "define-by-run"])
    def test_in_domain(self, sampler: BaseSampler, name: str, declared: bool) -> None:
        """Values are in their distributions, of their types, and complete, for every kind of parameter."""
        space = SPACES[name]
        study = new_study(sampler, space if declared else None)
        if name in self.refuses:
            with pytest.raises(InvalidValueError):
                run(study, typed_on(space), self.trials)
            return
        _check_names(sampler, space, study)
        run(study, typed_on(space), self.trials)
        check_domain(study, space)
        _check_names(sampler, space, study)
        assert study.history.n == self.trials or sampler.finite

    def test_branches(self, sampler: BaseSampler) -> None:
        """An objective whose parameters depend on each other's values, without a declared space."""
        study = run(new_study(sampler), branching, 2 * self.trials)
        check_domain(study)
        assert study.history.n == 2 * self.trials or sampler.finite

    def test_space_changes(self, sampler: BaseSampler) -> None:
        """Bounds, choices and names change between trials; proposals follow."""
        study = run(new_study(sampler), changing, 2 * self.trials)
        check_domain(study)
        assert study.history.n == 2 * self.trials or sampler.finite
        late = [t.params for t in study.trials if t.number > 11]
        assert all("k" in params and params["x"] >= 0.5 for params in late)

    def test_bad_results(self, sampler: BaseSampler) -> None:
        """Failed, pruned, NaN and infinite results stop nothing."""
        study = run(new_study(sampler, CONTINUOUS), troubled(CONTINUOUS), 3 * self.trials)
        check_domain(study)
        states = {t.state for t in study.trials}
        assert {TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED} <= states
        assert study.history.n == 3 * self.trials or sampler.finite

    def test_nothing_but_failures(self, sampler: BaseSampler) -> None:
        """No result at all to learn from."""
        study = run(new_study(sampler, CONTINUOUS), lambda trial: float("nan"), self.trials)
        assert {t.state for t in study.trials} == {TrialState.FAIL}
        assert study.history.n == self.trials or sampler.finite

    def test_never_repeats(self, sampler: BaseSampler) -> None:
        """In a continuous space no configuration comes twice; from a finite method it does not come twice anywhere."""
        study = run(new_study(sampler, CONTINUOUS), on(CONTINUOUS), self.long)
        found = configurations(study)
        assert len(set(found)) == len(found) or sampler.may_repeat
        if sampler.finite:
            for space in SPACES.values():
                found = configurations(run(new_study(sampler, space), on(space), 60))
                assert len(set(found)) == len(found)

    def test_ends_or_goes_on(self, sampler: BaseSampler) -> None:
        """A finite method has each configuration of a small space once, says so and stays at its end; others go on."""
        study = run(new_study(sampler, SMALL), on(SMALL), 20)
        assert study.history.n == len(study.trials)
        if not sampler.finite:
            assert study.history.n == 20
            return
        found = configurations(study)
        assert 1 <= len(found) == len(set(found)) <= 6
        with pytest.raises(SearchSpaceExhaustedError, match="widen the space"):
            study.ask()
        assert len(run(study, on(SMALL), 20).trials) == len(found)
        other = new_study(sampler, SMALL)
        pending = [other.ask() for _ in found]
        assert sorted(tuple(t.relative_params.values()) for t in pending) == sorted(
            tuple(t.params.values()) for t in study.trials
        )
        with pytest.raises(SearchSpaceExhaustedError):
            other.ask()

    # -- what results may be ------------------------------------------------------------------------------------

    def test_infeasible(self, sampler: BaseSampler) -> None:
        """Trials that violate constraints, at first all of them, stop nothing."""
        study = run(new_study(sampler, CONTINUOUS), constrained(CONTINUOUS), 2 * self.trials)
        check_domain(study, CONTINUOUS)
        assert (study.history.violation[:4] > 0).all()
        assert study.history.n == 2 * self.trials or sampler.finite

    def test_two_objectives(self, sampler: BaseSampler) -> None:
        """Both are minimised or maximised; a method that cannot do this says so with an InvalidValueError at once."""
        study = new_study(sampler, CONTINUOUS, directions=["minimize", "maximize"])
        try:
            run(study, twofold(CONTINUOUS), 2 * self.trials)
        except InvalidValueError:
            assert study.history.n == 0
            return
        check_domain(study, CONTINUOUS)
        assert study.history.n == 2 * self.trials or sampler.finite

    # -- several at once ----------------------------------------------------------------------------------------

    def test_several_at_once(self, sampler: BaseSampler) -> None:
        """A batch has no configuration twice, and none that is pending or finished."""
        study = busy(sampler, CONTINUOUS, self.trials)
        known = set(configurations(study)) | {_key(t.relative_params) for t in study._session.live.values()}
        batch = [_key(p.params) for p in sampler.propose(CONTINUOUS, study.history, stream(1, 2), 8)]
        assert len(batch) == 8 or sampler.finite
        assert (len(set(batch)) == len(batch) and not known & set(batch)) or sampler.may_repeat

    def test_pending_trials(self, sampler: BaseSampler) -> None:
        """Eight trials are asked for before the first is told, in another order; nothing comes twice."""
        study = new_study(sampler, CONTINUOUS)
        for _ in range(3):
            trials = [study.ask(CONTINUOUS) for _ in range(8)]
            assert len({_key(t.params) for t in trials}) == 8 or sampler.may_repeat
            for trial in reversed(trials):
                study.tell(trial, loss(CONTINUOUS, trial.params))
        found = configurations(study)
        assert len(set(found)) == len(found) or sampler.may_repeat
        check_domain(study, CONTINUOUS)

    def test_threads(self, sampler: BaseSampler) -> None:
        """Four threads share a study: every number once, nothing twice."""
        study = new_study(sampler, CONTINUOUS)
        study.optimize(on(CONTINUOUS), n_trials=24, n_jobs=4)
        assert sorted(study.history.number.tolist()) == list(range(len(study.trials)))
        assert len(study.trials) == 24 or sampler.finite
        found = configurations(study)
        assert len(set(found)) == len(found) or sampler.may_repeat

    def test_enqueued(self, sampler: BaseSampler) -> None:
        """Enqueued configurations, whole and in part, come between the method's own and get what they ask for."""
        space = SPACES["conditional"]
        wanted: list[dict[str, Any]] = [
            {"lr": 0.01, "layers": 2, "f2": 32, "optimizer": "adam"},
            {"layers": 3, "optimizer": "sgd"},
            {"lr": 0.02},
        ]

        def search(study: Study) -> Study:
            for k, params in enumerate(wanted):
                study.enqueue_trial(params)
                run(study, on(space), 1 + 6 * (k + 1))
            return study

        study = search(new_study(sampler, space))
        check_domain(study, space)
        for k, params in enumerate(wanted):
            given = study.trials[[0, 7, 13][k]].params
            assert {name: given[name] for name in params} == params
        assert facts(study) == facts(search(new_study(sampler, space)))
        grown = new_study(sampler)
        grown.enqueue_trial({"lr": 0.01, "model": "net", "layers": 2, "units_0": 8, "units_1": 16})
        check_domain(run(grown, branching, self.trials))

    # -- stop and resume ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", ["conditional", "branches", "changes"])
    def test_killed_anywhere(self, sampler: BaseSampler, name: str) -> None:
        """Killed after any append, and taken up again by another process, a study becomes what it would have become."""
        declared = SPACES.get(name)
        objective = {"branches": branching, "changes": changing}.get(name) or on(SPACES["conditional"])
        whole = run(new_study(sampler, declared), objective, self.trials)
        expected = facts(whole)
        for store in itertools.islice(cut_logs(whole), self.cuts // 2, None, self.cuts):
            drop_caches(sampler)
            again = load(store, rebuilt(sampler))
            assert facts(run(again, objective, self.trials)) == expected

    @pytest.mark.parametrize("backend", PERSISTENT, ids=lambda backend: backend.__name__)
    @pytest.mark.parametrize("stop", [1, 6, 11])
    def test_resumed(self, sampler: BaseSampler, backend: type[BaseStorage], stop: int, tmp_path: Path) -> None:
        """Stopped, closed, and opened again from its store, a study goes on as if it had not been stopped."""
        space = SPACES["conditional"]
        expected = facts(run(new_study(sampler, space), on(space), self.trials))
        try:
            store = backend.for_testing(tmp_path)
        except MissingDependencyError as error:
            pytest.skip(str(error))
        with store:
            run(create_study(storage=store, sampler=sampler, space=space, seed=5), on(space), stop)
        with backend.for_testing(tmp_path) as store:
            study = load(store, rebuilt(sampler))
            assert study.sampler == sampler
            assert facts(run(study, on(space), self.trials)) == expected

    def test_interrupted(self, sampler: BaseSampler) -> None:
        """Ctrl-C in the middle of a trial: it is attempted again, and the rest is as without it."""
        expected = facts(run(new_study(sampler), branching, self.trials))
        study, hit = new_study(sampler), []

        def interrupted(trial: Any) -> float:
            value = branching(trial)
            if trial.number in (0, 4) and trial.number not in hit:
                hit.append(trial.number)
                raise KeyboardInterrupt
            return value

        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                run(study, interrupted, self.trials)
        assert facts(run(study, interrupted, self.trials)) == expected


def _check_names(sampler: BaseSampler, space: Space, study: Study) -> None:
    """What is proposed has every name of the space whose condition holds, and fits."""
    for proposal in sampler.propose(space, study.history, stream(1, 2), 3):
        params = {name: value for name, value in proposal.params.items() if name in space}
        active: dict[str, Any] = {}
        for name in space.ordered:
            if space.holds(name, active):
                assert name in params, f"{name!r} is not proposed: {params}"
                active[name] = params[name]
                assert space[name].contains(active[name]), f"{name} = {active[name]!r} is not in {space[name]!r}"


def _key(params: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))
