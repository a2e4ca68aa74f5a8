"""Events in, state out: who wins a claim, what is void, what is refused, and what the columns hold."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import events as ev
from tunesmith.distributions import BaseDistribution, Categorical, Float, Int
from tunesmith.exceptions import LogDamagedError, NewerFormatError, StorageInternalError
from tunesmith.fold import Fold
from tunesmith.history import History
from tunesmith.records import frozen_trial, frozen_trials
from tunesmith.space import Space
from tunesmith.testing.studies import check_same_history, check_same_trials
from tunesmith.trial import TrialState

XY = Space({"x": Float(0, 1), "y": Int(0, 10)})


def header(directions: tuple[int, ...] = (1,)) -> ev.Event:
    return {"e": "study", "v": 1, "directions": list(directions), "seed": 7, "versions": {}, "t": 1}


def ask(n: int, k: str, space: Space | None = None, p: list[Any] | None = None, **more: Any) -> ev.Event:
    row = {"s": space.id, "p": p} if space is not None else {}
    return {"e": "ask", "n": n, "k": k, "t": 10 + n, "at": 0, **row, **more}


def tell(n: int, k: str, y: Any = 0.0, st: TrialState = TrialState.COMPLETE, **more: Any) -> ev.Event:
    values = {} if y is None else {"y": y if isinstance(y, list) else [y]}
    return {"e": "tell", "n": n, "k": k, "st": int(st), "t": 20 + n, **values, **more}


class Log:
    """A fold, the events it took, and whether each was valid."""

    def __init__(self, *events: ev.Event, directions: tuple[int, ...] = (1,)) -> None:
        self.fold = Fold()
        self.events: list[ev.Event] = []
        self.take(header(directions), *events)

    def take(self, *events: ev.Event) -> list[bool]:
        """Apply events as they come from a store: through JSON."""
        events = tuple(json.loads(json.dumps(e, allow_nan=False)) for e in events)
        self.events += events
        return [self.fold.apply(e) for e in events]

    def again(self) -> Fold:
        fold = Fold()
        for event in self.events:
            fold.apply(event)
        return fold

    @property
    def history(self) -> History:
        return self.fold.history()

    def check(self) -> None:
        check_same_trials(frozen_trials(self.fold), frozen_trials(self.again()))
        check_same_history(self.history, self.again().history())


class TestClaims:
    def test_the_first_claim_of_a_number_wins(self) -> None:
        log = Log(ev.space_event(XY))
        assert log.take(ask(0, "a.1", XY, [0.1, 1]), ask(0, "b.1", XY, [0.2, 2])) == [True, False]
        assert log.take(tell(0, "b.1", 2.0), tell(0, "a.1", 1.0), tell(0, "a.1", 3.0)) == [False, True, False]
        assert log.take(ask(0, "b.2", XY, [0.3, 3])) == [False]  # it is finished
        trial = frozen_trial(log.fold, 0)
        assert (trial.params, trial.value) == ({"x": 0.1, "y": 1}, 1.0)

    @pytest.mark.parametrize("n", [1, 7, -1, 2**40])
    def test_numbers_have_no_gaps(self, n: int) -> None:
        log = Log()
        assert (
            log.take(
                ask(n, "a.1"),
                {"e": "wait", "n": n, "p": {}, "t": 1},
                {"e": "add", "n": n, "trials": [{"st": 3, "t": 1}]},
            )
            == [False] * 3
        )
        assert log.fold.n_trials == 0

    def test_the_first_creator_of_a_study_wins(self) -> None:
        log = Log(directions=(-1,))
        assert log.take(header((1, 1))) == [False]
        assert log.history.directions == (-1,)

    def test_stale_tokens_are_void(self) -> None:
        """Of every kind of event: after a release the first holder has no say any more."""
        log = Log(ask(0, "a.1"), {"e": "release", "n": 0, "k": "a.1", "t": 5}, ask(0, "b.1", a=2))
        before = (frozen_trials(log.fold), log.history)
        stale: list[ev.Event] = [
            {"e": "up", "n": 0, "k": "a.1", "r": [[1, 0.5]], "ua": {"a": 1}, "c": {"c": 1.0}},
            {"e": "pause", "n": 0, "k": "a.1"},
            {"e": "release", "n": 0, "k": "a.1", "t": 1},
            tell(0, "a.1"),
            {"e": "resume", "n": 0, "k": "c.1"},
            ask(0, "c.1"),
            {"e": "up", "n": 5, "k": "a.1"},
            {"e": "resume", "n": 5, "k": "a.1"},
            tell(5, "a.1"),
        ]
        assert log.take(*stale) == [False] * len(stale)
        check_same_trials(before[0], frozen_trials(log.fold))
        check_same_history(before[1], log.history)
        assert log.take(tell(0, "b.1")) == [True]
        log.check()

    def test_waiting_trials_are_claimed_before_new_ones_and_smallest_first(self) -> None:
        log = Log(*({"e": "wait", "n": n, "p": {"x": n / 10}, "t": 1} for n in range(3)))
        assert log.fold.next_waiting() == 0
        assert log.take(ask(1, "a.1", a=1), ask(1, "b.1", a=1), ask(0, "b.2", a=1)) == [True, False, True]
        assert log.fold.next_waiting() == 2
        assert log.take({"e": "release", "n": 0, "k": "b.2", "t": 1}) == [True]
        assert log.fold.next_waiting() == 0
        log.check()

    def test_a_claim_answers_the_attempt_that_waits(self) -> None:
        """Not one that was decided before the trial was enqueued, or before it was given back once more."""
        log = Log({"e": "wait", "n": 0, "p": {"x": 7.0}, "t": 1})
        assert log.take(ask(0, "a.1", a=0), ask(0, "a.2", a=2), ask(0, "a.3", a=1)) == [False, False, True]
        log.take({"e": "release", "n": 0, "k": "a.3", "t": 2})
        assert log.take(ask(0, "b.1", a=1), ask(0, "b.2", a=0), ask(0, "b.3", a=2)) == [False, False, True]
        log.check()

    def test_pausing_and_resuming(self) -> None:
        log = Log(ask(0, "a.1"), {"e": "pause", "n": 0, "k": "a.1", "r": [[1, 0.5]]})
        assert frozen_trial(log.fold, 0).state == TrialState.PAUSED
        assert log.take({"e": "pause", "n": 0, "k": "a.1"}, {"e": "resume", "n": 0, "k": "b.1"}) == [False, True]
        assert log.take({"e": "up", "n": 0, "k": "a.1", "r": [[2, 1.0]]}, {"e": "resume", "n": 0, "k": "c.1"}) == [
            False,
            False,
        ]
        assert frozen_trial(log.fold, 0).intermediate_values == {1: 0.5}
        log.take({"e": "pause", "n": 0, "k": "b.1"}, {"e": "resume", "n": 0, "k": "c.1", "again": 1})
        trial = frozen_trial(log.fold, 0)
        assert (trial.intermediate_values, trial.system_attrs) == ({}, {"attempt": 2})
        assert log.take(tell(0, "c.1")) == [True]
        log.check()

    def test_a_paused_trial_can_be_told(self) -> None:
        log = Log(ask(0, "a.1"), {"e": "pause", "n": 0, "k": "a.1"})
        assert log.take(tell(0, "a.1", None, TrialState.PRUNED)) == [True]
        assert log.history.running == ()

    def test_a_second_attempt_keeps_the_configuration_and_forgets_the_reports(self) -> None:
        late = Space({"z": Float(0, 1)})
        log = Log(
            ev.space_event(XY),
            ev.space_event(late),
            ask(0, "a.1", XY, [0.5, 5]),
            {"e": "up", "n": 0, "k": "a.1", "l": [late.id, [0.25]], "r": [[1, 9.0]], "ua": {"k": 1}},
            {"e": "release", "n": 0, "k": "a.1", "t": 5},
            ask(0, "b.1", a=2),
        )
        trial = frozen_trial(log.fold, 0)
        assert trial.params == {"x": 0.5, "y": 5, "z": 0.25}
        assert trial.intermediate_values == {}
        log.take({"e": "up", "n": 0, "k": "b.1", "r": [[1, 3.0]]}, tell(0, "b.1", 3.0))
        assert frozen_trial(log.fold, 0).intermediate_values == {1: 3.0}
        assert frozen_trial(log.fold, 0).system_attrs == {"attempt": 2}
        assert log.history.reports.value.tolist() == [3.0]
        log.check()


class TestLatestDistributions:
    def test_looking_at_an_old_trial_changes_nothing(self) -> None:
        """They were those of the trial that was looked at last, and samplers proposed in its range."""
        old, new = Space({"x": Float(0, 1)}), Space({"x": Float(0, 3)})
        log = Log(ev.space_event(old), ev.space_event(new))
        log.take(ask(0, "a.1", old, [0.5]), tell(0, "a.1"), ask(1, "a.2", new, [2.5]), tell(1, "a.2"))
        assert frozen_trial(log.fold, 0).distributions == {"x": Float(0, 1)}
        assert dict(log.fold.distributions) == {"x": Float(0, 3)}
        log.take({"e": "attr", "k": "a", "v": 1})
        assert dict(log.history.distributions) == {"x": Float(0, 3)}

    def test_the_end_of_an_old_trial_changes_nothing(self) -> None:
        old, new = Space({"x": Float(0, 1)}), Space({"x": Float(0, 3)})
        log = Log(ev.space_event(old), ev.space_event(new))
        log.take(ask(0, "a.1", old, [0.5]), ask(1, "b.1", new, [2.5]), tell(0, "a.1"))
        assert dict(log.fold.distributions) == {"x": Float(0, 3)}
        log.check()


class TestRefusals:
    def test_an_unknown_event_is_of_a_newer_version(self) -> None:
        with pytest.raises(NewerFormatError, match=r"'teleport'.*update tunesmith"):
            Log().take({"e": "teleport", "n": 0})
        with pytest.raises(NewerFormatError, match=f"format {ev.VERSION + 1}"):
            Fold().apply({**header(), "v": ev.VERSION + 1})

    @pytest.mark.parametrize(
        "event",
        [
            None,
            5,
            [],
            "ask",
            {},
            {"e": None},
            {"e": []},
            {"e": {"a": 1}},
            {"e": "ask"},
            {"e": "ask", "n": 0},
            {"e": "ask", "n": 0, "k": "a"},
            ask(0, "a", s="nobody", p=[1]),
            {"e": "wait", "n": 0, "t": 1},
            {"e": "wait", "n": 0, "p": [1], "t": 1},
            {"e": "wait", "n": 0, "p": {"x": {}}, "t": 1},
            {"e": "space", "id": "a"},
            {"e": "space", "id": "a", "d": {"parameters": {"x": {"type": "gauss"}}}},
            {"e": "space", "id": "a", "d": {"parameters": {"x": {"type": "float", "low": 1, "high": 0}}}},
            {"e": "space", "id": "a", "d": 5},
            {"e": "worker"},
            {"e": "attr", "k": "a"},
            {"e": "metrics"},
            {"e": "metrics", "names": 5},
            {"e": "add", "n": 0, "trials": [{"t": 1}]},
            {"e": "add", "n": 0, "trials": [{"st": 77, "t": 1}]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": ["high"], "t": 1}]},
            {"e": "add", "n": 0, "trials": [5]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": [1, 2, 3], "t": 1}]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": [10**400], "t": 1}]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": [1], "t": 1, "r": [[0]]}]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": [1], "t": 1, "ua": 5}]},
            {"e": "add", "n": 0, "trials": [{"st": 1, "y": [1], "t": 1, "c": {"c": "much"}}]},
            {"e": "up", "k": "a"},
            {"e": "resume", "k": "a"},
            {"e": "up", "n": [1], "k": "a"},
            {"e": "edit"},
            {"e": "edit", "n": "0"},
            {"e": "delete"},
            {"e": "delete", "n": [0]},
        ],
        ids=str,
    )
    def test_malformed_events(self, event: Any) -> None:
        """One typed error for whatever stands in the log, with the event in it."""
        log = Log()
        with pytest.raises(StorageInternalError) as caught:
            log.fold.apply(event)
        assert isinstance(caught.value, (LogDamagedError, NewerFormatError))
        assert str(event)[:50] in str(caught.value) or isinstance(caught.value, NewerFormatError)

    @pytest.mark.parametrize("row", [[0.5], [0.5, 1, 2], [], ["a", 1], 5, None, [0.5, [1]]])
    def test_rows_that_do_not_fit_their_space(self, row: Any) -> None:
        log = Log(ev.space_event(XY))
        with pytest.raises(LogDamagedError):
            log.take(ask(0, "a.1", XY, row), tell(0, "a.1"), {"e": "wait", "n": 1, "p": {}, "t": 1})

    def test_choices_beyond_the_list(self) -> None:
        space = Space({"c": Categorical(["a", "b"])})
        for index in (2, 99, -1, "a", 0.5):
            log = Log(ev.space_event(space))
            with pytest.raises(LogDamagedError):
                log.take(ask(0, "a.1", space, [index]))

    def test_wrong_numbers_of_values(self) -> None:
        for y in ([1.0, 2.0, 3.0], [], ["high", 1.0], [[1.0], 2.0]):
            with pytest.raises(LogDamagedError):
                Log(ask(0, "a.1"), directions=(1, 1)).take(tell(0, "a.1", y))


def some_events() -> list[ev.Event]:
    """A log with all that a study can hold: parts, late parts, reports, metrics, tags, attributes, all states."""
    spaces = [
        Space({"x": Float(0, 1), "c": Categorical(["a", "b"])}),
        Space({"x": Float(0, 2), "c": Categorical(["b", "d", "a"]), "n": Int(0, 2**60)}),
        Space({f"p{i}": Float(0, 1) for i in range(9)}),
    ]
    events = [ev.space_event(s) for s in spaces]
    for n in range(60):
        space = spaces[(n // 7) % 3]
        row: list[Any] = {0: [n / 60, n % 2], 1: [n / 30, n % 3, 2**59 + n], 2: [n / 60] * 9}[(n // 7) % 3]
        tags = (
            {"g": {"pso.v": [n / 2, -n], "round": n}}
            if n % 3 == 0
            else {"g": {"wide": [1.0] * (1 + n % 4)}}
            if n % 3 == 1
            else {}
        )
        events.append(ask(n, f"w.{n}", space, row, **tags))
        more: ev.Event = {"e": "up", "n": n, "k": f"w.{n}", "r": [[1, n / 7], [2, "nan"], [1, n / 3, f"m{n % 4}"]]}
        if n % 4 == 0:
            more |= {"ua": {"note": [n, None]}, "c": {"memory": n - 30.0, "odd": "nan" if n == 40 else -1.0}}
        if n % 11 == 0:
            late = Space({f"late{n}": Int(0, 5), "x": Float(0, 1)})
            events.append(ev.space_event(late))
            more["l"] = [late.id, [n % 5, 0.5]]
        events.append(more)
        state = TrialState([1, 1, 2, 3][n % 4])
        if n % 10 == 9:
            events.append({"e": "pause", "n": n, "k": f"w.{n}"})
        elif n % 10 != 8:
            unused = {"x": ["p3"]} if (n // 7) % 3 == 2 else {}
            events.append(tell(n, f"w.{n}", None if state == 3 else n * 0.1, state, **unused))
    return events


def content(history: History) -> list[Any]:
    """Everything a snapshot shows, copied."""
    columns = (
        history.X,
        history.Y,
        history.state,
        history.number,
        history.start,
        history.complete,
        history.violation,
        *history.reports,
    )
    tags = [history.tag(t) for t in sorted(history._tags)]
    return [
        *(c.tobytes() for c in (*columns, *tags)),
        history.n,
        history.n_trials,
        history.names,
        history.metrics,
        repr(history.open),
        dict(history.distributions),
        repr(history.categories),
        history.best_row,
        history.pareto_rows.tolist(),
    ]


class TestSnapshots:
    def test_never_change(self) -> None:
        """Snapshots taken after every event show the same at the end, though columns grew, widened and moved."""
        log = Log()
        held = []
        for event in some_events():
            log.take(event)
            held.append((log.history, content(log.history)))
        for history, before in held:
            fresh = History.__new__(History)  # the same snapshot without what it computed and kept
            fresh.__dict__.update(
                {
                    k: v
                    for k, v in history.__dict__.items()
                    if k not in ("reports", "violation", "best_row", "pareto_rows")
                }
            )
            assert content(fresh) == before
        assert held[-1][0].X.shape[1] > 15

    def test_columns_are_read_only(self) -> None:
        log = Log(*some_events())
        h = log.history
        for column in (h.X, h.Y, h.state, h.number, h.start, h.complete, *h.reports):
            with pytest.raises(ValueError, match="read-only"):
                column[...] = 0
        tag = h.tag("round")
        tag[:] = 5  # a copy
        assert not np.array_equal(h.tag("round"), tag)

    def test_after_every_event_a_fresh_fold_finds_the_same(self) -> None:
        log = Log()
        for event in some_events():
            log.take(event)
            log.check()

    def test_one_snapshot_a_version(self) -> None:
        log = Log(ask(0, "a.1"))
        assert log.history is log.history
        first = log.history
        log.take(tell(0, "a.1"))
        assert log.history is not first

    @given(st.lists(st.integers(0, 180), max_size=12), st.integers(0, 3))
    def test_duplicated_and_reordered_events_never_break_the_fold(self, positions: list[int], stride: int) -> None:
        """Any event may come again, anywhere: it is void or valid, and a fresh fold agrees."""
        events = some_events()
        log = Log(*[e for e in events if e["e"] == "space"])
        for i, event in enumerate(events[:60]):
            log.take(event)
            if i < len(positions):
                log.take(events[positions[i] % len(events)])
        log.check()


class TestColumns:
    def test_equal_choices_of_different_types_have_their_own_codes(self) -> None:
        first, second = (
            Space({"c": Categorical([1, True])}),
            Space({"c": Categorical([True, 1.0, math.nan, None, "1"])}),
        )
        log = Log(ev.space_event(first), ev.space_event(second))
        for n, (space, j) in enumerate(
            [(first, 0), (first, 1), (second, 0), (second, 1), (second, 2), (second, 3), (second, 4)]
        ):
            log.take(ask(n, f"a.{n}", space, [j]), tell(n, f"a.{n}"))
        assert log.history.X[:, 0].tolist() == [0, 1, 1, 2, 3, 4, 5]
        values = log.history.value("c").tolist()
        assert [type(v).__name__ for v in values] == ["int", "bool", "bool", "float", "float", "NoneType", "str"]
        params = [t.params["c"] for t in frozen_trials(log.fold)]
        assert repr(params) == repr(values) == repr([1, True, True, 1.0, math.nan, None, "1"])
        log.check()

    def test_integers_beyond_float_precision_are_exact(self) -> None:
        space = Space({"n": Int(0, 2**70), "m": Int(-(2**62), 0)})
        values = [2**53 + 1, 2**70 - 1, 2**60 + 1]
        log = Log(ev.space_event(space))
        for n, v in enumerate(values):
            log.take(ask(n, f"a.{n}", space, [v, -v // 2**10]), tell(n, f"a.{n}"))
        assert [t.params["n"] for t in frozen_trials(log.fold)] == values
        assert [frozen_trial(log.fold, n).params["m"] for n in range(3)] == [-v // 2**10 for v in values]
        log.check()

    def test_kinds_that_disagree_are_both_kept(self) -> None:
        """Two workers may write another kind under one name at the same time; neither value is lost."""
        number, choice = Space({"x": Float(0, 1)}), Space({"x": Categorical(["a", "b"])})
        log = Log(ev.space_event(number), ev.space_event(choice))
        log.take(ask(0, "a.1", number, [0.5]), ask(1, "b.1", choice, [1]), tell(0, "a.1"), tell(1, "b.1"))
        assert [t.params["x"] for t in frozen_trials(log.fold)] == [0.5, "b"]
        assert log.history.names == ("x", "x (categorical)")
        log.check()

    def test_names_proposed_and_not_used(self) -> None:
        log = Log(ev.space_event(XY), ask(0, "a.1", XY, [0.5, 5]), tell(0, "a.1", 1.0, x=["y"]))
        assert frozen_trial(log.fold, 0).params == {"x": 0.5}
        assert log.history.active.tolist() == [[True, False]]

    def test_numbers_json_cannot_hold(self) -> None:
        log = Log(ask(0, "a.1", g={"t": ["nan", 1.5]}), directions=(1, 1))
        log.take(
            {"e": "up", "n": 0, "k": "a.1", "r": [[0, "nan"], [1, "inf"], [2, "-inf"]], "c": {"c": "inf", "d": "nan"}}
        )
        log.take(tell(0, "a.1", ["inf", "-inf"]))
        trial = frozen_trial(log.fold, 0)
        assert trial.values == [math.inf, -math.inf]
        assert repr(trial.intermediate_values) == "{0: nan, 1: inf, 2: -inf}"
        assert repr(trial.constraints) == "{'c': inf, 'd': nan}"
        assert log.history.violation.tolist() == [math.inf]

    def test_best_and_pareto(self) -> None:
        log = Log(directions=(-1,))
        for n, (y, s, c) in enumerate([(1, 1, -1), (5, 1, 2), (3, 1, 0), (3, 1, 0), (9, 2, 0), (None, 3, 0)]):
            log.take(ask(n, f"a.{n}"), tell(n, f"a.{n}", y, TrialState(s), c={"c": float(c)}))
        assert log.history.best_row == 2
        front = Log(directions=(1, -1))
        points = [(1, 1), (2, 2), (2, 1), (1, 1), (0, 0), (3, 9), (3, 8), (1, math.inf)]
        for n, (a, b) in enumerate(points):
            front.take(ask(n, f"a.{n}"), tell(n, f"a.{n}", [ev.number_to_json(float(a)), ev.number_to_json(float(b))]))
        naive = [
            i for i, (a, b) in enumerate(points) if not any(p <= a and q >= b and (p, q) != (a, b) for p, q in points)
        ]
        assert front.history.pareto_rows.tolist() == naive == [4, 7]
        assert Log().history.best_row is None
        assert Log().history.pareto_rows.tolist() == []


class TestEncoding:
    @staticmethod
    def grown() -> Log:
        log = Log()
        wide, narrow = (
            Space({"x": Float(low, high), "c": Categorical(c)})
            for low, high, c in ((0, 10, ["a", "b"]), (2, 4, ["c", "a"]))
        )
        log.take(ev.space_event(wide), ev.space_event(narrow))
        for n in range(40):
            space: Space = wide if n % 2 else narrow
            log.take(ask(n, f"a.{n}", space, [n / 4, n % 2] if n % 2 else [2 + n / 20, n // 2 % 2]), tell(n, f"a.{n}"))
        return log

    def test_is_against_the_space_that_is_asked_for(self) -> None:
        """Bounds that shrank clip, choices that are gone become NaN, unknown names are NaN."""
        history = self.grown().history
        space = Space({"c": Categorical(["b", "a"]), "x": Float(2, 4), "new": Float(0, 1)})
        unit = history.encode(space)
        assert np.isnan(unit[:, 2]).all()
        for row, trial in zip(unit, frozen_trials(self.grown().fold), strict=True):
            expected = {"b": 0.25, "a": 0.75}.get(trial.params["c"], math.nan)
            assert row[0] == pytest.approx(expected, nan_ok=True)
            assert row[1] == pytest.approx(min(max((trial.params["x"] - 2) / 2, 0), 1))
        assert np.array_equal(
            history.encode(Space({"x": Categorical([1.0])})), np.full((40, 1), np.nan), equal_nan=True
        )

    def test_the_cache_changes_nothing(self) -> None:
        """Asked at any moments, for any spaces, old snapshots and new: always what a fresh fold computes."""
        log, spaces = Log(), [Space({"x": Float(0, high)}) for high in range(1, 13)]
        held = []
        for event in some_events():
            log.take(event)
            for space in spaces[:: 1 + log.history.n % 5]:
                held.append((log.history, space, log.history.encode(space).copy()))
        for history, space, rows in held[::17]:
            assert np.array_equal(history.encode(space), rows, equal_nan=True)
        fresh = log.again().history()
        for space in spaces:
            assert np.array_equal(log.history.encode(space), fresh.encode(space), equal_nan=True)
            with pytest.raises(ValueError, match="read-only"):
                fresh.encode(space)[...] = 1

    def test_pending_trials(self) -> None:
        log = Log(ev.space_event(XY), ask(0, "a.1", XY, [0.25, 10]), {"e": "wait", "n": 1, "p": {"x": 0.5}, "t": 1})
        log.take({"e": "wait", "n": 2, "p": {"x": 99.0, "odd": 1}, "t": 1}, ask(2, "a.2", a=1))
        unit = log.history.encode_open(XY)
        assert unit.shape == (2, 2)  # the one that waits is not pending
        assert unit[0].tolist() == [0.25, 10.5 / 11]
        assert np.isnan(unit[1]).all()  # 99 is outside


class TestAdd:
    def test_all_or_none(self) -> None:
        log = Log(ask(0, "a.1"))
        trials = [{"st": 1, "y": [1.0], "t0": 1, "t": 2, "ua": {"a": 1}}, {"st": 4, "t": 0}, {"st": 0, "t0": 1, "t": 0}]
        assert log.take({"e": "add", "n": 0, "trials": trials}, {"e": "add", "n": 1, "trials": trials}) == [False, True]
        assert [t.state for t in frozen_trials(log.fold)] == [0, 1, 4, 0]
        assert log.fold.next_waiting() == 2
        log.check()

    def test_waiting_ones_keep_their_parameters(self) -> None:
        log = Log(ev.space_event(XY))
        log.take(
            {
                "e": "add",
                "n": 0,
                "trials": [{"st": 4, "t": 0, "s": XY.id, "p": [0.5, 3], "f": {"z": 1}}],
            }
        )
        assert log.history.open[0].params == {"z": 1, "x": 0.5, "y": 3}


@pytest.mark.parametrize("dist", [Float(0, 1), Int(0, 2**70), Categorical([None, (1, "a"), math.inf])])
def test_spaces_come_back_from_their_event(dist: BaseDistribution) -> None:
    fold = Fold()
    fold.apply(json.loads(json.dumps(ev.space_event(Space({"x": dist})), allow_nan=False)))
    (space,) = fold.spaces.values()
    assert space["x"] == dist
