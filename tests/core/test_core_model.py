"""Random work on one study through two handles, against a naive model, in every storage.

After every step, both handles and a fold made anew from the log show the same study, and it is the model's.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from core.helpers import Place, study_in
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import InvalidValueError, StaleTrialError, TrialDeletedError, UpdateFinishedTrialError
from tunesmith.testing.studies import check_reload, check_same_history, check_same_trials
from tunesmith.trial import FrozenTrial, Trial, TrialState

RANGES = {
    "x": [Float(0, 1), Float(0.5, 2), Float(1e-3, 10, log=True)],
    "n": [Int(0, 10), Int(5, 2**70), Int(1, 9, step=2)],
    "c": [Categorical([True, 1, 1.0]), Categorical(["a", None, 1, (1, 2)]), Categorical([math.nan, 1])],
}
values = st.floats(-1e6, 1e6) | st.sampled_from([math.inf, -math.inf])
attributes = st.sampled_from([1, "text", [1, {"a": None}], math.nan, {"$json": "x"}, 2**80, None, [math.inf]])


@dataclass
class Record:
    """What the model knows of one trial."""

    state: TrialState = TrialState.WAITING
    fixed: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    values: list[float] | None = None
    reports: dict[int, float] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    attempts: int = 0
    enqueued: bool = False
    deleted: bool = False


class StudyModel(RuleBasedStateMachine):
    """Two handles ``a`` and ``b``; trials are held as the handle and its live trial."""

    kind: ClassVar[str] = "memory"

    @initialize()
    def start(self) -> None:
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        place = Place(self.kind, Path(folder))
        self.stack.callback(place.close)
        self.handles = [study_in(place, seed=3) for _ in range(2)]
        self.records: list[Record] = []
        self.held: dict[int, tuple[int, Trial]] = {}  # running: handle and live trial
        self.paused: dict[int, tuple[int, Trial]] = {}
        self.gone: list[Trial] = []  # live trials that nobody holds any more
        self.attrs: dict[str, Any] = {}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    # -- the queue ------------------------------------------------------------------------------------------------

    @rule(handle=st.integers(0, 1), x=st.floats(0, 1), n=st.integers(5, 9), which=st.integers(0, 3))
    def enqueue(self, handle: int, x: float, n: int, which: int) -> None:
        fixed: dict[str, Any] = [{"x": x}, {"x": x, "n": n}, {}, {"c": 1, "typo": [n]}][which]
        self.handles[handle].enqueue_trial(fixed, user_attrs={"by": handle})
        kept = {k: tuple(v) if isinstance(v, list) else v for k, v in fixed.items()}
        self.records.append(Record(fixed=kept, attrs={"by": handle}, enqueued=True))

    @rule(handle=st.integers(0, 1), state=st.sampled_from(list(TrialState)[:5]), value=values, pick=st.integers(0, 2))
    def add(self, handle: int, state: TrialState, value: float, pick: int) -> None:
        dist = RANGES["x"][pick]
        params = {"x": 0.75} if pick != 2 else {}
        has_value = state == TrialState.COMPLETE
        made = tunesmith.create_trial(
            state=state, value=value if has_value else None, params=params, user_attrs={"k": [pick]},
            distributions=dict.fromkeys(params, dist), intermediate_values={3: 1.5}, constraints={"c": 1.0},
        )  # fmt: skip
        self.handles[handle].add_trial(made)
        waiting = state == TrialState.WAITING
        self.records.append(
            Record(
                state,
                fixed=params if waiting else {},
                params={} if waiting else params,
                attrs={"k": [pick]},
                values=[value] if has_value else None,
                reports={3: 1.5},
                constraints={"c": 1.0},
                enqueued=waiting,
                attempts=0 if waiting else 1,
            )
        )

    # -- a trial's life -------------------------------------------------------------------------------------------

    @rule(handle=st.integers(0, 1), by_ask=st.booleans(), at_once=st.booleans())
    def claim(self, handle: int, by_ask: bool, at_once: bool) -> None:
        expected = next((i for i, r in enumerate(self.records) if r.state == TrialState.WAITING), len(self.records))
        study = self.handles[handle]
        if by_ask:
            trial = study.ask({"x": RANGES["x"][0]} if at_once else None)
        else:
            (trial,) = study._session.claim(by_ask=False)
        assert trial.number == expected
        if expected == len(self.records):
            self.records.append(Record())
        record = self.records[expected]
        record.state = TrialState.RUNNING
        record.attempts += 1
        if record.attempts > 1:
            record.reports = {}
        assert trial.attempt == record.attempts
        record.params = {**record.params, **trial.relative_params, **trial.params}
        self.held[expected] = (handle, trial)

    def pick(self, data: st.DataObject, of: dict[int, tuple[int, Trial]]) -> tuple[Record, int, Trial]:
        number = data.draw(st.sampled_from(sorted(of)))
        return self.records[number], *of[number]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), name=st.sampled_from("xnc"), pick=st.integers(0, 2))
    def suggest(self, data: st.DataObject, name: str, pick: int) -> None:
        record, _, trial = self.pick(data, self.held)
        dist = RANGES[name][pick]
        before = trial.params.get(name)
        given = record.fixed.get(name)
        if name not in trial.params and name in record.fixed:
            try:
                dist.to_internal_repr(given)
            except ValueError:
                with pytest.raises(ValueError):  # an enqueued value that is none: the objective would fail
                    trial._suggest(name, dist)
                return
        value = trial._suggest(name, dist)
        if before is not None:
            assert value == before or value != value
        else:
            assert dist.contains(value) or value == given
            record.params[name] = value

    @precondition(lambda self: self.held)
    @rule(data=st.data(), step=st.integers(0, 5), value=values | st.just(math.nan))
    def report(self, data: st.DataObject, step: int, value: float) -> None:
        record, _, trial = self.pick(data, self.held)
        trial.report(value, step)
        record.reports.setdefault(step, value)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), key=st.sampled_from("ab"), value=attributes)
    def set_attr(self, data: st.DataObject, key: str, value: Any) -> None:
        record, _, trial = self.pick(data, self.held)
        trial.set_user_attr(key, value)
        record.attrs[key] = value

    @precondition(lambda self: self.held)
    @rule(data=st.data(), value=st.floats(-2, 2))
    def constrain(self, data: st.DataObject, value: float) -> None:
        record, _, trial = self.pick(data, self.held)
        if "limit" not in trial.constraints:
            trial.set_constraint("limit", value)
            record.constraints["limit"] = value

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        state=st.sampled_from([None, *list(TrialState)[1:4]]),
        value=values,
        how=st.sampled_from(["trial", "other"]),
    )
    def tell(self, data: st.DataObject, state: TrialState | None, value: float, how: str) -> None:
        record, handle, trial = self.pick(data, self.held)
        told = value if state in (None, TrialState.COMPLETE) else None
        if how == "trial":
            done = self.handles[handle].tell(trial, told, state)
            record.params = {k: v for k, v in record.params.items() if k in trial.params}
        else:  # by number, through the other handle, as another process would; what is not written yet is lost
            self.handles[handle].get_trials()
            done = self.handles[1 - handle].tell(trial.number, told, state)
            self.gone.append(trial)
        record.state = state if state is not None else TrialState.COMPLETE
        record.values = [value] if told is not None else None
        if state == TrialState.PRUNED and record.reports:
            last = record.reports[max(record.reports)]
            record.values = None if last != last else [last]
        del self.held[trial.number]
        assert done.number == trial.number

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        record, handle, trial = self.pick(data, self.held)
        self.handles[handle]._session.release(trial)
        record.state = TrialState.WAITING if record.attempts < 3 else TrialState.FAIL
        if record.state == TrialState.FAIL:
            record.params = {k: v for k, v in record.params.items() if k in trial.params}
        del self.held[trial.number]
        self.gone.append(trial)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        record, handle, trial = self.pick(data, self.held)
        self.handles[handle]._session.pause(trial)
        record.state = TrialState.PAUSED
        self.paused[trial.number] = self.held.pop(trial.number)

    @precondition(lambda self: self.paused)
    @rule(data=st.data(), here=st.booleans())
    def resume(self, data: st.DataObject, here: bool) -> None:
        record, handle, trial = self.pick(data, self.paused)
        del self.paused[trial.number]
        session = self.handles[handle if here else 1 - handle]._session
        session.log.sync()
        assert session.resume(trial.number, again=not here)
        if not here:
            self.gone.append(trial)
            trial = session.take(session.log.fold.open[trial.number], by_ask=False)
            record.attempts += 1
            record.reports = {}
        record.state = TrialState.RUNNING
        self.held[trial.number] = (handle if here else 1 - handle, trial)

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), what=st.sampled_from(["report", "attr", "tell"]))
    def ghost(self, data: st.DataObject, what: str) -> None:
        """Whoever lost its trial learns so, and changes nothing."""
        trial = data.draw(st.sampled_from(self.gone))
        with pytest.raises((StaleTrialError, UpdateFinishedTrialError)):  # noqa: PT012
            if what == "report":
                trial.report(99.0, 1000 + len(trial._reported))
                trial._owner.flush(trial)  # type: ignore[attr-defined]
            elif what == "attr":
                trial.set_user_attr("ghost", 1)
                trial._owner.flush(trial)  # type: ignore[attr-defined]
            else:
                trial._owner.finish(trial, TrialState.COMPLETE, [99.0])  # type: ignore[attr-defined]

    # -- what others change ---------------------------------------------------------------------------------------

    def finished(self) -> list[int]:
        return [i for i, r in enumerate(self.records) if r.state.is_finished() and not r.deleted]

    @precondition(lambda self: self.finished())
    @rule(data=st.data(), handle=st.integers(0, 1), state=st.sampled_from([None, *list(TrialState)[1:4]]), value=values)
    def edit(self, data: st.DataObject, handle: int, state: TrialState | None, value: float) -> None:
        number = data.draw(st.sampled_from(self.finished()))
        record, study = self.records[number], self.handles[handle]
        ends = record.state if state is None else state
        if ends == TrialState.FAIL:
            with pytest.raises(InvalidValueError):
                study.edit_trial(number, values=value, state=state)
            study.edit_trial(number, state=TrialState.FAIL)
            record.values = None
        else:
            assert study.edit_trial(number, values=value, state=state).values == [value]
            record.values = [value]
        record.state = ends

    @precondition(lambda self: [r for r in self.records if not r.deleted])
    @rule(data=st.data(), handle=st.integers(0, 1), value=attributes)
    def note(self, data: st.DataObject, handle: int, value: Any) -> None:
        number = data.draw(st.sampled_from([i for i, r in enumerate(self.records) if not r.deleted]))
        self.handles[handle].edit_trial(number, user_attrs={"note": value})
        self.records[number].attrs["note"] = value
        if self.records[number].state.is_finished():
            self.handles[handle].edit_trial(number, constraints={"later": 0.5})
            self.records[number].constraints["later"] = 0.5

    @precondition(lambda self: [r for r in self.records if not r.deleted])
    @rule(data=st.data(), handle=st.integers(0, 1))
    def delete(self, data: st.DataObject, handle: int) -> None:
        number = data.draw(st.sampled_from([i for i, r in enumerate(self.records) if not r.deleted]))
        study, other = self.handles[handle], self.handles[1 - handle]
        study.delete_trial(number)
        for call in (other.delete_trial, study.delete_trial, lambda n: other.edit_trial(n, values=1.0), study.tell):
            with pytest.raises(TrialDeletedError):
                call(number)
        self.records[number].deleted, self.records[number].state = True, TrialState.FAIL
        for held in (self.held, self.paused):
            if number in held:
                self.gone.append(held.pop(number)[1])

    # -- the study ------------------------------------------------------------------------------------------------

    @rule(handle=st.integers(0, 1), key=st.sampled_from("ab"), value=attributes)
    def study_attr(self, handle: int, key: str, value: Any) -> None:
        self.handles[handle].set_user_attr(key, value)
        self.attrs[key] = value

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "handles"):
            return
        a, b = self.handles
        a.get_trials()  # writes what is pending
        b.get_trials()
        check_reload(a)
        check_same_trials(a.trials, b.trials)
        check_same_history(a.history, b.history)
        assert repr(a.user_attrs) == repr({k: self.attrs[k] for k in a.user_attrs})
        assert a.user_attrs.keys() == self.attrs.keys()
        trials = a.trials
        known = {number: record for number, record in enumerate(self.records) if not record.deleted}
        assert [trial.number for trial in trials] == list(known)
        assert a.history.n_trials == len(self.records)
        for trial in trials:
            self.compare(trial, known[trial.number])
        best = [r.values[0] for r in known.values() if r.state == TrialState.COMPLETE and self.feasible(r) and r.values]
        assert a.history.best_row is None if not best else a.best_value == min(best)
        finished = [t for t in trials if t.state.is_finished()]
        assert sorted(a.history.number.tolist()) == [t.number for t in finished]
        check_same_trials(
            a.get_trials(states=[TrialState.RUNNING]), [t for t in trials if t.state == TrialState.RUNNING]
        )

    @staticmethod
    def feasible(record: Record) -> bool:
        return all(value <= 0 for value in record.constraints.values())

    @staticmethod
    def compare(trial: FrozenTrial, record: Record) -> None:
        assert trial.state == record.state
        assert repr(trial.values) == repr(record.values)
        if record.state != TrialState.WAITING:
            shown, known = ({k: repr(v) for k, v in p.items()} for p in (trial.params, record.params))
            assert shown == known, f"trial {trial.number}: {shown} but {known}"
        if record.enqueued:
            assert trial.system_attrs["fixed_params"] == record.fixed
        assert repr(sorted(trial.intermediate_values.items())) == repr(sorted(record.reports.items()))
        assert repr(trial.user_attrs) == repr({k: record.attrs[k] for k in trial.user_attrs})
        assert trial.user_attrs.keys() == record.attrs.keys()
        assert trial.constraints == record.constraints
        assert trial.system_attrs.get("attempt", 1) == max(record.attempts, 1)
        assert "ghost" not in trial.user_attrs
        trial_is_done = trial.state.is_finished()
        assert (trial.datetime_complete is not None) == trial_is_done


@pytest.mark.parametrize(("kind", "examples", "steps"), [("memory", 40, 30), ("sqlite", 8, 20), ("jsonl", 8, 20)])
def test_random_work(kind: str, examples: int, steps: int) -> None:
    machine = type(f"Model_{kind}", (StudyModel,), {"kind": kind})
    case = machine.TestCase
    phases = (Phase.explicit, Phase.generate)  # shrinking takes minutes; leave it out only until something fails
    case.settings = settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases)
    case().runTest()
